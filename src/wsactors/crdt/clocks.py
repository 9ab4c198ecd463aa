"""Causal contexts: which events of which replicas are known, in the manner of version vectors with clouds.

Every event of a replica has a *dot*: the replica's name and a number that counts from 1. A context is a set of dots. What is
known without a gap from 1 is the replica's *clock*, as in a version vector; what is known beyond a gap is its *cloud*
(Almeida, Shoker, Baquero: Delta State Replicated Data Types, 2018). Both are kept as ranges, so a gap that closes is
compaction by itself, and a peer that claims a range of 10**12 events costs two numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

__all__ = ["Context", "Dot", "RangeSet"]

Dot: TypeAlias = tuple[str, int]
"""A replica's name and the number of one of its events, from 1."""


class RangeSet:
    """A set of whole numbers, kept as ranges that neither touch nor overlap.

    >>> RangeSet([(1, 3), (5, 9), (4, 4)])
    RangeSet([(1, 9)])
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """``ranges`` are pairs (first, last), both inside, in any order."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add every number from ``first`` to ``last`` (default: ``first`` alone).

        Raises:
            ValueError: ``last`` is before ``first``.
        """
        last = first if last is None else last
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1 <= last:  # by far the most frequent: the next number
            lasts[-1] = last
            return
        if last < first:
            raise ValueError(f"a range is (first, last) with first <= last, not ({first}, {last})")
        low = bisect_left(lasts, first - 1)
        high = bisect_right(firsts, last + 1)
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def update(self, other: RangeSet) -> None:
        """Add everything in ``other``."""
        for first, last in other.ranges():
            self.add(first, last)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges in order, as pairs (first, last)."""
        return zip(self._firsts, self._lasts, strict=True)

    def copy(self) -> RangeSet:
        """A set of its own with the same numbers."""
        other = RangeSet()
        other._firsts, other._lasts = self._firsts.copy(), self._lasts.copy()
        return other

    def covers(self, other: RangeSet) -> bool:
        """Whether every number of ``other`` is here too."""
        for first, last in other.ranges():
            place = bisect_right(self._firsts, first)
            if place == 0 or last > self._lasts[place - 1]:
                return False
        return True

    @property
    def last(self) -> int:
        """The greatest number; 0 when there is none."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return place > 0 and number <= self._lasts[place - 1]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self.ranges())})"


class Context:
    """A set of dots.

    >>> context = Context()
    >>> context.add(("a", 1)); context.add(("a", 3))
    >>> context.clock("a"), ("a", 2) in context, ("a", 3) in context
    (1, False, True)
    """

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, RangeSet] | None = None) -> None:
        self._known: dict[str, RangeSet] = {name: ranges.copy() for name, ranges in (known or {}).items()}

    def add(self, dot: Dot) -> None:
        """Know one dot more."""
        self.of(dot[0]).add(dot[1])

    def of(self, replica: str) -> RangeSet:
        """The numbers known of ``replica``; what is added to them is added to the context."""
        known = self._known.get(replica)
        if known is None:
            known = self._known[replica] = RangeSet()
        return known

    def update(self, other: Context) -> None:
        """Know everything that ``other`` knows: the join of the two."""
        for replica, ranges in other._known.items():
            self.of(replica).update(ranges)

    def forget(self, replica: str) -> None:
        """Know nothing of ``replica`` any more."""
        self._known.pop(replica, None)

    def clock(self, replica: str) -> int:
        """The last number of ``replica`` up to which there is no gap; 0 when the first is not known."""
        first, last = next(self._known.get(replica, _NOTHING).ranges(), (0, 0))
        return last if first == 1 else 0

    def vector(self) -> dict[str, int]:
        """Each replica's clock, as a version vector."""
        return {replica: clock for replica in self._known if (clock := self.clock(replica))}

    def items(self) -> Iterator[tuple[str, RangeSet]]:
        """Each replica and the numbers known of it."""
        return iter(self._known.items())

    def copy(self) -> Context:
        """A context of its own with the same dots."""
        return Context(self._known)

    def __contains__(self, dot: Dot) -> bool:
        return dot[1] in self._known.get(dot[0], _NOTHING)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Context):
            return NotImplemented
        return {name: known for name, known in self.items() if known} == {
            name: known for name, known in other.items() if known
        }

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Context({self._known})"


_NOTHING = RangeSet()
