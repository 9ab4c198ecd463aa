"""Token buckets in a table: so many events per time and key, with a burst, across actors, without a server process.

All arithmetic is on integers and exact: a token is worth ``per`` in nanoseconds units, and ``tokens`` of these units come
back each nanosecond. Nothing is rounded, so a bucket asked a million times a second gives not one token more or less.
"""

from __future__ import annotations

from typing import Any, Final

from wsactors.actors.table import Table
from wsactors.actors.table_counters import CounterOp
from wsactors.errors import BadRow, TableFull, TableKindError

_SECOND: Final = 1_000_000_000


class TokenBuckets:
    """Buckets by key, each a row ``(key, units, stamp)`` of a public ``set``. A bucket that is full again takes no memory.

    >>> chat = TokenBuckets(node.tables.new("chat rate", access="public"), tokens=5, per=1.0, burst=10)  # doctest: +SKIP
    >>> if not chat.take(user_id):
    ...     return Reply(("slow_down", chat.wait_time(user_id)))
    """

    def __init__(self, table: Table, *, tokens: int, per: float = 1.0, burst: int | None = None) -> None:
        """``tokens`` come back every ``per`` seconds; a bucket holds ``burst`` (default ``tokens``) and begins full."""
        if table.spec.access != "public" or table.spec.kind not in ("set", "ordered_set") or table.spec.keypos != 0:
            raise TableKindError(
                f'buckets live in a table with access="public", kind="set", keypos=0, not in {table!r}'
            )
        burst = tokens if burst is None else burst
        token = round(per * _SECOND)
        if type(tokens) is not int or type(burst) is not int or min(tokens, burst, token) < 1:
            raise BadRow(
                f"tokens= and burst= are whole numbers above zero, per= seconds, not {tokens!r}, {burst!r}, {per!r}"
            )
        self._table = table
        self._tokens = tokens
        self._token = token
        self._capacity = burst * token

    def take(self, key: Any, cost: int = 1) -> bool:
        """Take ``cost`` tokens; False, and none taken, if there are fewer. Never waits.

        A key that finds the table at its ``max_rows`` is refused too: a flood of new keys must not empty the buckets of
        others.
        """
        price = self._price(cost)
        now = self._nanoseconds()
        row = self._table.get(key)
        elapsed = 0 if row is None else max(0, now - row[2])
        # Refill up to the brim, move the stamp, pay: in this order, in one step.
        ops: list[CounterOp] = [
            (1, elapsed * self._tokens, self._capacity, self._capacity),
            (2, elapsed),
            (1, -price),
        ]
        try:
            left = self._table.update_counter(key, ops, default=(key, self._capacity, now), ttl=self._full_after())[-1]
        except TableFull:
            return False
        if left < 0:
            self._table.update_counter(key, (1, price))
            return False
        return True

    def level(self, key: Any) -> float:
        """Tokens in the bucket now."""
        return self._units(key) / self._token

    def wait_time(self, key: Any, cost: int = 1) -> float:
        """Seconds until ``take`` can succeed, if nobody else takes; 0.0: now."""
        missing = self._price(cost) - self._units(key)
        return max(0, -(-missing // self._tokens)) / _SECOND

    def _units(self, key: Any) -> int:
        row = self._table.get(key)
        if row is None:
            return self._capacity
        return int(min(self._capacity, row[1] + max(0, self._nanoseconds() - row[2]) * self._tokens))

    def _price(self, cost: int) -> int:
        if type(cost) is not int or cost < 1 or cost * self._token > self._capacity:
            raise BadRow(f"cost= is a whole number from 1 to the burst, not {cost!r}: it could never be paid")
        return cost * self._token

    def _full_after(self) -> float:
        """Seconds until any bucket is full again, and can be forgotten."""
        return self._capacity / self._tokens / _SECOND

    def _nanoseconds(self) -> int:
        return round(self._table.now() * _SECOND)
