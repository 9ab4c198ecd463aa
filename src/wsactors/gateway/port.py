"""What all connections of one port share."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from wsactors.realtime.metrics import Metrics
from wsactors.realtime.service import Realtime
from wsactors.realtime.sinks import SinkStatistics
from wsactors.wire.http_head import RequestHead

from .admission import Admission
from .app import build_app
from .certificates import Certificates
from .directory import Directory
from .drain import Drain
from .framing import SharedFraming
from .guard import Guard, Refusal
from .http import HttpServer, RequestRefused
from .metrics import Meters
from .options import CONNECT_BURST, GatewayOptions, Limits, RequestRates
from .proxies import Client, Proxies
from .rates import Rates
from .routes import conversations_of, routes_of, services_of
from .tickets import Tickets

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from wsactors.actors import Runtime
    from wsactors.supervision import ChildSpec

    from .conversation import Conversation
    from .quic_conversation import QuicConversation
    from .ws import WebSocket


@attrs.frozen
class PortStatistics:
    """How a port is doing."""

    open: int
    """Connections open now."""
    refused: int
    """Connections turned away by the limits since the start."""
    sinks: tuple[SinkStatistics, ...]
    """One per open connection."""


@attrs.frozen
class Site:
    """What a port serves."""

    routes: Callable[[Port], Sequence[BaseRoute]]
    conversations: Callable[[Port], Mapping[str, Conversation]]
    services: Callable[[Port], Sequence[ChildSpec]]
    opened: str = "gateway_open"
    """The event that the log has when the port is open."""
    serves: str = "page"
    """What the log then says it is."""


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
    site: Site | None = None
    """What it serves; None: everything that the gateway has."""
    meters: Meters = attrs.field(factory=Meters)
    """Know the connections that are open, and what all have sent."""
    requests: Rates = attrs.field(init=False)
    """How fast REST requests may come, whatever they ask for."""
    drain: Drain = attrs.field(init=False)
    """Knows all who are told before the node stops."""
    websockets: set[WebSocket] = attrs.field(factory=set)
    """Those that are open."""
    quic: set[QuicConversation] = attrs.field(factory=set)
    """Clients that have come by QUIC or WebTransport."""
    tickets: Tickets = attrs.field(factory=Tickets)
    """With which clients come in that have shown a token by REST."""
    http: HttpServer = attrs.field(init=False)
    conversations: Mapping[str, Conversation] = attrs.field(init=False)
    """What is spoken on WebSockets, by path."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "drain", Drain(self.options.drain))
        object.__setattr__(self, "requests", _request_rates(self.options.rates))
        site = self.what
        app = build_app(site.routes(self), self.guard, self.proxies)
        counted_as, rates = self.admission.counted_as, self.options.rates
        drain = self.drain
        http = HttpServer(
            app, self.options.limits, self.meters, self.admit, counted_as, rates, is_leaving=lambda: drain.is_on
        )
        object.__setattr__(self, "http", http)
        object.__setattr__(self, "conversations", site.conversations(self))

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
        site: Site | None = None,
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
            site=site,
        )

    @property
    def what(self) -> Site:
        """What it serves."""
        return self.site or Site(routes_of, conversations_of, services_of)

    @property
    def takes_clients(self) -> bool:
        """Whether balancers are to send clients here: the node is ready, and this port is not being emptied."""
        return self.is_ready() and not self.drain.is_on

    @property
    def services(self) -> Sequence[ChildSpec]:
        """What is to run beside the connections."""
        return self.what.services(self)

    @classmethod
    def of(cls, node: Runtime) -> Port | None:
        """The gateway's port of ``node``; None while it has none."""
        return _ports.get(node)

    def remember(self) -> None:
        """Be the one that `of` finds, and the one whose connections the node's metrics show."""
        _ports[self.node] = self
        metrics = Metrics.of(self.node)
        self.meters.register(metrics)
        metrics.total(
            "wsactors_connections_refused_total", "Connections over the limits.", lambda: self.admission.refused
        )
        metrics.total(
            "wsactors_drained_total", "Clients told that the node stops.", lambda: self.drain.statistics().told
        )

    @property
    def node(self) -> Runtime:
        """The node whose port this is. Raises `RuntimeError` when it belongs to none."""
        if self.runtime is None:
            raise RuntimeError("this port belongs to no node")
        return self.runtime

    @property
    def realtime(self) -> Realtime:
        """The node's topics. Raises `LookupError` when it has none, `RuntimeError` when this port belongs to no node."""
        return Realtime.of(self.node)

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

    async def refresh_meters(self) -> None:
        """Bring what `meters` says up to date."""
        try:
            direct = self.realtime.relay.sent()
        except LookupError:  # this node has no topics
            direct = {}
        await self.meters.refresh(direct)

    def statistics(self) -> PortStatistics:
        """How it is doing now."""
        sinks = tuple(sink.statistics() for sink in self.meters.connections)
        return PortStatistics(self.admission.open, self.admission.refused, sinks)


_ports: weakref.WeakKeyDictionary[Runtime, Port] = weakref.WeakKeyDictionary()


def _rates(limits: Limits) -> Rates:
    each = limits.connects_per_second_per_address
    return Rates(
        total=limits.connects_per_second,
        total_burst=limits.connects_per_second,
        per_key=each,
        key_burst=each * CONNECT_BURST,
    )


def _request_rates(rates: RequestRates) -> Rates:
    return Rates(
        total=rates.all_requests,
        total_burst=rates.all_requests,
        per_key=rates.requests,
        key_burst=rates.requests_burst,
    )
