"""The settings of the gateway: where it listens, whom it lets in, how much it takes (:mod:`wsactors.node.settings`)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal

import attrs

from wsactors.node.engineio_settings import EngineIoSettings, SocketIoSettings
from wsactors.node.fields import BadSetting, between, matches, section, setting, zero_or
from wsactors.node.secret import Secret

__all__ = ["GatewaySettings", "LimitSettings", "RequestRateSettings", "TlsSettings"]


def _networks(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        if text == "unix":
            continue
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            message = f'expected addresses, networks or "unix", got {text!r}'
            raise BadSetting(attribute.name, message) from None


@attrs.frozen
class TlsSettings:
    """Encryption of the gateway's port."""

    mode: Literal["off", "auto", "on"] = setting(
        "auto",
        "off = plain http; on = https with cert and key, or with a development certificate where these are empty; "
        "auto = off on a loopback address, on elsewhere (browsers decode audio only on https or loopback pages).",
    )
    cert: Path | None = setting(None, "PEM file with the certificate chain.")
    key: Path | None = setting(None, "PEM file with the private key.")
    reload_seconds: float = setting(
        10.0,
        "Seconds between two looks whether the files have changed (SIGHUP looks at once); new connections get the new "
        "certificate, open ones stay. 0 = look only at SIGHUP.",
        check=zero_or(0.05, 86_400),
    )
    key_password: Secret | None = setting(None, "Password of the private key.", secret=True)

    def __attrs_post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            missing = "key" if self.key is None else "cert"
            raise BadSetting(missing, "expected both cert and key, or neither (a development certificate is made then)")


@attrs.frozen
class LimitSettings:
    """Bounds on what one port takes from the world."""

    connections: int = setting(10_000, "Open connections, all clients together.", check=between(1, 1_000_000))
    connections_per_address: int = setting(1_000, "Open connections from one address.", check=between(1, 1_000_000))
    connects_per_second: float = setting(
        2_000.0,
        "New connections a second, all clients together; as many more may come at once.",
        check=between(0.1, 1_000_000),
    )
    connects_per_second_per_address: float = setting(
        1_000.0,
        "New connections a second from one address; five times as many may come at once.",
        check=between(0.1, 1_000_000),
    )
    head_bytes: int = setting(16_384, "Bytes of one HTTP request head.", check=between(1024, 1_048_576))
    head_seconds: float = setting(5.0, "Seconds in which a whole request head must have come.", check=between(0.1, 300))
    body_bytes: int = setting(2_097_152, "Bytes of one HTTP request body.", check=between(1024, 268_435_456))
    body_seconds: float = setting(
        20.0, "Seconds in which a whole request body must have come.", check=between(0.1, 3600)
    )
    bodies_bytes: int = setting(
        67_108_864, "Bytes of all request bodies that are here at one time.", check=between(1024, 1 << 40)
    )
    http2_streams: int = setting(
        100, "Requests that one HTTP/2 connection may have open at a time.", check=between(1, 1000)
    )
    message_bytes: int = setting(65_536, "Bytes of one message from a client.", check=between(1024, 16_777_216))
    input_rate: float = setting(
        65_536.0,
        "Bytes a second that one WebSocket client may send in the long run, 128 for each frame added; what comes faster waits.",
        check=between(1024, 1e9),
    )
    buffer_bytes: int = setting(
        1_048_576,
        "Bytes that may wait for one client that reads slowly; a larger message may wait if it is the only one.",
        check=between(16_384, 1 << 30),
    )
    idle_seconds: float = setting(
        60.0, "Seconds of silence after which a client is pinged, then dropped.", check=between(1, 86_400)
    )
    stall_seconds: float = setting(
        30.0, "Seconds in which a client must take something of an answer that waits for it.", check=between(0.1, 3600)
    )
    sessions_per_connection: int = setting(
        8, "Sessions one connection may hear at the same time.", check=between(1, 1000)
    )
    audio_age_ms: int = setting(500, "Age at which an unsent audio frame is dropped.", check=between(20, 10_000))


