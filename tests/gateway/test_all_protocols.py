"""Whatever the client of one protocol may send, the clients of all others can be sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.plain_values import PLAIN_VALUES
from wsactors.gateway import sse
from wsactors.gateway.framing import PLAIN
from wsactors.gateway.native_outlet import native_format
from wsactors.gateway.phoenix_formats import is_reserved, longpoll_format, phoenix_format, supabase_format
from wsactors.gateway.socketio_formats import RoomFormat, TopicFormat
from wsactors.gateway.topics_rest import POLL_FORMAT
from wsactors.realtime.publication import Format, Publication
from wsactors.wire import native, phoenix, socketio, supabase
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps, loads
from wsactors.wire.phoenix import V1, V2, Message
from wsactors.wire.plain import MAX_DEPTH, Plain, has_bytes

FORMATS: list[Format] = [
    *(phoenix_format(version, PLAIN) for version in (V1, V2)), *(longpoll_format(version) for version in (V1, V2)),
    *(supabase_format(version, PLAIN) for version in (V1, V2)), native_format(PLAIN), TopicFormat("/"), RoomFormat("/"),
    sse.PLAIN, sse.CHUNKED, POLL_FORMAT,
]  # fmt: skip


def from_phoenix(payload: Plain) -> Plain:
    frame = phoenix.encode_client(Message("1", "2", "t", "e", payload), V2)
    return phoenix.decode_client(frame.data if frame.binary else frame.data.decode(), V2).payload


def from_supabase(payload: Plain) -> Plain:
    frame = supabase.encode_client(Message("1", "2", "t", "broadcast", supabase.broadcast_payload("e", payload)), V2)
    message = supabase.decode_client(frame.data if frame.binary else frame.data.decode(), V2)
    assert isinstance(message.payload, dict)
    return message.payload["payload"]


def from_native(payload: Plain) -> Plain:
    message = native.decode_client(native.encode(native.Publish("t", "e", payload)))
    assert isinstance(message, native.Publish)
    return message.payload


def from_socketio(payload: Plain) -> Plain:
    decoder = socketio.Decoder()
    text, attachments = socketio.encode(socketio.Packet(socketio.EVENT, "/", ["e", payload]))
    packet = decoder.feed(text.decode())
    for each in attachments:
        packet = decoder.feed(each)
    assert packet is not None
    assert isinstance(packet.data, list)
    return packet.data[1]


def from_json(payload: Plain) -> Plain:
    return loads(dumps(payload))


DOORS: dict[str, Any] = {
    "phoenix": from_phoenix, "supabase": from_supabase, "native": from_native, "socketio": from_socketio, "json": from_json,
}  # fmt: skip


def nested(depth: int) -> Plain:
    value: Plain = {"é": "\U0001f600"}
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return value


def check(payload: Plain) -> int:
    """How many protocols take ``payload`` in; what they make of it must get out by all."""
    count = 0
    for name, door in DOORS.items():
        try:
            taken = door(payload)
        except ProtocolError:
            continue
        count += 1
        publication = Publication(topic="t", event="e", payload=taken, offset=1, epoch="x", id="7")
        for wire_format in FORMATS:
            assert publication.encode(wire_format) is not None, (name, wire_format)
    return count


@given(PLAIN_VALUES)
@settings(max_examples=60, deadline=None)
def test_every_value_that_gets_in_gets_out(payload: Plain) -> None:
    assert check(payload) >= len(DOORS) - 1  # Phoenix takes objects and bytes alone


@pytest.mark.parametrize("depth", [*range(1, 4), *range(MAX_DEPTH - 6, MAX_DEPTH + 2)])
def test_every_depth_that_gets_in_gets_out(depth: int) -> None:
    assert check(nested(depth)) or depth > MAX_DEPTH - 3


@settings(deadline=None)
@given(st.sampled_from([b"", b"x", b"\x00\xff" * 100]), st.integers(0, 3))
def test_bytes_get_out_as_bytes_or_as_text(data: bytes, depth: int) -> None:
    payload: Plain = data
    for _ in range(depth):
        payload = {"a": [payload]}
    assert has_bytes(payload)
    assert check(payload)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_events_of_any_length_get_out(event: str) -> None:
    publication = Publication(topic="t", event=event, payload=b"data")
    for wire_format in FORMATS:
        out = publication.encode(wire_format)
        assert out is not None or is_reserved(event) or event in socketio.RESERVED_EVENTS
