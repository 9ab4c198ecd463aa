"""Who may come by WebTransport or by QUIC itself.

A browser's session is a CONNECT request with the page's Origin, which is checked as for WebSockets: a page of this node may
pass, or one of ``gateway.allowed_origins``. Who its user is, its first message says, within 3 s; or a ticket in the address,
which was got by REST.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import trio
from aioquic.quic.events import QuicEvent

from wsactors.media.quic.connection import Application, Connection
from wsactors.media.quic.h3 import Accepted, ConnectRequest, Http3, Rejected, Session

from .port import Port
from .quic_conversation import ALPN, RawApplication, SessionHandler, WebTransportApplication
from .tickets import Ticket
from .webtransport_pages import PATH, SUBPROTOCOL

if TYPE_CHECKING:
    from wsactors.actors import Runtime

    from .server import Address

ALPNS: Final = ("h3", ALPN)
"""What the endpoint speaks, best first."""
_REJECTED: Final = 0x10B
"""H3_REQUEST_REJECTED: nothing was done, so the client may try elsewhere."""
_MAX_QUERY: Final = 1_024


class Acceptor:
    """Makes the applications of an endpoint's connections: an `wsactors.media.quic.connection.Accept`.

    Args:
        node: Whose clients they are.
        page: Where the node's pages are served; None while they are not.
    """

    def __init__(self, node: Runtime, page: Callable[[], Address | None]) -> None:
        self._node = weakref.ref(node)
        self._page = page

    def __call__(self, connection: Connection) -> Application:
        """The application of ``connection``, by what was agreed on."""
        port = self._port()
        if port is None or not port.takes_clients:
            connection.close(_REJECTED, "come back in a moment")
            return Deaf()
        if connection.alpn == ALPN:
            return RawApplication(connection, port)
        handlers: list[SessionHandler] = []
        http = Http3(connection, lambda request: self._admit(request, handlers))
        return WebTransportApplication(connection, http, handlers)

    def _port(self) -> Port | None:
        node = self._node()
        return None if node is None else Port.of(node)

    def _admit(self, request: ConnectRequest, handlers: list[SessionHandler]) -> Accepted | Rejected:
        port, page = self._port(), self._page()
        path, _, query = request.path.partition(b"?")
        if path != PATH.encode():
            return Rejected(404)
        if port is None or page is None or not port.takes_clients:
            return Rejected(503)
        refusal = port.guard.check_beside(request.authority, request.origin, port=page.port, secure=page.secure)
        if refusal is not None:
            return Rejected(refusal.status)
        origin = (request.origin or b"").decode("latin-1")
        ticket: Ticket | None = None
        if shown := _ticket_in(query):
            ticket = port.tickets.redeem(shown, origin, trio.current_time())
            if ticket is None:
                return Rejected(401)

        def open_session(session: Session) -> SessionHandler:
            handlers.append(SessionHandler(session, port, origin=origin, ticket=ticket))
            return handlers[0]

        return Accepted(open_session, SUBPROTOCOL if SUBPROTOCOL in request.protocols else None)


class Deaf:
    """An `Application` of nobody: the connection is being closed."""

    def event(self, _: QuicEvent) -> None:
        """Nothing is said to it."""

    def progress(self) -> None:
        """It waits for nothing."""

    async def handle(self, _: Any) -> None:
        """Nothing is asked of it."""
        await trio.lowlevel.checkpoint()

    def closed(self, _: str) -> None:
        """As was wanted."""


def _ticket_in(query: bytes) -> str:
    if len(query) > _MAX_QUERY:
        return "?"
    return dict(parse_qsl(query.decode("latin-1"), max_num_fields=8)).get("ticket", "") if query else ""
