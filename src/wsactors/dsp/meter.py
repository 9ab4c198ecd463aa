"""How loud a block is, in dBFS (0 = full scale) or as the −dBov of RFC 6464 that audio frames carry."""

from __future__ import annotations

import math

import attrs
import numpy as np

from wsactors.dsp.interpolation import Block

SILENCE = -127.0
"""dBFS reported for digital silence, and the least that is ever reported."""


@attrs.frozen
class Level:
    """The loudness of one block."""

    peak: float
    """dBFS of the largest sample; a full-scale sine peaks at 0."""
    rms: float
    """dBFS of the root mean square over all channels; a full-scale sine has −3.01."""

    @property
    def dbov(self) -> int:
        """RMS as −dBov, 0 (full scale) to 127 (silence), whole decibels (RFC 6464 §3)."""
        return min(127, max(0, round(-self.rms)))


def measure(block: Block) -> Level:
    """Measure one block of shape (frames, channels)."""
    if block.size == 0:
        return Level(SILENCE, SILENCE)
    flat = block.reshape(-1)
    return Level(_dbfs(float(np.abs(flat).max())), _dbfs(math.sqrt(float(np.dot(flat, flat)) / flat.size)))


def _dbfs(amplitude: float) -> float:
    return max(SILENCE, 20.0 * math.log10(amplitude)) if amplitude > 0.0 else SILENCE
