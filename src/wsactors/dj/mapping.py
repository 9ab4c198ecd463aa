"""What a controller's buttons, knobs and wheels do, read from a TOML file that anybody can write.

The file has a ``name``, ``takeover`` (whether a knob waits until it is where its control is), the MIDI channels of the two
decks in ``[decks]``, and any number of ``[[button]]``, ``[[knob]]`` and ``[[wheel]]``. Each says what it ``does``: the name
of a command (`wsactors.dj.command`), whose other fields stand beside it. ``docs/midi.md`` has every key. A file that is wrong
in several places is told all of them, each with its line and field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from wsactors.wire.errors import ProtocolError
from wsactors.wire.midi import WIDE
from wsactors.wire.native_schema import Check, boolean, integer, one_of, text

from .command import COMMANDS, DeckCommand
from .command_fields import real

MAX_FILE: Final = 64 * 1024
"""Bytes of a mapping file."""
MAX_CONTROLS: Final = 512
"""Buttons, knobs and wheels of a controller."""
MAX_FAULTS: Final = 20
"""Faults of one file that are told."""
SWITCHES: Final = frozenset(
    {"slip", "reverse", "keylock", "quantize", "sync", "pfl", "kill", "switch_effect", "reverse_crossfader", "play"}
)
"""What is on or off."""
HELD: Final = frozenset({"cue", "hotcue", "loop_roll"})
"""What goes down, and up again."""
PRESSED: Final = frozenset({
    "pause", "eject", "set_hotcue", "clear_hotcue", "beat_jump", "loop_in", "loop_out", "loop_beats", "halve_loop",
    "double_loop", "exit_loop", "reloop", "brake", "spin_up", "pitch_range", "lead", "scale_grid", "shift_grid",
    "downbeat", "tap_grid", "crossfader_curve",
})  # fmt: skip
"""What happens at a press."""
KNOBS: Final = frozenset(
    {"pitch", "volume", "gain", "eq", "sweep", "crossfader", "master_volume", "cue_mix", "cue_volume", "tune_effect"}
)
TOUCH: Final = "touch"
"""While it is held, the deck's wheel scratches."""
_MODES: Final = {"toggle": SWITCHES, "hold": SWITCHES | HELD | {"nudge", TOUCH}, "click": HELD}
_Place: TypeAlias = tuple[str, int | None, int]
_MOVING: Final = {"deck", "on", "pressed"}


class MappingError(ValueError):
    """A mapping file is wrong. ``faults`` has every fault found, each with its line and field."""

    def __init__(self, name: str, faults: list[str]) -> None:
        self.faults = tuple(faults[:MAX_FAULTS])
        more = f"\n  and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        super().__init__(f"{name} is no mapping:" + "".join(f"\n  {fault}" for fault in self.faults) + more)


@attrs.frozen
class Control:
    """A button, a knob or a wheel."""

    kind: str
    """``"button"``, ``"knob"`` or ``"wheel"``."""
    does: str
    values: tuple[tuple[str, Any], ...] = ()
    """The fields of its command that do not move with it."""
    number: int = 0
    """The note or controller."""
    channel: int | None = None
    """0 to 15; None: those of the decks."""
    deck: str | None = None
    """None: that of the channel."""
    mode: str = "hold"
    bits: int = 7
    invert: bool = False
    speed: float = 2.0
    """Of a wheel at its end; 1 is that of a record that plays."""


@attrs.frozen
class ControllerMapping:
    """All that is known of a controller."""

    name: str
    takeover: bool
    channels: Mapping[int, str] = attrs.field(eq=False)
    """Deck by channel."""
    controls: Mapping[tuple[str, int | None, int], Control] = attrs.field(eq=False)
    """By kind, channel and number."""

    def find(self, kind: str, channel: int, number: int = 0) -> Control | None:
        """The control that a message is from: one of just this channel, or else one of any."""
        return self.controls.get((kind, channel, number)) or self.controls.get((kind, None, number))

    def channel_of(self, deck: str) -> int:
        """The channel of a deck."""
        return next(channel for channel, each in self.channels.items() if each == deck)


