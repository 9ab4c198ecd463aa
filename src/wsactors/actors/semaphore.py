"""Counting semaphores in a table: to hold at most so many of something at a time, across actors, without a server process.

The whole of ``acquire`` is one ``update_counter``, an idea of Discord's ``semaphore`` library: read the count, then add one
but never go beyond the limit. If the count was at the limit before, the answer is no.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from wsactors.actors.pid import Pid
from wsactors.actors.table import Table
from wsactors.errors import NotInActor, TableError, TableFull, TableKindError

_at_death_keys: Final = itertools.count(1)


class Semaphores:
    """Semaphores by name, each a row ``(name, held)`` of a public ``set``. A semaphore nobody holds takes no memory.

    >>> slots = Semaphores(node.tables.new("decodes", access="public"))                     # doctest: +SKIP
    >>> if slots.acquire("song", limit=4):
    ...     try:
    ...         await decode()
    ...     finally:
    ...         slots.release("song")
    """

    def __init__(self, table: Table) -> None:
        if table.spec.access != "public" or table.spec.kind not in ("set", "ordered_set") or table.spec.keypos != 0:
            raise TableKindError(
                f'semaphores live in a table with access="public", kind="set", keypos=0, not in {table!r}'
            )
        self._table = table
        self._linked: dict[Pid, Counter[Any]] = {}
        self._death_key = next(_at_death_keys)

    def acquire(self, name: Any, limit: int, *, linked: bool = False) -> bool:
        """Take one of ``limit`` places; False, and nothing changed, if all are taken. Never waits.

        ``linked``: if the calling actor dies, its place is free in the same moment. Otherwise whoever takes a place must
        give it back in a ``finally``.
        """
        holder = self._table.caller() if linked else None
        if linked and holder is None:
            raise NotInActor("acquire(linked=True) ties a place to the life of the calling actor; call it from one")
        before, _after = self._table.update_counter(name, [(1, 0), (1, 1, limit, limit)], default=(name, 0))
        if before >= limit:
            # The counter was set to the limit: right if it stood there, else put back what is really held.
            self._restore(name, before)
            return False
        if holder is not None:
            self._link(holder, name)
        return True

    def release(self, name: Any, *, linked: bool = False) -> None:
        """Give a place back; ``linked`` as it was taken. Giving back what nobody holds is ignored, as in Discord's."""
        if linked and not self._unlink(self._table.caller(), name):
            return  # given back at a death before, or never taken: not to be counted twice
        self._give_back(name, 1)

    def held(self, name: Any) -> int:
        """How many places are taken."""
        return int(self._table.lookup_element(name, 1, 0))

    @contextmanager
    def holding(self, name: Any, limit: int) -> Iterator[None]:
        """Hold a place for a block, for the calling actor's lifetime at most. Raises ``TableFull`` if all are taken."""
        linked = self._table.caller() is not None
        if not self.acquire(name, limit, linked=linked):
            raise TableFull(f"all {limit} places of {name!r} are taken: try again later, or shed the work")
        try:
            yield
        finally:
            if not self._table.gone:
                self.release(name, linked=linked)

    def _give_back(self, name: Any, places: int) -> None:
        if self._table.update_counter(name, (1, -places, 0, 0), default=(name, 0)) == 0:
            self._table.delete(name)

    def _restore(self, name: Any, held: int) -> None:
        if held == 0:  # a limit of nothing must not leave a row behind
            self._table.delete(name)
        else:
            self._table.update_element(name, (1, held))

    def _link(self, pid: Pid, name: Any) -> None:
        if pid not in self._linked:
            self._linked[pid] = Counter()
            self._table.at_death(pid, self._death_key, partial(self._died, pid))
        self._linked[pid][name] += 1

    def _unlink(self, pid: Pid | None, name: Any) -> bool:
        places = self._linked.get(pid) if pid is not None else None
        if pid is None or places is None or not places[name]:
            return False
        places[name] -= 1
        if not places[name]:
            del places[name]
        if not places:
            del self._linked[pid]
            self._table.at_death(pid, self._death_key, None)
        return True

    def _died(self, pid: Pid) -> None:
        for name, places in self._linked.pop(pid, Counter()).items():
            if self._table.gone:
                return
            try:
                self._give_back(name, places)
            except TableError:
                # Somebody wrote something else into the row of a public table. A death step must go on: begin anew.
                self._table.delete(name)
