"""The HTTP side of a port as one ASGI application: its routes, and the checks and headers that all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from .guard import Guard
from .proxies import Proxies
from .refusals import refuse

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
POLICY_HEADER = "content-security-policy"
SECURITY_HEADERS: Mapping[str, str] = {
    POLICY_HEADER: CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

_MESSAGES: Mapping[int, str] = {
    404: "There is nothing at this path.",
    405: "This path does not serve that method; see Allow.",
}


def build_app(routes: Sequence[BaseRoute], guard: Guard, proxies: Proxies) -> AsgiApp:
    """The ASGI application that serves ``routes`` to those whom ``guard`` lets in.

    In a request's scope ``client`` and ``scheme`` are the client's own, also when it came through one of ``proxies``.
    """
    handlers: Mapping[Any, Any] = {HTTPException: _no_route, Exception: _failed}
    return _Guarded(Starlette(routes=routes, exception_handlers=handlers), guard, proxies)


def _no_route(request: Request, error: Exception) -> Response:
    """Nothing is there, or nothing that does what was asked."""
    assert isinstance(error, HTTPException)
    status, allowed = error.status_code, (error.headers or {}).get("Allow")
    headers = {} if allowed is None else {"allow": ", ".join(sorted(allowed.split(", ")))}  # it comes from a set
    return refusal_response(request.scope["path"], status, _MESSAGES.get(status, HTTPStatus(status).phrase), headers)


def _failed(request: Request, _: Exception) -> Response:
    """An endpoint has raised, which goes to the log."""
    return refusal_response(request.scope["path"], 500, "This node has failed to answer that.")


def refusal_response(path: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`refuse`, as Starlette has answers."""
    said = refuse(path, status, message, headers)
    return Response(said.body, said.status, said.headers)


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
                answered = MutableHeaders(scope=message)
                own_policy = answered.get(POLICY_HEADER)
                answered.update(common if own_policy is None else {**common, POLICY_HEADER: own_policy})
            await send(message)

        secure = scope["scheme"] == "https"
        refusal = self._guard.check(_latin(headers.get("host")), _latin(origin), secure=secure)
        app: AsgiApp = self._app
        if refusal is not None:
            common = dict(SECURITY_HEADERS)
            app = refusal_response(scope["path"], refusal.status, refusal.message)
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
