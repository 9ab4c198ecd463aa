"""Frames as a WebSocket client sends them, with whatever is wrong with them."""

from __future__ import annotations

import itertools
import zlib

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: int = 1,
    rsv: int = 0,
    mask: bytes | None = b"\x12\x34\x56\x78",
    length: int | None = None,
    wide: int = 0,
) -> bytes:
    """One frame. ``length`` is what the header says instead of the truth, ``wide`` in how many bytes it says so."""
    size = len(payload) if length is None else length
    bit = 0 if mask is None else 0x80
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126 and not wide:
        head += bytes([bit | size])
    elif size < 65_536 and wide != 8:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


def in_pieces(opcode: int, payload: bytes, cuts: list[int], *, rsv: int = 0) -> bytes:
    """One message in several frames, cut at these places."""
    places = [0, *sorted(cuts), len(payload)]
    pieces = [payload[a:b] for a, b in itertools.pairwise(places)]
    last = len(pieces) - 1
    return b"".join(
        frame(MORE if number else opcode, piece, fin=int(number == last), rsv=0 if number else rsv)
        for number, piece in enumerate(pieces)
    )


def deflate(data: bytes, bits: int = 15) -> bytes:
    """As permessage-deflate puts it on the wire."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The whole frames in what a server sent: opcode (with fin and reserved bits above it) and payload."""
    frames = []
    while len(data) >= 2:
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            break
        frames.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return frames
