"""Beats are arithmetic; corrections by hand; nonsense is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.beatgrid import MAX_BPM, MIN_BPM, Beatgrid

grids = st.builds(
    Beatgrid.of,
    st.floats(MIN_BPM, MAX_BPM),
    st.floats(-1e7, 1e8),
    st.integers(1, 32),
)
GRID = Beatgrid(1000.0, 24_000.0)


@given(grids, st.floats(-1e8, 1e8))
def test_a_beat_and_its_position_are_each_others_inverse(grid, position):
    assert grid.position_of(grid.beat_at(position)) == pytest.approx(position, abs=1e-6)
    assert 60 * 48_000 / grid.beat == pytest.approx(grid.bpm())


@given(grids, st.floats(-1e8, 1e8), st.sampled_from([4.0, 1.0, 0.5, 0.25, 1 / 32]))
def test_the_nearest_beat_is_at_most_half_a_beat_away_and_on_the_grid(grid, position, fraction):
    nearest = grid.nearest(position, fraction)

    assert abs(nearest - position) <= grid.beat * fraction / 2 + 1e-6
    steps = grid.beat_at(nearest) / fraction
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_a_grid_is_made_from_a_tempo_and_knows_it():
    grid = Beatgrid.of(125.0, 240)

    assert grid == Beatgrid(240.0, 23_040.0)
    assert grid.bpm() == 125.0
    assert grid.bpm(44_100) == pytest.approx(125.0 * 44_100 / 48_000)


def test_corrections_by_hand():
    assert GRID.doubled() == Beatgrid(1000.0, 12_000.0)
    assert GRID.halved() == Beatgrid(1000.0, 48_000.0)
    assert GRID.three_halves() == Beatgrid(1000.0, 16_000.0)
    assert GRID.three_halves().two_thirds() == GRID
    assert GRID.shifted(0.5) == Beatgrid(13_000.0, 24_000.0)
    assert GRID.with_downbeat(49_500.0) == Beatgrid(49_000.0, 24_000.0)


def test_taps_give_the_tempo_whatever_their_jitter_and_gaps():
    jitter = [210.0, -180.0, 90.0, -60.0, 130.0, -190.0, 40.0, -40.0]
    beats = [0, 1, 2, 3, 5, 6, 7, 9]
    taps = [5_000.0 + 23_040.0 * beat + noise for beat, noise in zip(beats, jitter, strict=True)]

    tapped = GRID.tapped(taps)

    assert tapped.bpm() == pytest.approx(125.0, abs=0.3)
    assert abs(tapped.nearest(5_000.0) - 5_000.0) < 150
    assert abs(tapped.first - GRID.first) <= tapped.beat / 2


@given(st.floats(60.0, 200.0), st.floats(0.0, 1e6), st.integers(2, 40))
def test_exact_taps_give_the_exact_grid(bpm, first, count):
    beat = 60 * 48_000 / bpm

    tapped = GRID.tapped([first + beat * index for index in range(count)])

    assert tapped.beat == pytest.approx(beat, rel=1e-9)
    assert tapped.nearest(first) == pytest.approx(first, abs=1e-3)


@given(grids)
def test_a_grid_survives_the_wire(grid):
    assert Beatgrid.from_wire(grid.to_wire()) == grid


@pytest.mark.parametrize(
    "value",
    [
        None, 7, "grid", [], [1.0, 24_000.0], [1.0, 24_000.0, 4, 4], [math.nan, 24_000.0, 4], [0.0, math.inf, 4],
        [0.0, 24_000.0, True], [0.0, 24_000.0, 0], [0.0, 24_000.0, 33], [0.0, "24000", 4], [True, 24_000.0, 4],
        [0.0, 2000.0, 4], [0.0, 150_000.0, 4], [1e300, 24_000.0, 4],
    ],
)  # fmt: skip
def test_nonsense_from_the_wire_is_refused(value):
    with pytest.raises(ValueError):
        Beatgrid.from_wire(value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Beatgrid.of(1200.0),
        lambda: Beatgrid.of(math.nan),
        lambda: Beatgrid.of(600.0).doubled(),
        lambda: GRID.tapped([1.0]),
        lambda: GRID.tapped([5.0, 5.0]),
        lambda: GRID.nearest(0.0, 0.0),
    ],
)
def test_what_is_no_grid_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()
