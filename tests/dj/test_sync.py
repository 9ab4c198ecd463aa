"""A follower stays on its leader's beat, whatever is done to either, and only gently."""

from __future__ import annotations

import random
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import DeckState
from wsactors.dj.deck_loops import beat_loop, loop_exit, roll
from wsactors.dj.deck_motion import bend, brake, nudge, release, scratch, spin_up
from wsactors.dj.head import Head
from wsactors.dj.sync import DEADBAND, MAX_CORRECTION, beat_error, follow, multiple

SECOND = 48_000
LONG = 3_600 * SECOND
MS = 48


def deck(bpm: float, first: float = 0.0, **changes) -> DeckState:
    return attrs.evolve(DeckState().load(0, "song", LONG, grid=Beatgrid.of(bpm, first)).play(0), **changes)


def error(leader: DeckState, follower: DeckState, frame: int) -> float:
    found = beat_error(leader, follower, frame)
    assert found is not None
    return abs(found)


@given(st.floats(100, 150), st.floats(100, 150), st.floats(0, 1e6), st.floats(0, 1e6))
def test_it_gets_there_within_a_few_seconds_and_never_faster_than_it_may(one, other, first, second):
    leader, follower = deck(one, first), deck(other, second)
    synced = follow(leader, follower, SECOND)

    assert error(leader, synced, 20 * SECOND) < DEADBAND
    for frame in range(SECOND, 20 * SECOND, SECOND // 10):
        assert abs(synced.speed_at(frame) / synced.rate - 1) <= MAX_CORRECTION + 1e-9
    assert follow(leader, synced, 2 * SECOND) is synced


@pytest.mark.parametrize(
    ("leader", "follower", "times"), [(128, 126, 1.0), (70, 140, 2.0), (174, 88, 0.5), (120, 168, 1.0), (120, 175, 2.0)]
)
def test_twice_or_half_the_tempo_is_chosen_where_that_is_nearer(leader, follower, times):
    one, other = deck(leader), deck(follower, 5_000)
    assert multiple(one, other) == times

    synced = follow(one, other, 0)
    assert synced.grid is not None
    assert synced.grid.bpm() * synced.rate == pytest.approx(leader * times)
    assert error(one, synced, 30 * SECOND) < DEADBAND


def apart(leader: DeckState, follower: DeckState, frame: int) -> float | None:
    """Frames between what is heard of two beats, whatever the module says; None where a part of a beat repeats."""
    phases = []
    for each in (leader, follower):
        assert each.grid is not None
        if each.region is not None and each.region[1] - each.region[0] < each.grid.beat:
            return None
        phases.append((each.heard_at(frame) - each.grid.first) / each.grid.beat)
    beats = (phases[0] - phases[1] + 0.5) % 1.0 - 0.5
    return abs(beats) * 60 * SECOND / 124


class Booth:
    """Two decks and a clock; the follower is looked after ten times a second, as its actor does."""

    def __init__(self) -> None:
        self.frame = 0
        self.leader, self.follower = deck(124.0, 311.5), follow(deck(124.0), deck(127.3, 9_000.0), 0)
        self.worst = 0.0
        self.steady = 0

    def run(self, seconds: float, *, measured: bool = True) -> None:
        """Let time pass. Errors count from six seconds after the last time that something was done."""
        for step in range(round(seconds * 10)):
            self.frame += SECOND // 10
            self.follower = follow(self.leader, self.follower, self.frame)
            if measured and step > 60:
                found = apart(self.leader, self.follower, self.frame)
                self.steady += found is not None
                self.worst = max(self.worst, found or 0.0)


def test_twenty_minutes_with_scratches_loops_and_pitch_stay_within_a_millisecond():
    booth = Booth()
    rng = random.Random(7)
    while booth.frame < 20 * 60 * SECOND:
        booth.run(12)
        side = rng.choice(["leader", "follower"])
        before = getattr(booth, side)
        match rng.randrange(8):
            case 0:
                booth.leader = booth.leader.with_rate(booth.frame, rng.uniform(0.92, 1.08))
            case 1:
                setattr(booth, side, scratch(before, booth.frame, rng.uniform(-2, 2)))
                booth.run(1.3, measured=False)
                setattr(booth, side, release(getattr(booth, side), booth.frame))
            case 2:
                setattr(booth, side, beat_loop(before, booth.frame, rng.choice([1 / 16, 1 / 4, 4.0])))
                booth.run(17.7)
                setattr(booth, side, loop_exit(getattr(booth, side), booth.frame))
            case 3:
                setattr(booth, side, roll(before, booth.frame, 1 / 8))
                booth.run(1.9, measured=False)
                setattr(booth, side, loop_exit(getattr(booth, side), booth.frame))
            case 4:
                setattr(booth, side, nudge(before, booth.frame, rng.uniform(-2_000, 2_000)))
            case 5:
                setattr(booth, side, before.seek(booth.frame, rng.uniform(0, 1e7)))
            case 6:
                setattr(booth, side, bend(before, booth.frame, rng.uniform(-0.1, 0.1)))
                booth.run(0.8, measured=False)
                setattr(booth, side, bend(getattr(booth, side), booth.frame, 0.0))
            case _:
                setattr(booth, side, brake(before, booth.frame, 0.5))
                booth.run(1.2, measured=False)
                setattr(booth, side, spin_up(getattr(booth, side), booth.frame, 0.5))

    assert booth.steady > 2_500
    print(f"worst error of a follower in 20 minutes: {booth.worst / MS:.6f} ms")
    assert booth.worst < MS


def test_twenty_minutes_alone_need_nothing_at_all():
    leader, follower = deck(124.0, 311.5), deck(127.3, 9_000.0)
    synced = follow(leader, follower, 0)
    begin = synced.legs_end

    for frame in range(begin, 20 * 60 * SECOND, SECOND):
        assert follow(leader, synced, frame) is synced
        assert error(leader, synced, frame) < 0.001 * MS + DEADBAND


def clicks(bpm: float, first: float, seconds: int) -> Any:
    """A short click on every beat."""
    samples = np.zeros((seconds * SECOND, 2), np.int16)
    grid = Beatgrid.of(bpm, first)
    for beat in range(int(grid.beat_at(len(samples))) - 1):
        at = round(grid.position_of(beat))
        samples[at : at + 24] = 20_000
    return samples


def test_the_sound_of_two_synced_decks_is_together():
    songs = {"leader": clicks(124.0, 311.0, 40), "follower": clicks(127.3, 9_000.0, 40)}
    leader = DeckState().load(0, "leader", 40 * SECOND, grid=Beatgrid.of(124.0, 311.0)).play(0).with_rate(0, 1.013)
    follower = DeckState().load(0, "follower", 40 * SECOND, grid=Beatgrid.of(127.3, 9_000.0)).play(0)
    truths = [leader, follow(leader, follower, 0)]
    begin = max(truth.legs_end for truth in truths)

    sounds = []
    for truth in truths:
        head = Head(songs, begin, truth)
        sounds.append(np.concatenate([head.render(at, 960)[:, 0] for at in range(begin, begin + 15 * SECOND, 960)]))

    size = 1 << 20
    spectra = [np.fft.rfft(sound, size) for sound in sounds]
    correlation = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    near = np.concatenate((correlation[-12_000:], correlation[:12_000]))
    assert abs(int(np.argmax(near)) - 12_000) < MS


def test_a_hand_on_the_platter_is_not_fought():
    leader, follower = deck(124.0), follow(deck(124.0), deck(126.0), 0)
    held = scratch(follower, 10 * SECOND, 0.3)

    assert follow(leader, held, 11 * SECOND) is held
    assert follow(scratch(leader, 10 * SECOND, -1.0), follower, 11 * SECOND) is follower


def test_a_paused_follower_gets_the_tempo_and_is_not_moved():
    leader, follower = deck(124.0), deck(126.0).pause(100)
    synced = follow(leader, follower, 1_000)

    assert synced.rate == pytest.approx(124 / 126)
    assert synced.heard_at(5_000) == 100


def test_without_a_grid_there_is_nothing_to_follow():
    plain = DeckState().load(0, "song", LONG).play(0)
    assert follow(plain, deck(120.0), 0) == deck(120.0)
    assert follow(deck(120.0), plain, 0) is plain
    assert beat_error(plain, deck(120.0), 0) is None
    assert follow(DeckState(), DeckState(), 0) == DeckState()
