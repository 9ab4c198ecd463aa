"""The WebSocket frames that a server sends (RFC 6455 §5): whole, unmasked, made once for all receivers."""

from __future__ import annotations

import struct
from typing import Final

MAX_CONTROL_BYTES: Final = 125
"""Of a control frame's payload (RFC 6455 §5.5)."""
_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40
_TEXT: Final = _FINAL | 0x1
_BINARY: Final = _FINAL | 0x2
_CLOSE: Final = _FINAL | 0x8
_PING: Final = _FINAL | 0x9
_PONG: Final = _FINAL | 0xA


def binary_frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """One unfragmented binary frame; ``compressed`` says that ``payload`` is deflated (RFC 7692 §6).

    Example:
        >>> binary_frame(b"abc").hex(" ")
        '82 03 61 62 63'
    """
    return _frame(_BINARY | _COMPRESSED if compressed else _BINARY, payload)


def text_frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """One unfragmented text frame; ``payload`` is UTF-8, or that deflated where ``compressed`` says so.

    Example:
        >>> text_frame("né".encode()).hex(" ")
        '81 03 6e c3 a9'
    """
    return _frame(_TEXT | _COMPRESSED if compressed else _TEXT, payload)


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    """A close frame; without a code it has no payload. ``reason`` is cut, between characters, to what fits.

    Example:
        >>> close_frame(1001, "bye").hex(" ")
        '88 05 03 e9 62 79 65'
    """
    if code is None:
        return bytes((_CLOSE, 0))
    text = reason.encode("utf-8", "replace")[: MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return bytes((_CLOSE, 2 + len(text))) + code.to_bytes(2, "big") + text


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping with at most `MAX_CONTROL_BYTES` of payload, which the pong brings back."""
    return _control(_PING, payload)


def pong_frame(payload: bytes = b"") -> bytes:
    """The answer to a ping with this payload."""
    return _control(_PONG, payload)


def _control(first: int, payload: bytes) -> bytes:
    if len(payload) > MAX_CONTROL_BYTES:
        raise ValueError(f"a control frame holds {MAX_CONTROL_BYTES} bytes, not {len(payload)}")
    return bytes((first, len(payload))) + payload


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload
