"""Request bodies: taken in whole, bounded in size and time and in all, before anybody is asked what to do with them.

An application behind gets a request only when all of it is here. A slow body then holds no handler, and a body that nobody
reads fills nobody's queue.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import trio

from wsactors.wire.errors import HeadError
from wsactors.wire.http_body import ChunkedBody
from wsactors.wire.http_head import RequestHead

from .options import Limits
from .stream import ConnectionStream

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""What is passed on; a route then says which of these it serves."""
BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestRefused(Exception):
    """A request that is answered with ``status`` and the end of the connection.

    ``path`` is the request's, empty where it is not known.
    """

    def __init__(self, status: int, message: str, path: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.path = path


class BodyBudget:
    """How many bytes of bodies one port holds at a time: in all, and of one client, who could else keep everybody out.

    >>> budget = BodyBudget(total=10, share=6)
    >>> budget.take(6, "ada")
    >>> budget.take(4, "bob")
    """

    def __init__(self, total: int, share: int | None = None) -> None:
        self._left = total
        self._share = total if share is None else share
        self._held: dict[str, int] = {}

    def take(self, size: int, client: str | None = None) -> None:
        """Reserve ``size`` bytes for ``client``, None for many; give back if it is negative.

        Raises:
            RequestRefused: there are not as many left, or not for one client.
        """
        held = self._held.get(client, 0) + size if client is not None else 0
        if size > 0 and (size > self._left or held > self._share):
            raise RequestRefused(503, "this node is receiving too much at once; try again in a moment")
        self._left -= size
        if client is not None:
            self._held[client] = held
            if not held:
                del self._held[client]


class BodyLease:
    """What one connection has reserved of a `BodyBudget`."""

    def __init__(self, budget: BodyBudget, client: str | None = None) -> None:
        self._budget = budget
        self._client = client
        self._held = 0

    def hold(self, size: int) -> None:
        """Hold ``size`` bytes from now on. Raises `RequestRefused`."""
        self._budget.take(size - self._held, self._client)
        self._held = size

    @classmethod
    @contextlib.contextmanager
    def of(cls, budget: BodyBudget, client: str | None = None) -> Iterator[BodyLease]:
        """A lease of ``client``, None for many, that holds nothing afterwards."""
        lease = cls(budget, client)
        try:
            yield lease
        finally:
            lease.hold(0)


def check_body(head: RequestHead, length: int | None, limits: Limits) -> None:
    """Decide by the head, and the body's ``length`` (None: it says none), alone. Raises `RequestRefused`."""
    if head.method not in METHODS:
        raise RequestRefused(405, f"only {', '.join(sorted(METHODS))} are served here")
    if length == 0:
        return
    if head.method in BODILESS:
        raise RequestRefused(413, f"a {head.method} has no body here")
    if length is not None and length > limits.body_bytes:
        raise RequestRefused(413, f"a body may have {limits.body_bytes} bytes")
    if head.tokens(b"content-encoding") - {b"identity"}:
        raise RequestRefused(415, "compressed bodies are not taken")
    if head.tokens(b"expect") - {b"100-continue"}:
        raise RequestRefused(417, "only 100-continue can be expected")


async def read_body(
    stream: ConnectionStream, head: RequestHead, data: bytes, limits: Limits, lease: BodyLease
) -> tuple[bytes, bytes]:
    """The body that follows ``head``, which `check_body` has let pass, and what was read after it.

    ``data`` is what has come after the head. A client that waits for the word to send is given it.

    Raises:
        RequestRefused: There is no room for it now, or the peer left in the middle of it.
        HeadError: It is malformed, too large or too slow.
    """
    lease.hold(head.body_length or 0)
    try:
        with trio.fail_after(limits.body_seconds):
            if not data and head.minor_version and head.get(b"expect") is not None:
                await stream.send_all(_CONTINUE)
            if head.body_length is None:
                return await _read_chunks(stream, data, limits, lease)
            return await _read_length(stream, data, head.body_length)
    except trio.TooSlowError:
        raise HeadError(408, f"the request body took longer than {limits.body_seconds:g} s") from None


async def _read_length(stream: ConnectionStream, data: bytes, length: int) -> tuple[bytes, bytes]:
    body = bytearray(data)
    while len(body) < length:
        body += await _some(stream)
    return bytes(body[:length]), bytes(body[length:])


async def _read_chunks(stream: ConnectionStream, data: bytes, limits: Limits, lease: BodyLease) -> tuple[bytes, bytes]:
    body = ChunkedBody(max_bytes=limits.body_bytes)
    while not body.feed(data):
        lease.hold(len(body.data))
        data = await _some(stream)
    return bytes(body.data), bytes(body.rest)


async def _some(stream: ConnectionStream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise RequestRefused(400, "the body ended before it was whole")
    return data
