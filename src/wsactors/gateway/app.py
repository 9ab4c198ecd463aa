"""The HTTP side of the port: the page, health, the list of sessions, and sessions as plain Ogg Opus."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .directory import Directory
from .guard import Guard
from .listen import ListenRoute
from .pages import Page, load_pages

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def build_app(directory: Directory, guard: Guard, is_ready: Callable[[], bool]) -> AsgiApp:
    """The ASGI application of a gateway.

    ``is_ready`` says whether the node's trees are up and it is not draining.
    """

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("not ready\n", 503)

    async def sessions(_: Request) -> Response:
        rows = await directory.sessions()
        body = [{"name": row.name, "title": row.title, "kind": row.kind, "listeners": row.listeners} for row in rows]
        return JSONResponse({"sessions": body}, headers={"cache-control": "no-store"})

    routes = [
        Route("/health", health),
        Route("/ready", ready),
        Route("/api/sessions", sessions),
        Route("/listen/{file:path}", ListenRoute(directory)),
        *(Route(path, _page_endpoint(page)) for path, page in load_pages().items()),
    ]
    return _Guarded(Starlette(routes=routes), guard)


def _page_endpoint(page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"etag": page.etag, "cache-control": "no-cache", "content-type": page.content_type}
        if page.etag in re.split(r",\s*", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(page.body, headers=headers)

    return serve


class _Guarded:
    """Checks Host and Origin of every request and puts the security headers on every response."""

    def __init__(self, app: AsgiApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        refusal = self._guard.check(_latin(host), _latin(origin))

        async def send_secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        app: AsgiApp = self._app
        if refusal is not None:
            app = PlainTextResponse(refusal.message + "\n", refusal.status)
        await app(scope, receive, send_secured)


def _latin(value: str | None) -> bytes | None:
    return None if value is None else value.encode("latin-1")
