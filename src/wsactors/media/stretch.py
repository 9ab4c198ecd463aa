"""Sound made a little shorter or longer without changing its pitch: one period is faded into the next, or repeated.

That is what makes a jitter buffer's delay follow the network, and one clock follow another, unheard (the idea of
WebRTC's accelerate and preemptive expand). Where no period is found, nothing is changed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.interpolation import Block

_COARSE: Final = 4
"""Periods are looked for at 12 kHz."""
_SHORTEST: Final = 120
"""Samples at 48 kHz: 2.5 ms, 400 Hz."""
_LONGEST: Final = 480
"""10 ms, 100 Hz."""
_SILENT: Final = 1e-3
"""Root mean square, −60 dBFS: whatever is done to that is not heard."""


def shorter(block: Block, likeness: float = 0.6) -> Block:
    """``block`` without one period, at most 10 ms; itself when no two periods are alike by ``likeness`` (0 to 1).

    Both ends stay as they were, so that it fits between its neighbours. Shape (samples, channels), at 48 kHz.
    """
    period = _period(block, likeness)
    if period == 0:
        return block
    fade = _fade(period)
    joined = block[:period] * (1 - fade) + block[period : 2 * period] * fade
    return np.concatenate((joined, block[2 * period :]))


def longer(block: Block, likeness: float = 0.6) -> Block:
    """``block`` with one period twice; otherwise as `shorter`."""
    period = _period(block, likeness)
    if period == 0:
        return block
    fade = _fade(period)
    again = block[period : 2 * period] * (1 - fade) + block[:period] * fade
    return np.concatenate((block[:period], again, block[period:]))


def _fade(samples: int) -> Block:
    return (np.arange(1, samples + 1, dtype=np.float32) / np.float32(samples + 1))[:, None]


def _period(block: Block, likeness: float) -> int:
    """Samples after which the beginning of ``block`` comes again; 0: it does not."""
    longest = min(len(block) // 2, _LONGEST)
    if longest < _SHORTEST:
        return 0
    if float(np.sqrt(np.mean(block * block))) < _SILENT:
        return longest
    mono: NDArray[np.float32] = block.mean(axis=1)
    coarse = mono[: len(mono) // _COARSE * _COARSE].reshape(-1, _COARSE).mean(axis=1)
    window = len(coarse) // 2
    lags = np.lib.stride_tricks.sliding_window_view(coarse, window)[_SHORTEST // _COARSE : longest // _COARSE + 1]
    head = coarse[:window]
    energy = np.sqrt((lags * lags).sum(axis=1) * float(head @ head)) + 1e-9
    alike = (lags @ head) / energy
    best = int(np.argmax(alike))
    if alike[best] < likeness:
        return 0
    return min(longest, (best + _SHORTEST // _COARSE) * _COARSE)
