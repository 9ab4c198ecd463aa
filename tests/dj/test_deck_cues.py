"""The cue button as on a CDJ, and eight hotcues."""

from __future__ import annotations

import pytest

from tests.dj.deck_verbs import FRAMES, GRID, loaded
from wsactors.dj.deck import DeckState
from wsactors.dj.deck_cues import (
    cue_press,
    cue_release,
    hotcue_press,
    hotcue_release,
    hotcue_set,
    with_cue,
    with_hotcue,
)
from wsactors.dj.deck_motion import slip, with_quantize


def test_cue_on_a_playing_deck_goes_back_and_stops():
    deck = cue_press(with_cue(loaded(), 9_000.0).play(0), 48_000)

    assert not deck.playing
    assert deck.heard_at(100_000) == 9_000


def test_cue_on_a_paused_deck_sets_the_cue_point():
    deck = cue_press(loaded().play(0).pause(48_000), 50_000)

    assert deck.cue == deck.heard_at(50_000) == 48_000
    assert not deck.playing


def test_cue_at_the_cue_point_plays_while_it_is_held():
    deck = cue_press(with_cue(loaded().seek(0, 9_000.0), 9_000.0), 100)
    assert deck.playing
    assert deck.heard_at(1_100) == 10_000

    released = cue_release(deck, 1_100)
    assert not released.playing
    assert released.heard_at(5_000) == 9_000


def test_play_while_cue_is_held_goes_on_when_it_is_released():
    deck = cue_press(with_cue(loaded().seek(0, 9_000.0), 9_000.0), 100).play(500)
    deck = cue_release(deck, 1_100)

    assert deck.playing
    assert deck.heard_at(2_100) == 11_000


def test_releasing_a_cue_that_is_not_held_does_nothing():
    deck = loaded().play(0)
    assert cue_release(deck, 100) == deck
    assert hotcue_release(deck, 100, 3) == deck


def test_with_quantize_points_are_put_on_beats():
    deck = with_quantize(loaded().seek(0, 50_000.0), True)

    assert cue_press(deck, 100).cue == GRID.position_of(2)
    assert hotcue_press(deck, 100, 8).hotcues[7] == GRID.position_of(2)
    assert cue_press(deck.seek(0, 1.0), 100).cue == GRID.position_of(0)


def test_a_hotcue_is_set_then_jumped_to():
    deck = hotcue_press(loaded().play(0), 48_000, 3)
    assert deck.hotcues[2] == 48_000
    assert deck.playing

    deck = hotcue_press(deck, 96_000, 3)
    assert deck.heard_at(96_000) == 48_000
    assert hotcue_release(deck, 100_000, 3).playing


def test_a_hotcue_on_a_paused_deck_plays_while_it_is_held():
    deck = with_hotcue(loaded(), 1, 30_000.0)
    held = hotcue_press(deck, 100, 1)
    assert held.playing
    assert held.heard_at(1_100) == 31_000

    released = hotcue_release(held, 1_100, 1)
    assert not released.playing
    assert released.heard_at(2_000) == 30_000
    assert hotcue_release(held.play(500), 1_100, 1).playing


def test_a_second_hotcue_takes_over_and_the_first_s_release_is_nothing():
    deck = with_hotcue(with_hotcue(loaded(), 1, 30_000.0), 2, 60_000.0)
    held = hotcue_press(hotcue_press(deck, 100, 1), 200, 2)

    assert held.heard_at(300) == 60_100
    assert hotcue_release(held, 300, 1) == held


def test_a_quantized_jump_keeps_the_beat():
    deck = with_hotcue(with_quantize(loaded(), True), 1, GRID.position_of(10)).play(0)
    at = round(GRID.position_of(3)) + 700

    jumped = hotcue_press(deck, at, 1)

    assert jumped.heard_at(at) == pytest.approx(GRID.position_of(10) + 700, abs=1)


def test_with_slip_a_released_hotcue_is_where_the_song_would_be():
    deck = with_hotcue(slip(loaded().play(0), 10, True), 1, 200_000.0)
    held = hotcue_press(deck, 48_000, 1)
    assert held.heard_at(49_000) == 201_000

    released = hotcue_release(held, 58_000, 1)
    assert released.playing
    assert released.heard_at(58_000) == 58_000


def test_a_hotcue_can_be_set_over_another():
    deck = hotcue_set(with_hotcue(loaded(), 2, 10.0).seek(0, 7_000.0), 5, 2)
    assert deck.hotcues[1] == 7_000
    assert hotcue_set(DeckState(), 5, 2) == DeckState()


def test_a_cleared_hotcue_can_be_set_again():
    deck = with_hotcue(with_hotcue(loaded(), 5, 10.0), 5, None)

    assert deck.hotcues == (None,) * 8
    assert hotcue_press(deck, 100, 5).hotcues[4] == 0.0


def test_loading_a_song_forgets_the_points_of_the_last_one():
    deck = with_cue(with_hotcue(loaded(), 5, 10.0), 7.0).play(0).load(100, "other", 1_000)

    assert deck == DeckState("other", 1_000, frame=100)
    assert deck.eject(200) == DeckState(frame=200)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda deck: hotcue_press(deck, 0, 0),
        lambda deck: hotcue_press(deck, 0, 9),
        lambda deck: hotcue_release(deck, 0, 9),
        lambda deck: with_hotcue(deck, True, 5.0),
        lambda deck: with_hotcue(deck, 1, -5.0),
        lambda deck: with_cue(deck, FRAMES + 1.0),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong(loaded())


def test_buttons_of_an_empty_deck_do_nothing():
    empty = DeckState()
    assert cue_press(empty, 10) == hotcue_press(empty, 10, 1) == empty.play(10) == empty
