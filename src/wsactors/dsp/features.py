"""What a moment of sound is like, in numbers: spectrum, bands, timbre, pitch classes and levels of 8,192 samples.

Definitions are those of librosa 0.11 for one frame (Hann window, `center=False`, `tuning=0`): centroid, rolloff (85 %),
bandwidth, zero crossings, RMS, 13 MFCC of 128 mel bands (Slaney's) and chroma agree within 1e-5 of the largest value,
tonnetz within 1e-5. The raw spectrum is, for a tone, that of the Web Audio API's AnalyserNode (−90 to −10 dB in 8 bits, no
smoothing), and a band its mean. About 150 µs a frame, a third of it the transform.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.interpolation import Block

Floats: TypeAlias = NDArray[np.float32]

SIZE: Final = 8192
"""Samples of a frame."""
BINS: Final = SIZE // 2
"""Values of the raw spectrum."""
FRAMES_PER_SECOND: Final = 30
BANDS: Final = {
    "sub": (20.0, 60.0),
    "bass": (60.0, 250.0),
    "lowMid": (250.0, 500.0),
    "mid": (500.0, 2000.0),
    "highMid": (2000.0, 4000.0),
    "treble": (4000.0, 8000.0),
    "presence": (8000.0, 16000.0),
}
"""The seven bands, from and to so many hertz."""
MFCC: Final = 13
_MELS: Final = 128
_ROLLOFF: Final = 0.85
_ROWS: Final = 64
_LEAST_DB, _MOST_DB = -90.0, -10.0
# A Hann window lets more of a tone through than the Blackman window of AnalyserNode: brought to the same height.
_HEIGHT = 0.42 / 0.5
_QUIET: Final = 1e-10
_TINY = float(np.finfo(np.float32).tiny)


@attrs.frozen(eq=False)
class Features:
    """The values of one frame."""

    spectrum: NDArray[np.uint8] = attrs.field(repr=False)
    """`BINS` values: 0 is −90 dB or less, 255 is −10 dB or more; bin k is k × rate / 8192 Hz."""
    bands: tuple[float, ...]
    """Mean of the spectrum's values in each of `BANDS`, 0 to 255."""
    dominant: float
    """Hz of the highest peak, between the bins; 0 in silence."""
    centroid: float
    """Hz; 0 in silence, like the next two."""
    rolloff: float
    """Hz below which 85 % of the magnitudes lie."""
    bandwidth: float
    """Hz."""
    zero_crossings: float
    """Per sample."""
    rms: float
    peak: float
    crest: float
    """Peak over RMS; 0 in silence."""
    mfcc: tuple[float, ...]
    chroma: tuple[float, ...]
    """C to B, the loudest 1; all 0 in silence."""
    tonnetz: tuple[float, ...]
    """Fifths (x, y), minor thirds, major thirds."""


