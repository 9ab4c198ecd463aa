"""Engine.IO packets and polling payloads, revision 4, and revision 3 for old clients. Pure.

A packet is a type digit and some data. On a WebSocket each packet is one message: text, or the bare bytes of a binary
message. On HTTP several packets share one body, the payload:

====  ==============================================  =============================================
rev.  several packets                                 binary
====  ==============================================  =============================================
4     joined by ``\\x1e``                              ``b`` and base64
3     each behind its length in UTF-16 units and ":"  ``b4`` and base64; on a WebSocket a byte 4 before the data
3     (an octet stream)                               0 text, 1 binary; length digits as bytes; 0xff; data
====  ==============================================  =============================================

Example:
    >>> decode_payload(b"4hi\\x1ebAQI=")
    [Packet(type=4, data='hi'), Packet(type=4, data=b'\\x01\\x02')]
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from .errors import ProtocolError
from .ws_frame import binary_frame, text_frame

OPEN: Final = 0
CLOSE: Final = 1
PING: Final = 2
PONG: Final = 3
MESSAGE: Final = 4
UPGRADE: Final = 5
NOOP: Final = 6

Version: TypeAlias = Literal[3, 4]

MAX_PACKETS_IN: Final = 10_000
"""Most packets in one payload from a client. JavaScript's puts all that waits into one."""
MAX_PACKETS_OUT: Final = 16
"""Most packets in one polling answer: Python's client refuses more, and ends the session."""
SEPARATOR: Final = "\x1e"
_SEPARATOR_BYTE: Final = b"\x1e"
_TYPES: Final = {str(number): number for number in range(7)}
_MAX_LENGTH_DIGITS: Final = 9
_MESSAGE_BYTE: Final = b"\x04"
_TEXT_FRAME: Final = 0x81
_LONG: Final = 126
"""From this length on a frame says it in two bytes, after 127 in eight (RFC 6455 §5.2)."""


class Packet(NamedTuple):
    """One packet. Data that is ``bytes`` is a binary message."""

    type: int
    data: str | bytes = ""


class Piece(NamedTuple):
    """A message of a WebSocket, in either direction of the translation: what a payload carries in its own way."""

    is_text: bool
    data: bytes
    """The whole packet in UTF-8, with its type; of binary messages the data alone."""


def decode_packet(message: str | bytes, version: Version = 4) -> Packet:
    """The packet in one WebSocket message.

    Raises:
        ProtocolError: The type is unknown, or the message empty.
    """
    if isinstance(message, str):
        kind = _TYPES.get(message[:1])
        if kind is None:
            raise ProtocolError("engine.io: a packet begins with its type, 0 to 6")
        return Packet(kind, message[1:])
    if version == 4:
        return Packet(MESSAGE, message)
    if message[:1] != _MESSAGE_BYTE:
        raise ProtocolError("engine.io 3: a binary packet begins with a byte 4")
    return Packet(MESSAGE, message[1:])


def encode_packet(packet: Packet, version: Version = 4) -> str | bytes:
    """``packet`` as one WebSocket message; the inverse of `decode_packet`."""
    if isinstance(packet.data, str):
        return f"{packet.type}{packet.data}"
    return packet.data if version == 4 else _MESSAGE_BYTE + packet.data


def decode_payload(body: bytes, *, max_packets: int = MAX_PACKETS_IN) -> list[Packet]:
    """The packets in the body of a client's POST, or of the answer to a GET.

    Raises:
        ProtocolError: It is empty, no UTF-8, has more than ``max_packets`` packets, or one that is malformed.
    """
    pieces = _utf8(body).split(SEPARATOR, max_packets)
    if len(pieces) > max_packets:
        raise ProtocolError(f"engine.io: more than {max_packets} packets in one payload")
    return [Packet(MESSAGE, _base64(each[1:])) if each[:1] == "b" else decode_packet(each) for each in pieces]


def encode_payload(packets: Iterable[Packet]) -> bytes:
    """``packets`` as one body; the inverse of `decode_payload`.

    Raises:
        ProtocolError: A text holds the separator U+001E, which polling cannot carry.
    """
    return join_pieces(map(_piece, packets))


def join_pieces(pieces: Iterable[Piece], version: Version = 4, *, octets: bool = False) -> bytes:
    """What would be these WebSocket messages, as one polling answer.

    ``octets``: the client, of revision 3, takes an octet stream where something is binary. Such an answer begins with a byte 0
    or 1, and no other does.

    Raises:
        ProtocolError: As `encode_payload`.
    """
    if version == 3:
        pieces = list(pieces)
        if octets and not all(is_text for is_text, _ in pieces):
            return b"".join(_octets(data) if is_text else _octets(data, b"\x01") for is_text, data in pieces)
        return b"".join(_counted(data if is_text else b"b4" + base64.b64encode(data)) for is_text, data in pieces)
    parts = []
    for is_text, data in pieces:
        if not is_text:
            parts.append(b"b" + base64.b64encode(data))
        elif _SEPARATOR_BYTE in data:
            raise ProtocolError("engine.io: a text with the separator U+001E cannot be polled")
        else:
            parts.append(data)
    return _SEPARATOR_BYTE.join(parts)


