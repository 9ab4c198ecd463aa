"""The actor of one Engine.IO session: a shell around `EngineCore` that outlives the connections which carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Mailbox, NoReply, Pid, Request, Stop, TimerRef, reply
from wsactors.wire.errors import ProtocolError
from wsactors.wire.ws_frame import text_frame

from .engineio_core import EngineCore
from .engineio_events import (
    PARSE_ERROR,
    SERVER_CLOSE,
    TOO_SLOW,
    Answer,
    Closed,
    CloseSocket,
    Event,
    Received,
    ToSocket,
    Upgraded,
)
from .engineio_messages import Attach, Poll, PollLost, Post, SocketLost, SocketMessage
from .engineio_options import EngineOptions
from .engineio_sink import EngineSink
from .ws import NORMAL, TRY_AGAIN_LATER, WebSocket

if TYPE_CHECKING:
    from .drain import Drain
    from .engineio import EngineServer

MOST_PAUSE: Final = 5.0
"""Seconds that a client which sends too much is not read at most."""
DRAIN_LINGER: Final = 0.5
"""Seconds in which a client should poll again to be told that the node stops: most wait already."""


@attrs.frozen
class _Tick:
    """To itself: something is due."""


@attrs.frozen
class _Look:
    """To itself: see what has happened, and flush."""


_TICK: Final = _Tick()
_LOOK: Final = _Look()


@attrs.frozen
class _GoAway:
    """Cast: the node stops."""


@attrs.frozen(eq=False)
class _PollingGuest:
    """A client that polls, as the drain sees it; on a WebSocket, that is the guest."""

    _session: EngineSession

    def say_goodbye(self, seconds: float) -> None:
        """See `wsactors.gateway.drain.Guest`. The protocol has no word for when to come back."""
        del seconds
        self._session.node.cast(self._session.pid, _GoAway())


@attrs.frozen(eq=False)
class _Attached:
    """A WebSocket, and the number under which the core knows it."""

    number: int
    ws: WebSocket


class EngineSession(Actor):
    """One session."""

    mailbox = Mailbox(1_000)

    def init(self, server: EngineServer, number: int) -> object:
        """``number`` is that under which its `Handshake` waits."""
        handshake = server.arriving.get(number)
        if handshake is None:
            return Stop("the client has gone")
        if not server.has_room(handshake.address):
            return Stop("too many sessions")
        self.handshake = handshake
        self.options: EngineOptions = server.options
        self._now = trio.current_time()
        socket = number if handshake.ws is not None else None
        sid = server.new_sid()
        self._core = EngineCore(
            sid, server.options, now=self._now, version=handshake.version, socket=socket, octets=handshake.octets
        )
        self.sink = EngineSink(self._core, server.options.buffer_bytes, self)
        """Where everything for the client goes, from anywhere."""
        self._sockets: tuple[_Attached, ...] = ()
        """One, and while a client moves, those that it may move to: for as many a dict is too large."""
        self._requests: dict[int, Request] | None = None
        """Of a client that polls: those that wait for an answer."""
        self._timer: TimerRef | None = None
        self._timer_due = float("inf")
        self._looks = False
        if handshake.ws is not None:
            self._sockets = (_Attached(number, handshake.ws),)
            self.sink.attach(handshake.ws)
            self.sink.offer(text_frame(self._core.handshake()))
        elif server.drain is not None:
            self._guest = _PollingGuest(self)
            self._drain = server.drain
            self._drain.enter(self._guest)
            if server.meter is not None:
                server.meter.enter()
        server.admit(sid, self.pid, handshake)
        self._server = server
        self.at_death("session", self._is_over)
        self._conversation = server.app.open(self)
        self._arm()
        return None

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self._core.is_closed

    def close(self, reason: str = SERVER_CLOSE) -> None:
        """End the session from here."""
        self._core.close(reason, trio.current_time())
        self.look_soon()

    def slow_down(self, seconds: float) -> None:
        """The client sends too fast: whatever carries it is not read for so long, but often enough to hear that it lives."""
        self._pause = max(self._pause, min(seconds, MOST_PAUSE, self.options.ping_timeout / 4))

    def belongs_to(self, subject: str) -> None:
        """The client is the user ``subject``: so it is listed."""
        ws = None if self._core.socket is None else self._websocket(self._core.socket)
        self._server.belongs_to(self._core.sid, subject, ws)

    # -- messages --

    def handle_call(self, message: Any, caller: Request) -> Any:
        now = self._now = trio.current_time()
        core = self._core
        match message:
            case SocketMessage(number, data):
                core.message(number, data, now)
                return self._settle() or self._taken_pause()
            case "pause":
                return self._taken_pause()
            case Poll(ticket):
                self._await(ticket, caller)
                core.poll(ticket, now)
                return self._settle() or _answered(caller)
            case Post(ticket):
                return self._post(message, caller, ticket, now)
            case "handshake":
                return core.handshake()
            case _:
                return UNHANDLED

    def _taken_pause(self) -> float:
        pause, self._pause = self._pause, 0.0
        return pause

    def _await(self, ticket: int, caller: Request) -> None:
        if self._requests is None:
            self._requests = {}
        self._requests[ticket] = caller

    def _request(self, ticket: int) -> Request | None:
        return self._requests.pop(ticket, None) if self._requests is not None else None

    def _post(self, message: Post, caller: Request, ticket: int, now: float) -> Any:
        self._await(ticket, caller)
        core = self._core
        if message.is_first and not core.begin_post(ticket, now):
            return self._settle() or _answered(caller)
        core.take(message.packets, now)
        if message.is_last:
            core.end_post(is_valid=message.is_valid)
            return self._settle() or _answered(caller)
        self._request(ticket)
        return self._settle() or b""

    def handle_cast(self, message: Any) -> Any:
        match message:
            case PollLost(ticket):
                self._request(ticket)
                self._core.poll_lost(ticket)
            case Attach(number, ws):
                self._sockets += (_Attached(number, ws),)
                self._core.attach(number, trio.current_time())
            case SocketLost(number, reason):
                self._detached(number)
                self._core.socket_lost(number, reason)
            case _GoAway():
                self._core.close(SERVER_CLOSE, trio.current_time(), linger=DRAIN_LINGER)
            case _:
                return UNHANDLED
        return self._settle()

    def handle_info(self, message: Any) -> Any:
        match message:
            case _Tick():
                self._timer, self._timer_due = None, float("inf")
                self._core.tick(trio.current_time())
            case _Look():
                self._looks = False
            case _:
                self._conversation.told(message)
        return self._settle()

    def terminate(self, reason: Any) -> None:
        """Tell the client and the application that it is over, if they do not know."""
        self._core.close(SERVER_CLOSE, trio.current_time())
        self._settle()

    # -- what has happened --

    def _settle(self) -> Stop | None:
        """Do what the core's events say. Whoever is answered or told may bring about more of them."""
        core = self._core
        self._looks, looked = True, self._looks  # what is sent from here on is flushed here
        core.flush(trio.current_time())
        while core.events:
            events, core.events = core.events, []
            for event in events:
                self._do(event)
            core.flush(trio.current_time())
        self._looks = looked
        if self.sink.needs_pump:
            self.start_soon(self.sink.pump)
        if core.is_over and not self.sink.is_busy:
            return Stop("normal")
        self._arm()
        return None

    def _do(self, event: Event) -> None:
        match event:
            case Received(data):
                self._hear(data)
            case Answer(ticket, body, count):
                request = self._request(ticket)
                if request is not None:
                    reply(request, body)
                    if count:  # else it says to a POST that it has come
                        self._server.count_out(count, len(body or b""))
            case ToSocket(number, frames):
                self._write(number, frames)
            case CloseSocket(number):
                self._close_socket(number)
            case Upgraded(number):
                if (ws := self._websocket(number)) is not None:
                    self.sink.attach(ws)
                self._leave_drain()
                self.belongs_to("")
            case Closed(reason):
                self._conversation.closed(reason)
                self._reason = reason

    def _hear(self, data: str | bytes) -> None:
        if self._core.is_closed:
            return
        try:
            self._conversation.received(data)
        except ProtocolError:
            self._core.close(PARSE_ERROR, trio.current_time())

    def _write(self, number: int, frames: bytes) -> None:
        if number == self._core.socket:
            self.sink.offer(frames)
        elif (ws := self._websocket(number)) is not None:
            ws.sink.offer(frames)

    def _websocket(self, number: int) -> WebSocket | None:
        return next((each.ws for each in self._sockets if each.number == number), None)

    def _detached(self, number: int) -> WebSocket | None:
        """What was attached under ``number``, and is no more."""
        ws = self._websocket(number)
        self._sockets = tuple(each for each in self._sockets if each.number != number)
        return ws

    def _close_socket(self, number: int) -> None:
        ws = self._detached(number)
        if ws is None:
            return
        if number != self._core.socket:
            ws.close(NORMAL)
        elif self._reason == TOO_SLOW:
            self.sink.close(TRY_AGAIN_LATER, TOO_SLOW)
        else:
            self.sink.close(NORMAL)

    def _is_over(self, _: Pid) -> None:
        """In the death step: it is not found any more, and nobody would read from its WebSockets."""
        self._server.forget(self._core.sid, self.handshake.address)
        self._leave_drain()
        for each in self._sockets:
            each.ws.close(NORMAL)
        # These refer to this actor, and a cycle would stay until the garbage collector comes.
        vars(self).pop("_conversation", None)
        self.sink.end()

    def _leave_drain(self) -> None:
        if self._guest is not None and self._drain is not None:
            self._drain.leave(self._guest)
            self._guest = None
            if self._server.meter is not None:
                self._server.meter.leave()

    # -- time --

    def _arm(self) -> None:
        due = self._core.deadline
        if due >= self._timer_due:
            return  # what is armed comes first; it looks again then
        if self._timer is not None:
            self.cancel_timer(self._timer)
        self._timer_due = due
        self._timer = self.send_after(max(0.0, due - trio.current_time()), self.pid, _TICK)

    def look_soon(self) -> None:
        """See what has happened when this is over. Does not wait."""
        if not self._looks:
            self._looks = self.node.send(self.pid, _LOOK)

    _pause = 0.0
    _reason = ""
    _guest: _PollingGuest | None = None
    _drain: Drain | None = None


def _answered(caller: Request) -> Any:
    """What a handler returns whose request may have been answered while it ran."""
    return NoReply() if caller.waiting else caller.value
