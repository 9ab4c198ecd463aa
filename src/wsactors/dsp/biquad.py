"""Filters of the second order, and chains of them, over blocks of any size.

The designs are those of R. Bristow-Johnson's "Audio EQ Cookbook" (bilinear transform, frequencies warped to fit). A
chain is multiplied out into one recursion, because a call costs far more than the arithmetic; in double
precision that is harmless for the orders and frequencies that are used here (tests hold it against `sosfreqz`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.recursion import recurse

Section: TypeAlias = tuple[float, float, float, float, float, float]
"""b0, b1, b2, a0 (always 1), a1, a2: a row of what scipy calls second-order sections."""
Samples: TypeAlias = NDArray[np.float64]

SAMPLE_RATE = 48_000
BUTTERWORTH = math.sqrt(0.5)
"""The quality of the flattest filter of the second order; two of them in a row are a Linkwitz-Riley crossover."""


def lowpass(hertz: float, quality: float = BUTTERWORTH) -> Section:
    """What is above `hertz` falls by 12 dB per octave."""
    c, alpha = _angle(hertz, quality)
    return _section((1 - c) / 2, 1 - c, (1 - c) / 2, 1 + alpha, -2 * c, 1 - alpha)


def highpass(hertz: float, quality: float = BUTTERWORTH) -> Section:
    """What is below `hertz` falls by 12 dB per octave."""
    c, alpha = _angle(hertz, quality)
    return _section((1 + c) / 2, -1 - c, (1 + c) / 2, 1 + alpha, -2 * c, 1 - alpha)


def allpass(hertz: float, quality: float = BUTTERWORTH) -> Section:
    """All frequencies are as loud as before, their phases turned by up to 360°, 180° at `hertz`."""
    c, alpha = _angle(hertz, quality)
    return _section(1 - alpha, -2 * c, 1 + alpha, 1 + alpha, -2 * c, 1 - alpha)


def _angle(hertz: float, quality: float) -> tuple[float, float]:
    if not 0 < hertz < SAMPLE_RATE / 2 or not quality > 0:
        raise ValueError(
            f"a filter needs a frequency below {SAMPLE_RATE // 2} Hz and a quality, got {hertz}, {quality}"
        )
    turn = 2 * math.pi * hertz / SAMPLE_RATE
    return math.cos(turn), math.sin(turn) / (2 * quality)


def _section(b0: float, b1: float, b2: float, a0: float, a1: float, a2: float) -> Section:
    return b0 / a0, b1 / a0, b2 / a0, 1.0, a1 / a0, a2 / a0


class Chain:
    """Some sections, one after the other, with what they remember of a stream of `channels` channels."""

    __slots__ = ("_down", "_state", "_up", "sections")

    def __init__(self, sections: Sequence[Section], channels: int = 2) -> None:
        self.sections = tuple(sections)
        up, down = np.ones(1), np.ones(1)
        for section in sections:
            up, down = np.convolve(up, section[:3]), np.convolve(down, section[3:])
        self._up, self._down = up, down
        self._state = np.zeros((len(up) - 1, channels))

    def process(self, block: NDArray[np.float32] | Samples) -> Samples:
        """The next frames of the stream, shape (frames, channels)."""
        out, self._state = recurse(self._up, self._down, block, 0, self._state)
        filtered: Samples = out
        return filtered


class Past:
    """The last frames of a stream, from which a filter that is needed all of a sudden learns what it has missed."""

    __slots__ = ("_frames",)

    def __init__(self, frames: int, channels: int = 2) -> None:
        self._frames = np.zeros((frames, channels), np.float32)

    def push(self, block: NDArray[np.float32]) -> None:
        """The stream has gone on by this block."""
        kept = self._frames
        if len(block) >= len(kept):
            self._frames = block[-len(kept) :].copy()
        else:
            self._frames = np.concatenate((kept[len(block) :], block))

    def last(self, frames: int) -> NDArray[np.float32]:
        """The last frames, at most as many as are kept; silence before the stream began."""
        return self._frames[-min(frames, len(self._frames)) :]
