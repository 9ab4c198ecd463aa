"""What a DJ can say: a closed set of commands, plain values, the same for every protocol and in the log.

Commands state what shall be, not what shall be different ("play", not "toggle"), so that a repeated one does no harm and a
log can be read from the middle. Knobs and faders have the numbers of what is printed beside them, at full resolution:
0 to 1, or -1 to 1 with a detent at 0. What a command does to a deck or the mixer is those modules' business.

On the wire a command is a msgpack map with its kind under ``t`` and its fields beside it. In a native `Act` and in JSON
it is the same map. Who decodes one gets it whole and checked, or a `ProtocolError` that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, get_args

from wsactors.wire.errors import ProtocolError
from wsactors.wire.native_schema import body_of, build, pack, unpack
from wsactors.wire.plain import Plain

from .command_deck import (
    BeatJump,
    Brake,
    ClearHotcue,
    Cue,
    DoubleLoop,
    Downbeat,
    Eject,
    ExitLoop,
    HalveLoop,
    Hotcue,
    Jog,
    Keylock,
    Lead,
    Load,
    LoopBeats,
    LoopIn,
    LoopOut,
    LoopRoll,
    Nudge,
    Pause,
    Pitch,
    PitchRange,
    Play,
    Quantize,
    Reloop,
    Reverse,
    ScaleGrid,
    Scratch,
    Seek,
    SetHotcue,
    ShiftGrid,
    Slip,
    SpinUp,
    Sync,
    TapGrid,
)
from .command_fields import (
    BANDS,
    CURVES,
    DECKS,
    EFFECTS,
    GRID_FACTORS,
    PARAMETERS,
    PITCH_PERCENTS,
    DeckCommand,
    MixCommand,
    PrivateCommand,
)
from .command_mix import (
    CrossfaderCurve,
    CueMix,
    CueVolume,
    Eq,
    Gain,
    Kill,
    MasterVolume,
    MoveCrossfader,
    OrderEffects,
    Pfl,
    ReverseCrossfader,
    Sweep,
    SwitchEffect,
    TuneEffect,
    Volume,
)

__all__ = [
    "BANDS", "COMMANDS", "CURVES", "DECKS", "EFFECTS", "GRID_FACTORS", "MAX_COMMAND_BYTES", "PARAMETERS",
    "PITCH_PERCENTS", "BeatJump", "Brake", "ClearHotcue", "Command", "CrossfaderCurve", "Cue", "CueMix",
    "CueVolume", "DeckCommand", "DoubleLoop", "Downbeat", "Eject", "Eq", "ExitLoop", "Gain", "HalveLoop",
    "Hotcue", "Jog", "Keylock", "Kill", "Lead", "Load", "LoopBeats", "LoopIn", "LoopOut", "LoopRoll",
    "MasterVolume", "MixCommand", "MoveCrossfader", "Nudge", "OrderEffects", "Pause", "Pfl", "Pitch",
    "PitchRange", "Play", "PrivateCommand", "Quantize", "Reloop", "Reverse", "ReverseCrossfader", "ScaleGrid",
    "Scratch", "Seek", "SetHotcue", "ShiftGrid", "Slip", "SpinUp", "Sweep", "SwitchEffect", "Sync", "TapGrid",
    "TuneEffect", "Volume", "from_map", "pack_command", "to_map", "unpack_command",
]  # fmt: skip

MAX_COMMAND_BYTES: Final = 1024
"""Largest command on the wire."""

Command: TypeAlias = (
    Load | Eject | Play | Pause | Cue | Hotcue | SetHotcue | ClearHotcue | Seek | BeatJump | LoopIn | LoopOut
    | LoopBeats | LoopRoll | HalveLoop | DoubleLoop | ExitLoop | Reloop | Slip | Reverse | Brake | SpinUp | Pitch
    | PitchRange | Keylock | Quantize | Jog | Scratch | Nudge | Sync | Lead | ScaleGrid | ShiftGrid | Downbeat
    | TapGrid | Gain | Volume | Eq | Kill | Sweep | Pfl | MoveCrossfader | CrossfaderCurve | ReverseCrossfader
    | MasterVolume | SwitchEffect | TuneEffect | OrderEffects | CueMix | CueVolume
)  # fmt: skip
COMMANDS: Final[Mapping[str, type[Command]]] = {each.KIND: each for each in get_args(Command)}
"""Every kind of command, by its name on the wire."""
_VERSION: Final = 1


def to_map(command: Command) -> dict[str, Plain]:
    """The map that a command is in JSON, in a native `Act` and on the wire.

    Raises:
        ProtocolError: A field is out of its bounds; here the caller is at fault.

    Example:
        >>> to_map(Hotcue("a", 3))
        {'t': 'hotcue', 'deck': 'a', 'number': 3, 'pressed': True}
    """
    return body_of(command, _VERSION)


def from_map(value: object) -> Command:
    """The command in a map. Raises `ProtocolError`, nothing else, whatever it is."""
    if not isinstance(value, dict):
        raise ProtocolError("command: expected a map")
    fields: dict[Any, Any] = dict(value)
    kind = fields.pop("t", None)
    cls = COMMANDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ProtocolError("command.t: expected the name of a command")
    command: Command = build(cls, fields, cls.KIND, _VERSION)
    return command


def pack_command(command: Command) -> bytes:
    """The msgpack bytes of a command. Raises `ProtocolError` when a field is out of its bounds."""
    return pack(to_map(command))


def unpack_command(data: bytes) -> Command:
    """The command in ``data``. Raises `ProtocolError`, nothing else, whatever the bytes are."""
    if len(data) > MAX_COMMAND_BYTES:
        raise ProtocolError(f"a command has at most {MAX_COMMAND_BYTES} bytes")
    return from_map(unpack(data))
