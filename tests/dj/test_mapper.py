from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj import command as dj
from wsactors.dj.mapper import TOLERANCE, Mapper, Takeover
from wsactors.dj.mapping import ControllerMapping, load_mapping, parse_mapping
from wsactors.wire.midi import CENTRE, TOP_14, ControlChange, MidiMessage, Note, PitchBend

FOLDER = Path(__file__).parents[2] / "config" / "midi"
DEFAULT = load_mapping(FOLDER / "default.toml")
HEAD = 'name = "x"\n[decks]\na = 1\nb = 2\n'
seven = st.integers(0, 127)
messages = (
    st.builds(Note, st.integers(0, 15), seven, seven)
    | st.builds(ControlChange, st.integers(0, 15), seven, seven)
    | st.builds(PitchBend, st.integers(0, 15), st.integers(0, TOP_14))
)


def mapper_of(text: str, panel: float | None = None) -> Mapper:
    return Mapper(parse_mapping((HEAD + text).encode()), lambda _command: panel)


def default() -> Mapper:
    return Mapper(DEFAULT, lambda _command: None)


@pytest.mark.parametrize(
    ("message", "commands"),
    [
        (Note(0, 60, 127), (dj.Play("a"),)),
        (Note(1, 60, 0), (dj.Pause("b"),)),
        (Note(0, 61, 127), (dj.Cue("a", True),)),
        (Note(0, 61, 0), (dj.Cue("a", False),)),
        (Note(1, 64, 127), (dj.Hotcue("b", 3, True), dj.Hotcue("b", 3, False))),
        (Note(1, 64, 0), ()),
        (Note(0, 99, 127), ()),
        (Note(9, 60, 127), ()),
        (ControlChange(0, 1, 0), (dj.Pitch("a", -1.0),)),
        (ControlChange(0, 1, 64), (dj.Pitch("a", 0.0),)),
        (ControlChange(0, 1, 127), (dj.Pitch("a", 1.0),)),
        (ControlChange(1, 2, 127), (dj.Volume("b", 1.0),)),
        (ControlChange(1, 3, 0), (dj.Eq("b", "high", -1.0),)),
        (ControlChange(1, 4, 64), (dj.Eq("b", "mid", 0.0),)),
        (ControlChange(1, 5, 127), (dj.Eq("b", "low", 1.0),)),
        (ControlChange(0, 6, 0), (dj.MoveCrossfader(-1.0),)),
        (ControlChange(9, 6, 64), (dj.MoveCrossfader(0.0),)),
        (ControlChange(0, 7, 64), ()),
        (PitchBend(0, CENTRE), (dj.Jog("a", 0.0),)),
        (PitchBend(1, 0), (dj.Jog("b", -2.0),)),
    ],
)
def test_what_the_source_s_controls_mean(message: MidiMessage, commands: tuple[dj.Command, ...]) -> None:
    assert default().take(message) == commands


def test_the_protocol_s_deck_comes_before_the_channel_s() -> None:
    assert default().take(Note(0, 60, 127), "b") == (dj.Play("b"),)


@given(st.lists(messages, max_size=20), st.sampled_from(["default", "controller"]), st.none() | st.floats(-1, 1))
def test_whatever_a_controller_sends_becomes_commands_that_can_be_sent(
    sent: list[MidiMessage], name: str, panel: float | None
) -> None:
    mapper = Mapper(load_mapping(FOLDER / f"{name}.toml"), lambda _command: panel)
    for message in sent:
        for command in mapper.take(message):
            assert dj.from_map(dj.to_map(command)) == command


@given(st.integers(0, TOP_14), st.booleans())
def test_a_knob_of_14_bits_is_exact_in_either_order(value: int, low_first: bool) -> None:
    mapper = default()
    both = [ControlChange(0, 2, value >> 7), ControlChange(0, 34, value & 127)]
    *_, last = [mapper.take(half) for half in (both[::-1] if low_first else both)]
    assert last == (dj.Volume("a", value / TOP_14),)


def test_a_controller_32_above_a_knob_of_7_bits_is_another_knob() -> None:
    mapper = mapper_of('[[knob]]\ncontroller=2\ndoes="volume"\n[[knob]]\ncontroller=34\ndoes="sweep"\n')
    assert mapper.take(ControlChange(0, 34, 64)) == (dj.Sweep("a", 0.0),)
    assert mapper.take(ControlChange(0, 2, 127)) == (dj.Volume("a", 1.0),)


def test_a_held_platter_scratches_and_only_that_deck() -> None:
    mapper = default()
    assert mapper.take(Note(0, 66, 127)) == (dj.Scratch("a", 0.0),)
    assert mapper.take(PitchBend(0, TOP_14)) == (dj.Scratch("a", 2.0),)
    assert mapper.take(PitchBend(1, TOP_14)) == (dj.Jog("b", 2.0),)
    assert mapper.take(Note(0, 66, 0)) == (dj.Scratch("a", None),)
    assert mapper.take(PitchBend(0, CENTRE)) == (dj.Jog("a", 0.0),)


