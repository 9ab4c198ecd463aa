"""Gains that never click: the equal-power crossfade curve, and straight ramps between two gains."""

from __future__ import annotations

import math

import numpy as np

from wsactors.dsp.interpolation import Block


def equal_power(position: float) -> tuple[float, float]:
    """Gains of the left and the right strip for a crossfader at −1 (left alone) to +1 (right alone).

    The squares always add up to 1, so two unrelated songs keep their loudness in the middle (0.707 each).
    Values outside are taken as the nearest end, where the other gain is exactly 0.
    """
    if position <= -1.0:
        return 1.0, 0.0
    if position >= 1.0:
        return 0.0, 1.0
    angle = (position + 1.0) * (math.pi / 4)
    return math.cos(angle), math.sin(angle)


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


def db_to_gain(decibels: float) -> float:
    """A factor for an amplitude: ``db_to_gain(-6.02)`` is 0.5."""
    return float(10.0 ** (decibels / 20.0))
