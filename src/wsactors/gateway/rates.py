"""How fast things may come: token buckets, one for all and one per key, of bounded number. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_KEYS: Final = 16_384


class Bucket:
    """``burst`` tokens, of which ``rate`` come back every second.

    Example:
        >>> bucket = Bucket(rate=1.0, burst=2.0, now=0.0)
        >>> bucket.take(0.0), bucket.take(0.0), bucket.take(0.5), bucket.take(1.0)
        (True, True, False, True)
    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._left = max(1.0, burst)
        self._since = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Take ``cost`` tokens; False, and none taken, if there are fewer."""
        if self.wait_time(now, cost):
            return False
        self._left -= cost
        return True

    def wait_time(self, now: float, cost: float = 1.0) -> float:
        """Seconds until there will be ``cost`` tokens; 0.0 if there are."""
        self._left = min(self._burst, self._left + max(0.0, now - self._since) * self._rate)
        self._since = now
        return max(0.0, (min(cost, self._burst) - self._left) / self._rate)


class Rates:
    """One bucket for everybody and one per key; `take` needs a token of both.

    Of the keys only the last `MAX_KEYS` are remembered: who commands more addresses than that is held by the common bucket.
    """

    def __init__(self, *, total: float, total_burst: float, per_key: float, key_burst: float) -> None:
        self._all = Bucket(rate=total, burst=total_burst, now=0.0)
        self._per_key = per_key
        self._key_burst = key_burst
        self._keys: OrderedDict[str, Bucket] = OrderedDict()

    def is_spent(self, key: str, now: float) -> bool:
        """Whether ``key`` has nothing left."""
        bucket = self._keys.get(key)
        return bucket is not None and bucket.wait_time(now) > 0

    def take(self, key: str | None, now: float, cost: float = 1.0) -> bool:
        """``cost`` more of ``key``, at ``now``; None is counted with everybody only."""
        if key is not None:
            bucket = self._keys.get(key)
            if bucket is None:
                bucket = self._keys[key] = Bucket(rate=self._per_key, burst=self._key_burst, now=now)
                if len(self._keys) > MAX_KEYS:
                    self._keys.popitem(last=False)
            self._keys.move_to_end(key)
            if not bucket.take(now, cost):
                return False
        return self._all.take(now, cost)
