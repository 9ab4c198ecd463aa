"""Asking a table by pattern: all at once, a page at a time, counting, deleting."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from wsactors.actors.pattern_match import Bindings, Lookup, Matcher, Plan, Range, plan
from wsactors.actors.patterns import ROW, Guard, Query
from wsactors.actors.table_pages import Continuation, Page, begin, candidates, positions
from wsactors.actors.table_reads import TableReads, check_limit
from wsactors.actors.table_store import Key, Row, Slot
from wsactors.errors import BadPattern, TableError

Way = Literal["lookup", "range", "scan"]


class TableQueries(TableReads):
    """``match`` gives bindings, ``select`` rows or what ``take=`` builds; see ``wsactors.actors.patterns``.

    A pattern with the whole key in it costs one lookup. In an ``ordered_set`` a tuple key whose first elements are
    given costs a range. Anything else looks at every row, within one turn of the loop: for big tables use ``pages``.
    """

    __slots__ = ()

    def match(self, pattern: Any, where: Guard | None = None) -> list[Bindings]:
        """The bindings of the variables, for each matching row: ``[{"user": "ann"}, ...]``."""
        return [bindings for _, _, _, bindings in self._matching(Matcher(_query(pattern, where, ROW)))]

    def select(self, pattern: Any, where: Guard | None = None, take: Any = ROW) -> list[Any]:
        """What ``take`` builds from each matching row: by default the row. ``pattern`` may be a whole ``Query``."""
        matcher = Matcher(_query(pattern, where, take))
        return [matcher.result(row, bindings) for _, _, row, bindings in self._matching(matcher)]

    def select_count(self, pattern: Any, where: Guard | None = None) -> int:
        """How many rows match."""
        return sum(1 for _ in self._matching(Matcher(_query(pattern, where, ROW))))

    def select_delete(self, pattern: Any, where: Guard | None = None) -> int:
        """Delete the matching rows; how many they were."""
        self._may_write()
        found = [(key, slot) for key, slot, _, _ in self._matching(Matcher(_query(pattern, where, ROW)), checked=True)]
        for key, slot in found:
            self._discard(key, slot)
        return len(found)

    def select_page(
        self, pattern: Any, where: Guard | None = None, take: Any = ROW, *, limit: int, examine: int | None = None
    ) -> Page:
        """The first ``limit`` results, and in ``page.more`` where ``select_next`` goes on; None there is the end.

        ``examine`` bounds the rows looked at for one page, and so the time it holds the loop; such a page may be
        short, or empty, and still have more after it.
        """
        self._may_read()
        check_limit(limit)
        if examine is not None:
            check_limit(examine)
        matcher = Matcher(_query(pattern, where, take))
        return self._page(begin(self._store, self.id, matcher, self._plan(matcher), limit, examine))

    def select_next(self, more: Continuation) -> Page:
        """The page after ``page.more``."""
        self._may_read()
        if more.table != self.id:
            raise TableError(f"this continuation belongs to table #{more.table}, not to {self!r}")
        return self._page(more)

    def pages(
        self,
        pattern: Any,
        where: Guard | None = None,
        take: Any = ROW,
        *,
        limit: int = 1_000,
        examine: int | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """All pages one after another. The table may change, and the caller may wait, between two of them.

        >>> for rows in table.pages((V.user, ANY), limit=500):                                  # doctest: +SKIP
        ...     await trio.lowlevel.checkpoint()
        """
        page = self.select_page(pattern, where, take, limit=limit, examine=examine)
        while True:
            if page.rows:
                yield page.rows
            if page.more is None:
                return
            page = self.select_next(page.more)

    def explain(self, pattern: Any) -> Way:
        """How a pattern would be answered: by a ``lookup``, along a ``range``, or by a ``scan`` of everything."""
        self._may_read()
        match self._plan(Matcher(_query(pattern, None, ROW))):
            case Lookup():
                return "lookup"
            case Range():
                return "range"
            case _:
                return "scan"

    def _plan(self, matcher: Matcher) -> Plan:
        return plan(matcher.query.pattern, self.spec.keypos, ordered=self._store.ordered)

    def _matching(self, matcher: Matcher, *, checked: bool = False) -> Iterator[tuple[Key, Slot, Row, Bindings]]:
        if not checked:
            self._may_read()
        for key, slot, row in candidates(self._store, self._plan(matcher), self._now()):
            self._scanned += 1
            bindings = matcher.fits(row)
            if bindings is not None:
                yield key, slot, row, bindings

    def _page(self, at: Continuation) -> Page:
        """One page; looks one row further than it returns, so that the last page knows that it is."""
        rows: list[Any] = []
        after = at.after
        left = positions(self._store, at, self._now())
        for position, row in islice(left, at.examine):
            self._scanned += 1
            bindings = at.matcher.fits(row)
            if bindings is not None:
                if len(rows) == at.limit:
                    return Page(tuple(rows), _resume(at, after))
                rows.append(at.matcher.result(row, bindings))
            after = position
        exhausted = at.examine is None or next(left, None) is None
        return Page(tuple(rows), None if exhausted else _resume(at, after))


def _resume(at: Continuation, after: Any) -> Continuation:
    return Continuation(at.table, at.matcher, at.plan, at.limit, at.examine, after, at.keys)


def _query(pattern: Any, where: Guard | None, take: Any) -> Query:
    if not isinstance(pattern, Query):
        return Query(pattern, where, take)
    if where is not None or take is not ROW:
        raise BadPattern("a Query brings its own where and take: give either a Query, or pattern, where= and take=")
    return pattern
