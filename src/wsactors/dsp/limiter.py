"""A look-ahead limiter for true peaks: the output stays below the ceiling, between the samples too, and no gain jumps.

Four steps, all over arrays: how far each frame is above the ceiling, four times oversampled; the most of it over a window
of `look_ahead` frames; a straight recovery in decibels; the mean of that over the same window. Every value in a frame's
mean already respects that frame, so the bound is exact for samples, and a mean over L frames cannot change faster than
1/L of the reduction per frame.

Reductions are whole numbers of 2⁻²⁰ octaves. So their sums are exact, and how the stream is cut makes no difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.interpolation import Block
from wsactors.dsp.true_peak import AFTER, BEFORE, REACH, frame_peaks

Octaves = NDArray[np.int64]
"""Reductions, in 2⁻²⁰ octaves of amplitude."""

MARGIN = 0.1
"""dB by which the gain is set lower: a peak between four-fold samples, and a gain that moves, may add that much."""
_OCTAVE = 1 << 20


class Limiter:
    """Limits a stream of blocks of any size. Its output lags the input by :attr:`delay` frames.

    `ceiling` in dBTP, `look_ahead` in frames (96 = 2 ms at 48 kHz), `release` in frames to recover by 6 dB. What does not
    come near the ceiling passes bit for bit. The same input always gives the same output, however it is cut into blocks.
    Without `true_peak` only the samples are held below the ceiling, which costs nothing until one is above: enough for voices.
    """

    __slots__ = (
        "_after", "_aim", "_before", "_ceiling", "_fall", "_history", "_means", "_needs", "_reduction", "_window",
    )  # fmt: skip

    def __init__(
        self,
        *,
        channels: int = 2,
        ceiling: float = -1.0,
        look_ahead: int = 96,
        release: int = 4800,
        true_peak: bool = True,
    ) -> None:
        if look_ahead < 2 or release < 1 or ceiling > 0:
            raise ValueError("a limiter needs look_ahead >= 2 and release >= 1 frames, and a ceiling of at most 0 dBTP")
        self._window = look_ahead
        self._ceiling = np.float32(db_to_gain(ceiling))
        self._before, self._after = (BEFORE, AFTER) if true_peak else (0, 0)
        self._aim = db_to_gain(ceiling - MARGIN) if true_peak else float(self._ceiling)
        self._fall = max(1, _OCTAVE // release)
        self._reduction = 0
        self._history: Block = np.zeros((self.delay + self._before, channels), np.float32)
        self._needs: Octaves = np.zeros(look_ahead - 1 + self._spread, np.int64)
        self._means: Octaves = np.zeros(look_ahead - 1, np.int64)

    @property
    def _spread(self) -> int:
        """A peak between two frames is made by frames around it: all of them have to be taken back."""
        return self._before + self._after

    @property
    def delay(self) -> int:
        """Frames by which the output lags the input."""
        return self._window - 1 + self._spread

    @property
    def reduction(self) -> float:
        """How much is being taken away right now: 0.0 is nothing, 0.5 is half the amplitude."""
        return 1.0 - float(2.0 ** (-self._reduction / _OCTAVE))

    def process(self, block: Block) -> Block:
        """Limit one block, shape (frames, channels); the result has that shape and starts `delay` frames earlier."""
        frames = len(block)
        joined = np.concatenate((self._history, block))
        self._history = joined[frames:]
        delayed: Block = joined[self._before : self._before + frames]
        span = joined[len(joined) - frames - self._spread :]
        over = self._over(span)
        if over is None and self._rested():
            return delayed
        mean = self._mean(np.zeros(frames, np.int64) if over is None else over)
        limited: Block = delayed * np.exp2(mean * (-1.0 / _OCTAVE)).astype(np.float32)[:, None]
        # The mean is exact in theory; the last bit of the gain's rounding is not.
        return np.clip(limited, -self._ceiling, self._ceiling, out=limited)

    def _over(self, span: Block) -> Octaves | None:
        """How far each frame is above the ceiling; None if no frame can be."""
        reach = REACH if self._spread else 1.0
        if float(np.abs(span).max(initial=0.0)) * reach <= self._aim:
            return None
        peaks = frame_peaks(span) if self._spread else _highest(span)
        if not (peaks > self._aim).any():
            return None
        over: Octaves = np.ceil(np.log2(np.maximum(peaks, self._aim) / self._aim) * _OCTAVE).astype(np.int64)
        return over

    def _rested(self) -> bool:
        return self._reduction == 0 and not self._needs.any() and not self._means.any()

    def _mean(self, over: Octaves) -> NDArray[np.float64]:
        frames = len(over)
        needs = np.concatenate((self._needs, over))
        means = np.concatenate((self._means, self._release(_most(needs, self._window + self._spread))))
        self._needs, self._means = needs[frames:], means[frames:]
        total = np.concatenate((np.zeros(1, np.int64), np.cumsum(means)))
        out: NDArray[np.float64] = (total[self._window :] - total[: -self._window]) / self._window
        return out

    def _release(self, wanted: Octaves) -> Octaves:
        """d[n] = max(wanted[n], d[n−1] − fall), without a loop: with fall · n added it is a running maximum."""
        fallen = np.arange(1, len(wanted) + 1) * self._fall
        out: Octaves = np.maximum(np.maximum.accumulate(wanted + fallen), self._reduction) - fallen
        np.maximum(out, 0, out=out)
        self._reduction = int(out[-1])
        return out


def _highest(span: Block) -> NDArray[np.float64]:
    """The loudest channel's amplitude in each frame; a row per channel, because maxima along short rows are slow."""
    rows = np.ascontiguousarray(span.T, np.float64)
    return np.asarray(np.abs(rows).max(axis=0))


def _most(values: Octaves, window: int) -> Octaves:
    """The largest of each `window` values in a row, by doubling: seven comparisons for a window of 96."""
    width = 1
    while 2 * width <= window:
        values = np.maximum(values[width:], values[:-width])
        width *= 2
    rest = window - width
    return np.maximum(values[rest:], values[: len(values) - rest]) if rest else values
