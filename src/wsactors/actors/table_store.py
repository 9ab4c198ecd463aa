"""The containers behind tables: rows by key, their order, their deadlines. Pure: no access rules, clock or messages.

A *slot* names one stored row: its encoded key in a ``set`` or ``ordered_set``, ``(encoded key, number)`` in the bags.
Every method that shows rows takes ``now`` and leaves out those whose time has come, whether or not the sweep has been
by.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from wsactors.actors.table_expiry import Deadlines
from wsactors.actors.term_order import (
    EXACT_PLAIN,
    ORDERED_PLAIN,
    Token,
    exact_key,
    exactly_equal,
    order_token,
    ordered_key,
    tuple_length,
)

Row = tuple[Any, ...]
Key = Any
"""An encoded key."""
Slot = Any


class Store:
    """A ``set``: one row per key, keys exact."""

    unique: bool = True
    ordered: bool = False
    plain: frozenset[type] = EXACT_PLAIN
    """Key types that are their own encoding."""
    encode: Callable[[Any], Key] = staticmethod(exact_key)

    def __init__(self, *, fifo: bool = False) -> None:
        # An OrderedDict finds its oldest key in O(1), however many were deleted before; a dict walks over the gaps.
        self.rows: dict[Key, Any] = OrderedDict() if fifo else {}
        self.deadlines: Deadlines | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def live(self, key: Key, now: float) -> list[Row]:
        """The rows of one key."""
        return [row for _, row in self.entries(key, now)]

    def entries(self, key: Key, now: float) -> list[tuple[Slot, Row]]:
        """Slot and row of each row of one key."""
        row = self.rows.get(key)
        if row is None or (self.deadlines is not None and self.deadlines.expired(key, now)):
            return []
        return [(key, row)]

    def scan(self, now: float, low: Token | None = None, high: Token | None = None) -> Iterator[tuple[Key, Slot, Row]]:
        """Every row; in an ordered table those between two tokens, in order. The store must not change meanwhile."""
        deadlines = self.deadlines
        for key, row in self.rows.items():
            if deadlines is None or not deadlines.expired(key, now):
                yield key, key, row

    def put(self, key: Key, row: Row, deadline: float | None) -> tuple[Row | None, bool]:
        """Store a row; the row it replaced, if any, and whether anything changed. The deadline is replaced too."""
        old = self.rows.get(key)
        if old is None:
            self._appear(key)
        self.rows[key] = row
        self.renew(key, deadline)
        return old, True

    def renew(self, slot: Slot, deadline: float | None) -> None:
        """Give a stored row another deadline, or none."""
        if deadline is not None:
            if self.deadlines is None:
                self.deadlines = Deadlines()
            self.deadlines.set(slot, deadline)
        elif self.deadlines is not None:
            self.deadlines.drop(slot)

    def swap(self, slot: Slot, row: Row) -> None:
        """Another row in the same slot, with the same deadline."""
        self.rows[slot] = row

    def discard(self, slot: Slot) -> Row | None:
        """Remove one row."""
        row: Row | None = self.rows.pop(slot, None)
        if row is not None:
            self._vanish(slot)
            if self.deadlines is not None:
                self.deadlines.drop(slot)
        return row

    def purge(self, now: float, limit: int) -> tuple[list[Row], bool]:
        """Remove expired rows in at most ``limit`` steps; them, and whether there may be more."""
        if self.deadlines is None:
            return [], False
        slots, more = self.deadlines.take(now, limit)
        if not self.deadlines:
            self.deadlines = None
        return [row for slot in slots if (row := self.discard(slot)) is not None], more

    def lapsed(self, key: Key, now: float) -> list[Slot]:
        """Slots of one key whose rows have expired and were not swept yet."""
        expired = self.deadlines is not None and self.deadlines.expired(key, now)
        return [key] if expired else []

    def oldest(self) -> Slot:
        """The slot whose key came first. Only where ``fifo`` was asked for, and not when empty."""
        return next(iter(self.rows))

    def keys(self) -> list[Key]:
        """All keys at this moment: a copy, so that rows may come and go while it is walked."""
        return list(self.rows)

    def container_bytes(self) -> int:
        """Estimate of what the containers take, without keys and rows."""
        return sys.getsizeof(self.rows) + (0 if self.deadlines is None else 250 * len(self.deadlines))

    def detach(self) -> list[Any]:
        """Become empty in O(1) and hand back what was held, to be freed a little at a time."""
        held: list[Any] = [self.rows]
        self.rows = type(self.rows)()
        if self.deadlines is not None:
            held += self.deadlines.detach()
            self.deadlines = None
        return held

    def _appear(self, key: Key) -> None:
        """A key is new."""

    def _vanish(self, key: Key) -> None:
        """A key has no row any more."""


class OrderedStore(Store):
    """An ``ordered_set``: one row per key, keys in term order, ``1 == 1.0``.

    The dictionary answers lookups at the price of a ``set``; a sorted list of tokens beside it answers everything
    about order.
    """

    ordered = True
    plain = ORDERED_PLAIN
    encode = staticmethod(ordered_key)

    def __init__(self, *, fifo: bool = False) -> None:
        from sortedcontainers import SortedList

        super().__init__(fifo=fifo)
        self.tokens: Any = SortedList()
        self._lengths: dict[int, int] = {}  # how many keys are tuples of each length

    def lengths(self, at_least: int) -> list[int]:
        """The lengths from ``at_least`` up that tuple keys have, ascending."""
        return sorted(length for length in self._lengths if length >= at_least)

    def between(
        self,
        low: Token | None,
        high: Token | None,
        *,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[Token]:
        """Tokens in order from ``low`` to ``high``. The store must not change while this is walked."""
        return iter(self.tokens.irange(low, high, inclusive=inclusive, reverse=reverse))

    def scan(self, now: float, low: Token | None = None, high: Token | None = None) -> Iterator[tuple[Key, Slot, Row]]:
        rows, deadlines = self.rows, self.deadlines
        for token in self.tokens.irange(low, high):
            key = token[-1]
            if deadlines is None or not deadlines.expired(key, now):
                yield key, key, rows[key]

    def container_bytes(self) -> int:
        return super().container_bytes() + 80 * len(self.tokens)

    def detach(self) -> list[Any]:
        held = [*super().detach(), self.tokens]
        self.tokens, self._lengths = type(self.tokens)(), {}
        return held

    def _appear(self, key: Key) -> None:
        token = order_token(key)
        self.tokens.add(token)
        length = tuple_length(token)
        if length is not None:
            self._lengths[length] = self._lengths.get(length, 0) + 1

    def _vanish(self, key: Key) -> None:
        token = order_token(key)
        self.tokens.remove(token)
        length = tuple_length(token)
        if length is not None:
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]


class BagStore(Store):
    """A ``bag`` (no two exactly equal rows) or ``duplicate_bag``: any number of rows per key, as they came."""

    unique = False

    def __init__(self, *, duplicates: bool) -> None:
        super().__init__()
        self._duplicates = duplicates
        self._number = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def entries(self, key: Key, now: float) -> list[tuple[Slot, Row]]:
        bucket: dict[int, Row] = self.rows.get(key, {})
        if self.deadlines is None:
            return [((key, number), row) for number, row in bucket.items()]
        expired = self.deadlines.expired
        return [(slot, row) for number, row in bucket.items() if not expired(slot := (key, number), now)]

    def scan(self, now: float, low: Token | None = None, high: Token | None = None) -> Iterator[tuple[Key, Slot, Row]]:
        for key in self.rows:
            for slot, row in self.entries(key, now):
                yield key, slot, row

    def numbered(self, key: Key, after: int, now: float) -> Iterator[tuple[int, Row]]:
        """The rows of one key that were inserted after a certain one, with their numbers."""
        bucket: dict[int, Row] = self.rows.get(key, {})
        numbers = list(bucket)  # ascending, for they are given in order and never moved
        for number in numbers[bisect_right(numbers, after) :]:
            if self.deadlines is None or not self.deadlines.expired((key, number), now):
                yield number, bucket[number]

    def put(self, key: Key, row: Row, deadline: float | None) -> tuple[Row | None, bool]:
        bucket: dict[int, Row] | None = self.rows.get(key)
        if bucket is None:
            bucket = self.rows[key] = {}
        elif not self._duplicates:
            for number, present in bucket.items():
                if exactly_equal(present, row):
                    self.renew((key, number), deadline)
                    return present, False
        self._number += 1
        bucket[self._number] = row
        self._size += 1
        if deadline is not None:
            self.renew((key, self._number), deadline)
        return None, True

    def growth(self, keyed: list[tuple[Key, Row]]) -> int:
        """How many rows these would add."""
        if self._duplicates:
            return len(keyed)
        fresh: list[tuple[Key, Row]] = []
        for key, row in keyed:
            present = [*self.rows.get(key, {}).values(), *[other for mate, other in fresh if mate == key]]
            if not any(exactly_equal(row, other) for other in present):
                fresh.append((key, row))
        return len(fresh)

    def lapsed(self, key: Key, now: float) -> list[Slot]:
        if self.deadlines is None:
            return []
        expired = self.deadlines.expired
        return [slot for number in self.rows.get(key, ()) if expired(slot := (key, number), now)]

    def swap(self, slot: Slot, row: Row) -> None:
        key, number = slot
        self.rows[key][number] = row

    def discard(self, slot: Slot) -> Row | None:
        key, number = slot
        bucket: dict[int, Row] = self.rows.get(key, {})
        row = bucket.pop(number, None)
        if row is not None:
            self._size -= 1
            if not bucket:
                del self.rows[key]
            if self.deadlines is not None:
                self.deadlines.drop(slot)
        return row

    def container_bytes(self) -> int:
        return super().container_bytes() + 232 * len(self.rows)

    def detach(self) -> list[Any]:
        self._size = 0
        return super().detach()


def make_store(kind: str, *, fifo: bool) -> Store:
    """The store of a kind of table."""
    match kind:
        case "set":
            return Store(fifo=fifo)
        case "ordered_set":
            return OrderedStore(fifo=fifo)
        case _:
            return BagStore(duplicates=kind == "duplicate_bag")
