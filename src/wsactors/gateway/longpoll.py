"""Phoenix Channels by long-polling: the same conversation, fetched by GET and fed by POST.

Every answer is HTTP 200; what it means stands in its JSON: 410 begins a session (or says that the old one is gone), 200 brings
messages, 204 brings none after a while, 403 refuses, 500 sends away for now. A session is known by a token that this node has
signed; it is void when the node ends, as is the session. The session's actor owns its channels and ends when nobody has asked
for long.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import secrets
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wsactors.actors import Actor, Stop
from wsactors.actors.log import log
from wsactors.errors import CallExit, ChildError, StartError
from wsactors.realtime.identity import AuthRefused, User
from wsactors.realtime.send_queue import AUDIO_AGE, SendQueue
from wsactors.supervision import ChildSpec, DynamicSupervisor, start_child
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain

from .admission import block_of
from .metrics import carrying
from .phoenix import Connection, PhoenixConversation
from .phoenix_formats import longpoll_format
from .phoenix_sockets import phoenix_door

if TYPE_CHECKING:
    from wsactors.wire.phoenix import Version

    from .port import Port

PATH: Final = "/socket/longpoll"
TOKEN_HEADER: Final = b"x-phoenix-longpoll-token"
AUTH_HEADER: Final = b"x-phoenix-authtoken"
MAX_BATCH: Final = 100
"""Messages in one POST; phoenix.js sends as many at most."""
MAX_TOKEN_SECONDS: Final = 14 * 24 * 3600
"""Age at which a token is void: Phoenix's own default."""
WINDOW_SECONDS: Final = 10.0
"""How long a GET waits for a message; phoenix.js gives up after 20."""
PATIENCE: Final = 1.5
"""How many windows a session waits for the next GET."""
OUTBOX_BYTES: Final = 4 * 1024 * 1024
"""What may wait for a session's next GET."""


