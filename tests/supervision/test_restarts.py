"""Restarts that fail, restarts that wait, and the promise about restarts in any window."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.supervision._world import Slow, World, alive, children, crash, events_of, gone, logged, pid_of, restarting
from wsactors.actors import Pid, cast, send
from wsactors.actors.process_actor import Attached
from wsactors.errors import ChildError
from wsactors.supervision import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Supervisor,
    delete_child,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from wsactors.supervision.node import Node


async def start(node: Node, strategy: str, specs: list[ChildSpec], **options: object) -> Pid:
    pid = await node.spawn(Supervisor, strategy, specs, kwargs=options)
    assert isinstance(pid, Pid)
    return pid


# --- restarts that fail ------------------------------------------------------------------------------------------------


async def test_each_failed_attempt_counts_and_the_supervisor_gives_up(node: Node, me: Attached, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("ab"), intensity=3)
    ref = me.monitor(sup)
    world.plans["a"].extend(["fail"] * 99)
    world.take()
    with logged() as entries:
        cast(await pid_of(sup, "a"), ("exit", "boom"))
        down = await ref.wait()

    assert down is not None
    assert down.reason == "shutdown"
    assert world.take() == ["stop a boom", "fail a", "fail a", "fail a", "stop b shutdown"]
    assert [e["event"].removeprefix("supervisor.") for e in events_of(entries, "child_start_failed", "gave_up")] == [
        "child_start_failed",
        "child_start_failed",
        "child_start_failed",
        "gave_up",
    ]


async def failing(node: Node, world: World, **options: Any) -> Pid:
    """A supervisor whose child ``a`` has crashed and fails to start, again and again."""
    sup = await start(node, "one_for_one", world.specs("ab"), intensity=1_000_000, **options)
    world.plans["a"].extend(["fail"] * 500_000)
    cast(await pid_of(sup, "a"), ("exit", "boom"))
    await restarting(sup, "a")
    return sup


async def test_a_supervisor_serves_while_a_restart_fails_over_and_over(node: Node, world: World) -> None:
    with logged():
        sup = await failing(node, world)
        with trio.fail_after(30):
            for _ in range(20):
                await which_children(sup)
        attempts = world.events.count("fail a")
        pid = await start_child(sup, world.spec("c"))

    assert alive(pid)
    assert 0 < attempts < 500_000


async def test_a_restarting_child_can_be_given_up_but_not_restarted_or_deleted(node: Node, world: World) -> None:
    with logged():
        sup = await failing(node, world)
        for ask in (restart_child(sup, "a"), delete_child(sup, "a")):
            with pytest.raises(ChildError) as caught:
                await ask
            assert caught.value.reason == "restarting"
        with pytest.raises(ChildError) as caught:
            await start_child(sup, world.spec("a"))
        assert caught.value.reason == "already_present"
        await terminate_child(sup, "a")
        world.take()
        await trio.testing.wait_all_tasks_blocked()

    assert (await children(sup))["a"].status == "stopped"
    assert "fail a" not in world.take()  # the attempt that was on its way means nothing any more


async def test_a_supervisor_can_be_stopped_while_a_restart_fails(node: Node, me: Attached, world: World) -> None:
    with logged():
        sup = await failing(node, world)
        with trio.fail_after(30):
            node.exit(sup, "shutdown")
            await gone(sup)

    assert world.take()[-1] == "stop b shutdown"


async def test_a_full_mailbox_does_not_lose_the_next_attempt(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, "one_for_one", [world.spec("a"), world.spec("s", cls=Slow)])
    world.plans["a"].append("fail")
    victim = await pid_of(sup, "a")
    with logged():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminate_child, sup, "s")
            await trio.sleep(0.5)
            cast(victim, ("exit", "boom"))
            await gone(victim)
            while send(sup, "junk"):
                pass
        await trio.testing.wait_all_tasks_blocked()

    assert world.take() == ["start a", "start s", "stop a boom", "stop s shutdown", "fail a"]
    # intensity 1: the attempt after the failure was refused, so it did come, and the supervisor gave up
    assert not alive(sup)


# --- restarts that wait ------------------------------------------------------------------------------------------------


@pytest.fixture
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chance: every pause is as long as it can be."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


BACKOFF = Backoff(initial=1.0, maximum=4.0, factor=2.0, jitter=0.5, reset_after=60.0)


async def restart_delay(world: World, pid: Pid | None) -> float:
    """Crash a child and wait for its restart; seconds between."""
    assert pid is not None
    before = trio.current_time()
    cast(pid, ("exit", "boom"))
    after = await world.next_birth()
    await trio.testing.wait_all_tasks_blocked()
    return after - before


@pytest.mark.usefixtures("_even")
async def test_pauses_grow_while_a_child_keeps_falling_and_start_again_when_it_stood(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, "one_for_one", world.specs("a"), intensity=100, period=1.0, backoff=BACKOFF)
    delays = [await restart_delay(world, await pid_of(sup, "a")) for _ in range(4)]
    await trio.sleep(61)
    delays.append(await restart_delay(world, await pid_of(sup, "a")))

    assert delays == pytest.approx([1.0, 2.0, 4.0, 4.0, 1.0])


async def test_chance_shortens_a_pause(
    node: Node, world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.999)
    sup = await start(node, "one_for_one", world.specs("a"), intensity=100, backoff=BACKOFF)

    assert await restart_delay(world, await pid_of(sup, "a")) == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("_even")
async def test_failed_starts_wait_longer_and_longer(node: Node, world: World, autojump_clock: MockClock) -> None:
    sup = await start(node, "one_for_one", world.specs("a"), intensity=100, backoff=BACKOFF)
    world.plans["a"].extend(["fail"] * 2)

    assert await restart_delay(world, await pid_of(sup, "a")) == pytest.approx(1 + 2 + 4)


@pytest.mark.usefixtures("_even")
async def test_those_that_restart_together_do_not_run_through_the_pause(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, "rest_for_one", world.specs("abc"), backoff=BACKOFF)
    cast(await pid_of(sup, "b"), ("exit", "boom"))
    await trio.sleep(0.5)
    during = world.take(), [info.status for info in (await children(sup)).values()]
    await trio.sleep(1.0)

    assert during == (
        ["start a", "start b", "start c", "stop b boom", "stop c shutdown"],
        ["running", "restarting", "stopped"],
    )
    assert world.take() == ["start b", "start c"]


@pytest.mark.usefixtures("_even")
async def test_an_older_appointment_does_not_cut_a_later_pause_short(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    backoff = Backoff(initial=10.0, maximum=10.0, jitter=0)
    sup = await start(node, "one_for_one", world.specs("a"), intensity=100, backoff=backoff)
    cast(await pid_of(sup, "a"), ("exit", "boom"))  # restart due at 10
    await trio.sleep(2)
    await terminate_child(sup, "a")
    await restart_child(sup, "a")
    cast(await pid_of(sup, "a"), ("exit", "boom"))  # at 2: restart due at 12
    await trio.sleep(9)
    at_eleven = (await children(sup))["a"].status
    await trio.sleep(2)

    assert at_eleven == "restarting"
    assert (await children(sup))["a"].status == "running"


async def test_a_restart_that_is_sure_to_be_refused_is_not_waited_for(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, "one_for_one", world.specs("a"), intensity=0, backoff=BACKOFF)
    before = trio.current_time()
    cast(await pid_of(sup, "a"), ("exit", "boom"))
    await gone(sup)

    assert trio.current_time() == before


@pytest.mark.usefixtures("_even")
async def test_a_dynamic_supervisor_waits_too(node: Node, world: World, autojump_clock: MockClock) -> None:
    sup = await node.spawn(DynamicSupervisor, kwargs={"intensity": 100, "backoff": BACKOFF})
    delays = []
    pid = await start_child(sup, world.spec("a"))
    for _ in range(3):
        delays.append(await restart_delay(world, pid))
        [info] = await which_children(sup)
        pid = info.pid

    assert delays == pytest.approx([1.0, 2.0, 4.0])


# --- the promise -------------------------------------------------------------------------------------------------------

falls = st.lists(st.tuples(st.floats(0, 4, allow_nan=False), st.sampled_from("abcd")), max_size=25)


@settings(max_examples=60, deadline=None)
@given(
    strategy=st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
    intensity=st.integers(0, 4),
    period=st.floats(0.5, 6),
    falls=falls,
    backoff=st.none() | st.just(Backoff(initial=0.3, maximum=2.0, jitter=0.5)),
)
def test_restarts_in_any_window_never_exceed_the_intensity(
    strategy: str, intensity: int, period: float, falls: list[tuple[float, str]], backoff: Backoff | None
) -> None:
    world = World()

    async def main() -> None:
        async with Node("window") as node:
            sup = await start(node, strategy, world.specs("abcd"), intensity=intensity, period=period, backoff=backoff)
            world.born.clear()
            for gap, child_id in falls:
                await trio.sleep(gap)
                if not alive(sup):
                    break
                info = (await children(sup)).get(child_id)
                if info is not None and info.pid is not None:
                    await crash(sup, child_id) if backoff is None else cast(info.pid, ("exit", "boom"))
            await trio.sleep(10)
            survived.append(alive(sup))

    survived: list[bool] = []
    with logged():
        trio.run(main, clock=MockClock(autojump_threshold=0))
    moments = [moment for _, moment in world.born]
    if strategy != "one_for_one":  # a group restart starts several children at one moment, and counts once
        moments = sorted(set(moments))
    for end in moments:
        assert sum(0 <= end - moment <= period for moment in moments) <= intensity
    assert survived == [True] or falls
