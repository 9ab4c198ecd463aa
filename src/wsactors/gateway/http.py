"""Plain HTTP: hypercorn's HTTP/1.1 protocol, mounted on one connection.

hypercorn is not given the port, since one malformed request would then end the whole worker (hypercorn#225). Here it
serves exactly one connection, inside that connection's actor. What it must not do by itself is taken from it: WebSocket
handshakes, also on a later request of a kept-alive connection, leave it as `UpgradeRequested`; HTTP/2 (and with it
extended CONNECT) is off, by upgrade and by prior knowledge; request bodies are refused, as nothing here takes one.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from wsactors.actors.log import log
from wsactors.actors.redact import safe_text
from wsactors.wire.http_head import MAX_HEADERS

from .options import Limits
from .stream import ConnectionStream

KEEP_ALIVE_SECONDS = 15.0
"""Silence after which a kept-alive connection is closed."""


class UpgradeRequested(Exception):
    """A request on this connection asks for a WebSocket; ``data`` is its head and all that came after it."""

    def __init__(self, data: bytes) -> None:
        super().__init__("a WebSocket was asked for")
        self.data = data


class RequestRefused(Exception):
    """A request that is answered with ``status`` and the end of the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Log(Logger):
    """Sends what hypercorn reports about an application's failure to the node's log; requests are not logged."""

    def __init__(self, config: Config) -> None:
        self.access_logger = self.error_logger = None
        self.access_log_format = ""
        del config

    async def access(self, *_: Any) -> None: ...

    async def exception(self, message: str, *args: Any, **_: Any) -> None:
        detail = message % args if args else message
        log(__name__, "error", "http_application_failed", detail=detail, trace=safe_text(traceback.format_exc()))


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


class HttpServer:
    """Serves plain HTTP on single connections with one ASGI application.

    Args:
        app: An ASGI application. It needs no lifespan events.
        limits: Bounds of the port.
    """

    def __init__(self, app: Any, limits: Limits) -> None:
        self._app = ASGIWrapper(app)
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

        ``state`` is what the application finds in its scope.

        Raises:
            UpgradeRequested: A request asks for a WebSocket; the stream is untouched since and still open.
            RequestRefused: A request is not served; nothing was answered to it yet.
        """
        mount = _Mount(self._app, self._config, self._context, dict(state or {}), stream)  # type: ignore[arg-type]
        await mount.serve(client, server, secure=secure)


class _Mount(TCPServer):
    """hypercorn's connection handler with the socket, TLS and protocol choice taken out."""

    _leaving: UpgradeRequested | RequestRefused | None = None

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
        if self._leaving is not None:
            raise self._leaving

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        except (UpgradeRequested, RequestRefused) as leaving:
            self._leaving = leaving
            await self.idle_task.stop()


class _Protocol(H11Protocol):
    """hypercorn's HTTP/1.1 without the ways out of it."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """No HTTP/2, neither by ``Upgrade: h2c`` nor by its connection preface."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in request.headers]
        if any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers):
            rest, _ = self.connection.trailing_data
            raise UpgradeRequested(_rebuild(request, headers) + rest)
        if len(headers) > MAX_HEADERS:
            raise RequestRefused(431, f"more than {MAX_HEADERS} headers")
        if request.method not in {b"GET", b"HEAD"}:
            raise RequestRefused(405, "only GET and HEAD are served here")
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers
        ):
            raise RequestRefused(413, "requests with a body are not taken here")
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        raise RequestRefused(status_code, "malformed request")


def _rebuild(request: h11.Request, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%s %s HTTP/%s" % (bytes(request.method), bytes(request.target), bytes(request.http_version))]
    lines += [b"%s: %s" % header for header in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
