"""How messages are put on a WebSocket, plain or deflated, or on a QUIC stream; made once for all connections that do it alike.

A `Format` holds one of these, and what it encodes is offered to sinks as it is. Two connections have the same framing object
exactly if the same bytes will do for both.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Final, Protocol

from wsactors.realtime.sinks import Sink
from wsactors.wire.length_prefix import prefixed
from wsactors.wire.ws_frame import binary_frame, text_frame

WORTH_DEFLATING: Final = 128
"""Bytes below which deflating a message costs more than it saves: headers of the format eat the gain."""
LEVEL: Final = 1
"""Of zlib: on JSON it saves nearly what level 6 does, at a third of the time."""
MEMORY_LEVEL: Final = 5
"""Of zlib: 16 KiB of hash table, which must be cleared for each message. The default of 8 costs six times as long."""


class Framing(Protocol):
    """Puts the frame around whole messages."""

    def __hash__(self) -> int: ...

    def text(self, data: bytes) -> bytes:
        """The frame of a text message; ``data`` is UTF-8."""
        ...

    def binary(self, data: bytes) -> bytes:
        """The frame of a binary message."""
        ...

    def alone(self, data: bytes) -> bytes:
        """The frame of a binary message that goes to nobody else: never worth deflating."""
        ...


class PlainFraming:
    """Frames as they are. Every client takes these, whatever was agreed: deflating is up to the sender of each message."""

    __slots__ = ()

    def text(self, data: bytes) -> bytes:
        """See `Framing.text`."""
        return text_frame(data)

    def binary(self, data: bytes) -> bytes:
        """See `Framing.binary`."""
        return binary_frame(data)

    alone = binary


class LengthFraming:
    """Messages on a QUIC stream, each behind its length as a varint."""

    __slots__ = ()

    def text(self, data: bytes) -> bytes:
        """See `Framing.text`; streams do not tell text from binary."""
        return prefixed(data)

    binary = alone = text


class DeflatedFraming:
    """Frames of which each is deflated by itself (RFC 7692 with ``server_no_context_takeover``).

    Args:
        window_bits: 9 to 15, the window that the clients keep.
    """

    __slots__ = ("window_bits",)

    def __init__(self, window_bits: int = 15) -> None:
        self.window_bits = window_bits

    def __repr__(self) -> str:
        return f"<DeflatedFraming {self.window_bits}>"

    def text(self, data: bytes) -> bytes:
        """See `Framing.text`."""
        deflated = self._deflate(data)
        return text_frame(data) if deflated is None else text_frame(deflated, compressed=True)

    def binary(self, data: bytes) -> bytes:
        """See `Framing.binary`."""
        deflated = self._deflate(data)
        return binary_frame(data) if deflated is None else binary_frame(deflated, compressed=True)

    def alone(self, data: bytes) -> bytes:
        """See `Framing.alone`."""
        return binary_frame(data)

    def _deflate(self, data: bytes) -> bytes | None:
        """None when it is not worth it."""
        if len(data) < WORTH_DEFLATING:
            return None
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -self.window_bits, MEMORY_LEVEL)
        deflated = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return deflated[:-4] if len(deflated) - 4 < len(data) else None  # RFC 7692 §7.2.1: without 00 00 FF FF


PLAIN: Final = PlainFraming()
BY_LENGTH: Final = LengthFraming()


@cache
def deflated(window_bits: int) -> DeflatedFraming:
    """The one framing object for ``window_bits``, 9 to 15."""
    if not 9 <= window_bits <= 15:
        raise ValueError(f"window_bits must be 9 to 15, not {window_bits}")
    return DeflatedFraming(window_bits)


class SharedFraming:
    """Puts the WebSocket frame around a message once, for all who get that message one after the other."""

    __slots__ = ("_frame", "_message")

    def __init__(self) -> None:
        self._message = self._frame = b""

    def frame(self, message: bytes) -> bytes:
        """``message`` as one binary frame; the same bytes object as before if it is the message from before."""
        if message is not self._message:
            self._message, self._frame = message, binary_frame(message)
        return self._frame


class WebSocketSink:
    """A connection's sink for messages of the native protocol: frames them and hands them to the socket's sink."""

    __slots__ = ("_framing", "_sink")

    def __init__(self, sink: Sink, framing: SharedFraming) -> None:
        self._sink = sink
        self._framing = framing

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`."""
        return self._sink.offer(self._framing.frame(data), key)
