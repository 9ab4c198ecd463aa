"""A table: everything above, and the writes. Made by ``node.tables.new(...)``; see ``wsactors.actors.tables``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from wsactors.actors.mailbox import check_immutable
from wsactors.actors.pid import Pid
from wsactors.actors.table_changes import Changes, KeyWatch, PrefixWatch, RangeWatch, Subscription, Watch
from wsactors.actors.table_core import SWEEP_ON_WRITE
from wsactors.actors.table_counters import CounterOp, ElementChange, change, count
from wsactors.actors.table_queries import TableQueries
from wsactors.actors.table_spec import TableTransfer
from wsactors.actors.table_store import BagStore, Key, Row
from wsactors.actors.term_order import HIGHEST, LOWEST, bound_token, exactly_equal, order_token, ordered_key, text_range
from wsactors.errors import BadKey, BadRow, NoSuchKey, NotInActor, TableAccess, TableFull, TableKindError

_EVERYTHING: Final = object()
_subscription_ids = itertools.count(1)


class Table(TableQueries):
    """Rows shared by the actors of one node, after Erlang's ETS.

    Every operation happens at once: no other actor sees half of it. Rows are tuples, stored by reference, so keep
    only immutable values in them. Operations raise ``TableGone`` after the table's end, and ``TableAccess`` where the
    calling actor has no right.
    """

    __slots__ = ()

    # --- insert ------------------------------------------------------------------------------------------------------

    def insert(self, rows: Row | list[Row], *, ttl: float | None = None) -> None:
        """Write a row, or a list of rows: all or, if one is wrong, none.

        Where there is one row per key it replaces the old one, with its TTL. ``ttl``: seconds until it is gone; None:
        the table's ``ttl``, or for ever. Raises ``BadRow``, ``BadKey``, ``TableFull``.
        """
        self._may_write()
        if (
            type(rows) is tuple
            and ttl is None
            and self._unbounded
            and self._store.deadlines is None
            and not self._changes
        ):
            self._store.put(*self._keyed(rows), None)  # nobody to tell, nothing to expire, nothing to count
            return
        self._write([self._keyed(row) for row in _rows(rows)], ttl)

    def insert_new(self, rows: Row | list[Row], *, ttl: float | None = None) -> bool:
        """Write all the rows if none of their keys has a row yet, else write nothing and return False."""
        self._may_write()
        keyed = [self._keyed(row) for row in _rows(rows)]
        now = self._now()
        if any(self._store.entries(key, now) for key, _ in keyed):
            return False
        self._write(keyed, ttl)
        return True

    # --- delete ------------------------------------------------------------------------------------------------------

    def delete(self, key: Any) -> bool:
        """Delete the rows with this key; whether there were any."""
        return bool(self.take(key))

    def take(self, key: Any) -> list[Row]:
        """Delete the rows with this key and return them."""
        self._may_write()
        encoded = self._key_of(key)
        self._lapse(encoded)
        entries = self._store.entries(encoded, self._now())
        for slot, _row in entries:
            self._discard(encoded, slot)
        return [row for _, row in entries]

    def delete_object(self, row: Row) -> int:
        """Delete exactly this row (``1`` is not ``1.0``), in a ``duplicate_bag`` all its copies; how many they were."""
        self._may_write()
        key, row = self._keyed(row)
        found = [slot for slot, present in self._store.entries(key, self._now()) if exactly_equal(present, row)]
        for slot in found:
            self._discard(key, slot)
        return len(found)

    def clear(self) -> None:
        """Delete all rows, at once, however many they are. Subscribers get one ``clear``."""
        self._may_write()
        self._retire_rows()
        if self._changes is not None:
            self._changes.publish_all("clear")

    def drop(self) -> None:
        """End the table, at once, however big it is. Whoever may write may drop it."""
        self._may_write()
        self._end()

    # --- update in place ---------------------------------------------------------------------------------------------

    def update_counter(
        self,
        key: Any,
        ops: CounterOp | Sequence[CounterOp],
        default: Row | None = None,
        *,
        ttl: float | None = None,
    ) -> Any:
        """Count inside the row with this key; the new value, or for a list of operations the list of theirs.

        An operation is ``increment``, ``(position, increment)`` or ``(position, increment, threshold, set_to)``; see
        ``table_counters``. Without a row ``default`` is counted on and inserted (its key does not matter), or
        ``NoSuchKey`` raised. ``ttl`` makes the row live for as many seconds from now. Raises ``BadRow``; then nothing
        has changed.
        """
        encoded, old = self._row_to_update("update_counter", key, default)
        row, result = count(old or self._made(key, default), ops, self.spec.keypos)
        self._replace(encoded, old, row, ttl)
        return result

    def update_element(
        self,
        key: Any,
        changes: ElementChange | Sequence[ElementChange],
        default: Row | None = None,
        *,
        ttl: float | None = None,
    ) -> bool:
        """Change elements of the row with this key, each ``(position, value)``; False without row and default."""
        encoded, old = self._row_to_update("update_element", key, default, missing_ok=True)
        if old is None and default is None:
            return False
        row = change(old or self._made(key, default), changes, self.spec.keypos)
        if self._debug:
            check_immutable(row)
        self._replace(encoded, old, row, ttl)
        return True

    def renew(self, key: Any, ttl: float | None) -> bool:
        """Let the rows with this key live for ``ttl`` seconds from now (None: for ever); whether there were any."""
        self._may_write()
        encoded = self._key_of(key)
        self._lapse(encoded)
        entries = self._store.entries(encoded, self._now())
        deadline = None if ttl is None else self._deadline(ttl)
        for slot, _row in entries:
            self._store.renew(slot, deadline)
        self._deadlines_changed(deadline)
        return bool(entries)

    # --- owner and heir ----------------------------------------------------------------------------------------------

    def set_heir(self, pid: Pid | None, data: Any = None) -> None:
        """Who owns the table after its owner's death, if alive then, and what its ``TableTransfer`` says. Owner only."""
        self._must_own("choose an heir for")
        self._heir, self._heir_data = pid, data

    def give_away(self, pid: Pid, data: Any = None) -> None:
        """Make another live actor the owner; it gets a ``TableTransfer``. The heir stays. Owner only."""
        self._must_own("give away")
        if pid == self._owner:
            raise TableAccess(f"{self!r} belongs to {pid} already")
        if not self._host.alive(pid):
            raise TableAccess(f"cannot give {self!r} to {pid}, who is dead")
        self._transfer(pid, data)

    # --- subscriptions -----------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *,
        key: Any = _EVERYTHING,
        low: Any = LOWEST,
        high: Any = HIGHEST,
        prefix: Any = None,
        pid: Pid | None = None,
    ) -> Subscription:
        """Have ``pid`` (default: the calling actor) told of changes by ``TableChange`` messages.

        Of one ``key``, of the keys from ``low`` up to ``high``, of those that start with ``prefix``, or of all. A
        mailbox that is full misses changes, and is told how many. Costs every write one dictionary lookup, and one
        comparison for each range. Raises ``TableFull`` at the table's ``max_subscriptions``.
        """
        self._may_read()
        subscriber = pid if pid is not None else self._host.current()
        if subscriber is None:
            raise NotInActor("subscribe() tells an actor: call it from one, or say pid=")
        if not self._host.alive(subscriber):
            raise TableAccess(f"cannot tell {subscriber} of changes: it is dead")
        if self._changes is None:
            self._changes = Changes(self, self._host)
        if len(self._changes) >= self.spec.max_subscriptions:
            raise TableFull(f"{self!r} has {len(self._changes)} subscriptions, its max_subscriptions=")
        watch = self._watch(Subscription(next(_subscription_ids), subscriber), key, low, high, prefix)
        self._changes.add(watch)
        self._registry.subscribed(self, watch.subscription)
        return watch.subscription

    def unsubscribe(self, subscription: Subscription) -> bool:
        """End a subscription; False if it had ended. A change already in the mailbox stays there."""
        self._registry.unsubscribed(subscription)
        return self._changes is not None and self._changes.forget(subscription.id)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _write(self, keyed: list[tuple[Key, Row]], ttl: float | None) -> None:
        self._sweep(SWEEP_ON_WRITE)
        deadline = self._deadline(ttl)
        for key, _row in keyed:
            self._lapse(key)
        if self.spec.max_rows is not None and self.spec.overflow == "reject":
            self._make_room(keyed)
        for key, row in keyed:
            if self.spec.overflow == "drop_oldest":
                self._evict_for(key)
            old, changed = self._store.put(key, row, deadline)
            if changed and self._changes is not None:
                self._published("insert" if old is None else "update", key, old, row)
        self._deadlines_changed(deadline)

    def _deadline(self, ttl: float | None) -> float | None:
        seconds = self.spec.ttl if ttl is None else ttl
        if seconds is None:
            return None
        if type(seconds) not in (int, float) or not seconds > 0:
            raise BadRow(f"ttl= is a number of seconds above zero, not {ttl!r}")
        return self._host.now() + seconds

    def _deadlines_changed(self, deadline: float | None) -> None:
        if deadline is not None:
            self._registry.expires(self, deadline)
            if not self._slow:
                self._settle_speed()

    def _make_room(self, keyed: list[tuple[Key, Row]]) -> None:
        """Raises ``TableFull`` if the rows do not fit even after all that expired is cleared away."""
        bound = self.spec.max_rows or 0
        while len(self._store) + self._growth(keyed) > bound:
            more = self._sweep(256)
            if not more and len(self._store) + self._growth(keyed) > bound:
                raise TableFull(f"{self!r} is at max_rows={bound}; nothing was written")

    def _growth(self, keyed: list[tuple[Key, Row]]) -> int:
        store = self._store
        if isinstance(store, BagStore):
            return store.growth(keyed)
        return len({key for key, _ in keyed if key not in store.rows})

    def _evict_for(self, key: Key) -> None:
        while self.spec.max_rows is not None and len(self._store) >= self.spec.max_rows and key not in self._store.rows:
            oldest = self._store.oldest()
            self._discard(oldest, oldest)
            self._evicted += 1

    def _row_to_update(
        self, what: str, key: Any, default: Row | None, *, missing_ok: bool = False
    ) -> tuple[Key, Row | None]:
        self._may_write()
        if not self._store.unique:
            raise TableKindError(f"{what}() needs one row per key, and {self!r} is a {self.spec.kind}")
        encoded = self._encode(key)
        self._lapse(encoded)
        old: Row | None = self._rows.get(encoded)
        if old is None and default is None and not missing_ok:
            raise NoSuchKey(f"no row with key {key!r} in {self!r}; give default= to begin with one")
        return encoded, old

    def _made(self, key: Any, default: Row | None) -> Row:
        """The default row with the key in its place."""
        keypos = self.spec.keypos
        if type(default) is not tuple or len(default) <= keypos:
            raise BadRow(f"default= is a row with a place {keypos} for the key, not {default!r}")
        return (*default[:keypos], key, *default[keypos + 1 :])

    def _replace(self, key: Key, old: Row | None, row: Row, ttl: float | None) -> None:
        if old is None:
            self._write([(key, row)], ttl)
            return
        deadline = None if ttl is None else self._deadline(ttl)  # may refuse, so before anything changes
        self._store.swap(key, row)
        if deadline is not None:
            self._store.renew(key, deadline)
            self._deadlines_changed(deadline)
        self._published("update", key, old, row)

    def _watch(self, subscription: Subscription, key: Any, low: Any, high: Any, prefix: Any) -> KeyWatch | RangeWatch:
        ways = (key is not _EVERYTHING) + (prefix is not None) + (low is not LOWEST or high is not HIGHEST)
        if ways > 1:
            raise BadKey("subscribe() takes key=, or low= and high=, or prefix=, not several of these")
        if key is not _EVERYTHING:
            return KeyWatch(subscription, self._encode(key))
        if type(prefix) is tuple:
            return PrefixWatch(subscription, tuple([order_token(ordered_key(element)) for element in prefix]))
        if type(prefix) in (str, bytes):
            return RangeWatch(subscription, *text_range(prefix))
        if prefix is not None:
            raise BadKey(f"a prefix is a str, bytes or a tuple, not {prefix!r}")
        return RangeWatch(subscription, bound_token(low), bound_token(high))

    def _transfer(self, pid: Pid, data: Any) -> None:
        before, self._owner = self._owner, pid
        self._registry.transferred(self, before)
        self._host.send(pid, TableTransfer(self, before, data))

    def _owner_died(self) -> None:
        """Inside the owner's death step: to the heir, or gone. No await, no walk over rows."""
        heir = self._heir
        if heir is not None and heir != self._owner and self._host.alive(heir):
            self._transfer(heir, self._heir_data)
        else:
            self._end()

    def _end(self) -> None:
        """Gone for everyone in this moment; rows and notices are worked off later."""
        self._gone = True
        self._retire_rows()
        self._registry.dropped(self)

    def _end_watch(self, number: int) -> None:
        if self._changes is not None:
            self._changes.forget(number)

    def _detach_watches(self) -> list[Watch]:
        return [] if self._changes is None else self._changes.detach()

    def _tell_dropped(self, watch: Watch) -> None:
        if self._changes is not None:
            self._registry.unsubscribed(watch.subscription)
            self._changes.tell(watch, "drop")


def _rows(rows: Row | list[Row]) -> Iterable[Row]:
    return rows if isinstance(rows, list) else (rows,)
