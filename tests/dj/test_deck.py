"""Where a deck plays follows from its truth alone, whatever was done to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dj.deck_verbs import FRAMES, SCRIPTS, loaded, speed, stepped, told
from wsactors.dj.deck import DeckState, Leg
from wsactors.dj.deck_motion import brake, nudge, push, scratch, spin_up
from wsactors.dj.deck_wire import deck_from_wire, deck_to_wire
from wsactors.dj.head import places, speeds


@given(SCRIPTS, st.integers(1, 3_000))
@settings(max_examples=150, deadline=None)
def test_a_place_is_arithmetic_from_the_truth_whatever_was_done_before(script, ahead):
    for deck in told(loaded(frame=1_000), script):
        frame = deck.frame + ahead
        smooth = all(before.end == after.begin for before, after in zip(deck.legs, deck.legs[1:], strict=False))
        slack = 1e-6 * ahead if smooth and (not deck.legs or deck.legs[-1].end == 0) else 8.0
        assert deck.position_at(frame) == pytest.approx(stepped(deck, frame), abs=slack)


@given(SCRIPTS, st.lists(st.integers(1, 900), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_blocks_of_any_size_have_the_same_places_to_the_bit(script, blocks):
    for deck in told(loaded(frame=1_000), script):
        frame = deck.frame
        whole = places(deck, frame, sum(blocks))
        cut = []
        for block in blocks:
            cut.append(places(deck, frame, block))
            frame += block
        assert np.array_equal(np.concatenate(cut), whole)
        for index in (0, len(whole) // 2, len(whole) - 1):
            assert whole[index] == deck.position_at(deck.frame + index)
            assert speeds(deck, deck.frame + index, 1)[0] == pytest.approx(deck.speed_at(deck.frame + index))


@given(SCRIPTS, st.integers(0, 50_000), st.integers(0, 50_000))
@settings(max_examples=150, deadline=None)
def test_telling_the_truth_anew_changes_nothing(script, first, more):
    deck = told(loaded(), script)[-1]
    again = deck.anchored(deck.frame + first)
    frame = deck.frame + first + more

    assert again.speed_at(frame) == pytest.approx(deck.speed_at(frame), abs=1e-9)
    assert again.shadow_at(frame) == pytest.approx(deck.shadow_at(frame), abs=1e-3)
    here, there = again.heard_at(frame), deck.heard_at(frame)
    if deck.region is None:
        assert here == pytest.approx(there, abs=1e-3)
    elif monotonous(deck):
        length = deck.region[1] - deck.region[0]
        assert min(abs(here - there), length - abs(here - there)) == pytest.approx(0, abs=1e-3)


def monotonous(deck: DeckState) -> bool:
    """Whether it does not turn round: a head that does so at a loop's border is folded by where the truth began."""
    edges = [speed(deck, deck.frame), deck.cruise]
    at = deck.frame
    for leg in deck.legs:
        edges += [deck.cruise + leg.begin, deck.cruise + leg.end]
        at += leg.frames
    return min(edges) >= 0 or max(edges) <= 0


@given(SCRIPTS)
@settings(max_examples=150, deadline=None)
def test_every_truth_survives_the_wire_and_keeps_its_frames_in_order(script):
    truths = told(loaded(frame=77), script)
    for deck in truths:
        assert deck_from_wire(deck_to_wire(deck)) == deck
    assert [deck.frame for deck in truths] == sorted(deck.frame for deck in truths)


@given(SCRIPTS)
@settings(max_examples=100, deadline=None)
def test_the_end_is_where_the_song_runs_out(script):
    for deck in told(loaded(), script):
        end = deck.ends_at()
        if end is not None and end > deck.frame:
            assert deck.heard_at(end) >= FRAMES - 1e-6
            if monotonous(deck):
                assert deck.heard_at(end - 1) < FRAMES + 1e-6


