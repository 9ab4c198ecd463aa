"""Tempo and beats: right to the last beat, where that is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsactors.dj.analysis.spectrum import take_down
from wsactors.dj.analysis.study import beats
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dsp.loops import BEAT, demo_loops

from . import synthetic


def grid_of(samples: Any) -> Beatgrid:
    found = beats(take_down(samples))
    assert found is not None
    assert found[1].steady > 0.9
    return found[0]


def errors(grid: Beatgrid, bpm: float, *, begin: float = 0.217, seconds: float) -> Any:
    """By how many seconds each beat of the grid is off the beat it is next to."""
    places = np.array([grid.beat_at(second * 48_000) for second in synthetic.beats(bpm, begin, seconds)])
    return (places - np.round(places)) * grid.beat / 48_000


@pytest.mark.parametrize("bpm", [87.5, 120.0, 124.3, 140.01, 174.0])
@pytest.mark.parametrize(
    "hat", [None, 0.1, 0.35]
)  # no drums but a metronome; a quiet hat between the beats; a loud one
def test_tempo_beat_and_downbeat_of_known_music(bpm: float, hat: float | None) -> None:
    seconds = 20.0
    samples = synthetic.clicks(bpm, seconds=seconds) if hat is None else synthetic.drums(bpm, hat=hat, seconds=seconds)
    grid = grid_of(samples)
    assert grid.bpm() == pytest.approx(bpm, rel=1e-4)
    assert np.abs(errors(grid, bpm, seconds=seconds)).max() < 0.003
    assert round(grid.beat_at(0.217 * 48_000)) % 4 == 0
    assert grid.first > -0.03 * 48_000


def test_five_minutes_stay_on_the_beat_at_a_tempo_that_is_no_round_number() -> None:
    grid = grid_of(synthetic.clicks(127.0437, seconds=300.0))
    assert grid.bpm() == pytest.approx(127.0437, rel=5e-6)
    assert np.abs(errors(grid, 127.0437, seconds=300.0)).max() < 0.002


def test_a_tempo_that_is_nearly_round_is_not_rounded_when_the_song_tells_them_apart() -> None:
    grid = grid_of(synthetic.clicks(120.01, seconds=60.0))
    assert grid.bpm() == pytest.approx(120.01, abs=0.001)


def test_the_demo_loops_have_the_tempo_they_were_made_with() -> None:
    straight, broken = demo_loops()
    grid = grid_of(np.concatenate([straight, straight]))
    assert grid.beat == pytest.approx(BEAT, rel=1e-4)
    assert abs(grid.first) < 480
    # The other one's kicks are between the beats on purpose: its tempo is found, and which half is the beat is guessed.
    assert grid_of(np.concatenate([broken, broken])).beat == pytest.approx(BEAT, rel=1e-4)


def test_a_drummer_who_gets_faster_is_not_called_steady() -> None:
    slow, fast = synthetic.clicks(118.0, seconds=40.0), synthetic.clicks(123.0, seconds=40.0)
    found = beats(take_down(np.concatenate([slow, fast])))
    assert found is None or found[1].steady < 0.8


@pytest.mark.parametrize("seconds", [0.0001, 0.02, 0.5, 3.0])
def test_what_is_too_short_or_silent_has_no_beats(seconds: float) -> None:
    frames = max(1, int(seconds * 48_000))
    assert beats(take_down(np.zeros((frames, 2), np.int16))) is None
    assert beats(take_down(np.full((frames, 2), 32_767, np.int16))) is None


def test_a_constant_and_a_long_silence_have_no_beats() -> None:
    assert beats(take_down(np.zeros((48_000 * 20, 2), np.int16))) is None
    assert beats(take_down(np.full((48_000 * 20, 2), -32_768, np.int16))) is None


def test_noise_and_a_steady_tone_give_no_beats_to_rely_on() -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(-8_000, 8_000, (48_000 * 15, 2), dtype=np.int16)
    found = beats(take_down(noise))
    assert found is None or found[1].sure < 0.5 or found[1].steady < 0.5


def test_mono_float_and_one_sided_sound_give_the_same_beats() -> None:
    samples = synthetic.drums(120.0, hat=0.1, seconds=20.0)
    grid = grid_of(samples)
    assert grid_of(samples[:, 0]).beat == pytest.approx(grid.beat, rel=1e-9)
    assert grid_of(samples.astype(np.float32) / 32_768).first == pytest.approx(grid.first, abs=1)
    left = samples.copy()
    left[:, 1] = 0
    assert grid_of(left).beat == pytest.approx(grid.beat, rel=1e-5)


def test_the_pieces_a_song_is_read_in_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = synthetic.drums(124.3, hat=0.1, seconds=12.0)
    whole = take_down(samples)
    monkeypatch.setattr("wsactors.dj.analysis.spectrum._PIECE", 100)
    pieces = take_down(samples)
    for name in ("onsets", "levels", "peaks", "fine"):
        assert np.allclose(getattr(whole, name), getattr(pieces, name), rtol=1e-5, atol=1e-7), name
