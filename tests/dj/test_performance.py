from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.commands import commands
from wsactors.dj import command as dj
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.mapper import Mapper
from wsactors.dj.mapping import load_mapping
from wsactors.dj.performance import LoadedSong, Performance, panel
from wsactors.dj.stamp import Fairness, place
from wsactors.dj.state import BattleState, from_wire, to_wire
from wsactors.wire.midi import ControlChange, Note

GRID = Beatgrid.of(125.0)
SONG = LoadedSong(48_000 * 180, GRID, trim=0.7)
FOLDER = Path(__file__).parents[2] / "config" / "midi"


def loaded(*, playing: bool = True) -> Performance:
    performance = Performance(BattleState())
    for deck in dj.DECKS:
        performance.perform(dj.Load(deck, "song"), 0, song=SONG)
        if playing:
            performance.perform(dj.Play(deck), 0)
    return performance


def perform(performance: Performance, command: dj.Command, frame: int) -> bool:
    before = performance.state
    try:
        performance.perform(command, frame, song=SONG)
    except ValueError:
        assert performance.state is before
        return False
    return True


@pytest.mark.parametrize("kind", sorted(dj.COMMANDS))
def test_every_command_there_is_can_be_performed_or_is_refused_in_words(kind: str) -> None:
    values: dict[str, Any] = {
        "deck": "a", "song": "x", "number": 1, "pressed": True, "on": True, "position": 0.5, "beats": 1.0, "seconds": 1.0,
        "percent": 16, "speed": 0.5, "amount": 0.5, "by": "halve", "value": 0.5, "band": "low", "curve": "sharp",
        "effect": "echo", "parameter": "wet", "effects": dj.EFFECTS[::-1],
    }  # fmt: skip
    cls = dj.COMMANDS[kind]
    command = cls(**{field.name: values[field.name] for field in attrs.fields(cls)})
    for performance in (loaded(), loaded(playing=False), Performance(BattleState())):
        perform(performance, command, 96_000)
        assert from_wire(to_wire(performance.state)) == performance.state
        panel(performance.state, command, 96_000)


said = st.lists(st.tuples(commands, st.integers(0, 48_000)), max_size=25)


@given(said)
def test_whatever_djs_do_the_truth_is_one_that_can_be_sent_and_comes_out_the_same_again(
    script: list[tuple[dj.Command, int]],
) -> None:
    first, again, frame = loaded(), loaded(), 0
    for command, pause in script:
        frame += pause
        if perform(first, command, frame):
            perform(again, command, frame)
        assert from_wire(to_wire(first.state)) == first.state
    assert again.state == first.state


@given(st.lists(st.tuples(commands, st.integers(1, 40_000)), max_size=20))
def test_one_script_gives_the_same_mix_over_20_and_200_milliseconds(script: list[tuple[dj.Command, int]]) -> None:
    ends = []
    for milliseconds in (20, 200):
        performance, heard, last = loaded(), 0, 0
        for command, pause in script:
            heard += pause
            arrived = heard + milliseconds * 48 + 2_400
            last = place(heard, arrived, milliseconds * 48, Fairness(), last).frame
            perform(performance, command, last)
        ends.append(performance.state)
    assert ends[0] == ends[1]


def test_a_song_comes_with_its_beats_and_its_loudness_or_is_not_loaded() -> None:
    performance = Performance(BattleState())
    with pytest.raises(ValueError, match="not ready"):
        performance.perform(dj.Load("a", "song"), 0)
    state = performance.perform(dj.Load("a", "song"), 0, song=SONG)
    assert (state.a.song, state.a.grid, state.strip_a.trim) == ("song", GRID, 0.7)
    assert state.b.song is None


def test_commands_meet_one_deck_its_strip_or_the_mix() -> None:
    performance = loaded()
    before = performance.state
    state = performance.perform(dj.Eq("b", "low", -1.0), 100)
    assert state == attrs.evolve(before, strip_b=before.strip_b.with_band("low", -1.0))
    state = performance.perform(dj.MoveCrossfader(0.5), 100)
    assert (state.crossfader.at(99), state.crossfader.at(100)) == (0.0, 0.5)
    state = performance.perform(dj.Gain("a", 2.0), 100)
    assert (state.a.gain, state.b.gain) == (2.0, 1.0)
    state = performance.perform(dj.Pause("a"), 48_000)
    assert (state.a.playing, state.a.heard_at(96_000), state.b.playing) == (False, 48_000.0, True)


