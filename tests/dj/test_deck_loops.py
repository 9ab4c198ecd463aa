"""Loops of any length, by hand and by beats, and rolls."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.deck_verbs import FRAMES, GRID, loaded
from wsactors.dj.deck import DeckState
from wsactors.dj.deck_loops import beat_loop, loop_double, loop_exit, loop_halve, loop_in, loop_out, reloop, roll
from wsactors.dj.deck_motion import beat_jump, reverse, slip, with_quantize


def test_a_loop_by_hand_repeats_what_is_between_its_points():
    deck = loop_out(loop_in(loaded().play(0), 10_000), 30_000)

    assert deck.heard_at(30_000) == 10_000
    assert deck.heard_at(49_999) == 29_999
    assert deck.heard_at(30_000 + 20_000 * 50 + 7) == 10_007
    assert deck.ends_at() is None


def test_a_loop_that_is_left_goes_on_from_where_it_is():
    deck = loop_exit(loop_out(loop_in(loaded().play(0), 10_000), 30_000), 35_000)

    assert deck.heard_at(35_000) == 15_000
    assert deck.heard_at(60_000) == 40_000


@given(st.sampled_from([1 / 32, 1 / 16, 1 / 8, 0.25, 0.5, 1, 2, 4, 8]), st.integers(1, 10_000))
def test_a_loop_of_beats_is_on_the_beat_after_any_number_of_turns(beats, turns):
    deck = beat_loop(with_quantize(loaded(), True).play(0), 100_000, beats)
    length = beats * GRID.beat

    frame = 100_000 + round(turns * length)

    assert deck.region is not None
    assert deck.region[1] - deck.region[0] == pytest.approx(length)
    assert 0 <= 100_000 - deck.region[0] <= min(GRID.beat, length) + 1e-6
    phase = GRID.beat_at(deck.heard_at(frame)) - GRID.beat_at(100_000 + (frame - 100_000))
    assert abs(phase / min(beats, 1) - round(phase / min(beats, 1))) < 1e-6


def test_the_same_loop_again_leaves_it_and_another_length_keeps_its_start():
    deck = beat_loop(loaded().play(0), 50_000, 4)
    assert not beat_loop(deck, 60_000, 4).looping

    shorter = beat_loop(deck, 60_000, 1)
    assert shorter.loop_in == 50_000
    assert shorter.looping


def test_halving_takes_the_head_along_and_doubling_lets_it_go_on():
    deck = loop_out(loop_in(loaded().play(0), 10_000), 30_000)

    half = loop_halve(deck, 45_000)
    assert half.loop_out == 20_000
    assert half.heard_at(45_000) == 15_000
    assert half.heard_at(50_000) == 10_000

    late = loop_halve(deck, 48_000)  # at 28,000, behind the new end
    assert late.heard_at(48_000) == 18_000

    double = loop_double(deck, 45_000)
    assert double.loop_out == 50_000
    assert double.heard_at(45_000 + 20_000) == 45_000


def test_a_loop_can_be_come_back_to():
    deck = loop_exit(loop_out(loop_in(loaded().play(0), 10_000), 30_000), 35_000)
    again = reloop(deck, 100_000)

    assert again.heard_at(100_000) == 10_000
    assert not reloop(again, 110_000).looping
    early = reloop(deck.seek(100_000, 0.0), 100_000)
    assert early.heard_at(105_000) == 5_000
    assert early.heard_at(131_000) == 11_000


def test_a_loop_behind_the_head_does_not_catch_it():
    deck = loop_out(loop_in(loaded().play(0), 10_000), 30_000).seek(35_000, 100_000.0)

    assert deck.heard_at(45_000) == 110_000
    back = reverse(deck, 45_000, True)
    assert back.heard_at(45_000 + 110_000 - 12_000) == 12_000
    assert back.heard_at(45_000 + 110_000 - 9_000) == 29_000


def test_a_loop_repeats_backwards_too():
    deck = reverse(loop_out(loop_in(loaded().play(0), 10_000), 30_000), 30_000, True)

    assert deck.heard_at(30_001) == 29_999
    assert deck.heard_at(51_000) == 29_000


def test_a_roll_ends_where_the_song_would_be():
    rolling = roll(loaded().play(0), 48_000, 1 / 8)
    assert rolling.heard_at(48_000 + 10_000) < 48_000 + GRID.beat / 8
    other = roll(rolling, 60_000, 1 / 4)
    assert other.loop_in == rolling.loop_in

    done = loop_exit(other, 90_000)
    assert done.heard_at(90_000) == 90_000
    assert (done.rolling, done.looping, done.shadow) == (False, False, None)


def test_a_roll_of_a_faster_song_goes_on_at_its_speed():
    deck = roll(loaded().play(0).with_rate(0, 1.08), 48_000, 1 / 4).with_rate(72_000, 1.0)

    assert loop_exit(deck, 96_000).heard_at(96_000) == pytest.approx(72_000 * 1.08 + 24_000)


def test_with_slip_a_loop_that_is_left_ends_where_the_song_would_be():
    deck = beat_loop(slip(loaded().play(0), 10, True), 48_000, 1)

    done = loop_exit(deck, 150_000)
    assert done.heard_at(150_000) == 150_000
    assert done.slip


def test_a_jump_takes_the_loop_along():
    deck = beat_jump(beat_loop(loaded().play(0), 50_000, 4), 60_000, 2)

    assert deck.loop_in == pytest.approx(50_000 + 2 * GRID.beat)
    assert deck.heard_at(60_000) == pytest.approx(60_000 + 2 * GRID.beat)
    assert deck.looping


@pytest.mark.parametrize(
    "wrong",
    [
        lambda deck: loop_out(deck, 100),
        lambda deck: loop_out(loop_in(deck, 100), 130),
        lambda deck: beat_loop(deck, 0, 64),
        lambda deck: beat_loop(deck, 0, 1 / 64),
        lambda deck: roll(deck, 0, 0),
        lambda deck: reloop(deck, 0),
        lambda deck: loop_halve(deck, 0),
        lambda deck: loop_double(deck, 0),
        lambda deck: loop_halve(attrs.evolve(deck, loop_in=0.0, loop_out=100.0), 0),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong(loaded().play(0))


def test_buttons_of_an_empty_deck_do_nothing():
    empty = DeckState()
    assert loop_in(empty, 9) == loop_out(empty, 9) == beat_loop(empty, 9, 1) == roll(empty, 9, 1) == loop_exit(empty, 9)


def test_a_seamless_song_goes_round_with_and_without_a_loop():
    deck = DeckState().load(0, "loop", FRAMES, loop=True, grid=GRID).play(0)

    assert deck.heard_at(FRAMES + 5) == 5
    assert reverse(deck, 100, True).heard_at(300) == FRAMES - 100
    looped = beat_loop(deck, FRAMES + 1_000, 1)
    assert looped.loop_in == 1_000
    assert loop_exit(looped, 3 * FRAMES).position < 1_000 + GRID.beat
