"""Where a deck plays is arithmetic on frozen values."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.state import BattleState, Crossfader, DeckState, from_wire, to_wire
from wsactors.dj.timeline import PACKET, frame_at, packet_from, time_of

frames = st.integers(0, 1 << 40)


def loaded(**changes: object) -> DeckState:
    return attrs.evolve(DeckState().load(0, "song", 48_000 * 60), **changes)  # type: ignore[arg-type]


@given(st.integers(0, 1 << 40))
def test_the_clock_and_the_timeline_agree_to_the_nanosecond(frame: int) -> None:
    assert frame_at(time_of(frame)) == frame
    assert frame_at(time_of(frame) - 1) == frame - 1


@given(st.integers(0, 1 << 40))
def test_packets_start_on_the_grid_everywhere(frame: int) -> None:
    start = packet_from(frame)
    assert start % PACKET == 0
    assert frame <= start < frame + PACKET


def test_play_pause_play_keeps_the_place() -> None:
    deck = loaded().play(1_000)
    assert deck.position_at(1_000) == 0
    assert deck.position_at(49_000) == 48_000
    paused = deck.pause(49_000)
    assert paused.position_at(10_000_000) == 48_000
    assert paused.play(10_000_000).position_at(10_000_480) == 48_480


def test_a_change_of_rate_does_not_move_the_head() -> None:
    deck = loaded().play(0).with_rate(48_000, 1.5)
    assert deck.position_at(48_000) == 48_000
    assert deck.position_at(96_000) == 48_000 + 72_000


def test_an_empty_deck_does_not_play() -> None:
    assert not DeckState().play(5).playing
    assert DeckState().ends_at() is None


def test_the_end_is_known_in_advance() -> None:
    assert loaded().play(1_000).ends_at() == 1_000 + 48_000 * 60
    assert loaded().play(1_000).with_rate(1_000, 2.0).ends_at() == 1_000 + 48_000 * 30
    assert loaded(loop=True).play(0).ends_at() is None
    assert loaded().ends_at() is None


def test_a_loop_is_folded_when_it_is_asked_for() -> None:
    deck = DeckState().load(0, "loop", 1_000, loop=True).play(0)
    assert deck.heard_at(12_345) == 345
    assert deck.pause(12_345).position == 345


@pytest.mark.parametrize(
    "change",
    [
        lambda deck: deck.seek(0, -1.0),
        lambda deck: deck.seek(0, 48_000 * 60 + 1.0),
        lambda deck: deck.seek(0, float("nan")),
        lambda deck: deck.with_rate(0, 4.1),
        lambda deck: deck.with_gain(-0.1),
        lambda deck: deck.with_gain(float("nan")),
        lambda deck: deck.with_gain(True),
    ],
)
def test_what_cannot_be_is_refused(change: object) -> None:
    with pytest.raises(ValueError, match="must be a number from"):
        change(loaded())  # type: ignore[operator]


def test_a_swinging_fader_rests_at_both_ends() -> None:
    fader = Crossfader(period=960_000, origin=5_000)
    places = [fader.at(5_000 + step * 9_600) for step in range(100)]
    assert places[0] == -1.0
    assert places[50] == 1.0
    assert sum(place in {-1.0, 1.0} for place in places) == pytest.approx(58, abs=6)
    assert max(abs(a - b) for a, b in pairwise(places)) < 0.12
    assert fader.at(5_000 + 960_000 * 77) == -1.0


def test_a_gliding_fader_gets_there_in_time_from_wherever_it_is() -> None:
    fader = Crossfader(-1.0).moved(1_000, 1.0, 480)
    assert [fader.at(frame) for frame in (0, 1_000, 1_240, 1_480, 9_999)] == [-1.0, -1.0, 0.0, 1.0, 1.0]
    back = fader.moved(1_240, -1.0, 240)
    assert [back.at(frame) for frame in (1_240, 1_360, 1_480)] == [0.0, -0.5, -1.0]
    assert fader.moved(1_240, 0.5).at(1_240) == 0.5
    assert fader.moved(5_000, 0.5).at(4_999) == 1.0  # not yet
    stopped = Crossfader(period=960_000, origin=0).moved(480_000, 0.0)
    assert stopped.at(480_000) == 0.0
    with pytest.raises(ValueError, match="position"):
        fader.moved(0, 1.5)


@given(
    song=st.none() | st.text(max_size=20),
    position=st.floats(0, 1e9),
    frame=frames,
    rate=st.floats(-4, 4),
    loop=st.booleans(),
    swing=st.booleans(),
)
def test_a_state_survives_the_wire(
    song: str | None, position: float, frame: int, rate: float, loop: bool, swing: bool
) -> None:
    deck = DeckState(song, 1 << 30, True, position, frame, rate, 0.5, loop)
    fader = Crossfader(period=960_000, origin=frame) if swing else Crossfader(-0.25)
    state = BattleState(deck, DeckState(), fader, 0.8)
    assert from_wire(to_wire(state)) == state


@pytest.mark.parametrize(
    "value",
    [None, 3, [], [1, 2, 3, 4], "abcd", [[], [], [], 1.0], [[None] * 8, [None] * 8, [0.0, 0, 0, 0.0, 0], 1.0]],
)
def test_what_is_no_state_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        from_wire(value)


def test_hostile_numbers_are_refused() -> None:
    good = to_wire(BattleState())
    for place, bad in (((0, 5), float("nan")), ((0, 4), 1.5), ((0, 2), 1), ((1, 0), 7), ((2, 1), -1), ((2, 0), 2.0)):
        value = [list(part) if isinstance(part, list) else part for part in good]
        value[place[0]][place[1]] = bad  # type: ignore[index]
        with pytest.raises(ValueError):
            from_wire(value)