def pieces_of(frames: bytes) -> Iterator[Piece]:
    """The messages in ``frames``, which are whole, unmasked WebSocket frames of our own making.

    What goes to many is made once, as frames; a client that polls gets the same, taken out of them again.
    """
    at = 0
    while at < len(frames):
        size, begin = frames[at + 1], at + 2
        if size >= _LONG:
            width = 2 if size == _LONG else 8
            size, begin = int.from_bytes(frames[begin : begin + width], "big"), begin + width
        yield Piece(frames[at] == _TEXT_FRAME, frames[begin : begin + size])
        at = begin + size


def reframe3(frames: bytes) -> bytes:
    """``frames``, made for revision 4, as a WebSocket client of revision 3 wants them."""
    return b"".join(
        text_frame(data) if is_text else binary_frame(_MESSAGE_BYTE + data) for is_text, data in pieces_of(frames)
    )


def decode_payload3(body: bytes, *, is_octets: bool = False, max_packets: int = MAX_PACKETS_IN) -> list[Packet]:
    """The packets in a body of revision 3; ``is_octets``: it was sent as ``application/octet-stream``.

    Raises:
        ProtocolError: As `decode_payload`.
    """
    packets = _octets3(body, max_packets) if is_octets else _text3(body, max_packets)
    if not packets:
        raise ProtocolError("engine.io 3: an empty payload")
    return packets


def encode_payload3(packets: Iterable[Packet]) -> bytes:
    """``packets`` as one text body of revision 3."""
    return join_pieces(map(_piece, packets), 3)


def _piece(packet: Packet) -> Piece:
    if isinstance(packet.data, bytes):
        return Piece(is_text=False, data=packet.data)
    return Piece(is_text=True, data=f"{packet.type}{packet.data}".encode())


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("engine.io: a payload must be UTF-8") from None


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ProtocolError("engine.io: a binary packet must be base64 with padding") from None


def _too_many(max_packets: int) -> ProtocolError:
    return ProtocolError(f"engine.io 3: more than {max_packets} packets in one payload")


def _counted(packet: bytes) -> bytes:
    """``packet`` behind its length, which counts as JavaScript does."""
    length = len(packet) if packet.isascii() else len(packet.decode().encode("utf-16-le")) // 2
    return b"%d:%b" % (length, packet)


def _octets(data: bytes, kind: bytes = b"\x00") -> bytes:
    """One packet in an octet stream."""
    packet = data if kind == b"\x00" else _MESSAGE_BYTE + data
    return b"%b%b\xff%b" % (kind, bytes(map(int, str(len(packet)))), packet)


def _length(digits: str) -> int:
    if not 0 < len(digits) <= _MAX_LENGTH_DIGITS or not digits.isascii() or not digits.isdigit():
        raise ProtocolError("engine.io 3: a packet's length must be a number")
    return int(digits)


def _packet3(text: str) -> Packet:
    if text[:1] != "b":
        return decode_packet(text)
    if text[1:2] != "4":
        raise ProtocolError("engine.io 3: only messages may be binary")
    return Packet(MESSAGE, _base64(text[2:]))


def _text3(body: bytes, max_packets: int) -> list[Packet]:
    text = _utf8(body)
    # With two bytes for each unit of UTF-16, JavaScript's lengths are offsets.
    units = text.encode("utf-16-le")
    packets: list[Packet] = []
    at = 0
    while at < len(units):
        if len(packets) == max_packets:
            raise _too_many(max_packets)
        head = units[at : at + 2 * (_MAX_LENGTH_DIGITS + 1)].decode("utf-16-le", "replace")
        colon = head.find(":")
        end = at + 2 * (colon + 1 + _length(head[: max(colon, 0)]))
        if end > len(units):
            raise ProtocolError("engine.io 3: a packet is shorter than its length")
        try:
            packets.append(_packet3(units[at + 2 * (colon + 1) : end].decode("utf-16-le")))
        except UnicodeDecodeError:
            raise ProtocolError("engine.io 3: a packet ends inside a character") from None
        at = end
    return packets


def _octets3(body: bytes, max_packets: int) -> list[Packet]:
    packets: list[Packet] = []
    at = 0
    while at < len(body):
        if len(packets) == max_packets:
            raise _too_many(max_packets)
        mark = body.find(b"\xff", at, at + 2 + _MAX_LENGTH_DIGITS)
        digits = body[at + 1 : max(mark, at + 1)]
        if body[at] > 1 or not digits or max(digits) > 9:
            raise ProtocolError("engine.io 3: expected 0 or 1, a length and 255 before a packet")
        end = mark + 1 + int("".join(map(str, digits)))
        if end > len(body):
            raise ProtocolError("engine.io 3: a packet is shorter than its length")
        data = body[mark + 1 : end]
        packets.append(decode_packet(data if body[at] else _utf8(data), 3))
        at = end
    return packets
