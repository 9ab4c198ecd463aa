"""Turns: nobody holds the loop, nothing leaks from one actor's turn into another's."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of, inside
from wsactors.actors import Actor, Continue, Pid, ProcessActor, Stop, call, cast, send
from wsactors.actors.scheduler import BUDGET
from wsactors.errors import CallExit, StartError
from wsactors.supervision.node import Node

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def busy(seconds: float) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


class Ticker:
    """Counts how many handlers run between two turns of an ordinary trio task."""

    def __init__(self) -> None:
        self.handled = 0
        self.ticks = 0
        self.most = 0

    async def run(self, wanted: int) -> None:
        with trio.fail_after(60):
            while self.handled < wanted:
                before = self.handled
                await trio.lowlevel.checkpoint()
                self.most = max(self.most, self.handled - before)
                self.ticks += 1


class TestHold:
    """A slice is under a millisecond, so of handlers that take one, a slice holds one; two leave room for the scheduler."""

    @pytest.mark.parametrize("kind", ["def", "async", "cast"])
    async def test_two_hundred_actors_with_one_millisecond_handlers(self, node: Node, kind: str) -> None:
        ticker = Ticker()

        class Busy(Actor):
            def handle_info(self, message: Any) -> None:
                busy(0.001)
                ticker.handled += 1

            handle_cast = handle_info

        class AsyncBusy(Actor):
            async def handle_info(self, message: Any) -> None:
                busy(0.001)
                ticker.handled += 1

        cls = AsyncBusy if kind == "async" else Busy
        pids = [await node.spawn(cls) for _ in range(200)]
        for pid in pids:
            (cast if kind == "cast" else send)(pid, 1)
        await ticker.run(200)
        assert ticker.most <= 2

    @pytest.mark.parametrize("kind", ["def", "async", "cast", "continue"])
    async def test_one_actor_with_a_full_mailbox(self, node: Node, kind: str) -> None:
        ticker = Ticker()

        class Busy(Actor):
            def handle_info(self, message: Any) -> Any:
                busy(0.001)
                ticker.handled += 1
                if kind == "continue":
                    return Continue(message)
                return None

            handle_cast = handle_info

            def handle_continue(self, argument: Any) -> Any:
                return self.handle_info(argument)

        class AsyncBusy(Actor):
            async def handle_info(self, message: Any) -> None:
                busy(0.001)
                ticker.handled += 1

        pid = await node.spawn(AsyncBusy if kind == "async" else Busy)
        for _ in range(1 if kind == "continue" else 100):
            (cast if kind == "cast" else send)(pid, 1)
        await ticker.run(100)
        assert ticker.most <= 2
        node.exit(pid, "kill")

    async def test_inlined_calls_let_others_run(self, node: Node) -> None:
        ticker = Ticker()

        class Busy(Actor):
            def handle_call(self, message: Any, caller: Any) -> int:
                busy(0.001)
                ticker.handled += 1
                return 1

        pid = await node.spawn(Busy)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker.run, 100)
            for _ in range(100):
                await call(pid, 1)
        assert ticker.most <= 3

    async def test_short_inlined_calls_see_a_cancellation(self, node: Node) -> None:
        """A fast path without checkpoints would ignore the deadline."""

        class Echo(Actor):
            def handle_call(self, message: Any, caller: Any) -> Any:
                return message

        pid = await node.spawn(Echo)
        calls = 0
        with trio.move_on_after(0.05) as scope:
            while calls < 10_000_000:
                await call(pid, 1)
                calls += 1
        assert scope.cancelled_caught

    async def test_spawning_lets_others_run(self, node: Node) -> None:
        ticker = Ticker()

        class Busy(Actor):
            def init(self) -> None:
                busy(0.001)
                ticker.handled += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker.run, 50)
            for _ in range(50):
                await node.spawn(Busy)
        assert ticker.most <= 3


async def test_one_turn_is_at_most_the_budget(node: Node) -> None:
    """However quick its handlers, an actor with a thousand messages lets the next one in after BUDGET."""
    order: list[str] = []

    class Quick(Actor):
        def handle_info(self, message: str) -> None:
            order.append(message)

    busy_one, other = await node.spawn(Quick), await node.spawn(Quick)
    for _ in range(1_000):
        send(busy_one, "busy")
    send(other, "other")
    await trio.testing.wait_all_tasks_blocked()
    assert order.index("other") <= BUDGET
    assert len(order) == 1_001


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_who_keeps_sending_to_itself_lets_others_in(node: Node, kind: str) -> None:
    """One message waits whenever the handler ends: that is the same turn, and has its budget."""
    order: list[str] = []

    class Plain(Actor):
        def handle_info(self, message: str) -> None:
            order.append(message)
            if message == "self" and len(order) < 1_000:
                send(self.pid, message)

    class Async(Actor):
        async def handle_info(self, message: str) -> None:
            Plain.handle_info(self, message)  # type: ignore[arg-type]

    quick = {"plain": Plain, "async": Async}[kind]
    restless, other = await node.spawn(quick), await node.spawn(quick)
    send(restless, "self")
    send(other, "other")
    await trio.testing.wait_all_tasks_blocked()
    assert order.index("other") <= BUDGET + 1
    assert len(order) == 1_000


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("post", [send, cast])
async def test_one_turn_is_all_that_waits_within_the_budget(node: Node, post: Any, kind: str) -> None:
    """An actor that many talk to is not served one message per round: others would pass it by several round trips."""
    order: list[str] = []

    class Plain(Actor):
        def handle_info(self, message: str) -> None:
            order.append(message)

        handle_cast = handle_info

    class Async(Actor):
        async def handle_info(self, message: str) -> None:
            order.append(message)

        handle_cast = handle_info

    quick = {"plain": Plain, "async": Async}[kind]
    hub, other = await node.spawn(quick), await node.spawn(quick)
    for _ in range(10):
        post(hub, "hub")
    post(other, "other")
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["hub"] * 10 + ["other"]


# -- leaks


def leak_scope() -> None:
    trio.CancelScope().__enter__()


async def leak_nursery() -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)


async def leak_both() -> None:
    trio.CancelScope().__enter__()
    await leak_nursery()
    trio.CancelScope(shield=True).__enter__()


async def leak_after_blocking() -> None:
    await trio.sleep(0.001)
    trio.CancelScope().__enter__()
    await trio.sleep(0.001)


async def leak_and_raise() -> None:
    await leak_nursery()
    raise LookupError("meanwhile")


async def leak_scope_async() -> None:
    leak_scope()


class Leaky(Actor):
    """Leaks where it is told to."""

    def init(self, where: str, leak: Callable[[], Any]) -> None:
        self.where = where
        self.leak = leak

    async def handle_info(self, message: Any) -> Any:
        if message == "continue":
            return Continue(None)
        if message == "stop":
            return Stop("done")
        await self.leak()
        return None

    async def handle_cast(self, message: Any) -> None:
        await self.leak()

    async def handle_call(self, message: Any, caller: Any) -> Any:
        await self.leak()
        return "fine"

    async def handle_continue(self, argument: Any) -> None:
        await self.leak()

    async def terminate(self, reason: Any) -> None:
        if self.where == "terminate":
            await self.leak()


class Honest(Actor):
    """Notices when a scope of somebody else is around its handler."""

    async def handle_call(self, message: Any, caller: Any) -> str:
        assert trio.current_effective_deadline() == float("inf")
        await trio.sleep(0.001)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        return "well"


LEAKS = [leak_scope_async, leak_nursery, leak_both, leak_after_blocking, leak_and_raise]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("where", ["info", "cast", "call", "continue", "terminate"])
async def test_a_leak_crashes_its_actor_and_nobody_else(node: Node, where: str, leak: Callable[[], Any]) -> None:
    pid = await node.spawn(Leaky, where, leak)
    honest = await node.spawn(Honest)
    async with node.attach() as me:
        ref = me.monitor(pid)
        async with trio.open_nursery() as nursery:
            # Some that are blocked, and some that queue behind the leak, all on the same pool of workers.
            for _ in range(5):
                nursery.start_soon(call, honest, "how are you")
            match where:
                case "call":
                    with pytest.raises(CallExit):
                        await call(pid, "x")
                case "cast":
                    cast(pid, "x")
                case "continue":
                    send(pid, "continue")
                case "terminate":
                    send(pid, "stop")
                case _:
                    send(pid, "x")
            down = await down_of(ref)
            expected = "LookupError" if leak is leak_and_raise else "ScopeLeak"
            assert down.reason.type == expected
        for _ in range(10):
            assert await call(honest, "and now") == "well"
    await trio.testing.wait_all_tasks_blocked()
    assert node.info().workers == node.info().idle_workers


@pytest.mark.parametrize("where", ["info", "cast", "call", "inline", "continue"])
async def test_a_scope_leaked_by_a_plain_handler_is_caught_too(node: Node, where: str) -> None:
    class Plain(Actor):
        def handle_info(self, message: Any) -> Any:
            if message == "continue":
                return Continue(None)
            leak_scope()
            return None

        def handle_cast(self, message: Any) -> None:
            leak_scope()

        def handle_call(self, message: Any, caller: Any) -> None:
            leak_scope()

        def handle_continue(self, argument: Any) -> None:
            leak_scope()

    pid = await node.spawn(Plain)
    honest = await node.spawn(Honest)
    async with node.attach() as me:
        ref = me.monitor(pid)
        match where:
            case "inline" | "call":
                node.sched.inline = where == "inline"
                with pytest.raises(CallExit) as failure:
                    await call(pid, "x")
                assert failure.value.reason.type == "ScopeLeak"
            case "cast":
                cast(pid, "x")
            case _:
                send(pid, where)
        assert (await down_of(ref)).reason.type == "ScopeLeak"
    for _ in range(5):
        assert await call(honest, "and now") == "well"


class LeakyInit(Actor):
    async def init(self, leak: Callable[[], Any]) -> None:
        await leak()


class PlainLeakyInit(Actor):
    def init(self) -> None:
        leak_scope()


@pytest.mark.parametrize("leak", [*LEAKS, None], ids=lambda leak: getattr(leak, "__name__", "plain"))
async def test_a_leak_in_init_leaves_the_starters_task_clean(node: Node, leak: Any) -> None:
    before = trio.lowlevel.current_task()._cancel_status
    count = len(node.sched.processes)
    with trio.CancelScope() as outer:
        with pytest.raises(StartError) as failure:
            await (node.spawn(LeakyInit, leak) if leak else node.spawn(PlainLeakyInit))
        assert failure.value.reason.type == ("LookupError" if leak is leak_and_raise else "ScopeLeak")
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
    assert not outer.cancelled_caught
    assert trio.lowlevel.current_task()._cancel_status is before
    assert len(node.sched.processes) == count


async def test_scopes_and_nurseries_closed_in_the_handler_are_fine(node: Node) -> None:
    class Proper(Actor):
        async def handle_call(self, message: Any, caller: Any) -> Any:
            results: list[int] = []
            with trio.move_on_after(0.001):
                await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(self.work, results, number)
            return sorted(results)

        async def work(self, results: list[int], number: int) -> None:
            await trio.lowlevel.checkpoint()
            # A task inside a handler's nursery acts for the actor.
            assert self.node.sched.whoami() is self._process
            results.append(number)

    pid = await node.spawn(Proper)
    assert await call(pid, "go") == [0, 1, 2]


# -- context variables


class Setter(Actor):
    """Sets the variable, with and without blocking before and after."""

    async def init(self, name: str = "") -> None:
        self.first = VAR.get()
        if name:
            VAR.set(name)

    async def handle_call(self, message: Any, caller: Any) -> str:
        match message:
            case ("set", value):
                VAR.set(value)
            case ("set and block", value):
                VAR.set(value)
                await trio.sleep(0.001)
            case ("block and set", value):
                await trio.sleep(0.001)
                VAR.set(value)
            case "first":
                return self.first
        return VAR.get()

    def handle_info(self, message: Any) -> None:
        message.append(VAR.get())


class Plain(Actor):
    def handle_call(self, message: Any, caller: Any) -> str:
        return VAR.get()

    def handle_info(self, message: Any) -> None:
        message.append(VAR.get())


@pytest.mark.parametrize("how", ["set", "set and block", "block and set"])
async def test_what_an_async_handler_sets_stays_its_actors(node: Node, how: str) -> None:
    ada, bob, plain = await node.spawn(Setter), await node.spawn(Setter), await node.spawn(Plain)

    assert await call(ada, (how, "ada's")) == "ada's"
    for _ in range(3):
        assert await call(bob, "get") == "unset"
        assert await call(plain, "get") == "unset"
        assert await call(ada, "get") == "ada's"
    seen: list[str] = []
    for _ in range(5):
        send(plain, seen)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["unset"] * 5
    assert VAR.get() == "unset"


async def test_a_context_set_in_init_is_the_actors(node: Node) -> None:
    ada, bob = await node.spawn(Setter, "ada's"), await node.spawn(Setter)
    assert await call(ada, "get") == "ada's"
    assert await call(bob, "get") == "unset"
    assert VAR.get() == "unset"


async def test_nothing_of_the_starter_or_sender_reaches_the_actor(node: Node) -> None:
    seen: list[str] = []

    class Loop(ProcessActor):
        async def init(self) -> None:
            seen.append(VAR.get())

        async def run(self) -> None:
            seen.append(VAR.get())
            self.start_soon(self.aside)
            await self.receive()

        async def aside(self) -> None:
            seen.append(VAR.get())

    VAR.set("the test's")
    try:
        setter, plain = await node.spawn(Setter), await node.spawn(Plain)
        assert await call(setter, "first") == "unset"
        assert await call(setter, "get") == "unset"
        assert await call(plain, "get") == "unset"
        loop = await node.spawn(Loop)
        send(plain, seen)
        send(setter, seen)
        await trio.testing.wait_all_tasks_blocked()
        send(loop, "end")
    finally:
        VAR.set("unset")
    assert seen == ["unset"] * 5


async def test_a_worker_started_by_a_sender_does_not_carry_its_context() -> None:
    """The first send of a node starts a worker task, and trio tasks copy the context of who starts them."""
    VAR.set("the sender's")
    try:
        async with Node("fresh") as node:
            VAR.set("changed since the node opened")
            seen: list[str] = []
            plain = await node.spawn(Plain)
            send(plain, seen)
            await trio.testing.wait_all_tasks_blocked()
            blocked = [await node.spawn(Setter) for _ in range(3)]
            async with trio.open_nursery() as nursery:
                for pid in blocked:
                    nursery.start_soon(call, pid, ("set and block", "theirs"))
                    send(plain, seen)
            send(plain, seen)
            await trio.testing.wait_all_tasks_blocked()
    finally:
        VAR.set("unset")
    assert seen == ["the sender's"] * 5


# -- forwarding


@asynccontextmanager
async def blocked_handlers(node: Node, count: int) -> AsyncIterator[trio.Event]:
    gate = trio.Event()

    class Blocked(Actor):
        async def handle_info(self, message: Any) -> None:
            await gate.wait()

    pids = [await node.spawn(Blocked) for _ in range(count)]
    for pid in pids:
        send(pid, 1)
    await trio.testing.wait_all_tasks_blocked()
    yield gate
    gate.set()


async def test_a_blocked_handler_gets_what_trio_sends_and_throws(node: Node) -> None:
    class Waits(Actor):
        async def handle_call(self, message: Any, caller: Any) -> Any:
            sender, receiver = trio.open_memory_channel[int](0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, 5)
                value = await receiver.receive()
            threaded = await trio.to_thread.run_sync(lambda: value + 1)
            with trio.move_on_after(0.001) as scope:
                await trio.sleep_forever()
            try:
                with trio.fail_after(0.001):
                    await trio.sleep_forever()
            except trio.TooSlowError:
                return value, threaded, scope.cancelled_caught, "too slow"

    pid = await node.spawn(Waits)
    assert await call(pid, "go") == (5, 6, True, "too slow")


async def test_others_go_on_while_handlers_are_blocked(node: Node) -> None:
    async with blocked_handlers(node, 50):
        assert node.info().workers >= 50
        honest = await node.spawn(Honest)
        assert await call(honest, "x") == "well"


async def test_workers_of_a_burst_go_home_after_ten_idle_seconds(node: Node, autojump_clock: Any) -> None:
    async with blocked_handlers(node, 100):
        assert node.info().workers >= 100
    await trio.sleep(9)
    assert node.info().workers >= 100
    await trio.sleep(8)
    assert node.info().workers <= 2
    honest = await node.spawn(Honest)
    assert await call(honest, "x") == "well"


async def test_a_blocked_actor_handles_one_message_at_a_time(node: Node) -> None:
    class Single(Actor):
        def init(self) -> None:
            self.running = self.peak = 0

        async def handle_info(self, message: Any) -> None:
            self.running += 1
            self.peak = max(self.peak, self.running)
            await trio.lowlevel.checkpoint()
            self.running -= 1

        handle_cast = handle_info

        def handle_call(self, message: Any, caller: Any) -> int:
            assert self.running == 0
            return self.peak

    pid = await node.spawn(Single)
    for _ in range(50):
        send(pid, 1)
        cast(pid, 1)
    assert await call(pid, "peak") == 1


async def test_who_is_current_is_right_between_traps(node: Node) -> None:
    """A blocked handler's identity neither sticks to the loop nor gets lost when the handler goes on."""
    seen: list[bool] = []

    class Knows(Actor):
        async def handle_info(self, message: Any) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                seen.append(self.node.sched.current is self._process)

    pids: list[Pid] = [await node.spawn(Knows) for _ in range(5)]
    for pid in pids:
        send(pid, 1)
    for _ in range(10):
        await trio.lowlevel.checkpoint()
        assert node.sched.current is None
    assert seen == [True] * 15
    assert inside(pids[0]).flags == 0
