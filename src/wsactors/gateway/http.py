"""Plain HTTP: hypercorn's HTTP/1.1 protocol, mounted on one connection.

hypercorn is not given the port, since one malformed request would then end the whole worker (hypercorn#225). Here it
serves exactly one connection, inside that connection's actor. What it must not do by itself is taken from it: every
request head passes our own strict parser first; WebSocket handshakes, also on a later request of a kept-alive connection,
leave it as `UpgradeRequested`; HTTP/2 is entered by ALPN alone (`wsactors.gateway.http2`), not by upgrade or by prior
knowledge. A body is taken in whole, bounded, before the application hears of its request, and reaches hypercorn with a
length of our making.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from wsactors.actors.log import log
from wsactors.actors.redact import safe_text
from wsactors.wire.errors import HeadError
from wsactors.wire.http_head import RequestHead, parse_head

from .admission import block_of
from .body import BodyBudget, BodyLease, RequestRefused, check_body, read_body
from .http2 import Doors, Http2Mount
from .metrics import HTTP, HTTP2, Meters
from .options import Limits, RequestRates
from .stream import ConnectionStream

__all__ = ["HttpServer", "RequestRefused", "UpgradeRequested"]

CLIENT_SHARE = 4
"""Of the bytes that a port holds of bodies, one client holds one in so many at most."""
KEEP_ALIVE_SECONDS = 15.0
"""Silence after which a kept-alive connection is closed."""


class UpgradeRequested(Exception):
    """A request on this connection asks for a WebSocket; ``data`` is its head and all that came after it."""

    def __init__(self, data: bytes) -> None:
        super().__init__("a WebSocket was asked for")
        self.data = data


class _Log(Logger):
    """Sends what hypercorn reports about an application's failure to the node's log; requests are not logged."""

    def __init__(self, config: Config) -> None:
        self.access_logger = self.error_logger = None
        self.access_log_format = ""
        del config

    async def access(self, *_: Any) -> None: ...

    async def exception(self, message: str, *args: Any, **_: Any) -> None:
        detail = message % args if args else message
        log(
            __name__,
            "error",
            "http_application_failed",
            detail=detail,
            trace=safe_text(traceback.format_exc(limit=-20)),
        )


def http_config(limits: Limits) -> Config:
    """Settings of hypercorn for a port with ``limits``."""
    config = Config()
    config.logger_class = _Log
    config.accesslog = config.errorlog = None
    config.h11_max_incomplete_size = limits.head_bytes
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    return config


Admit = Callable[[RequestHead, str, bool], None]
"""Decides about a request by its head, the peer's address, and whether it came by TLS. Raises `RequestRefused`."""


def check_nothing(head: RequestHead, peer: str, secure: bool) -> None:
    """Let every request pass."""


class ClientGone(OSError):
    """Raised in a handler that sends to a client who has left: hypercorn itself would let it go on, for nobody, for ever."""


class _App(ASGIWrapper):
    """hypercorn's way to call an application, ended by `ClientGone`.

    Args:
        app: The application.
        is_leaving: Whether connections are about to be closed: then no further request is to come on one of HTTP/1.
    """

    def __init__(self, app: Any, is_leaving: Callable[[], bool]) -> None:
        super().__init__(app)
        self._is_leaving = is_leaving

    async def __call__(self, scope: Any, receive: Any, send: Any, *_: Any) -> None:
        stream: HTTPStream = send.__self__

        async def send_if_there(message: Any) -> None:
            if stream.closed:
                raise ClientGone("the client has left")
            if message["type"] == "http.response.start" and scope["http_version"] != "2" and self._is_leaving():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            await self.app(scope, receive, send_if_there)
        except* ClientGone:
            pass


