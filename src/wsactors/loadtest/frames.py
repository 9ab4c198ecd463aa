"""WebSocket frames at the client's end, by hand: what thousands of receivers per core need and nothing else. Pure.

A library takes tens of microseconds per message; walking the headers in the receive buffer takes one or two. What it leaves
out is judgement: lengths and opcodes are taken as they come, except where going on would make no sense (`BadFrame`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "BadFrame", "FrameReader", "client_frame"]

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
_MASK: Final = b"\0\0\0\0"  # masking with zeros is masking: a server cannot tell

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of the longest message that is taken; more is a `BadFrame`."""


class BadFrame(Exception):
    """The server sent what no server may send; the text says what."""


def client_frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """One whole masked frame.

    >>> client_frame(b"abc").hex(" ")
    '82 83 00 00 00 00 61 62 63'
    """
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + _MASK + payload
    if size < 65_536:
        return struct.pack(">BBH", 0x80 | opcode, 0xFE, size) + _MASK + payload
    return struct.pack(">BBQ", 0x80 | opcode, 0xFF, size) + _MASK + payload


class FrameReader:
    """Cuts a server's bytes into messages.

    ``take(opcode, data, start, end)`` is called for every whole message and control frame, in order; the payload is
    ``data[start:end]`` and only good during the call. It returns False to stop: the rest of the bytes is dropped.

    A frame that ends in the next piece is kept until then; of long ones, that is a copy. Messages in fragments are put
    together.
    """

    __slots__ = ("_fragments", "_opcode", "_rest", "_stopped", "_take")

    def __init__(self, take: Callable[[int, bytes | bytearray, int, int], bool]) -> None:
        self._take = take
        self._rest: bytearray | None = None
        self._opcode = CONTINUATION
        self._fragments: bytearray | None = None
        self._stopped = False

    def feed(self, data: bytes | bytearray, end: int) -> None:
        """The next bytes, ``data[:end]``.

        Raises:
            BadFrame: a masked frame, a reserved bit, a continuation of nothing, or a message of more than `MAX_MESSAGE`.
        """
        if self._rest is not None:
            self._rest += memoryview(data)[:end]
            data, end = self._rest, len(self._rest)
        at = self._walk(data, end)
        if at < end and not self._stopped:
            if data is self._rest:
                del self._rest[:at]
            else:
                self._rest = bytearray(memoryview(data)[at:end])
        else:
            self._rest = None

    def _walk(self, data: bytes | bytearray, end: int) -> int:
        """Take every whole frame; returns where the first incomplete one begins."""
        at = 0
        while end - at >= 2 and not self._stopped:
            first, size, start = data[at], data[at + 1], at + 2
            if size >= 126:
                if size > 127:
                    raise BadFrame("a server's frame is masked")
                wide = 2 if size == 126 else 8
                start += wide
                if start > end:
                    return at
                size = int.from_bytes(data[at + 2 : start], "big")
                if size > MAX_MESSAGE:
                    raise BadFrame(f"a frame of {size} bytes")
            stop = start + size
            if stop > end:
                return at
            # 0x81 and 0x82: one whole text or binary message, the common case by far.
            if 0x81 <= first <= 0x82 and self._fragments is None:
                self._stopped = not self._take(first & 15, data, start, stop)
            else:
                self._other(first, data, start, stop)
            at = stop
        return at

    def _other(self, first: int, data: bytes | bytearray, start: int, stop: int) -> None:
        opcode = first & 15
        if first & 0x70:
            raise BadFrame("a reserved bit is set, though no extension was agreed on")
        if opcode >= CLOSE:
            if opcode > PONG or not first & 0x80 or stop - start > 125:
                raise BadFrame("a control frame that is unknown, in fragments or too long")
            self._stopped = not self._take(opcode, data, start, stop)
            return
        if (opcode == CONTINUATION) is (self._fragments is None) or opcode > BINARY:
            raise BadFrame("a frame that neither begins nor continues a message")
        if self._fragments is None:
            self._opcode, self._fragments = opcode, bytearray()
        self._fragments += memoryview(data)[start:stop]
        if len(self._fragments) > MAX_MESSAGE:
            raise BadFrame(f"a message of more than {MAX_MESSAGE} bytes")
        if first & 0x80:
            whole, self._fragments = self._fragments, None
            self._stopped = not self._take(self._opcode, whole, 0, len(whole))
