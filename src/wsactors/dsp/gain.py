"""Gains that never click: the equal-power crossfade curve, and straight ramps between two gains."""

from __future__ import annotations

import numpy as np

from wsactors.dsp.curves import db_to_gain, equal_power
from wsactors.dsp.interpolation import Block

__all__ = ["db_to_gain", "equal_power", "ramp", "ramp_at"]


def ramp(begin: float, end: float, frames: int, done: int = 0, length: int | None = None) -> Block:
    """Gains for `frames` frames of a straight ramp, shape (frames, 1), to multiply a block with.

    The ramp leads from `begin` (just before its first frame) to `end` (reached with its last) in `length` frames
    (default: `frames`), of which `done` are already behind; past its end it stays at `end`.
    """
    length = frames if length is None else length
    if begin == end:
        return np.full((frames, 1), end, np.float32)
    progress = np.arange(done + 1, done + frames + 1, dtype=np.float32) / np.float32(max(length, 1))
    np.minimum(progress, 1.0, out=progress)
    gains: Block = (np.float32(begin) + np.float32(end - begin) * progress)[:, None]
    return gains


def ramp_at(begin: float, end: float, done: int, length: int) -> float:
    """The gain of the same ramp after `done` of its `length` frames."""
    return end if done >= length else begin + (end - begin) * done / length
