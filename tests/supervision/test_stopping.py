"""How children are stopped: asked, given their time, killed; and those that do not play by the rules."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.supervision._world import (
    Slow,
    Stubborn,
    Worker,
    World,
    alive,
    children,
    crash,
    events_of,
    gone,
    logged,
    pid_of,
)
from wsactors.actors import Actor, Pid, ProcessActor, cast
from wsactors.actors.process_actor import Attached
from wsactors.supervision import ChildSpec, Supervisor, start_child, terminate_child
from wsactors.supervision.node import Node


async def start(node: Node, *specs: ChildSpec, strategy: str = "one_for_one", **options: object) -> Pid:
    pid = await node.spawn(Supervisor, strategy, specs, kwargs=options)
    assert isinstance(pid, Pid)
    return pid


async def test_a_child_that_ignores_shutdown_is_killed_when_its_time_is_over(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, world.spec("a", cls=Stubborn, shutdown=2.0))
    before = trio.current_time()
    with logged() as entries:
        await terminate_child(sup, "a")

    assert trio.current_time() - before == pytest.approx(2.0)
    assert world.take() == ["start a", "stop a shutdown"]
    assert [(e["child"], e["reason"]) for e in events_of(entries, "child_stop_failed")] == [("a", "killed")]


async def test_infinity_waits_as_long_as_it_takes(node: Node, world: World, autojump_clock: MockClock) -> None:
    class Sleepy(Worker):
        async def terminate(self, reason: object) -> None:
            await trio.sleep(86_400)

    sup = await start(node, world.spec("a", cls=Sleepy, shutdown="infinity"))
    before = trio.current_time()
    await terminate_child(sup, "a")

    assert trio.current_time() - before == pytest.approx(86_400)


async def test_a_brutal_kill_asks_nobody(node: Node, world: World) -> None:
    sup = await start(node, world.spec("a", cls=Stubborn, shutdown="brutal_kill"))
    with logged() as entries:
        await terminate_child(sup, "a")

    assert world.take() == ["start a"]
    assert events_of(entries, "child_stop_failed") == []  # "killed" is what was asked for


async def test_no_time_at_all_still_asks_first(node: Node, world: World, autojump_clock: MockClock) -> None:
    sup = await start(node, world.spec("a", cls=Stubborn, shutdown=0))
    before = trio.current_time()
    await terminate_child(sup, "a")

    assert trio.current_time() == before


async def test_a_naughty_child_that_unlinked_itself_is_stopped_all_the_same(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, world.spec("a"), world.spec("b", cls=Stubborn, shutdown=1.0))
    naughty, worse = await pid_of(sup, "a"), await pid_of(sup, "b")
    cast(naughty, "unlink")
    cast(worse, "unlink")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(30):
        await terminate_child(sup, "a")
        await terminate_child(sup, "b")

    assert not alive(naughty)
    assert not alive(worse)


async def test_a_naughty_child_that_died_unseen_does_not_hang_its_supervisor(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, world.spec("a", shutdown="infinity"))
    naughty = await pid_of(sup, "a")
    cast(naughty, "unlink")
    cast(naughty, ("exit", "boom"))
    await gone(naughty)
    assert (await children(sup))["a"].status == "running"  # as in OTP: nobody told it
    with trio.fail_after(30):
        await terminate_child(sup, "a")

    assert (await children(sup))["a"].status == "stopped"


async def test_a_static_supervisor_stops_one_after_the_other(
    node: Node, me: Attached, world: World, autojump_clock: MockClock
) -> None:
    """The worst case is the sum of the time-outs; a supervisor that asked all at once would take one second."""
    sup = await me.spawn(Supervisor, "one_for_one", [world.spec(name, cls=Slow) for name in "abc"])
    before = trio.current_time()
    me.exit(sup, "shutdown")
    await trio.sleep(1.5)
    half = world.take()
    ref = me.monitor(sup)
    await ref.wait()

    assert half == ["start a", "start b", "start c", "stop c shutdown"]
    assert world.take() == ["stop b shutdown", "stop a shutdown"]
    assert trio.current_time() - before == pytest.approx(3.0)


async def test_a_child_that_died_before_it_was_asked_tells_why_and_is_not_restarted(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    """Its monitor only says noproc; the reason is in the Exit that waits behind the request. Taken for a crash of its own
    later, that Exit would restart a child that was just stopped on purpose."""
    sup = await start(node, world.spec("a"), world.spec("s", cls=Slow))
    victim = await pid_of(sup, "a")
    with logged() as entries:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminate_child, sup, "s")
            await trio.sleep(0.3)
            nursery.start_soon(terminate_child, sup, "a")
            await trio.sleep(0.3)
            cast(victim, ("exit", "boom"))

    assert (await children(sup))["a"].status == "stopped"
    assert [(e["child"], e["reason"]) for e in events_of(entries, "child_stop_failed")] == [("a", "boom")]
    assert world.take() == ["start a", "start s", "stop a boom", "stop s shutdown"]


async def test_an_exit_that_comes_late_from_a_stopped_child_is_nobodys(node: Node, world: World) -> None:
    sup = await start(node, *world.specs("ab"), strategy="one_for_all", intensity=1)
    await crash(sup, "a")  # stops b: its exit reaches the mailbox too, and must not count as a crash

    assert alive(sup)
    assert [info.status for info in (await children(sup)).values()] == ["running", "running"]


async def test_a_supervisor_killed_while_it_waits_for_a_stubborn_child_goes_at_once(
    node: Node, me: Attached, world: World, autojump_clock: MockClock
) -> None:
    sup = await me.spawn(Supervisor, "one_for_one", [world.spec("a", cls=Stubborn, shutdown="infinity")])
    ref = me.monitor(sup)
    me.exit(sup, "shutdown")
    await trio.sleep(1.0)
    assert alive(sup)
    me.exit(sup, "kill")
    down = await ref.wait(1.0)

    assert down is not None
    assert down.reason == "killed"


async def test_the_kill_of_one_level_reaches_the_levels_below(
    node: Node, me: Attached, world: World, autojump_clock: MockClock
) -> None:
    """The top gives its only child, a supervisor, one second; that one waits for a child that would take for ever. (As in OTP,
    that child itself, stuck in its own clean-up with exits trapped, is only ended by the node's stop.)"""
    specs = [world.spec("a"), world.spec("b", cls=Stubborn, shutdown="infinity")]
    top = await me.spawn(
        Supervisor, "one_for_one", [ChildSpec("inner", Supervisor, ("one_for_one", specs), shutdown=1.0)]
    )
    sub = await pid_of(top, "inner")
    victim = await pid_of(sub, "a")
    ref, last = me.monitor(top), me.monitor(victim)
    before = trio.current_time()
    me.exit(top, "shutdown")
    await ref.wait()
    down = await last.wait(1.0)

    assert trio.current_time() - before == pytest.approx(1.0)
    assert down is not None
    assert down.reason == "killed"
    assert world.take()[2:] == ["stop b shutdown", "stop a killed"]


async def test_a_process_style_child_is_cancelled_and_restarted_like_any_other(node: Node, world: World) -> None:
    class Loop(ProcessActor):
        async def init(self) -> None:
            world.say("start")

        async def run(self) -> None:
            try:
                if await self.receive() == "fall":
                    raise ValueError("fell")
            finally:
                world.say("end")

    sup = await start(node, ChildSpec("loop", Loop))
    first = await pid_of(sup, "loop")
    node.send(first, "fall")
    await gone(first)
    await trio.testing.wait_all_tasks_blocked()
    second = await pid_of(sup, "loop")
    await terminate_child(sup, "loop")

    assert second != first
    assert world.take() == ["start", "end", "start", "end"]


async def test_the_end_of_a_child_that_was_asked_to_stop_but_crashed_is_reported(node: Node, world: World) -> None:
    class Clumsy(Worker):
        def terminate(self, reason: object) -> None:
            raise RuntimeError("dropped it")

    sup = await start(node, world.spec("a", cls=Clumsy))
    with logged() as entries:
        await terminate_child(sup, "a")

    assert [e["reason"] for e in events_of(entries, "child_stop_failed")] == ["RuntimeError: dropped it"]


async def test_reports_hold_no_arguments(node: Node, world: World) -> None:
    class Keeper(Actor):
        async def init(self, password: str) -> None: ...

        def handle_cast(self, message: object) -> None:
            raise ValueError("fell")

    sup = await start(node)
    with logged() as entries:
        pid = await start_child(sup, ChildSpec("k", Keeper, ("hunter2",)))
        assert pid is not None
        cast(pid, "go")
        await gone(pid)
        await trio.testing.wait_all_tasks_blocked()
        await terminate_child(sup, "k")
    told = [entry for entry in entries if entry["event"].startswith("supervisor.")]

    assert len(told) == 3
    assert "hunter2" not in str(told)
