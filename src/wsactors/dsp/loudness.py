"""How loud people find it: ITU-R BS.1770 with the gates and time scales of EBU R 128, in LUFS.

The filter's coefficients are those that the recommendation gives for 48 kHz. Loudness over everything is kept as a
histogram of hundredths of a decibel with exact sums, so a session of any length needs the same memory and no rounding is
heard of: only the relative gate moves, by less than 0.01 LU.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.biquad import Chain
from wsactors.dsp.interpolation import Block

HOP = 4_800
"""Frames after which there is something new to tell: 100 ms."""
SILENCE = -120.0
"""LUFS reported for silence, and the least that is ever reported."""
_MOMENTARY = 4
_SHORT = 30
_OFFSET = -0.691
_GATE = -70.0
_RELATIVE = 10.0
_PER_UNIT = 100
_BINS = 10_000
_K_WEIGHT = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)


@attrs.frozen
class Loudness:
    """What the meter says, in LUFS."""

    momentary: float = SILENCE
    """The last 400 ms."""
    short_term: float = SILENCE
    """The last 3 s."""
    integrated: float = SILENCE
    """Everything, pauses left out."""
    loudest_momentary: float = SILENCE
    loudest_short_term: float = SILENCE


class LoudnessMeter:
    """Follows a stream of 48 kHz, one or two channels, in blocks of any size."""

    __slots__ = ("_counts", "_filled", "_filter", "_hops", "_loudest", "_sums")

    def __init__(self, channels: int = 2) -> None:
        if channels not in {1, 2}:
            raise ValueError(f"loudness is measured of one or two channels, got {channels}")
        self._filter = Chain(_K_WEIGHT, channels)
        self._filled: list[NDArray[np.float64]] = [np.zeros(0)]
        self._hops: list[float] = []
        self._loudest = (SILENCE, SILENCE)
        self._counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS)

    def process(self, block: Block) -> None:
        """Listen to the next frames."""
        weighted = self._filter.process(block)
        self._filled.append(np.einsum("ij,ij->i", weighted, weighted))
        if sum(map(len, self._filled)) < HOP:
            return
        power = np.concatenate(self._filled)
        whole = len(power) // HOP * HOP
        self._filled = [power[whole:]]
        for hop in power[:whole].reshape(-1, HOP):
            self._hop(float(hop.mean()))

    def _hop(self, power: float) -> None:
        self._hops = [*self._hops[1 - _SHORT :], power]
        momentary = math.fsum(self._hops[-_MOMENTARY:]) / _MOMENTARY
        level = _lufs(momentary)
        if len(self._hops) >= _MOMENTARY and level > _GATE:
            place = min(_BINS - 1, int((level - _GATE) * _PER_UNIT))
            self._counts[place] += 1
            self._sums[place] += momentary
        short = _lufs(math.fsum(self._hops) / _SHORT)
        self._loudest = max(self._loudest[0], level), max(self._loudest[1], short)

    @property
    def loudness(self) -> Loudness:
        """Everything up to the last whole tenth of a second. What was before the stream counts as silence."""
        momentary = _lufs(math.fsum(self._hops[-_MOMENTARY:]) / _MOMENTARY)
        short = _lufs(math.fsum(self._hops) / _SHORT)
        return Loudness(momentary, short, self._integrated(), *self._loudest)

    def _integrated(self) -> float:
        count = int(self._counts.sum())
        if not count:
            return SILENCE
        gate = _lufs(float(self._sums.sum()) / count) - _RELATIVE
        first = min(_BINS - 1, max(0, math.ceil((gate - _GATE) * _PER_UNIT)))
        count = int(self._counts[first:].sum())
        return _lufs(float(self._sums[first:].sum()) / count)


def integrated_loudness(samples: Block) -> float:
    """LUFS of a whole recording of 48 kHz, shape (frames, 1 or 2); -120 for silence and for less than 400 ms.

    One channel counts once, as in EBU R 128: two equal ones are 3 LU louder.
    """
    meter = LoudnessMeter(samples.shape[1])
    for at in range(0, len(samples), 10 * HOP):
        meter.process(samples[at : at + 10 * HOP])
    return meter.loudness.integrated


def _lufs(power: float) -> float:
    return max(SILENCE, _OFFSET + 10.0 * math.log10(power)) if power > 0.0 else SILENCE
