"""From the settings of a node to the options of its parts, which know nothing of configuration files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from wsactors.gateway.options import (
    DrainOptions,
    GatewayOptions,
    GatewayRefused,
    Limits,
    RequestRates,
    TlsOptions,
    is_loopback,
)
from wsactors.node.engineio_settings import engineio_options, socketio_options
from wsactors.node.gateway_settings import GatewaySettings
from wsactors.node.quic_settings import QuicSettings
from wsactors.node.settings import Settings

__all__ = [
    "admin_http_options",
    "gateway_options",
    "serves_this_machine_only",
    "state_folder",
]

ADMIN_CONNECTIONS: Final = 100
"""Open connections to the admin port: a scraper or two, and people."""


def gateway_options(
    settings: GatewaySettings,
    state_directory: Path | None,
    allowed_packages: tuple[str, ...] = ("wsactors",),
    *,
    requires_login: bool = False,
) -> GatewayOptions:
    """What the gateway takes; ``state_directory`` keeps its development certificate, ``allowed_packages`` has namespaces.

    ``requires_login``: whether nobody is anonymous on the node (``auth.anonymous = false``).
    """
    tls = settings.tls
    return GatewayOptions(
        host=settings.host,
        region=settings.region,
        port=settings.port,
        port_search=settings.port_search,
        allow_anonymous_public=settings.allow_anonymous_public,
        requires_login=requires_login,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
        unix_socket=settings.unix_socket,
        unix_socket_mode=settings.unix_socket_mode,
        deflate=settings.deflate,
        http2=settings.http2,
        tls=TlsOptions(
            mode=tls.mode,
            cert=tls.cert,
            key=tls.key,
            reload_seconds=tls.reload_seconds,
            key_password=None if tls.key_password is None else tls.key_password.reveal(),
        ),
        limits=Limits(**attrs.asdict(settings.limits)),
        rates=RequestRates(**attrs.asdict(settings.rates)),
        drain=DrainOptions(**attrs.asdict(settings.drain)),
        engineio=engineio_options(settings.engineio),
        socketio=socketio_options(settings.socketio, allowed_packages),
        state_directory=state_directory,
    )


def quic_gateway_options(quic: QuicSettings, gateway: GatewayOptions) -> GatewayOptions:
    """The gateway's options, as if it stood where QUIC does: who may be let in there is decided alike."""
    cert, key, password = quic.cert, quic.key, quic.key_password
    tls = gateway.tls
    if cert is not None and key is not None:
        tls = attrs.evolve(tls, cert=cert, key=key, key_password=None if password is None else password.reveal())
    return attrs.evolve(gateway, host=quic.host or gateway.host, port=quic.port, tls=tls)


def serves_this_machine_only(settings: GatewaySettings) -> bool:
    """Whether no other machine can reach the node, as far as it knows: a proxy in front of it passes everybody on."""
    return is_loopback(settings.host) and not settings.trusted_proxies and settings.unix_socket is None


def admin_http_options(settings: Settings, state_directory: Path | None) -> GatewayOptions:
    """What the admin port takes. Off loopback it speaks TLS with the gateway's certificate, and needs a token.

    Raises:
        GatewayRefused: it could be reached from other machines, and there is no token.
    """
    http = settings.admin.http
    if http.token is None and not is_loopback(http.host):
        raise GatewayRefused(
            f"admin.http.host = {http.host!r} can be reached from other machines: set admin.http.token, or bind 127.0.0.1"
        )
    options = gateway_options(settings.gateway, state_directory)
    return attrs.evolve(
        options,
        tls=attrs.evolve(options.tls, mode="auto"),
        host=http.host,
        port=http.port,
        port_search=http.port_search,
        allow_anonymous_public=True,  # nobody is anonymous here: see above
        allowed_hosts=http.allowed_hosts,
        allowed_origins=(),
        trusted_proxies=(),
        proxy_protocol=False,
        unix_socket=None,
        limits=Limits(connections=ADMIN_CONNECTIONS, connections_per_address=ADMIN_CONNECTIONS),
    )


def state_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where this user's node keeps what outlives it: ``$XDG_STATE_HOME/wsactors`` or ``~/.local/state/wsactors``."""
    environ = os.environ if environ is None else environ
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "wsactors"
    return Path(home) / ".local" / "state" / "wsactors" if (home := environ.get("HOME")) else None
