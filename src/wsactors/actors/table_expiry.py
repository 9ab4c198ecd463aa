"""When rows of a table run out. Pure: the caller brings the time.

A heap of deadlines would fill with stale entries as rows are renewed and deleted, and rebuilding it holds the loop
for as long as the table is big. Here each slot has exactly one entry in a sorted list. A deadline that moves later (a
rate limiter renews at every take) leaves its entry where it is: the sweep meets it early and puts it back. So
renewing costs two dictionary operations, memory is exact, and a sweep does a bounded number of steps at a time. Reads
never wait for the sweep: they compare the deadline itself.
"""

from __future__ import annotations

from typing import Any

Slot = Any
"""Whatever names a row inside its table."""

_Entry = tuple[float, int, Slot]


class Deadlines:
    """Deadlines of slots, in seconds of the caller's clock."""

    __slots__ = ("_entries", "_number", "_of")

    def __init__(self) -> None:
        from sortedcontainers import SortedList

        self._of: dict[Slot, tuple[float, _Entry]] = {}
        self._entries: Any = SortedList()  # entries of (not later than the deadline, tie-breaker, slot)
        self._number = 0

    def __len__(self) -> int:
        return len(self._of)

    def set(self, slot: Slot, deadline: float) -> None:
        """Give ``slot`` a deadline, in place of any it had."""
        held = self._of.get(slot)
        if held is not None and held[1][0] <= deadline:
            self._of[slot] = (deadline, held[1])
            return
        if held is not None:
            self._entries.remove(held[1])
        self._enter(slot, deadline)

    def drop(self, slot: Slot) -> None:
        """The slot has no deadline any more. Slots without one are ignored."""
        held = self._of.pop(slot, None)
        if held is not None:
            self._entries.remove(held[1])

    def get(self, slot: Slot) -> float | None:
        """The deadline of a slot."""
        held = self._of.get(slot)
        return None if held is None else held[0]

    def expired(self, slot: Slot, now: float) -> bool:
        """Whether the slot's time has come. A row with a deadline of ``now`` has expired."""
        held = self._of.get(slot)
        return held is not None and held[0] <= now

    def due(self, now: float) -> bool:
        """Whether ``take`` has something to look at."""
        return bool(self._entries) and self._entries[0][0] <= now

    def take(self, now: float, limit: int) -> tuple[list[Slot], bool]:
        """Take out slots that have expired, in at most ``limit`` steps; and whether there may be more."""
        taken: list[Slot] = []
        for _ in range(limit):
            if not self.due(now):
                break
            slot = self._entries.pop(0)[2]
            deadline = self._of.pop(slot)[0]
            if deadline <= now:
                taken.append(slot)
            else:
                self._enter(slot, deadline)
        return taken, self.due(now)

    def next(self) -> float | None:
        """A time before which nothing expires; None if nothing ever does."""
        return self._entries[0][0] if self._entries else None

    def detach(self) -> list[Any]:
        """Forget everything in O(1), and hand back what was held, to be freed a little at a time."""
        held = [self._of, self._entries]
        self._of, self._entries = {}, type(self._entries)()
        return held

    def _enter(self, slot: Slot, deadline: float) -> None:
        self._number += 1
        entry = (deadline, self._number, slot)
        self._of[slot] = (deadline, entry)
        self._entries.add(entry)
