"""What all connections of one port share."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from wsactors.realtime.sinks import Sink, SinkStatistics, SocketSink
from wsactors.wire.http_head import RequestHead
from wsactors.wire.ws_frame import binary_frame

from .admission import Admission
from .app import build_app
from .directory import Directory
from .guard import Guard
from .http import HttpServer, RequestRefused
from .options import GatewayOptions
from .routes import routes_of

if TYPE_CHECKING:
    from wsactors.actors import Runtime


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


@attrs.frozen
class PortStatistics:
    """How a port is doing."""

    open: int
    """Connections open now."""
    refused: int
    """Connections turned away by the limits since the start."""
    sinks: tuple[SinkStatistics, ...]
    """One per open connection."""


@attrs.frozen(eq=False)
class Port:
    """One open port: its settings, its guards and what it serves."""

    options: GatewayOptions
    node_name: str
    directory: Directory
    is_ready: Callable[[], bool]
    """Whether the node's trees are up and it is not draining."""
    guard: Guard
    admission: Admission
    tls: ssl.SSLContext | None
    runtime: Runtime | None
    framing: SharedFraming = attrs.field(factory=SharedFraming)
    sinks: weakref.WeakSet[SocketSink] = attrs.field(factory=weakref.WeakSet)
    """Of the connections that are open, for statistics."""
    http: HttpServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        app = build_app(routes_of(self), self.guard)
        object.__setattr__(self, "http", HttpServer(app, self.options.limits, self.admit))

    @classmethod
    def build(
        cls,
        options: GatewayOptions,
        directory: Directory,
        *,
        node_name: str,
        is_ready: Callable[[], bool],
        tls: ssl.SSLContext | None = None,
        extra_hosts: tuple[str, ...] = (),
        runtime: Runtime | None = None,
    ) -> Port:
        """Put together what a port with ``options`` needs. Without a ``runtime`` it serves nothing that needs actors."""
        limits = options.limits
        return cls(
            options=options,
            node_name=node_name,
            directory=directory,
            is_ready=is_ready,
            guard=Guard.of(options, extra_hosts),
            admission=Admission(total=limits.connections, per_address=limits.connections_per_address),
            tls=tls,
            runtime=runtime,
        )

    @property
    def node(self) -> Runtime:
        """The node whose port this is. Raises `RuntimeError` when it belongs to none."""
        if self.runtime is None:
            raise RuntimeError("this port belongs to no node")
        return self.runtime

    def admit(self, head: RequestHead) -> None:
        """Decide about a request by its head alone. Raises `RequestRefused`."""
        refusal = self.guard.check(head.get(b"host"), head.get(b"origin"))
        if refusal is not None:
            raise RequestRefused(refusal.status, refusal.message)

    def statistics(self) -> PortStatistics:
        """How it is doing now."""
        sinks = tuple(sink.statistics() for sink in self.sinks)
        return PortStatistics(self.admission.open, self.admission.refused, sinks)