@pytest.mark.parametrize(("on", "command"), [(0.0, dj.Play("a")), (1.0, dj.Pause("a")), (None, dj.Play("a"))])
def test_a_button_that_only_says_that_it_was_pressed_toggles(on: float | None, command: dj.Command) -> None:
    mapper = mapper_of('[[button]]\nnote=1\ndoes="play"\n', on)
    assert mapper.take(Note(0, 1, 127)) == (command,)
    assert mapper.take(Note(0, 1, 0)) == ()


def test_switches_toggle_or_are_on_while_they_are_held() -> None:
    mapper = mapper_of(
        '[[button]]\nnote=1\ndoes="kill"\nband="low"\n[[button]]\nnote=2\ndoes="reverse"\nmode="hold"\n'
        '[[button]]\nnote=3\ndoes="nudge"\namount=-0.5\n[[button]]\nnote=4\ndoes="reverse_crossfader"\n',
        1.0,
    )
    assert mapper.take(Note(0, 1, 5)) == (dj.Kill("a", "low", False),)
    assert mapper.take(Note(0, 2, 5)) == (dj.Reverse("a", True),)
    assert mapper.take(Note(0, 2, 0)) == (dj.Reverse("a", False),)
    assert mapper.take(Note(0, 3, 5)) == (dj.Nudge("a", -0.5),)
    assert mapper.take(Note(0, 3, 0)) == (dj.Nudge("a", 0.0),)
    assert mapper.take(Note(9, 4, 5)) == (dj.ReverseCrossfader(False),)


def test_knobs_can_be_the_other_way_round_and_a_gain_is_even_in_decibels() -> None:
    mapper = mapper_of(
        '[[knob]]\ncontroller=1\ndoes="volume"\ninvert=true\n[[knob]]\ncontroller=2\ndoes="pitch"\ninvert=true\n'
        '[[knob]]\ncontroller=3\ndoes="gain"\n[[knob]]\ncontroller=4\ndoes="volume"\ndeck="b"\n'
    )
    assert mapper.take(ControlChange(0, 1, 0)) == (dj.Volume("a", 1.0),)
    assert mapper.take(ControlChange(0, 2, 0)) == (dj.Pitch("a", 1.0),)
    assert [mapper.take(ControlChange(0, 3, value)) for value in (0, 64, 127)] == [
        (dj.Gain("a", 0.25),), (dj.Gain("a", 1.0),), (dj.Gain("a", 4.0),)
    ]  # fmt: skip
    assert mapper.take(ControlChange(0, 4, 127)) == (dj.Volume("b", 1.0),)


# -- soft take-over ----------------------------------------------------------------------------------------------------


class Desk:
    """A volume fader on a screen, and one of metal."""

    def __init__(self, volume: float) -> None:
        self.volume = volume
        text = "takeover = true\n" + HEAD + '[[knob]]\ncontroller=1\ndoes="volume"\n'
        mapping: ControllerMapping = parse_mapping(text.encode())
        self._mapper = Mapper(mapping, lambda _command: self.volume)

    def turn(self, value: int) -> float:
        for command in self._mapper.take(ControlChange(0, 1, value)):
            assert isinstance(command, dj.Volume)
            self.volume = command.value
        return self.volume


def test_a_knob_takes_its_control_over_when_it_passes_it_and_not_before() -> None:
    desk = Desk(0.5)
    assert [desk.turn(value) for value in (10, 20, 50)] == [0.5, 0.5, 0.5]
    assert desk.turn(70) == 70 / 127
    assert desk.turn(0) == 0.0


def test_a_knob_that_meets_its_control_has_it() -> None:
    desk = Desk(0.5)
    assert desk.turn(64) == 64 / 127


def test_a_knob_loses_a_control_that_something_else_has_moved() -> None:
    desk = Desk(0.5)
    desk.turn(64)
    desk.volume = 1.0
    assert desk.turn(66) == 1.0
    assert desk.turn(120) == 1.0
    assert desk.turn(127) == 1.0
    assert desk.turn(100) == 100 / 127


def test_takeover_can_be_overruled() -> None:
    mapping = load_mapping(FOLDER / "controller.toml")
    assert Mapper(mapping, lambda _command: 1.0).take(ControlChange(0, 19, 3)) == ()
    assert Mapper(mapping, lambda _command: 1.0, takeover=False).take(ControlChange(0, 19, 127)) == (
        dj.Volume("a", 1.0),
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_a_control_moves_only_from_where_the_knob_is_or_over_where_it_was(places: list[float], start: float) -> None:
    takeover, current, before = Takeover(), start, None
    for place in places:
        moves = takeover.allows(("volume",), place, current, TOLERANCE)
        near = abs(place - current) <= TOLERANCE
        passed = before is not None and (min(before, place) - TOLERANCE <= current <= max(before, place) + TOLERANCE)
        assert moves or not near
        assert not moves or near or passed
        current = place if moves else current
        before = place
