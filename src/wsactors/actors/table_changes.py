"""Change subscriptions of one table: who watches which keys, and telling them without ever waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from wsactors.actors.pid import Pid
from wsactors.actors.table_spec import ChangeKind, TableChange, TableHost
from wsactors.actors.term_order import Token, order_token, ordered_key, tuple_length

if TYPE_CHECKING:
    from wsactors.actors.table import Table

Row = tuple[Any, ...]


@attrs.frozen
class Subscription:
    """A standing wish to hear of changes, for ``table.unsubscribe``. It ends with its subscriber or its table."""

    id: int
    pid: Pid
    """The subscriber."""


class Watch:
    """One subscription at work."""

    __slots__ = ("missed", "subscription")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.missed = 0


class KeyWatch(Watch):
    """Watches one key."""

    __slots__ = ("key",)

    def __init__(self, subscription: Subscription, key: Any) -> None:
        super().__init__(subscription)
        self.key = key
        """Encoded as in the table's dictionary."""


class RangeWatch(Watch):
    """Watches the keys from ``low`` up to, but not including, ``high``; None: no end."""

    __slots__ = ("high", "low")

    def __init__(self, subscription: Subscription, low: Token | None, high: Token | None) -> None:
        super().__init__(subscription)
        self.low = low
        self.high = high

    def covers(self, token: Token) -> bool:
        """Whether the key of this token is watched."""
        return (self.low is None or self.low <= token) and (self.high is None or token < self.high)


class PrefixWatch(RangeWatch):
    """Watches the tuple keys, of any length, that start with the elements of these tokens."""

    __slots__ = ("elements",)

    def __init__(self, subscription: Subscription, elements: Token) -> None:
        super().__init__(subscription, None, None)
        self.elements = elements

    def covers(self, token: Token) -> bool:
        """Whether the key of this token is watched."""
        length, wanted = tuple_length(token), len(self.elements)
        return length is not None and length >= wanted and token[2 : 2 + wanted] == self.elements


class Changes:
    """The subscriptions of one table. A write asks one dictionary, and compares with each range, if there are any."""

    __slots__ = ("_by_id", "_by_key", "_host", "_ranges", "_table", "missed")

    def __init__(self, table: Table, host: TableHost) -> None:
        self._table = table
        self._host = host
        self._by_id: dict[int, Watch] = {}
        self._by_key: dict[Any, dict[int, KeyWatch]] = {}
        self._ranges: dict[int, RangeWatch] = {}
        self.missed = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, watch: KeyWatch | RangeWatch) -> None:
        """Begin to tell a subscriber."""
        number = watch.subscription.id
        self._by_id[number] = watch
        if isinstance(watch, KeyWatch):
            self._by_key.setdefault(watch.key, {})[number] = watch
        else:
            self._ranges[number] = watch

    def forget(self, number: int) -> bool:
        """End one subscription; False if it had ended."""
        watch = self._by_id.pop(number, None)
        if isinstance(watch, KeyWatch):
            watches = self._by_key[watch.key]
            del watches[number]
            if not watches:
                del self._by_key[watch.key]
        elif watch is not None:
            del self._ranges[number]
        return watch is not None

    def publish(self, kind: ChangeKind, encoded: Any, old: Row | None, row: Row | None) -> None:
        """Tell everyone who watches the key of ``row`` (of ``old``, if there is none)."""
        shown = row if row is not None else old
        if shown is None:
            return
        key = shown[self._table.spec.keypos]
        watches: list[Watch] = list(self._by_key.get(encoded, {}).values())
        if self._ranges:
            token = order_token(ordered_key(key))
            watches += [watch for watch in self._ranges.values() if watch.covers(token)]
        for watch in watches:
            self._tell(watch, kind, key, old, row)

    def publish_all(self, kind: ChangeKind) -> None:
        """Tell every subscriber of something that touched all rows."""
        for watch in list(self._by_id.values()):
            self.tell(watch, kind)

    def tell(self, watch: Watch, kind: ChangeKind) -> None:
        """Tell one subscriber of something that touched all rows."""
        self._tell(watch, kind, None, None, None)

    def detach(self) -> list[Watch]:
        """End all subscriptions and hand them back, so that their subscribers can be told of it a few at a time."""
        watches = list(self._by_id.values())
        self._by_id, self._by_key, self._ranges = {}, {}, {}
        return watches

    def _tell(self, watch: Watch, kind: ChangeKind, key: Any, old: Row | None, row: Row | None) -> None:
        pid = watch.subscription.pid
        message = TableChange(self._table, watch.subscription.id, kind, key, old, row, watch.missed)
        if self._host.send(pid, message):
            watch.missed = 0
        elif self._host.alive(pid):
            watch.missed += 1
            self.missed += 1
        else:
            self.forget(watch.subscription.id)
