"""The result vocabulary is closed: each word where it may stand, and a crash that says so where it may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of
from wsactors.actors import (
    UNHANDLED,
    Actor,
    Continue,
    Crash,
    IdleAfter,
    Ignore,
    NoReply,
    Reply,
    Stop,
    Timeout,
    call,
    cast,
    reply,
    send,
)
from wsactors.errors import CallExit
from wsactors.supervision.node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("results") as node:
        yield node


class Says(Actor):
    """Returns what it is sent."""

    def init(self) -> None:
        self.log: list[Any] = []
        self.timed_out = trio.Event()

    def handle_call(self, message: Any, caller: Any) -> Any:
        self.caller = caller
        return message

    def handle_cast(self, message: Any) -> Any:
        return message

    def handle_info(self, message: Any) -> Any:
        if isinstance(message, Timeout):
            self.log.append(message)
            self.timed_out.set()
            return None
        return message

    def handle_continue(self, argument: Any) -> Any:
        self.log.append(argument)
        return argument if isinstance(argument, (Stop, Continue)) else None


class SaysLater(Says):
    """The same, from a coroutine."""

    async def handle_call(self, message: Any, caller: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().handle_call(message, caller)

    async def handle_cast(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().handle_cast(message)

    async def handle_info(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().handle_info(message)


NO_WORD: Any = "not a word"
BOTH = pytest.mark.parametrize("cls", [Says, SaysLater])


@BOTH
@pytest.mark.parametrize(
    "wrong",
    [Continue("x"), IdleAfter(1.0), Ignore(), Reply(1, NO_WORD), Reply(1, Ignore()), NoReply(NO_WORD)],
)
async def test_what_may_not_answer_a_call(node: Node, cls: type[Says], wrong: Any) -> None:
    async with node.attach() as me:
        pid, ref = await me.spawn(cls, monitor=True)
        if isinstance(wrong, Reply):
            # Its value was an answer before its second part turned out to be nonsense.
            assert await call(pid, wrong, timeout=10) == 1
        else:
            with pytest.raises(CallExit) as failure:
                await call(pid, wrong, timeout=10)
            assert failure.value.reason.type == "bad_return_value"
        reason = (await down_of(ref)).reason
        assert isinstance(reason, Crash)
        assert reason.type == "bad_return_value"


@BOTH
@pytest.mark.parametrize("way", [cast, send])
@pytest.mark.parametrize("wrong", [0, False, "text", (), Ignore(), NoReply(), Reply(1)])
async def test_what_may_not_come_from_a_cast_or_message(node: Node, cls: type[Says], way: Any, wrong: Any) -> None:
    async with node.attach() as me:
        pid, ref = await me.spawn(cls, monitor=True)
        way(pid, wrong)
        assert (await down_of(ref)).reason.type == "bad_return_value"


@BOTH
@pytest.mark.parametrize("value", [None, 0, False, (), {}, Exception("as a value")])
async def test_any_other_value_answers(node: Node, cls: type[Says], value: Any) -> None:
    pid = await node.spawn(cls)
    assert await call(pid, value) is value


@BOTH
async def test_what_may_follow_an_answer(node: Node, cls: type[Says]) -> None:
    async with node.attach() as me:
        pid, ref = await me.spawn(cls, monitor=True)
        assert await call(pid, Reply("a", Continue("first"))) == "a"
        assert await call(pid, Reply("b", IdleAfter(0.001))) == "b"
        with trio.fail_after(10):
            await (await node.get_state(pid))["timed_out"].wait()
        assert (await node.get_state(pid))["log"] == ["first", Timeout(0.001)]
        assert await call(pid, Reply("c", Stop(("shutdown", "said")))) == "c"
        assert (await down_of(ref)).reason == ("shutdown", "said")


@BOTH
async def test_what_may_follow_no_answer(node: Node, cls: type[Says]) -> None:
    async with node.attach() as me, trio.open_nursery() as nursery:
        pid, ref = await me.spawn(cls, monitor=True)
        answers: list[Any] = []

        async def ask(message: Any) -> None:
            try:
                answers.append(await call(pid, message, timeout=10))
            except CallExit as failure:
                answers.append(failure.reason)

        nursery.start_soon(ask, NoReply(Continue("then")))
        await trio.testing.wait_all_tasks_blocked()
        state = await node.get_state(pid)
        assert state["log"] == ["then"]
        assert reply(state["caller"], "later")
        await trio.testing.wait_all_tasks_blocked()
        assert answers == ["later"]
        nursery.start_soon(ask, NoReply(Stop("enough")))
        assert (await down_of(ref)).reason == "enough"
        await trio.testing.wait_all_tasks_blocked()
        assert answers == ["later", "enough"]


@BOTH
async def test_a_continue_may_continue_and_stop(node: Node, cls: type[Says]) -> None:
    async with node.attach() as me:
        pid, ref = await me.spawn(cls, monitor=True)
        cast(pid, Continue(Continue(Continue(Stop("through")))))
        cast(pid, UNHANDLED)  # never reached
        assert (await down_of(ref)).reason == "through"


@BOTH
async def test_unhandled(node: Node, cls: type[Says]) -> None:
    async with node.attach() as me:
        pid = await node.spawn(cls)
        send(pid, UNHANDLED)
        assert await call(pid, "alive") == "alive"
        ref = me.monitor(pid)
        with pytest.raises(CallExit) as failure:
            await call(pid, UNHANDLED)
        assert failure.value.reason.type == "unhandled_call"
        assert (await down_of(ref)).reason.type == "unhandled_call"
        pid, ref = await me.spawn(cls, monitor=True)
        cast(pid, UNHANDLED)
        assert (await down_of(ref)).reason.type == "unhandled_cast"
