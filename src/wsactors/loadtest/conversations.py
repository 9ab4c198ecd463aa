"""What users say and understand, protocol by protocol: just enough to join, hear, speak and leave. Pure.

Messages of the harness itself (those with a stamp) never come here; `wsactors.loadtest.visit` counts them before anything is
parsed. What comes is rare, so it is decoded by the node's own codecs where there are any.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import quote

import attrs

from wsactors.loadtest.frames import BINARY, CLOSE, TEXT, client_frame
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

__all__ = ["EVENT", "Conversation", "Manners", "Native", "Phoenix", "Room", "SocketIo", "conversation_for"]

EVENT: Final = "load"
"""What the messages that users send are called."""
GOODBYE: Final = client_frame(b"\x03\xe8", CLOSE)
"""1000: we are done."""


@attrs.frozen
class Manners:
    """How a user joins."""

    topic: str
    token: str = ""
    audio: bool = False
    presence: bool = False
    name: str = ""
    """What it is called where people are shown."""


class Room(Protocol):
    """Who a conversation belongs to."""

    def say(self, data: bytes) -> object:
        """Send whole frames."""
        ...

    def joined(self) -> None:
        """We are in."""
        ...

    def refused(self, reason: str) -> None:
        """We may not come in."""
        ...

    def dropped(self, reason: str) -> None:
        """We were put out, or our channel broke; the connection stays."""
        ...

    def ended(self, reason: str) -> None:
        """They end the connection, or break the protocol."""
        ...


class Conversation:
    """A protocol at the user's end."""

    PATH: ClassVar[str]
    """Path and query of its endpoint, without a token."""
    BEAT: ClassVar[float | None] = None
    """Seconds between two heartbeats, if the client must send them."""

    __slots__ = ("_manners", "_room")

    def __init__(self, room: Room, manners: Manners) -> None:
        self._room = room
        self._manners = manners

    @classmethod
    def path(cls, manners: Manners) -> str:
        """Where to connect to."""
        return cls.PATH

    def opened(self) -> None:
        """The connection is there."""

    def join(self) -> None:
        """Ask to be let in, also again after `Room.dropped`."""

    def take(self, opcode: int, data: bytes) -> None:
        """One message. Raises `ProtocolError` for what cannot be understood."""

    def speech(self, text: str) -> bytes:
        """The frame that sends ``text`` to everybody on the topic."""
        raise TypeError(f"{type(self).__name__} does not say how one speaks")

    def beat(self) -> bytes:
        """The heartbeat."""
        return b""

    def goodbye(self) -> bytes:
        """What is said before hanging up."""
        return GOODBYE


class Native(Conversation):
    """The native protocol, version 2; sessions with sound in version 1's words."""

    PATH = "/ws"
    __slots__ = ()

    def opened(self) -> None:
        """Greet and ask in one go; who may not greet is told so all the same."""
        hello = native.Hello(native.VERSIONS, client="wsactors-load", token=self._manners.token)
        self._room.say(client_frame(native.encode(hello)))
        self.join()

    def join(self) -> None:
        """Join the topic, or the session."""
        manners = self._manners
        if manners.audio:
            self._room.say(client_frame(native.encode(native.Join(manners.topic))))
            return
        asked = native.JoinTopic(1, manners.topic, presence=manners.presence)
        self._room.say(client_frame(native.encode(asked)))
        if manners.presence:
            track = native.Track(manners.topic, {"name": manners.name}, ref=2)
            self._room.say(client_frame(native.encode(track)))

    def take(self, opcode: int, data: bytes) -> None:
        """Everything but the load's own messages and audio frames."""
        if data[3:4] > b"\xa0" and data[4:].startswith((b"presence", b"message", b"event")):
            return  # the most frequent of what nobody here needs
        match native.decode_server(data):
            case native.TopicJoined() | native.Joined():
                self._room.joined()
            case native.Error(code=code, message=message):
                self._room.refused(f"{code}: {message}")
            case native.TopicLeft(code=code, reason=reason):
                self._room.dropped(f"{code}: {reason}")
            case native.Left(reason=reason):
                self._room.dropped(reason)
            case native.Ping(nonce=nonce):
                self._room.say(client_frame(native.encode(native.Pong(nonce))))
            case _:
                pass

    def speech(self, text: str) -> bytes:
        """Publish."""
        return client_frame(native.encode(native.Publish(self._manners.topic, EVENT, {"text": text})))

    def goodbye(self) -> bytes:
        """Leave and close."""
        topic = self._manners.topic
        leave = native.Leave(topic) if self._manners.audio else native.LeaveTopic(3, topic)
        return client_frame(native.encode(leave)) + GOODBYE


