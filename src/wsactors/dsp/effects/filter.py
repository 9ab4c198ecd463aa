"""The one-knob filter as an effect of the whole mix."""

from __future__ import annotations

import numpy as np

from wsactors.dsp.effects import Setting
from wsactors.dsp.glide import Glide, blend
from wsactors.dsp.interpolation import Block
from wsactors.dsp.sweep import Sweep


class Filter:
    """`tone` is the knob: below 0.5 it takes the highs away, above 0.5 the lows."""

    __slots__ = ("_amount", "_sweep")

    def __init__(self) -> None:
        self._amount = Glide(0.0)
        self._sweep = Sweep()

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away."""
        return self._amount.settled and self._amount.target == 0.0

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames."""
        self._amount.aim(setting.wet if setting.on else 0.0)
        if self.asleep:
            self._sweep.process(block, 0.0)
            return block
        amount = self._amount.factor(len(block))
        filtered = self._sweep.process(block, 2.0 * setting.tone - 1.0)
        if filtered is block:
            return block
        return blend(block, filtered, amount).astype(np.float32)
