"""The WebSocket frame around what a server sends (RFC 6455 §5.2): put on once for all receivers."""

from __future__ import annotations

import struct
from typing import Final

_FINAL_TEXT: Final = 0x81
_FINAL_BINARY: Final = 0x82


def binary_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked binary frame with ``payload``.

    Example:
        >>> binary_frame(b"abc").hex(" ")
        '82 03 61 62 63'
    """
    return _frame(_FINAL_BINARY, payload)


def text_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked text frame with ``payload``, which must be UTF-8.

    Example:
        >>> text_frame(b"abc").hex(" ")
        '81 03 61 62 63'
    """
    return _frame(_FINAL_TEXT, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload
