"""One accepted connection, from its first byte to its last: read the head, decide, hand over.

Whatever a peer does ends here: the worst it can bring about is the end of its own connection.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from wsactors.realtime.sinks import SocketSink
from wsactors.wire.errors import HeadError, ProtocolError
from wsactors.wire.http_head import RequestHead, parse_head

from .conversation import Conversation, converse
from .guard import Refusal
from .handshake import check_handshake, http_answer
from .http import RequestRefused, UpgradeRequested
from .metrics import HTTP, HTTP2, protocol_of
from .port import Port
from .proxies import UNIX
from .refusals import refuse
from .stream import ConnectionStream
from .tls import TlsEngine, TlsStream
from .ws import WebSocket

if TYPE_CHECKING:
    from wsactors.actors import Pid

LINGER_SECONDS = 1.0
ANSWER_SECONDS = 1.0
"""In which requests must be answered that are being served when the node stops."""
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
    stream = _stream(sock, port)
    sink = stream.sink
    on_sink(sink)
    visit = _Visit(sock, stream, port, owner)
    counted: str | None = None
    try:
        agreed = await visit.serve()
        counted = visit.counted
        del visit  # a WebSocket may stay for days: nothing is kept for it that is not needed
        if agreed is not None:
            ws, conversation, request = agreed
            del agreed
            await converse(conversation, ws, request, port, owner, stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        return  # the peer left or never spoke; there is nobody to tell
    finally:
        sink.close()
        port.meters.closed(sink)
        if counted is not None:
            port.admission.leave_client(counted)


def _stream(sock: socket.socket, port: Port) -> ConnectionStream:
    """The connection on ``sock``, which is set up for it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sock.family != socket.AF_UNIX:
        # Without it, the second of two messages waits up to 40 ms for the acknowledgement of the first.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = None if sock.family == socket.AF_UNIX else port.tls
    engine = TlsEngine(context) if context is not None else None
    sink = SocketSink(
        sock,
        seal=engine.seal if engine is not None else None,
        limit=port.options.limits.buffer_bytes,
        audio_age=port.options.limits.audio_age_ms / 1000,
        stall_timeout=port.options.limits.stall_seconds,
    )
    return ConnectionStream(sock, sink) if engine is None else TlsStream(sock, sink, engine)


