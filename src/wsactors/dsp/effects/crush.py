"""A bit-crusher: fewer bits and fewer samples, with all the dirt that this makes."""

from __future__ import annotations

import numpy as np

from wsactors.dsp.effects import Setting
from wsactors.dsp.glide import Crossfade, Glide, Sound, blend
from wsactors.dsp.interpolation import Block

MOST_BITS = 16.0
FEWEST_BITS = 3.0
LONGEST_HOLD = 32
"""Frames for which one sample is held, at most: 1.5 kHz."""


class Crush:
    """`depth` takes bits away (16 to 3), `tone` gives samples (0: every 32nd, 1: all)."""

    __slots__ = ("_fade", "_on", "_past", "_wet")

    def __init__(self) -> None:
        self._on, self._wet = Glide(0.0), Glide(0.0)
        self._fade: Crossfade[tuple[float, int]] = Crossfade((MOST_BITS, 1))
        self._past: Block | None = None

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away."""
        return self._on.settled and self._on.target == 0.0

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames. Samples are held from frames whose number is a multiple of how long they are."""
        if self.asleep:
            self._past = None
            if not setting.on:
                return block
        bits = MOST_BITS - (MOST_BITS - FEWEST_BITS) * setting.depth
        wanted = (bits, 1 + round((LONGEST_HOLD - 1) * (1.0 - setting.tone) ** 2))
        if self._past is None:
            self._past = np.zeros((LONGEST_HOLD, 2), np.float32)
            self._wet = Glide(setting.wet)
            self._fade.jump(wanted)
        self._on.aim(1.0 if setting.on else 0.0)
        self._wet.aim(setting.wet)
        self._fade.aim(wanted)
        heard = np.concatenate((self._past, block))
        self._past = heard[-LONGEST_HOLD:]
        out: Block = np.empty_like(block)
        for stretch in self._fade.take(len(block)):
            begin, end = stretch.begin, stretch.end
            piece, past = block[begin:end], heard[begin : end + LONGEST_HOLD]
            dirt: Sound = _crushed(past, frame + begin, *stretch.old)
            if stretch.share is not None:
                dirt = blend(dirt, _crushed(past, frame + begin, *stretch.new), stretch.share)
            amount = self._wet.factor(end - begin) * self._on.factor(end - begin)
            out[begin:end] = blend(piece, dirt, amount)
        return out


def _crushed(past: Block, frame: int, bits: float, hold: int) -> Block:
    """The frames after the first `LONGEST_HOLD` of `past`, the first of which is the timeline's `frame`."""
    frames = len(past) - LONGEST_HOLD
    index = np.arange(LONGEST_HOLD, LONGEST_HOLD + frames)
    if hold > 1:
        index -= (frame % hold + np.arange(frames)) % hold
    step = np.float32(2.0 ** (1.0 - bits))
    out: Block = np.rint(past[index] / step) * step
    return out