class FeatureFrames:
    """Measures frames of `SIZE` samples of mono sound at one sample rate."""

    __slots__ = ("_chroma", "_dct", "_edges", "_frequencies", "_mel", "_rate", "_widths", "_window")

    def __init__(self, rate: int = 48_000) -> None:
        self._rate = rate
        # In doubles, as librosa: rounding to 24 bits is a hiss that a quiet tone's bandwidth would mostly be made of.
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
        self._frequencies = np.fft.rfftfreq(SIZE, 1 / rate)
        self._mel = _mel_bands(rate)
        self._dct = _dct()
        self._chroma = _chroma_filters(rate)
        bands = np.array(tuple(BANDS.values())) * (SIZE / rate)
        first, last = np.minimum(np.floor(bands), BINS - 2).astype(np.intp).T
        self._edges = np.stack((first, last + 1), axis=1).ravel()
        self._widths = last + 1 - first

    def measure(self, sound: Floats) -> Features:
        """The features of `SIZE` samples. Raises `ValueError` for any other number of them."""
        if sound.shape != (SIZE,):
            raise ValueError(f"a frame has {SIZE} samples of mono sound, got an array of shape {sound.shape}")
        sound = np.asarray(sound, np.float32)
        magnitude = np.abs(np.fft.rfft(sound * self._window).astype(np.complex64))
        power = magnitude * magnitude
        spectrum = _eight_bits(power[:BINS])
        rms = math.sqrt(float(np.dot(sound, sound)) / SIZE)
        peak = float(max(sound.max(), -sound.min()))
        negative = sound < -_QUIET
        chroma = _in_proportion(self._chroma @ power)
        return Features(
            spectrum=spectrum,
            bands=self._means(spectrum),
            dominant=self._dominant(power),
            **self._shape(magnitude),
            zero_crossings=float(np.count_nonzero(negative[1:] != negative[:-1])) / SIZE,
            rms=rms,
            peak=peak,
            crest=peak / rms if rms else 0.0,
            mfcc=tuple((self._dct @ self._mel_levels(power)).tolist()),
            chroma=tuple(chroma.tolist()),
            tonnetz=_tonnetz(chroma),
        )

    def _means(self, spectrum: NDArray[np.uint8]) -> tuple[float, ...]:
        sums = np.add.reduceat(spectrum, self._edges, dtype=np.uint32)[::2]
        return tuple((sums / self._widths).tolist())

    def _dominant(self, power: Floats) -> float:
        top = int(power.argmax())
        if not power[top]:
            return 0.0
        shift = 0.0
        if 0 < top < BINS:
            left, middle, right = (math.log(max(float(each), _TINY)) for each in power[top - 1 : top + 2])
            bend = left - 2 * middle + right
            shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return (top + shift) * self._rate / SIZE

    def _shape(self, magnitude: Floats) -> dict[str, float]:
        total = float(magnitude.sum())
        if total < _TINY:
            return {"centroid": 0.0, "rolloff": 0.0, "bandwidth": 0.0}
        # In doubles: a tone's bandwidth is small, and its place large.
        share = magnitude.astype(np.float64)
        share /= share.sum()
        centroid = float(self._frequencies @ share)
        away = self._frequencies - centroid
        return {
            "centroid": centroid,
            "rolloff": _rolloff_bin(magnitude) * self._rate / SIZE,
            "bandwidth": math.sqrt(max(0.0, float((away * away) @ share))),
        }

    def _mel_levels(self, power: Floats) -> Floats:
        starts, rising, falling = self._mel
        # Every bin lies on the falling side of one band and the rising side of the next.
        up = np.add.reduceat(power * rising, starts)
        down = np.add.reduceat(power * falling, starts)
        levels = 10.0 * np.log10(np.maximum(up[:_MELS] + down[1 : _MELS + 1], _QUIET))
        return np.asarray(np.maximum(levels, levels.max() - 80.0), np.float32)


def mono(block: Block) -> Floats:
    """The mean of a block's channels."""
    return np.ascontiguousarray(block.mean(axis=1, dtype=np.float32))


def frame_end(number: int, rate: int = 48_000) -> int:
    """Frame `number` of `FRAMES_PER_SECOND` is of the samples up to this one; the same for everybody, wherever he began."""
    return number * rate // FRAMES_PER_SECOND


def _eight_bits(power: Floats) -> NDArray[np.uint8]:
    scale = 255.0 / (_MOST_DB - _LEAST_DB)
    full = (_HEIGHT / SIZE) ** 2
    levels = np.log10(np.maximum(power, np.float32(_TINY)))
    levels *= np.float32(10.0 * scale)
    levels += np.float32((10.0 * math.log10(full) - _LEAST_DB) * scale)
    np.clip(levels, 0.0, 255.0, out=levels)
    return levels.astype(np.uint8)


def _rolloff_bin(magnitude: Floats) -> int:
    """The first bin up to which the sum is 85 % of the whole: found among 64 rows, then within one."""
    rows = magnitude[:BINS].reshape(_ROWS, -1)
    upto = np.cumsum(rows.sum(axis=1), dtype=np.float64)
    wanted = _ROLLOFF * (upto[-1] + float(magnitude[BINS]))
    row = min(int(np.searchsorted(upto, wanted)), _ROWS - 1)
    before = upto[row - 1] if row else 0.0
    inside = np.searchsorted(before + np.cumsum(rows[row], dtype=np.float64), wanted)
    return row * rows.shape[1] + int(inside)


