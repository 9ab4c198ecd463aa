"""One timer service per node: many timers, one task, exact cancellation.

Timers of equal delay expire in the order they were set, so each delay has its own *lane*: an ordered dict whose first entry is its
next to expire. Setting and cancelling are O(1) and a cancelled timer leaves nothing behind, which matters for call deadlines: nearly
all of them are cancelled, and a heap would keep each until its time. Delays beyond ``MAX_LANES`` distinct ones share a heap.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import trio

MAX_LANES: Final = 128
SLICE: Final = 0.001
"""Seconds of due timers fired before other tasks get a turn."""


class Timer:
    """One timer: calls ``fire(argument)`` at ``when`` (trio clock, seconds) unless cancelled."""

    __slots__ = ("argument", "fire", "lane", "when")

    def __init__(self, when: float, fire: Callable[[Any], None], argument: Any) -> None:
        self.when = when
        self.fire: Callable[[Any], None] | None = fire
        self.argument = argument
        self.lane: OrderedDict[Timer, None] | None = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Timers:
    """All timers of a node. ``fire`` callables are the runtime's own and never raise."""

    def __init__(self) -> None:
        self._lanes: dict[float, OrderedDict[Timer, None]] = {}
        self._heap: list[Timer] = []
        self._spill: list[OrderedDict[Timer, None]] = []
        self._cancelled = 0
        self._next = float("inf")
        self._scope: trio.CancelScope | None = None
        self.now: Callable[[], float] = trio.current_time

    def add(self, delay: float, fire: Callable[[Any], None], argument: Any) -> Timer:
        """Set a timer ``delay`` seconds from now (negative counts as 0)."""
        timer = Timer(self.now() + (delay if delay > 0 else 0.0), fire, argument)
        lane = self._lanes.get(delay)
        if lane is None and len(self._lanes) < MAX_LANES:
            lane = self._lanes[delay] = OrderedDict()
        if lane is None:
            heapq.heappush(self._heap, timer)
        else:
            timer.lane = lane
            lane[timer] = None
        if timer.when < self._next:
            self._expect(timer.when)
        return timer

    def cancel(self, timer: Timer) -> bool:
        """Whether it was still to come. A timer cancelled, or fired, stays so."""
        if timer.fire is None:
            return False
        timer.fire = None
        timer.argument = None
        lane = timer.lane
        if lane is not None:
            del lane[timer]
        else:
            self._cancelled += 1
            if self._cancelled > 1_000 and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry.fire is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0
        return True

    def __len__(self) -> int:
        return sum(map(len, (*self._lanes.values(), *self._spill))) + len(self._heap) - self._cancelled

    async def run(self) -> None:
        """Fire what is due, for ever. The node runs it as a task."""
        while True:
            self._fire_due()
            with trio.CancelScope(deadline=self._next) as self._scope:
                await trio.sleep_forever()
            self._scope = None

    def _expect(self, when: float) -> None:
        self._next = when
        if self._scope is not None:
            self._scope.deadline = when

    def _fire_due(self) -> None:
        now = self.now()
        stop = perf_counter() + SLICE
        merged = self._due_heads(now)
        while merged:
            _, order, lane = merged[0]
            timer = next(iter(lane))
            del lane[timer]
            timer.lane = None
            fire, argument = timer.fire, timer.argument
            timer.fire = timer.argument = None
            if fire is not None:
                fire(argument)
            if lane and (first := next(iter(lane))).when <= now:
                heapq.heapreplace(merged, (first.when, order, lane))
            else:
                heapq.heappop(merged)
            # A fired timer may have cancelled the head of another lane.
            while merged and not (merged[0][2] and next(iter(merged[0][2])).when == merged[0][0]):
                merged = self._due_heads(now)
            if perf_counter() > stop:
                self._next = now
                return
        self._next = min((next(iter(lane)).when for lane in self._lanes.values() if lane), default=float("inf"))
        if self._heap:
            self._next = min(self._next, self._heap[0].when)
        if len(self._lanes) == MAX_LANES:
            self._lanes = {delay: lane for delay, lane in self._lanes.items() if lane}

    def _due_heads(self, now: float) -> list[tuple[float, int, OrderedDict[Timer, None]]]:
        """The lanes with something due, as a heap by their first timer; due timers of the shared heap become lanes of their own."""
        heap = self._heap
        due: OrderedDict[Timer, None] = OrderedDict()
        while heap and (heap[0].fire is None or heap[0].when <= now):
            timer = heapq.heappop(heap)
            if timer.fire is None:
                self._cancelled -= 1
            else:
                due[timer] = None
                timer.lane = due
        if due:
            self._spill.append(due)
        self._spill = [lane for lane in self._spill if lane]
        merged = [
            (first.when, order, lane)
            for order, lane in enumerate((*self._lanes.values(), *self._spill))
            if lane and (first := next(iter(lane))).when <= now
        ]
        heapq.heapify(merged)
        return merged
