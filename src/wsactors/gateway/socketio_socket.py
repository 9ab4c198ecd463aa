"""One client in one namespace, as bytes: its packets on the way out, and what it may still need if it comes back."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

import trio

from wsactors.cluster import CHANGES
from wsactors.wire import socketio as sio
from wsactors.wire.engineio import pieces_of
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain

from .engineio_sink import VOLATILE, EngineSink
from .socketio_formats import Marked, RoomFormat, frames_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from wsactors.actors import Pid
    from wsactors.realtime.identity import User

_HELD: Final = 1_000
"""Packets that a namespace may send before its client is let in."""


class Once(bytes):
    """Frames that are not repeated to a client that comes back. They may look as if they ended with an offset."""


class RecoveryLog:
    """The newest packets for one socket, bounded; they are shared with everybody else who got them.

    Args:
        packets: Most packets.
        size: Most bytes.
    """

    __slots__ = ("_dropped", "_entries", "_packets", "_size", "_space")

    def __init__(self, packets: int, size: int) -> None:
        self._entries: list[bytes] | None = (
            None  # a deque takes 760 bytes even for one, and these stay short nearly always
        )
        self._packets = packets
        self._space = size
        self._size = 0
        self._dropped = False

    def add(self, frames: bytes) -> None:
        """``frames`` were sent, or would have been."""
        entries = self._entries
        if entries is None:
            entries = self._entries = []
        entries.append(frames)
        size = self._size + len(frames)
        if size > self._space or len(entries) > self._packets:
            self._dropped = True
            size -= len(entries.pop(0))
            while size > self._space:
                size -= len(entries.pop(0))
        self._size = size

    def forget(self) -> None:
        """Something is missing in it: nobody can come back to what is here."""
        self._entries, self._size, self._dropped = None, 0, True

    def since(self, offset: str | None) -> list[bytes] | None:
        """What came after ``offset``, all of it; None when that cannot be said. A client without an offset got nothing."""
        entries = list(self._entries or ())
        if offset is not None:
            end = dumps(offset) + b"]"
            found = [at for at, frames in enumerate(entries) if next(pieces_of(frames)).data.endswith(end)]
            if len(found) != 1:
                return None
            entries = entries[found[0] + 1 :]
        elif self._dropped:
            return None
        return [frames for frames in entries if type(frames) is not Once]


class Acknowledgement:
    """What a client is still to answer."""

    __slots__ = ("arguments", "arrived")

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.arguments: list[Plain] | None = None


class Carrier(Protocol):
    """A session that carries sockets. Nothing here waits."""

    def hang_up(self) -> None:
        """End the session, and all namespaces of its client with it."""
        ...

    def let_go(self, socket: Socket, /) -> None:
        """Forget ``socket``: another session carries it from now on."""
        ...

    def slow_down(self, seconds: float, /) -> None:
        """The client sends too fast: do not read what it says for so long."""
        ...

    def belongs_to(self, user: User, /) -> None:
        """The client is ``user``'s."""
        ...


