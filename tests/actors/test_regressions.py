"""One test per fault that once was in the runtime, each named after what went wrong."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from wsactors.actors import Actor, Down, Pid, Request, Via, call, send, send_many, send_request
from wsactors.errors import CallExit, CallTimeout
from wsactors.supervision.node import Node


class Keeper(Actor):
    """Keeps what it receives."""

    def init(self) -> None:
        self.seen: list[Any] = []

    def handle_info(self, message: Any) -> None:
        self.seen.append(message)

    def handle_call(self, message: Any, caller: Request) -> Any:
        return self.seen


class Doer(Actor):
    """Runs what it is sent, as itself."""

    def handle_call(self, message: Any, caller: Request) -> Any:
        return message(self)


async def test_an_unlink_between_a_death_and_its_notice_counts(node: Node) -> None:
    first, second = await node.spawn(Doer), await node.spawn(Doer)

    def kill_then_unlink(me: Doer) -> None:
        me.link(second)
        me.exit(second, "kill")
        me.unlink(second)

    await call(first, kill_then_unlink)
    await trio.testing.wait_all_tasks_blocked()
    assert node.info().actors == 1
    assert first._process is not None


async def test_a_timer_for_something_that_is_no_target_is_refused_at_once(node: Node) -> None:
    pid = await node.spawn(Doer)
    with pytest.raises(CallExit) as caught:
        await call(pid, lambda me: me.send_after(0.01, 42, "x"))
    assert "TypeError" in str(caught.value.reason)
    assert await call(await node.spawn(Keeper), "seen") == []


class BrokenRegistry:
    def whereis(self, name: Any) -> Pid | None:
        raise LookupError(name)

    def register(self, name: Any, pid: Pid) -> None: ...

    def unregister(self, name: Any) -> None: ...


async def test_a_via_that_raises_when_a_timer_fires_ends_its_owner_alone(node: Node, autojump_clock: Any) -> None:
    owner = await node.spawn(Doer)
    other = await node.spawn(Keeper)
    async with node.attach() as me:
        ref = me.monitor(owner)
        await call(owner, lambda actor: actor.send_after(1, Via(BrokenRegistry(), "x"), "late") and None)
        down = await ref.wait(timeout=5)
    assert isinstance(down, Down)
    assert "LookupError" in str(down.reason)
    assert await call(other, "seen") == []


async def test_send_many_that_raises_midway_still_delivers_what_came_before(node: Node) -> None:
    pid = await node.spawn(Keeper)
    with pytest.raises(TypeError):
        send_many([pid, 42], "hello")  # type: ignore[list-item]
    assert await call(pid, "seen") == ["hello"]


async def test_demonitor_wakes_a_task_that_waits(node: Node) -> None:
    pid = await node.spawn(Keeper)
    results: list[Any] = []
    async with node.attach() as me, trio.open_nursery() as nursery:
        ref = me.monitor(pid)

        async def wait() -> None:
            results.append(await ref.wait(timeout=5))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        me.demonitor(ref)
    assert results == [None]


async def test_the_watchers_death_wakes_a_task_that_waits(node: Node) -> None:
    target, watcher = await node.spawn(Keeper), await node.spawn(Doer)
    ref = await call(watcher, lambda me: me.monitor(target))
    results: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            results.append(await ref.wait(timeout=5))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        node.exit(watcher, "kill")
    assert results == [None]


@pytest.mark.parametrize("inline", [True, False])
async def test_a_callee_that_kills_its_caller_stops_it_at_the_call(inline: bool) -> None:
    reached: list[str] = []

    class Victim(Actor):
        async def handle_call(self, message: Pid, caller: Request) -> None:
            me = self.pid
            await call(message, lambda killer: killer.exit(me, "kill"))
            reached.append("past the call")

    async with Node("victim", inline_calls=inline) as node:
        killer, victim = await node.spawn(Doer), await node.spawn(Victim)
        with pytest.raises(CallExit) as caught:
            await call(victim, killer)
    assert caught.value.reason == "killed"
    assert reached == []


async def test_send_request_is_no_cycle_of_calls() -> None:
    async with Node("cycle", debug=True) as node:

        class Asker(Actor):
            async def handle_call(self, message: Any, caller: Request) -> Any:
                match message:
                    case ("ask", Pid() as other):
                        return await call(other, ("back", self.pid))
                    case ("back", Pid() as other):
                        send_request(other, "later")
                        return "sent"
                return None

        first, second = await node.spawn(Asker), await node.spawn(Asker)
        assert await call(first, ("ask", second)) == "sent"


async def test_a_second_waiter_for_one_answer_is_told_so(node: Node) -> None:
    gate = trio.Event()

    class Slow(Actor):
        async def handle_call(self, message: Any, caller: Request) -> Any:
            await gate.wait()
            return message

    request = send_request(await node.spawn(Slow), "answer")
    results: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            results.append(await request.wait())

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await request.wait()
        gate.set()
    assert results == ["answer"]


async def test_cancelling_a_wait_leaves_the_request_open(node: Node, autojump_clock: Any) -> None:
    gate = trio.Event()

    class Slow(Actor):
        async def handle_call(self, message: Any, caller: Request) -> Any:
            await gate.wait()
            return message

    request = send_request(await node.spawn(Slow), "answer")
    with pytest.raises(CallTimeout):
        await request.wait(timeout=1)
    gate.set()
    assert await request.wait(timeout=1) == "answer"


async def test_a_message_to_an_actor_woken_by_an_exempt_one_is_handled_in_order(node: Node) -> None:
    watched = await node.spawn(Doer)
    keeper = await node.spawn(Keeper)
    async with node.attach() as me:
        me.exit(watched, "kill")
    for number in range(200):
        send(keeper, number)
    assert await call(keeper, "seen") == list(range(200))
