"""Which frames come too late to be heard. Pure: arrival times come in as ``now``.

What a stalled connection delivers first, once it moves again, is what lay in the buffers of both kernels: old sound. A
listener compares each frame's way with the shortest way seen: the frame that took ``limit`` seconds longer is skipped.
"""

from __future__ import annotations

from typing import Final

LATE_SECONDS: Final = 0.45
"""Less than the half second that sound may be old when it is heard: the shortest way itself takes a moment."""
_DRIFT: Final = 2e-4
"""The remembered shortest way grows by this much per second: two clocks that drift by 200 ppm stay acceptable."""
_NEW_NORMAL_SECONDS: Final = 3.0
"""If frames have been late for this long while arriving steadily, the way itself has become longer."""


class LateGate:
    """Decides for each frame of one track.

    Args:
        rate: Samples per second of the timestamps.
        limit: How much longer than the shortest way a frame may take, in seconds.

    Example:
        >>> gate = LateGate(rate=48_000)
        >>> gate.accept(0, now=10.0), gate.accept(960, now=10.6), gate.accept(28_800, now=10.6)
        (True, False, True)
    """

    def __init__(self, *, rate: int, limit: float = LATE_SECONDS) -> None:
        self._rate = rate
        self._limit = limit
        self._shortest: float | None = None
        self._updated = 0.0
        self._late_since: float | None = None
        self.late = 0
        self.worst_accepted = 0.0
        """The latest that an accepted frame was, in seconds."""

    def reset(self) -> None:
        """The track's timeline jumped: forget what was learnt."""
        self._shortest = self._late_since = None

    def accept(self, timestamp: int, *, now: float) -> bool:
        """Whether the frame that begins at ``timestamp`` and arrives ``now`` may still be heard."""
        way = now - timestamp / self._rate
        if self._shortest is None:
            self._shortest = way
        else:
            self._shortest = min(way, self._shortest + (now - self._updated) * _DRIFT)
        self._updated = now
        lateness = way - self._shortest
        if lateness <= self._limit:
            self._late_since = None
            self.worst_accepted = max(self.worst_accepted, lateness)
            return True
        if self._late_since is None:
            self._late_since = now
        elif now - self._late_since > _NEW_NORMAL_SECONDS:
            self.reset()
        self.late += 1
        return False
