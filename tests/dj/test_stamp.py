from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.stamp import MAX_PROBES, Fairness, Placed, RoundTrip, place

MS = 48
"""Frames of a millisecond."""
frames = st.integers(-(10**12), 10**12)
fairness = st.builds(Fairness, st.integers(0, 20_000), st.integers(0, 48_000))


@given(st.none() | frames, frames, st.integers(-5, 10**7), fairness)
def test_no_stamp_reaches_further_than_the_node_measured(
    stamp: int | None, arrived: int, round_trip: int, fair: Fairness
) -> None:
    placed = place(stamp, arrived, round_trip, fair, last=-(10**13))
    assert arrived - min(max(0, round_trip) + fair.hearing, fair.most) <= placed.frame <= arrived
    assert placed.late == arrived - placed.frame


@given(frames, st.integers(0, 390 * MS), st.integers(0, 100 * MS))
def test_an_honest_stamp_is_believed_over_any_link(heard: int, round_trip: int, buffered: int) -> None:
    arrived = heard + round_trip + buffered
    placed = place(heard, arrived, round_trip, Fairness(), last=-(10**13))
    assert placed == Placed(heard, round_trip + buffered, 0)


def test_one_script_has_the_same_effect_over_20_and_200_milliseconds() -> None:
    script = range(1_000_000, 1_000_000 + 48_000 * 60, 22_153)
    near = [place(heard, heard + 70 * MS, 20 * MS, Fairness()).frame for heard in script]
    far = [place(heard, heard + 250 * MS, 200 * MS, Fairness()).frame for heard in script]
    assert near == far == list(script)


def test_without_stamps_what_is_left_between_two_links_is_the_buffers_difference() -> None:
    near = place(None, 1_000_000 + 20 * MS, 20 * MS, Fairness())
    far = place(None, 1_000_000 + 200 * MS, 200 * MS, Fairness())
    assert near.frame == far.frame == 1_000_000


@given(st.lists(st.tuples(st.none() | st.integers(0, 10**6), st.integers(0, 5_000)), max_size=30), fairness)
def test_a_player_s_commands_do_not_overtake_each_other(said: list[tuple[int | None, int]], fair: Fairness) -> None:
    arrived = last = 0
    placed = []
    for stamp, pause in said:
        arrived += pause
        last = place(stamp, arrived, 9_600, fair, last).frame
        placed.append(last)
    assert all(one <= other for one, other in itertools.pairwise(placed))


def test_a_stamp_that_lies_is_moved_and_one_can_tell_by_how_much() -> None:
    assert place(0, 1_000_000, 20 * MS, Fairness()) == Placed(1_000_000 - 120 * MS, 120 * MS, 1_000_000 - 120 * MS)
    assert place(2_000_000, 1_000_000, 20 * MS, Fairness()) == Placed(1_000_000, 0, -1_000_000)


def test_a_round_trip_stretched_on_purpose_gains_no_more_than_half_a_second() -> None:
    trip = RoundTrip()
    nonce = trip.ask(0)
    assert trip.answered(nonce, 60_000_000_000)
    assert place(0, 10**9, trip.frames, Fairness()).late == 24_000


def test_the_round_trip_is_the_median_of_the_latest() -> None:
    trip = RoundTrip()
    assert trip.frames == 0
    for milliseconds in (500, 20, 20, 900, 21, 20, 19, 20, 20, 20, 20):
        nonce = trip.ask(10**9)
        assert trip.answered(nonce, 10**9 + milliseconds * 1_000_000)
    assert trip.frames == 20 * MS


def test_an_answer_counts_once_and_only_if_it_was_asked_for() -> None:
    trip = RoundTrip()
    nonce = trip.ask(0)
    assert not trip.answered(nonce + 1, 1)
    assert trip.answered(nonce, 20_000_000)
    assert not trip.answered(nonce, 900_000_000)
    assert trip.frames == 20 * MS


def test_probes_that_nobody_answers_are_forgotten() -> None:
    trip = RoundTrip()
    nonces = [trip.ask(0) for _ in range(1_000)]
    assert [trip.answered(nonce, 1) for nonce in nonces].count(True) == MAX_PROBES


@pytest.mark.parametrize("value", [-1, 480_001, 1.5, True])
def test_fairness_has_bounds(value: int) -> None:
    with pytest.raises(ValueError, match="frames"):
        Fairness(hearing=value)
