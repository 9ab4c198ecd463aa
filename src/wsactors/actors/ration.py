"""A token bucket: so many at once, then so many a second."""

from __future__ import annotations


class Ration:
    """``take(now)`` says whether one more is due. ``now`` in seconds, of any clock that only goes forward."""

    __slots__ = ("_burst", "_left", "_rate", "_when")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._when = now

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self._left = min(self._burst, self._left + (now - self._when) * self._rate)
        self._when = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
