"""What comes out of an Engine.IO session (see `wsactors.gateway.engineio_core`). Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

PARSE_ERROR: Final = "parse error"
PING_TIMEOUT: Final = "ping timeout"
TRANSPORT_CLOSE: Final = "transport close"
TRANSPORT_ERROR: Final = "transport error"
SERVER_CLOSE: Final = "forced close"
KICKED: Final = "kicked"
"""No word of the protocol: an operator has ended the connection, and its client is not to come back to what it had."""
TOO_SLOW: Final = "transport too slow"


# -- what comes out ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Received:
    """The client says something."""

    data: str | bytes = attrs.field(repr=False)


@attrs.frozen
class Answer:
    """The answer to the GET or POST ``ticket``. A ``body`` of None: it is refused, 400."""

    ticket: int
    body: bytes | None = attrs.field(repr=False)
    count: int = attrs.field(default=0, eq=False)
    """Packets in it."""


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
