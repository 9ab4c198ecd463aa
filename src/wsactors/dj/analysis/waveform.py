"""A song as a picture: how loud it is over time, in three bands, a byte each; as coarse as it takes to stay small."""

from __future__ import annotations

import math

import numpy as np

from wsactors.dj.analysis.spectrum import BAND_EDGES, HOP, Doubles, Spectrum
from wsactors.dj.analysis.values import MAX_COLUMNS, Waveform

_RANGE = 60.0  # dB that a byte spans; 255 is full scale, 0 is −60 dBFS or less
_LEAST_HOPS = 2
_SPLITS = (200.0, 3_200.0)


def draw(spectrum: Spectrum) -> Waveform:
    """The picture of a song; without columns when it is shorter than a spectrum (21 ms)."""
    hops = len(spectrum.peaks)
    together = max(_LEAST_HOPS, math.ceil(hops / MAX_COLUMNS))
    if not hops:
        return Waveform(together * HOP, b"")
    starts = np.arange(0, hops, together)
    power = spectrum.levels.astype(np.float64)
    cuts = [BAND_EDGES.index(split) for split in _SPLITS]
    layers = [np.maximum.reduceat(spectrum.peaks, starts).astype(np.float64) ** 2]
    layers += [np.maximum.reduceat(part.sum(axis=1), starts) for part in np.split(power, cuts, axis=1)]
    return Waveform(together * HOP, _bytes(np.stack(layers, axis=1)).tobytes())


def _bytes(power: Doubles) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    decibels = 10 * np.log10(power + 1e-12)
    return np.asarray(np.clip(np.round((decibels / _RANGE + 1) * 255), 0, 255).astype(np.uint8))
