"""An Engine.IO endpoint: sessions by id, and the HTTP requests and WebSockets that carry them.

Both transports share a path. A session is an actor of its own, since it outlives each of its requests; a request or a
WebSocket finds it by the id in the query.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs
import trio
from starlette.responses import Response

from wsactors.actors import Pid, Runtime
from wsactors.actors.log import log
from wsactors.errors import CallExit, CallTimeout, ChildError, MailboxFull, StartError
from wsactors.supervision import ChildSpec, DynamicSupervisor, start_child
from wsactors.wire import engineio as eio
from wsactors.wire.engineio import Packet, Version
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps

from .admission import block_of
from .engineio_options import EngineOptions
from .engineio_session import (
    Attach,
    EngineApp,
    EngineSession,
    Handshake,
    Poll,
    PollLost,
    Post,
    SocketLost,
    SocketMessage,
)
from .metrics import carrying
from .ws import TRY_AGAIN_LATER, WebSocket

if TYPE_CHECKING:
    from wsactors.wire.http_head import RequestHead

    from .drain import Drain
    from .metrics import Meter
    from .port import Port

SID_BYTES: Final = 18
"""Of randomness in a session's id; it is all that a request shows to be let into the session."""
PACKETS_AT_ONCE: Final = 64
"""Packets that a session takes before others have their turn."""
MAX_FIELDS: Final = 32
"""Of a query."""
_TEXT_TYPE: Final = "text/plain; charset=UTF-8"
_OCTETS_TYPE: Final = "application/octet-stream"


