from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsactors.wire import phoenix
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import loads
from wsactors.wire.phoenix import V1, V2, Frame, Message, Version
from wsactors.wire.plain import Plain, textual

from .plain_values import JSON_MAPS, PLAIN_VALUES

VERSIONS = st.sampled_from([V1, V2])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
REFS = st.none() | st.text("0123456789abcé", min_size=1, max_size=10)
ANY_REFS = REFS | st.integers(-(2**53) + 1, 2**53 - 1)
CLIENT_MESSAGES = st.builds(Message, ANY_REFS, ANY_REFS, NAMES, NAMES, JSON_MAPS)
BINARY_MESSAGES = st.builds(Message, REFS, REFS, NAMES, NAMES, st.binary(max_size=50))


def opened(frame: Frame) -> str | bytes:
    """What a WebSocket gives for ``frame``."""
    return frame.data if frame.binary else frame.data.decode()


# -- bytes --------------------------------------------------------------------------------------------------------------

EXAMPLES: list[tuple[Message, Version, str | bytes]] = [
    (
        Message("1", "1", "room:a", "phx_join", {"token": "é"}),
        V2,
        '["1","1","room:a","phx_join",{"token":"é"}]',
    ),
    (Message(None, "7", "phoenix", "heartbeat", {}), V2, '[null,"7","phoenix","heartbeat",{}]'),
    (Message("1", "2", "room:a", "photo", b"\x00\xff"), V2, b"\x00\x01\x01\x06\x0512room:aphoto\x00\xff"),
    (Message("1", None, "room:a", "photo", b""), V2, b"\x00\x01\x00\x06\x051room:aphoto"),
]


@pytest.mark.parametrize(("message", "version", "wire"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_client_messages_have_these_bytes(message: Message, version: Version, wire: str | bytes) -> None:
    assert opened(phoenix.encode_client(message, version)) == wire
    assert phoenix.decode_client(wire, version) == message


SERVER_EXAMPLES: list[tuple[Message, Version, str | bytes]] = [
    (
        Message(None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}),
        V2,
        '[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]',
    ),
    (
        Message(None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}),
        V1,
        '{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"7"}',
    ),
    (Message("1", None, "room:a", "photo", b"\x00\xff"), V2, b"\x00\x01\x06\x051room:aphoto\x00\xff"),
    (
        Message("1", "2", "room:a", "phx_reply", {"status": "ok", "response": b"data"}),
        V2,
        b"\x01\x01\x01\x06\x0212room:aokdata",
    ),
    (Message(None, None, "room:a", "photo", b"data"), V2, b"\x02\x06\x05room:aphotodata"),
]


@pytest.mark.parametrize(("message", "version", "wire"), SERVER_EXAMPLES, ids=range(len(SERVER_EXAMPLES)))
def test_server_messages_have_these_bytes(message: Message, version: Version, wire: str | bytes) -> None:
    assert opened(phoenix.encode_server(message, version)) == wire
    assert phoenix.decode_server(wire, version) == message


def test_the_documentation_has_these_bytes() -> None:
    page = (Path(__file__).parents[2] / "docs/phoenix.md").read_text()
    answer: Plain = {"status": "ok", "response": b"\xff"}
    for frame in (
        phoenix.encode_client(Message("1", "2", "room:lobby", "said", b"\xff"), V2),
        phoenix.encode_server(Message("1", None, "room:lobby", "said", b"\xff"), V2),
        phoenix.encode_server(Message("1", "2", "room:lobby", "phx_reply", answer), V2),
        phoenix.encode_server(Message(None, None, "room:lobby", "said", b"\xff"), V2),
    ):
        assert f"`{frame.data.hex(' ')}`" in page


def test_bytes_without_a_binary_form_become_base64_in_json() -> None:
    photo = Message(None, None, "room:a", "photo", b"abc")

    assert loads(phoenix.encode_server(photo, V1).data) == {
        "topic": "room:a", "event": "photo", "payload": {"$binary": "YWJj"}, "ref": None,
    }  # fmt: skip
    too_long = attrs.evolve(photo, event="x" * 256)
    assert loads(phoenix.encode_server(too_long, V2).data) == [None, None, "room:a", "x" * 256, {"$binary": "YWJj"}]


# -- properties -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(CLIENT_MESSAGES, VERSIONS)
def test_a_server_reads_what_a_client_writes(message: Message, version: Version) -> None:
    if version == V1:  # clients of version 1 have no join_ref, and a few send one all the same
        message = attrs.evolve(message, join_ref=None)
    assert phoenix.decode_client(opened(phoenix.encode_client(message, version)), version) == message


@settings(deadline=None)
@given(BINARY_MESSAGES)
def test_a_server_reads_the_bytes_that_a_client_writes(message: Message) -> None:
    frame = phoenix.encode_client(message, V2)

    assert frame.binary
    assert phoenix.decode_client(frame.data, V2) == message


@settings(deadline=None)
@given(BINARY_MESSAGES)
def test_a_client_reads_the_bytes_that_a_server_writes(message: Message) -> None:
    message = attrs.evolve(message, ref=None)
    frame = phoenix.encode_server(message, V2)

    assert frame.binary
    assert phoenix.decode_server(frame.data, V2) == message


