"""The key a song is in, and how sure that is.

The peaks of long spectra are gathered by pitch class, relative to the song's own tuning, and held against what the
twelve major and twelve minor keys sound like (profiles of how often each degree is heard in tonal music: D. Temperley,
*Music and Probability*, 2007, from the Kostka-Payne corpus). Music that stays on one chord, or has none, has no key that
anybody could name; the figure for how sure it is says so. A minor key and its relative major have the same notes; if
anything tells them apart it is where the music sets out from, and so the first chord counts a little more.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsactors.dj.analysis.spectrum import Doubles, Samples, mono
from wsactors.dj.analysis.values import Key
from wsactors.dj.timeline import SAMPLE_RATE

_MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
# With its sevenths changed over: the corpus has the raised one of the classics, dance music the natural one.
_MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.330, 0.133)
_TRIADS = ((1, 0, 0, 0, 0.8, 0, 0, 0.8, 0, 0, 0, 0), (1, 0, 0, 0.8, 0, 0, 0, 0.8, 0, 0, 0, 0))
_BEGIN = 2.0  # s: the first chord, which is the tonic's more often than any other
_BEGIN_COUNTS = 0.3  # beside the whole song
Places: TypeAlias = NDArray[np.signedinteger[Any]]
_WINDOW = 16_384  # 341 ms: 2.9 Hz apart, a third of a semitone at 150 Hz
_STEP = 16_384
_LOWEST, _HIGHEST = 55.0, 2_000.0
_PIECE = 64
_FLOOR = 1e-3  # of a spectrum's largest value: below that are window skirts and noise
_FAINT = 1e-5 * _WINDOW / 4  # the height of a sine of −100 dBFS: what is below is arithmetic, not sound
_SILENT = 1e-7  # mean square of a window that is not listened to
_OVERTONES = ((1, 1.0), (2, 0.5), (3, 0.35), (4, 0.2), (5, 0.15))


def find_key(samples: Samples) -> Key | None:
    """The key of a song; None for silence, and for one shorter than a spectrum (341 ms)."""
    times, pitches, heights = _peaks(samples)
    if not len(pitches):
        return None
    tuning = _tuning(pitches, heights)
    begin = times < times[0] + _BEGIN
    likely = _likeness(_chroma(pitches - tuning, heights), (_MAJOR, _MINOR))
    likely += _BEGIN_COUNTS * _likeness(_chroma(pitches[begin] - tuning, heights[begin]), _TRIADS)
    order = np.argsort(-likely, kind="stable")
    best, second = float(likely[order[0]]), float(likely[order[1]])
    sure = min(1.0, max(0.0, (best - second) * 3) * max(0.0, best) ** 0.5)
    return Key(int(order[0]) % 12, bool(order[0] >= 12), sure)


def _peaks(samples: Samples) -> tuple[Doubles, Doubles, Doubles]:
    """Seconds, pitches (semitones from A4, broken) and heights of all spectral peaks; each spectrum counts alike."""
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    low, high = int(_LOWEST * _WINDOW / SAMPLE_RATE), int(_HIGHEST * _WINDOW / SAMPLE_RATE)
    times: list[Doubles] = []
    pitches: list[Doubles] = []
    heights: list[Doubles] = []
    count = max(0, (len(samples) - _WINDOW) // _STEP + 1)
    for at in range(0, count, _PIECE):
        number = min(_PIECE, count - at)
        sound = mono(samples[at * _STEP : (at + number - 1) * _STEP + _WINDOW])
        cut = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_STEP]
        heard = np.flatnonzero(np.einsum("ij,ij->i", cut, cut) > _SILENT * _WINDOW)
        if not len(heard):
            continue
        cut = cut[heard]
        magnitude = np.abs(np.fft.rfft(cut * window, axis=1))[:, low - 1 : high + 1].astype(np.float64)
        row, column, shift, top = _local_maxima(magnitude)
        hertz = (column + shift + low - 1) * SAMPLE_RATE / _WINDOW
        height = np.sqrt(top)
        loudness = np.bincount(row, height, len(magnitude))
        times.append((at + heard[row]) * _STEP / SAMPLE_RATE)
        pitches.append(12 * np.log2(hertz / 440.0))
        heights.append(height / loudness[row])
    if not pitches:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    return np.concatenate(times), np.concatenate(pitches), np.concatenate(heights)


def _local_maxima(magnitude: Doubles) -> tuple[Places, Places, Doubles, Doubles]:
    """Rows, columns, offsets in parts of a column, and heights of all peaks that stand out."""
    middle = magnitude[:, 1:-1]
    floor = np.maximum(_FLOOR * magnitude.max(axis=1, keepdims=True), _FAINT)
    rows, columns = np.nonzero((middle > magnitude[:, :-2]) & (middle >= magnitude[:, 2:]) & (middle > floor))
    columns = columns + 1
    left, top, right = (np.log(magnitude[rows, columns + step] + 1e-12) for step in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return rows, columns, np.clip(shift, -0.5, 0.5), magnitude[rows, columns]


def _tuning(pitches: Doubles, heights: Doubles) -> float:
    """By how much of a semitone the song is tuned above 440 Hz, −0.5 to 0.5."""
    return float(np.angle(np.sum(heights * np.exp(2j * np.pi * pitches)))) / (2 * np.pi)


def _chroma(pitches: Doubles, heights: Doubles) -> Doubles:
    """How much is heard of each pitch class, C first; the sum is 1.

    A peak may be an overtone: it speaks for the notes it could belong to as well, less and less.
    """
    chroma = np.zeros(12)
    for overtone, weight in _OVERTONES:
        exact = pitches - 12 * math.log2(overtone)
        nearest = np.round(exact)
        near = np.cos(np.pi * (exact - nearest)) ** 2  # half-way between two notes it speaks for neither
        classes = (nearest.astype(int) + 9) % 12
        chroma += np.bincount(classes, weight * heights * near, 12)
    return np.asarray(chroma / (chroma.sum() + 1e-12))


def _likeness(chroma: Doubles, profiles: tuple[tuple[float, ...], tuple[float, ...]]) -> Doubles:
    """Correlation with each of 24: the first profile from C to B, then the second."""
    heard = chroma - chroma.mean()
    heard /= np.sqrt(heard @ heard) + 1e-12
    result = np.zeros(24)
    for offset, profile in zip((0, 12), profiles, strict=True):
        wanted = np.array(profile) - np.mean(profile)
        wanted /= np.sqrt(wanted @ wanted)
        for tonic in range(12):
            result[offset + tonic] = heard @ np.roll(wanted, tonic)
    return result
