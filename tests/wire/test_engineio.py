"""Engine.IO packets and payloads: examples of the specification, properties, and Python's own client as a second opinion."""

from __future__ import annotations

import base64
import random

import engineio.packet
import engineio.payload
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.wire import engineio as eio
from wsactors.wire.engineio import MESSAGE, Packet
from wsactors.wire.errors import ProtocolError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"), max_size=40)
MESSAGES = st.builds(Packet, st.just(MESSAGE), TEXT | st.binary(max_size=40))
PACKETS = st.builds(Packet, st.integers(0, 6), TEXT) | MESSAGES
PAYLOADS = st.lists(PACKETS, min_size=1, max_size=16)


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        (b"4hello", [Packet(MESSAGE, "hello")]),
        (b"4hello\x1e2\x1e4world", [Packet(MESSAGE, "hello"), Packet(eio.PING), Packet(MESSAGE, "world")]),
        (b"4hello\x1ebAQIDBA==", [Packet(MESSAGE, "hello"), Packet(MESSAGE, b"\x01\x02\x03\x04")]),
        (b"b", [Packet(MESSAGE, b"")]),
        ("4€\x1e4\U0001f600".encode(), [Packet(MESSAGE, "€"), Packet(MESSAGE, "\U0001f600")]),
    ],
)
def test_payloads_of_the_specification(body: bytes, packets: list[Packet]) -> None:
    assert eio.decode_payload(body) == packets
    assert eio.encode_payload(packets) == body


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", b"7", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b", b"bA", b"bAQ", b"bAQ==\n", b"b AQ==", b"4\xff", b"\xc2\xb24",
     "b\u0661".encode()],
)  # fmt: skip
def test_malformed_payloads(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        eio.decode_payload(body)


def test_a_payload_has_a_bounded_number_of_packets() -> None:
    assert len(eio.decode_payload(b"\x1e".join([b"3"] * eio.MAX_PACKETS_IN))) == eio.MAX_PACKETS_IN
    with pytest.raises(ProtocolError, match="more than"):
        eio.decode_payload(b"\x1e".join([b"3"] * (eio.MAX_PACKETS_IN + 1)))
    with pytest.raises(ProtocolError, match="more than"):
        eio.decode_payload3(b"1:3" * 11, max_packets=10)
    with pytest.raises(ProtocolError, match="more than"):
        eio.decode_payload3(b"\x00\x01\xff3" * 11, is_octets=True, max_packets=10)


def test_a_text_with_the_separator_cannot_be_polled() -> None:
    with pytest.raises(ProtocolError):
        eio.encode_payload([Packet(MESSAGE, "a\x1eb")])


@pytest.mark.parametrize("message", ["", "x", "7", "٤hello", "-1"])
def test_malformed_websocket_messages(message: str) -> None:
    with pytest.raises(ProtocolError):
        eio.decode_packet(message)


@given(PACKETS, st.sampled_from([3, 4]))
def test_a_websocket_message_comes_back(packet: Packet, version: eio.Version) -> None:
    assert eio.decode_packet(eio.encode_packet(packet, version), version) == packet


@given(PAYLOADS)
def test_a_payload_comes_back(packets: list[Packet]) -> None:
    assert eio.decode_payload(eio.encode_payload(packets)) == packets


@given(PAYLOADS)
def test_python_engineio_reads_what_we_write_and_we_what_it_writes(packets: list[Packet]) -> None:
    theirs = engineio.payload.Payload(encoded_payload=eio.encode_payload(packets).decode()).packets
    # It guesses that a message is JSON; what was said is what it says again.
    said = [(each.packet_type, each.encode(b64=True)) for each in theirs]
    ours = [
        (each.type, "b" + base64.b64encode(each.data).decode() if each.data.__class__ is bytes else None)
        for each in packets
    ]
    assert [kind for kind, _ in said] == [kind for kind, _ in ours]
    assert all(binary in {None, text} for (_, text), (_, binary) in zip(said, ours, strict=True))

    again = engineio.payload.Payload([engineio.packet.Packet(each.type, each.data) for each in packets])
    assert eio.decode_payload(again.encode().encode()) == packets


@given(st.binary(max_size=60) | st.text("0123456b\x1e=A:", max_size=40).map(str.encode), st.integers(0, 3))
@settings(max_examples=400)
def test_any_bytes_are_packets_or_a_protocol_error(data: bytes, how: int) -> None:
    try:
        match how:
            case 0:
                eio.encode_payload(eio.decode_payload(data))
            case 1:
                eio.encode_payload3(eio.decode_payload3(data))
            case 2:
                eio.encode_payload3(eio.decode_payload3(data, is_octets=True))
            case _:
                eio.decode_packet(data, 3)
    except ProtocolError:
        pass


# -- revision 3 --


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        (b"6:4hello2:4\xe2\x82\xac", [Packet(MESSAGE, "hello"), Packet(MESSAGE, "€")]),
        (b"1:21:2", [Packet(eio.PING), Packet(eio.PING)]),
        (b"10:b4AQIDBA==", [Packet(MESSAGE, b"\x01\x02\x03\x04")]),
        ("3:4\U0001f6001:3".encode(), [Packet(MESSAGE, "\U0001f600"), Packet(eio.PONG)]),
    ],
)
def test_payloads_of_revision_3_count_as_javascript_does(body: bytes, packets: list[Packet]) -> None:
    assert eio.decode_payload3(body) == packets
    assert eio.encode_payload3(packets) == body


