"""A WebSocket client connection whose descriptor is closed for certain.

trio-websocket's own ``open_websocket`` leaves the socket open when the server closed first; here the stream is ours.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream

from .errors import Disconnected

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
"""How long the closing handshake may take."""
MESSAGE_BYTES: Final = 1024 * 1024
"""Largest message taken from a server, in bytes."""


_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
    timeout: float = CONNECT_SECONDS,
    max_message_size: int = MESSAGE_BYTES,
) -> AsyncIterator[WebSocketConnection]:
    """Connect to a ``ws://`` or ``wss://`` address for the length of the block.

    Raises:
        Disconnected: Nobody answers there in time, or what answers refuses a WebSocket.
        ValueError: ``url`` is no WebSocket address.
    """
    stream, host, target = await _open_stream(url, ssl_context, timeout)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(timeout) as patience:
                watched = _Watched(stream, patience.cancel)
                socket = await wrap_client_stream(
                    nursery,
                    watched,  # type: ignore[arg-type]  # it needs no more than a Stream
                    host,
                    target,
                    extra_headers=list(headers),
                    max_message_size=max_message_size,
                    message_queue_size=64,
                    receive_buffer_size=65_536,
                )
            if patience.cancelled_caught:
                raise HandshakeError("it closed the connection" if watched.ended else f"no answer within {timeout:g} s")
            watched.on_end = _nothing
            try:
                yield socket
            except Exception as error:
                failure = error  # raised again below, outside the nursery, so that it does not come in a group
            with trio.move_on_after(CLOSE_SECONDS):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    except* HandshakeError as group:
        failure = Disconnected(f"cannot connect to {_shown(url)}: {_first(group)}", "connection_failed")
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


def _shown(url: str) -> str:
    """``url`` for a message: its query may hold a token."""
    return url.partition("?")[0]


def _nothing() -> None:
    """The handshake is over."""


class _Watched(trio.abc.Stream):
    """A stream that tells when the peer has ended it: during the handshake, trio-websocket would wait on."""

    def __init__(self, stream: _Stream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self.on_end = on_end
        self.ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end()
            raise
        if not data:
            self._end()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _end(self) -> None:
        self.ended = True
        self.on_end()


async def _open_stream(url: str, ssl_context: ssl.SSLContext | None, timeout: float) -> tuple[_Stream, str, str]:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or parts.hostname is None:
        raise ValueError(f"expected a ws:// or wss:// address, got {url!r}")
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    stream: _Stream | None = None
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(parts.hostname, port)
            if secure:
                context = ssl_context or ssl.create_default_context()
                stream = trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)
                await stream.do_handshake()
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        if stream is not None:
            await trio.aclose_forcefully(stream)
        raise Disconnected(f"cannot connect to {_shown(url)}: {_reason(error)}", "connection_failed") from error
    return stream, parts.netloc.rpartition("@")[2], target


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):  # of one error for each address of the name
        cause = cause.exceptions[0]
    return repr(cause) if isinstance(cause, trio.TooSlowError) else str(cause) or repr(cause)


def _first(group: BaseExceptionGroup[HandshakeError]) -> str:
    error = group.exceptions[0]
    match error:
        case BaseExceptionGroup():
            return _first(error)
        case ConnectionRejected():
            return f"refused with status {error.status_code}"
        case _:
            return str(error)
