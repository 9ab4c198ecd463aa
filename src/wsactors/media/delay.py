"""How long the frames of a track are on their way, and how long a listener must wait so that nearly all have come.

The way of a frame is its arrival minus its timestamp; only differences mean anything. The shortest way of the last
seconds is the base; how much longer a frame took goes into a histogram that forgets, and what nearly all frames stay
below is the aim (as WebRTC's NetEq does it, in steps of 2 ms instead of whole frames). It follows a worse network within
a few frames and a better one within seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

RATE: Final = 48_000
_BUCKET: Final = 0.002
_WINDOW: Final = 10
"""Seconds in which the shortest way is looked for. Long enough for a quiet moment, short enough for clocks that drift."""
_MOST_BETWEEN: Final = 0.1
"""Seconds: a pause of the sound lets the window age by no more, or after a hole everything would seem on time."""
_HOLE: Final = 0.5
"""Seconds without any frame: longer than sound ever waits, so what was held up meanwhile says nothing about waiting."""
_PRIOR: Final = 0.25
"""What is assumed at first weighs as much as a quarter of a frame: it is forgotten within half a second."""
_FULL: Final = 1e9


@attrs.frozen
class DelayOptions:
    """How long sound may wait, in seconds."""

    least: float = 0.010
    most: float = 0.5
    start: float = 0.040
    """Before anything is known."""
    margin: float = 0.004
    """Added to what was measured: a device asks for sound in blocks."""
    quantile: float = 0.99
    """The share of frames that are to come in time."""
    memory: int = 350
    """Frames: how far back the histogram remembers."""


class ArrivalDelay:
    """Learns from the arrivals of one track."""

    __slots__ = (
        "_counts", "_hole_end", "_last", "_minima", "_options", "_quantile", "_top", "_total", "_transit", "_weight",
        "_window_age", "_window_least", "base", "jitter",
    )  # fmt: skip

    def __init__(self, options: DelayOptions = DelayOptions()) -> None:
        self._options = options
        self._counts = [0.0] * (round(options.most / _BUCKET) + 1)
        self._top = self._bucket(max(0.0, options.start - options.margin - _BUCKET))
        self._counts[self._top] = self._total = _PRIOR
        self._weight = 1.0
        self._quantile = self._find()
        self._minima: deque[float] = deque(maxlen=_WINDOW)
        self._window_least = self._window_age = 0.0
        self._last: float | None = None
        self._hole_end = -1e18
        self._transit = 0.0
        self.base = 0.0
        """The shortest way, in seconds."""
        self.jitter = 0.0
        """Seconds by which ways differ from one frame to the next (RFC 3550 §6.4.1)."""

    @property
    def knows(self) -> bool:
        """Whether anything has come."""
        return self._last is not None

    @property
    def target(self) -> float:
        """Seconds from the earliest moment at which a frame could have come to the one at which it is to be played."""
        options = self._options
        return min(options.most, max(options.least, self._quantile + options.margin))

    def lateness(self, timestamp: int, now: float) -> float:
        """Seconds by which what begins at ``timestamp`` and comes ``now`` took longer than the shortest way."""
        return now - timestamp / RATE - self.base if self.knows else 0.0

    def is_of_hole(self, timestamp: int, now: float) -> bool:
        """Whether what begins at ``timestamp`` and comes ``now`` should have come while nothing came at all."""
        if self._last is None:
            return False
        end = now if now - self._last > _HOLE else self._hole_end
        return timestamp / RATE + self.base < end

    def arrived(self, timestamp: int, now: float, *, counts: bool = True) -> None:
        """A frame came. ``counts``: false where it was sent later than its time, so that it says little about the way."""
        way = now - timestamp / RATE
        counts = counts and not self.is_of_hole(timestamp, now)
        self._follow_base(way, now)
        if not counts:
            return
        if self._transit:
            self.jitter += (abs(way - self._transit) - self.jitter) / 16
        self._transit = way
        bucket = self._bucket(way - self.base)
        self._weight *= 1 + 1 / self._options.memory
        self._counts[bucket] += self._weight
        self._total += self._weight
        self._top = max(self._top, bucket)
        if self._weight > _FULL:
            self._counts = [count / self._weight for count in self._counts]
            self._total /= self._weight
            self._weight = 1.0
        self._quantile = self._find()

    def _follow_base(self, way: float, now: float) -> None:
        if self._last is None:
            self._window_least = way
        else:
            if now - self._last > _HOLE:
                self._hole_end = now
            self._window_age += min(_MOST_BETWEEN, max(0.0, now - self._last))
            if self._window_age >= 1.0:
                self._minima.append(self._window_least)
                self._window_age, self._window_least = 0.0, way
        self._last = now
        self._window_least = min(self._window_least, way)
        self.base = min(self._window_least, *self._minima) if self._minima else self._window_least

    def _bucket(self, seconds: float) -> int:
        return min(len(self._counts) - 1, max(0, int(seconds / _BUCKET)))

    def _find(self) -> float:
        """The upper edge of the bucket in which the quantile lies."""
        room = (1 - self._options.quantile) * self._total
        bucket = self._top
        while bucket > 0 and self._counts[bucket] <= room:
            room -= self._counts[bucket]
            bucket -= 1
        return (bucket + 1) * _BUCKET
