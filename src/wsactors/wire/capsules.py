"""Varints, capsules, and what WebTransport's error codes are in HTTP/3. Pure.

A WebTransport session ends, or is asked to end soon, by capsules on the stream of its CONNECT request (RFC 9297 §3,
draft-ietf-webtrans-http3): type and length as varints, then the value. Of types that are not known here nothing is kept:
browsers send some for no other purpose than to see whether they are ignored.

Example:
    >>> parser = CapsuleParser()
    >>> parser.feed(encode_close(7, "done"))
    [Close(code=7, reason='done')]
"""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from .errors import ProtocolError

CLOSE_SESSION: Final = 0x2843
DRAIN_SESSION: Final = 0x78AE
MAX_REASON: Final = 1_024
"""Bytes of a reason, at most: draft-ietf-webtrans-http3 §5."""
MAX_VARINT: Final = 2**62 - 1
_CODE_BYTES: Final = 4
_FIRST: Final = 0x52E4A40FA8DB
_LAST: Final = 0x52E5AC983162
_STEP: Final = 0x1E
"""HTTP/3 reserves every 0x1f-th code (RFC 9114 §8.1), so the mapping leaves one out after so many."""


@attrs.frozen
class Close:
    """The session has ended."""

    code: int = 0
    """The application's, 32 bits."""
    reason: str = ""


@attrs.frozen
class Drain:
    """The session should be ended soon by whoever receives this."""


Capsule: TypeAlias = Close | Drain


def encode_varint(value: int) -> bytes:
    """``value`` in 1, 2, 4 or 8 bytes (RFC 9000 §16). Raises `ValueError` for what does not fit.

    >>> encode_varint(37).hex(), encode_varint(15_293).hex()
    ('25', '7bbd')
    """
    if value < 0 or value > MAX_VARINT:
        raise ValueError(f"a varint holds 0 to 2**62 - 1, not {value}")
    for bits, size in ((6, 1), (14, 2), (30, 4)):
        if value < 1 << bits:
            return (value | (size.bit_length() - 1) << (8 * size - 2)).to_bytes(size, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def decode_varint(data: bytes | bytearray, at: int = 0) -> tuple[int, int] | None:
    """The varint at ``at`` and where it ends; None when it has not all come."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def encode_close(code: int, reason: str = "") -> bytes:
    """The capsule that ends a session. A reason that is too long is cut, between two characters."""
    text = reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
    return encode_varint(CLOSE_SESSION) + encode_varint(_CODE_BYTES + len(text)) + code.to_bytes(4, "big") + text


def encode_drain() -> bytes:
    """The capsule that asks for a session's end."""
    return encode_varint(DRAIN_SESSION) + b"\0"


class CapsuleParser:
    """Capsules out of the bytes of one stream. Keeps at most one capsule that is known, never one that is not."""

    __slots__ = ("_buffer", "_skip")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    @property
    def is_between(self) -> bool:
        """Whether no capsule has begun: only then may the stream end."""
        return not self._buffer and not self._skip

    def feed(self, data: bytes) -> list[Capsule]:
        """The known capsules that are whole now.

        Raises:
            ProtocolError: One is malformed, or longer than it may be.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data
        found: list[Capsule] = []
        while (capsule := self._next()) is not None:
            found += capsule
        return found

    def _next(self) -> list[Capsule] | None:
        """What the next whole capsule is, if it is known; None when none is whole."""
        buffer = self._buffer
        kind = decode_varint(buffer)
        length = None if kind is None else decode_varint(buffer, kind[1])
        if kind is None or length is None:
            return None
        size, start = length
        if kind[0] not in {CLOSE_SESSION, DRAIN_SESSION}:
            skipped = min(size, len(buffer) - start)
            self._skip = size - skipped
            del buffer[: start + skipped]
            return []
        if size > (_CODE_BYTES + MAX_REASON if kind[0] == CLOSE_SESSION else 0):
            raise ProtocolError(f"a capsule of type {kind[0]:#x} has {size} bytes")
        if len(buffer) < start + size:
            return None
        value = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return [_decode(kind[0], value)]


def _decode(kind: int, value: bytes) -> Capsule:
    if kind == DRAIN_SESSION:
        return Drain()
    if len(value) < _CODE_BYTES:
        raise ProtocolError("a capsule that ends a session has no code")
    try:
        reason = value[_CODE_BYTES:].decode()
    except UnicodeDecodeError:
        raise ProtocolError("a session ended for a reason that is no UTF-8") from None
    return Close(int.from_bytes(value[:_CODE_BYTES], "big"), reason)


def http_error_of(code: int) -> int:
    """HTTP/3's error code for the WebTransport application's ``code`` (32 bits), for resetting and stopping streams.

    >>> hex(http_error_of(0)), code_of(http_error_of(42))
    ('0x52e4a40fa8db', 42)
    """
    return _FIRST + code + code // _STEP


def code_of(http_error: int) -> int | None:
    """The application's code that ``http_error`` stands for; None: it stands for none."""
    if not _FIRST <= http_error <= _LAST or (http_error - 0x21) % 0x1F == 0:
        return None
    shifted = http_error - _FIRST
    return shifted - shifted // (_STEP + 1)
