"""The lean parser against wsproto, which is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from wsactors.loadtest.frames import (
    BINARY,
    CLOSE,
    MAX_MESSAGE,
    PING,
    PONG,
    TEXT,
    BadFrame,
    FrameReader,
    client_frame,
)

# What is drawn are plans, sizes instead of long payloads: hypothesis prints what it draws.
payloads = st.one_of(st.binary(max_size=300), st.integers(0, 70_000))
control = st.tuples(st.sampled_from(["ping", "pong"]), st.binary(max_size=125))
pieces = st.lists(st.tuples(st.binary(max_size=200), st.lists(control, max_size=2)), min_size=2, max_size=4)
conversations = st.lists(
    st.one_of(
        st.tuples(st.just("binary"), payloads),
        st.tuples(st.just("text"), st.text(max_size=200)),
        control,
        st.tuples(st.just("pieces"), pieces),
    ),
    max_size=8,
)


def expanded(payload: bytes | int) -> bytes:
    return b"x" * payload if isinstance(payload, int) else payload


def events_of(plan: list[tuple[str, Any]]) -> Iterator[Event]:
    for kind, content in plan:
        match kind:
            case "binary":
                yield BytesMessage(expanded(content))
            case "text":
                yield TextMessage(content)
            case "ping":
                yield Ping(content)
            case "pong":
                yield Pong(content)
            case _:
                *first, (last, _) = content
                for piece, between in first:
                    yield BytesMessage(piece, message_finished=False)
                    yield from events_of(between)
                yield BytesMessage(last)


def meaning(events: list[Event]) -> list[tuple[int, bytes]]:
    """What a receiver should be given."""
    given_, pieces = [], b""
    for event in events:
        match event:
            case Message(data=data, message_finished=finished):
                pieces += data.encode() if isinstance(data, str) else bytes(data)
                if finished:
                    given_.append((TEXT if isinstance(data, str) else BINARY, pieces))
                    pieces = b""
            case Ping(payload=payload):
                given_.append((PING, bytes(payload)))
            case Pong(payload=payload):
                given_.append((PONG, bytes(payload)))
    return given_


def collected() -> tuple[FrameReader, list[tuple[int, bytes]]]:
    found: list[tuple[int, bytes]] = []

    def take(opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        found.append((opcode, bytes(data[start:end])))
        return True

    return FrameReader(take), found


@settings(max_examples=150, deadline=None)
@given(conversations, st.lists(st.integers(1, 5000), min_size=1, max_size=30))
def test_it_understands_what_wsproto_sends_however_it_is_cut(plan: list[tuple[str, Any]], cuts: list[int]) -> None:
    events = list(events_of(plan))
    server = Connection(ConnectionType.SERVER)
    data = b"".join(server.send(event) for event in events)
    reader, found = collected()
    buffer = bytearray(65_536)  # as the poller's: longer than what is in it, and used again

    at, turn = 0, 0
    while at < len(data):
        piece = data[
            at : at + cuts[turn % len(cuts)] * (1 + turn // 100)
        ]  # a long message is not cut into letters only
        buffer[: len(piece)] = piece
        reader.feed(buffer, len(piece))
        at, turn = at + len(piece), turn + 1

    assert found == meaning(events)


@given(payloads, st.sampled_from([TEXT, BINARY, PING]))
def test_wsproto_understands_what_it_sends(drawn: bytes | int, opcode: int) -> None:
    payload = expanded(drawn)
    if opcode == PING:
        payload = payload[:125]
    if opcode == TEXT:
        payload = payload.hex().encode()
    server = Connection(ConnectionType.SERVER)
    server.receive_data(client_frame(payload, opcode))

    event = next(server.events())
    content = event.payload if isinstance(event, Ping) else event.data  # type: ignore[attr-defined]
    assert (content.encode() if isinstance(content, str) else bytes(content)) == payload


def test_a_goodbye_is_understood() -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(client_frame(b"\x03\xe8", CLOSE))

    assert next(server.events()) == CloseConnection(code=1000, reason="")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_any_bytes_are_taken_or_refused(pieces: list[bytes]) -> None:
    reader, _ = collected()
    try:
        for piece in pieces:
            reader.feed(piece, len(piece))
    except BadFrame:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x80\0\0\0\0",  # masked
        b"\xc2\x00",  # a reserved bit
        b"\x80\x00",  # continues nothing
        b"\x02\x01a\x82\x01b",  # a new message inside another
        b"\x83\x00",  # an unknown opcode
        b"\x8b\x00",  # an unknown control frame
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x80" + bytes(128),  # a ping that is too long
        b"\x82\x7f" + (MAX_MESSAGE + 1).to_bytes(8, "big"),  # longer than anything
    ],
)
def test_what_no_server_may_send_is_refused(data: bytes) -> None:
    reader, _ = collected()

    with pytest.raises(BadFrame):
        reader.feed(data, len(data))


def test_an_endless_message_is_refused() -> None:
    reader, _ = collected()
    piece = b"\x02\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)

    with pytest.raises(BadFrame, match="16777216"):
        for _ in range(20):
            reader.feed(piece, len(piece))
            piece = b"\x00" + piece[1:]


def test_it_stops_when_told() -> None:
    seen: list[int] = []

    def take(opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        seen.append(opcode)
        return False

    reader = FrameReader(take)
    reader.feed(b"\x82\x00\x82\x00\x82\x00", 6)

    assert seen == [BINARY]
