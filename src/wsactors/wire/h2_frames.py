"""The frames of an HTTP/2 connection, counted and bounded before a library takes them apart (RFC 9113 §4.1, §10.5). Pure.

What costs a server in HTTP/2 is the number of frames, not of bytes: a reset, a ping, an empty DATA frame take nine bytes to
send and as long to handle as large ones. So a client's bytes are cut at frames, and whoever hands them on decides how many
frames at a time, and how fast.
"""

from __future__ import annotations

from typing import Final

import attrs

from .errors import ProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16_384
"""The default of SETTINGS_MAX_FRAME_SIZE, which is not raised."""
MAX_CONTINUATIONS: Final = 8
"""Frames that may carry on one header block: one is enough for any browser."""
DATA: Final = 0
HEADERS: Final = 1
RESET: Final = 3
CONTINUATION: Final = 9
_HEAD_BYTES: Final = 9


@attrs.frozen
class Slice:
    """Whole frames, in a row."""

    data: bytes
    frames: int
    requests: int
    """How many of them begin a header block."""
    resets: int


class FrameCutter:
    """Cuts what one client sends.

    Args:
        max_block: Bytes of one header block, compressed: HEADERS and all CONTINUATION frames.
        per_slice: Most frames in one slice.
    """

    def __init__(self, *, max_block: int, per_slice: int = 32) -> None:
        self._max_block = max_block
        self._per_slice = per_slice
        self._buffer = bytearray()
        self._preface = len(PREFACE)
        self._block = 0
        self._continuations = 0

    def feed(self, data: bytes) -> None:
        """Take in more. Keeps what is not a whole frame yet: at most one frame and what ``data`` holds behind it."""
        self._buffer += data

    def cut(self) -> Slice | None:
        """The next whole frames; None while there are none.

        Raises:
            ProtocolError: A frame or a header block is larger than allowed.
        """
        end = self._take_preface()
        if end is None:
            return None
        frames = requests = resets = 0
        while frames < self._per_slice and len(self._buffer) - end >= _HEAD_BYTES:
            size = int.from_bytes(self._buffer[end : end + 3], "big")
            kind = self._buffer[end + 3]
            self._check(kind, size)
            if len(self._buffer) - end < _HEAD_BYTES + size:
                break
            self._count(kind, size)
            end += _HEAD_BYTES + size
            frames += 1
            requests += kind == HEADERS
            resets += kind == RESET
        if not end:
            return None
        piece = bytes(self._buffer[:end])
        del self._buffer[:end]
        return Slice(piece, frames, requests, resets)

    def _take_preface(self) -> int | None:
        """How much of the buffer is preface and may go on with what follows; None while it is not whole."""
        if not self._preface:
            return 0
        if not PREFACE.startswith(self._buffer[: self._preface]):
            raise ProtocolError("expected the preface of HTTP/2")
        if len(self._buffer) < self._preface:
            return None
        size, self._preface = self._preface, 0
        return size

    def _check(self, kind: int, size: int) -> None:
        if size > MAX_FRAME:
            raise ProtocolError(f"a frame is larger than {MAX_FRAME} bytes")
        if kind == HEADERS and size > self._max_block:
            raise ProtocolError(f"a header block is larger than {self._max_block} bytes")
        if kind == CONTINUATION and (self._block + size > self._max_block or self._continuations >= MAX_CONTINUATIONS):
            raise ProtocolError(f"a header block is larger than {self._max_block} bytes, or in too many pieces")

    def _count(self, kind: int, size: int) -> None:
        if kind == HEADERS:
            self._block, self._continuations = size, 0
        elif kind == CONTINUATION:
            self._block += size
            self._continuations += 1
