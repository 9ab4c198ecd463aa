"""The HTTP side of a port as one ASGI application: its routes, and the checks and headers that all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from .guard import Guard
from .proxies import Proxies

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


def build_app(routes: Sequence[BaseRoute], guard: Guard, proxies: Proxies) -> AsgiApp:
    """The ASGI application that serves ``routes`` to those whom ``guard`` lets in.

    In a request's scope ``client`` and ``scheme`` are the client's own, also when it came through one of ``proxies``.
    """
    return _Guarded(Starlette(routes=routes), guard, proxies)


class _Guarded:
    """Checks Host and Origin of every request, answers preflights, and puts the common headers on every response."""

    def __init__(self, app: AsgiApp, guard: Guard, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies
        self._guard = guard
        self._cors = guard.cors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        self._find_client(scope, headers)
        origin = headers.get("origin")
        common = {**SECURITY_HEADERS, **self._cors.headers(origin)}

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(common)
            await send(message)

        secure = scope["scheme"] == "https"
        refusal = self._guard.check(_latin(headers.get("host")), _latin(origin), secure=secure)
        app: AsgiApp = self._app
        if refusal is not None:
            common = dict(SECURITY_HEADERS)
            app = PlainTextResponse(refusal.message + "\n", refusal.status)
        elif origin is not None and self._is_preflight(scope["method"], headers, origin):
            app = Response(status_code=HTTPStatus.NO_CONTENT, headers=self._cors.preflight(origin))
        await app(scope, receive, send_with_headers)

    def _find_client(self, scope: Any, headers: Headers) -> None:
        peer, port = scope["client"]
        if self._proxies.trusts(peer):
            client = self._proxies.client(
                peer,
                secure=scope["scheme"] == "https",
                forwarded_for=",".join(headers.getlist("x-forwarded-for")).encode("latin-1"),
                forwarded_proto=_latin(headers.get("x-forwarded-proto")),
            )
            scope["client"] = (client.address, port if client.address == peer else 0)
            scope["scheme"] = "https" if client.secure else "http"

    def _is_preflight(self, method: str, headers: Headers, origin: str) -> bool:
        return method == "OPTIONS" and "access-control-request-method" in headers and self._cors.allows(origin)


def _latin(value: str | None) -> bytes | None:
    return None if value is None else value.encode("latin-1")
