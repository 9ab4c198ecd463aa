from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj import mapping
from wsactors.dj.command import COMMANDS
from wsactors.dj.mapping import Control, MappingError, load_mapping, parse_mapping

FOLDER = Path(__file__).parents[2] / "config" / "midi"
DEFAULT = (FOLDER / "default.toml").read_text()
HEAD = 'name = "x"\n[decks]\na = 1\nb = 2\n'


def test_the_default_is_the_mapping_of_the_source() -> None:
    found = load_mapping(FOLDER / "default.toml")
    notes = {60: "play", 61: "cue", 62: "hotcue", 63: "hotcue", 64: "hotcue", 65: "hotcue", 66: "touch"}
    assert {number: each.does for (kind, _, number), each in found.controls.items() if kind == "button"} == notes
    assert [dict(found.controls["button", None, note].values) for note in range(62, 66)] == [
        {"number": 1}, {"number": 2}, {"number": 3}, {"number": 4}
    ]  # fmt: skip
    knobs = {number: each for (kind, _, number), each in found.controls.items() if kind == "knob"}
    assert [(number, each.does, dict(each.values).get("band")) for number, each in sorted(knobs.items())] == [
        (1, "pitch", None), (2, "volume", None), (3, "eq", "high"), (4, "eq", "mid"), (5, "eq", "low"), (6, "crossfader", None)
    ]  # fmt: skip
    assert all(each.bits == 14 for each in knobs.values())
    wheel = found.find("wheel", 0)
    assert wheel is not None
    assert wheel.does == "jog"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_every_mapping_that_is_shipped_can_be_read(path: Path) -> None:
    assert load_mapping(path).controls


def test_everything_that_a_control_can_do_is_a_command_and_nearly_every_command_can_be_done() -> None:
    done = mapping.SWITCHES | mapping.HELD | mapping.PRESSED | mapping.KNOBS
    assert done <= COMMANDS.keys()
    assert COMMANDS.keys() - done == {"nudge", "jog", "scratch", "load", "seek", "order_effects"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[[button]]\nnote = 60\n", 5, "button.does: missing"),
        ('[[button]]\nnote = 60\ndoes = "dance"\n', 7, "button.does: expected one of"),
        ('[[button]]\nnote = 128\ndoes = "play"\n', 6, "button.note: expected an integer from 0 to 127"),
        ('[[button]]\nnote = 1\ndoes = "hotcue"\n', 5, "button.number: missing"),
        ('[[button]]\nnote = 1\ndoes = "hotcue"\nnumber = 9\n', 8, "button.number: expected an integer from 1 to 8"),
        ('[[button]]\nnote = 1\ndoes = "play"\nnumber = 9\n', 8, "button.'number': no such key"),
        ('[[button]]\nnote = 1\ndoes = "loop_in"\nmode = "toggle"\n', 8, "button.mode: loop_in cannot be toggle"),
        ('[[button]]\nnote = 1\ndoes = "play"\nmode = "click"\n', 8, "button.mode: play cannot be click"),
        ('[[button]]\nnote = 1\ndoes = "cue"\n[[button]]\nnote = 1\ndoes = "play"\n', 9, "button: one before has"),
        ('[[button]]\nnote = 1\ndoes = "cue"\nchannel = 17\n', 8, "button.channel: expected an integer from 1 to 16"),
        ('[[button]]\nnote = 1\ndoes = "cue"\ndeck = "C"\n', 8, "button.deck: expected one of a, b"),
        ('[[knob]]\ncontroller = 1\ndoes = "eq"\nband = "treble"\n', 8, "knob.band: expected one of low, mid, high"),
        ('[[knob]]\ncontroller = 40\ndoes = "volume"\nbits = 14\n', 8, "knob.bits: only controllers 0 to 31"),
        ('[[knob]]\ncontroller = 4\ndoes = "volume"\nbits = 8\n', 8, "knob.bits: expected 7 or 14"),
        ('[[knob]]\ncontroller=4\ndoes="volume"\nbits=14\n[[knob]]\ncontroller=36\ndoes="pitch"\n', 10, "36 has the low bits"),
        ('[[wheel]]\ndoes = "jog"\nspeed = 9\n', 7, "wheel.speed: expected a number from 0.1 to 4"),
        ("button = 3\n", 1, "decks.'button': no such key"),
    ],
)  # fmt: skip
def test_a_fault_names_its_line_and_field(text: str, line: int, words: str) -> None:
    with pytest.raises(MappingError) as raised:
        parse_mapping((HEAD + text).encode())
    assert any(words in fault for fault in raised.value.faults)
    if line > 1:
        assert any(fault.startswith(f"line {line}: ") and words in fault for fault in raised.value.faults)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = 'name = 3\nfoo = 1\n[decks]\na = 1\nb = 1\n[[button]]\nnote = 1\ndoes = "hotcue"\n[[wheel]]\n'
    with pytest.raises(MappingError, match="is no mapping") as raised:
        parse_mapping(text.encode(), "mine.toml")
    assert [fault.split(": ")[0] for fault in raised.value.faults] == ["line 1", "line 2", "line 5", "line 6", "line 9"]
    assert "mine.toml" in str(raised.value)


