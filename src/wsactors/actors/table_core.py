"""What every operation of a table stands on: its state, who may do what, the time, and the hooks of its registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from wsactors.actors.mailbox import check_immutable
from wsactors.actors.pid import Pid
from wsactors.actors.table_changes import Changes, Subscription
from wsactors.actors.table_spec import ChangeKind, TableHost, TableInfo, TableSpec
from wsactors.actors.table_store import Key, Row, Slot, make_store
from wsactors.errors import BadRow, TableAccess, TableGone

if TYPE_CHECKING:
    from wsactors.actors.table import Table

SWEEP_ON_WRITE = 16
"""Expired rows that each write clears away on the side."""


class Registry(Protocol):
    """What a table asks of the ``Tables`` it belongs to."""

    host: TableHost

    def transferred(self, table: Table, before: Pid | None) -> None:
        """The table has another owner."""
        ...

    def dropped(self, table: Table) -> None:
        """The table is gone."""
        ...

    def retire(self, containers: list[Any]) -> None:
        """Free these a little at a time."""
        ...

    def expires(self, table: Table, deadline: float) -> None:
        """A row that ends at ``deadline`` was written."""
        ...

    def at_death(self, pid: Pid, key: int, call: Callable[[], None] | None) -> None:
        """Run something in an actor's death step."""
        ...

    def subscribed(self, table: Table, subscription: Subscription) -> None:
        """Somebody watches the table."""
        ...

    def unsubscribed(self, subscription: Subscription) -> None:
        """Somebody stopped watching."""
        ...


class Walk:
    """A copy of the keys of an unordered table, and how to find one's place in it again."""

    __slots__ = ("_at", "_index", "keys")

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys
        self._at = 0
        self._index: dict[Key, int] | None = None

    def place(self, key: Key) -> int | None:
        """The place of a key; None if the walk does not know it."""
        for at in range(self._at - 1, self._at + 2):  # a walker alone stands next to its last place
            if 0 <= at < len(self.keys) and self.keys[at] == key:
                self._at = at
                return at
        if self._index is None:
            self._index = {key: at for at, key in enumerate(self.keys)}
        found = self._index.get(key)
        if found is not None:
            self._at = found
        return found


