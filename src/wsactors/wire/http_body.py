"""The body of an HTTP/1.x request, read as strictly as its head (`wsactors.wire.http_head`). Pure.

A chunked body is decoded here and handed on as plain bytes with a length, so that nobody behind can find another end of
it. Nothing is tolerated that a reader may understand differently: no chunk extensions, no trailers, no bare LF, no sign,
blank or prefix in a size (RFC 9112 §7.1 allows a server to refuse all of it).
"""

from __future__ import annotations

import re
from typing import Final

from .errors import HeadError

MAX_CHUNKS: Final = 4096
"""A body in crumbs costs a parser far more than its size: a thousand chunks of a browser's upload are a megabyte or more."""
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONGEST_SIZE_LINE: Final = 10


class ChunkedBody:
    """Collects one chunked body.

    Example:
        >>> body = ChunkedBody(max_bytes=100)
        >>> body.feed(b"5\\r\\nhel"), body.feed(b"lo\\r\\n0\\r\\n\\r\\nGET /next")
        (False, True)
        >>> bytes(body.data), bytes(body.rest)
        (b'hello', b'GET /next')
    """

    def __init__(self, *, max_bytes: int, max_chunks: int = MAX_CHUNKS) -> None:
        self._max_bytes = max_bytes
        self._chunks_left = max_chunks
        self._missing = 0
        self._closing = False
        """Whether the end of a chunk's data must come next."""
        self._last = False
        self.data = bytearray()
        """The body so far."""
        self.rest = bytearray()
        """What was fed and is not of the body; once `feed` has said True, what follows it."""

    def feed(self, data: bytes) -> bool:
        """Take in more; whether the body is complete.

        Raises:
            HeadError: It is malformed (400) or larger than allowed (413).
        """
        self.rest += data
        while self.rest:
            if self._missing:
                piece = self.rest[: self._missing]
                del self.rest[: self._missing]
                self.data += piece
                self._missing -= len(piece)
                self._closing = not self._missing
            elif self._closing or self._last:
                if not self._take_end():
                    return False
                if self._last and not self._closing:
                    return True
                self._closing = False
            elif not self._take_size():
                return False
        return False

    def _take_end(self) -> bool:
        if not b"\r\n".startswith(self.rest[:2]):
            raise HeadError(400, "trailers are not taken" if self._last else "a chunk does not end where it should")
        if len(self.rest) < 2:
            return False
        del self.rest[:2]
        return True

    def _take_size(self) -> bool:
        end = self.rest.find(b"\r\n", 0, _LONGEST_SIZE_LINE)
        line = self.rest[:end] if end >= 0 else self.rest.removesuffix(b"\r")
        if not _SIZE.fullmatch(line) or (end < 0 and len(self.rest) >= _LONGEST_SIZE_LINE):
            raise HeadError(400, "malformed chunk size; chunk extensions are not taken")
        if end < 0:
            return False
        size = int(line, 16)
        del self.rest[: end + 2]
        self._chunks_left -= 1
        if len(self.data) + size > self._max_bytes or self._chunks_left < 0:
            raise HeadError(413, f"a body may have {self._max_bytes} bytes, in a reasonable number of chunks")
        self._missing = size
        self._last = not size
        return True
