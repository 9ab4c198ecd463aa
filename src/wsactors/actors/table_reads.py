"""Reading tables by key, by neighbour and by range. A lookup costs a dictionary lookup and a few attribute loads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from wsactors.actors.table_core import TableCore, Walk
from wsactors.actors.table_store import OrderedStore, Row
from wsactors.actors.term_order import HIGHEST, LOWEST, Token, bound_token, order_token, text_range, tuples_from
from wsactors.errors import BadKey, NoSuchKey, TableKindError


class EndOfTable:
    """Type of ``END``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "END"

    def __reduce__(self) -> str:
        return "END"  # a copy is the same object


END: Final = EndOfTable()
"""What ``first``, ``next``, ``prev`` and ``last`` return where there is no such key (``None`` may be one)."""

_MISSING: Final = EndOfTable()

Span = tuple[Token | None, Token | None, tuple[bool, bool]]
"""Low and high end of a stretch of an ordered table, and whether each end belongs to it."""


class TableReads(TableCore):
    """Lookups, walking from key to key, ranges and prefixes."""

    __slots__ = ()

    # --- one key -----------------------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None) -> Any:
        """The row with this key, or ``default``. Not for the bags, which may have several: use ``lookup``."""
        if self._slow:
            return self._careful_get(key, default)
        if type(key) not in self._plain:
            key = self._encode(key)
        return self._rows.get(key, default)

    def lookup(self, key: Any) -> list[Row]:
        """The rows with this key: none or one, in the bags any number in the order they were inserted."""
        if self._slow:
            return self._careful_lookup(key)
        if type(key) not in self._plain:
            key = self._encode(key)
        row = self._rows.get(key)
        return [] if row is None else [row]

    def member(self, key: Any) -> bool:
        """Whether there is a row with this key. ``key in table`` says the same."""
        if self._slow:
            return bool(self._careful_lookup(key))
        if type(key) not in self._plain:
            key = self._encode(key)
        return key in self._rows

    __contains__ = member

    def __len__(self) -> int:
        """Rows held, as ``info().size``; every actor may ask."""
        return self.info().size

    def __bool__(self) -> bool:
        """A table is a thing, empty or not: ``if table`` asks whether there is one."""
        return True

    def lookup_element(self, key: Any, position: int, default: Any = _MISSING) -> Any:
        """One element of the row with this key; in the bags a list of it, of each row.

        Raises ``NoSuchKey`` without a row, unless there is a ``default``; ``BadKey`` for a position the row has not.
        """
        rows = self.lookup(key)
        if not rows:
            if default is not _MISSING:
                return default
            raise NoSuchKey(f"no row with key {key!r} in {self!r}; give default= if that may be")
        if type(position) is not int or not all(0 <= position < len(row) for row in rows):
            raise BadKey(f"position {position!r} is not in the row: positions count from 0")
        elements = [row[position] for row in rows]
        return elements[0] if self._store.unique else elements

    def _careful_get(self, key: Any, default: Any) -> Any:
        if not self._store.unique:
            raise TableKindError(
                f"get() is for tables with one row per key; {self!r} is a {self.spec.kind}: use lookup()"
            )
        self._may_read()
        encoded = self._key_of(key)
        row = self._rows.get(encoded, default)
        deadlines = self._store.deadlines
        return default if deadlines is not None and deadlines.expired(encoded, self._host.now()) else row

    def _careful_lookup(self, key: Any) -> list[Row]:
        self._may_read()
        return self._store.live(self._key_of(key), self._now())

    # --- neighbours --------------------------------------------------------------------------------------------------

    def first(self) -> Any:
        """The first key: the least of an ``ordered_set``, any of the others. ``END`` if the table is empty.

        On the unordered kinds ``first`` takes a copy of the keys that ``next`` and ``prev`` walk along, so that rows
        present during the whole walk are met exactly once, whatever comes and goes.
        """
        self._may_read()
        if isinstance(self._store, OrderedStore):
            return self._nearest(self._store, (None, None, (True, True)))
        self._walk = Walk(self._store.keys())
        return self._from(0, 1)

    def last(self) -> Any:
        """The last key: the greatest of an ``ordered_set``, any of the others."""
        self._may_read()
        if isinstance(self._store, OrderedStore):
            return self._nearest(self._store, (None, None, (True, True)), reverse=True)
        self._walk = Walk(self._store.keys())
        return self._from(len(self._walk.keys) - 1, -1)

    def next(self, key: Any) -> Any:
        """The key after this one, or ``END``.

        In an ``ordered_set`` ``key`` itself need not be there. In the others it must have come from this walk or be in
        the table, else ``NoSuchKey``; if walks cross, finding the place again costs a search.
        """
        self._may_read()
        if isinstance(self._store, OrderedStore):
            return self._nearest(self._store, (bound_token(key), None, (False, True)))
        return self._from(self._place(key) + 1, 1)

    def prev(self, key: Any) -> Any:
        """The key before this one, or ``END``; see ``next``."""
        self._may_read()
        if isinstance(self._store, OrderedStore):
            return self._nearest(self._store, (None, bound_token(key), (True, False)), reverse=True)
        return self._from(self._place(key) - 1, -1)

    def _nearest(self, store: OrderedStore, span: Span, *, reverse: bool = False) -> Any:
        for row in self._along(store, [span], reverse=reverse):
            return row[self.spec.keypos]
        return END

    def _place(self, key: Any) -> int:
        """Where the walk stands at ``key``."""
        encoded = self._key_of(key)
        at = None if self._walk is None else self._walk.place(encoded)
        if at is None:
            if not self._store.live(encoded, self._now()):
                raise NoSuchKey(f"{key!r} is not in {self!r}: walk with first() and next(), or with pages()")
            self._walk = Walk(self._store.keys())
            at = self._walk.place(encoded)
        return at or 0

    def _from(self, at: int, step: int) -> Any:
        """The first key of the walk, from a place on, that still has a row."""
        now, keys = self._now(), self._walk.keys if self._walk is not None else []
        while 0 <= at < len(keys):
            rows = self._store.live(keys[at], now)
            if rows:
                return rows[0][self.spec.keypos]
            at += step
        self._walk = None
        return END

    # --- ranges ------------------------------------------------------------------------------------------------------

    def range(
        self,
        low: Any = LOWEST,
        high: Any = HIGHEST,
        *,
        include_low: bool = True,
        include_high: bool = False,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[Row]:
        """Rows whose keys lie from ``low`` up to ``high``, in order (``reverse``: from the top). ``ordered_set`` only.

        Ends may be ``LOWEST`` and ``HIGHEST``, also inside tuples. To go on after ``limit`` rows, start at the last key
        with ``include_low=False``.
        """
        store = self._ordered("range")
        span = (bound_token(low), bound_token(high), (include_low, include_high))
        return self._limited(self._along(store, [span], reverse=reverse), limit)

    def prefix(self, prefix: Any, *, reverse: bool = False, limit: int | None = None) -> list[Row]:
        """Rows whose key starts with ``prefix``, in order. ``ordered_set`` only.

        A str or bytes prefix finds the strings or bytes that start with it, a tuple the tuples (of any length) whose
        first elements equal its own. Costs one search for each length that tuple keys of the table have.
        """
        store = self._ordered("prefix")
        spans = self._prefix_spans(store, prefix)
        return self._limited(self._along(store, spans[::-1] if reverse else spans, reverse=reverse), limit)

    def _ordered(self, what: str) -> OrderedStore:
        self._may_read()
        if not isinstance(self._store, OrderedStore):
            raise TableKindError(f'{what}() needs an order, and {self!r} has none: make it with kind="ordered_set"')
        return self._store

    def _prefix_spans(self, store: OrderedStore, prefix: Any) -> list[Span]:
        if type(prefix) in (str, bytes):
            return [(*text_range(prefix), (True, False))]
        if type(prefix) is not tuple:
            raise BadKey(f"a prefix is a str, bytes or a tuple, not {prefix!r}; for other keys use range()")
        elements = [order_token(self._encode(element)) for element in prefix]
        spans: list[Span] = []
        for length in store.lengths(at_least=len(prefix)):
            if length == len(prefix):
                token = order_token(self._encode(prefix))
                spans.append((token, token, (True, True)))
            else:
                spans.append((*tuples_from(length, elements), (True, True)))
        return spans

    def _along(self, store: OrderedStore, spans: list[Span], *, reverse: bool = False) -> Iterator[Row]:
        """Rows of some stretches that have not expired."""
        now, rows, deadlines = self._now(), store.rows, store.deadlines
        for low, high, inclusive in spans:
            for token in store.between(low, high, inclusive=inclusive, reverse=reverse):
                key = token[-1]
                if deadlines is None or not deadlines.expired(key, now):
                    yield rows[key]

    @staticmethod
    def _limited(rows: Iterator[Row], limit: int | None) -> list[Row]:
        if limit is None:
            return list(rows)
        check_limit(limit)
        return list(islice(rows, limit))


def check_limit(limit: Any) -> None:
    """Raises ``BadKey`` unless ``limit`` is a number of rows."""
    if type(limit) is not int or limit < 1:
        raise BadKey(f"limit= is a number of rows above zero, not {limit!r}")