def test_a_file_of_nothing_but_faults_is_told_of_some() -> None:
    with pytest.raises(MappingError, match="and 80 more") as raised:
        parse_mapping((HEAD + "[[wheel]]\n" + "".join(f"x{number} = 1\n" for number in range(99))).encode())
    assert len(raised.value.faults) == mapping.MAX_FAULTS


@pytest.mark.parametrize(
    "data",
    [b"name = ", b"\xff", b"x" * 70_000, b"", b"button = [1]", b"[button]", b"a = " + b"[" * 5_000 + b"]" * 5_000],
    ids=["cut", "not utf-8", "long", "empty", "numbers", "table", "deep"],
)
def test_what_is_no_mapping_is_refused(data: bytes) -> None:
    with pytest.raises(MappingError):
        parse_mapping(data)


def test_a_controller_has_a_bounded_number_of_controls() -> None:
    many = "".join(
        f'[[button]]\nnote={n % 128}\nchannel={n // 128 + 1}\ndoes="cue"\n' for n in range(mapping.MAX_CONTROLS)
    )
    assert len(parse_mapping((HEAD + many).encode()).controls) == mapping.MAX_CONTROLS
    with pytest.raises(MappingError, match="at most 512"):
        parse_mapping((HEAD + many + '[[wheel]]\ndoes="jog"\n').encode())


values = st.sampled_from(
    ["1", "60", "-1", "1.5", "nan", "inf", "true", '""', '"a"', '"cue"', '"eq"', '"low"', '"click"', "[]", "[1]", "{}", "{x=1}",
     "1979-05-27", "07:32:00", '"\\u001b[31m"', "9" * 30, "14"]
)  # fmt: skip
keys = st.sampled_from(
    ["name", "takeover", "a", "b", "note", "controller", "does", "mode", "bits", "band", "number", "x", "channel"]
)
headers = st.sampled_from(
    ["[decks]", "[[button]]", "[[knob]]", "[[wheel]]", "[button]", "[[decks]]", "[[x]]", "[name]"]
)
lines = headers | st.builds("{} = {}".format, keys, values)


@given(st.lists(lines, max_size=25).map("\n".join) | st.text(max_size=60))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    with suppress(MappingError):
        parse_mapping(text.encode("utf-8", "surrogatepass"))


@given(st.data())
def test_the_default_with_a_line_changed_is_a_mapping_or_refused(data: st.DataObject) -> None:
    text = DEFAULT.splitlines()
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(lines)
    with suppress(MappingError):
        parse_mapping("\n".join(text).encode())


def test_a_control_of_one_channel_comes_before_one_of_any() -> None:
    text = HEAD + '[[button]]\nnote=1\ndoes="cue"\n[[button]]\nnote=1\nchannel=7\ndoes="play"\n'
    found = parse_mapping(text.encode())
    assert found.find("button", 0, 1) == Control("button", "cue", (), 1)
    other = found.find("button", 6, 1)
    assert other is not None
    assert (other.does, other.mode) == ("play", "toggle")
    assert found.find("button", 0, 2) is None
    assert (found.channel_of("a"), found.channel_of("b")) == (0, 1)
