"""What all connections of one port share."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable

import attrs

from wsactors.realtime.sinks import Sink, SinkStatistics, SocketSink
from wsactors.wire.ws_frame import binary_frame

from .admission import Admission
from .app import build_app
from .directory import Directory
from .guard import Guard
from .http import HttpServer
from .options import GatewayOptions


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
    guard: Guard
    admission: Admission
    http: HttpServer
    tls: ssl.SSLContext | None
    framing: SharedFraming
    sinks: weakref.WeakSet[SocketSink] = attrs.field(factory=weakref.WeakSet)
    """Of the connections that are open, for statistics."""

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
    ) -> Port:
        """Put together what a port with ``options`` needs."""
        guard = Guard.of(options, extra_hosts)
        limits = options.limits
        return cls(
            options=options,
            node_name=node_name,
            directory=directory,
            guard=guard,
            admission=Admission(total=limits.connections, per_address=limits.connections_per_address),
            http=HttpServer(build_app(directory, guard, is_ready), limits),
            tls=tls,
            framing=SharedFraming(),
        )

    def statistics(self) -> PortStatistics:
        """How it is doing now."""
        sinks = tuple(sink.statistics() for sink in self.sinks)
        return PortStatistics(self.admission.open, self.admission.refused, sinks)
