"""What a gateway needs to know: where to listen, whom to let in, how much to take."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final, Literal

import attrs

from .engineio_options import EngineOptions
from .socketio_options import SocketIoOptions

CONNECT_BURST: Final = 5
"""How many seconds' worth of connections one address may open at once: a page opens six, a load balancer reconnects all."""


class GatewayRefused(Exception):
    """The gateway does not open this port: the text says which setting to change."""


@attrs.frozen
class TlsOptions:
    """Encryption of the port."""

    mode: Literal["off", "auto", "on"] = "auto"
    """``auto``: off on a loopback address, on elsewhere. Without ``cert`` a development certificate is made."""
    cert: Path | None = None
    """PEM file with the certificate chain."""
    key: Path | None = None
    """PEM file with the private key."""
    key_password: str | None = attrs.field(default=None, repr=False)
    reload_seconds: float = 10.0
    """Between two looks whether the files have changed; 0: only when told."""


@attrs.frozen
class Limits:
    """Bounds on what one port takes from the world."""

    connections: int = 10_000
    connections_per_address: int = 1_000
    connects_per_second: float = 2_000.0
    """New connections from all; as many may come at once."""
    connects_per_second_per_address: float = 1_000.0
    """New connections from one address; `CONNECT_BURST` times as many may come at once."""
    head_bytes: int = 16 * 1024
    """Of one request head."""
    head_seconds: float = 5.0
    """In which a whole request head must have come; also for the TLS handshake and a client's first message."""
    body_bytes: int = 2 * 1024 * 1024
    """Of one request body."""
    body_seconds: float = 20.0
    """In which a whole request body must have come."""
    bodies_bytes: int = 64 * 1024 * 1024
    """Of all request bodies that are being received or answered at one time."""
    http2_streams: int = 100
    """Requests that one HTTP/2 connection may have open at a time."""
    message_bytes: int = 64 * 1024
    """Of one WebSocket message from a client."""
    input_rate: float = 64 * 1024
    """Bytes a second that a WebSocket client may send in the long run; a frame counts for 128 more. What comes faster waits
    with the client, as soon as it is more than twice ``message_bytes``. Where messages may be so large that one would take
    more than two seconds, the rate is higher, but not for more frames."""
    buffer_bytes: int = 1024 * 1024
    """That may wait for one client; a larger message may wait if it is the only one."""
    idle_seconds: float = 60.0
    """Silence after which a client is pinged; after as much again it is dropped."""
    audio_age_ms: int = 500
    """Age at which an unsent audio frame is dropped."""
    stall_seconds: float = 30.0
    """In which a client must take something of an answer that waits for it."""
    sessions_per_connection: int = 8
    """How many sessions one connection may hear at once."""


@attrs.frozen
class RequestRates:
    """How fast requests may come: so many a second in the long run, and a burst of them at once."""

    requests: float = 100.0
    """REST requests of one client, and event streams that it opens; a message of a batch counts as one."""
    requests_burst: float = 400.0
    all_requests: float = 5_000.0
    """Of all clients; as many may come at once."""
    request_bytes: int = 64 * 1024
    """Of a body that count as one more request."""
    http2_requests: float = 500.0
    """On one HTTP/2 connection, also those that are no REST; whoever asks faster is sent away."""
    http2_requests_burst: float = 1_000.0
    http2_resets: float = 20.0
    """Requests given up on one connection; whoever gives up more is sent away."""
    http2_resets_burst: float = 200.0
    """Leaving a page resets all that it was loading: at most as many as may be open, once."""
    http2_frames: float = 1_000.0
    """Frames of one connection; what comes faster waits. A megabyte of upload is 64, one of download some 40."""
    http2_frames_burst: float = 2_000.0


@attrs.frozen
class DrainOptions:
    """How a port is emptied before the node stops."""

    seconds: float = 8.0
    """In which everybody must have left; then connections are cut."""
    batch: int = 1_000
    """Clients told at a time."""
    pause: float = 0.25
    """Seconds between two batches; less, where there are too many for the time."""
    reconnect_seconds: float = 5.0
    """Clients are asked to come back within so many seconds, each at a moment of its own."""


@attrs.frozen
class GatewayOptions:
    """One port. The names are those of ``[gateway]`` in a node's configuration."""

    host: str = "127.0.0.1"
    region: str = "local"
    """Where the node is: a label on its metrics."""
    port: int = 8080
    """0 lets the system choose."""
    port_search: int = 20
    """How many following ports are tried when this one is busy."""
    allow_anonymous_public: bool = False
    """Let anybody who reaches a non-loopback address see the page and listen. Without it such an address is refused, or serves
    those alone who log in, if ``requires_login``."""
    requires_login: bool = False
    """Whether the node's authenticator turns away all who show neither a token nor a key (``auth.anonymous = false``)."""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    """Further page origins that may connect; ``*`` for every page, without credentials."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose word about a client is believed; ``unix`` for peers on the UNIX socket."""
    proxy_protocol: bool = False
    """Whether trusted proxies begin each connection with a PROXY header, which is then required of them."""
    unix_socket: Path | None = None
    """Where to serve on a UNIX socket too, in clear."""
    unix_socket_mode: Literal["0600", "0660"] = "0600"
    deflate: bool = False
    """Whether WebSocket clients that ask for it get their messages deflated: a third of the bytes, for twice the work."""
    http2: bool = True
    """Whether HTTP/2 is offered by ALPN."""
    tls: TlsOptions = attrs.field(factory=TlsOptions)
    limits: Limits = attrs.field(factory=Limits)
    rates: RequestRates = attrs.field(factory=RequestRates)
    drain: DrainOptions = attrs.field(factory=DrainOptions)
    engineio: EngineOptions = attrs.field(factory=EngineOptions)
    socketio: SocketIoOptions = attrs.field(factory=SocketIoOptions)
    state_directory: Path | None = None
    """Where the development certificate is kept, so that a browser's exception for it lasts; None: not kept."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach ``host``."""
        return is_loopback(self.host)

    @property
    def serves_strangers(self) -> bool:
        """Whether what cannot ask for a login is served: the page, sessions as files, the list of sessions, ``/echo``."""
        return self.is_loopback or self.allow_anonymous_public

    @property
    def uses_tls(self) -> bool:
        """Whether the port speaks TLS."""
        return self.tls.mode == "on" or (self.tls.mode == "auto" and not self.is_loopback)


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, stays on this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("radio.example")
        (True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(options: GatewayOptions, setting: str = "gateway.host") -> None:
    """Refuse an address that others can reach, unless that is what the operator asked for. ``setting`` has named it.

    Raises:
        GatewayRefused: ``host`` is not loopback, and neither ``allow_anonymous_public`` nor ``requires_login`` is set.
    """
    if not options.serves_strangers and not options.requires_login:
        raise GatewayRefused(
            f"{setting} = {options.host!r} can be reached from other machines, and nobody has to log in: "
            "set gateway.allow_anonymous_public = true if anybody may listen; or set auth.anonymous = false, and one of "
            "auth.secret, auth.jwks and auth.api_keys, if only those may who log in (the page is not served then); or bind "
            f'{setting} = "127.0.0.1"'
        )
