"""One timer service per node: many timers, one task, exact cancellation.

Timers of equal delay expire in the order they were set, so each delay has its own *lane*: an ordered dict whose first entry is
its next to expire. Setting and cancelling are O(1) and a cancelled timer leaves nothing behind, which matters for call
deadlines: nearly all of them are cancelled, and a heap would keep each until its time. Delays beyond ``MAX_LANES`` distinct
ones share a heap.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any, Final

import trio

MAX_LANES: Final = 128
SLICE: Final = 0.0003
"""Seconds of due timers fired before other tasks get a turn."""


class Entry:
    """Something with a time: a ``Timer``, or a call with a deadline. ``lane`` is where it waits, None once fired or cancelled."""

    __slots__ = ("lane", "when")

    lane: OrderedDict[Entry, None] | None
    when: float

    def fire(self) -> None:
        """Its time has come."""
        raise TypeError(f"{type(self).__name__} does not say what happens when it fires")


class Timer(Entry):
    """Calls ``act(argument)``."""

    __slots__ = ("act", "argument")

    def __init__(self, act: Callable[[Any], None], argument: Any) -> None:
        self.act = act
        self.argument = argument
        self.lane = None

    def fire(self) -> None:
        """Its time has come."""
        act, argument = self.act, self.argument
        self.argument = None
        act(argument)


class Timers:
    """All timers of a node. What fires is the runtime's own code and never raises."""

    def __init__(self) -> None:
        self._lanes: dict[float, OrderedDict[Entry, None]] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._heaped: OrderedDict[Entry, None] = OrderedDict()
        """The live entries of the heap; those cancelled stay in the heap until they surface or it is rebuilt."""
        self._spill: list[OrderedDict[Entry, None]] = []
        self._order = count()
        self._next = float("inf")
        self._scope: trio.CancelScope | None = None
        self.now: Callable[[], float] = trio.current_time

    def add(self, delay: float, act: Callable[[Any], None], argument: Any) -> Timer:
        """Have ``act(argument)`` called in ``delay`` seconds (negative counts as 0)."""
        timer = Timer(act, argument)
        self.schedule(delay, timer)
        return timer

    def schedule(self, delay: float, entry: Entry) -> None:
        """Have ``entry.fire()`` called in ``delay`` seconds."""
        entry.when = when = self.now() + (delay if delay > 0 else 0.0)
        lane = self._lanes.get(delay)
        if lane is None:
            lane = self._new_lane(delay, entry)
        entry.lane = lane
        lane[entry] = None
        if when < self._next:
            self._expect(when)

    def _new_lane(self, delay: float, entry: Entry) -> OrderedDict[Entry, None]:
        if len(self._lanes) < MAX_LANES:
            lane: OrderedDict[Entry, None] = OrderedDict()
            self._lanes[delay] = lane
            return lane
        heapq.heappush(self._heap, (entry.when, next(self._order), entry))
        if len(self._heap) > 1_000 and len(self._heap) > 2 * len(self._heaped):
            self._heap = [item for item in self._heap if item[2].lane is self._heaped or item[2] is entry]
            heapq.heapify(self._heap)
        return self._heaped

    def cancel(self, entry: Entry) -> bool:
        """Whether it was still to come. What is cancelled, or has fired, stays so."""
        lane = entry.lane
        if lane is None:
            return False
        entry.lane = None
        del lane[entry]
        return True

    def drop(self, timer: Timer) -> bool:
        """``cancel``, and let go of what it would have acted on: it may refer to the timer, and cycles wait for the collector."""
        pending = self.cancel(timer)
        timer.argument = None
        return pending

    def __len__(self) -> int:
        return sum(map(len, (*self._lanes.values(), *self._spill, self._heaped)))

    @trio.lowlevel.enable_ki_protection
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
            when, order, lane = merged[0]
            entry = next(iter(lane), None)
            if entry is None or entry.when != when:
                # Something fired before has cancelled the head of this lane.
                merged = self._due_heads(now)
                continue
            del lane[entry]
            entry.lane = None
            entry.fire()
            head = next(iter(lane), None)
            if head is not None and head.when <= now:
                heapq.heapreplace(merged, (head.when, order, lane))
            else:
                heapq.heappop(merged)
            if perf_counter() > stop:
                self._next = now
                return
        heads = [next(iter(lane)).when for lane in self._lanes.values() if lane]
        if self._heap:
            heads.append(self._heap[0][0])
        self._next = min(heads, default=float("inf"))
        if len(self._lanes) == MAX_LANES:
            self._lanes = {delay: lane for delay, lane in self._lanes.items() if lane}

    def _due_heads(self, now: float) -> list[tuple[float, int, OrderedDict[Entry, None]]]:
        """The lanes with something due, as a heap by first entry; what is due of the shared heap becomes a lane of its own."""
        heap = self._heap
        due: OrderedDict[Entry, None] = OrderedDict()
        while heap and (heap[0][0] <= now or heap[0][2].lane is not self._heaped):
            entry = heapq.heappop(heap)[2]
            if entry.lane is self._heaped:
                del self._heaped[entry]
                entry.lane = due
                due[entry] = None
        if due:
            self._spill.append(due)
        self._spill = [lane for lane in self._spill if lane]
        merged = [
            (head.when, order, lane)
            for order, lane in enumerate((*self._lanes.values(), *self._spill))
            if lane and (head := next(iter(lane))).when <= now
        ]
        heapq.heapify(merged)
        return merged
