"""The timer service: in order, each once, none early, none after it was cancelled; with few delays or with very many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from wsactors.actors import Actor, Pid, cast
from wsactors.actors.timers import MAX_LANES, Timer, Timers
from wsactors.supervision.node import Node

DELAYS = st.one_of(
    st.sampled_from([0.0, 1.0, 5.0]),  # lanes with many timers in each
    st.integers(1, 4_000).map(lambda number: number / 100),  # more delays than there are lanes
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(DELAYS, min_size=1, max_size=200)),
        st.tuples(st.just("cancel"), st.integers(0, 10_000)),
        st.tuples(st.just("cancel many"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.5, 3.0, 50.0])),
    ),
    max_size=60,
)


class World:
    """Timers under a clock of the test, and what ought to happen."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers = Timers()
        self.timers.now = lambda: self.time
        self.pending: dict[int, tuple[float, Timer]] = {}
        self.fired: list[int] = []
        self.count = 0

    def add(self, delay: float) -> None:
        number = self.count
        self.count += 1
        self.pending[number] = (self.time + delay, self.timers.add(delay, self.fired.append, number))

    def cancel(self, number: int) -> None:
        _, timer = self.pending.pop(number)
        assert self.timers.drop(timer)
        assert not self.timers.drop(timer)

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.fired.clear()
        for _ in range(1_000):
            self.timers._fire_due()
            if self.timers._next > self.time:
                break
        due = {number for number, (when, _) in self.pending.items() if when <= self.time}
        assert sorted(self.fired) == sorted(due)
        whens = [self.pending[number][0] for number in self.fired]
        assert whens == sorted(whens)
        for number in due:
            _, timer = self.pending.pop(number)
            assert not self.timers.cancel(timer)
        assert len(self.timers) == len(self.pending)
        # It wakes in time for the next, and not for those cancelled long ago if there is nothing else.
        assert self.timers._next <= min((when for when, _ in self.pending.values()), default=float("inf"))


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_each_fires_once_in_order_unless_cancelled(steps: list[tuple[str, Any]]) -> None:
    world = World()
    for what, how in steps:
        match what:
            case "add":
                for delay in how:
                    world.add(delay)
            case "cancel" if world.pending:
                world.cancel(list(world.pending)[how % len(world.pending)])
            case "cancel many":
                for number in [number for number in world.pending if number % how]:
                    world.cancel(number)
            case "wait":
                world.wait(how)
    world.wait(100.0)
    assert not world.pending


def test_equal_delays_fire_in_the_order_they_were_set_even_without_lanes_left() -> None:
    world = World()
    for number in range(MAX_LANES * 2):
        world.add(1_000.0 + number)
    first = world.count
    for _ in range(500):
        world.add(7.5)  # not one of the lanes: these share the heap
    world.time += 8.0
    world.timers._fire_due()
    while world.timers._next <= world.time:
        world.timers._fire_due()
    assert world.fired == list(range(first, first + 500))


def test_cancelled_timers_of_many_delays_do_not_pile_up() -> None:
    world = World()
    for number in range(50_000):
        world.add(10.0 + number / 1_000)
        if number >= MAX_LANES:
            world.cancel(number)
    assert len(world.timers) == MAX_LANES
    assert len(world.timers._heap) < 2_000


def test_what_a_timer_does_may_cancel_and_add_others() -> None:
    world = World()
    log: list[Any] = []
    later = world.timers.add(1.0, log.append, "cancelled by the first")

    def first(_: Any) -> None:
        log.append("first")
        assert world.timers.cancel(later)
        world.timers.add(0.0, log.append, "added by the first")

    world.timers.add(0.5, first, None)
    world.timers.add(1.5, log.append, "last")
    world.time = 2.0
    while world.timers._next <= world.time:
        world.timers._fire_due()
    assert sorted(log) == ["added by the first", "first", "last"]
    assert log[0] == "first"
    assert len(world.timers) == 0


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("timers") as node:
        yield node


async def test_an_actor_with_a_thousand_different_delays(node: Node, autojump_clock: MockClock) -> None:
    class Sets(Actor):
        def handle_cast(self, target: Pid) -> None:
            refs = {number: self.send_after(number * 0.37, target, number) for number in range(1_000)}
            for number, ref in refs.items():
                if number % 3:
                    assert self.cancel_timer(ref)

    async with node.attach() as me:
        pid = await node.spawn(Sets)
        start = trio.current_time()
        cast(pid, me.pid)
        for number in range(0, 1_000, 3):
            assert await me.receive() == number
            assert trio.current_time() - start == pytest.approx(number * 0.37, abs=1e-6)
        assert len(node.sched.timers) == 0
