"""How loud a whole song is, and how high it peaks, from the meters of `wsactors.dsp`."""

from __future__ import annotations

import numpy as np

from wsactors.dj.analysis.spectrum import Floats, Samples
from wsactors.dj.analysis.values import Loudness
from wsactors.dsp.loudness import HOP, SILENCE, LoudnessMeter
from wsactors.dsp.true_peak import AFTER, BEFORE, true_peak

_PIECE = 10 * HOP
_BLOCK = 480
_NEAR = 0.7  # of the highest sample, −3 dB: from there a peak between samples may be the song's highest
_MOST_BLOCKS = 2_000  # that are looked at closely: 20 s


def find_loudness(samples: Samples) -> Loudness | None:
    """Loudness and true peak; None for silence, and for less than 400 ms. One channel counts as two alike."""
    meter = LoudnessMeter()
    peaks: list[Floats] = []
    for at in range(0, len(samples), _PIECE):
        piece = _stereo(samples[at : at + _PIECE])
        meter.process(piece)
        starts = np.arange(0, len(piece), _BLOCK)
        peaks.append(np.maximum.reduceat(np.abs(piece).max(axis=1), starts))
    integrated = meter.loudness.integrated
    if integrated <= SILENCE:
        return None
    return Loudness(float(integrated), float(_true_peak(samples, np.concatenate(peaks))))


def _true_peak(samples: Samples, peaks: Floats) -> float:
    """DBTP of the song, looked for where its samples are highest: all of it would take longer than all the rest does."""
    highest = np.argsort(-peaks, kind="stable")[:_MOST_BLOCKS]
    near = np.sort(highest[peaks[highest] >= _NEAR * peaks.max()])
    found = SILENCE
    for run in np.split(near, np.flatnonzero(np.diff(near) > 1) + 1):
        begin, end = int(run[0]) * _BLOCK - BEFORE, (int(run[-1]) + 1) * _BLOCK + AFTER
        found = max(found, true_peak(_stereo(samples[max(0, begin) : end])))
    return found


def _stereo(samples: Samples) -> Floats:
    """Float32 of two channels, full scale at 1."""
    scale = np.float32(1 / 32_768 if samples.dtype == np.int16 else 1)
    sound = samples.astype(np.float32) * scale
    return np.repeat(sound[:, None], 2, axis=1) if sound.ndim == 1 else np.asarray(sound[:, :2])
