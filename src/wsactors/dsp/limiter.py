"""A look-ahead peak limiter: the output never exceeds the ceiling, and the gain never jumps.

Three steps, all over arrays: the gain each frame needs; the least of it over a window of `look_ahead` frames,
recovering exponentially; the mean of that over the same window. Every value in a frame's mean already respects that
frame's need, so the bound is exact, and a mean over L frames cannot change faster than 1/L per frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.interpolation import Block

_RESTED = 1e-6


class Limiter:
    """Limits a stream of blocks of any size. Its output lags the input by :attr:`delay` frames.

    `ceiling` in dBFS, `look_ahead` in frames (96 = 2 ms at 48 kHz), `release` in frames to recover by 1 − 1/e.
    The same input always gives the same output, however it is cut into blocks.
    """

    __slots__ = ("_ceiling", "_decay", "_gains", "_history", "_needs", "_reduction", "_window")

    def __init__(self, *, channels: int = 2, ceiling: float = -1.0, look_ahead: int = 96, release: int = 4800) -> None:
        if look_ahead < 2 or release < 1 or ceiling > 0:
            raise ValueError("a limiter needs look_ahead >= 2 and release >= 1 frames, and a ceiling of at most 0 dBFS")
        self._window = look_ahead
        self._ceiling = np.float32(db_to_gain(ceiling))
        self._decay = math.exp(-1.0 / release)
        self._reduction = 0.0
        self._history: Block = np.zeros((look_ahead - 1, channels), np.float32)
        self._needs = np.ones(look_ahead - 1)
        self._gains = np.ones(look_ahead - 1)

    @property
    def delay(self) -> int:
        """Frames by which the output lags the input."""
        return self._window - 1

    @property
    def reduction(self) -> float:
        """How much is being taken away right now: 0.0 is nothing, 0.5 is half the amplitude."""
        return self._reduction

    def process(self, block: Block) -> Block:
        """Limit one block, shape (frames, channels); the result has that shape and starts `delay` frames earlier."""
        keep = self._window - 1
        joined = np.concatenate((self._history, block))
        self._history = joined[-keep:]
        delayed: Block = joined[: len(block)]
        peaks = np.abs(block).max(axis=1)
        if self._reduction < _RESTED and self._rested() and not (peaks > self._ceiling).any():
            self._reduction = 0.0
            return delayed
        needs = np.concatenate((self._needs, self._need(peaks)))
        reductions = self._release(1.0 - sliding_window_view(needs, self._window).min(axis=1))
        gains = np.concatenate((self._gains, 1.0 - reductions))
        self._needs, self._gains = needs[-keep:], gains[-keep:]
        total = np.concatenate(([0.0], np.cumsum(gains)))
        mean = (total[self._window :] - total[: -self._window]) / self._window
        limited: Block = delayed * mean.astype(np.float32)[:, None]
        # The mean is exact in theory; the last bit of its rounding is not.
        return np.clip(limited, -self._ceiling, self._ceiling, out=limited)

    def _rested(self) -> bool:
        return bool((self._gains > 1.0 - _RESTED).all() and (self._needs >= 1.0).all())

    def _need(self, peaks: NDArray[np.float32]) -> NDArray[np.float64]:
        safe = np.maximum(peaks, self._ceiling)
        return np.asarray(self._ceiling / safe, dtype=np.float64)

    def _release(self, wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """d[n] = max(wanted[n], decay · d[n−1]), without a Python loop: divided by decayⁿ it is a running maximum."""
        powers = self._decay ** np.arange(1, len(wanted) + 1)
        out = np.maximum(np.maximum.accumulate(wanted / powers), self._reduction) * powers
        self._reduction = float(out[-1])
        return np.asarray(out, dtype=np.float64)