def test_headphones_are_those_of_who_turned_the_knob() -> None:
    state = loaded().perform(dj.CueMix(0.8), 0, decks=("b",))
    assert (state.phones_a.mix, state.phones_b.mix) == (0.0, 0.8)


def test_a_wheel_pushes_a_deck_that_plays_and_moves_one_that_stands() -> None:
    playing, standing = loaded(), loaded(playing=False)
    assert playing.perform(dj.Jog("a", 1.0), 4_800).a.bend == 0.25
    assert playing.perform(dj.Jog("a", 0.0), 9_600).a.bend == 0.0
    assert standing.perform(dj.Jog("a", 1.0), 4_800).a.touch == 1.0
    stopped = standing.perform(dj.Jog("a", 0.0), 9_600).a
    assert stopped.touch is None
    assert stopped.heard_at(20_000) > 4_000


def test_only_one_deck_follows_the_other_and_on_its_beat() -> None:
    performance = loaded()
    performance.perform(dj.Pitch("a", 0.5), 48_000)
    state = performance.perform(dj.Sync("b", True), 50_000)
    assert state.b.rate == state.a.rate == 1.04
    for second in range(2, 8):
        state = performance.settle(second * 48_000)
    beats = [GRID.beat_at(deck.heard_at(480_000)) for deck in (state.a, state.b)]
    assert abs((beats[0] - beats[1] + 0.5) % 1 - 0.5) * GRID.beat < 48
    state = performance.perform(dj.Sync("a", True), 500_000)
    assert (state.a.synced, state.b.synced) == (True, False)
    assert not performance.perform(dj.Lead("a"), 500_000).a.synced


def test_effects_keep_the_time_of_the_deck_that_leads() -> None:
    performance = loaded()
    assert performance.state.bus.beat == pytest.approx(GRID.beat)
    performance.perform(dj.Pitch("a", 1.0), 0)
    assert performance.state.bus.beat == pytest.approx(GRID.beat / 1.08)
    performance.perform(dj.Pause("a"), 0)
    assert performance.state.bus.beat == pytest.approx(GRID.beat)


def test_beats_can_be_tapped_and_a_pause_begins_anew() -> None:
    performance = loaded()
    for tap in (3_000, 9_000, 400_000, 424_000, 448_000, 472_000):
        performance.perform(dj.TapGrid("a"), tap)
    state = performance.state
    assert state.a.grid is not None
    assert state.a.grid.bpm() == pytest.approx(120.0)
    assert abs((state.a.grid.beat_at(400_000.0) + 0.5) % 1 - 0.5) < 1e-6
    assert state.b.grid == GRID
    with pytest.raises(ValueError, match="while the song plays"):
        loaded(playing=False).perform(dj.TapGrid("a"), 0)


def test_what_a_controller_takes_over_is_what_the_truth_says() -> None:
    performance = loaded()
    mapping = load_mapping(FOLDER / "controller.toml")
    mapper = Mapper(mapping, lambda command: panel(performance.state, command, 0))
    assert mapper.take(ControlChange(0, 19, 20)) == ()
    assert mapper.take(ControlChange(0, 19, 127)) == (dj.Volume("a", 1.0),)
    for on in (True, False):
        (command,) = mapper.take(Note(0, 26, 127))
        assert command == dj.Keylock("a", on)
        performance.perform(command, 0)
    assert mapper.take(Note(0, 11, 127)) == (dj.Pause("a"),)


@given(commands.filter(lambda command: hasattr(command, "value") or hasattr(command, "on")))
def test_the_panel_shows_what_was_commanded(command: Any) -> None:
    performance = loaded()
    performance.perform(command, 480, song=SONG)
    shown = panel(performance.state, command, 480)
    if shown is not None:
        assert shown == pytest.approx(float(getattr(command, "value", getattr(command, "on", 0.0))))
