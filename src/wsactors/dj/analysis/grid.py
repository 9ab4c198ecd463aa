"""From a rough tempo to a grid that holds to the last beat: exact tempo, phase, downbeat.

First the comb of the onsets' spectrum over the whole song is looked at closely: five minutes tell 120.00 from 120.01.
Then the song is folded at that tempo, a few bars at a time, and each fold laid over the fold of all: by how many
milliseconds it has to be moved is a straight line over time where the tempo is constant, and the line's slope is the
rest of the error. Last, a tempo so near to a round number that no ear tells the difference is taken to be it.
"""

from __future__ import annotations

import attrs
import numpy as np

from wsactors.dj.analysis.spectrum import FINE_RATE, HOP, HOP_RATE, Doubles, Floats, Spectrum
from wsactors.dj.analysis.tempo import envelope, sharpened
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.timeline import SAMPLE_RATE

_FOLD_BEATS = 16
_REACH = 25  # ms that a fold may be away from the fold of all
_ROUNDS = 3
# Units of round tempos, and how much of the doubt about a tempo each may use up: the rounder, the likelier it was meant.
_ROUND = ((1.0, 1.0), (0.5, 0.7), (0.1, 0.4), (0.01, 0.1))
_LEAST_DOUBT, _MOST_DOUBT = 0.0005, 0.006  # s at either end of the song
_ONSET_EARLY = 0.001  # s by which the steepest rise of 4 ms comes before the onset itself; measured on clicks and drums
_ONSET_LATE = 612.0  # frames from a spectrum's begin to the onset that makes it rise: 480 for kicks to 700 for hats
_ON, _ALIKE = 0.010, 0.25  # s from the line, and likeness to all, with which a few bars count as being on it
_COARSE_BINS = 96
_LOW_REACH = 5  # of these bins, 25 ms: a bass swells where a hat is there at once
_LEVEL = 1e-4  # of the mean energy: quieter rises are noise
_BAR = 4
_BEGINS_ON_A_BEAT = 0.15  # how much it counts that songs begin with a beat more often than between two
_BEGINS_ON_ONE = 0.3  # how much it counts that songs begin with a downbeat more often than with any other
_NEAR = 0.04  # s from a beat that the first sound may be
_SILENT = 1e-5  # power: −50 dBFS


@attrs.frozen
class Fit:
    """A straight line through a song's beats."""

    beat: float
    """Seconds from one to the next."""
    origin: float
    """A second from which they are counted; where in a beat it is, only `find_grid` finds out."""
    residual: float
    """Seconds by which a few bars are off the line, in the middle of all."""
    agreeing: float
    """Share of the song, by onsets, that is on the line within 10 ms."""


def fit_beats(spectrum: Spectrum, bpm: float) -> Fit:
    """The straight line nearest to the onsets, beginning from a tempo that is right within half a beat per minute."""
    bpm = _closer(envelope(spectrum), bpm)
    rises = fine_rises(spectrum.fine)
    fit = Fit(60 / bpm, 0.0, 1.0, 0.0)
    for _ in range(_ROUNDS):
        fit = _line(rises, fit)
    rounded = _rounded(fit, len(rises) / FINE_RATE)
    return _line(rises, attrs.evolve(fit, beat=rounded), keep_tempo=True) if rounded != fit.beat else fit


def fine_rises(fine: Floats) -> Doubles:
    """How much louder each next 4 ms are than the last 4 ms: a value per millisecond, highest where sounds begin."""
    energy = fine.astype(np.float64)
    floor = 4 * _LEVEL * (energy.mean() + 1e-12)
    sums = np.concatenate((np.zeros(5), np.cumsum(energy), np.full(3, energy.sum())))
    count = len(energy)
    after = sums[8 : 8 + count] - sums[4 : 4 + count]
    before = sums[4 : 4 + count] - sums[:count]
    return np.asarray(np.maximum(np.log((after + floor) / (before + floor)), 0.0))


def find_grid(spectrum: Spectrum, fit: Fit) -> Beatgrid:
    """The grid on the fit's beats: which of the places that return with every beat is the beat, and which beat a bar's first."""
    phase = _phase(spectrum, fit)
    downbeat = _downbeat(spectrum, fit.beat, phase)
    first = phase + downbeat * fit.beat
    bar = _BAR * fit.beat
    first -= bar * np.floor(
        (first + 0.025) / bar
    )  # the first in the song; one that it was cut on may lie just before it
    return Beatgrid(float(first * SAMPLE_RATE), float(fit.beat * SAMPLE_RATE), _BAR)


def _closer(onsets: Doubles, bpm: float) -> float:
    """The tempo near `bpm` with the strongest comb over the whole song, in two steps."""
    for reach, step, harmonics in ((0.5, 0.005, (1, 2, 4)), (0.04, 0.0005, (1, 2, 3, 4, 6, 8, 12, 16))):
        bpms = np.arange(bpm - reach, bpm + reach, step)
        total = np.zeros(len(bpms))
        for harmonic in harmonics:
            total += _zoom(onsets, bpm / 60 * harmonic, (bpms - bpm) / 60 * harmonic)
        bpm = float(bpms[np.argmax(total)])
    return bpm


