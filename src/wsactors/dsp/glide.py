"""From one setting to another without a click: values that glide, and crossfades between two ways of doing things.

Both go along the integral of a Hann window, `GLIDE` frames long. A value that is aimed anew before it has arrived is the
sum of its glides, so that no knob is too fast. Settings and curve are rounded to binary fractions so short that all sums
and products are exact in double precision: how the stream is cut into blocks cannot make a difference, not even of a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

Gains: TypeAlias = NDArray[np.float64]
"""One factor per frame, shape (frames, 1), to multiply a block with."""
Sound: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
T = TypeVar("T")

GLIDE = 480
"""Frames from one setting to another: 10 ms, too slow to click and too fast to hear as a fade."""
MAX_VALUE = 8.0
"""Largest setting that can be glided to, either side of 0."""
_SETTING = float(1 << 24)
_CURVE = float(1 << 22)


def _curve() -> NDArray[np.float64]:
    place = np.arange(GLIDE + 1) / GLIDE
    smooth = place - np.sin(2 * math.pi * place) / (2 * math.pi)
    out: NDArray[np.float64] = np.rint(smooth * _CURVE) / _CURVE
    return out


_RISE = _curve()[1:]
_RISE_COLUMN = _RISE[:, None]


@attrs.define
class _Step:
    delta: float
    end: float
    done: int = 0


class Glide:
    """A value that glides to where it is aimed. Raises `ValueError` beyond ±8."""

    __slots__ = ("_base", "_steps", "_target")

    def __init__(self, value: float) -> None:
        self._base = self._target = _rounded(value)
        self._steps: list[_Step] = []

    @property
    def target(self) -> float:
        """Where it is, or will be `GLIDE` frames after it was last aimed."""
        return self._target

    @property
    def settled(self) -> bool:
        """Whether it has arrived."""
        return not self._steps

    def aim(self, value: float) -> None:
        """Let the value glide to `value`, beginning with the next frame that is taken."""
        value = _rounded(value)
        if value != self._target:
            self._steps.append(_Step(value - self._target, value))
            self._target = value

    def take(self, frames: int) -> Gains | None:
        """The value in the next `frames` frames; None when it stays at `target` in all of them."""
        if not self._steps:
            return None
        out = np.full(frames, self._base)
        for step in self._steps:  # from old to new: every partial sum is a mean of settings, so none overflows
            rising = min(frames, GLIDE - step.done)
            out[:rising] += step.delta * _RISE[step.done : step.done + rising]
            out[rising:] += step.delta
            step.done += frames
        while self._steps and self._steps[0].done >= GLIDE:
            self._base = self._steps.pop(0).end
        return out[:, None]

    def factor(self, frames: int) -> Gains:
        """The value in the next `frames` frames, to multiply a block with: one row, or one for each frame."""
        gains = self.take(frames)
        # Not a plain number: that would be multiplied in single precision, and a glide that has ended in double.
        return np.array([[self._target]]) if gains is None else gains


def _rounded(value: float) -> float:
    if not -MAX_VALUE <= value <= MAX_VALUE:
        raise ValueError(f"a gliding value must be within ±{MAX_VALUE:g}, got {value!r}")
    return round(value * _SETTING) / _SETTING


def blend(dry: Sound, wet: Sound, share: Gains) -> Sound:
    """`dry` where the share is 0, `wet` where it is 1, both to the bit, and in between the sum of their shares."""
    out: Sound = dry * (1.0 - share) + wet * share
    return out


@attrs.frozen
class Stretch(Generic[T]):
    """Some frames of a block in which one setting holds, or gives way to another."""

    begin: int
    end: int
    old: T
    new: T
    """The same as `old` unless there is a `share`."""
    share: Gains | None
    """How much of the new is heard, frame by frame."""


class Crossfade(Generic[T]):
    """For settings that have no way between them, like a filter's: the old one fades out while the new one fades in.

    What is asked for during a fade is begun at its end; of several the last one counts. So there are never more than two
    settings at once, and a setting is reached at most twice `GLIDE` frames after it was asked for.
    """

    __slots__ = ("_done", "_new", "_old", "_wanted")

    def __init__(self, setting: T) -> None:
        self._old = self._new = self._wanted = setting
        self._done = GLIDE

    @property
    def settled(self) -> bool:
        """Whether one setting is in force, and no other is on its way."""
        return self._done >= GLIDE and self._wanted == self._old

    @property
    def setting(self) -> T:
        """The setting that was last asked for."""
        return self._wanted

    def aim(self, setting: T) -> None:
        """Ask for a setting, as of the next frame."""
        self._wanted = setting

    def jump(self, setting: T) -> None:
        """Put a setting in force at once: for when nothing is heard."""
        self._old = self._new = self._wanted = setting
        self._done = GLIDE

    def take(self, frames: int) -> Iterator[Stretch[T]]:
        """The next `frames` frames, in stretches; to be used up before anything else is asked."""
        at = 0
        while at < frames:
            if self._done >= GLIDE:
                if self._wanted == self._old:
                    yield Stretch(at, frames, self._old, self._old, None)
                    return
                self._new, self._done = self._wanted, 0
            length = min(frames - at, GLIDE - self._done)
            share = _RISE_COLUMN[self._done : self._done + length]
            stretch = Stretch(at, at + length, self._old, self._new, share)
            self._done += length
            if self._done >= GLIDE:
                self._old = self._new
            at += length
            yield stretch
