"""Where a DJ might set cues: the first sound, where a song rises or breaks down, where it begins to end.

Songs change at the borders of phrases. The loudness of each phrase of four bars, band by band, is compared with the one
before; the largest steps are suggested, on the grid's downbeats.
"""

from __future__ import annotations

import math

import numpy as np

from wsactors.dj.analysis.spectrum import HOP, Doubles, Spectrum
from wsactors.dj.analysis.values import MAX_CUES, Cue, Kind
from wsactors.dj.beatgrid import Beatgrid

_SILENT = 1e-5  # power: −50 dBFS
_PHRASE = 4  # bars
_STEP = 3.0  # dB from phrase to phrase that is worth a cue
_APART = 2  # phrases between two of them at least
_RANGE = 1e-5


def suggest(spectrum: Spectrum, grid: Beatgrid | None) -> tuple[Cue, ...]:
    """At most `MAX_CUES` suggestions in the order of the song; none for silence, the first sound alone without a grid."""
    loud = np.flatnonzero(spectrum.peaks.astype(np.float64) ** 2 > _SILENT)
    if not len(loud):
        return ()
    first = float(loud[0] * HOP)
    if grid is None:
        return (Cue(first, "start"),)
    # The downbeat that the first sound belongs to, also when that sounds a little before it; never before the song.
    start = max(0.0, grid.position_of(grid.bar * math.floor(grid.beat_at(first) / grid.bar + 0.1)))
    phrase = grid.beat * grid.bar * _PHRASE
    levels = _levels(spectrum, start, phrase)
    if len(levels) < 2:
        return (Cue(start, "start"),)
    steps = np.diff(levels, axis=0)
    # A band more or less counts as much as all of them a little: the mean and the largest step together.
    sizes = steps.mean(axis=1) + steps[np.arange(len(steps)), np.abs(steps).argmax(axis=1)] / 2
    return _chosen(sizes, start, phrase, _ending(levels))


def _levels(spectrum: Spectrum, start: float, phrase: float) -> Doubles:
    """Level in dB of each band in each whole phrase."""
    power = spectrum.levels.astype(np.float64)
    sums = np.concatenate((np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)))
    count = max(0, int((spectrum.frames - start) // phrase))
    edges = np.round((start + phrase * np.arange(count + 1)) / HOP).astype(int)
    edges = np.clip(edges, 0, len(power))
    means = np.diff(sums[edges], axis=0) / np.maximum(np.diff(edges), 1)[:, None]
    return np.asarray(10 * np.log10(means + _RANGE * (means.max(initial=0.0) + 1e-12)))


def _ending(levels: Doubles) -> int:
    """The phrase after which nothing is as loud as usual any more; 0 if it ends as it goes on."""
    total = levels.mean(axis=1)
    usual = np.flatnonzero(total >= np.median(total) - _STEP)
    last = int(usual[-1]) + 1
    return last if last < len(levels) else 0


def _chosen(sizes: Doubles, start: float, phrase: float, ending: int) -> tuple[Cue, ...]:
    chosen: dict[int, Kind] = {0: "start"}
    if ending:
        chosen[ending] = "end"
    for index in np.argsort(-np.abs(sizes), kind="stable"):
        at = int(index) + 1
        if len(chosen) == MAX_CUES or abs(sizes[index]) < _STEP:
            break
        if all(abs(at - other) >= _APART for other in chosen) and not (ending and at > ending):
            chosen[at] = "rise" if sizes[index] > 0 else "break"
    return tuple(Cue(float(start + at * phrase), kind) for at, kind in sorted(chosen.items()))
