"""The native protocol's server side: hello, then requests one at a time; what sessions play goes past it.

Messages come decoded and leave through a sink, so this knows of no transport but in `serve_native`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from wsactors.media.reports import Heard
from wsactors.realtime.identity import AuthRefused, Credentials
from wsactors.realtime.service import Realtime
from wsactors.realtime.sinks import Sink
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

from .framing import WebSocketSink
from .hearing import HearingWatch, WebSocketHearing
from .native_identity import Identity
from .native_outlet import error_of
from .native_sessions import NativeSessions
from .native_topics import NativeTopics, SavedTopic, TopicRequest
from .tickets import Ticket
from .ws import CLOSE_IDLE, PROTOCOL_ERROR, RESTART, WebSocket

if TYPE_CHECKING:
    from wsactors.actors import Pid
    from wsactors.wire.http_head import RequestHead

    from .port import Port

PATH: Final = "/ws"
CLOSE_UNAUTHORIZED: Final = 4401
CLOSE_REPLACED: Final = 4409
CLOSE_VERSION: Final = 4426
DRAIN_SPREAD: Final = 0.25
"""A client that is told to come back later chooses its moment within this part more."""
MOST_PAUSE: Final = 5.0
"""Seconds that a client which sends too much is not read at most; pings wait as long."""

_AUDIO: Final = bytes((native.AUDIO_KIND,))


async def serve_native(ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
    """A `Conversation`: the native protocol on a WebSocket, one binary message a frame."""
    origin = (request.get(b"origin") or b"").decode("latin-1")
    del request
    ws.accept()
    talk = NativeConversation(
        WebSocketSink(ws.sink, port.framing),
        port,
        owner,
        ws.close,
        NativeTopics(realtime_of(port), ws.sink, owner, ws.framing),
        address=ws.client.address,
        origin=origin,
        on_join=ws.prepare_audio,
        on_report=WebSocketHearing(HearingWatch.of(port, ws.sink), WebSocketSink(ws.sink, port.framing)).hear,
    )
    ws.ask, ws.goodbye = talk.ask, talk.say_goodbye
    try:
        try:
            with trio.fail_after(port.options.limits.head_seconds):
                hello = await ws.receive()
        except trio.TooSlowError:
            return ws.close(CLOSE_IDLE, "nothing was heard from you")
        await talk.greet(hello)
        port.meters.belongs_to(ws.sink, talk.subject)
        while True:
            await talk.receive(await ws.receive())
    except ProtocolError as error:
        talk.refuse(error)
    finally:
        talk.end()


def realtime_of(port: Port) -> Realtime | None:
    """The topics of the node that ``port`` belongs to, if it has any."""
    try:
        return port.realtime
    except (LookupError, RuntimeError):
        return None


class NativeConversation:
    """The requests of one client.

    Args:
        sink: Where answers go, one encoded message per offer.
        port: What it is a client of.
        owner: The connection's actor.
        close: Ends the connection, with a close code and a reason; does not wait.
        topics: What the client does with topics.
        address: The client's.
        origin: Of the page that it is, if it is one.
        on_join: Called before the first session is joined.
        on_report: Told what the client reports of how it hears.
        ticket: With what the client has come in already, if it has: it may join that session, and do nothing else.
        transport: What carries it all, for metrics.
    """

    __slots__ = (
        "_address",
        "_close",
        "_identity",
        "_on_report",
        "_origin",
        "_owner",
        "_port",
        "_sessions",
        "_sink",
        "_ticket",
        "_topics",
        "_version",
    )

    def __init__(
        self,
        sink: Sink,
        port: Port,
        owner: Pid,
        close: Callable[[int, str], None],
        topics: NativeTopics,
        *,
        address: str = "",
        origin: str = "",
        on_join: Callable[[], None] = lambda: None,
        on_report: Callable[[native.ReceiverReport], None] = lambda _: None,
        ticket: Ticket | None = None,
        transport: str = "websocket",
    ) -> None:
        self._sink = sink
        self._port = port
        self._owner = owner
        self._close = close
        self._topics = topics
        self._address = address
        self._origin = origin
        self._on_report = on_report
        self._ticket = ticket
        self._sessions = NativeSessions(sink, port, owner, on_join, transport)
        self._version = native.VERSION
        self._identity = Identity(topics.realtime, owner, expiring=self._expiring, expired=self._expired)

    @property
    def subject(self) -> str:
        """The user's; "" of nobody in particular."""
        return self._identity.user.subject

    def ask(self) -> None:
        """Ask the client whether it is still there."""
        self._send(native.Ping(0))

    def say_goodbye(self, seconds: float, why: str = "the node stops") -> None:
        """The node stops: tell the client when to be elsewhere, and end the connection."""
        if self._version > 1:
            self._send(native.Hint("drain", seconds, seconds * DRAIN_SPREAD, why))
        self._close(RESTART, f"{why}: come back in a moment")

    def end(self) -> None:
        """Leave everything; the client is gone, or will be."""
        self._sessions.end()
        self._identity.park(self._topics.saved())
        self._topics.leave_all()
        # They belong to who refers to this: a cycle would stay until the garbage collector comes.
        self._close, self._on_report = _too_late, _too_late

    def refuse(self, error: ProtocolError) -> None:
        """Tell the client what it did wrong, and end the connection."""
        self._send(native.Error("protocol", native.clip(str(error))))
        self._close(PROTOCOL_ERROR, "protocol error")

    async def greet(self, data: str | bytes) -> None:
        """Answer the first message.

        Raises:
            ProtocolError: It is no hello.
        """
        hello = self._decoded(data)
        if not isinstance(hello, native.Hello):
            raise ProtocolError("expected hello as the first message")
        version = native.common_version(hello.versions)
        if version is None:
            known = " and ".join(f"version {each}" for each in native.VERSIONS)
            self._send(native.Error("version", f"this node speaks {known} of the protocol"))
            return self._close(CLOSE_VERSION, "no common version")
        self._version = self._sessions.version = version
        try:
            await self._enter(hello)
        except AuthRefused as refusal:
            self._send(error_of(refusal))
            return self._close(CLOSE_UNAUTHORIZED, "not let in")
        self._topics.user = self._identity.user
        return await self._welcome(hello)

    async def _enter(self, hello: native.Hello) -> None:
        if self._ticket is not None:
            return await self._identity.admit(self._ticket.user)
        if self._topics.realtime is None and self._port.options.requires_login:
            raise AuthRefused("missing", "Nobody can log in now: try again in a moment.")
        return await self._identity.enter(Credentials(hello.token, hello.api_key, {}, self._address, self._origin))

    async def _welcome(self, hello: native.Hello) -> None:
        name = native.clip(self._port.node_name, native.MAX_NAME)
        if self._version == 1:
            self._send(native.Welcome(1, name))
            return
        kept = self._identity.redeem(hello.resume) if hello.resume and self._ticket is None else None
        wanted = {topic: each for topic, each in hello.topics.items() if topic in (kept or {})}
        token, seconds = self._identity.issue(self._give_way)
        limits = self._port.options.limits
        self._send(
            native.Welcome(
                self._version,
                name,
                subject=native.clip(self._identity.user.subject),
                expires=self._identity.seconds_left,
                quiet=limits.idle_seconds,
                limit=limits.message_bytes,
                resume=token,
                resume_for=seconds,
                resumed=None if kept is None else tuple(wanted),
            )
        )
        await self._topics.restore(kept or {}, wanted)

    async def receive(self, data: str | bytes) -> None:
        """Do what the client asks for, and answer.

        Raises:
            ProtocolError: It may not ask for that now.
        """
        if isinstance(data, bytes) and data[:1] == _AUDIO:
            self.speak(data)
        else:
            await self._handle(self._decoded(data))

    async def _handle(self, message: native.ClientMessage) -> None:
        match message:
            case _ if self._ticket is not None and not _covers(self._ticket, message):
                self._send(native.Error("unauthorized", "Your ticket is for one session, and for nothing else."))
            case native.Ping(nonce):
                self._send(native.Pong(nonce))
            case native.Pong():
                pass
            case native.ReceiverReport():
                self._on_report(message)
            case native.ListSessions():
                self._send(native.sessions_that_fit(await self._port.directory.sessions()))
            case native.Join(name):
                await self._pause(await self._sessions.join(name, self._identity.user, self._identity.guest))
            case native.Leave(name):
                self._sessions.leave(name)
            case native.Act():
                await self._pause(await self._sessions.act(message))
            case native.Authenticate():
                await self._authenticate(message)
            case native.Hello():
                raise ProtocolError("hello came a second time")
            case _:
                await self._pause(await self._topics.handle(message))

    def speak(self, data: bytes) -> None:
        """Take an audio frame of the client, however it came; never raises. What may not be said is dropped."""
        self._sessions.speak(data)

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        """What the client has reported of how it hears, for its sessions to follow."""
        self._sessions.hear(heard, now)

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await trio.sleep(min(seconds, MOST_PAUSE))

    def _decoded(self, data: str | bytes) -> native.ClientMessage:
        if isinstance(data, str):
            raise ProtocolError("expected binary messages")
        return native.decode_client(data, self._version)

    # -- identity --

    async def _authenticate(self, message: native.Authenticate) -> None:
        try:
            await self._identity.renew(message.token)
        except AuthRefused as refusal:
            return self._send(error_of(refusal, ref=message.ref))
        user = self._identity.user
        self._topics.renew(user)
        self._sessions.renew(user)
        return self._send(native.Authenticated(message.ref, native.clip(user.subject), self._identity.seconds_left))

    def _expiring(self, seconds: float) -> None:
        if self._version > 1:
            self._send(native.Expiring(seconds))

    def _expired(self) -> None:
        self._send(native.Error("expired", "Your token has expired: connect again with a new one."))
        self._close(CLOSE_UNAUTHORIZED, "the token has expired")

    def _give_way(self) -> dict[str, SavedTopic]:
        """The client is back on another connection, and this one believed itself alive."""
        saved = self._topics.saved()
        self._topics.leave_all()
        self._close(CLOSE_REPLACED, "resumed by another connection")
        return saved

    def _send(self, message: native.ServerMessage) -> None:
        self._sink.offer(
            native.encode(message, self._version)
        )  # refused: the sink has closed the connection, and reading will tell


def _covers(ticket: Ticket, message: native.ClientMessage) -> bool:
    if isinstance(message, native.Join | native.Act):
        return message.session == ticket.session
    return not isinstance(message, TopicRequest)


def _too_late(*_: object) -> None:
    """The connection has ended."""
