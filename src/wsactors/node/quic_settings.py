"""The settings of QUIC and WebTransport (:mod:`wsactors.node.settings`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from wsactors.node.fields import BadSetting, between, section, setting, zero_or
from wsactors.node.secret import Secret

__all__ = ["QuicLimitSettings", "QuicSettings"]


@attrs.frozen
class QuicLimitSettings:
    """Bounds on what the QUIC port takes from the world."""

    connections: int = setting(2_000, "Open connections, all clients together.", check=between(1, 1_000_000))
    connections_per_address: int = setting(1_000, "Open connections from one address.", check=between(1, 1_000_000))
    retry_above: float = setting(
        50.0,
        "Handshakes each second; when more come, clients show first that their address is their own (a Retry: one more "
        "round trip). 0 = always.",
        check=zero_or(1, 100_000),
    )
    half_open: int = setting(
        256, "Handshakes under way with clients that have not shown that.", check=between(1, 100_000)
    )
    handshake_share: float = setting(
        0.2, "Part of one processor that handshakes may take, so that listeners go on hearing.", check=between(0.01, 1)
    )
    packets_per_address: float = setting(
        500.0,
        "Packets a second of one address without a connection; more are dropped before they are decrypted.",
        check=between(10, 1e9),
    )
    packets_per_connection: float = setting(
        400.0, "Packets a second of each connection, which its address may send on top.", check=between(100, 1e9)
    )
    flood_packets: float = setting(
        50_000.0,
        "Packets a second dropped for coming too fast; when it is more for 3 s, the node moves to another UDP port and tells "
        "its clients. 0 = never.",
        check=zero_or(1_000, 1e9),
    )


@attrs.frozen
class QuicSettings:
    """Sound as QUIC datagrams: WebTransport for browsers, QUIC itself for other clients. Needs the gateway."""

    enabled: bool = setting(False, "Whether this node opens a UDP port for QUIC. Needs wsactors[media].")
    host: str = setting("", "Address to bind; empty = gateway.host.")
    port: int = setting(4433, "UDP port to bind; 0 lets the system choose.", check=between(0, 65_535))
    port_search: int = setting(
        20,
        "How many following ports are tried when the port is busy; 0 makes a busy port an error.",
        check=between(0, 1000),
    )
    backend: Literal["auto", "fast", "aioquic", "qh3"] = setting(
        "auto",
        "What speaks QUIC: fast = aioquic with a short way for datagrams; aioquic = without it; qh3 = that library, from "
        "wsactors[qh3]; auto = fast, or aioquic where a check at the start finds that the short way would not do.",
    )
    cert: Path | None = setting(
        None, "PEM file with the certificate chain; empty = gateway.tls.cert, or else a development certificate."
    )
    key: Path | None = setting(None, "PEM file with the private key; empty = gateway.tls.key.")
    key_password: Secret | None = setting(None, "Password of the private key.", secret=True)
    buffer_bytes: int = setting(
        4_194_304,
        "Bytes that the kernel is asked to keep for the port, each way; the log warns when it gives less.",
        check=between(65_536, 1 << 30),
    )
    idle_seconds: float = setting(
        30.0, "Seconds without a packet after which a connection is forgotten.", check=between(5, 600)
    )
    limits: QuicLimitSettings = section(QuicLimitSettings, "Bounds on what the QUIC port takes from the world.")

    def __attrs_post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            missing = "key" if self.key is None else "cert"
            raise BadSetting(missing, "expected both cert and key, or neither (then the gateway's are taken)")
