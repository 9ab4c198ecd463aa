"""Messages on a stream of bytes: each behind its length, a QUIC varint (RFC 9000 §16)."""

from __future__ import annotations

from .capsules import decode_varint, encode_varint
from .errors import ProtocolError


def prefixed(message: bytes) -> bytes:
    """``message`` behind its length.

    >>> prefixed(b"abc")
    b'\\x03abc'
    """
    return encode_varint(len(message)) + message


class LengthPrefixed:
    """Takes messages out of a stream, in whatever pieces it comes.

    Args:
        limit: Most bytes of one message.

    >>> reader = LengthPrefixed(limit=100)
    >>> reader.feed(b"\\x03ab"), reader.feed(b"c\\x00")
    ([], [b'abc', b''])
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether the stream may end here: no message has begun."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes. Raises `ProtocolError` as soon as one is said to be larger than allowed."""
        buffer = self._buffer
        buffer += data
        messages, at = list[bytes](), 0
        while (head := decode_varint(buffer, at)) is not None:
            size, start = head
            if size > self._limit:
                raise ProtocolError(f"a message may have {self._limit} bytes, this one says {size}")
            if start + size > len(buffer):
                break
            at = start + size
            messages.append(bytes(buffer[start:at]))
        del buffer[:at]
        return messages
