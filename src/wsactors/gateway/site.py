"""What a node shows of itself: the page, health, the list of sessions, and sessions as plain Ogg Opus."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from .access import Access, told
from .app import CONTENT_SECURITY_POLICY, POLICY_HEADER, refusal_response
from .listen import ListenRoute
from .pages import Page, load_pages

if TYPE_CHECKING:
    from .port import Port


def routes_of(port: Port) -> Sequence[BaseRoute]:
    """The routes of this module."""

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if port.takes_clients else PlainTextResponse("not ready\n", 503)

    is_open, access = port.options.serves_strangers, Access(port)

    async def sessions(request: Request) -> Response:
        if not is_open:
            await access.user(request)
        rows = await port.directory.sessions()
        body = [{"name": row.name, "title": row.title, "kind": row.kind, "listeners": row.listeners} for row in rows]
        return JSONResponse({"sessions": body}, headers={"cache-control": "no-store"})

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/api/sessions", told(sessions)),
        Route("/listen/{file:path}", ListenRoute(port.directory) if is_open else _closed),
        *(Route(path, _page_endpoint(page) if is_open else _closed) for path, page in load_pages().items()),
    ]


async def _closed(request: Request) -> Response:
    """What cannot ask for a login, where one is required."""
    return refusal_response(
        request.scope["path"],
        403,
        "This node serves those who log in, and a page or a player cannot. gateway.allow_anonymous_public opens this to all.",
    )


def _page_endpoint(page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"etag": page.etag, "cache-control": "no-cache", "content-type": page.content_type}
        if page.content_type.startswith("text/html"):
            headers[POLICY_HEADER] = f"{CONTENT_SECURITY_POLICY}; connect-src 'self' {_quic_sources(request)}"
        if page.etag in re.split(r",\s*", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(page.body, headers=headers)

    return serve


def _quic_sources(request: Request) -> str:
    """For the policy of a page: whatever port of this machine QUIC has, now or after it had to move."""
    name = request.url.hostname or "localhost"
    names = ("localhost", "127.0.0.1") if name == "localhost" else (name,)
    return " ".join(f"https://{each}:*" for each in names if ":" not in each)  # no policy can name an IPv6 address
