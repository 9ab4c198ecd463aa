"""QUIC as actors: an endpoint that has the UDP port, one actor per connection, and a certificate that is kept fresh."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import trio
from aioquic.tls import CipherSuite

from wsactors.actors import ProcessActor, Stop
from wsactors.media.quic.bounded import BoundedConfiguration
from wsactors.media.quic.congestion import LIVE
from wsactors.media.quic.endpoint import EndpointBinding, EndpointOptions, QuicEndpoint
from wsactors.media.quic.self_check import choose_backend
from wsactors.realtime.metrics import Metrics
from wsactors.supervision import ChildSpec, DynamicSupervisor, Supervisor

from .dev_certificate import Identity, QuicCertificates
from .port import Port
from .quic_metrics import register
from .webtransport import ALPNS, Acceptor
from .webtransport_pages import Offer, offer

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration

    from .server import Address

WINDOW_BYTES: Final = 256 * 1024
"""What one connection may send that is not taken yet; a quarter of it on one stream."""
STREAMS: Final = 8
"""That a client may have open at a time, of each kind. HTTP/3 itself needs three, and a session two."""
MAX_DATAGRAM_FRAME: Final = 65_536
"""What is announced: that datagrams are taken. None is larger than a packet anyway."""
MOVED_SECONDS: Final = 2.0
"""In which the clients of a flooded port are asked to come back by the next."""
STOP_SECONDS: Final = 2.0


@attrs.frozen
class QuicOptions:
    """One QUIC port."""

    endpoint: EndpointOptions = attrs.field(factory=EndpointOptions)
    backend: str = "auto"
    idle_seconds: float = 30.0


class QuicServer(Supervisor):
    """One UDP port and its connections.

    Args of ``init``:
        options: The port.
        certificates: What it is encrypted with.
        page: Where the node's pages are served; None while they are not.
        on_open: Told host, port and offer whenever it has opened.

    The gateway of the node has the sessions, the limits of messages and the list of guests who are told when it stops.
    """

    async def init(
        self,
        options: QuicOptions,
        certificates: QuicCertificates,
        page: Callable[[], Address | None],
        on_open: Callable[[Offer], object] = lambda _: None,
    ) -> object:
        """Open the port. Raises `EndpointRefused`."""
        node = self.node

        configurations = Configurations(certificates, options.idle_seconds)

        def opened(host: str, port: int) -> None:
            found = Offer(host, port, certificates.hashes)
            offer(node, found)
            on_open(found)

        binding = EndpointBinding(
            options.endpoint,
            # The check at the start takes some 20 ms, which others need not wait for.
            await trio.to_thread.run_sync(choose_backend, options.backend),
            lambda: configurations.present(binding.reset_key),
            Acceptor(node, page),
            on_open=opened,
            on_flood=lambda: _send_elsewhere(Port.of(node)),
        )
        self.at_death("offer", lambda _: offer(node, None))
        register(Metrics.of(node), binding.current)
        connections = f"{self.pid}.connections"
        limit = options.endpoint.hub.connections
        children = [
            ChildSpec(
                "connections",
                DynamicSupervisor,
                kwargs={"max_children": limit, "extra_args": (binding.current,)},
                name=connections,
            ),
            ChildSpec("certificates", CertificateWatch, (certificates,), restart="transient"),
            ChildSpec("endpoint", QuicEndpoint, (binding, connections), shutdown=STOP_SECONDS),
        ]
        return await super().init("rest_for_one", children, intensity=5, period=10.0)


class CertificateWatch(ProcessActor):
    """Has the certificate read again when its files change."""

    def init(self, certificates: QuicCertificates) -> None:
        """Watch these."""
        self._certificates = certificates

    async def run(self) -> Stop:
        """Watch until there is nothing to watch."""
        await self._certificates.watch()
        return Stop("normal")


class Configurations:
    """What new connections are made with: the same for all, until there is another certificate.

    Args:
        certificates: What they are encrypted with.
        idle_seconds: Of silence, after which they end.
    """

    def __init__(self, certificates: QuicCertificates, idle_seconds: float) -> None:
        self._certificates = certificates
        self._idle_seconds = idle_seconds
        self._known: tuple[Identity, bytes, QuicConfiguration] | None = None

    def present(self, reset_key: bytes) -> QuicConfiguration:
        """For the next connection."""
        identity, known = self._certificates.identity(), self._known
        if known is None or known[0] is not identity or known[1] != reset_key:
            known = self._known = identity, reset_key, configuration(identity, self._idle_seconds, reset_key)
        return known[2]


def configuration(identity: Identity, idle_seconds: float, reset_key: bytes) -> QuicConfiguration:
    """What a connection is made with."""
    found = BoundedConfiguration(
        is_client=False,
        alpn_protocols=list(ALPNS),
        congestion_control_algorithm=LIVE,
        idle_timeout=idle_seconds,
        max_data=WINDOW_BYTES,
        max_stream_data=WINDOW_BYTES // 4,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME,
        max_streams_bidi=STREAMS,
        max_streams_uni=STREAMS,
        reset_key=reset_key,
        # Of those that the client has, too, the first is taken: what costs us least.
        cipher_suites=[
            CipherSuite.AES_128_GCM_SHA256,
            CipherSuite.AES_256_GCM_SHA384,
            CipherSuite.CHACHA20_POLY1305_SHA256,
        ],
    )
    found.certificate, found.certificate_chain = identity.chain[0], list(identity.chain[1:])
    found.private_key = identity.key
    return found


def _send_elsewhere(port: Port | None) -> None:
    """Tell everybody who came by QUIC that it goes on by another port."""
    for each in () if port is None else tuple(port.quic):
        each.say_goodbye(MOVED_SECONDS * random.uniform(0.5, 1.0), "this port is flooded, and another is opened")  # noqa: S311
