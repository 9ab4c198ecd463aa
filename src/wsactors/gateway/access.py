"""What all HTTP endpoints for topics have in common: who asks, how often he may, and how he is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from wsactors.realtime.identity import AuthRefused, Credentials, Refused, User
from wsactors.realtime.publication import Position
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain
from wsactors.wire.sse import decode_position

from .admission import block_of

if TYPE_CHECKING:
    from .port import Port

NO_STORE: Final = {"cache-control": "no-store"}
_STATUS: Final[Mapping[str, int]] = {
    "missing": 401,
    "malformed": 401,
    "expired": 401,
    "revoked": 401,
    "signature": 401,
    "claims": 401,
    "unmatched_topic": 404,
    "not_found": 404,
    "too_large": 413,
    "rate": 429,
    "too_many": 503,
    "overloaded": 503,
    "timeout": 503,
    "crash": 503,
}
"""By the code of a refusal; any other is 403."""


class Access:
    """The door of one port's endpoints for topics."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._request_bytes = port.options.rates.request_bytes

    async def user(self, request: Request, *, by_query: bool = False) -> User:
        """Who asks. Raises `Refused`."""
        credentials = credentials_of(request, by_query=by_query)
        self.pay(credentials.address)
        return await self._port.realtime.authenticate(credentials)

    def pay(self, client: str, cost: float = 1.0) -> None:
        """Count ``cost`` requests of ``client``. Raises `Refused` when they are too many."""
        if not self._port.requests.take(block_of(client), trio.current_time(), cost):
            raise Refused("rate", "Too many requests. Try again in a second.")

    async def body(self, request: Request) -> bytes:
        """What is to be published. Raises `Refused` when it is too much, by its size, too."""
        body = await request.body()
        if len(body) >= self._request_bytes:
            self.pay(request.client.host if request.client is not None else "", len(body) // self._request_bytes)
        return body

    async def check_read(self, user: User, topic: str, *, presence: bool = False) -> None:
        """Raises `Refused` when ``user`` may not read ``topic``: what may not be joined may not be read.

        ``presence``: whether it is about who is there, which may be forbidden to those who may read the rest.
        """
        realtime = self._port.realtime
        options = realtime.options.for_topic(topic)
        if options is None:
            raise Refused("unmatched_topic", "There is no such topic.")
        await realtime.check_join(user, topic, None, private=options.private)
        if presence and not await realtime.permission.may("presence_read", user, topic, private=options.private):
            raise Refused("unauthorized", "You may not see who is here.")


def credentials_of(request: Request, *, by_query: bool = False) -> Credentials:
    """What a request shows: ``Authorization: Bearer``, ``x-api-key`` or ``apikey``.

    ``by_query``: also the parameters ``access_token`` and ``apikey``, for readers in browsers, which can send no headers.

    Raises:
        AuthRefused: There is an Authorization that is no bearer token.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme and (scheme.lower() != "bearer" or not token.strip()):
        raise AuthRefused("malformed", "Expected Authorization: Bearer and a token.")
    key = request.headers.get("x-api-key") or request.headers.get("apikey") or ""
    if by_query:
        token = token or request.query_params.get("access_token", "")
        key = key or request.query_params.get("apikey", "")
    return Credentials(
        token=token.strip(),
        api_key=key,
        address=request.client.host if request.client is not None else "",
        origin=request.headers.get("origin", ""),
    )


def position_of(text: str) -> Position:
    """The position that a client names. Raises `ProtocolError`."""
    epoch, offset = decode_position(text)
    return Position(epoch, offset)


def answer(body: Plain, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``body`` as JSON."""
    return Response(dumps(body), status, {**NO_STORE, **(headers or {})}, "application/json")


def refusal_of(error: Exception) -> Response:
    """How a client is told of ``error``: a `Refused`, a `ProtocolError` or a `LookupError` (this node has no topics)."""
    match error:
        case Refused(code=code, message=message):
            status = _STATUS.get(code, 403)
            headers = {"retry-after": "1"} if status in {429, 503} else {}
            if status == 401:
                headers = {"www-authenticate": "Bearer"}
            return answer({"error": {"code": code, "message": message}}, status, headers)
        case ProtocolError():
            return answer({"error": {"code": "malformed", "message": str(error)}}, 400)
        case _:
            return answer({"error": {"code": "not_found", "message": "This node has no topics."}}, 404)


Endpoint = Callable[[Request], Awaitable[Response]]


def told(endpoint: Endpoint) -> Endpoint:
    """``endpoint`` with its refusals turned into answers."""

    async def serve(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (Refused, ProtocolError, LookupError) as error:
            return refusal_of(error)

    return serve


def body_map(value: Plain, known: frozenset[str]) -> dict[str, Any]:
    """``value`` if it is a map with no keys but ``known``. Raises `ProtocolError`."""
    if not isinstance(value, dict):
        raise ProtocolError("expected a JSON object")
    if unknown := value.keys() - known:
        raise ProtocolError(f"unknown key {min(unknown)!r}"[:80])
    return value