class TableCore:
    """State and ground rules. Reads that need no thought (``_slow`` is False) go straight to the dictionary."""

    __slots__ = (
        "_changes",
        "_debug",
        "_encode",
        "_evicted",
        "_expired",
        "_gone",
        "_heir",
        "_heir_data",
        "_host",
        "_owner",
        "_plain",
        "_private",
        "_public",
        "_registry",
        "_rows",
        "_scanned",
        "_slow",
        "_store",
        "_unbounded",
        "_walk",
        "id",
        "spec",
    )

    def __init__(self, registry: Registry, number: int, spec: TableSpec, owner: Pid | None) -> None:
        self.id = number
        self.spec = spec
        self._registry = registry
        self._host = registry.host
        self._debug = registry.host.debug
        self._owner = owner
        self._private = spec.access == "private"
        self._unbounded = spec.ttl is None and spec.max_rows is None
        """Whether any number of rows may stay for ever."""
        self._public = spec.access == "public"
        self._heir: Pid | None = None
        self._heir_data: Any = None
        self._store = make_store(spec.kind, fifo=spec.overflow == "drop_oldest")
        self._rows = self._store.rows
        self._plain = self._store.plain
        self._encode = self._store.encode
        self._changes: Changes | None = None
        self._walk: Walk | None = None
        self._scanned = self._evicted = self._expired = 0
        self._gone = False
        self._settle_speed()

    def __repr__(self) -> str:
        name = f" {self.spec.name!r}" if self.spec.name else ""
        state = "gone" if self._gone else f"{len(self._store)} rows, {self.spec.access}, owner {self._owner}"
        return f"<Table{name} #{self.id} {self.spec.kind}: {state}>"

    @property
    def name(self) -> str | None:
        """The name it was made with."""
        return self.spec.name

    @property
    def owner(self) -> Pid | None:
        """The actor it lives and dies with; None: its node."""
        return self._owner

    @property
    def gone(self) -> bool:
        """Whether it was dropped, or died with its owner."""
        return self._gone

    def info(self) -> TableInfo:
        """How the table is; every actor may ask. Raises ``TableGone``."""
        if self._gone:
            raise TableGone(self._gone_text())
        self._sweep(SWEEP_ON_WRITE)
        spec, store = self.spec, self._store
        return TableInfo(
            id=self.id,
            name=spec.name,
            kind=spec.kind,
            access=spec.access,
            keypos=spec.keypos,
            owner=self._owner,
            heir=self._heir,
            size=len(store),
            with_ttl=0 if store.deadlines is None else len(store.deadlines),
            max_rows=spec.max_rows,
            overflow=spec.overflow,
            bytes=store.container_bytes(),
            subscriptions=0 if self._changes is None else len(self._changes),
            changes_missed=0 if self._changes is None else self._changes.missed,
            rows_scanned=self._scanned,
            rows_evicted=self._evicted,
            rows_expired=self._expired,
        )

    def sweep(self, limit: int) -> bool:
        """Clear away up to ``limit`` expired rows; whether there may be more. The node does this by itself."""
        return self._sweep(limit)

    def next_expiry(self) -> float | None:
        """A time before which no row expires; None if none ever does."""
        return None if self._store.deadlines is None else self._store.deadlines.next()

    def now(self) -> float:
        """Seconds of the clock that TTLs are measured with."""
        return self._host.now()

    def caller(self) -> Pid | None:
        """The actor on whose behalf this code runs; None in a task that is no actor."""
        return self._host.current()

    def at_death(self, pid: Pid, key: int, call: Callable[[], None] | None) -> None:
        """For what is built on tables: see ``Tables.at_death``."""
        self._registry.at_death(pid, key, call)

    # --- who may do what ---------------------------------------------------------------------------------------------

    def _may_read(self) -> None:
        if self._gone:
            raise TableGone(self._gone_text())
        if self._private and not self._is_owner():
            raise TableAccess(self._refusal("read"))

    def _may_write(self) -> None:
        if self._gone:
            raise TableGone(self._gone_text())
        if not self._public and not self._is_owner():
            raise TableAccess(self._refusal("write"))

    def _must_own(self, what: str) -> None:
        if self._gone:
            raise TableGone(self._gone_text())
        if not self._is_owner():
            raise TableAccess(self._refusal(what))

    def _is_owner(self) -> bool:
        caller, owner = self._host.current(), self._owner
        return caller is owner or caller == owner

    def _refusal(self, what: str) -> str:
        caller = self._host.current()
        who = "a task that is no actor" if caller is None else f"{caller}"
        return (
            f"{who} may not {what} {self!r}: "
            f"ask the owner to, or make the table with a wider access= (public: all write, protected: all read)"
        )

    def _gone_text(self) -> str:
        return f"{self!r} does not exist any more: it was dropped, or its owner died and no heir lived"

    # --- rows and time -----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        """The time, where anything expires; reading a clock costs as much as reading a row."""
        return 0.0 if self._store.deadlines is None else self._host.now()

    def _key_of(self, key: Any) -> Key:
        return key if type(key) in self._plain else self._encode(key)

    def _keyed(self, row: Any) -> tuple[Key, Row]:
        """A row with its encoded key. Raises ``BadRow`` or ``BadKey``."""
        if type(row) is not tuple:
            raise BadRow(f"a row is a plain tuple, not {type(row).__qualname__} {row!r:.80}")
        if len(row) <= self.spec.keypos:
            raise BadRow(f"a row of this table has its key at position {self.spec.keypos}: {row!r:.80} is too short")
        if self._debug:
            check_immutable(row)
        # The validating encoding also for plain keys: NaN is a float like any other until looked at.
        return self._encode(row[self.spec.keypos]), row

    def _settle_speed(self) -> None:
        """Whether reads must take the careful way."""
        self._slow = self._gone or not self._store.unique or self._private or self._store.deadlines is not None

    def _published(self, kind: ChangeKind, key: Key, old: Row | None, row: Row | None) -> None:
        if self._changes is not None:
            self._changes.publish(kind, key, old, row)

    def _discard(self, key: Key, slot: Slot, kind: ChangeKind = "delete") -> Row | None:
        row = self._store.discard(slot)
        if row is not None:
            self._published(kind, key, row, None)
        return row

    def _lapse(self, key: Key) -> None:
        """Before a write to a key: rows of it that have expired are not there."""
        if self._store.deadlines is not None:
            for slot in self._store.lapsed(key, self._host.now()):
                self._expired += 1
                self._discard(key, slot, "expire")

    def _sweep(self, limit: int) -> bool:
        deadlines, now = self._store.deadlines, self._now()
        if deadlines is None or not deadlines.due(now):
            return False
        rows, more = self._store.purge(now, limit)
        self._expired += len(rows)
        for row in rows:
            self._published("expire", self._encode(row[self.spec.keypos]), row, None)
        self._settle_speed()
        return more

    def _retire_rows(self) -> None:
        """Become empty at once; what was held is freed later."""
        self._registry.retire(self._store.detach())
        self._rows = self._store.rows
        self._walk = None
        self._settle_speed()

    def _as_table(self) -> Table:
        return cast("Table", self)
