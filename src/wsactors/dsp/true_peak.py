"""How high the sound goes between its samples: four times oversampled, as ITU-R BS.1770 Annex 2 wants it.

The interpolator is a windowed sinc of 16 points for each of the three places between two samples. Samples and taps are
rounded to binary fractions so short that the sums are exact in double precision: the same peaks come out however the
stream is cut, whatever the processor's order of additions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from wsactors.dsp.interpolation import Block
from wsactors.dsp.meter import SILENCE

POINTS = 16
BEFORE = POINTS // 2 - 1
"""Frames before a frame that are needed for the peaks behind it."""
AFTER = POINTS // 2
"""Frames after it that are needed."""
LOUDEST = 64.0
"""Samples beyond this (+36 dBFS) count as this."""
_STEPS = float(1 << 18)
_TAP_STEPS = float(1 << 20)
_SHAPE = 6.0


def _taps() -> NDArray[np.float64]:
    place = np.arange(-BEFORE, AFTER + 1)[:, None] - np.array([0.25, 0.5, 0.75])
    window = np.i0(_SHAPE * np.sqrt(1 - (place / AFTER) ** 2)) / np.i0(_SHAPE)
    taps = np.sinc(place) * window
    out: NDArray[np.float64] = np.rint(taps / taps.sum(axis=0) * _TAP_STEPS) / _TAP_STEPS
    return out


_TAPS = np.ascontiguousarray(_taps().T)
REACH = float(np.abs(_TAPS).sum(axis=1).max())
"""How much higher than its samples a sound can be, at the very most (a factor)."""


def frame_peaks(span: Block) -> NDArray[np.float64]:
    """The highest amplitude from each frame on to just before the next one, the loudest channel's.

    `span` has `BEFORE` frames before the first and `AFTER` after the last frame that is asked for.
    """
    channels, frames = span.shape[1], len(span) - POINTS + 1
    exact = np.empty((channels, len(span)))
    np.multiply(span.T, _STEPS, out=exact)
    np.rint(exact, out=exact)
    np.clip(exact, -LOUDEST * _STEPS, LOUDEST * _STEPS, out=exact)
    row, column = exact.strides
    points = np.empty((POINTS, channels, frames))
    points[...] = as_strided(exact, points.shape, (column, row, column), writeable=False)
    between = _TAPS @ points.reshape(POINTS, -1)
    np.abs(between, out=between)
    peaks = np.abs(exact[:, BEFORE : BEFORE + frames])
    for place in between.reshape(len(between), channels, frames):
        np.maximum(peaks, place, out=peaks)
    out: NDArray[np.float64] = peaks.max(axis=0) / _STEPS
    return out


class TruePeakMeter:
    """Follows the true peak of a stream of blocks of any size."""

    __slots__ = ("_held", "_peak")

    def __init__(self, channels: int = 2) -> None:
        self._held: Block = np.zeros((BEFORE + AFTER, channels), np.float32)
        self._peak = 0.0

    @property
    def peak(self) -> float:
        """The highest peak so far in dBTP, of all but the last eight frames."""
        return _decibels(self._peak)

    def process(self, block: Block) -> float:
        """Listen to a block; the amplitude (a factor, not decibels) of its highest peak, eight frames late."""
        span = np.concatenate((self._held, block))
        self._held = span[-(BEFORE + AFTER) :]
        highest = float(frame_peaks(span).max()) if len(block) else 0.0
        self._peak = max(self._peak, highest)
        return highest


def true_peak(samples: Block) -> float:
    """The highest peak in dBTP of a whole recording, shape (frames, channels); −127 for silence."""
    meter = TruePeakMeter(samples.shape[1])
    for at in range(0, len(samples), 48_000):
        meter.process(samples[at : at + 48_000].astype(np.float32))
    meter.process(np.zeros((AFTER, samples.shape[1]), np.float32))
    return meter.peak


def _decibels(amplitude: float) -> float:
    return max(SILENCE, 20.0 * math.log10(amplitude)) if amplitude > 0.0 else SILENCE
