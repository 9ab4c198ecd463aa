"""From the settings of a node to its QUIC port. Imported when that is enabled: it needs libraries that others do not."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

from wsactors.gateway.dev_certificate import CertificateFiles, DevelopmentCertificates, QuicCertificates
from wsactors.gateway.options import GatewayOptions, GatewayRefused, check_exposure
from wsactors.gateway.quic_server import QuicOptions, QuicServer
from wsactors.gateway.server import public_hosts
from wsactors.gateway.webtransport_pages import Offer
from wsactors.media.quic.door import DoorOptions, HubOptions
from wsactors.media.quic.endpoint import EndpointOptions
from wsactors.node.context import NodeContext
from wsactors.node.quic_settings import QuicSettings
from wsactors.node.wiring import gateway_options, quic_gateway_options
from wsactors.realtime.addresses import block_of
from wsactors.supervision import ChildSpec

__all__ = ["quic_child", "quic_options"]

_ADDRESSES_KEPT = 16_384


def quic_options(settings: QuicSettings, host: str) -> QuicOptions:
    """What the QUIC port takes; ``host`` is where it is bound."""
    limits = settings.limits
    return QuicOptions(
        EndpointOptions(
            host=host,
            port=settings.port,
            port_search=settings.port_search,
            buffer_bytes=settings.buffer_bytes,
            flood_packets=limits.flood_packets,
            hub=HubOptions(
                connections=limits.connections,
                connections_per_address=limits.connections_per_address,
                packets_per_address=limits.packets_per_address,
                packets_per_connection=limits.packets_per_connection,
                door=DoorOptions(limits.retry_above, limits.half_open, limits.handshake_share),
                block=lru_cache(_ADDRESSES_KEPT)(block_of),
            ),
        ),
        backend=settings.backend,
        idle_seconds=settings.idle_seconds,
    )


def quic_child(context: NodeContext) -> ChildSpec:
    """The QUIC server of the node that has ``context``.

    Raises:
        GatewayRefused: the address may not be used, or the certificate cannot be.
    """
    settings = context.settings
    gateway = gateway_options(settings.gateway, None, requires_login=not settings.auth.anonymous)
    options = quic_gateway_options(settings.quic, gateway)
    check_exposure(options, "quic.host")
    if settings.quic.backend == "qh3" and importlib.util.find_spec("qh3") is None:
        raise GatewayRefused("quic.backend = 'qh3' needs qh3: pip install 'wsactors[qh3]', or set it to 'auto'")
    certificates = certificates_of(options)
    context.reloads["quic certificate"] = certificates.reload

    def opened(found: Offer) -> None:
        context.quic = found

    arguments = (quic_options(settings.quic, options.host), certificates, lambda: context.gateway, opened)
    return ChildSpec("server", QuicServer, arguments, type="supervisor", shutdown="infinity")


def certificates_of(options: GatewayOptions) -> QuicCertificates:
    """The certificate that the configuration names, or those made here. Raises `GatewayRefused`."""
    tls = options.tls
    if tls.cert is not None and tls.key is not None:
        return CertificateFiles(tls.cert, tls.key, tls.key_password, reload_seconds=tls.reload_seconds)
    return DevelopmentCertificates(public_hosts(options))
