"""Switching off what rings: nothing new goes in, what is in dies away, and then there is silence and no work."""

from __future__ import annotations

import numpy as np

from wsactors.dsp.glide import GLIDE, Glide
from wsactors.dsp.interpolation import Block

LONGEST = 30 * 48_000
"""Frames after which anything that still rings is faded out."""


class Tail:
    """The way into an effect, the way out of it, and how long it goes on ringing after it was switched off."""

    __slots__ = ("_left", "back", "send")

    def __init__(self) -> None:
        self.send = Glide(0.0)
        """How much goes in."""
        self.back = Glide(0.0)
        """How much comes out."""
        self._left = 0

    @property
    def asleep(self) -> bool:
        """Whether nothing goes in and nothing comes out."""
        return self.send.settled and self.back.settled and self.send.target == self.back.target == 0.0

    def aim(self, on: bool, rings: int) -> None:
        """Switch on or off, `rings` being the frames in which the effect dies away."""
        if on:
            self._left = min(rings, LONGEST) + GLIDE
        self.send.aim(1.0 if on else 0.0)
        self.back.aim(1.0 if on or self._left > 0 else 0.0)

    def until_change(self, frames: int) -> int:
        """How many of the next frames have the same aim: the tail may end among them."""
        if self.send.target == 0.0 and self._left > 0:
            return min(frames, self._left)
        return frames

    def passed(self, frames: int) -> None:
        """So many frames have been processed."""
        if self.send.target == 0.0:
            self._left = max(0, self._left - frames)


def joined(pieces: list[Block]) -> Block:
    """The pieces of a block as one."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
