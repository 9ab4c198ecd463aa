"""The WebSocket frame around what a server sends (RFC 6455 §5.2): put on once for all receivers."""

from __future__ import annotations

import struct
from typing import Final

_FINAL_BINARY: Final = 0x82


def binary_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked binary frame with ``payload``.

    Example:
        >>> binary_frame(b"abc").hex(" ")
        '82 03 61 62 63'
    """
    size = len(payload)
    if size < 126:
        return bytes((_FINAL_BINARY, size)) + payload
    if size < 65_536:
        return struct.pack(">BBH", _FINAL_BINARY, 126, size) + payload
    return struct.pack(">BBQ", _FINAL_BINARY, 127, size) + payload
