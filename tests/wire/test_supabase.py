from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsactors.wire import phoenix, supabase
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import loads
from wsactors.wire.phoenix import V1, V2, Message, Version
from wsactors.wire.plain import Plain, textual
from wsactors.wire.supabase import broadcast_payload, system_payload

from .plain_values import JSON_MAPS, PLAIN_VALUES
from .test_phoenix import CLIENT_MESSAGES, NAMES, REFS, VERSIONS, opened

METADATA = st.none() | st.dictionaries(st.sampled_from(["id", "replayed", "persist"]), st.booleans(), min_size=1)
BROADCASTS = st.builds(broadcast_payload, NAMES, JSON_MAPS | st.binary(max_size=40) | st.integers(0, 9), METADATA)
PUSHES = st.builds(Message, REFS, REFS, NAMES, st.just("broadcast"), BROADCASTS)

BYTES = broadcast_payload("hit", b"\x00\xff")
OBJECT = broadcast_payload("hit", {"a": 1})
KNOWN = broadcast_payload("hit", {"a": 1}, {"id": "7"})

CLIENT_EXAMPLES = [
    (Message("1", "2", "realtime:a", "broadcast", BYTES), b"\x03\x01\x01\x0a\x03\x00\x0012realtime:ahit\x00\xff"),
    (Message("1", "2", "realtime:a", "broadcast", OBJECT), b'\x03\x01\x01\x0a\x03\x00\x0112realtime:ahit{"a":1}'),
    (
        Message(None, None, "realtime:a", "broadcast", KNOWN),
        b'\x03\x00\x00\x0a\x03\x0a\x01realtime:ahit{"id":"7"}{"a":1}',
    ),
]
SERVER_EXAMPLES = [
    (Message(None, None, "realtime:a", "broadcast", BYTES), b"\x04\x0a\x03\x00\x00realtime:ahit\x00\xff"),
    (Message(None, None, "realtime:a", "broadcast", OBJECT), b'\x04\x0a\x03\x00\x01realtime:ahit{"a":1}'),
    (Message(None, None, "realtime:a", "broadcast", KNOWN), b'\x04\x0a\x03\x0a\x01realtime:ahit{"id":"7"}{"a":1}'),
]


@pytest.mark.parametrize(("message", "wire"), CLIENT_EXAMPLES, ids=["bytes", "json", "metadata"])
def test_kind_3(message: Message, wire: bytes) -> None:
    assert supabase.encode_client(message, V2) == (wire, True)
    assert supabase.decode_client(wire, V2) == message


@pytest.mark.parametrize(("message", "wire"), SERVER_EXAMPLES, ids=["bytes", "json", "metadata"])
def test_kind_4(message: Message, wire: bytes) -> None:
    assert supabase.encode_server(message, V2) == (wire, True)
    assert supabase.decode_server(wire, V2) == message


def test_the_documentation_has_these_bytes() -> None:
    page = (Path(__file__).parents[2] / "docs/supabase.md").read_text()
    hit = broadcast_payload("hit", {})
    for frame in (
        supabase.encode_client(Message("1", "2", "realtime:a", "broadcast", hit), V2),
        supabase.encode_server(Message(None, None, "realtime:a", "broadcast", hit), V2),
    ):
        assert f"`{frame.data.hex(' ')}`" in page


def test_what_is_said_in_text() -> None:
    hit = Message(None, None, "realtime:a", "broadcast", BYTES)
    assert loads(supabase.encode_server(hit, V1).data) == {
        "topic": "realtime:a", "event": "broadcast", "ref": None,
        "payload": {"type": "broadcast", "event": "hit", "payload": {"$binary": "AP8="}},
    }  # fmt: skip
    system = system_payload("system", "error", "Token has expired", "a")
    assert supabase.encode_server(Message("1", None, "realtime:a", "system", system), V2).data == (
        b'["1",null,"realtime:a","system",'
        b'{"extension":"system","status":"error","message":"Token has expired","channel":"a"}]'
    )


