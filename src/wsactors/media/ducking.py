"""Everybody else more quietly while a priority speaker speaks: gains that move in ramps and wait out short pauses."""

from __future__ import annotations

import attrs
import numpy as np

from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.interpolation import Block

RATE = 48_000
_FULL = 1.0 - 1e-5


@attrs.frozen
class DuckingOptions:
    """How far and how fast."""

    depth: float = -12.0
    """Decibels that others are lowered by."""
    attack: float = 0.05
    """Seconds from full to lowered."""
    release: float = 0.4
    """Seconds back."""
    hold: float = 0.3
    """Seconds after the last word before it begins to go back."""


class Ducker:
    """The gain of those who give way to a priority speaker.

    Example:
        >>> ducker = Ducker()
        >>> float(ducker.gains(True, 4800)[-1, 0]) < 0.26
        True
    """

    def __init__(self, options: DuckingOptions = DuckingOptions()) -> None:
        self._low = db_to_gain(options.depth)
        self._down = (1.0 - self._low) / max(1.0, options.attack * RATE)
        self._up = (1.0 - self._low) / max(1.0, options.release * RATE)
        self._hold = round(options.hold * RATE)
        self._quiet = self._hold
        self.gain = 1.0
        """At the moment."""

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody gives way."""
        return self.gain >= 1.0 and self._quiet >= self._hold

    def gains(self, priority: bool, samples: int) -> Block:
        """The gains of the next ``samples`` samples, shape (samples, 1); ``priority``: whether one speaks in them."""
        self._quiet = 0 if priority else self._quiet + samples
        steps = np.arange(1, samples + 1, dtype=np.float32)
        if self._quiet <= self._hold:
            line = np.maximum(self.gain - steps * np.float32(self._down), np.float32(self._low))
        else:
            line = np.minimum(self.gain + steps * np.float32(self._up), np.float32(1.0))
        if samples:
            self.gain = 1.0 if line[-1] > _FULL else float(line[-1])
        found: Block = line.astype(np.float32)[:, None]
        return found