def test_octet_streams_of_revision_3() -> None:
    body = b"\x00\x04\xff4\xe2\x82\xac" + b"\x01\x05\xff\x04\x01\x02\x03\x04"
    packets = [Packet(MESSAGE, "€"), Packet(MESSAGE, b"\x01\x02\x03\x04")]

    assert eio.decode_payload3(body, is_octets=True) == packets
    pieces = [eio.Piece(is_text=True, data="4€".encode()), eio.Piece(is_text=False, data=b"\x01\x02\x03\x04")]
    assert eio.join_pieces(pieces, 3, octets=True) == body
    assert eio.join_pieces(pieces[:1], 3, octets=True) == "2:4€".encode()


@pytest.mark.parametrize(
    "body",
    [b"", b":", b"0:", b"2:4", b"a:4", b"-1:4", b"1234567890:4", b"\xd9\xa1:4", b"6:4hello3", b"6:b5AQ==", b"3:b4A",
     "2:4\U0001f600".encode()],
)  # fmt: skip
def test_malformed_payloads_of_revision_3(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        eio.decode_payload3(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"\x02\x01\xff4", b"\x00\xff4", b"\x00\x0a\xff4", b"\x00\x02\xff4", b"\x01\x01\xff\x05", b"\x00\x02\xff4\xff",
     b"\x00" + b"\x01" * 400],
)  # fmt: skip
def test_malformed_octet_streams(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        eio.decode_payload3(body, is_octets=True)


@given(PAYLOADS)
def test_a_payload_of_revision_3_comes_back(packets: list[Packet]) -> None:
    assert eio.decode_payload3(eio.encode_payload3(packets)) == packets


def test_fifty_thousand_damaged_payloads_raise_nothing_else() -> None:
    luck = random.Random(4)
    good = [
        b"4hello\x1e2\x1ebAQIDBA==\x1e3probe",
        b"6:4hello1:210:b4AQIDBA==",
        b"\x00\x02\xff4a\x01\x03\xff\x04\x01\x02",
    ]
    raised = 0
    for number in range(50_000):
        data = bytearray(good[number % 3])
        for _ in range(luck.randint(1, 3)):
            data[luck.randrange(len(data))] = luck.randrange(256)
        body = bytes(data[: luck.randint(0, len(data))])
        try:
            if number % 3 == 0:
                eio.decode_payload(body)
            else:
                eio.decode_payload3(body, is_octets=number % 3 == 2)
        except ProtocolError:
            raised += 1
    assert raised > 10_000