def _in_proportion(chroma: Floats) -> Floats:
    most = float(chroma.max())
    return chroma / np.float32(most) if most >= _TINY else np.zeros_like(chroma)


@functools.cache
def _mel_bands(rate: int) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Where each stretch between two mel corners begins, and each bin's weight in the band that rises or falls there."""
    corners = _hertz(np.linspace(0.0, _mel(rate / 2), _MELS + 2))
    frequencies = np.fft.rfftfreq(SIZE, 1 / rate)
    stretch = np.clip(np.searchsorted(corners, frequencies, side="right") - 1, 0, _MELS)
    width = np.diff(corners)
    height = 2.0 / (corners[2:] - corners[:-2])
    rise = (frequencies - corners[stretch]) / width[stretch]
    rising = np.where(stretch < _MELS, rise * height[np.minimum(stretch, _MELS - 1)], 0.0)
    falling = np.where(stretch > 0, (1.0 - rise) * height[np.maximum(stretch - 1, 0)], 0.0)
    starts = np.searchsorted(stretch, np.arange(_MELS + 1))
    if np.any(np.diff(starts) == 0):
        raise ValueError(f"at {rate} Hz a mel band would be narrower than a bin")
    return starts, rising.astype(np.float32), falling.astype(np.float32)


# Slaney's mel scale: straight up to 1 kHz, logarithmic above.
_STEP = 200.0 / 3
_BREAK = 1000.0 / _STEP
_LOG_STEP = math.log(6.4) / 27


def _mel(hertz: float) -> float:
    return hertz / _STEP if hertz < 1000.0 else _BREAK + math.log(hertz / 1000.0) / _LOG_STEP


def _hertz(mel: Any) -> Any:
    return np.where(mel < _BREAK, mel * _STEP, 1000.0 * np.exp(_LOG_STEP * (mel - _BREAK)))


@functools.cache
def _dct() -> Floats:
    """The first rows of the orthonormal DCT of type II."""
    rows = np.cos(np.pi * np.arange(MFCC)[:, None] * (2 * np.arange(_MELS) + 1) / (2 * _MELS)) * math.sqrt(2 / _MELS)
    rows[0] /= math.sqrt(2)
    return np.asarray(rows, np.float32)


@functools.cache
def _chroma_filters(rate: int) -> Floats:
    """Bins to pitch classes, C first: Gaussian bumps a bin or a semitone wide, the octaves around A4 counting most."""
    frequencies = np.linspace(0, rate, SIZE, endpoint=False)[1:]
    place = 12 * np.log2(frequencies / (440.0 / 16))
    place = np.concatenate(([place[0] - 18.0], place))
    width = np.concatenate((np.maximum(place[1:] - place[:-1], 1.0), [1.0]))
    away = np.remainder(np.subtract.outer(place, np.arange(12.0)).T + 126.0, 12.0) - 6.0
    weights = np.exp(-0.5 * (2 * away / width) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=0, keepdims=True))
    weights *= np.exp(-0.5 * ((place / 12 - 5.0) / 2.0) ** 2)
    return np.ascontiguousarray(np.roll(weights, -3, axis=0)[:, : BINS + 1]).astype(np.float32)


def _tonnetz(chroma: Floats) -> tuple[float, ...]:
    total = float(chroma.sum())
    if total < _TINY:
        return (0.0,) * 6
    return tuple((_tonal() @ (chroma / np.float32(total))).tolist())


@functools.cache
def _tonal() -> NDArray[np.float64]:
    """Pitch classes to the corners of fifths and thirds (C. Harte, M. Sandler and M. Gasser, 2006)."""
    angle = np.multiply.outer(
        np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3]), np.linspace(0, 12, 12, endpoint=False)
    )
    angle[::2] -= 0.5
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    return np.asarray(radius[:, None] * np.cos(np.pi * angle))
