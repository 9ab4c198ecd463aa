"""An Engine.IO endpoint: sessions by id, and the HTTP requests and WebSockets that carry them.

Both transports share a path. A session is an actor of its own, since it outlives each of its requests; a request or a
WebSocket finds it by the id in the query.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from starlette.responses import Response

from wsactors.actors import Pid, Runtime
from wsactors.actors.log import log
from wsactors.errors import CallExit, CallTimeout, ChildError, MailboxFull, StartError
from wsactors.supervision import ChildSpec, DynamicSupervisor, start_child
from wsactors.wire import engineio as eio
from wsactors.wire.engineio import Version

from .admission import block_of
from .engineio_events import KICKED, TRANSPORT_CLOSE
from .engineio_messages import Attach, EngineApp, Handshake, Poll, PollLost, Post, SocketLost, SocketMessage
from .engineio_options import EngineOptions
from .engineio_requests import (
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    TOO_MANY,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    Refused,
    body_of,
    packets_of,
    parts_of,
    query_of,
    said_in,
)
from .engineio_session import EngineSession
from .metrics import carrying
from .ws import CLOSE_KICKED, TRY_AGAIN_LATER, WebSocket

if TYPE_CHECKING:
    from wsactors.wire.http_head import RequestHead

    from .drain import Drain
    from .metrics import Meters
    from .port import Port
    from .rates import Rates

SID_BYTES: Final = 18
"""Of randomness in a session's id; it is all that a request shows to be let into the session."""
_TEXT_TYPE: Final = "text/plain; charset=UTF-8"
_OCTETS_TYPE: Final = "application/octet-stream"


@attrs.define(eq=False)
class _Entry:
    pid: Pid
    version: Version
    subject: str = ""
    """Whose client it is, as far as it has said."""


class EngineServer:
    """The sessions of one endpoint.

    Args:
        node: Where they live.
        options: How they are kept.
        app: What is spoken in them.
        drain: Tells those who poll when the node stops.
        meters: Count those who poll; WebSockets are counted as connections.
        rates: How fast sessions may begin by polling; those on WebSockets come as fast as connections do.
        protocol: As what they are counted.
    """

    def __init__(
        self,
        node: Runtime,
        options: EngineOptions,
        app: EngineApp,
        drain: Drain | None = None,
        meters: Meters | None = None,
        rates: Rates | None = None,
        protocol: str = "engineio",
    ) -> None:
        self.node = node
        self.options = options
        self.app = app
        self.drain = drain
        self.meter = None if meters is None else meters[protocol]
        self._meters = meters
        self._rates = rates
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

    def belongs_to(self, sid: str, subject: str, ws: WebSocket | None) -> None:
        """A session is the user ``subject``'s ("": of whom it was known to be), and so is ``ws``, which carries it."""
        entry = self._sessions.get(sid)
        if entry is None:
            return
        entry.subject = subject or entry.subject
        if ws is not None and self._meters is not None:
            self._meters.belongs_to(ws.sink, entry.subject)

    def count_out(self, packets: int, size: int) -> None:
        """So much is answered to somebody who polls."""
        if self.meter is not None:
            self.meter.gave(packets, size)

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
        query = query_of(scope["query_string"])
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
            with carrying(scope, self.meter.label, entry.subject) if self.meter is not None else nullcontext():
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
            query=said_in(query),
            address=client[0] if client else "",
            origin=headers.get(b"origin", b"").decode("latin-1"),
            octets="b64" not in query,
        )
        self._check_room(handshake.address)
        if self._rates is not None and not self._rates.take(block_of(handshake.address), trio.current_time()):
            raise Refused(TOO_MANY)
        pid, _ = await self._start(handshake)
        packet = await self._ask(pid, "handshake")
        if packet is None:
            raise Refused(BAD_REQUEST)
        body = eio.join_pieces([eio.Piece(is_text=True, data=packet)], handshake.version)
        self.count_out(1, len(body))
        return Response(body, headers={"content-type": _TEXT_TYPE})

    async def _poll(self, entry: _Entry, receive: Any) -> bytes | None:
        ticket = next(self._numbers)
        body: bytes | None = _GONE

        async def ask() -> None:
            nonlocal body
            body = await self._ask(entry.pid, Poll(ticket), timeout=None)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()
        finally:  # also when the connection's actor is ended: what were answered now, nobody would get
            if body is _GONE:
                self.node.cast(entry.pid, PollLost(ticket))
        return body

    async def _post(self, entry: _Entry, scope: Any, receive: Any) -> bytes | None:
        body = await body_of(receive, self.options.max_message)
        if body is None:
            raise Refused(attrs.evolve(BAD_REQUEST, status=413))
        ticket = next(self._numbers)
        packets = packets_of(entry.version, body, dict(scope["headers"]).get(b"content-type", b""))
        parts = [()] if packets is None else [tuple(part) for part in parts_of(packets)]
        if self.meter is not None:
            self.meter.took(len(packets or ()), len(body))
        answer: bytes | None = None
        for number, part in enumerate(parts, 1):
            is_last = number == len(parts)
            post = Post(ticket, part, is_first=number == 1, is_last=is_last, is_valid=packets is not None)
            answer = await self._ask(entry.pid, post)
            if answer is None:
                return None
        # Who sends too fast is answered late: clients post no more before that.
        await trio.sleep(await self._ask(entry.pid, "pause") or 0.0)
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
                pause = await self.node.call(pid, SocketMessage(number, message), timeout=None)
                if pause:
                    await trio.sleep(pause)
        except (CallExit, MailboxFull):
            return None  # the session has ended; the WebSocket is closed, or will be
        finally:
            is_kicked = ws.closed is not None and ws.closed.code == CLOSE_KICKED
            self.node.cast(pid, SocketLost(number, KICKED if is_kicked else TRANSPORT_CLOSE))

    async def _enter(self, ws: WebSocket, request: RequestHead) -> tuple[Pid, int]:
        _, _, query_string = request.target.partition("?")
        query = query_of(query_string.encode("latin-1"))
        if query.get("transport") != "websocket" or not self.options.websocket:
            raise Refused(UNKNOWN_TRANSPORT)
        version = self._version(query)
        if "sid" in query:
            entry = self._sessions.get(query["sid"])
            if entry is None:
                raise Refused(UNKNOWN_SID)
            self._accept(ws)
            number = next(self._numbers)
            if not self.node.cast(entry.pid, Attach(number, ws)):
                raise Refused(UNKNOWN_SID)
            return entry.pid, number
        self._check_room(ws.client.address)
        self._accept(ws)
        origin = (request.get(b"origin") or b"").decode("latin-1")
        return await self._start(Handshake(version, said_in(query), ws.client.address, origin, ws))

    def _accept(self, ws: WebSocket) -> None:
        ws.accept(max_message=self.options.max_message, deflate=False)
        ws.watch_silence(None)  # the session does, by pings of its own, and has a time for a client that moves

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
