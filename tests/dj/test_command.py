from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.commands import commands
from wsactors.dj import command as dj
from wsactors.wire import json_door
from wsactors.wire.errors import ProtocolError

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields_of_commands = sorted({field.name for cls in dj.COMMANDS.values() for field in attrs.fields(cls)})
nearly = st.fixed_dictionaries(
    {"t": st.sampled_from(sorted(dj.COMMANDS)) | json_like},
    optional=dict.fromkeys(fields_of_commands, json_like | st.sampled_from(["a", "b", "low", "echo", 1, 0.5, True])),
)


@given(commands)
def test_a_command_comes_back_as_it_was(command: dj.Command) -> None:
    assert dj.unpack_command(dj.pack_command(command)) == command
    assert dj.from_map(json_door.loads(json_door.dumps(dj.to_map(command)))) == command
    assert len(dj.pack_command(command)) <= dj.MAX_COMMAND_BYTES


def _packed(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value)
    except (OverflowError, ValueError):
        return b""
    return packed


@given(nearly | json_like)
def test_a_map_is_a_command_or_refused(value: Any) -> None:
    try:
        command = dj.from_map(value)
    except ProtocolError:
        return
    assert dj.from_map(dj.to_map(command)) == command


@given(st.binary(max_size=64) | (nearly | json_like).map(_packed))
def test_bytes_are_a_command_or_refused(data: bytes) -> None:
    try:
        command = dj.unpack_command(data)
    except ProtocolError:
        return
    assert dj.unpack_command(dj.pack_command(command)) == command


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"t": "play"}, "play.deck"),
        ({"t": "play", "deck": "A"}, "play.deck"),
        ({"t": "play", "deck": "a", "at": 3}, "play"),
        ({"t": "hotcue", "deck": "a", "number": 9}, "hotcue.number"),
        ({"t": "hotcue", "deck": "a", "number": True}, "hotcue.number"),
        ({"t": "hotcue", "deck": "a", "number": 1, "pressed": 1}, "hotcue.pressed"),
        ({"t": "pitch", "deck": "a", "value": 1.01}, "pitch.value"),
        ({"t": "pitch", "deck": "a", "value": float("nan")}, "pitch.value"),
        ({"t": "pitch_range", "deck": "a", "percent": 10}, "pitch_range.percent"),
        ({"t": "scratch", "deck": "a", "speed": 5}, "scratch.speed"),
        ({"t": "order_effects", "effects": ["echo"]}, "order_effects.effects"),
        ({"t": "order_effects", "effects": ["echo"] * 5}, "order_effects.effects"),
        ({"t": "load", "deck": "b", "song": ""}, "load.song"),
        ({"t": "format_disk"}, "command.t"),
        ({"t": ["play"]}, "command.t"),
        ({"deck": "a"}, "command.t"),
    ],
)
def test_a_refusal_names_the_field(value: dict[str, Any], field: str) -> None:
    with pytest.raises(ProtocolError, match=rf"^{field}: "):
        dj.from_map(value)


def test_a_long_command_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        dj.unpack_command(b"\x81" + b"\xa1t" * 600)