class HttpServer:
    """Serves plain HTTP on single connections with one ASGI application.

    Args:
        app: An ASGI application. It needs no lifespan events.
        limits: Bounds of the port.
        meters: Count requests.
        admit: Decides about a request before its body is read.
        counted_as: Whom a peer is counted as; None: many may be behind it.
        rates: How fast an HTTP/2 connection may go.
        is_leaving: Whether the port is being emptied.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        meters: Meters,
        admit: Admit = check_nothing,
        counted_as: Callable[[str], str | None] = block_of,
        rates: RequestRates | None = None,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._limits = limits
        self._meters = meters
        self._admit = admit
        self._counted_as = counted_as
        self._rates = rates or RequestRates()
        self._budget = BodyBudget(limits.bodies_bytes, max(limits.body_bytes, limits.bodies_bytes // CLIENT_SHARE))
        self._app = _App(app, is_leaving)
        self._config = http_config(limits)
        self._context = WorkerContext(None)

    async def serve(
        self,
        stream: ConnectionStream,
        *,
        client: tuple[str, int],
        server: tuple[str, int],
        secure: bool,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Serve requests from ``stream`` until either side closes.

        ``state`` is what the application finds in its scope, and ``sink`` with it: what is offered there while an answer in
        chunks is being sent must be whole chunks.

        Raises:
            UpgradeRequested: A request asks for a WebSocket; the stream is untouched since and still open.
            RequestRefused: A request is not served; nothing was answered to it yet.
            HeadError: What should be a request is malformed or too large; nothing was answered to it yet.
        """
        with BodyLease.of(self._budget, self._counted_as(client[0])) as lease:
            doors = self._doors(client[0], lease, HTTP, secure=secure)
            found = {"sink": stream.sink, **(state or {})}
            mount = _Mount(stream, doors, self._app, self._config, self._context, found, stream)
            await mount.serve(client, server, secure=secure)

    async def serve_http2(
        self,
        stream: ConnectionStream,
        *,
        client: tuple[str, int],
        server: tuple[str, int],
        secure: bool = True,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Serve HTTP/2 from ``stream`` until either side closes."""
        with BodyLease.of(self._budget, self._counted_as(client[0])) as lease:
            doors = self._doors(client[0], lease, HTTP2, secure=secure)
            mount = Http2Mount(doors, self._app, self._config, self._context, dict(state or {}), stream)
            await mount.serve(client, server)

    def _doors(self, peer: str, lease: BodyLease, protocol: str, *, secure: bool) -> Doors:
        admit = self._admit
        return Doors(self._limits, self._rates, lambda head: admit(head, peer, secure), lease, self._meters[protocol])


class _Mount(TCPServer):
    """hypercorn's connection handler with the socket, TLS, protocol choice and the reading of requests taken out.

    Every request head is read by `parse_head` before hypercorn sees it, also on a kept-alive connection, and only when the
    response before it has ended: one parser decides what a request is, and it is the strict one.
    """

    _leaving: UpgradeRequested | RequestRefused | HeadError | None = None

    def __init__(self, input_stream: ConnectionStream, doors: Doors, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._input = input_stream
        self._doors = doors
        self._answered = trio.Event()
        self._answered.set()

    async def serve(self, client: tuple[str, int], server: tuple[str, int], *, secure: bool) -> None:
        try:
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = _Protocol(  # type: ignore[assignment]  # the part of ProtocolWrapper that is used
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    secure,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            log(__name__, "debug", "http_peer_gone", client=client[0])
        finally:
            if self._leaving is None:
                # Closing waits for nobody but the sink, which has its own deadline and ends when its connection is ended.
                with trio.CancelScope(shield=True):
                    await self._close()
            vars(self).pop("protocol", None)  # it refers to this: a cycle would wait for the garbage collector
        if self._leaving is not None:
            raise self._leaving

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated) and not event.idle:
            self._answered = trio.Event()
        await super().protocol_send(event)
        if isinstance(event, Closed) or (isinstance(event, Updated) and event.idle):
            self._answered.set()

    async def _read_data(self) -> None:
        try:
            await self._read_requests()
            await self.protocol.handle(RawData(b""))  # so that it does not wait for another request
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        except (UpgradeRequested, RequestRefused, HeadError) as leaving:
            await self._answered.wait()
            self._leaving = leaving
        if self._leaving is None:
            await self.protocol.handle(Closed())
        await self.idle_task.stop()

    async def _read_requests(self) -> None:
        """Hand over request after request, until the peer has said its last."""
        data = b""
        while True:
            head = parse_head(data, max_bytes=self._doors.limits.head_bytes)
            if head is None:
                more = await self.stream.receive_some()
                if not more:
                    return
                data += more
                continue
            await self._answered.wait()
            if head.wants_websocket:
                raise UpgradeRequested(data)
            try:
                request, data = await self._whole(head, data)
            except (RequestRefused, HeadError) as refusal:
                raise RequestRefused(refusal.status, str(refusal), head.path) from None
            self._doors.meter.messages_in += 1
            self._doors.meter.bytes_in += len(request)
            await self.protocol.handle(RawData(request))

    async def _whole(self, head: RequestHead, data: bytes) -> tuple[bytes, bytes]:
        """The bytes of the whole request that ``data`` begins with, and what was read after it."""
        doors = self._doors
        doors.lease.hold(0)  # the request before is answered
        check_body(head, head.body_length, doors.limits)
        if head.body_length == 0:
            return data[: head.size], data[head.size :]
        doors.admit(head)
        await self.idle_task.stop()  # the body has its own deadline
        body, rest = await read_body(self._input, head, data[head.size :], doors.limits, doors.lease)
        return head.encode_with_length(len(body)) + body, rest


class _Protocol(H11Protocol):
    """hypercorn's HTTP/1.1 without the ways out of it."""

    async def _send_h11_event(self, event: Any) -> None:
        """Like hypercorn's, but an answer that breaks HTTP, or off in its middle, ends its connection and nothing else."""
        try:
            await super()._send_h11_event(event)
        except h11.LocalProtocolError as error:
            log(__name__, "warning", "http_answer_broken", reason=str(error))
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        """No HTTP/2, neither by ``Upgrade: h2c`` nor by its connection preface."""

    async def _send_error_response(self, status_code: int) -> None:
        raise RequestRefused(status_code, "malformed request")
