"""Rooms: topics of the node's `Realtime` with names that no client can join by itself.

Room ``lobby`` of namespace ``/chat`` is the topic ``socketio:/chat:lobby``. Whoever is in some of several rooms gets an event
for all of them once, and whoever is in a room that is left out does not get it: each receiver knows its own rooms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from wsactors.actors import Pid, Runtime
from wsactors.cluster import Receiver
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import AuthRefused, JoinRefused, User
from wsactors.realtime.rules import Action
from wsactors.realtime.service import Realtime
from wsactors.wire.plain import Plain, check_plain

from .engineio_sink import VOLATILE
from .socketio_formats import ARGUMENTS, UNLESS
from .socketio_options import ROOM_PREFIX, ROOMS
from .socketio_socket import Socket

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ROOMS: Final = 1_000
"""Of one client in one namespace."""


def room_topic(namespace: str, room: str) -> str:
    """The topic of a room; what an actor publishes there arrives as an event. An empty room is the whole namespace.

    >>> room_topic("/chat", "lobby")
    'socketio:/chat:lobby'
    """
    return f"{ROOM_PREFIX}{namespace}:{room}"


class RoomChannel(Channel):
    """What a client gets that tries to join a room as if it were any topic: only a namespace lets clients into its rooms."""

    async def join(self, params: Plain) -> Plain:
        """Always raises `JoinRefused`."""
        raise JoinRefused("unauthorized", "This topic is a room of a Socket.IO namespace.")

    def handle_push(self, event: str, payload: Plain) -> Any:
        """Nobody pushes."""


def topics_of(node: Runtime) -> Realtime:
    """The node's topics, with rooms among them. Raises `LookupError` when it has none."""
    realtime = Realtime.of(node)
    reserve_rooms(realtime)
    return realtime


def reserve_rooms(realtime: Realtime) -> None:
    """Have the names of rooms mean rooms, before any other rule for topics, also where the configuration does not say so."""
    if realtime.options.topics[:1] != (ROOMS,):
        realtime.options = attrs.evolve(realtime.options, topics=(ROOMS, *realtime.options.topics))


async def permits(node: Runtime, user: User, action: Action, topic: str, *, private: bool) -> bool:
    """Whether ``user`` may do that, as the node's policy says and by a token that is still good."""
    permission = topics_of(node).permission
    try:
        await permission.stay(user)
    except AuthRefused:
        return False
    return await permission.may(action, user, topic, private=private)


class Rooms:
    """The rooms of one socket. Whoever is in one is a receiver of its topic, without a channel: it asks for nothing.

    Args:
        node: Where it lives.
        socket: Its rooms are kept there: it decides by them what it gets.
        owner: Its actor: in that one's death step it leaves all of them.
    """

    __slots__ = ("_node", "_owner", "_receivers", "_socket")

    def __init__(self, node: Runtime, socket: Socket, owner: Pid) -> None:
        self._node = node
        self._socket = socket
        self._owner = owner
        self._receivers: dict[str, Receiver] = {}

    def join(self, room: str, *, counts: bool = True) -> None:
        """Enter. Raises `JoinRefused` when there are too many, or no such topic can be."""
        if room in self._socket.rooms or room in self._receivers:
            return
        topic = room_topic(self._socket.namespace, room)
        realtime = topics_of(self._node)
        if len(self._receivers) > MAX_ROOMS:
            raise JoinRefused("too_many", f"a client may be in {MAX_ROOMS} rooms")
        if realtime.options.for_topic(topic) is None:
            raise JoinRefused("unmatched_topic", "There can be no room of this name.")
        receiver = self._receivers[room] = Receiver(
            self._owner, self._socket.format, self._socket.offer, missed=self._socket.lose
        )
        realtime.relay.admit(topic, receiver)
        if counts:
            self._socket.rooms |= {room}

    def leave(self, room: str) -> None:
        """Leave; nothing more comes from there."""
        receiver = self._receivers.pop(room, None)
        if receiver is not None:
            self._socket.rooms -= {room}
            Realtime.of(self._node).relay.remove(room_topic(self._socket.namespace, room), receiver)

    def leave_all(self) -> None:
        """Leave all of them."""
        for room in tuple(self._receivers):
            self.leave(room)


class Publisher:
    """What can be sent to a room or to one client.

    Args:
        node: Whose topics are used.
        find: The socket of an id in a namespace, if it is here.
    """

    def __init__(self, node: Runtime, find: Callable[[str, str], Socket | None]) -> None:
        self._node = node
        self._find = find

    async def publish(
        self, namespace: str, room: str, event: str, arguments: Sequence[Plain], meta: dict[str, Any]
    ) -> None:
        """Publish an event. Raises `PublishRefused`."""
        topic = room_topic(namespace, room)
        await topics_of(self._node).publish(topic, event, list(arguments), meta={ARGUMENTS: True, **meta})

    def socket(self, namespace: str, sid: str) -> Socket | None:
        """The client with that id."""
        return self._find(namespace, sid)


@attrs.frozen
class Target:
    """Some clients of a namespace: everybody in one of ``rooms`` who is in none of ``left_out``."""

    _publisher: Publisher
    namespace: str
    rooms: tuple[str, ...]
    left_out: frozenset[str] = frozenset()
    is_volatile: bool = False

    def but(self, *rooms: str) -> Target:
        """The same without those in ``rooms``; an id is a room of one."""
        return attrs.evolve(self, left_out=self.left_out | set(rooms))

    @property
    def volatile(self) -> Target:
        """The same, but whoever cannot take it now does not get it."""
        return attrs.evolve(self, is_volatile=True)

    async def emit(self, event: str, *arguments: Plain) -> None:
        """Send them an event.

        Raises:
            PublishRefused: it is too large, or a room is overloaded.
            ProtocolError: an argument is not plain.
        """
        check_plain([event, *arguments])
        left_out = set(self.left_out)
        for room in self.rooms:
            meta: dict[str, Any] = {UNLESS: sorted(left_out)} if left_out else {}
            if self.is_volatile:
                meta[VOLATILE] = True
            left_out.add(room)
            socket = self._publisher.socket(self.namespace, room)
            if socket is None:
                await self._publisher.publish(self.namespace, room, event, arguments, meta)
            elif socket.rooms.isdisjoint(meta.get(UNLESS, ())):
                self._send(socket, event, arguments)

    def _send(self, socket: Socket, event: str, arguments: Sequence[Plain]) -> None:
        frames = socket.format.event(event, arguments, has_offset=not self.is_volatile)
        if frames is not None:
            socket.offer(frames, VOLATILE if self.is_volatile else None)
