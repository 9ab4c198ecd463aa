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
from .certificates import Certificates
from .directory import Directory
from .guard import Guard, Refusal
from .http import HttpServer, RequestRefused
from .options import CONNECT_BURST, GatewayOptions, Limits
from .proxies import Client, Proxies
from .rates import Rates
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
    proxies: Proxies
    admission: Admission
    certificates: Certificates | None
    runtime: Runtime | None
    framing: SharedFraming = attrs.field(factory=SharedFraming)
    sinks: weakref.WeakSet[SocketSink] = attrs.field(factory=weakref.WeakSet)
    """Of the connections that are open, for statistics."""
    http: HttpServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        app = build_app(routes_of(self), self.guard, self.proxies)
        object.__setattr__(self, "http", HttpServer(app, self.options.limits, self.admit))

    @classmethod
    def build(
        cls,
        options: GatewayOptions,
        directory: Directory,
        *,
        node_name: str,
        is_ready: Callable[[], bool],
        certificates: Certificates | None = None,
        extra_hosts: tuple[str, ...] = (),
        runtime: Runtime | None = None,
    ) -> Port:
        """Put together what a port with ``options`` needs. Without a ``runtime`` it serves nothing that needs actors."""
        limits = options.limits
        proxies = Proxies.of(options.trusted_proxies)
        return cls(
            options=options,
            node_name=node_name,
            directory=directory,
            is_ready=is_ready,
            guard=Guard.of(options, extra_hosts),
            proxies=proxies,
            admission=Admission(
                total=limits.connections,
                per_address=limits.connections_per_address,
                rates=_rates(limits),
                proxies=proxies,
            ),
            certificates=certificates,
            runtime=runtime,
        )

    @property
    def node(self) -> Runtime:
        """The node whose port this is. Raises `RuntimeError` when it belongs to none."""
        if self.runtime is None:
            raise RuntimeError("this port belongs to no node")
        return self.runtime

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What the next connection is encrypted with; None in clear."""
        return None if self.certificates is None else self.certificates.context

    def client(self, head: RequestHead, peer: str, *, secure: bool) -> Client:
        """Who sends the request ``head``, which came from ``peer``; ``secure``: whether by TLS of this port."""
        return self.proxies.client(
            peer,
            secure=secure,
            forwarded_for=head.joined(b"x-forwarded-for"),
            forwarded_proto=head.get(b"x-forwarded-proto"),
        )

    def check(self, head: RequestHead, client: Client) -> Refusal | None:
        """Why a request with this head is turned away, by its Host and Origin; None when it is not."""
        return self.guard.check(head.get(b"host"), head.get(b"origin"), secure=client.secure)

    def admit(self, head: RequestHead, peer: str, secure: bool) -> None:
        """Decide about a request by its head alone. Raises `RequestRefused`."""
        refusal = self.check(head, self.client(head, peer, secure=secure))
        if refusal is not None:
            raise RequestRefused(refusal.status, refusal.message)

    def statistics(self) -> PortStatistics:
        """How it is doing now."""
        sinks = tuple(sink.statistics() for sink in self.sinks)
        return PortStatistics(self.admission.open, self.admission.refused, sinks)


def _rates(limits: Limits) -> Rates:
    each = limits.connects_per_second_per_address
    return Rates(
        total=limits.connects_per_second,
        total_burst=limits.connects_per_second,
        per_key=each,
        key_burst=each * CONNECT_BURST,
    )
