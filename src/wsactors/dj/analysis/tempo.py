"""How fast a song is: the tempo whose beats, bars and phrases all return.

Onsets that repeat after one beat also repeat after a half, three quarters or two thirds of one, so the strongest
repetition alone says little. Music of four beats to the bar repeats after 4, 8, 16 and 32 of its own beats, and not
after as many of three quarters of them: the long lags tell those apart. What is left, a factor of two, is convention.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from wsactors.dj.analysis.spectrum import HOP_RATE, Doubles, Floats, Spectrum

SLOWEST = 60.0
FASTEST = 200.0
"""Beats per minute between which a tempo is looked for."""
USUAL = 122.0
"""The tempo that is believed first, where music leaves open whether it is that or twice or half of it."""
_SPREAD = 0.55  # octaves: how readily another tempo is believed
_WEIGHTS = (1.3, 0.8, 0.8, 0.9)  # of the bands' onsets: a kick is a beat more often than anything else
_LAGS = ((1, 1.0), (2, 1.0), (4, 1.2), (8, 1.0), (16, 1.0), (32, 0.8))  # beats, weight
_ALL = sum(weight for _beats, weight in _LAGS)
_HALVES = 0.1
_SAME = 0.03  # octaves: the lobes beside a strong tempo are not its rivals
_CANDIDATES = 40
_LEAST_HOPS = int(4 * HOP_RATE)


@attrs.frozen
class Candidate:
    """A tempo that a song may have."""

    bpm: float
    score: float
    """How well the song repeats after its beats and bars; 0 is not at all."""
    rival: float
    """The best score of a tempo that is no simple multiple."""


def envelope(spectrum: Spectrum) -> Doubles:
    """One curve of onsets out of the bands', each measured by its own usual height."""
    total = np.zeros(len(spectrum.onsets))
    for band, weight in enumerate(_WEIGHTS):
        total += weight * sharpened(spectrum.onsets[:, band])
    return total


def sharpened(onsets: Floats) -> Doubles:
    """Onsets above their mean over a second around, in units of their spread; zeros for a band without any."""
    values = onsets.astype(np.float64)
    size = int(HOP_RATE)
    if len(values) < size or not values.any():
        return np.zeros(len(values))
    sums = np.cumsum(np.concatenate((np.zeros(1), values)))
    low = np.maximum(np.arange(len(values)) - size // 2, 0)
    high = np.minimum(low + size, len(values))
    values = np.maximum(values - (sums[high] - sums[low]) / (high - low), 0.0)
    return np.asarray(values / (np.sqrt(np.mean(values**2)) + 1e-9))


def find_tempo(spectrum: Spectrum) -> list[Candidate]:
    """The tempos a song may have, the likeliest first; none for silence, or less than four seconds."""
    onsets = envelope(spectrum)
    if len(onsets) < _LEAST_HOPS or not onsets.any():
        return []
    repeats = _autocorrelation(onsets)
    low = _autocorrelation(sharpened(spectrum.onsets[:, 0]))
    scored = [(_score(repeats, low, bpm), bpm) for bpm in _candidates(onsets)]
    scored = [(score, bpm) for score, bpm in scored if score > 0]
    scored.sort(reverse=True)
    return [Candidate(bpm, score, _rival(scored, bpm)) for score, bpm in scored]


def _candidates(onsets: Doubles) -> list[float]:
    """Tempos at which the spectrum of the onsets has a comb of peaks, the strongest first."""
    centred = onsets - onsets.mean()
    size = 1 << (4 * len(centred)).bit_length()
    spectrum = np.abs(np.fft.rfft(centred, size))
    step = max(0.01, 60 * HOP_RATE / size / 2)
    bpms = np.arange(SLOWEST, FASTEST, step)
    comb = np.zeros(len(bpms))
    for harmonic, weight in ((0.5, 0.5), (1, 1.0), (2, 1.0), (4, 0.7)):
        at = bpms * harmonic / 60 / HOP_RATE * size
        comb += weight * spectrum[np.minimum(np.round(at).astype(int), len(spectrum) - 1)]
    peaks = np.flatnonzero((comb[1:-1] > comb[:-2]) & (comb[1:-1] >= comb[2:])) + 1
    best: list[float] = []
    for peak in peaks[np.argsort(-comb[peaks], kind="stable")]:
        bpm = float(bpms[peak])
        if all(abs(bpm - other) > 0.4 for other in best):
            best.append(bpm)
        if len(best) == _CANDIDATES:
            break
    return best


def _autocorrelation(onsets: Doubles) -> Doubles:
    """How alike the onsets are to themselves later; 1 at no lag, and not less at long ones because they overlap less."""
    centred = onsets - onsets.mean()
    size = 1 << (2 * len(centred)).bit_length()
    power = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: len(centred)]
    overlap = np.arange(len(centred), 0, -1)
    return np.asarray(power / (power[0] + 1e-12) * (len(centred) / overlap))


def _at(repeats: Doubles, lag: float) -> float:
    """The best of the values next to a lag; 0 beyond half of the song, where too little overlaps."""
    index = round(lag)
    if index + 2 >= len(repeats) // 2:
        return 0.0
    return float(repeats[index - 1 : index + 2].max())


def _score(repeats: Doubles, low: Doubles, bpm: float) -> float:
    beat = 60 * HOP_RATE / bpm
    # In a short song the long lags of a slow tempo cannot be seen: what can be seen counts for them.
    seen = [(beat * beats, weight) for beats, weight in _LAGS if beat * beats < len(repeats) // 2 - 2]
    if not seen:
        return 0.0
    total = sum(weight * (_at(repeats, lag) + 0.5 * _at(low, lag)) for lag, weight in seen)
    total *= _ALL / sum(weight for _lag, weight in seen)
    # A kick on every other beat only, and hats between, is half that tempo more often than not.
    halves = min(1.0, max(0.0, _at(low, 2 * beat) - _at(low, beat)))
    octaves = math.log2(bpm / USUAL) / _SPREAD
    return total * (1 - _HALVES * halves) * math.exp(-0.5 * octaves * octaves)


def _rival(scored: list[tuple[float, float]], bpm: float) -> float:
    """The best score of a tempo that is neither this one nor twice or half of it."""
    for score, other in scored:
        octaves = math.log2(other / bpm)
        if abs(octaves - round(octaves)) > _SAME:
            return score
    return 0.0
