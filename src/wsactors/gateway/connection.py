"""One accepted connection, from its first byte to its last: read the head, decide, hand over.

Whatever a peer does ends here: the worst it can bring about is the end of its own connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from wsactors.realtime.sinks import SocketSink, prepare_audio_socket
from wsactors.wire.errors import HeadError, ProtocolError
from wsactors.wire.http_head import RequestHead, parse_head

from .app import SECURITY_HEADERS
from .guard import Refusal
from .http import RequestRefused, UpgradeRequested
from .port import Port
from .proxies import UNIX
from .stream import ConnectionStream
from .tls import TlsEngine, TlsStream
from .websocket import check_handshake, serve_websocket

if TYPE_CHECKING:
    from wsactors.actors import Pid

WEBSOCKET_PATH = "/ws"
LINGER_SECONDS = 1.0
_WANTS_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 67\r\n"
    b"connection: close\r\n\r\nThis port speaks https only: put https:// in front of the address.\n"
)
SEND_BUFFER = 64 * 1024
"""SO_SNDBUF, which Linux doubles: by itself the kernel would keep up to 4 MB for every peer that does not read."""


def _nobody(_: SocketSink) -> None:
    """Whoever has no actor has no death step."""


async def serve_connection(
    sock: socket.socket, port: Port, owner: Pid, *, on_sink: Callable[[SocketSink], None] = _nobody
) -> None:
    """Serve the accepted, non-blocking ``sock`` until either side ends; it is closed afterwards, whatever happens.

    ``owner`` is the actor whose connection this is: listeners end with it at the latest. ``on_sink`` gets the connection's
    sink, to be closed in the owner's death step: a task that will not end must not keep it open.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    context = None if sock.family == socket.AF_UNIX else port.tls
    engine = TlsEngine(context) if context is not None else None
    sink = SocketSink(
        sock,
        seal=engine.seal if engine is not None else None,
        audio_age=port.options.limits.audio_age_ms / 1000,
        stall_timeout=port.options.limits.stall_seconds,
    )
    port.sinks.add(sink)
    on_sink(sink)
    stream = ConnectionStream(sock, sink) if engine is None else TlsStream(sock, sink, engine)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, stream)
            nursery.start_soon(_write_until_closed, sink, nursery.cancel_scope)
            await _Connection(sock, stream, port, owner).serve()
            nursery.cancel_scope.cancel()
    finally:
        sink.close()


async def _write_until_closed(sink: SocketSink, connection: trio.CancelScope) -> None:
    """A connection that nothing can be written to is over, whatever its reader waits for.

    (hypercorn does wait, for ever, when a pipelined request stands behind a response that broke off.)
    """
    await sink.run()
    connection.cancel()


async def _close_when_cancelled(stream: ConnectionStream) -> None:
    """Closing the descriptor is what ends writes that hypercorn shields from cancellation."""
    try:
        await trio.sleep_forever()
    finally:
        stream.sink.offer(stream.goodbye)
        stream.sink.close()


class _Connection:
    def __init__(self, sock: socket.socket, stream: ConnectionStream, port: Port, owner: Pid) -> None:
        self._sock = sock
        self._stream = stream
        self._port = port
        self._owner = owner
        self._peer = _address(sock.getpeername())
        """Who is connected: a client, or a proxy that has not said (or not yet) for whom."""
        self._secure = isinstance(stream, TlsStream)

    async def serve(self) -> None:
        options, peer = self._port.options, self._peer
        if not options.proxy_protocol or not self._port.proxies.trusts(peer[0]):
            return await self._serve()
        try:
            with trio.fail_after(options.limits.head_seconds):
                header = await self._stream.take_proxy_header()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ProtocolError):
            return None
        if header.client is None:
            return await self._serve()
        self._peer = header.client
        if self._port.admission.enter_client(self._peer[0]):
            try:
                await self._serve()
            finally:
                self._port.admission.leave_client(self._peer[0])
        return None

    async def _serve(self) -> None:
        try:
            if isinstance(self._stream, TlsStream):
                with trio.fail_after(self._port.options.limits.head_seconds):
                    if not await self._stream.is_tls():
                        return await self._stream.answer_in_clear(_WANTS_TLS, LINGER_SECONDS)
                    await self._stream.handshake()
            await self._serve_requests()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return None  # the peer left or never spoke; there is nobody to tell

    async def _serve_requests(self) -> None:
        try:
            while (head := await self._next_head()) is not None:
                if head.wants_websocket:
                    return await self._websocket(head)
                try:
                    return await self._http()
                except UpgradeRequested as upgrade:
                    self._stream.unread(upgrade.data)
        except (HeadError, RequestRefused) as error:
            await self._answer(Refusal(error.status, str(error)))

    async def _next_head(self) -> RequestHead | None:
        """Read one request head and give its bytes, with all that came after, back to the stream. None: the peer left.

        Raises:
            HeadError: It is malformed, too large or too slow.
        """
        limits = self._port.options.limits
        data = b""
        try:
            with trio.fail_after(limits.head_seconds):
                while (head := parse_head(data, max_bytes=limits.head_bytes)) is None:
                    more = await self._stream.receive_some()
                    if not more:
                        return None
                    data += more
        except trio.TooSlowError:
            if not data:
                return None
            raise HeadError(408, f"the request head took longer than {limits.head_seconds:g} s") from None
        self._stream.unread(data)
        return head

    async def _websocket(self, head: RequestHead) -> None:
        client = self._port.client(head, self._peer[0], secure=self._secure)
        refusal = self._port.check(head, client) or check_handshake(head)
        if refusal is None and head.path != WEBSOCKET_PATH:
            refusal = Refusal(404, f"WebSockets are served at {WEBSOCKET_PATH}")
        if refusal is not None:
            return await self._answer(refusal)
        prepare_audio_socket(self._sock)
        self._stream.hold_after(head.size)
        return await serve_websocket(self._stream, self._port, self._owner)

    async def _http(self) -> None:
        await self._port.http.serve(
            self._stream,
            client=self._peer,
            server=_address(self._sock.getsockname()),
            secure=self._secure,
            state={"owner": self._owner, "prepare_audio": lambda: prepare_audio_socket(self._sock)},
        )

    async def _answer(self, refusal: Refusal) -> None:
        body = refusal.message.encode() + b"\n"
        headers = {
            **SECURITY_HEADERS,
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(len(body)),
            "connection": "close",
        }
        if refusal.status == HTTPStatus.UPGRADE_REQUIRED:
            headers |= {"sec-websocket-version": "13", "upgrade": "websocket"}
        lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self._stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self._stream.linger(LINGER_SECONDS)


def _address(name: tuple[str, int] | tuple[str, int, int, int] | str) -> tuple[str, int]:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else (UNIX, 0)
