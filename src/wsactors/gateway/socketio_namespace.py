"""Namespaces of Socket.IO: what users subclass to say what their clients may do and hear."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Down, Mailbox, MonitorRef, Pid, Stop, TimerRef
from wsactors.realtime.identity import JoinRefused, User
from wsactors.realtime.rules import Action
from wsactors.wire import socketio as sio
from wsactors.wire.plain import Plain, check_plain

from .engineio_sink import VOLATILE
from .socketio_formats import RoomFormat
from .socketio_messages import Connect, Lost, MayReturn, Returned, Said, refusal
from .socketio_rooms import Rooms, Target, permits, room_topic
from .socketio_socket import Socket

if TYPE_CHECKING:
    from .socketio import SocketIo

F = TypeVar("F", bound=Callable[..., Any])

SERVER_LEFT: Final = "server namespace disconnect"
_EVENT: Final = "_socketio_event"
_PLACES: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ConnectRefused(Exception):
    """The client may not connect to the namespace. ``data`` travels along, for its program; it must be plain."""

    def __init__(self, message: str, data: Plain = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class NotAcknowledged(Exception):
    """The client did not acknowledge an event in time, or is gone."""


def on(event: str) -> Callable[[F], F]:
    """Let a method of a `Namespace` handle ``event``. Its arguments are the event's; its answer is what is acknowledged.

    >>> @on("chat message")                                                           # doctest: +SKIP
    ... async def said(self, text):
    ...     await self.to("lobby").emit("chat message", text)
    """

    def mark(method: F) -> F:
        setattr(method, _EVENT, event)
        return method

    return mark


@attrs.frozen
class _Handler:
    """A method that handles an event, and how many arguments it takes."""

    name: str
    least: int
    most: float

    @classmethod
    def of(cls, name: str, method: Callable[..., Any]) -> _Handler:
        """What is to be known of ``method``."""
        _, *parameters = inspect.signature(method).parameters.values()
        places = [each for each in parameters if each.kind in _PLACES]
        least = sum(each.default is each.empty for each in places)
        has_rest = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        return cls(name, least, math.inf if has_rest else len(places))


@attrs.frozen
class _GiveUp:
    """To itself: it will not come back."""


@attrs.frozen
class _Recheck:
    """To itself: is the client still who it was?"""


class Namespace(Actor):
    """One client in one namespace: an actor, which ends with the client.

    >>> class Chat(Namespace):                                                         # doctest: +SKIP
    ...     async def connect(self, auth):
    ...         if auth.get("name") == "mallory":
    ...             raise ConnectRefused("Not you", {"code": 17})
    ...         self.join("lobby")
    ...
    ...     @on("chat message")
    ...     async def said(self, text):
    ...         await self.to("lobby").emit("chat message", text)
    ...         return "delivered"

    Events of a client are handled one at a time, in order; a method may be ``async`` and take its time. An exception ends the
    client's connection to the namespace, and nothing else.
    """

    mailbox = Mailbox(1_000)
    recovers: ClassVar[bool] = False
    """Whether a client that has lost its connection may come back to what it missed (connection state recovery)."""
    authenticates: ClassVar[bool] = True
    """Whether the node's authenticator decides who the client is, by the token in its ``auth``; False: `connect` does."""
    broadcasts: ClassVar[bool] = True
    """Whether `everyone` reaches its clients."""
    counted_by_topics: ClassVar[bool] = False
    """Whether the node's topics count for a client's address what its clients send; False: it counts as it comes."""
    asks: ClassVar[frozenset[str]] = frozenset()
    """Fields of the query of the client's address that it wants to know (`query`); no secrets, as they are kept."""
    wire_format: ClassVar[type[RoomFormat]] = RoomFormat
    """How publications become events."""
    _events: ClassVar[Mapping[str, _Handler]] = {}

    socket: Socket
    query: Mapping[str, str] = MappingProxyType({})
    """Those fields that were there. The client says what it likes there."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict(cls._events)
        for name, value in vars(cls).items():
            event = getattr(value, _EVENT, None)
            if event in sio.RESERVED_EVENTS:
                raise TypeError(f"{cls.__qualname__}.{name}: no event may be called {event!r}")
            if event is not None:
                found[event] = _Handler.of(name, value)
        cls._events = found

    # -- for subclasses to define --

    async def connect(self, auth: Any) -> None:
        """The client wants to come in; ``auth`` is what it said, a map. What is emitted here follows its welcome.

        Raises:
            ConnectRefused: it may not.
        """

    async def disconnect(self, reason: str) -> None:
        """The client is gone for good."""

    async def interrupted(self, reason: str) -> None:
        """The client has lost its connection, and may come back."""

    async def may_return(self, user: User) -> bool:
        """Whether the client may come back to what it had as ``user``: the same person, perhaps with another token."""
        return True

    async def recovered(self) -> None:
        """It has come back, and got what it missed."""

    @classmethod
    def too_fast(cls, event: str, seconds: float) -> tuple[Plain, ...] | None:
        """What acknowledges an event that is not handled, since its client sends more than it may, and goes on doing so
        although it is slowed down. None: nothing does, and a client with ``retries`` sends it again."""
        return None

    # -- for subclasses to use --

    @property
    def sid(self) -> str:
        """The client's id in this namespace. Others may know it."""
        return self.socket.sid

    @property
    def user(self) -> User:
        """Whose client it is."""
        return self.socket.user

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms it is in; one of them is its own, its `sid`."""
        return self.socket.rooms

    def emit(self, event: str, *arguments: Plain, volatile: bool = False) -> bool:
        """Send the client an event; ``volatile``: only if it can take it now. False when it will not arrive.

        Raises:
            ProtocolError: an argument is not plain.
        """
        _check(event, arguments)
        frames = self.socket.format.event(event, arguments, has_offset=not volatile)
        return frames is not None and self.socket.offer(frames, VOLATILE if volatile else None)

    async def emit_with_ack(self, event: str, *arguments: Plain, timeout: float = 20.0) -> list[Plain]:
        """Send the client an event, and wait for what it answers. Not for `connect`: the client cannot answer yet.

        Raises:
            NotAcknowledged: it did not answer within ``timeout`` seconds, or is gone.
            ProtocolError: an argument is not plain.
        """
        _check(event, arguments)
        number, waiting = self.socket.expect()
        try:
            if self.socket.send(sio.EVENT, [event, *arguments], number):
                with trio.move_on_after(timeout):
                    await waiting.arrived.wait()
        finally:
            self.socket.forget(number)
        if waiting.arguments is None:
            raise NotAcknowledged(f"the client did not acknowledge {event!r}")
        return waiting.arguments

    async def permits(self, action: Action, room: str = "", *, private: bool = False) -> bool:
        """Whether the node's policy lets the client's user join a room, or publish there, and its token is still good.

        Nothing asks by itself: rooms are the namespace's own. The policy is asked about the room's topic (see `room_topic`);
        what nobody decides is allowed, unless the room is ``private``.
        """
        return await permits(self.node, self.user, action, room_topic(self.socket.namespace, room), private=private)

    def join(self, room: str) -> None:
        """Enter a room of this namespace. Raises `JoinRefused` when it is in too many, or there can be no such room."""
        self._own_rooms.join(room)

    def leave(self, room: str) -> None:
        """Leave it."""
        self._own_rooms.leave(room)

    def to(self, *rooms: str) -> Target:
        """Everybody else in one of these rooms, or with one of these ids: ``await self.to("lobby").emit("hello")``."""
        return Target(self._app.publisher, self.socket.namespace, rooms, frozenset({self.sid}))

    @property
    def everyone(self) -> Target:
        """Every client of the namespace, this one included."""
        return Target(self._app.publisher, self.socket.namespace, ("",), frozenset())

    def end(self, *, hang_up: bool = False) -> None:
        """Send the client away, after this handler; ``hang_up``: from all namespaces, by ending its connection."""
        self.socket.send(sio.DISCONNECT, None)
        self._ends = True
        if hang_up and self.socket.carrier is not None:
            self.socket.carrier.hang_up()

    async def handle_event(self, event: str, arguments: list[Plain], id: int | None) -> None:  # noqa: A002 - the field's name
        """Let the method marked with `on` handle an event; what no method handles is ignored.

        A method answers with a tuple of arguments for the client's callback, a single one, or None for none.
        """
        handler = self._events.get(event)
        if handler is None or not handler.least <= len(arguments) <= handler.most:
            return  # the client's fault; in the reference, too, nothing answers then
        answer = getattr(self, handler.name)(*arguments)
        if inspect.isawaitable(answer):
            answer = await answer
        if id is not None:
            self.acknowledge(id, *(answer if isinstance(answer, tuple) else () if answer is None else (answer,)))

    def acknowledge(self, id: int, *arguments: Plain) -> None:  # noqa: A002 - the field's name
        """Answer the event ``id`` of the client."""
        self.socket.send(sio.ACK, list(arguments), id)

    # -- the actor --

    def init(self, app: SocketIo, number: int) -> object:
        """``number`` is that under which its `Socket` waits, and the session that carries it."""
        arrival = app.arriving.get(number)
        if arrival is None:
            return Stop("the client has gone")
        self.socket, session, query = arrival
        if self.asks:
            self.query = {name: query[name] for name in self.asks & query.keys()}
        self.socket.actor = self.pid
        self._app = app
        self._rooms: Rooms | None = None
        self._session: MonitorRef | None = self.monitor(session)
        self._ends = self._is_in = False
        self._give_up: TimerRef | None = None
        self.at_death("namespace", self._is_over)
        return None

    def _is_over(self, _: Pid) -> None:
        """In the death step."""
        self._app.forget(self.socket)
        if self._rooms is not None:
            self._rooms.leave_all()

    @property
    def _own_rooms(self) -> Rooms:
        if self._rooms is None:
            self._rooms = Rooms(self.node, self.socket, self.pid)
        return self._rooms

    async def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case Connect(auth):
                try:
                    if self.broadcasts:
                        self._own_rooms.join("", counts=False)
                    await self.connect(auth)
                except ConnectRefused as refused:
                    return Stop("normal", reply=refusal(refused.message, refused.data))
                except JoinRefused as refused:
                    return Stop("normal", reply=refusal(refused.message, {"code": refused.code}))
                self._is_in = True
                self._recheck_later()
                return Stop("normal", reply=None) if await self._has_ended() else None
            case MayReturn(user):
                return await self.may_return(user)
            case _:
                return UNHANDLED

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Said(event, arguments, number):
                await self.handle_event(event, arguments, number)
            case Lost(reason, may_return):
                return await self._lost(reason, may_return=may_return)
            case Returned(session):
                self._session = self.monitor(session)
                if self._give_up is not None:
                    self.cancel_timer(self._give_up)
                await self.recovered()
            case _:
                return UNHANDLED
        return Stop("normal") if await self._has_ended() else None

    async def handle_info(self, message: Any) -> Any:
        match message:
            case Down(ref) if ref is self._session:
                self.socket.detach()
                return await self._lost("transport error", may_return=True)
            case _GiveUp() if not self.socket.is_attached:
                return await self._lost("transport close", may_return=False)
            case _GiveUp():
                return None
            case _Recheck():
                return await self._recheck()
            case _:
                return UNHANDLED

    async def _lost(self, reason: str, *, may_return: bool) -> Stop | None:
        if self._session is not None:
            self.demonitor(self._session, flush=True)
            self._session = None
        if may_return and self._is_in and self._app.may_return(self.socket):
            self._give_up = self.send_after(self._app.options.recovery_seconds, self.pid, _GiveUp())
            await self.interrupted(reason)
            return Stop("normal") if await self._has_ended() else None
        if self._is_in:
            await self.disconnect(reason)
        return Stop("normal")

    async def _has_ended(self) -> bool:
        """Whether a handler has sent the client away."""
        if self._ends:
            await self.disconnect(SERVER_LEFT)
        return self._ends

    def _recheck_later(self) -> None:
        """A token that expires, or is revoked, ends what it has opened."""
        seconds = self._app.recheck_seconds(self.user) if self.authenticates else None
        if seconds is not None:
            self.send_after(seconds, self.pid, _Recheck())

    async def _recheck(self) -> Stop | None:
        if await self._app.may_stay(self.user):
            self._recheck_later()
        else:
            self.end()
        return Stop("normal") if await self._has_ended() else None


def _check(event: str, arguments: Iterable[Plain]) -> None:
    if event in sio.RESERVED_EVENTS:
        raise ValueError(f"no event may be called {event!r}")
    check_plain([event, *arguments])