def test_after_a_day_nothing_has_drifted():
    deck = loaded().play(0).with_rate(0, 1.037)
    day = 24 * 3600 * 48_000
    assert deck.position_at(day) == 1.037 * day

    for frame in range(0, day, day // 1_000):
        deck = deck.anchored(frame)

    assert deck.position_at(day) == pytest.approx(1.037 * day, abs=1e-3)


def test_a_brake_slows_down_evenly_and_stops_half_way():
    deck = brake(loaded().play(0), 48_000, 1.0)

    assert deck.speed_at(48_000) == 1.0
    assert deck.speed_at(72_000) == 0.5
    assert deck.position_at(96_000) == 48_000 + 24_000
    assert deck.position_at(1_000_000) == 72_000
    assert deck.still_from() == 96_000
    assert not deck.playing


def test_a_platter_spins_up_and_then_plays():
    deck = spin_up(loaded(), 0, 0.5)

    assert deck.speed_at(0) == 0.0
    assert deck.speed_at(12_000) == 0.5
    assert deck.position_at(24_000) == 12_000
    assert deck.position_at(48_000) == 36_000


def test_a_brake_in_the_middle_of_a_spin_up_starts_from_its_speed():
    deck = brake(spin_up(loaded(), 0, 1.0), 24_000, 1.0)

    assert deck.speed_at(24_000) == 0.5
    assert deck.position_at(72_000) == 6_000 + 12_000


@given(st.floats(-2_000, 2_000), st.integers(9_600, 48_000))
def test_a_push_gains_what_it_is_meant_to(distance, frames):
    legs = push(distance, frames)

    assert sum(leg.frames for leg in legs) == frames
    assert sum(leg.travelled(leg.frames) for leg in legs) == pytest.approx(distance, abs=1e-6)


def test_a_nudge_moves_a_playing_deck_without_a_jump():
    deck = nudge(loaded().play(0), 1_000, 480.0)

    assert deck.position_at(1_000) == 1_000
    assert deck.position_at(1_000 + 9_600) == pytest.approx(1_000 + 9_600 + 480)
    assert max(deck.speed_at(frame) for frame in range(1_000, 10_600)) < 1.06


def test_a_speed_never_jumps_under_a_hand():
    deck = loaded().play(0)
    for frame, wanted in ((1_000, -2.0), (1_100, 3.5), (1_200, -4.0), (3_000, 0.0)):
        before = deck.speed_at(frame)
        deck = scratch(deck, frame, wanted)
        assert deck.speed_at(frame) == pytest.approx(before)
        assert deck.speed_at(frame + 480) == wanted


def test_the_key_is_kept_at_speeds_that_make_sense():
    deck = spin_up(loaded(keylock=True), 0, 1.0)

    assert deck.lock_from() == 48_000
    assert deck.with_rate(48_000, 0.4).lock_from() is None
    assert nudge(deck, 48_000, 100.0).lock_from() == 48_000
    assert scratch(deck, 48_000, 1.0).lock_from() is None
    assert loaded().play(0).lock_from() is None


@pytest.mark.parametrize(
    "change",
    [
        {"hotcues": (None,) * 7}, {"hotcues": (-1.0, *(None,) * 7)}, {"preview": 9}, {"looping": True},
        {"looping": True, "loop_in": 5.0, "loop_out": 60.0}, {"touch": 4.5}, {"pitch_range": 0.1}, {"bend": math.nan},
        {"legs": (Leg(1, 0, 0),) * 9}, {"legs": ((1, 2, 3),)}, {"grid": [0.0, 24_000.0, 4]}, {"slip": 1},
        {"song": 7}, {"frames": 1.5}, {"frame": True}, {"cue": -1.0}, {"loop_in": math.inf},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change):
    with pytest.raises(ValueError):
        DeckState(**change)


@given(st.integers(0, 24), st.sampled_from([None, "x", -1, 1e300, math.nan, [], [[1, 2]], True, b"", {}]))
def test_hostile_values_on_the_wire_make_no_deck_or_a_legal_one(place, value):
    wire = deck_to_wire(loaded())
    wire[place] = value
    try:
        deck = deck_from_wire(wire)
    except ValueError:
        return
    assert deck_from_wire(deck_to_wire(deck)) == deck


def test_a_command_may_be_carried_out_as_of_a_frame_that_has_gone_by():
    """So the same hands do the same over any way: see `wsactors.dj.stamp`."""
    pressed, arrived = 96_000, 105_600
    deck = loaded().play(pressed)

    assert deck.heard_at(arrived) == arrived - pressed
    late = deck.pause(pressed - 500)  # before the last thing that is known: then at that
    assert late.frame == pressed
    assert late.heard_at(arrived) == 0