def load_mapping(path: Path) -> ControllerMapping:
    """The mapping in a file. Raises `MappingError`, and `OSError` when it cannot be read."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    return parse_mapping(data, path.name)


def parse_mapping(data: bytes, name: str = "mapping") -> ControllerMapping:
    """The mapping in a file's bytes. Raises `MappingError`, nothing else, whatever they are."""
    if len(data) > MAX_FILE:
        raise MappingError(name, [f"at most {MAX_FILE} bytes are read"])
    try:
        source = data.decode()
        body = tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise MappingError(name, [f"not TOML: {error}"]) from None
    return _Parser(source).parse(name, body)


_HEADER: Final = re.compile(r"\s*\[{1,2}\s*(\w+)\s*\]")
_KEY: Final = re.compile(r"\s*(\w+)\s*=")


def _lines(source: str) -> dict[tuple[str, int, str], int]:
    """The line of each key of each table, and (as key ``""``) of the table itself; tables of one name are counted."""
    found: dict[tuple[str, int, str], int] = {}
    counts: dict[str, int] = {}
    table, index = "", 0
    for number, line in enumerate(source.splitlines(), 1):
        if header := _HEADER.match(line):
            table = header[1]
            index = counts[table] = counts.get(table, -1) + 1
            found[table, index, ""] = number
        elif key := _KEY.match(line):
            found.setdefault((table, index, key[1]), number)
    return found


_CHANNEL: Final = integer(1, 16)
_DECK: Final = one_of("a", "b")
_COMMON: Final[Mapping[str, Check]] = {"channel": _CHANNEL, "deck": _DECK}
_SEVEN: Final = integer(0, 127)


def _bits(value: Any, path: str) -> int:
    if type(value) is not int or value not in {7, 14}:
        raise ProtocolError(f"{path}: expected 7 or 14")
    return value


_OWN: Final[Mapping[str, Mapping[str, Check]]] = {
    "button": {
        "note": _SEVEN,
        "does": one_of(*sorted(SWITCHES | HELD | PRESSED | {"nudge", TOUCH})),
        "mode": one_of(*_MODES),
    },
    "knob": {"controller": _SEVEN, "does": one_of(*sorted(KNOBS)), "bits": _bits, "invert": boolean},
    "wheel": {"does": one_of("jog"), "speed": real(0.1, 4.0), "invert": boolean},
}
_NUMBER: Final = {"button": "note", "knob": "controller"}