class Phoenix(Conversation):
    """Phoenix Channels, version 2.0.0."""

    PATH = "/socket/websocket?vsn=2.0.0"
    BEAT = 30.0
    __slots__ = ("_joins",)

    def __init__(self, room: Room, manners: Manners) -> None:
        super().__init__(room, manners)
        self._joins = 0

    @classmethod
    def path(cls, manners: Manners) -> str:
        """With the token where phoenix.js' ``params`` put it."""
        return f"{cls.PATH}&token={quote(manners.token)}" if manners.token else cls.PATH

    def opened(self) -> None:
        """There is no greeting."""
        self.join()

    def join(self) -> None:
        """Each join has a new ref; what still comes for an older one is not for us."""
        self._joins += 1
        ref = f"j{self._joins}"
        self._room.say(_text([ref, ref, self._manners.topic, "phx_join", {}]))

    def take(self, opcode: int, data: bytes) -> None:
        """Replies and the ends of channels; the rest is not looked at."""
        if opcode != TEXT or b'"phx_' not in data:
            return
        join_ref, ref, topic, event, payload = _list_of(data, 5)
        if topic != self._manners.topic or (join_ref is not None and join_ref != f"j{self._joins}"):
            return
        if event == "phx_reply" and ref == f"j{self._joins}":
            self._answered(payload)
        elif event in {"phx_error", "phx_close"}:
            self._room.dropped(event)

    def _answered(self, payload: Any) -> None:
        if isinstance(payload, dict) and payload.get("status") == "ok":
            self._room.joined()
        else:
            self._room.refused(json.dumps(payload)[:200])

    def speech(self, text: str) -> bytes:
        """A push with a ref, as phoenix.js makes them; the reply is not waited for."""
        return _text([f"j{self._joins}", "s", self._manners.topic, EVENT, {"text": text}])

    def beat(self) -> bytes:
        """Heartbeat, on the topic of the connection itself."""
        return _text([None, "h", "phoenix", "heartbeat", {}])

    def goodbye(self) -> bytes:
        """Leave and close."""
        return _text([f"j{self._joins}", "l", self._manners.topic, "phx_leave", {}]) + GOODBYE


class SocketIo(Conversation):
    """Socket.IO, protocol 5 over Engine.IO 4, on a WebSocket from the start; in the words of ``docs/socketio.md``."""

    PATH = "/socket.io/?EIO=4&transport=websocket"
    __slots__ = ()

    def take(self, opcode: int, data: bytes) -> None:
        """Engine.IO's packets, and in its messages Socket.IO's."""
        if opcode == BINARY:
            return
        match data[:1], data[1:2]:
            case b"0", _:
                auth = json.dumps({"token": self._manners.token}) if self._manners.token else ""
                self._room.say(client_frame(b"40" + auth.encode(), TEXT))
            case b"2", _:
                self._room.say(client_frame(b"3" + data[1:], TEXT))
            case b"4", b"0":
                self.join()
            case b"4", b"4":
                self._room.refused(data[2:200].decode("utf-8", "replace"))
            case b"4", b"3":
                self._acknowledged(data)
            case b"4", b"2" if data.startswith(b'42["closed",'):
                self._room.dropped(data[12:200].decode("utf-8", "replace"))
            case (b"4", b"1") | (b"1", _):
                self._room.ended("disconnected")
            case _:
                pass

    def join(self) -> None:
        """Subscribe to the topic, with an acknowledgement."""
        manners = self._manners
        asked = ["subscribe", manners.topic, {"presence": manners.presence}]
        self._room.say(client_frame(b"421" + _json(asked), TEXT))

    def _acknowledged(self, data: bytes) -> None:
        if not data.startswith(b"431["):
            return
        answer = _parsed(data[3:])
        status = answer[0] if isinstance(answer, list) and answer else None
        if isinstance(status, dict) and status.get("status") == "ok":
            self._room.joined()
            if self._manners.presence:
                shown = ["track", self._manners.topic, {"name": self._manners.name}]
                self._room.say(client_frame(b"42" + _json(shown), TEXT))
        else:
            self._room.refused(json.dumps(status)[:200])

    def speech(self, text: str) -> bytes:
        """An event for the topic."""
        return client_frame(b"42" + _json(["publish", self._manners.topic, EVENT, {"text": text}]), TEXT)

    def goodbye(self) -> bytes:
        """Leave the namespace and close."""
        return client_frame(b"41", TEXT) + GOODBYE


_CONVERSATIONS: Final[dict[str, type[Conversation]]] = {"native": Native, "phoenix": Phoenix, "socketio": SocketIo}


def conversation_for(transport: str) -> type[Conversation]:
    """The class that speaks this transport."""
    return _CONVERSATIONS[transport]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _text(value: Any) -> bytes:
    return client_frame(_json(value), TEXT)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("a message is no JSON") from None


def _list_of(data: bytes, size: int) -> list[Any]:
    found = _parsed(data)
    if not isinstance(found, list) or len(found) != size:
        raise ProtocolError(f"a message is no list of {size}")
    return found
