"""Where pages learn how to reach a node by WebTransport, and where they get a ticket for it. Needs no QUIC to be imported."""

from __future__ import annotations

import base64
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wsactors.wire import native
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import loads
from wsactors.wire.plain import Plain

from .access import Access, answer, body_map, told

if TYPE_CHECKING:
    from wsactors.actors import Runtime

    from .port import Port

PATH: Final = "/wt"
"""Of sessions."""
SUBPROTOCOL: Final = "wsactors-v2"


@attrs.frozen
class Offer:
    """Where a node can be reached by QUIC."""

    host: str
    """The address that is bound."""
    port: int
    hashes: Callable[[], Sequence[bytes]]
    """SHA-256 of its certificates; none where browsers trust it."""

    def url(self, name: str) -> str:
        """The address of sessions, for a page that knows the node as ``name``."""
        if name == "localhost" and ":" not in self.host:
            name = "127.0.0.1"  # a browser would try ::1 first, by UDP, where nobody tells it that nobody is there
        return f"https://{f'[{name}]' if ':' in name else name}:{self.port}{PATH}"


_offers: weakref.WeakKeyDictionary[Runtime, Offer] = weakref.WeakKeyDictionary()


def offer(node: Runtime, found: Offer | None) -> None:
    """Tell the pages of ``node`` where it can be reached by QUIC; None: nowhere, any more."""
    if found is None:
        _offers.pop(node, None)
    else:
        _offers[node] = found


def routes_of(port: Port) -> Sequence[BaseRoute]:
    """The routes of this module."""
    return [
        Route("/webtransport.json", told(_where(port)), methods=["GET"]),
        Route("/webtransport/ticket", told(_ticket(port)), methods=["POST"]),
    ]


def _where(port: Port) -> Callable[[Request], Awaitable[Response]]:
    access = Access(port)

    async def where(request: Request) -> Response:
        """Address and certificate hashes: for ``new WebTransport(url, {serverCertificateHashes})``."""
        if not port.options.serves_strangers:
            await access.user(request)
        found = None if port.runtime is None else _offers.get(port.runtime)
        if found is None:
            return answer({})  # no error: every page asks, and a browser would show it as one
        hashes: list[Plain] = [
            {"algorithm": "sha-256", "value": base64.b64encode(each).decode()} for each in found.hashes()
        ]
        name = (request.url.hostname or found.host).strip("[]")
        return answer({"url": found.url(name), "hashes": hashes, "protocols": [SUBPROTOCOL]})

    return where


def _ticket(port: Port) -> Callable[[Request], Awaitable[Response]]:
    access = Access(port)

    async def ticket(request: Request) -> Response:
        """A ticket for one session, for whoever shows a token in the ordinary way."""
        user = await access.user(request)
        session = body_map(loads(await access.body(request)), frozenset({"session"})).get("session")
        if not isinstance(session, str) or not 0 < len(session) <= native.MAX_NAME:
            raise ProtocolError("expected session: the name of the session to be joined")
        text = port.tickets.issue(user, session, request.headers.get("origin", ""), trio.current_time())
        return answer({"ticket": text, "seconds": port.tickets.seconds})

    return ticket
