"""Tables: rows shared by the actors of one node, after Erlang's ETS.

>>> users = node.tables.new("users", kind="ordered_set")                               # doctest: +SKIP
>>> users.insert(("ann", 31))
>>> users.get("ann")
('ann', 31)

A table belongs to the actor that made it and ends with it, unless an heir is alive to take it over. Reads are plain
function calls in the reader's own turn, and cost about a dictionary lookup; nobody is asked, nothing is copied.
``Tables`` is the registry of one node: it makes tables, knows them by name and by owner, and sees to what takes time:
expired rows are swept, and the rows of dropped tables freed, in small batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import trio

from wsactors.actors.pid import Pid
from wsactors.actors.table import Table
from wsactors.actors.table_changes import Subscription
from wsactors.actors.table_expiry import Deadlines
from wsactors.actors.table_graveyard import Graveyard
from wsactors.actors.table_reads import END
from wsactors.actors.table_spec import (
    Access,
    Overflow,
    TableChange,
    TableHost,
    TableInfo,
    TableKind,
    TableSpec,
    TableTransfer,
)
from wsactors.actors.term_order import HIGHEST, LOWEST
from wsactors.errors import NoSuchTable, TableError, TableFull, TableNameTaken

MAX_TABLES: Final = 10_000
"""Tables a node may have at a time, unless it says otherwise."""

BATCH: Final = 256
"""Steps between two looks at the clock and the loop: about 0.2 ms of work."""

MIN_SWEEP_PERIOD: Final = 0.02
"""Seconds between two sweeps of rows that expire one by one."""


class Tables:
    """All tables of one node."""

    def __init__(self, host: TableHost, *, max_tables: int = MAX_TABLES) -> None:
        self.host = host
        self._max = max_tables
        self._number = 0
        self._tables: dict[int, Table] = {}
        self._names: dict[str, Table] = {}
        self._owned: dict[Pid, dict[int, Table]] = {}
        self._subscribed: dict[Pid, dict[int, Table]] = {}
        self._at_death: dict[Pid, dict[int, Callable[[], None]]] = {}
        self._graveyard = Graveyard()
        self._expiring = Deadlines()  # when to look at which table again
        self._planned = 0.0
        self._wake = trio.Event()

    def __len__(self) -> int:
        return len(self._tables)

    def __iter__(self) -> Iterator[Table]:
        return iter(list(self._tables.values()))

    def __getitem__(self, name: str) -> Table:
        """The live table of this name. Raises ``NoSuchTable``."""
        table = self._names.get(name)
        if table is None:
            raise NoSuchTable(f"no table is named {name!r}: its owner may have died, or not have made it yet")
        return table

    def whereis(self, name: str) -> Table | None:
        """The live table of this name, or None."""
        return self._names.get(name)

    def new(
        self,
        name: str | None = None,
        *,
        kind: TableKind = "set",
        access: Access = "protected",
        keypos: int = 0,
        heir: Pid | None = None,
        heir_data: Any = None,
        ttl: float | None = None,
        max_rows: int | None = None,
        overflow: Overflow = "reject",
        max_subscriptions: int = 10_000,
    ) -> Table:
        """Make a table, owned by the calling actor (outside actors: by the node). See ``TableSpec`` for the options.

        Raises ``TableNameTaken``, ``TableFull`` at the node's number of tables, ``TableKindError`` and ``BadRow`` for
        options that make no sense.
        """
        spec = TableSpec(name, kind, access, keypos, ttl, max_rows, overflow, max_subscriptions)
        if name is not None and name in self._names:
            raise TableNameTaken(f"{self._names[name]!r} has the name {name!r}")
        if len(self._tables) >= self._max:
            raise TableFull(f"this node has {len(self._tables)} tables, its max_tables: drop some, or raise the bound")
        owner = self.host.current()
        if owner is not None and not self.host.alive(owner):
            raise TableError(f"{owner} is dying: a table it made now would belong to nobody")
        self._number += 1
        table = Table(self, self._number, spec, owner)
        self._tables[table.id] = table
        if name is not None:
            self._names[name] = table
        self._own(table, owner)
        if heir is not None:
            table.set_heir(heir, heir_data)
        return table

    def owned_by(self, pid: Pid) -> list[Table]:
        """The tables an actor owns."""
        return list(self._owned.get(pid, {}).values())

    def info(self) -> list[TableInfo]:
        """How all tables are, for people to look at."""
        return [table.info() for table in self]

    # --- death -------------------------------------------------------------------------------------------------------

    def owner_died(self, pid: Pid) -> None:
        """The runtime's call in the death step of an actor, when ``host.alive(pid)`` is False already.

        Without an await: tables go to their heirs or vanish (O(1) each, whatever their size), subscriptions end, and what
        ``at_death`` asked for happens. Calling it for others too is harmless.
        """
        for number, table in self._subscribed.pop(pid, {}).items():
            table._end_watch(number)
        for call in self._at_death.pop(pid, {}).values():
            call()
        for table in list(self._owned.get(pid, {}).values()):
            table._owner_died()
        self._owned.pop(pid, None)

    def at_death(self, pid: Pid, key: int, call: Callable[[], None] | None) -> None:
        """Run ``call`` (which must not raise) in an actor's death step; None takes back what was said under ``key``."""
        if call is not None:
            self.host.at_death(pid, self.owner_died)
            self._at_death.setdefault(pid, {})[key] = call
        elif pid in self._at_death:
            self._at_death[pid].pop(key, None)
            if not self._at_death[pid]:
                del self._at_death[pid]

    def drop_all(self) -> None:
        """Every table is gone."""
        for table in self:
            table._end()

    async def close(self) -> None:
        """The node's end: every table is gone, and freed without holding the loop of whoever goes on."""
        self.drop_all()
        while self.sweep():
            await trio.lowlevel.cancel_shielded_checkpoint()

    # --- what tables ask of their registry ---------------------------------------------------------------------------

    def transferred(self, table: Table, before: Pid | None) -> None:
        """A table has another owner."""
        self._disown(table, before)
        self._own(table, table.owner)

    def dropped(self, table: Table) -> None:
        """A table is gone: name and owner know it no more; its subscribers are told in batches."""
        self._tables.pop(table.id, None)
        self._expiring.drop(table.id)
        if table.name is not None and self._names.get(table.name) is table:
            del self._names[table.name]
        self._disown(table, table.owner)
        self._graveyard.later([partial(table._tell_dropped, watch) for watch in table._detach_watches()])
        self._wake.set()

    def retire(self, containers: list[Any]) -> None:
        """Free these a little at a time."""
        self._graveyard.bury(containers)
        if self._graveyard:
            self._wake.set()

    def expires(self, table: Table, deadline: float) -> None:
        """A row that ends at ``deadline`` was written."""
        before = self._expiring.get(table.id)
        if before is None or deadline < before:
            self._expiring.set(table.id, deadline)
            if deadline < self._planned:
                self._wake.set()

    def subscribed(self, table: Table, subscription: Subscription) -> None:
        """Somebody watches a table."""
        self.host.at_death(subscription.pid, self.owner_died)
        self._subscribed.setdefault(subscription.pid, {})[subscription.id] = table

    def unsubscribed(self, subscription: Subscription) -> None:
        """Somebody stopped watching."""
        watched = self._subscribed.get(subscription.pid)
        if watched is not None:
            watched.pop(subscription.id, None)
            if not watched:
                del self._subscribed[subscription.pid]

    def _own(self, table: Table, owner: Pid | None) -> None:
        if owner is not None:
            self.host.at_death(owner, self.owner_died)
            self._owned.setdefault(owner, {})[table.id] = table

    def _disown(self, table: Table, owner: Pid | None) -> None:
        if owner is not None and owner in self._owned:
            self._owned[owner].pop(table.id, None)
            if not self._owned[owner]:
                del self._owned[owner]

    # --- what takes time ---------------------------------------------------------------------------------------------

    def sweep(self, limit: int = BATCH) -> bool:
        """One bounded batch of housekeeping; whether there is more to do at once."""
        if self._graveyard.work(limit):
            return True
        due, _more = self._expiring.take(self.host.now(), 1)
        for number in due:
            self._tables[number].sweep(limit)
            at = self._tables[number].next_expiry()
            if at is not None:
                self._expiring.set(number, at)
        at = self._expiring.next()
        return at is not None and at <= self.host.now()

    async def housekeeping(self) -> None:
        """Sweep and free for ever, at most about 0.2 ms at a time. The node runs this as a task of its own."""
        while True:
            while self.sweep():
                await trio.lowlevel.checkpoint()
            self._wake = trio.Event()
            if self.sweep():  # what came between the last look and the new event
                continue
            at = self._expiring.next()
            pause = math.inf if at is None else max(at - self.host.now(), MIN_SWEEP_PERIOD)
            self._planned = self.host.now() + pause
            with trio.move_on_after(pause):
                await self._wake.wait()
            self._planned = 0.0


__all__ = [
    "END",
    "HIGHEST",
    "LOWEST",
    "Access",
    "Subscription",
    "Table",
    "TableChange",
    "TableHost",
    "TableInfo",
    "TableKind",
    "TableSpec",
    "TableTransfer",
    "Tables",
]