@attrs.frozen
class RequestRateSettings:
    """How fast requests may come: so many each second in the long run, and a burst of them at once."""

    requests: float = setting(
        100.0,
        "REST requests, event streams and polled sessions that one client begins each second; what is over it is answered with "
        "429, or as the protocol has it. A message of a batch counts as one.",
        check=between(0.001, 1e9),
    )
    requests_burst: float = setting(400.0, "Of one client at once.", check=between(1, 1e9))
    all_requests: float = setting(
        5_000.0, "Of all clients together each second; as many may come at once.", check=between(1, 1e9)
    )
    request_bytes: int = setting(
        65_536, "Bytes of a body that count as one request more.", check=between(1024, 268_435_456)
    )
    http2_requests: float = setting(
        500.0,
        "Requests of any kind on one HTTP/2 connection each second; one that has more is ended.",
        check=between(0.001, 1e9),
    )
    http2_requests_burst: float = setting(1_000.0, "Of them at once.", check=between(1, 1e9))
    http2_resets: float = setting(
        20.0,
        "Requests that are given up on one HTTP/2 connection each second; one that has more is ended.",
        check=between(0.001, 1e9),
    )
    http2_resets_burst: float = setting(
        200.0, "Of them at once; whoever leaves a page gives up all that it was loading.", check=between(1, 1e9)
    )
    http2_frames: float = setting(
        1_000.0,
        "Frames of one HTTP/2 connection each second, a megabyte up is 64; what comes faster waits.",
        check=between(1, 1e9),
    )
    http2_frames_burst: float = setting(2_000.0, "Of them at once.", check=between(1, 1e9))


@attrs.frozen
class DrainSettings:
    """How the port is emptied before the node stops."""

    seconds: float = setting(
        8.0,
        "Seconds in which all clients must have left, then they are cut; keep it below node.shutdown_timeout.",
        check=between(0, 3600),
    )
    batch: int = setting(1_000, "Clients told at a time to come back later.", check=between(1, 1_000_000))
    pause: float = setting(0.25, "Seconds between two batches; less where there are too many.", check=between(0, 60))
    reconnect_seconds: float = setting(
        5.0,
        "Seconds in which clients are asked to come back, each at a moment of its own.",
        check=between(0, 3600),
    )


@attrs.frozen
class GatewaySettings:
    """The one port that serves the page, health and WebSocket."""

    enabled: bool = setting(True, "Whether this node opens a port at all.")
    host: str = setting("127.0.0.1", "Address to bind. The default is reachable from this machine only.")
    region: str = setting(
        "local",
        "Where this node is, such as eu-west: a label on its metrics.",
        check=matches(r"[a-z0-9][a-z0-9-]{0,31}", "at most 32 small letters, digits and dashes"),
    )
    port: int = setting(8080, "Port to bind; 0 lets the system choose.", check=between(0, 65_535))
    port_search: int = setting(
        20,
        "How many following ports are tried when the port is busy; 0 makes a busy port an error.",
        check=between(0, 1000),
    )
    allow_anonymous_public: bool = setting(
        False,
        "Let anybody who reaches a non-loopback address see the page and listen. Without it such an address is refused; or, "
        "where auth.anonymous is false, only those are served who log in, which the page, /listen and /echo cannot.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (), "Further names accepted in the Host header (the bound address and, on loopback, localhost always are)."
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        'Further page origins that may connect, such as "https://radio.example"; same-origin always may. "*" lets every '
        "page in, without credentials.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Addresses and networks of the proxies in front, such as 10.0.0.0/8; only what they say about a client is believed "
        '(X-Forwarded-For, X-Forwarded-Proto, the PROXY protocol). A UNIX socket\'s peer is one if "unix" is listed.',
        check=_networks,
    )
    proxy_protocol: bool = setting(
        False,
        "Connections of trusted proxies begin with a PROXY header, version 1 or 2; those that do not are closed.",
    )
    unix_socket: Path | None = setting(None, "Path of a UNIX socket to serve on too, in clear; empty = none.")
    unix_socket_mode: Literal["0600", "0660"] = setting(
        "0600", "Who may connect to that socket: its owner, or also its group."
    )
    http2: bool = setting(True, "Offer HTTP/2 to clients that come by TLS; in clear it is HTTP/1.1 always.")
    tls: TlsSettings = section(TlsSettings, "Encryption of the gateway's port.")
    deflate: bool = setting(
        False,
        "Deflate messages for WebSocket clients that ask for it (permessage-deflate): a third of the bytes on the wire, "
        "about twice the work.",
    )
    limits: LimitSettings = section(LimitSettings, "Bounds on what one port takes from the world.")
    rates: RequestRateSettings = section(RequestRateSettings, "How fast requests may come.")
    drain: DrainSettings = section(DrainSettings, "How the port is emptied before the node stops.")
    engineio: EngineIoSettings = section(EngineIoSettings, "Engine.IO, which carries Socket.IO.")
    socketio: SocketIoSettings = section(SocketIoSettings, "Socket.IO on /socket.io/.")