class Socket:
    """One client in one namespace. A `wsactors.realtime.sinks.Sink` for all its topics.

    It outlives the session that carries it, if its namespace lets clients come back.
    """

    __slots__ = (
        "_acknowledgements", "_held", "_log", "_next_id", "_rooms", "_sink", "_version", "actor", "carrier", "format", "is_over",
        "sid", "token", "user",
    )  # fmt: skip

    def __init__(
        self, wire_format: RoomFormat, user: User, *, log_of_sent: RecoveryLog | None = None, version: int = 4
    ) -> None:
        self.format = wire_format
        """How events of its namespace are written."""
        self.sid = secrets.token_urlsafe(15)
        self.token = secrets.token_urlsafe(18) if log_of_sent is not None else ""
        """With which its client comes back; a secret."""
        self.user = user
        self._rooms: frozenset[str] | None = None
        self.actor: Pid
        self.is_over = False
        """Nothing more is sent."""
        self.carrier: Carrier | None = None
        """The session that carries it."""
        self._log = log_of_sent
        self._sink: EngineSink | None = None
        self._held: list[tuple[bytes, object]] | None = []
        self._acknowledgements: dict[int, Acknowledgement] | None = None
        self._next_id = 0
        self._version = version

    def __repr__(self) -> str:
        return f"<Socket {self.namespace} {'over' if self.is_over else 'attached' if self.is_attached else 'detached'}>"

    @property
    def is_attached(self) -> bool:
        """Whether a session carries it."""
        return self._sink is not None

    @property
    def namespace(self) -> str:
        """The name of its namespace."""
        return self.format.namespace

    @property
    def rooms(self) -> frozenset[str]:
        """Where it is. Its own id is one of them, and nearly always the only one: then nothing is kept."""
        return frozenset((self.sid,)) if self._rooms is None else self._rooms

    @rooms.setter
    def rooms(self, rooms: frozenset[str]) -> None:
        self._rooms = None if len(rooms) == 1 else rooms

    def renew(self, user: User) -> None:
        """It is ``user``'s from now on: the same person with a newer token, or somebody who had not logged in before."""
        self.user = user
        if self.carrier is not None:
            self.carrier.belongs_to(user)

    # -- out --

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`."""
        if self.is_over:
            return False
        if type(data) is Marked:
            if not data.unless.isdisjoint(self.rooms):
                return True
            if data.is_volatile:
                key = VOLATILE
        if self._held is not None:
            if len(self._held) < _HELD:
                self._held.append((data, key))
            return len(self._held) < _HELD
        if self._log is not None:
            self._log.add(data if key is None or key != VOLATILE else Once(data))
        return self._sink.offer(data, key) if self._sink is not None else self._log is not None

    def shortcut(self) -> socket.socket | None:
        """See `wsactors.cluster.Shortcut`."""
        return None if self._sink is None or self._held is not None or self.is_over else self._sink.shortcut()

    def witness(self) -> Callable[[bytes], object] | None:
        """See `wsactors.cluster.Shortcut`."""
        return None if self._log is None else self._log.add

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        """See `wsactors.cluster.Shortcut`."""
        assert self._sink is not None
        if self._log is not None:
            self._log.add(data)
        self._sink.sent_partly(data, sent, key)

    def send(self, kind: int, data: Plain, number: int | None = None, *, key: object = None) -> bool:
        """Send a packet that nobody else gets, and that is not repeated to a client that comes back.

        Raises:
            ProtocolError: its data is not plain.
        """
        frames = frames_of(sio.Packet(kind, self.namespace, data, number))
        if self._held is not None:
            return self.offer(frames, key)
        if self._log is not None and kind == sio.EVENT:
            self._log.add(Once(frames))
        return self._sink is not None and not self.is_over and self._sink.offer(frames, key)

    # -- acknowledgements --

    def expect(self) -> tuple[int, Acknowledgement]:
        """An id for an event that the client is to acknowledge."""
        number, self._next_id = self._next_id, self._next_id + 1
        if self._acknowledgements is None:
            self._acknowledgements = {}
        waiting = self._acknowledgements[number] = Acknowledgement()
        return number, waiting

    def forget(self, number: int) -> None:
        """Nobody waits for it any more."""
        if self._acknowledgements is not None:
            self._acknowledgements.pop(number, None)

    def acknowledge(self, number: int, arguments: list[Plain]) -> None:
        """The client has answered. What nobody waits for is forgotten."""
        waiting = self._acknowledgements.pop(number, None) if self._acknowledgements is not None else None
        if waiting is not None:
            waiting.arguments = arguments
            waiting.arrived.set()

    # -- who carries it --

    def enter(self, sink: EngineSink) -> None:
        """The client is let in: what was sent before follows."""
        held, self._held = self._held or [], None
        self._sink = sink
        self._welcome()
        for data, key in held:
            self.offer(data, key)

    def missed(self, offset: str | None) -> list[bytes] | None:
        """What a client that comes back has missed; None when that cannot be said."""
        return self._log.since(offset) if self._log is not None else None

    def enter_again(self, sink: EngineSink, missed: Iterable[bytes]) -> None:
        """The client has come back."""
        self._sink = sink
        self._welcome()
        for frames in missed:
            sink.offer(frames)

    def detach(self) -> None:
        """Nothing carries it any more, for now or for good."""
        self._sink = None
        CHANGES.count += 1
        self.carrier = None
        for waiting in (self._acknowledgements or {}).values():
            waiting.arrived.set()
        self._acknowledgements = None

    def lose(self) -> None:
        """It may not have got something that was for it: before anything else comes its client has to connect anew."""
        if self._log is not None:
            self._log.forget()
        carrier = self.carrier
        self.detach()
        if carrier is not None:
            carrier.hang_up()

    def end(self) -> None:
        """It is over: its actor is gone."""
        self.is_over = True
        CHANGES.count += 1
        self.carrier = None

    def _welcome(self) -> None:
        data: Plain = {"sid": self.sid, **({"pid": self.token} if self.token else {})}
        packet = sio.Packet(sio.CONNECT, self.namespace, None if self._version == 3 else data)
        if self._sink is not None:
            self._sink.offer(frames_of(packet))
