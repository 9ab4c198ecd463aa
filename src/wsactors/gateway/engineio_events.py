"""How Engine.IO sessions are kept, and what comes out of one (see `wsactors.gateway.engineio_core`). Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

PARSE_ERROR: Final = "parse error"
PING_TIMEOUT: Final = "ping timeout"
TRANSPORT_CLOSE: Final = "transport close"
TRANSPORT_ERROR: Final = "transport error"
SERVER_CLOSE: Final = "forced close"
TOO_SLOW: Final = "transport too slow"


@attrs.frozen
class EngineOptions:
    """How sessions of one endpoint are kept."""

    ping_interval: float = 25.0
    """Seconds between two pings."""
    ping_timeout: float = 20.0
    """Seconds in which a ping must be answered."""
    upgrade_timeout: float = 10.0
    """Seconds in which a client must have moved to the WebSocket that it has opened for that."""
    max_payload: int = 1_000_000
    """Bytes that a client may put into one payload, as it is told."""
    max_message: int = 2 * 1024 * 1024
    """Bytes of one message or body that are taken: a message of ``max_payload`` bytes fits in base64."""
    buffer_bytes: int = 4 * 1024 * 1024
    """Bytes that may wait for one client."""
    polling: bool = True
    websocket: bool = True
    eio3: bool = False
    """Whether clients of revision 3 (Socket.IO 2) are served, too."""
    max_sessions: int = 10_000
    max_sessions_per_address: int = 1_000


# -- what comes out ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Received:
    """The client says something."""

    data: str | bytes


@attrs.frozen
class Answer:
    """The answer to the GET or POST ``ticket``. A ``body`` of None: it is refused, 400."""

    ticket: int
    body: bytes | None


@attrs.frozen
class ToSocket:
    """Whole frames for WebSocket ``socket``."""

    socket: int
    frames: bytes = attrs.field(repr=False)


@attrs.frozen
class CloseSocket:
    """WebSocket ``socket`` is not wanted any more."""

    socket: int


@attrs.frozen
class Upgraded:
    """From now on WebSocket ``socket`` is the transport."""

    socket: int


@attrs.frozen
class Closed:
    """The session has ended, for one of the protocol's reasons. Comes once; a GET may still fetch what waits."""

    reason: str


Event: TypeAlias = Received | Answer | ToSocket | CloseSocket | Upgraded | Closed
