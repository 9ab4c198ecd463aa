"""How much faster or slower a sender's clock runs than ours, from the timestamps of what it sends and when that comes.

Single arrivals say nothing, since networks differ by milliseconds; but the quickest of each second lie on a line, and its
slope is the drift. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_SECONDS: Final = 60
_LEAST: Final = 10


class ClockDrift:
    """Estimates the drift of one track's clock from the last minute.

    Example:
        >>> drift = ClockDrift()
        >>> for n in range(3000): drift.arrived(n * 960, n / 50 * 1.0001)
        >>> drift.ppm is not None and round(drift.ppm)
        -100
    """

    def __init__(self, rate: int = 48_000) -> None:
        self._rate = rate
        self._quickest: deque[tuple[float, float]] = deque(maxlen=_SECONDS)
        self._second: tuple[float, float] | None = None
        self._ends = 0.0

    def arrived(self, timestamp: int, now: float) -> None:
        """What begins at ``timestamp`` came ``now``."""
        way = now - timestamp / self._rate
        if self._second is None or now >= self._ends:
            if self._second is not None:
                self._quickest.append(self._second)
            self._second, self._ends = (now, way), now + 1.0
        elif way < self._second[1]:
            self._second = (now, way)

    def reset(self) -> None:
        """The timeline jumped: what was learnt does not go on."""
        self._quickest.clear()
        self._second = None

    @property
    def ppm(self) -> float | None:
        """Parts per million by which the sender's clock is faster than ours; None: not known yet."""
        points = self._quickest
        if len(points) < _LEAST:
            return None
        middle = sum(at for at, _ in points) / len(points)
        mean = sum(way for _, way in points) / len(points)
        spread = sum((at - middle) ** 2 for at, _ in points)
        slope = sum((at - middle) * (way - mean) for at, way in points) / spread
        # A way that grows means that timestamps advance more slowly than our clock.
        return -slope * 1e6
