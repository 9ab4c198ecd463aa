"""Features of known sounds, and the same as librosa's.

`data/features_librosa.json` holds what librosa 0.11.0 (numpy 2.4) said of the sounds in `feature_sounds`; with librosa
installed, it is asked again.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp.feature_sounds import SOUNDS
from wsactors.dsp.features import BANDS, BINS, SIZE, FeatureFrames, frame_end, mono

REFERENCE: dict[str, dict[str, list[float]]] = json.loads(
    (Path(__file__).parent / "data" / "features_librosa.json").read_text()
)
TIME = np.arange(SIZE) / 48_000


@functools.cache
def frames() -> FeatureFrames:
    return FeatureFrames()


def tone(hertz: float, amplitude: float = 0.5) -> Any:
    return (amplitude * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)


def differs(name: str, ours: Any, theirs: list[float]) -> float:
    wanted = np.array(theirs)
    scale = 1.0 if name == "tonnetz" else np.abs(wanted).max()
    return float(np.abs(np.atleast_1d(ours) - wanted).max() / scale)


@pytest.mark.parametrize("sound", list(SOUNDS))
def test_features_are_those_of_librosa(sound: str) -> None:
    measured = frames().measure(SOUNDS[sound]())
    for name, theirs in REFERENCE[sound].items():
        assert differs(name, getattr(measured, name), theirs) < 1e-5, name


@pytest.mark.parametrize("sound", list(SOUNDS))
def test_librosa_still_says_what_is_frozen(sound: str) -> None:
    librosa = pytest.importorskip("librosa")
    samples = SOUNDS[sound]()
    magnitude = np.abs(librosa.stft(samples, n_fft=SIZE, hop_length=SIZE, center=False))
    chroma = librosa.feature.chroma_stft(S=magnitude**2, sr=48_000, n_fft=SIZE, tuning=0.0)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=48_000, n_fft=SIZE))
    now = {
        "centroid": librosa.feature.spectral_centroid(S=magnitude, sr=48_000, n_fft=SIZE),
        "rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=48_000, n_fft=SIZE),
        "bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=48_000, n_fft=SIZE),
        "mfcc": librosa.feature.mfcc(S=mel, sr=48_000, n_mfcc=13),
        "chroma": chroma,
        "tonnetz": librosa.feature.tonnetz(chroma=chroma, sr=48_000),
    }
    for name, value in now.items():
        assert differs(name, value.ravel(), REFERENCE[sound][name]) < 1e-5, name


@pytest.mark.parametrize("hertz", [55.0, 440.0, 997.3, 12_345.6])
def test_a_tone_is_dominant(hertz: float) -> None:
    measured = frames().measure(tone(hertz))
    assert measured.dominant == pytest.approx(hertz, abs=0.3)
    assert measured.peak == pytest.approx(0.5, abs=0.001)
    assert measured.crest == pytest.approx(2**0.5, rel=0.02)
    assert measured.zero_crossings == pytest.approx(2 * hertz / 48_000, abs=2 / SIZE)


@pytest.mark.parametrize("decibels", [0.0, -20.0, -50.0, -75.0, -120.0])
def test_the_raw_spectrum_is_that_of_an_analyser_node(decibels: float) -> None:
    """A tone of amplitude A has |X| / N = 0.42 A / 2 there (Blackman window): −13.6 dB at full scale."""
    hertz = 170 * 48_000 / SIZE
    spectrum = frames().measure(tone(hertz, 10 ** (decibels / 20))).spectrum
    assert spectrum.shape == (BINS,)
    assert spectrum.dtype == np.uint8
    wanted = (20 * np.log10(0.21) + decibels + 90) / 80 * 255
    assert abs(int(spectrum[170]) - min(255, max(0, wanted))) <= 1
    assert not spectrum[:160].any() or decibels > -20


@pytest.mark.parametrize(("band", "hertz"), [(name, (low * high) ** 0.5) for name, (low, high) in BANDS.items()])
def test_a_tone_is_in_its_band(band: str, hertz: float) -> None:
    bands = frames().measure(tone(hertz)).bands
    assert list(BANDS)[int(np.argmax(bands))] == band


def test_bands_are_means_of_the_spectrum_with_both_ends() -> None:
    measured = frames().measure(SOUNDS["loud"]())
    for (low, high), mean in zip(BANDS.values(), measured.bands, strict=True):
        first, last = int(low / (48_000 / SIZE)), int(high / (48_000 / SIZE))
        assert mean == pytest.approx(measured.spectrum[first : last + 1].mean())


def test_silence_has_no_features() -> None:
    measured = frames().measure(np.zeros(SIZE, np.float32))
    assert measured.bands == (0.0,) * 7
    assert not measured.spectrum.any()
    assert (measured.dominant, measured.centroid, measured.rolloff, measured.bandwidth, measured.crest) == (0,) * 5
    assert measured.chroma == (0.0,) * 12
    assert measured.tonnetz == (0.0,) * 6
    assert all(np.isfinite(measured.mfcc))


def test_an_a_is_an_a() -> None:
    assert int(np.argmax(frames().measure(tone(440.0)).chroma)) == 9


def test_another_sample_rate() -> None:
    time = np.arange(SIZE) / 44_100
    measured = FeatureFrames(44_100).measure(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    assert measured.dominant == pytest.approx(1000, abs=0.3)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="8192 samples of mono"):
        frames().measure(np.zeros(100, np.float32))


def test_frames_are_where_they_are_wherever_one_begins() -> None:
    assert [frame_end(number) for number in (0, 1, 30)] == [0, 1600, 48_000]
    assert frame_end(2, 44_100) == 2940
    assert mono(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)).tolist() == [0.5, 0.5]