@attrs.frozen
class Fault:
    """What an endpoint says no with; the reference's numbers and texts."""

    code: int
    message: str
    status: int = 400

    @property
    def body(self) -> bytes:
        """As JSON."""
        return dumps({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT: Final = Fault(0, "Transport unknown")
UNKNOWN_SID: Final = Fault(1, "Session ID unknown")
BAD_METHOD: Final = Fault(2, "Bad handshake method")
BAD_REQUEST: Final = Fault(3, "Bad request")
FORBIDDEN: Final = Fault(4, "Forbidden", 403)
BAD_VERSION: Final = Fault(5, "Unsupported protocol version")
TOO_MANY: Final = Fault(4, "Too many sessions, try again later", 503)


class Refused(Exception):
    """The request is answered with ``fault``."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@attrs.frozen(eq=False)
class _Entry:
    pid: Pid
    version: Version


class EngineServer:
    """The sessions of one endpoint.

    Args:
        node: Where they live.
        options: How they are kept.
        app: What is spoken in them.
        drain: Tells those who poll when the node stops.
        meter: Counts those who poll; WebSockets are counted as connections.
    """

    def __init__(
        self,
        node: Runtime,
        options: EngineOptions,
        app: EngineApp,
        drain: Drain | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.node = node
        self.options = options
        self.app = app
        self.drain = drain
        self.meter = meter
        self.arriving: dict[int, Handshake] = {}
        """By number: messages are values, and a WebSocket is none."""
        self.supervisor = f"engineio.{secrets.token_hex(6)}"
        """The name under which `child` must run."""
        self._sessions: dict[str, _Entry] = {}
        self._addresses: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<EngineServer {len(self._sessions)} sessions>"

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    def child(self) -> ChildSpec:
        """The supervisor of the sessions."""
        kwargs = {"max_children": self.options.max_sessions, "extra_args": (self,)}
        return ChildSpec(self.supervisor, DynamicSupervisor, kwargs=kwargs, name=self.supervisor, type="supervisor")

    # -- for sessions --

    def new_sid(self) -> str:
        """An id that nobody can guess."""
        return secrets.token_urlsafe(SID_BYTES)

    def has_room(self, address: str) -> bool:
        """Whether a client at ``address`` may have another session. Asked when one begins, too: many may be on their way."""
        full = len(self._sessions) >= self.options.max_sessions
        return not full and self._addresses[block_of(address)] < self.options.max_sessions_per_address

    def admit(self, sid: str, pid: Pid, handshake: Handshake) -> None:
        """A session has begun."""
        self._sessions[sid] = _Entry(pid, handshake.version)
        self._addresses[block_of(handshake.address)] += 1

    def forget(self, sid: str, address: str) -> None:
        """A session has ended."""
        if self._sessions.pop(sid, None) is None:
            return
        block = block_of(address)
        self._addresses[block] -= 1
        if not self._addresses[block]:
            del self._addresses[block]

    # -- HTTP --

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one polling request (ASGI)."""
        try:
            response = await self._polling(scope, receive)
        except Refused as refused:
            fault = refused.fault
            response = Response(fault.body, fault.status, media_type="application/json")
        if response is not None:
            response.headers["cache-control"] = "no-store"
            await response(scope, receive, send)

    async def _polling(self, scope: Any, receive: Any) -> Response | None:
        """The answer; None: nobody waits for it any more."""
        query = _query(scope["query_string"])
        if query.get("transport") != "polling" or not self.options.polling:
            raise Refused(BAD_REQUEST if query.get("transport") == "websocket" else UNKNOWN_TRANSPORT)
        if "j" in query:
            raise Refused(BAD_REQUEST)  # JSONP would need scripts from here in pages of others
        method: str = scope["method"]
        if "sid" not in query:
            return await self._open(scope, query)
        entry = self._sessions.get(query["sid"])
        if entry is None:
            raise Refused(UNKNOWN_SID)
        if method == "GET":
            with carrying(scope, self.meter.label) if self.meter is not None else nullcontext():
                body = await self._poll(entry, receive)
        elif method == "POST":
            body = await self._post(entry, scope, receive)
        else:
            raise Refused(BAD_REQUEST)
        if body is _GONE:
            return None
        if body is None:
            raise Refused(BAD_REQUEST)
        is_octets = entry.version == 3 and body[:1] in {b"\x00", b"\x01"}
        return Response(body, headers={"content-type": _OCTETS_TYPE if is_octets else _TEXT_TYPE})

    async def _open(self, scope: Any, query: Mapping[str, str]) -> Response:
        if scope["method"] != "GET":
            raise Refused(BAD_METHOD)
        headers = dict(scope["headers"])
        client = scope.get("client")
        handshake = Handshake(
            version=self._version(query),
            query=_said(query),
            address=client[0] if client else "",
            origin=headers.get(b"origin", b"").decode("latin-1"),
            octets="b64" not in query,
        )
        pid, _ = await self._start(handshake)
        packet = await self._ask(pid, "handshake")
        if packet is None:
            raise Refused(BAD_REQUEST)
        body = eio.join_pieces([eio.Piece(is_text=True, data=packet)], handshake.version)
        return Response(body, headers={"content-type": _TEXT_TYPE})

    async def _poll(self, entry: _Entry, receive: Any) -> bytes | None:
        ticket = next(self._numbers)
        body: bytes | None = _GONE

        async def ask() -> None:
            nonlocal body
            body = await self._ask(entry.pid, Poll(ticket), timeout=None)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()
        if body is _GONE:
            self.node.cast(entry.pid, PollLost(ticket))
        return body

    async def _post(self, entry: _Entry, scope: Any, receive: Any) -> bytes | None:
        body = await _body(receive, self.options.max_message)
        if body is None:
            raise Refused(attrs.evolve(BAD_REQUEST, status=413))
        ticket = next(self._numbers)
        packets = _packets(entry.version, body, dict(scope["headers"]).get(b"content-type", b""))
        parts = [()] if packets is None else [tuple(part) for part in _parts(packets)]
        answer: bytes | None = None
        for number, part in enumerate(parts, 1):
            is_last = number == len(parts)
            post = Post(ticket, part, is_first=number == 1, is_last=is_last, is_valid=packets is not None)
            answer = await self._ask(entry.pid, post)
            if answer is None:
                break
        return answer

    # -- WebSockets --

    async def websocket(self, ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
        """Serve one WebSocket (a `wsactors.gateway.conversation.Conversation`)."""
        del port, owner
        try:
            pid, number = await self._enter(ws, request)
        except Refused as refused:
            if ws.is_accepted:
                return ws.close(TRY_AGAIN_LATER, refused.fault.message)
            return ws.refuse(refused.fault.status, refused.fault.body, "application/json")
        del request
        try:
            while True:
                message = await ws.receive()
                await self.node.call(pid, SocketMessage(number, message), timeout=None)
        except (CallExit, MailboxFull):
            return None  # the session has ended; the WebSocket is closed, or will be
        finally:
            self.node.cast(pid, SocketLost(number))

    async def _enter(self, ws: WebSocket, request: RequestHead) -> tuple[Pid, int]:
        _, _, query_string = request.target.partition("?")
        query = _query(query_string.encode("latin-1"))
        if query.get("transport") != "websocket" or not self.options.websocket:
            raise Refused(UNKNOWN_TRANSPORT)
        version = self._version(query)
        if "sid" in query:
            entry = self._sessions.get(query["sid"])
            if entry is None:
                raise Refused(UNKNOWN_SID)
            ws.accept(max_message=self.options.max_message, deflate=False)
            number = next(self._numbers)
            if not self.node.cast(entry.pid, Attach(number, ws)):
                raise Refused(UNKNOWN_SID)
            return entry.pid, number
        self._check_room(ws.client.address)
        ws.accept(max_message=self.options.max_message, deflate=False)
        origin = (request.get(b"origin") or b"").decode("latin-1")
        return await self._start(Handshake(version, _said(query), ws.client.address, origin, ws))

    # -- both --

    def _version(self, query: Mapping[str, str]) -> Version:
        match query.get("EIO"):
            case "4":
                return 4
            case "3" if self.options.eio3:
                return 3
            case _:
                raise Refused(BAD_VERSION)

    def _check_room(self, address: str) -> None:
        if not self.has_room(address):
            raise Refused(TOO_MANY)

    async def _start(self, handshake: Handshake) -> tuple[Pid, int]:
        self._check_room(handshake.address)
        number = next(self._numbers)
        self.arriving[number] = handshake
        try:
            spec = ChildSpec("session", EngineSession, (number,), restart="temporary", shutdown=1.0)
            pid = await start_child(self.supervisor, spec)
        except (ChildError, StartError, CallExit) as error:
            log(__name__, "warning", "engineio_session_not_started", reason=str(error))
            raise Refused(TOO_MANY) from None
        finally:
            del self.arriving[number]
        if pid is None:
            raise Refused(TOO_MANY)
        return pid, number

    async def _ask(self, pid: Pid, message: object, timeout: float | None = 30.0) -> Any:
        try:
            return await self.node.call(pid, message, timeout=timeout)
        except (CallExit, CallTimeout, MailboxFull):
            return None


_GONE: Final = b"gone"
_OWN_FIELDS: Final = frozenset({"EIO", "transport", "sid", "t", "b64"})
_NOTHING_SAID: Final[Mapping[str, str]] = {}


def _query(query: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refused(BAD_REQUEST) from None
    return dict(fields)


def _said(query: Mapping[str, str]) -> Mapping[str, str]:
    """What is in a query beside the protocol's own fields: for most sessions nothing, so nothing is kept."""
    said = {key: value for key, value in query.items() if key not in _OWN_FIELDS}
    return said or _NOTHING_SAID


async def _body(receive: Any, limit: int) -> bytes | None:
    """The request's body; None when it is too large, or broke off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _parts(packets: list[Packet]) -> Iterator[list[Packet]]:
    return (packets[at : at + PACKETS_AT_ONCE] for at in range(0, len(packets), PACKETS_AT_ONCE))


def _packets(version: Version, body: bytes, content_type: bytes) -> list[Packet] | None:
    """What a client posts; None when it cannot be read."""
    is_octets = content_type.partition(b";")[0].strip().lower() == b"application/octet-stream"
    try:
        if version == 3:
            return eio.decode_payload3(body, is_octets=is_octets)
        return None if is_octets else eio.decode_payload(body)
    except ProtocolError:
        return None
