"""What a node shows of itself: the page, health, the list of sessions, and sessions as plain Ogg Opus."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

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

    async def sessions(_: Request) -> Response:
        rows = await port.directory.sessions()
        body = [{"name": row.name, "title": row.title, "kind": row.kind, "listeners": row.listeners} for row in rows]
        return JSONResponse({"sessions": body}, headers={"cache-control": "no-store"})

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/api/sessions", sessions),
        Route("/listen/{file:path}", ListenRoute(port.directory)),
        *(Route(path, _page_endpoint(page)) for path, page in load_pages().items()),
    ]


def _page_endpoint(page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"etag": page.etag, "cache-control": "no-cache", "content-type": page.content_type}
        if page.etag in re.split(r",\s*", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(page.body, headers=headers)

    return serve