@settings(deadline=None)
@given(NAMES, NAMES, PLAIN_VALUES, PLAIN_VALUES, VERSIONS)
def test_no_client_gets_a_kind_that_it_cannot_read(
    topic: str, event: str, payload: Plain, other: Plain, version: Version
) -> None:
    """The JavaScript client reads kind 4 and fails on 0, 1 and 2."""
    for said, body in (("broadcast", broadcast_payload(event, payload)), ("broadcast", other), (event, other),
                       ("phx_reply", {"status": "ok", "response": other})):  # fmt: skip
        frame = supabase.encode_server(Message(None, None, topic, said, body), version)

        assert not frame.binary or (version == V2 and frame.data[0] == 4)
        if not frame.binary:
            value = loads(frame.data)
            found = value[4] if isinstance(value, list) else value["payload"]  # type: ignore[index,call-overload]
            assert found == textual(body)


@settings(deadline=None)
@given(PUSHES | CLIENT_MESSAGES)
def test_a_server_reads_what_a_client_writes(message: Message) -> None:
    assert supabase.decode_client(opened(supabase.encode_client(message, V2)), V2) == message


@settings(deadline=None)
@given(PUSHES)
def test_a_client_reads_what_a_server_writes(message: Message) -> None:
    message = attrs.evolve(message, join_ref=None, ref=None)
    assert supabase.decode_server(opened(supabase.encode_server(message, V2)), V2) == message


@settings(deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80), VERSIONS)
@example(b"\3", V2)
@example(b"\3\0\0\0\0\0", V2)
@example(b"\4\1\1\4\1tenulltrue", V2)
def test_arbitrary_bytes_are_messages_or_refused(data: str | bytes, version: Version) -> None:
    for decode, encode in (
        (supabase.decode_client, supabase.encode_client), (supabase.decode_server, supabase.encode_server)
    ):  # fmt: skip
        try:
            message = decode(data, version)
        except ProtocolError:
            continue
        encode(message, version)


@settings(deadline=None)
@given(PUSHES, st.data())
def test_a_damaged_message_is_a_message_or_refused(message: Message, data: st.DataObject) -> None:
    for wire in (supabase.encode_client(message, V2).data, supabase.encode_server(message, V2).data):
        damaged = bytearray(wire)
        damaged[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
        for decode in (supabase.decode_client, supabase.decode_server):
            try:
                decode(bytes(damaged[: data.draw(st.integers(1, len(wire)))]), V2)
            except ProtocolError:
                continue


@pytest.mark.parametrize(
    "data",
    [
        b"\3", b"\3\0\0\1\1\0", b"\3\0\0\1\1\0\1t", b"\3\0\0\1\1\0\2te{}", b"\3\0\0\0\1\0\1e{}", b"\3\0\0\1\0\0\1t{}",
        b"\3\0\0\1\1\0\1te", b"\3\0\0\1\1\0\1te{", b"\3\0\0\1\1\1\1te1{}", b"\3\0\0\1\1\4\1tenull{}", b"\4\1\1\0\0te",
        b"\3\0\0\1\1\2\0te[]data", b"\3\0\0\1\1\0\1te" + b"[" * 100_000, b"\3\0\0\1\1\0\1teNaN", b"\1\0\0\1\1te",
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_client_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        supabase.decode_client(data, V2)
    with pytest.raises(ProtocolError):
        supabase.decode_client(data, V1)


def test_fields_of_older_javascript_clients_are_read_as_they_were_meant() -> None:
    """They write one byte per character: "é" is E9 there, which no UTF-8 text holds like that."""
    message = supabase.decode_client(b"\3\0\0\x0a\5\0\1realtime:\xe9caf\xe9s{}", V2)

    assert (message.topic, message.payload) == ("realtime:é", broadcast_payload("cafés", {}))


def test_phoenix_messages_are_read_too() -> None:
    message = Message("1", "2", "realtime:a", "presence", {"event": "track"})
    assert supabase.decode_client(opened(phoenix.encode_client(message, V1)), V1) == attrs.evolve(
        message, join_ref=None
    )
    assert supabase.decode_client(b"\0\0\0\1\1te\xff", V2) == Message(None, None, "t", "e", b"\xff")
