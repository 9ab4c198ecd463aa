"""One speaker's frames put in order and onto the server's clock, before anybody else sees them.

A speaker chooses its own sequence numbers and timestamps. Here they become an index that only grows and a timestamp on
the server's clock (samples of ``now``), checked: what comes twice, far too late, or overlaps what was there is dropped;
a clock that leaps is set anew. So nobody's sound takes more time than has passed, whatever its numbers say.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import attrs

from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, MAX_TIMESTAMP, AudioFrame

RATE: Final = 48_000
REORDERED: Final = 64
"""How many frames later than its successor a frame may come."""
LEAP: Final = 1_000
"""A sequence that is farther away than this many frames was begun anew."""
STALE: Final = 0.5
"""Seconds: a frame that was on its way so much longer than the fastest is not live any more."""
_NEW_NORMAL: Final = 1.0
"""Seconds for which everything may be late before the speaker is taken to have begun anew, and stale before the way itself
is taken to have become longer."""
_BETWEEN_LEAPS: Final = 1.0
"""Seconds: each leap of the clock may gain half a second, so leaps must not be many."""
_DRIFT: Final = 5e-4
"""The remembered shortest way grows by this much per second: clocks differ by less."""


@attrs.frozen
class Placed:
    """Where a frame belongs."""

    frame: AudioFrame
    samples: int
    index: int
    """Counts the speaker's frames, also those that were lost on the way."""
    timestamp: int
    """The frame's first sample, on the server's clock."""
    jumped: bool
    """The timeline jumped here: what lies between was never there."""
    reordered: bool
    """It comes after a frame that follows it."""


class Uplink:
    """The frames of one speaker. ``drops`` counts, by reason, what was not taken."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._sequence: int | None = None
        self._index = -1
        self._seen = 0
        self._offset = 0
        self._start = self._end = 0
        self._shortest: float | None = None
        self._updated = 0.0
        self._stale_since: float | None = None
        self._late_since: float | None = None
        self._leapt: float | None = None

    def fill(self, end: int) -> None:
        """The server has put sound of its own behind the newest frame, up to ``end``."""
        if end > self._end:
            self._start, self._end = self._end, end

    def place(self, frame: AudioFrame, samples: int, now: float) -> Placed | None:
        """Where ``frame``, which lasts ``samples``, belongs; None: it is dropped."""
        step = 1 if self._sequence is None else _signed(frame.sequence - self._sequence)
        if step <= 0 and step > -REORDERED and self._fits_before(frame, samples):
            return self._place_earlier(frame, samples, step)
        leapt = self._sequence is None or abs(step) > LEAP or self._began_anew(frame, step, now)
        if step <= 0 and not leapt:
            return self._drop("late")
        if not leapt and self._is_stale(frame, samples, now):
            return self._drop("stale")
        jumped = self._follow_clock(frame, samples, now, leapt)
        if jumped is None:
            return self._drop("leaps")
        timestamp = frame.timestamp + self._offset
        if timestamp < self._end:
            return self._drop("overlap")
        if jumped or frame.flags & FLAG_DISCONTINUITY:
            step = 1
        self._sequence = frame.sequence
        self._index += step
        self._seen = (self._seen << step | 1) & ((1 << REORDERED) - 1)
        # Between two frames there is room for those that were lost, which last at most as long as this one.
        jumped = jumped or bool(frame.flags & FLAG_DISCONTINUITY) or timestamp - self._end > (step - 1) * samples
        self._start, self._end = timestamp, timestamp + samples
        return Placed(frame, samples, self._index, timestamp, jumped, False)

    # -- inside --

    def _drop(self, reason: str) -> Placed | None:
        self.drops[reason] += 1
        return None

    def _began_anew(self, frame: AudioFrame, step: int, now: float) -> bool:
        """Whether the speaker counts from the beginning again: the frame says so, or nothing has been newer for a while."""
        if step > 0:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = now
        return bool(frame.flags & FLAG_DISCONTINUITY) or now - self._late_since > _NEW_NORMAL

    def _fits_before(self, frame: AudioFrame, samples: int) -> bool:
        """Whether its timestamp, too, says that it belongs before the newest, and not that all begins anew."""
        at = frame.timestamp + self._offset
        return self._end - REORDERED * 2_880 <= at <= self._start and at + samples <= self._end

    def _place_earlier(self, frame: AudioFrame, samples: int, step: int) -> Placed | None:
        bit = 1 << -step
        if self._seen & bit:
            return self._drop("duplicate")
        if -step > self._index or frame.timestamp + self._offset + samples > self._start:
            return self._drop("late")
        self._seen |= bit
        return Placed(frame, samples, self._index + step, frame.timestamp + self._offset, False, True)

    def _way(self, frame: AudioFrame, samples: int, now: float) -> float:
        return now - (frame.timestamp + self._offset + samples) / RATE

    def _is_stale(self, frame: AudioFrame, samples: int, now: float) -> bool:
        if self._shortest is None or self._way(frame, samples, now) - self._shortest <= STALE:
            self._stale_since = None
            return False
        if self._stale_since is None:
            self._stale_since = now
        return now - self._stale_since <= _NEW_NORMAL

    def _follow_clock(self, frame: AudioFrame, samples: int, now: float, leapt: bool) -> bool | None:
        """Learn how long the way is; set the clock anew where it leapt. Whether that happened; None: too often."""
        if self._shortest is not None and not leapt:
            way = self._way(frame, samples, now)
            shortest = self._shortest + (now - self._updated) * _DRIFT
            if abs(way - shortest) <= STALE and frame.timestamp + self._offset + samples <= MAX_TIMESTAMP:
                self._shortest, self._updated = min(way, shortest), now
                return False
        if self._leapt is not None and now - self._leapt < _BETWEEN_LEAPS:
            return None
        self._leapt = now
        self._offset = max(int(now * RATE) - samples, self._end) - frame.timestamp
        self._shortest, self._updated, self._stale_since = self._way(frame, samples, now), now, None
        return True


def _signed(difference: int) -> int:
    return ((difference + 2**31) & 0xFFFFFFFF) - 2**31
