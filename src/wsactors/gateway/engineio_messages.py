"""What an Engine.IO session is asked and told, by the requests and WebSockets that carry it and by what is spoken in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from wsactors.wire.engineio import Packet, Version

from .engineio_events import TRANSPORT_CLOSE
from .ws import WebSocket

if TYPE_CHECKING:
    from .engineio_session import EngineSession


@attrs.frozen(eq=False)
class Handshake:
    """What is known of a client from the request that opened its session."""

    __is_value__ = True

    version: Version
    query: Mapping[str, str] = attrs.field(repr=False)
    """May hold tokens: never to be logged."""
    address: str
    origin: str
    ws: WebSocket | None = None
    """The WebSocket that it came on, if it did."""
    octets: bool = False
    """Whether it takes octet streams by polling; asked in revision 3 alone."""


class EngineConversation(Protocol):
    """What is spoken in one session. Nothing here waits."""

    def received(self, data: str | bytes) -> None:
        """The client says something. Raises `ProtocolError` when that breaks the protocol: the session ends."""
        ...

    def told(self, message: object) -> None:
        """A message for the session's actor, such as a `Down`."""
        ...

    def closed(self, reason: str) -> None:
        """The session has ended. Nothing that is sent arrives any more, unless the client polls once more."""
        ...


class EngineApp(Protocol):
    """What is spoken at one endpoint."""

    def open(self, session: EngineSession, /) -> EngineConversation:
        """A client has come."""
        ...


# -- messages: calls of HTTP requests and WebSockets ---------------------------------------------------------------


@attrs.frozen
class Poll:
    """Call: the client asks what there is. Answered with a body; None: 400."""

    ticket: int


@attrs.frozen
class PollLost:
    """Cast: the GET of this ticket has broken off."""

    ticket: int


@attrs.frozen(eq=False)
class Post:
    """Call: a part of what the client posts. Answered with a body, None: 400; a part that is not the last, with b""."""

    __is_value__ = True

    ticket: int
    packets: tuple[Packet, ...] = attrs.field(repr=False)
    is_first: bool = True
    is_last: bool = True
    is_valid: bool = True
    """Whether all of it could be read."""


@attrs.frozen(eq=False)
class Attach:
    """Cast: a WebSocket for this session."""

    __is_value__ = True

    number: int
    ws: WebSocket


@attrs.frozen
class SocketMessage:
    """Call: a message on WebSocket ``number``. Answered with the seconds for which nothing more is to be read."""

    number: int
    data: str | bytes = attrs.field(repr=False)


@attrs.frozen
class SocketLost:
    """Cast: WebSocket ``number`` has ended, for one of the protocol's reasons or `KICKED`."""

    number: int
    reason: str = TRANSPORT_CLOSE
