from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType

from wsactors.loadtest.conversations import Conversation, Manners, Native, Phoenix, SocketIo
from wsactors.loadtest.frames import BINARY, TEXT
from wsactors.wire import native, phoenix, socketio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain


class Room:
    """Writes down what a conversation says and makes of what it hears."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._server = Connection(ConnectionType.SERVER)
        self.said: list[bytes] = []

    def say(self, data: bytes) -> object:
        self._server.receive_data(data)
        for event in self._server.events():
            content = getattr(event, "data", None)
            if content is not None:
                self.said.append(content.encode() if isinstance(content, str) else bytes(content))
        return True

    def joined(self) -> None:
        self.events.append("joined")

    def refused(self, reason: str) -> None:
        self.events.append(f"refused {reason}")

    def dropped(self, reason: str) -> None:
        self.events.append(f"dropped {reason}")

    def ended(self, reason: str) -> None:
        self.events.append(f"ended {reason}")


def test_native_joins_a_topic_and_is_shown_there() -> None:
    room = Room()
    talk = Native(room, Manners("room:1", "secret", presence=True, name="u-1"))
    talk.opened()

    hello, join, track = (native.decode_client(said) for said in room.said)
    assert isinstance(hello, native.Hello)
    assert hello.token == "secret"
    assert join == native.JoinTopic(1, "room:1")
    assert track == native.Track("room:1", {"name": "u-1"}, ref=2)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (native.TopicJoined(1, "room:1"), "joined"),
        (native.Joined("room:1", 4), "joined"),
        (native.Error("unauthorized", "No.", ref=1), "refused unauthorized: No."),
        (native.TopicLeft("room:1", code="crash", reason="it died"), "dropped crash: it died"),
        (native.Left("room:1", "over"), "dropped over"),
    ],
)
def test_native_understands(message: native.ServerMessage, event: str) -> None:
    room = Room()
    Native(room, Manners("room:1")).take(BINARY, native.encode(message))

    assert room.events == [event]


def test_native_ignores_what_others_do_and_answers_pings() -> None:
    room = Room()
    talk = Native(room, Manners("room:1"))
    for message in (native.PresenceDiff("room:1"), native.Message("room:1", "said", 1), native.Welcome(2, "n")):
        talk.take(BINARY, native.encode(message))
    talk.take(BINARY, native.encode(native.Ping(9)))

    assert room.events == []
    assert [native.decode_client(said) for said in room.said] == [native.Pong(9)]


def test_native_hears_sessions_too() -> None:
    room = Room()
    Native(room, Manners("demo", audio=True)).opened()

    assert native.decode_client(room.said[1]) == native.Join("demo")


def server(message: phoenix.Message) -> bytes:
    return phoenix.encode_server(message, phoenix.V2).data


def test_phoenix_joins_speaks_and_leaves() -> None:
    room = Room()
    talk = Phoenix(room, Manners("room:1", "a b"))
    talk.opened()
    talk.take(TEXT, server(phoenix.Message("j1", "j1", "room:1", "phx_reply", {"status": "ok", "response": {}})))
    for frame in (talk.speech("hello"), talk.beat(), talk.goodbye()):
        room.say(frame)

    assert room.events == ["joined"]
    assert Phoenix.path(Manners("room:1", "a b")) == "/socket/websocket?vsn=2.0.0&token=a%20b"
    join, speech, beat, leave = (phoenix.decode_client(said.decode(), phoenix.V2) for said in room.said)
    assert (join.event, join.topic, join.ref) == ("phx_join", "room:1", join.join_ref)
    assert (speech.join_ref, speech.payload) == ("j1", {"text": "hello"})
    assert (beat.topic, beat.event) == ("phoenix", "heartbeat")
    assert leave.event == "phx_leave"


def test_phoenix_is_refused_or_put_out_and_joins_again() -> None:
    room = Room()
    talk = Phoenix(room, Manners("room:1"))
    talk.opened()
    refusal: Plain = {"status": "error", "response": {"reason": "unauthorized"}}
    talk.take(TEXT, server(phoenix.Message("j1", "j1", "room:1", "phx_reply", refusal)))
    talk.take(TEXT, server(phoenix.Message("j1", "j1", "room:1", "phx_error", {"reason": "channel_crash"})))
    talk.join()
    talk.take(TEXT, server(phoenix.Message("j1", "j1", "room:1", "phx_close", {})))  # of the old one
    talk.take(TEXT, server(phoenix.Message("j2", "j2", "room:1", "phx_reply", {"status": "ok", "response": {}})))

    assert room.events[0].startswith("refused")
    assert "unauthorized" in room.events[0]
    assert room.events[1:] == ["dropped phx_error", "joined"]


def test_socketio_connects_joins_and_answers_pings() -> None:
    room = Room()
    talk = SocketIo(room, Manners("room:1", "secret"))
    talk.opened()
    talk.take(TEXT, b'0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
    talk.take(TEXT, b'40{"sid":"y"}')
    talk.take(TEXT, b"2")
    talk.take(TEXT, b'431[{"status":"ok"}]')

    connect, join, pong = room.said
    assert connect == b'40{"token": "secret"}'
    assert socketio.decode_text(join[1:].decode())[2] == socketio.Packet(
        socketio.EVENT, "/", ["subscribe", "room:1", {"presence": False}], 1
    )
    assert pong == b"3"
    assert room.events == ["joined"]


def test_socketio_is_refused() -> None:
    room = Room()
    talk = SocketIo(room, Manners("room:1"))
    talk.take(TEXT, b'44{"message":"No"}')
    talk.take(TEXT, b'431[{"status":"error","reason":"full"}]')
    talk.take(TEXT, b'42["closed","room:1","it died",{"crashed":true}]')
    talk.take(TEXT, b"41")

    assert [event.split()[0] for event in room.events] == ["refused", "refused", "dropped", "ended"]


@pytest.mark.parametrize("kind", [Native, Phoenix, SocketIo])
def test_nothing_but_a_protocol_error_comes_out(kind: type[Conversation]) -> None:
    @given(st.sampled_from([TEXT, BINARY]), st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
    def take(opcode: int, data: bytes) -> None:
        talk = kind(Room(), Manners("room:1"))
        for payload in (data, b'["j1","j1","room:1","phx_reply",' + data + b"]", b"431[" + data, b"\x81\xa1t" + data):
            try:
                talk.take(opcode, payload)
            except ProtocolError:
                continue

    take()


def test_a_deep_message_is_a_protocol_error() -> None:
    deep = b"[" * 100_000
    with pytest.raises(ProtocolError):
        Phoenix(Room(), Manners("room:1")).take(TEXT, b'["phx_reply",' + deep)
    with pytest.raises(ProtocolError):
        SocketIo(Room(), Manners("room:1")).take(TEXT, b"431[" + deep)
    assert json.loads("[]") == []
