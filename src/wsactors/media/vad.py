"""Whether somebody speaks, from the loudness of each frame: against the noise of the room, with a hangover.

The noise floor is the least loudness of the last four seconds, in which every speaker takes a breath. Who is louder than
the floor by a margin speaks. Between the thresholds nothing changes, and after the last loud frame the detector stays
active for the hangover, so that the soft end of a word is not cut off.

Pure: levels as they stand in audio frames (RFC 6464: −dBov, 0 to 127) and durations in, a verdict out.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from wsactors.dsp.interpolation import Block
from wsactors.dsp.meter import measure

RATE: Final = 48_000
"""Samples per second of all durations here."""
_BIN: Final = RATE // 2
_BINS: Final = 8
_DEAF: Final = -70.0
"""dBov: a floor is never taken to be lower. Digital silence would make any breath speech."""


@attrs.frozen
class VoiceOptions:
    """When a frame counts as speech."""

    margin: float = 9.0
    """Decibels above the noise floor."""
    quietest: float = -50.0
    """dBov below which nothing is speech."""
    loudest: float = -30.0
    """dBov above which everything is, however steady it may be."""
    hysteresis: float = 4.0
    """Decibels by which speech may fall below the threshold and still be speech."""
    hangover: float = 0.3
    """Seconds after the last loud frame in which the detector stays active."""


class VoiceDetector:
    """Hears one speaker, frame by frame.

    Example:
        >>> detector = VoiceDetector()
        >>> [detector.hear(level, 960) for level in (70, 70, 25, 70)]
        [False, False, True, True]
    """

    __slots__ = ("_bins", "_filled", "_hangover", "_least", "_options", "_quiet", "active", "voiced")

    def __init__(self, options: VoiceOptions = VoiceOptions()) -> None:
        self._options = options
        self._hangover = round(options.hangover * RATE)
        self._bins: deque[float] = deque(maxlen=_BINS)
        self._least = 0.0
        self._filled = self._quiet = 0
        self.voiced = False
        """Whether the latest frame was loud enough."""
        self.active = False
        """The same with the hangover."""

    @property
    def floor(self) -> float:
        """The noise floor, dBov."""
        known = min(self._bins) if self._bins else self._least if self._filled else _DEAF
        return max(_DEAF, min(known, self._least) if self._filled else known)

    @property
    def threshold(self) -> float:
        """Loudness in dBov from which on a frame is speech."""
        options = self._options
        # A floor is believed only once half a second of it was heard: whoever begins loudly begins with speech.
        floor = self.floor if self._bins else _DEAF
        return min(options.loudest, max(options.quietest, floor + options.margin))

    def hear(self, level: int, samples: int, *, says: bool = False) -> bool:
        """Take one frame of ``samples`` samples; whether the detector is active.

        ``says``: the speaker's own detector, which has heard more than a level, says that this is speech. It is believed
        for all that is not as good as silent.
        """
        loudness = -float(level)
        threshold = self.threshold - (self._options.hysteresis if self.voiced else 0.0)
        self.voiced = loudness >= threshold or (says and loudness > _DEAF)
        self._learn(loudness, samples)
        self._quiet = 0 if self.voiced else self._quiet + samples
        self.active = self.voiced or (self.active and self._quiet <= self._hangover)
        return self.active

    def hear_sound(self, block: Block) -> bool:
        """The same for decoded sound, shape (samples, channels) at 48 kHz."""
        return self.hear(measure(block).dbov, len(block))

    def silence(self) -> None:
        """The speaker says that there is nothing to hear from now on: no hangover."""
        self.voiced = self.active = False

    def _learn(self, loudness: float, samples: int) -> None:
        self._least = min(self._least, loudness) if self._filled else loudness
        self._filled += samples
        if self._filled >= _BIN:
            self._bins.append(self._least)
            self._filled = 0
