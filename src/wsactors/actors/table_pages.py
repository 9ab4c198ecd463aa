"""Reading a table a page at a time, safely while it changes: rows present the whole time are seen exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from wsactors.actors.pattern_match import Lookup, Matcher, Plan, Range
from wsactors.actors.table_store import BagStore, Key, OrderedStore, Row, Slot, Store
from wsactors.actors.term_order import Token

Position = Any
"""Where a scan stands: a token in an ordered table, ``(place, number)`` among copied keys in the others."""


@attrs.frozen
class Continuation:
    """Where a paged query goes on; give it to ``select_next`` (of the same table, any number of times).

    In an ``ordered_set`` it is a key, and the scan sees rows that appear ahead of it. In the other kinds it shares a
    copy of the keys, made when the scan began (8 bytes and 10 to 20 ns per key, held while a continuation is), and
    rows that appear later are not seen.
    """

    table: int
    """Id of the table it belongs to."""
    matcher: Matcher = attrs.field(repr=lambda matcher: repr(matcher.query))
    plan: Plan = attrs.field(repr=False)
    limit: int
    examine: int | None
    after: Position = attrs.field(repr=False)
    keys: tuple[Key, ...] | list[Key] | None = attrs.field(repr=False, eq=False)


@attrs.frozen
class Page:
    """Some results of a query. ``more`` is None when there are no others."""

    rows: tuple[Any, ...]
    more: Continuation | None


def candidates(store: Store, plan: Plan, now: float) -> Iterator[tuple[Key, Slot, Row]]:
    """Everything a plan leads to, with its slot. The store must not change while this is walked."""
    match plan:
        case Lookup(key=key):
            for slot, row in store.entries(key, now):
                yield key, slot, row
        case Range(low=low, high=high):
            yield from store.scan(now, low, high)
        case _:
            yield from store.scan(now)


def positions(store: Store, at: Continuation, now: float) -> Iterator[tuple[Position, Row]]:
    """What is left of a paged scan: rows in order, each with the position to go on after it."""
    if isinstance(store, OrderedStore) and not isinstance(at.plan, Lookup):
        yield from _ordered(store, at, now)
    else:
        yield from _copied(store, at, now)


def copied_keys(store: Store, plan: Plan) -> list[Key] | None:
    """The keys a scan will walk along; None where the order of the table itself leads it."""
    match plan:
        case Lookup(key=key):
            return [key]
        case _:
            return None if isinstance(store, OrderedStore) else store.keys()


def _ordered(store: OrderedStore, at: Continuation, now: float) -> Iterator[tuple[Token, Row]]:
    low, high = (at.plan.low, at.plan.high) if isinstance(at.plan, Range) else (None, None)
    start = (low, True) if at.after is None else (at.after, False)
    for token in store.between(start[0], high, inclusive=(start[1], True)):
        for _slot, row in store.entries(token[-1], now):
            yield token, row


def _copied(store: Store, at: Continuation, now: float) -> Iterator[tuple[tuple[int, int], Row]]:
    keys = at.keys or ()
    place, number = at.after or (0, 0)
    while place < len(keys):
        if isinstance(store, BagStore):
            for seen, row in store.numbered(keys[place], number, now):
                yield (place, seen), row
        elif number == 0:
            for _slot, row in store.entries(keys[place], now):
                yield (place, 1), row
        place, number = place + 1, 0


def begin(store: Store, table: int, matcher: Matcher, plan: Plan, limit: int, examine: int | None) -> Continuation:
    """The start of a paged scan."""
    return Continuation(table, matcher, plan, limit, examine, None, copied_keys(store, plan))
