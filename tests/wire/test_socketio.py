"""Socket.IO packets: examples of the specification, properties, and python-socketio as a second opinion."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import socketio.packet
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.wire import socketio as sio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import has_bytes
from wsactors.wire.socketio import Decoder, Packet

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EVENTS = TEXT.filter(lambda name: name not in sio.RESERVED_EVENTS)
NAMESPACES = st.just("/") | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=",?"), max_size=8
).map(lambda text: "/" + text)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
KEYS = TEXT.filter(lambda key: key != "_placeholder")
PLAIN = st.recursive(
    LEAVES | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
IDS = st.integers(0, sio.MAX_ID)
MAPS = st.dictionaries(TEXT, LEAVES, max_size=3)
CALLS = st.builds(lambda event, arguments: [event, *arguments], EVENTS, st.lists(PLAIN, max_size=4))
PACKETS = (
    st.builds(Packet, st.just(sio.CONNECT), NAMESPACES, st.none() | MAPS, st.none())
    | st.builds(Packet, st.just(sio.DISCONNECT), NAMESPACES, st.none(), st.none())
    | st.builds(Packet, st.just(sio.EVENT), NAMESPACES, CALLS, st.none() | IDS)
    | st.builds(Packet, st.just(sio.ACK), NAMESPACES, st.lists(PLAIN, max_size=4), IDS)
    | st.builds(Packet, st.just(sio.CONNECT_ERROR), NAMESPACES, MAPS | TEXT, st.none())
)


def feed(*messages: str | bytes, **limits: int) -> Packet | None:
    decoder = Decoder(**limits)
    packet = None
    for message in messages:
        assert packet is None
        packet = decoder.feed(message)
    return packet


EXAMPLES: list[tuple[list[str | bytes], Packet]] = [
    (["0"], Packet(sio.CONNECT)),
    (['0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}'], Packet(sio.CONNECT, "/admin", {"sid": "oSO0OpakMV_3jnilAAAA"})),
    (['4{"message":"Not authorized"}'], Packet(sio.CONNECT_ERROR, "/", {"message": "Not authorized"})),
    (['2["foo"]'], Packet(sio.EVENT, "/", ["foo"])),
    (['2/admin,["bar"]'], Packet(sio.EVENT, "/admin", ["bar"])),
    (['51-["baz",{"_placeholder":true,"num":0}]', b"\1\2"], Packet(sio.EVENT, "/", ["baz", b"\1\2"])),
    (
        ['52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"\1", b""],
        Packet(sio.EVENT, "/admin", ["baz", b"\1", b""]),
    ),
    (['212["foo"]'], Packet(sio.EVENT, "/", ["foo"], 12)),
    (['3/admin,13["bar"]'], Packet(sio.ACK, "/admin", ["bar"], 13)),
    (['61-15["bar",{"_placeholder":true,"num":0}]', b"\1"], Packet(sio.ACK, "/", ["bar", b"\1"], 15)),
    (["1"], Packet(sio.DISCONNECT)),
    (["1/admin,"], Packet(sio.DISCONNECT, "/admin")),
]


@pytest.mark.parametrize(("messages", "packet"), EXAMPLES)
def test_examples_of_the_specification(messages: list[str | bytes], packet: Packet) -> None:
    assert feed(*messages) == packet

    text, attachments = sio.encode(packet)
    assert [text.decode(), *attachments] == messages


def test_a_namespace_may_end_without_a_comma() -> None:
    assert feed("0/custom") == Packet(sio.CONNECT, "/custom")
    assert feed("1/custom") == Packet(sio.DISCONNECT, "/custom")


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", "7", "-1", "٢[\"a\"]", "2", "2{}", "2[]", "2[1", '2"a"', "2[true]", "2[null]", "2[[]]", '2["connect"]',
        '2["disconnecting"]', 'abc["a"]', '2abc["message-with-ack",1]', '212a["a"]', "3[1]", "3", "31{}", "0[]", "0[1]", "0null",
        '01{"a":1}', "1{}", "1[]", "4", "4[]", "41", '5["a"]', '5-["a"]', '5a-["a"]', '51["a"]', '5-1-["a"]', '599999999-["a"]',
        '5٣-["a"]', '21-["a"]', '2["a"] x', '2["a",NaN]', '2["a",1e999]', '2["a","\\ud800"]', '2["a"]\x00', '2٣["a"]',
        '299999999999999999["a"]', "2" + "[" * 3000, '2["a",' + "[" * 40 + "]" * 40 + "]", '2/a["a"]', "0/\ud800", "0/a\x1eb",
        '50-["a",{"_placeholder":true,"num":0}]', "0/" + "a" * 300,
    ],
)  # fmt: skip
def test_malformed_packets(text: str) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(text)


@pytest.mark.parametrize("number", ["-1", "1", "5", '"0"', "true", "null", "0.0", "[0]"])
def test_a_placeholder_names_an_attachment(number: str) -> None:
    with pytest.raises(ProtocolError, match="placeholder"):
        feed(f'51-["a",{{"_placeholder":true,"num":{number}}}]', b"x")


def test_the_name_of_an_event_cannot_be_attached() -> None:
    with pytest.raises(ProtocolError):
        feed('51-[{"_placeholder":true,"num":0}]', b"x")


def test_attachments_come_after_their_packet_and_before_the_next() -> None:
    with pytest.raises(ProtocolError, match="without a packet"):
        feed(b"x")
    with pytest.raises(ProtocolError, match="expected an attachment"):
        feed('51-["a",{"_placeholder":true,"num":0}]', '2["b"]')


def test_attachments_are_bounded() -> None:
    with pytest.raises(ProtocolError, match="attachments"):
        feed('511-["a"]', max_attachments=10)
    with pytest.raises(ProtocolError, match="bytes of attachments"):
        feed('52-["a"]', b"xxx", b"xxx", max_bytes=5)


def test_what_looks_like_our_placeholder_never_meets_real_ones() -> None:
    """A client would look for attachment 7, and end its connection."""
    text, attachments = sio.encode(Packet(sio.EVENT, "/", ["a", b"x", {"_placeholder": True, "num": 7}]))

    assert (text, attachments) == (b'2["a",{"$binary":"eA=="},{"_placeholder":true,"num":7}]', [])


def test_a_packet_without_binary_keeps_such_a_map() -> None:
    assert feed('2["a",{"_placeholder":true,"num":7}]') == Packet(
        sio.EVENT, "/", ["a", {"_placeholder": True, "num": 7}]
    )


@given(PACKETS)
def test_a_packet_comes_back(packet: Packet) -> None:
    text, attachments = sio.encode(packet)

    assert feed(text.decode(), *attachments) == packet


@given(PACKETS)
def test_python_socketio_reads_what_we_write(packet: Packet) -> None:
    text, attachments = sio.encode(packet)
    theirs = socketio.packet.Packet(encoded_packet=text.decode())
    for each in attachments:
        theirs.add_attachment(each)

    kind = theirs.packet_type if theirs.packet_type < sio.BINARY_EVENT else theirs.packet_type - 3
    assert (kind, theirs.namespace or "/", theirs.id) == (packet.type, packet.namespace, packet.id)
    assert theirs.data == packet.data or (not packet.data and not theirs.data)


@given(PACKETS)
def test_we_read_what_python_socketio_writes(packet: Packet) -> None:
    theirs = socketio.packet.Packet(
        packet.type, packet.data, packet.namespace, packet.id, binary=has_bytes(packet.data)
    )
    said = theirs.encode()
    messages = said if isinstance(said, list) else [said]

    ours = feed(*messages)

    assert ours is not None
    assert json.dumps(ours, default=str) == json.dumps(packet._replace(data=packet.data or ours.data), default=str)


@given(
    st.text(max_size=30) | st.text('0123456-/,[]{}"ab:_num', max_size=30), st.lists(st.binary(max_size=4), max_size=2)
)
@settings(max_examples=500)
def test_any_text_is_a_packet_or_a_protocol_error(text: str, more: list[bytes]) -> None:
    decoder = Decoder()
    try:
        messages: list[str | bytes] = [text, *more]
        packets = [decoder.feed(each) for each in messages]
    except ProtocolError:
        return
    for packet in packets:
        if packet is not None:
            sio.encode(packet)


def test_fifty_thousand_damaged_packets_raise_nothing_else() -> None:
    luck = random.Random(5)
    good = [message for messages, _ in EXAMPLES for message in messages if isinstance(message, str)]
    raised = 0
    for number in range(50_000):
        letters: list[Any] = list(good[number % len(good)])
        for _ in range(luck.randint(1, 3)):
            letters[luck.randrange(len(letters))] = chr(luck.choice((luck.randrange(128), luck.randrange(0x11_0000))))
        decoder = Decoder()
        try:
            decoder.feed("".join(letters[: luck.randint(0, len(letters))]))
            decoder.feed(b"x")
        except ProtocolError:
            raised += 1
    assert raised > 10_000