@settings(deadline=None)
@given(ANY_REFS, ANY_REFS, NAMES, NAMES, PLAIN_VALUES, VERSIONS)
def test_everything_plain_goes_out(
    join_ref: phoenix.Ref, ref: phoenix.Ref, topic: str, event: str, payload: Plain, version: Version
) -> None:
    message = Message(join_ref, ref, topic, event, payload)
    frame = phoenix.encode_server(message, version)

    if frame.binary:
        assert phoenix.decode_server(frame.data, version).payload == payload
        return
    value = loads(frame.data)
    assert (value[4] if isinstance(value, list) else value["payload"]) == textual(payload)  # type: ignore[index,call-overload]


@settings(deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80), VERSIONS)
@example(b"\0", V2)
@example(b"\1\0\0\0\0", V2)
@example('["1","1","t","e",[1]]', V2)
def test_arbitrary_bytes_are_messages_or_refused(data: str | bytes, version: Version) -> None:
    for decode, encode in (
        (phoenix.decode_client, phoenix.encode_client), (phoenix.decode_server, phoenix.encode_server)
    ):  # fmt: skip
        try:
            message = decode(data, version)
        except ProtocolError:
            continue
        encode(message, version)


@settings(deadline=None)
@given(BINARY_MESSAGES | CLIENT_MESSAGES, st.data())
def test_a_damaged_message_is_a_message_or_refused(message: Message, data: st.DataObject) -> None:
    wire = bytearray(phoenix.encode_client(message, V2).data)
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] = data.draw(st.integers(0, 255))
    damaged = bytes(wire[: data.draw(st.integers(0, len(wire)))])

    for each in (damaged, damaged.decode("utf-8", "replace")):
        for decode in (phoenix.decode_client, phoenix.decode_server):
            try:
                decode(each, V2)
            except ProtocolError:
                continue


# -- refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "", "[]", "{}", "[1,2,3,4]", "null", "[[],null,\"t\",\"e\",{}]", '[null,null,"t","e","text"]',
        '[null,null,"t","e",[1]]', '[null,null,"","e",{}]', '[null,null,"t",null,{}]', '[null,null,7,"e",{}]',
        '[1.5,null,"t","e",{}]', '[true,null,"t","e",{}]', '[null,{"a":1},"t","e",{}]',
        f'[null,null,"{"é" * 128}","e",{{}}]', f'["{"1" * 256}",null,"t","e",{{}}]', "[" * 100_000,
        '[null,null,"t","e",{"a":NaN}]',
        b"", b"\0", b"\0\0\0\0", b"\0\1\1\1\1abc", b"\0\0\0\0\1e", b"\0\0\0\1\0t", b"\0\0\0\1\1\xffe",
        b"\1\1\1\1\1abcd", b"\2\1\1te", b"\3\0\0\1\1\0\0te", b"\x05", b"\xff" * 300,
    ],
)  # fmt: skip
def test_what_is_no_client_message_is_refused(data: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        phoenix.decode_client(data, V2)


@pytest.mark.parametrize(
    "data", ["[]", "[null,null,1,2,{}]", "1", '{"topic":"t","event":"e","payload":[]}', b"\0\0\0\1\1te"]
)
def test_what_is_no_client_message_of_version_1_is_refused(data: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        phoenix.decode_client(data, V1)


def test_what_clients_do_differently_is_taken() -> None:
    assert phoenix.decode_client('[null,3,"t","e",null]', V2) == Message(None, 3, "t", "e", {})
    assert phoenix.decode_client('["","","t","e",{},"more"]', V2) == Message(None, None, "t", "e", {})
    python = '{"event":"phx_join","payload":{},"topic":"realtime:a","ref":"1","join_ref":"1"}'
    assert phoenix.decode_client(python, V1) == Message("1", "1", "realtime:a", "phx_join", {})
    assert phoenix.decode_client('{"topic":"t","event":"e"}', V1) == Message(None, None, "t", "e", {})


@pytest.mark.parametrize(("vsn", "version"), [(None, V1), ("1.0.0", V1), ("2.0.0", V2), ("2.0.12", V2)])
def test_versions(vsn: str | None, version: Version) -> None:
    assert phoenix.version_of(vsn) == version


@pytest.mark.parametrize("vsn", ["", "1", "2.0", "2.1.0", "3.0.0", "2.0.x", "2.0.0.0", "12.0.0", "٢.0.0", "2.0.٢"])
def test_versions_that_are_not_spoken(vsn: str) -> None:
    with pytest.raises(ProtocolError):
        phoenix.version_of(vsn)


def test_a_field_that_cannot_be_said_is_refused() -> None:
    for broken in (Message(None, None, "t" * 256, "e", {}), Message(None, None, "\ud800", "e", {}),
                   Message(None, None, "t", "e", {"a": float("nan")})):  # fmt: skip
        with pytest.raises(ProtocolError):
            phoenix.encode_client(broken, V2)
