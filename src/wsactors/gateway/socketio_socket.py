"""One client in one namespace, as bytes: its packets on the way out, what it may still need if it comes back, its formats.

Whatever goes to many is made once per namespace, frames and offset included, and offered to every `Socket`.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import trio

from wsactors.actors.log import log
from wsactors.cluster import CHANGES
from wsactors.realtime.publication import PresenceDiff, PresenceState, Publication
from wsactors.wire import socketio as sio
from wsactors.wire.engineio import pieces_of
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain
from wsactors.wire.ws_frame import binary_frame, text_frame

from .engineio_sink import VOLATILE, EngineSink

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from wsactors.actors import Pid
    from wsactors.realtime.identity import User

_MESSAGE: Final = b"4"
_HELD: Final = 1_000
"""Packets that a namespace may send before its client is let in."""


def frames_of(packet: sio.Packet) -> bytes:
    """``packet`` as WebSocket frames of Engine.IO. Raises `ProtocolError` when its data is not plain."""
    text, attachments = sio.encode(packet)
    frame = text_frame(_MESSAGE + text)
    return frame + b"".join(map(binary_frame, attachments)) if attachments else frame


class Marked(bytes):
    """Frames that not every receiver gets."""

    unless: frozenset[str]
    """Whoever is in one of these rooms does not."""
    is_volatile: bool
    """Whoever cannot take them now does not."""


class Offsets:
    """Names for places in what a namespace sends: they end the arguments of its events, and clients come back with them."""

    def __init__(self) -> None:
        self._prefix = secrets.token_urlsafe(6)
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """A name that was never used, nor will be by this process."""
        return f"{self._prefix}.{next(self._numbers):x}"


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
        self._entries: deque[bytes] | None = None
        self._packets = packets
        self._space = size
        self._size = 0
        self._dropped = False

    def add(self, frames: bytes) -> None:
        """``frames`` were sent, or would have been."""
        entries = self._entries
        if entries is None:
            entries = self._entries = deque()
        entries.append(frames)
        size = self._size + len(frames)
        if size > self._space or len(entries) > self._packets:
            self._dropped = True
            size -= len(entries.popleft())
            while size > self._space:
                size -= len(entries.popleft())
        self._size = size

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


class Socket:
    """One client in one namespace. A `wsactors.realtime.sinks.Sink` for all its topics.

    It outlives the session that carries it, if its namespace lets clients come back.
    """

    __slots__ = (
        "_acknowledgements", "_held", "_log", "_next_id", "_sink", "_version", "actor", "format", "hang_up", "is_over", "leave",
        "namespace", "place", "rooms", "sid", "token", "user",
    )  # fmt: skip

    def __init__(
        self, wire_format: RoomFormat, user: User, *, log_of_sent: RecoveryLog | None = None, version: int = 4
    ) -> None:
        self.format = wire_format
        """How events of its namespace are written."""
        self.namespace = wire_format.namespace
        self.sid = secrets.token_urlsafe(15)
        self.token = secrets.token_urlsafe(18) if log_of_sent is not None else ""
        """With which its client comes back; a secret."""
        self.place = ""
        """What the node's `wsactors.realtime.resume.ResumeStore` knows its place by: void after a kick. A secret, too."""
        self.user = user
        self.rooms: frozenset[str] = frozenset({self.sid})
        """Its own id is one of them. Replaced when they change."""
        self.actor: Pid
        self.is_over = False
        """Nothing more is sent."""
        self.hang_up: Callable[[], None] = _nothing
        """Ends the session, and all other namespaces of the client with it."""
        self.leave: Callable[[], None] = _nothing
        """Has the session that carries it forget it."""
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
        self.hang_up = self.leave = _nothing
        for waiting in (self._acknowledgements or {}).values():
            waiting.arrived.set()
        self._acknowledgements = None

    def end(self) -> None:
        """It is over: its actor is gone."""
        self.is_over = True
        CHANGES.count += 1
        self.hang_up = self.leave = _nothing

    def _welcome(self) -> None:
        data: Plain = {"sid": self.sid, **({"pid": self.token} if self.token else {})}
        packet = sio.Packet(sio.CONNECT, self.namespace, None if self._version == 3 else data)
        if self._sink is not None:
            self._sink.offer(frames_of(packet))


def _nothing() -> None:
    """What is done when nobody carries a socket."""


class RoomFormat:
    """Publications as events of one namespace: a payload is the only argument, a list of arguments if it says so.

    Args:
        namespace: Its name.
        offsets: What its events end with; None: clients cannot come back.
    """

    protocol = "socketio"
    """What it counts as: see `wsactors.gateway.metrics`."""

    def __init__(self, namespace: str, offsets: Offsets | None = None) -> None:
        self.namespace = namespace
        self._offsets = offsets

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        meta = publication.meta or {}
        payload = publication.payload
        arguments = payload if meta.get(ARGUMENTS) and isinstance(payload, list) else [payload]
        if publication.event in sio.RESERVED_EVENTS:
            return None  # clients end their connection at such an event, whoever has published it
        unless, is_volatile = frozenset(meta.get(UNLESS, ())), bool(meta.get(VOLATILE))
        frames = self.event(publication.event, arguments, has_offset=not is_volatile)
        if frames is None or not (unless or is_volatile):
            return frames
        marked = Marked(frames)
        marked.unless, marked.is_volatile = unless, is_volatile
        return marked

    def event(self, event: str, arguments: Iterable[Any], *, has_offset: bool = True) -> bytes | None:
        """The frames of an event; None when they cannot be made."""
        data: list[Plain] = [event, *arguments]
        if self._offsets is not None and has_offset:
            data.append(self._offsets.next())
        try:
            return frames_of(sio.Packet(sio.EVENT, self.namespace, data))
        except ProtocolError as error:  # an actor has published what no client could read
            log(__name__, "warning", "not_deliverable", reason=str(error))
            return None

    def presence_state(self, state: PresenceState) -> bytes | None:
        """Rooms have none."""
        del state
        return None

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """Rooms have none."""
        del diff
        return None


class TopicFormat(RoomFormat):
    """Publications and presence of topics that are shared with all other protocols, as `docs/socketio.md` says."""

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        about = dict(_about(publication))
        return self.event("message", [publication.topic, publication.event, publication.payload, about])

    def presence_state(self, state: PresenceState) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self.event("presence_state", [state.topic, _metas(state.metas)])

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        changes = {"joins": _metas(diff.joins), "leaves": _metas(diff.leaves)}
        return self.event("presence_diff", [diff.topic, changes])


ARGUMENTS: Final = "arguments"
"""In a publication's meta: its payload is a list of arguments."""
UNLESS: Final = "unless"
"""In a publication's meta: rooms whose members do not get it."""


def _about(publication: Publication) -> Iterator[tuple[str, Plain]]:
    if publication.offset:
        yield "epoch", publication.epoch
        yield "offset", publication.offset
    if publication.id:
        yield "id", publication.id
    if publication.at:
        yield "at", publication.at


def _metas(metas: Any) -> dict[str, Any]:
    return {key: [dict(meta) for meta in each] for key, each in metas.items()}