class _Visit:
    """A connection until it is known to be a WebSocket; plain HTTP to its end."""

    def __init__(self, sock: socket.socket, stream: ConnectionStream, port: Port, owner: Pid) -> None:
        self._sock = sock
        self._stream = stream
        self._port = port
        self._owner = owner
        self._peer = _address(sock.getpeername())
        """Who is connected: a client, or a proxy that has not said (or not yet) for whom."""
        self._counted = port.meters.opened(stream.sink, owner, self._peer[0])
        self._secure = isinstance(stream, TlsStream)
        self.counted: str | None = None
        """The client, told of by a proxy, who counts as connected."""

    async def serve(self) -> tuple[WebSocket, Conversation, list[RequestHead]] | None:
        """Serve until the connection has ended, or is to be a WebSocket: then that, with the handshake unanswered."""
        options = self._port.options
        if options.proxy_protocol and self._port.proxies.trusts(self._peer[0]) and not await self._hear_proxy():
            return None
        if isinstance(self._stream, TlsStream):
            with trio.fail_after(options.limits.head_seconds):
                if not await self._stream.is_tls():
                    await self._stream.answer_in_clear(_WANTS_TLS, LINGER_SECONDS)
                    return None
                await self._stream.handshake()
            if self._stream.protocol == "h2":
                self._port.meters.speaks(self._stream.sink, HTTP2)
                await self._http(self._port.http.serve_http2)
                return None
        return await self._serve_requests()

    async def _hear_proxy(self) -> bool:
        """Read the PROXY header; whether whom it names may come in."""
        try:
            with trio.fail_after(self._port.options.limits.head_seconds):
                header = await self._stream.take_proxy_header()
        except ProtocolError:
            return False
        if header.client is not None:
            self._peer = header.client
            self._counted.address = self._peer[0]
            if not self._port.admission.enter_client(self._peer[0]):
                return False
            self.counted = self._peer[0]
        return True

    async def _serve_requests(self) -> tuple[WebSocket, Conversation, list[RequestHead]] | None:
        try:
            while (head := await self._next_head()) is not None:
                if head.wants_websocket:
                    return await self._websocket(head)
                self._port.meters.speaks(self._stream.sink, HTTP)
                try:
                    await self._http(self._port.http.serve)
                except UpgradeRequested as upgrade:
                    self._stream.unread(upgrade.data)
                else:
                    return None
        except RequestRefused as refused:
            await self._answer(Refusal(refused.status, str(refused)), refused.path)
        except HeadError as error:
            await self._answer(Refusal(error.status, str(error)), "")
        return None

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

    async def _websocket(self, head: RequestHead) -> tuple[WebSocket, Conversation, list[RequestHead]] | None:
        port = self._port
        client = port.client(head, self._peer[0], secure=self._secure)
        refusal = port.check(head, client) or check_handshake(head)
        conversation = port.conversations.get(head.path)
        if refusal is None and conversation is None:
            refusal = Refusal(404, "There is no WebSocket at this path.")
        if refusal is not None or conversation is None:
            await self._answer(refusal or Refusal(404, ""), head.path)
            return None
        self._stream.read_now(head.size)  # what follows the head are frames
        ws = WebSocket(self._stream, head, port.options.limits, client, deflate=port.options.deflate)
        ws.meter = port.meters.speaks(ws.sink, protocol_of(head.path), client.address)
        return ws, conversation, [head]

    async def _http(self, serve: Callable[..., Awaitable[None]]) -> None:
        """Serve requests until the connection ends.

        Raises:
            UpgradeRequested, RequestRefused, HeadError: As `HttpServer.serve`; the connection is still open.
        """
        leaving: UpgradeRequested | RequestRefused | HeadError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, self._stream.sink, stays := trio.Event())
            nursery.start_soon(_cancel_when_closed, self._stream.sink, nursery.cancel_scope)
            self._port.drain.enter(guest := _Requests(nursery.cancel_scope))
            try:
                await serve(
                    self._stream,
                    client=self._peer,
                    server=_address(self._sock.getsockname()),
                    secure=self._secure,
                    state={
                        "owner": self._owner,
                        "prepare_audio": self._stream.prepare_audio,
                        "counted": self._counted,
                    },
                )
            except (UpgradeRequested, RequestRefused, HeadError) as error:
                leaving = error
                stays.set()
            finally:
                self._port.drain.leave(guest)
            nursery.cancel_scope.cancel()
        if leaving is not None:
            raise leaving

    async def _answer(self, refusal: Refusal, path: str) -> None:
        headers: dict[str, str] = {}
        if refusal.status == HTTPStatus.UPGRADE_REQUIRED:
            headers = {"sec-websocket-version": "13", "upgrade": "websocket"}
        said = refuse(path, refusal.status, refusal.message, headers)
        await self._stream.send_all(http_answer(said.status, said.body, headers=said.headers))
        await self._stream.linger(LINGER_SECONDS)


class _Requests:
    """The HTTP requests of one connection, as a `Guest`."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    def say_goodbye(self, _seconds: float) -> None:
        """HTTP has no word for it: what is being answered is given a moment."""
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + ANSWER_SECONDS)


async def _cancel_when_closed(sink: SocketSink, requests: trio.CancelScope) -> None:
    """A connection that nothing can be written to is over, whatever its reader waits for.

    (hypercorn does wait, for ever, when a pipelined request stands behind a response that broke off.)
    """
    await sink.wait_closed()
    requests.cancel()


async def _close_when_cancelled(sink: SocketSink, stays: trio.Event) -> None:
    """Closing the descriptor is what ends writes that hypercorn shields from cancellation. Not if the connection ``stays``."""
    try:
        await trio.sleep_forever()
    finally:
        if not stays.is_set():
            sink.close()


def _address(name: tuple[str, int] | tuple[str, int, int, int] | str) -> tuple[str, int]:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else (UNIX, 0)
