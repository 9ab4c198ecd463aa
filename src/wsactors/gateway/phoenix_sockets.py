"""The WebSockets of Phoenix Channels and Supabase Realtime: the handshake, then messages until either side closes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

import attrs

from wsactors.actors.log import log
from wsactors.realtime.identity import AuthRefused, Credentials, User
from wsactors.realtime.service import Realtime
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.phoenix import Version, version_of
from wsactors.wire.plain import Plain

from .handshake import subprotocols
from .phoenix import Connection, PhoenixConversation
from .phoenix_formats import phoenix_format, supabase_format
from .supabase import SupabaseConversation, auth_error
from .ws import PROTOCOL_ERROR, WebSocket

if TYPE_CHECKING:
    from wsactors.actors import Pid
    from wsactors.wire.http_head import RequestHead

    from .port import Port

PHOENIX_PATH: Final = "/socket/websocket"
SUPABASE_PATH: Final = "/realtime/v1/websocket"
MAX_PARAMS: Final = 50
_SUBPROTOCOL: Final = "phoenix"
_AUTH_TOKEN: Final = "base64url.bearer.phx."  # noqa: S105 - what precedes a token
_TOKEN_PARAMS: Final = ("token", "access_token")


def query_params(target: str) -> dict[str, str]:
    """The parameters of a request's target; of one that comes twice, the last. Raises `ProtocolError`."""
    try:
        pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True, max_num_fields=MAX_PARAMS, errors="strict")
    except ValueError:  # too many, or not UTF-8
        raise ProtocolError(f"the query may have at most {MAX_PARAMS} parameters, in UTF-8") from None
    return dict(pairs)


def offered_token(head: RequestHead) -> str | None:
    """The token among the subprotocols that a client offers: ``phoenix, base64url.bearer.phx.TOKEN``.

    Raises:
        ProtocolError: It is not base64.
    """
    offered = subprotocols(head)
    if _SUBPROTOCOL not in offered:
        return None
    found = next((each[len(_AUTH_TOKEN) :] for each in offered if each.startswith(_AUTH_TOKEN)), None)
    if found is None:
        return None
    try:
        raw = base64.b64decode(found.translate(_TO_STANDARD) + "=" * (-len(found) % 4), validate=True)
        return raw.decode()
    except (binascii.Error, ValueError):
        raise ProtocolError("the token among the subprotocols is not base64url") from None


_TO_STANDARD: Final = str.maketrans("-_", "+/")


@attrs.frozen
class Door:
    """What a client has said on connecting."""

    version: Version
    credentials: Credentials


Header: TypeAlias = Callable[[bytes], bytes | None]
"""Gives the first value of a request's header, by its name in lower case."""


def phoenix_door(target: str, header: Header, address: str, token: str | None = None) -> Door:
    """What a Phoenix client says on connecting; ``token`` is from a place of its own. Raises `ProtocolError`."""
    params = query_params(target)
    shown = token or next((params[name] for name in _TOKEN_PARAMS if params.get(name)), "")
    key = params.get("api_key") or _text(header(b"x-api-key"))
    rest = {name: value for name, value in params.items() if name not in {"vsn", "api_key", *_TOKEN_PARAMS}}
    credentials = Credentials(token=shown, api_key=key, params=rest, address=address, origin=_text(header(b"origin")))
    return Door(version_of(params.get("vsn")), credentials)


def supabase_door(target: str, header: Header, address: str) -> Door:
    """What a Supabase client says on connecting. Raises `ProtocolError`."""
    params = query_params(target)
    key = _text(header(b"x-api-key")) or params.get("apikey", "")
    rest = {name: value for name, value in params.items() if name not in {"vsn", "apikey"}}
    credentials = Credentials(api_key=key, params=rest, address=address, origin=_text(header(b"origin")))
    return Door(version_of(params.get("vsn")), credentials)


def is_supabase(head: RequestHead) -> bool:
    """Whether a client at the path that both protocols have is Supabase's: it shows its project's key."""
    return head.get(b"x-api-key") is not None or "apikey=" in head.target


async def serve_phoenix(ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
    """A `Conversation`: Phoenix Channels, or Supabase Realtime if the client shows that project's key."""
    if is_supabase(request):
        return await serve_supabase(ws, request, port, owner)
    try:
        door = phoenix_door(request.target, request.get, ws.client.address, offered_token(request))
        realtime, user = await _enter(port, door.credentials)
    except (ProtocolError, AuthRefused, LookupError) as error:
        return ws.refuse(403, f"{error}\n".encode())
    ws.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in subprotocols(request) else None)
    port.meters.belongs_to(ws.sink, user.subject)
    connection = Connection(realtime, owner, user, ws.sink, ws.close)
    conversation = PhoenixConversation(connection, phoenix_format(door.version, ws.framing))
    del request, door, user, connection
    try:
        while True:
            await conversation.receive(await ws.receive())
    except ProtocolError as error:
        log(__name__, "info", "malformed_message", reason=str(error))
        ws.close(PROTOCOL_ERROR, str(error)[:120].encode("ascii", "replace").decode())
    finally:
        conversation.end()


async def serve_supabase(ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
    """A `Conversation`: Supabase Realtime."""
    try:
        door = supabase_door(request.target, request.get, ws.client.address)
        if not door.credentials.api_key:
            raise AuthRefused("missing", "no API key")
        realtime, user = await _enter(port, door.credentials)
    except (ProtocolError, LookupError) as error:
        return _refuse(ws, 400 if isinstance(error, ProtocolError) else 404, str(error))
    except AuthRefused as refusal:
        return _refuse(ws, *auth_error(refusal))
    ws.accept()
    port.meters.belongs_to(ws.sink, user.subject)
    connection = Connection(realtime, owner, user, ws.sink, ws.close)
    conversation = SupabaseConversation(connection, supabase_format(door.version, ws.framing), door.credentials)
    del request, door, user, connection
    try:
        while True:
            await conversation.receive(await ws.receive())
    finally:
        conversation.end()


async def _enter(port: Port, credentials: Credentials) -> tuple[Realtime, User]:
    realtime = port.realtime
    return realtime, await realtime.authenticate(credentials)


def _refuse(ws: WebSocket, status: int, text: str) -> None:
    body: Plain = {"error": text}
    ws.refuse(status, dumps(body), "application/json")


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")
