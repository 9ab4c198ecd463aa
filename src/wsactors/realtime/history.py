"""A topic's past: a bounded ring of publications, and what somebody who was away has missed. Pure."""

from __future__ import annotations

from collections import deque
from itertools import islice

import attrs

from .publication import Position, Publication


@attrs.frozen
class Gap:
    """What came after a position."""

    missed: tuple[Publication, ...]
    recovered: bool
    """Whether that is all of it. If not, nothing is given: a hole in the middle cannot be seen."""


class HistoryBudget:
    """What the histories of a node may keep together. When it is used up, the oldest publication of any of them gives way:
    many topics with a little in each are as dear as one with much, and strangers can make many."""

    def __init__(self, bytes_limit: int) -> None:
        self._limit = bytes_limit
        self._used = 0
        self._alive = 0
        self._order: deque[tuple[History, int]] = deque()
        """Where every publication is, oldest first; also of those that their topic has dropped since."""

    @property
    def used(self) -> int:
        """Bytes that are kept now, an estimate."""
        return self._used

    def keep(self, history: History, offset: int, size: int) -> None:
        """``history`` has one more."""
        self._used += size
        self._alive += 1
        self._order.append((history, offset))
        while self._used > self._limit and self._order:
            oldest, until = self._order.popleft()
            oldest.drop_until(until)
        if len(self._order) > 2 * self._alive + 1_000:
            self._order = deque(each for each in self._order if each[0].holds(each[1]))

    def give_back(self, size: int) -> None:
        """One was dropped."""
        self._used -= size
        self._alive -= 1


class History:
    """The newest publications of one epoch.

    Args:
        epoch: names this history; a position of another epoch cannot be recovered.
        size: most publications that are kept.
        seconds: how long one is kept.
        bytes_limit: most bytes of payload that are kept, an estimate.
        budget: shared with the other histories of the node.

    >>> history = History("e1", size=2)
    >>> for offset in (1, 2, 3):
    ...     history.add(Publication(topic="t", event="e", payload=None, offset=offset), now=0.0)
    >>> history.since(Position("e1", 1), now=0.0).recovered, history.since(Position("e1", 0), now=0.0).recovered
    (True, False)
    """

    def __init__(
        self,
        epoch: str,
        *,
        size: int,
        seconds: float = 300.0,
        bytes_limit: int = 4 * 1024 * 1024,
        budget: HistoryBudget | None = None,
    ) -> None:
        self.epoch = epoch
        self.offset = 0
        """Of the newest publication."""
        self._size = size
        self._seconds = seconds
        self._bytes_limit = bytes_limit
        self._ring: deque[tuple[float, int, Publication]] = deque()
        self._bytes = 0
        self._budget = budget

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def position(self) -> Position:
        """Where a reader who has everything is."""
        return Position(self.epoch, self.offset)

    def add(self, publication: Publication, now: float, size: int = 0) -> None:
        """Keep ``publication``, whose offset follows the newest; ``size`` if its `estimate` is known."""
        if publication.offset != self.offset + 1:
            raise ValueError(f"expected offset {self.offset + 1}, got {publication.offset}")
        self.offset = publication.offset
        size = size or estimate(publication.payload)
        self._ring.append((now, size, publication))
        self._bytes += size
        if self._budget is not None:
            self._budget.keep(self, publication.offset, size)
        while len(self._ring) > self._size or self._bytes > self._bytes_limit:
            self._drop()
        self.expire(now)

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._ring and self._ring[0][0] <= now - self._seconds:
            self._drop()

    def since(self, position: Position, now: float, limit: int | None = None) -> Gap:
        """What came after ``position``: all of it (at most ``limit``), or nothing and ``recovered`` False."""
        self.expire(now)
        if type(position.offset) is not int:  # positions come from strangers, through several codecs
            return Gap((), recovered=False)
        behind = self.offset - position.offset
        whole = position.epoch == self.epoch and 0 <= behind <= len(self._ring) and (limit is None or behind <= limit)
        if not whole or not self._size:  # who keeps nothing does not even know that nothing came
            return Gap((), recovered=False)
        return Gap(self.latest(behind), recovered=True)

    def latest(self, count: int) -> tuple[Publication, ...]:
        """The newest ``count`` that are kept, oldest first."""
        newest_first = tuple(entry[2] for entry in islice(reversed(self._ring), max(0, count)))
        return newest_first[::-1]

    def holds(self, offset: int) -> bool:
        """Whether the publication with this offset is still kept."""
        return self.offset - len(self._ring) < offset <= self.offset

    def drop_until(self, offset: int) -> None:
        """Forget that publication, and what is older."""
        while self.holds(offset):
            self._drop()

    def clear(self) -> None:
        """Forget everything."""
        while self._ring:
            self._drop()

    def _drop(self) -> None:
        size = self._ring.popleft()[1]
        self._bytes -= size
        if self._budget is not None:
            self._budget.give_back(size)


def estimate(payload: object) -> int:
    """About how many bytes ``payload`` takes in memory; exact only for texts and bytes."""
    total, waiting = 0, [payload]
    while waiting:
        value = waiting.pop()
        total += 64
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            waiting.extend(value)
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return total
