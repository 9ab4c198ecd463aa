"""The whole analysis: what it says about made music, about nothing, and about what is hardly anything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wsactors.dj.analysis.spectrum import Spectrum, take_down
from wsactors.dj.analysis.study import analyse
from wsactors.dj.analysis.values import MAX_COLUMNS, MAX_CUES, Analysis, Waveform
from wsactors.dj.analysis.waveform import draw

from . import synthetic


def test_silence_is_a_clear_result() -> None:
    analysis = analyse(np.zeros((48_000 * 5, 2), np.int16))
    assert (analysis.grid, analysis.tempo, analysis.key, analysis.loudness) == (None, None, None, None)
    assert analysis.cues == ()
    assert not any(analysis.waveform.data)


@pytest.mark.parametrize("frames", [1, 255, 1_023, 1_024, 1_025, 5_000, 48_001])
@pytest.mark.parametrize("value", [0, 32_767, -32_768])
def test_however_short_and_whatever_is_in_it_there_is_an_answer(frames: int, value: int) -> None:
    samples = np.full((frames, 2), value, np.int16)
    samples[::2] = -1
    analysis = analyse(samples)
    assert analysis.frames == frames
    assert Analysis.from_wire(analysis.to_wire()) == analysis


@pytest.mark.parametrize("number", range(24))
def test_no_samples_however_mad_raise_or_warn(number: int) -> None:
    rng = np.random.default_rng(number)
    frames = int(10 ** rng.uniform(0, 5.6))
    n = np.arange(frames)[:, None]
    sound = (
        rng.integers(-32_768, 32_768, (frames, 2)),  # noise
        np.sign(np.sin(n * rng.uniform(1e-5, 3))) * 32_767,  # squares of any pitch
        np.where(n % int(rng.integers(9_000, 60_000)) == 0, -32_768, 0),  # single samples
        np.repeat(rng.integers(-1, 2, (frames // 7 + 1, 2)), 7, axis=0)[:frames],  # next to nothing
        n % int(rng.integers(2, 60_000)) % 65_536 - 32_768,  # saws
        np.where(n < frames // 2, 0, rng.integers(-30_000, 30_000, (frames, 1))),  # silence, then noise
    )[number % 6]
    analysis = analyse((sound * np.ones((1, 2))).astype(np.int16))
    assert Analysis.from_wire(analysis.to_wire()) == analysis


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        analyse(np.zeros((0, 2), np.int16))


def test_the_same_samples_give_the_same_analysis() -> None:
    samples = synthetic.drums(124.3, hat=0.2, seconds=15.0)
    first = analyse(samples)
    assert first == analyse(samples.copy())
    assert first.key == analyse(samples[:, 0]).key  # one channel or two alike


def test_the_picture_shows_what_sounds_where() -> None:
    t = np.arange(48_000 * 2) / 48_000
    parts = [np.sin(2 * np.pi * hertz * t) for hertz in (60, 1_000, 8_000)]
    wave = draw(take_down(synthetic.stereo(np.concatenate([np.zeros(96_000), *parts]), peak=0.5)))
    values = np.frombuffer(wave.data, np.uint8).reshape(-1, 4)
    for part, loudest in ((1, 1), (2, 2), (3, 3)):
        at = round((part * 96_000 + 48_000) / wave.frames)
        peak, *bands = values[at]
        assert np.argmax(bands) + 1 == loudest
        assert abs(int(peak) - round((1 - 6.02 / 60) * 255)) <= 6  # a column is shorter than a period of 60 Hz
        assert abs(int(bands[loudest - 1]) - int(peak)) <= 26  # the power of a sine is 3 dB below its peak
        assert max(np.delete(bands, loudest - 1)) < bands[loudest - 1] - 100
    assert not values[round(48_000 / wave.frames)].any()


def test_a_picture_of_a_long_song_is_no_larger() -> None:
    hops = 400 * 48_000 // 256
    zeros = np.zeros((hops, 8), np.float32)
    wave = draw(Spectrum(hops * 256, zeros[:, :4], zeros, zeros[:, 0], zeros[:, 0]))
    assert wave.columns <= MAX_COLUMNS
    assert wave.frames == 768
    assert isinstance(wave.overview(100), Waveform)


def test_cues_are_where_the_song_changes_and_on_its_downbeats() -> None:
    quiet = synthetic.clicks(120.0, begin=0.0, seconds=16.0) // 40
    loud = synthetic.drums(120.0, hat=0.2, begin=0.0, seconds=16.0)
    analysis = analyse(np.concatenate([quiet, loud, quiet, loud, quiet]))
    assert analysis.grid is not None
    kinds = {round(cue.position / 48_000): cue.kind for cue in analysis.cues}
    assert kinds == {0: "start", 16: "rise", 32: "break", 48: "rise", 64: "end"}
    for cue in analysis.cues[1:]:
        assert analysis.grid.beat_at(cue.position) == pytest.approx(
            round(analysis.grid.beat_at(cue.position)), abs=0.05
        )
    assert all(a.position < b.position for a, b in pairwise(analysis.cues))
    assert len(analysis.cues) <= MAX_CUES


@pytest.mark.parametrize("seconds", [4.5, 8.0, 9.0, 17.0])
def test_a_song_of_hardly_a_phrase_has_a_beginning(seconds: float) -> None:
    analysis = analyse(synthetic.clicks(120.0, begin=0.0, seconds=seconds))
    assert analysis.grid is not None
    assert analysis.cues[0].position == pytest.approx(0.0, abs=500)


def test_a_song_without_beats_has_its_first_sound_as_a_cue() -> None:
    samples = np.zeros((48_000 * 3, 2), np.int16)
    samples[60_000:] = 9_000
    (cue,) = analyse(samples).cues
    assert cue.kind == "start"
    assert cue.position == pytest.approx(60_000, abs=600)