def _zoom(onsets: Doubles, hertz: float, offsets: Doubles) -> Doubles:
    """Magnitude of the onsets' spectrum at some frequencies close to `hertz`."""
    keep = 32  # mixed down to around 0 Hz, every 32nd value (0.17 s) is enough for offsets of a fraction of a hertz
    times = np.arange(len(onsets)) / HOP_RATE
    mixed = onsets * np.exp(-2j * np.pi * hertz * times)
    mixed = mixed[: len(mixed) // keep * keep].reshape(-1, keep).sum(axis=1)
    coarse = (np.arange(len(mixed)) * keep + keep / 2) / HOP_RATE
    return np.asarray(np.abs(np.exp(-2j * np.pi * np.outer(offsets, coarse)) @ mixed))


def _line(rises: Doubles, fit: Fit, *, keep_tempo: bool = False) -> Fit:
    """One round: fold by a few bars, lay each fold over all of them, and correct tempo and origin by the line found."""
    folds, times = _folds(rises, fit)
    lags, sure = _lags(folds)
    weights = sure**2
    slope = offset = 0.0
    away = np.abs(lags)
    good = weights > 0
    for _ in range(4):  # leave out what is far from the line, look again
        slope, offset = _weighted_line(times[good], lags[good], weights[good], keep_tempo)
        away = np.abs(lags - offset - slope * times)
        limit = max(0.002, 3 * float(np.median(away[good]))) if good.any() else 0.0
        good = (weights > 0) & (away <= limit)
    onsets = folds.sum(axis=1)
    on = onsets[(away <= _ON) & (sure > _ALIKE)].sum() / max(onsets.sum(), 1e-12)
    return Fit(fit.beat * (1 + slope), fit.origin + offset, _weighted_median(away, weights), float(on))


def _folds(rises: Doubles, fit: Fit) -> tuple[Doubles, Doubles]:
    """Rises by place within the beat (1 ms apart), a row for each few bars; the middle of each in seconds."""
    bins = round(fit.beat * FINE_RATE)
    beats = ((np.arange(len(rises)) + 0.5) / FINE_RATE - fit.origin) / fit.beat
    beats -= np.floor(beats[0])
    row = (beats // _FOLD_BEATS).astype(int)
    place = np.minimum((beats % 1.0 * bins).astype(int), bins - 1)
    count = int(row[-1]) + 1
    folds = np.bincount(row * bins + place, rises, count * bins).reshape(count, bins)
    times = np.bincount(row, np.arange(len(rises)) / FINE_RATE, count) / np.bincount(row, minlength=count)
    return folds / _FOLD_BEATS, np.asarray(times) - fit.origin


def _lags(folds: Doubles) -> tuple[Doubles, Doubles]:
    """By how many seconds each row comes later than all together, and how alike it then is, 0 to 1."""
    smooth = _smoothed(folds, 3)
    centred = smooth - smooth.mean(axis=1, keepdims=True)
    whole = np.fft.rfft(centred.sum(axis=0))
    likeness = np.fft.irfft(np.fft.rfft(centred, axis=1) * np.conj(whole), folds.shape[1], axis=1)
    reach = min(_REACH, folds.shape[1] // 4)
    near = np.concatenate((likeness[:, -reach:], likeness[:, : reach + 1]), axis=1)
    best = np.clip(near.argmax(axis=1), 1, 2 * reach - 1)
    rows = np.arange(len(near))
    left, top, right = near[rows, best - 1], near[rows, best], near[rows, best + 1]
    bend = left - 2 * top + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    scale = np.sqrt((centred**2).sum(axis=1) * (centred.sum(axis=0) ** 2).sum()) + 1e-12
    sure = np.clip(top / scale, 0.0, 1.0)
    # A row at the edge of the reach is no maximum but the flank of another sound.
    sure = np.where((best > 1) & (best < 2 * reach - 1), sure, 0.0)
    return (best - reach + np.clip(shift, -0.5, 0.5)) / FINE_RATE, np.asarray(sure)


def _weighted_line(times: Doubles, lags: Doubles, weights: Doubles, keep_tempo: bool) -> tuple[float, float]:
    """Slope and offset at second 0 of the line with the least squared error."""
    total = float(weights.sum())
    if total <= 0:
        return 0.0, 0.0
    middle, centre = float(times @ weights) / total, float(lags @ weights) / total
    spread = float(weights @ (times - middle) ** 2)
    if keep_tempo or spread <= 0:
        return 0.0, centre
    slope = float(weights @ ((times - middle) * (lags - centre))) / spread
    return slope, centre - slope * middle


def _weighted_median(values: Doubles, weights: Doubles) -> float:
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[order])
    if upto[-1] <= 0:
        return 1.0
    return float(values[order][np.searchsorted(upto, upto[-1] / 2)])


def _rounded(fit: Fit, seconds: float) -> float:
    """The beat of the roundest tempo that cannot be told from the fit's over the whole song; else the fit's own."""
    bpm = 60 / fit.beat
    doubt = min(_MOST_DOUBT, _LEAST_DOUBT + 3 * fit.residual)
    for unit, share in _ROUND:
        round_bpm = round(bpm / unit) * unit
        if abs(round_bpm / bpm - 1) * seconds / 2 <= share * doubt:
            return 60 / round_bpm
    return fit.beat


def _smoothed(rows: Doubles, size: int) -> Doubles:
    """Rows folded in a circle, each value the mean of `size` around it."""
    total = np.zeros_like(rows)
    for shift in range(-(size // 2), size // 2 + 1):
        total += np.roll(rows, shift, axis=-1)
    return total / size


def _phase(spectrum: Spectrum, fit: Fit) -> float:
    """The second of a beat."""
    rises = fine_rises(spectrum.fine)
    bins = round(fit.beat * FINE_RATE)
    beats = ((np.arange(len(rises)) + 0.5) / FINE_RATE - fit.origin) / fit.beat
    place = np.minimum((beats % 1.0 * bins).astype(int), bins - 1)
    fold = _smoothed(np.bincount(place, rises, bins) / (len(rises) / bins), 3)
    # What sounds on the beat is low more often than not: hats and claps answer it, as sharp and as loud.
    # Measured by amplitude: in decibels a bass between the beats would come close to the kick on them.
    bass = np.sqrt(spectrum.levels[:, :2].sum(axis=1))
    low = _widened(_coarse(np.maximum(np.diff(bass, prepend=bass[:1]), 0), fit), _LOW_REACH)
    rest = _coarse(envelope(spectrum), fit)
    best, best_score = 0.0, -np.inf
    for peak in np.flatnonzero((fold > np.roll(fold, 1)) & (fold >= np.roll(fold, -1))):
        at = int(peak / bins * _COARSE_BINS) % _COARSE_BINS
        exact = _peak(fold, int(peak)) / bins
        score = 0.5 * fold[peak] / fold.max() + 1.5 * low[at] + rest[at]
        if _begin_beat(spectrum, fit.beat, fit.origin + exact * fit.beat) is not None:
            score += _BEGINS_ON_A_BEAT
        if score > best_score:
            best, best_score = exact, score
    return fit.origin + best * fit.beat + _ONSET_EARLY


def _peak(fold: Doubles, at: int) -> float:
    left, top, right = fold[at - 1], fold[at], fold[(at + 1) % len(fold)]
    bend = left - 2 * top + right
    return at + 0.5 + (0.5 * float((left - right) / bend) if bend < 0 else 0.0)


def _coarse(onsets: Floats | Doubles, fit: Fit) -> Doubles:
    """A band's onsets by place within the beat, 1 at most, each place with the best of its neighbours'."""
    values = sharpened(onsets.astype(np.float32))
    times = (np.arange(len(values)) * HOP + _ONSET_LATE) / SAMPLE_RATE
    place = (((times - fit.origin) / fit.beat) % 1.0 * _COARSE_BINS).astype(int) % _COARSE_BINS
    fold = np.bincount(place, values, _COARSE_BINS) / np.maximum(np.bincount(place, minlength=_COARSE_BINS), 1)
    return _widened(fold / (fold.max() + 1e-12), 1)


def _widened(fold: Doubles, reach: int) -> Doubles:
    """Each place with the best of those at most `reach` away."""
    return np.asarray(np.max([np.roll(fold, shift) for shift in range(-reach, reach + 1)], axis=0))


def _downbeat(spectrum: Spectrum, beat: float, phase: float) -> int:
    """Which of four beats, counted from `phase`, begins bars: where the sound changes most, above all its harmony."""
    hops = len(spectrum.levels)
    times = (np.arange(hops) * HOP + _ONSET_LATE) / SAMPLE_RATE
    number = np.floor((times - phase) / beat + 0.02).astype(int)
    number -= number[0]
    shift = int(np.floor((times[0] - phase) / beat + 0.02))
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    if len(starts) < 4 * _BAR:
        return 0
    counts = np.diff(np.append(starts, hops))[:, None]
    levels = np.add.reduceat(spectrum.levels.astype(np.float64), starts, axis=0) / counts
    logs = np.log(levels + 1e-7)
    change = np.abs(np.diff(logs, axis=0)).sum(axis=1)
    # Only what stands out: the change from beat to beat within a bar is the drum pattern, and the same in every bar.
    change = np.minimum(change / (np.median(change) + 1e-9), 8.0) ** 2
    scores = np.array([change[(np.arange(1, len(logs)) + shift) % _BAR == place].mean() for place in range(_BAR)])
    begin = _begin_beat(spectrum, beat, phase)
    if begin is not None:
        scores[begin % _BAR] += _BEGINS_ON_ONE * scores.max()
    return int(np.argmax(scores))


def _begin_beat(spectrum: Spectrum, beat: float, phase: float) -> int | None:
    """Which beat the song begins with, counted from `phase`; None when its first sound is on none."""
    loud = np.flatnonzero(spectrum.peaks.astype(np.float64) ** 2 > _SILENT)
    if not len(loud):
        return None
    beats = (float(loud[0]) * HOP / SAMPLE_RATE - phase) / beat
    return round(beats) if abs(beats - round(beats)) * beat <= _NEAR else None