class Outbox:
    """What waits for the next GET of a session: its sink, bounded as that of a connection is."""

    def __init__(self, limit: int = OUTBOX_BYTES) -> None:
        self._queue = SendQueue(limit, AUDIO_AGE)
        self._polls = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self.last_poll = trio.current_time()
        """When somebody last asked, or was last waiting."""
        self.is_closed = False
        self.on_close: Callable[[], object] = lambda: None

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`. What must arrive and does not fit ends the session: its client joins again, and knows it must."""
        if self.is_closed:
            return False
        if not self._queue.add(data, key, trio.current_time()):
            if key is None:
                self.close()
            return False
        self._arrived.unpark_all()
        return True

    async def poll(self, seconds: float) -> list[bytes]:
        """Everything that waits, as soon as there is something; empty after ``seconds``, or when a newer poll came."""
        self._polls += 1
        mine = self._polls
        self._arrived.unpark_all()
        self.last_poll = trio.current_time()
        with trio.move_on_after(seconds):
            while not self._queue.size and not self.is_closed and self._polls == mine:
                await self._arrived.park()
        self.last_poll = now = trio.current_time()
        taken: list[bytes] = []
        while self._polls == mine and (found := self._queue.take(now)) is not None:
            taken.append(found[0])
        return taken

    def close(self) -> None:
        """Forget everything and take nothing more. May be called again."""
        if not self.is_closed:
            self.is_closed = True
            self._queue.clear()
            self._arrived.unpark_all()
            self.on_close()


class _Session:
    """One client, between its requests."""

    def __init__(self, user: User, version: Version, address: str) -> None:
        self.id = secrets.token_urlsafe(18)
        self.user = user
        self.address = address
        self.version: Version = version
        self.outbox = Outbox()
        self.posting = trio.Lock()
        self.stay = ExitStack()
        """Counts it among the guests of its port."""
        self.conversation: PhoenixConversation

    def say_goodbye(self, _seconds: float) -> None:
        """The node stops: the client is told that its session is gone, and comes back after a while of its own."""
        self.outbox.close()


@attrs.frozen
class _Look:
    """To itself: does anybody still ask?"""


class LongPollSession(Actor):
    """Owns the channels of one client; ends when nobody asks for them."""

    def init(self, service: LongPoll, number: int) -> Stop | None:
        """``number`` is that of the session that waits for its actor."""
        session = service.arriving.pop(number)
        if not service.has_room(session.address):
            return Stop("too many sessions")
        self._outbox = session.outbox
        self._patience = PATIENCE * service.window
        outbox = session.outbox
        connection = Connection(
            service.port.realtime, self.pid, session.user, outbox, lambda _code, _reason: outbox.close()
        )
        session.conversation = PhoenixConversation(connection, longpoll_format(session.version))
        outbox.on_close = lambda: self.node.send(self.pid, _Look())
        service.begin(session)
        self.at_death("session", lambda _: service.end(session))
        self.send_after(self._patience, self.pid, _Look())
        return None

    def handle_info(self, message: Any) -> Stop | None:
        """Time has passed."""
        left = self._outbox.last_poll + self._patience - trio.current_time()
        if self._outbox.is_closed or left <= 0:
            return Stop("normal")
        self.send_after(left, self.pid, _Look())
        return None


class LongPoll:
    """The long-polling clients of one port, as an ASGI application.

    Args:
        port: The port.
        window: How long a GET waits for a message, in seconds.
    """

    def __init__(self, port: Port, window: float = WINDOW_SECONDS) -> None:
        self.port = port
        self.window = window
        self.sessions: dict[str, _Session] = {}
        self.arriving: dict[int, _Session] = {}
        self.supervisor = f"longpoll.{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)
        self._addresses: Counter[str] = Counter()
        self._secret = secrets.token_bytes(32)

    @classmethod
    def of(cls, port: Port) -> LongPoll:
        """The one of ``port``."""
        found = _services.get(port)
        if found is None:
            found = _services[port] = cls(port)
        return found

    def child(self) -> ChildSpec:
        """The supervisor of the sessions."""
        kwargs = {"max_children": self.port.options.limits.connections, "extra_args": (self,)}
        return ChildSpec("longpoll", DynamicSupervisor, kwargs=kwargs, name=self.supervisor, type="supervisor")

    def has_room(self, address: str) -> bool:
        """Whether a client at ``address`` may have another session. Asked when one begins, too: many may be on their way."""
        return self._addresses[block_of(address)] < self.port.options.limits.connections_per_address

    def begin(self, session: _Session) -> None:
        """A session has its actor."""
        self.sessions[session.id] = session
        self._addresses[block_of(session.address)] += 1
        session.stay.enter_context(self.port.meters.visiting("phoenix"))
        session.stay.enter_context(self.port.drain.hosting(session))

    def end(self, session: _Session) -> None:
        """In the session's death step."""
        self.sessions.pop(session.id, None)
        block = block_of(session.address)
        self._addresses[block] -= 1
        if not self._addresses[block]:
            del self._addresses[block]
        session.outbox.on_close = lambda: None
        session.outbox.close()
        session.conversation.end()
        session.stay.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request (ASGI)."""
        request = Request(scope, receive)
        match scope["method"]:
            case "GET":
                body = await self._get(request)
            case "POST":
                body = await self._post(request)
            case _:
                await Response(status_code=400)(scope, receive, send)
                return
        headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
        await Response(dumps(body), headers=headers)(scope, receive, send)

    # -- GET --

    async def _get(self, request: Request) -> Plain:
        session = self._find(request)
        if session is None:
            return self._leaving(request) if self.port.drain.is_on else await self._begin(request)
        found: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
            with carrying(request.scope, "phoenix", session.user.subject):
                found = await session.outbox.poll(self.window)
            nursery.cancel_scope.cancel()
        if session.outbox.is_closed:
            return {"status": 410, "token": self._sign(session.id), "messages": []}
        self.port.meters["phoenix"].gave(len(found), sum(map(len, found)))
        messages: list[Plain] = [each.decode() for each in found]
        return {"status": 200 if found else 204, "token": self._sign(session.id), "messages": messages}

    def _leaving(self, request: Request) -> Plain:
        """While the port is being emptied nobody begins anew.

        phoenix.js takes 500 for a connection that failed, and waits longer each time before it tries again. Without a session
        410 would mean that it is connected: it would come again at once, and without end.
        """
        return {"status": 410 if self._verified(_token(request)) else 500}

    async def _begin(self, request: Request) -> Plain:
        def header(name: bytes) -> bytes | None:
            return next((value for each, value in request.scope["headers"] if each == name), None)

        client = request.client.host if request.client is not None else ""
        if not self.has_room(client):
            return {"status": 403}
        if not self.port.requests.take(block_of(client), trio.current_time()):
            return {"status": 500}  # too many begin, or show tokens: phoenix.js waits longer each time
        token = (header(AUTH_HEADER) or b"").decode("latin-1")
        target = "?" + request.scope["query_string"].decode("latin-1")
        try:
            door = phoenix_door(target, header, client, token or None)
            user = await self.port.realtime.authenticate(door.credentials)
        except (ProtocolError, AuthRefused, LookupError):
            return {"status": 403}
        session = _Session(user, door.version, client)
        number = next(self._numbers)
        self.arriving[number] = session
        try:
            await start_child(self.supervisor, ChildSpec("session", LongPollSession, (number,), restart="temporary"))
        except (ChildError, StartError, CallExit) as error:
            log(__name__, "warning", "session_not_started", reason=str(error))
            return {"status": 500 if self.has_room(client) else 403}
        finally:
            self.arriving.pop(number, None)
        return {"status": 410, "token": self._sign(session.id), "messages": []}

    # -- POST --

    async def _post(self, request: Request) -> Plain:
        session = self._find(request)
        if session is None or session.outbox.is_closed:
            return {"status": 410}
        try:
            messages = messages_of(await request.body(), request.headers.get("content-type", ""))
        except ProtocolError:
            return {"status": 400}
        except ClientDisconnect:
            return {}
        self.port.meters["phoenix"].took(len(messages), sum(map(len, messages)))
        async with session.posting:
            for message in messages:
                try:
                    await session.conversation.receive(message)
                except ProtocolError as error:
                    log(__name__, "info", "malformed_message", reason=str(error))
                    return {"status": 400}
        return {"status": 200}

    # -- tokens --

    def _find(self, request: Request) -> _Session | None:
        return self.sessions.get(self._verified(_token(request)) or "")

    def _sign(self, session_id: str) -> str:
        stem = f"{session_id}.{int(time.time()):x}"
        return f"{stem}.{self._seal(stem)}"

    def _seal(self, stem: str) -> str:
        digest = hmac.digest(self._secret, stem.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _verified(self, token: str) -> str | None:
        """The id of the session that ``token`` names, if it is one of ours and not too old."""
        stem, _, seal = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(seal, self._seal(stem)):
            return None
        session_id, _, issued = stem.rpartition(".")
        return session_id if time.time() - int(issued, 16) <= MAX_TOKEN_SECONDS else None


_services: Final[weakref.WeakKeyDictionary[Port, LongPoll]] = weakref.WeakKeyDictionary()


def routes_of(port: Port) -> list[BaseRoute]:
    """The routes of this module."""
    return [Route(PATH, LongPoll.of(port))]


def _token(request: Request) -> str:
    """What names the session."""
    header = next((value for name, value in request.scope["headers"] if name == TOKEN_HEADER), None)
    return request.query_params.get("token", "") if header is None else header.decode("latin-1")


def messages_of(body: bytes, content_type: str) -> list[str | bytes]:
    """The messages in the body of a POST: lines of JSON, or of base64 for binary ones; one of JSON in older clients.

    Raises:
        ProtocolError: There are too many, or one is neither.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("not UTF-8") from None
    if content_type.partition(";")[0].strip().lower() != "application/x-ndjson":
        return [text]
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > MAX_BATCH:
        raise ProtocolError(f"at most {MAX_BATCH} messages in one request")
    return [line if line.startswith(("[", "{")) else _binary(line) for line in lines]


def _binary(line: str) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("a line is neither JSON nor base64") from None


async def _cancel_when_gone(request: Request, scope: trio.CancelScope) -> None:
    """Nobody waits for what nobody will get: it stays for the next request."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
