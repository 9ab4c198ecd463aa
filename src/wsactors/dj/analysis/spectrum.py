"""One pass over a song's samples that takes down all that tempo, beats, waveform and cues are found in.

The song is read in pieces of a few megabytes, whatever its length; what is kept is small: onsets and band levels every
256 frames (5.3 ms), energy every 48 (1 ms), less than a hundredth of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from wsactors.dj.timeline import SAMPLE_RATE

Samples: TypeAlias = NDArray[np.int16] | NDArray[np.float32]
"""A song: frames by two channels (or one), int16, or float32 with full scale at 1."""
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

HOP = 256
"""Frames from one spectrum to the next."""
WINDOW = 1024
"""Frames of one spectrum."""
FINE = 48
"""Frames of one value of fine energy: 1 ms."""
HOP_RATE = SAMPLE_RATE / HOP
FINE_RATE = SAMPLE_RATE / FINE
ONSET_EDGES = (40.0, 160.0, 800.0, 4_000.0, 16_000.0)
"""Hz between which onsets are looked for, band by band: kick, bass and body, snare and voice, hats."""
BAND_EDGES = (30.0, 100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 16_000.0)
"""Hz between the levels that are kept: octaves."""
_PIECE = 2_048  # spectra at a time: 20 MB of work space
_COMPRESSION = 100.0  # log(1 + 100·magnitude): a quiet hat counts beside a loud kick


@attrs.frozen(eq=False)
class Spectrum:
    """What one pass over a song takes down."""

    frames: int
    onsets: Floats
    """Rise of the log spectrum per hop, by band of `ONSET_EDGES`."""
    levels: Floats
    """Power per hop, by band of `BAND_EDGES`; a full-scale sine has about 1."""
    peaks: Floats
    """Largest magnitude of a sample per hop, 0 to 1."""
    fine: Floats
    """Energy of the differences from sample to sample, per `FINE` frames: where sounds begin, to the millisecond."""


def mono(samples: Samples) -> Floats:
    """The mean of the channels as float32, full scale at 1."""
    if samples.ndim == 1:
        mixed = samples.astype(np.float32)
    else:
        mixed = samples[:, 0].astype(np.float32)
        for channel in range(1, samples.shape[1]):
            mixed += samples[:, channel]
        mixed /= samples.shape[1]
    if samples.dtype == np.int16:
        mixed *= np.float32(1 / 32_768)
    return mixed


def take_down(samples: Samples) -> Spectrum:
    """Read a song once. One shorter than a spectrum (21 ms) has no hops."""
    frames = len(samples)
    hops = max(0, (frames - WINDOW) // HOP + 1)
    onsets = np.zeros((hops, len(ONSET_EDGES) - 1), np.float32)
    levels = np.zeros((hops, len(BAND_EDGES) - 1), np.float32)
    peaks = np.zeros(hops, np.float32)
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    before: Floats | None = None
    for at in range(0, hops, _PIECE):
        count = min(_PIECE, hops - at)
        sound = mono(samples[at * HOP : (at + count - 1) * HOP + WINDOW])
        cut = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
        magnitude = np.abs(np.fft.rfft(cut * window, axis=1))
        levels[at : at + count] = _bands(magnitude**2, BAND_EDGES) * np.float32((4 / WINDOW) ** 2 / 1.5)
        onsets[at : at + count], before = _rises(magnitude, before)
        peaks[at : at + count] = np.abs(sound[: count * HOP]).reshape(count, HOP).max(axis=1)
    return Spectrum(frames, onsets, levels, peaks, _fine(samples))


def _bins(edges: tuple[float, ...]) -> list[int]:
    return [round(edge * WINDOW / SAMPLE_RATE) for edge in edges]


def _bands(values: Floats, edges: tuple[float, ...]) -> Any:
    bins = _bins(edges)
    return np.add.reduceat(values[:, : bins[-1]], bins[:-1], axis=1)


def _rises(magnitude: Floats, before: Floats | None) -> tuple[Any, Floats]:
    """By how much each band's compressed spectrum rises from hop to hop; the last spectrum, for the next piece."""
    compressed = np.log1p(np.float32(_COMPRESSION) * magnitude[:, : _bins(ONSET_EDGES)[-1]])
    first = compressed[:1] if before is None else before
    risen = np.diff(compressed, axis=0, prepend=first)
    return _bands(np.maximum(risen, 0, out=risen), ONSET_EDGES), compressed[-1:]


def _fine(samples: Samples) -> Floats:
    count = len(samples) // FINE
    fine = np.zeros(count, np.float32)
    size = _PIECE * HOP // FINE
    for at in range(0, count, size):
        upto = min(at + size, count)
        start = max(0, at * FINE - 1)
        steps = np.diff(mono(samples[start : upto * FINE]), prepend=np.float32(0)) if at == 0 else None
        if steps is None:
            steps = np.diff(mono(samples[start : upto * FINE]))
        fine[at:upto] = np.square(steps).reshape(-1, FINE).sum(axis=1)
    return fine


def pieces(samples: Samples, size: int) -> Iterator[Floats]:
    """The song as mono float32, `size` frames at a time; what is left at the end comes shorter."""
    for at in range(0, len(samples), size):
        yield mono(samples[at : at + size])
