"""Pitch, jog, scratch, reverse, slip and jumps by beats."""

from __future__ import annotations

import pytest

from tests.dj.deck_verbs import FRAMES, GRID, loaded
from wsactors.dj.deck import DeckState
from wsactors.dj.deck_motion import (
    beat_jump,
    bend,
    brake,
    nudge,
    release,
    reverse,
    scratch,
    slip,
    spin_up,
    with_pitch,
    with_pitch_range,
    with_sync,
)


def test_the_pitch_fader_reaches_as_far_as_its_range():
    deck = loaded()
    assert with_pitch(deck, 0, 1.0).rate == pytest.approx(1.08)
    wide = with_pitch_range(with_pitch(deck, 0, 0.5), 0.5)
    assert wide.rate == pytest.approx(1.04)
    assert with_pitch(wide, 0, -1.0).rate == pytest.approx(0.5)


def test_a_scratch_moves_the_platter_and_lets_it_go_on():
    deck = scratch(loaded().play(0), 48_000, -1.0)
    assert deck.speed_at(48_480) == -1.0
    place = deck.heard_at(60_000)

    free = release(deck, 60_000)
    assert free.heard_at(60_000) == place
    assert free.speed_at(60_960) == 1.0
    assert free.heard_at(70_960) - free.heard_at(60_960) == pytest.approx(10_000)


def test_a_hand_moves_a_paused_deck_too_and_leaves_it_standing():
    deck = release(scratch(loaded().seek(0, 50_000.0), 0, 2.0), 10_000)

    assert deck.still_from() == 10_960
    assert deck.heard_at(20_000) > 60_000


def test_with_slip_a_scratch_ends_where_the_song_would_be():
    deck = scratch(slip(loaded().play(0), 0, True), 48_000, -3.0)

    assert release(deck, 60_000).heard_at(60_000) == 60_000


def test_a_held_platter_stands_still():
    deck = scratch(loaded().play(0), 48_000, 0.0)

    assert deck.still_from() == 48_480
    assert deck.heard_at(48_480) == 48_000 + 240


def test_reverse_with_slip_is_a_censor():
    deck = reverse(slip(loaded().play(0), 0, True), 48_000, True)
    assert deck.heard_at(58_000) == 38_000

    assert reverse(deck, 58_000, False).heard_at(58_000) == 58_000
    plain = reverse(reverse(loaded().play(0), 48_000, True), 58_000, False)
    assert plain.heard_at(59_000) == 39_000


def test_switching_slip_off_comes_back():
    deck = slip(loaded().play(0), 0, True).seek(48_000, 100_000.0)
    assert deck.shadow == 100_000  # whoever seeks means it

    backwards = slip(reverse(deck, 50_000, True), 60_000, False)
    assert backwards.heard_at(60_000) == 112_000
    assert not backwards.reverse
    assert backwards.shadow is None


def test_with_slip_a_pause_lets_the_song_go_on():
    deck = slip(loaded().play(0), 0, True).pause(48_000)

    assert deck.heard_at(96_000) == 48_000
    assert deck.play(96_000).heard_at(96_000) == 96_000


def test_a_push_of_the_rim_lasts_as_long_as_it_is_held():
    deck = bend(loaded().play(0), 0, 0.1)
    assert deck.speed_at(5_000) == pytest.approx(1.1)
    assert bend(deck, 5_000, 0.0).speed_at(10_000) == 1.0
    assert bend(loaded(), 0, 0.1).cruise == 0


def test_a_nudge_of_a_paused_deck_moves_it():
    assert nudge(loaded().seek(0, 5_000.0), 10, 100.0).heard_at(11) == 5_100


def test_a_jump_by_beats_stays_inside_the_song():
    deck = loaded().play(0)

    assert beat_jump(deck, 48_000, 4).heard_at(48_000) == pytest.approx(48_000 + 4 * GRID.beat)
    assert beat_jump(deck, 48_000, -64).heard_at(48_000) == 0
    assert beat_jump(deck, 48_000, 500).heard_at(48_000) == FRAMES


def test_a_deck_can_be_told_to_follow():
    assert with_sync(loaded(), True).synced


@pytest.mark.parametrize(
    "wrong",
    [
        lambda deck: with_pitch(deck, 0, 1.01),
        lambda deck: with_pitch_range(deck, 0.1),
        lambda deck: brake(deck, 0, -1.0),
        lambda deck: spin_up(deck, 0, 31.0),
        lambda deck: scratch(deck, 0, 4.5),
        lambda deck: bend(deck, 0, 1.5),
        lambda deck: nudge(deck, 0, 48_000.0, 0.2),
        lambda deck: beat_jump(deck, 0, 1_000),
        lambda deck: beat_jump(DeckState().load(0, "x", 100), 0, 1),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong(loaded().play(0))


def test_an_empty_deck_cannot_be_moved():
    empty = DeckState()
    assert scratch(empty, 9, 1.0) == release(empty, 9) == spin_up(empty, 9) == brake(empty, 9) == nudge(empty, 9, 1.0)
