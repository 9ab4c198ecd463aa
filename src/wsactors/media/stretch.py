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
_LEAST_FADE: Final = 48
"""1 ms: what short blocks are joined by at least."""
_SILENT: Final = 1e-3
"""Root mean square, −60 dBFS: whatever is done to that is not heard."""


def shorter(block: Block, likeness: float = 0.6, before: Block | None = None) -> Block:
    """``block`` without one period, at most 10 ms; itself when no two periods are alike by ``likeness`` (0 to 1).

    Both ends stay as they were, so that it fits between its neighbours. Shape (samples, channels), at 48 kHz. ``before``
    is what was played before it: in a block of less than 20 ms there are no two periods to compare.
    """
    period = _period(block, likeness, before, len(block) - _LEAST_FADE)
    if period == 0:
        return block
    samples = min(period, len(block) - period)
    fade = _fade(samples)
    joined = block[:samples] * (1 - fade) + block[period : period + samples] * fade
    return np.concatenate((joined, block[period + samples :]))


def longer(block: Block, likeness: float = 0.6, before: Block | None = None) -> Block:
    """``block`` with one period twice; otherwise as `shorter`."""
    period = _period(block, likeness, before, len(block))
    if period == 0:
        return block
    fade = _fade(period)
    if len(block) >= 2 * period:
        again = block[period : 2 * period] * (1 - fade) + block[:period] * fade
        return np.concatenate((block[:period], again, block[period:]))
    if before is None or len(before) < period:
        return block
    again = block[:period] * (1 - fade) + before[len(before) - period :] * fade
    return np.concatenate((again, block))


def _fade(samples: int) -> Block:
    return (np.arange(1, samples + 1, dtype=np.float32) / np.float32(samples + 1))[:, None]


def _period(block: Block, likeness: float, before: Block | None, most: int) -> int:
    """Samples after which the sound of ``block`` comes again, at most ``most``; 0: it does not."""
    sound = block
    if before is not None and len(block) < 2 * _LONGEST:
        sound = np.concatenate((before[max(0, len(before) + len(block) - 2 * _LONGEST) :], block))
    longest = min(len(sound) // 2, _LONGEST, most)
    if longest < _SHORTEST:
        return 0
    if float(np.sqrt(np.mean(block * block))) < _SILENT:
        return min(longest, len(block) // 2)
    mono: NDArray[np.float32] = sound.mean(axis=1)
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