class _Parser:
    """Collects faults, so that one reading tells all of them."""

    def __init__(self, source: str) -> None:
        self._at = _lines(source)
        self._faults: list[tuple[int, str]] = []

    def parse(self, name: str, body: dict[str, Any]) -> ControllerMapping:
        self._refuse_unknown(body, {"name", "takeover", "decks", *_OWN}, "", 0)
        title = self._checked(body, "name", text(80, empty=False), "", 0)
        takeover = self._checked(body, "takeover", boolean, "", 0, False)
        channels = self._channels(body.get("decks"))
        controls = self._controls(body)
        if self._faults:
            raise MappingError(name, [f"line {line}: {words}" for line, words in sorted(self._faults)])
        return ControllerMapping(title, takeover, channels, controls)

    # -- faults --

    def _fault(self, table: str, index: int, field: str, words: str) -> None:
        line = self._at.get((table, index, field)) or self._at.get((table, index, ""), 1)
        self._faults.append((line, words))

    def _refuse_unknown(self, body: dict[str, Any], known: set[str], table: str, index: int) -> None:
        for key in body.keys() - known:
            path = f"{table}.{key[:40]!r}" if table else repr(key[:40])
            self._fault(table, index, key, f"{path}: no such key; there are {', '.join(sorted(known))}")

    def _checked(
        self, body: dict[str, Any], field: str, check: Check, table: str, index: int, default: Any = attrs.NOTHING
    ) -> Any:
        path = f"{table}.{field}" if table else field
        if field not in body:
            if default is attrs.NOTHING:
                self._fault(table, index, field, f"{path}: missing")
            return None if default is attrs.NOTHING else default
        try:
            return check(body[field], path)
        except ProtocolError as error:
            self._fault(table, index, field, str(error))
            return None

    # -- parts --

    def _channels(self, decks: object) -> dict[int, str]:
        if not isinstance(decks, dict):
            self._fault("decks", 0, "", "decks: expected a table with the MIDI channels of a and b")
            return {}
        self._refuse_unknown(decks, {"a", "b"}, "decks", 0)
        found: dict[int, str] = {}
        for deck in ("a", "b"):
            channel = self._checked(decks, deck, _CHANNEL, "decks", 0)
            if channel is not None and channel - 1 in found:
                self._fault("decks", 0, deck, f"decks.{deck}: expected another channel than that of deck a")
            elif channel is not None:
                found[channel - 1] = deck
        return found

    def _controls(self, body: dict[str, Any]) -> dict[_Place, Control]:
        found: dict[_Place, Control] = {}
        for kind in _OWN:
            tables = body.get(kind, [])
            if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
                self._fault("", 0, kind, f"{kind}: expected tables, each headed [[{kind}]]")
            elif len(tables) + len(found) > MAX_CONTROLS:
                self._fault(kind, 0, "", f"{kind}: at most {MAX_CONTROLS} controls")
            else:
                for index, table in enumerate(tables):
                    control = self._control(kind, index, table)
                    place = (kind, control.channel, control.number)
                    if place in found:
                        self._fault(
                            kind, index, _NUMBER.get(kind, ""), f"{kind}: one before has this channel and number"
                        )
                    found[place] = control
                self._check_halves(tables, found)
        return found

    def _check_halves(self, tables: list[dict[str, Any]], found: dict[_Place, Control]) -> None:
        halves = {number + 32 for (_, _, number), control in found.items() if control.bits == 14}
        for index, table in enumerate(tables):
            number = table.get("controller")
            if type(number) is int and number in halves:
                words = f"knob.controller: {number} has the low bits of {number - 32}, and can be no knob of its own"
                self._fault("knob", index, "controller", words)

    def _control(self, kind: str, index: int, table: dict[str, Any]) -> Control:
        own = _OWN[kind]
        does = self._checked(table, "does", own["does"], kind, index)
        values = _values(does, kind)
        self._refuse_unknown(table, {*own, *_COMMON, *values}, kind, index)

        def read(field: str, check: Check, default: Any) -> Any:
            return self._checked(table, field, check, kind, index, default)

        number = read(_NUMBER[kind], own[_NUMBER[kind]], attrs.NOTHING) if kind in _NUMBER else 0
        channel = read("channel", _CHANNEL, None)
        rest = {
            field: read(field, own[field], default)
            for field, default in (("bits", 7), ("invert", False), ("speed", 2.0))
            if field in own
        }
        if "mode" in own:
            rest["mode"] = read("mode", own["mode"], "toggle" if does in SWITCHES else "hold")
            if does is not None and "mode" in table and does not in _MODES.get(rest["mode"], {does}):
                self._fault(kind, index, "mode", f"{kind}.mode: {does} cannot be {rest['mode']}")
        if rest.get("bits") == 14 and number is not None and number not in WIDE:
            self._fault(kind, index, "bits", "knob.bits: only controllers 0 to 31 have low bits, at 32 more")
        fixed = tuple((field, read(field, *values[field])) for field in values)
        deck = read("deck", _DECK, None)
        return Control(kind, does or "", fixed, number or 0, None if channel is None else channel - 1, deck, **rest)


def _values(does: str | None, kind: str) -> dict[str, tuple[Check, Any]]:
    """The fields of the command that stand beside ``does``: each with its check and its default."""
    if does is None or does not in COMMANDS or kind == "wheel":
        return {}
    moving = _MOVING | ({"value", "position"} if kind == "knob" else set())
    return {
        field.name: (field.metadata["check"], field.default)
        for field in attrs.fields(COMMANDS[does])
        if field.name not in moving
    }


def is_of_a_deck(does: str) -> bool:
    """Whether what a control does is done to one deck."""
    return does == TOUCH or issubclass(COMMANDS[does], DeckCommand)
