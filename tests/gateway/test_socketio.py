"""Socket.IO over real sockets: the rules of the protocol's own test suite, namespaces, rooms, acknowledgements, attacks."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.gateway.engines import INTEROP, PATIENT, SOCKETIO, Served, SocketIoClient, serving, socketio_client
from tests.gateway.harness import TestDirectory, open_narrow_stream, until, upgrade
from wsactors.actors import UNHANDLED, Actor
from wsactors.client import open_websocket
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.server import Address, Gateway
from wsactors.gateway.socketio_namespace import ConnectRefused, Namespace, NotAcknowledged, on
from wsactors.gateway.socketio_rooms import room_topic
from wsactors.realtime.identity import AuthRefused, Credentials, JoinRefused, User
from wsactors.realtime.outlet import Joined
from wsactors.supervision import Node
from wsactors.wire.plain import Plain

ME = f"{__name__}:"


def masked_text(text: str) -> bytes:
    """A client's frame; a mask of zeroes changes nothing."""
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text.encode()


async def closed(client: SocketIoClient) -> None:
    with trio.fail_after(30), pytest.raises(ConnectionClosed):
        while True:
            await client.ws.get_message()


# -- the suite --


async def test_the_protocol_suite_connect() -> None:
    async with serving() as served, served.ws("/socket.io/") as ws:
        client = SocketIoClient(ws)
        await client.receive()
        assert set(await client.connect()) == {"sid"}
        assert await client.receive() == '42["auth",{}]'
        assert set(await client.connect("/custom", {"token": "abc"})) == {"sid"}
        assert await client.receive() == '42/custom,["auth",{"token":"abc"}]'
        await client.send("40/random")
        assert await client.receive() == '44/random,{"message":"Invalid namespace"}'
        await client.send("41/custom", '42["message","to main"]')
        assert await client.receive() == '42["message-back","to main"]'
        assert "sid" in await client.connect("/custom")
        await client.send("41")
        assert await client.receive() == '42/custom,["auth",{}]'
    async with serving() as served, socketio_client(served, "/", {"token": "123"}) as client:
        assert await client.receive() == '42["auth",{"token":"123"}]'


async def test_the_protocol_suite_a_client_must_enter_a_namespace() -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, connect_timeout=0.5)) as served:
        for said in ("4abc", '42["message"]', "41", '44{"message":"x"}', "431[]", ""):
            async with served.ws("/socket.io/") as ws:
                client = SocketIoClient(ws)
                if said:
                    await client.send(said)
                await closed(client)


async def test_the_protocol_suite_messages() -> None:
    async with serving() as served, socketio_client(served) as client:
        await client.receive()
        await client.send('42["message",1,"2",{"3":[true]}]')
        assert await client.receive() == '42["message-back",1,"2",{"3":[true]}]'
        await client.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await client.receive() == '43456[1,"2",{"3":[false]}]'
        holes = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
        await client.send(f'452-["message",{holes}]', b"\1\2\3", b"\4\5\6")
        assert [await client.receive() for _ in range(3)] == [f'452-["message-back",{holes}]', b"\1\2\3", b"\4\5\6"]
        await client.send(f'452-789["message-with-ack",{holes}]', b"\1\2\3", b"\4\5\6")
        assert [await client.receive() for _ in range(3)] == [f"462-789[{holes}]", b"\1\2\3", b"\4\5\6"]


MALFORMED: list[str | bytes] = [
    "4abc",
    "42{}",
    '42abc["message-with-ack",1]',
    "42[]",
    "40",
    '42["connect"]',
    b"\1",
    "45[",
]


async def test_the_protocol_suite_malformed_packets_end_the_connection() -> None:
    async with serving() as served:
        for said in MALFORMED:
            async with socketio_client(served) as client:
                await client.send(said)
                await closed(client)


# -- namespaces --


class Chat(Namespace):
    """What a user would write."""

    broadcasts = False
    left: list[tuple[str, str]] = []  # noqa: RUF012 - the test's notes

    async def connect(self, auth: Any) -> None:
        match auth:
            case {"password": "sesame", **rest}:
                self.name = str(rest.get("name", ""))
                self.emit("welcome", self.user.subject)
            case {"crash": True}:
                raise RuntimeError("boom")
            case {"end": True}:
                self.name = "ended"
                self.end()
            case {"slow": True}:
                await trio.sleep(30)
            case _:
                raise ConnectRefused("Wrong password", {"hint": "open"})

    async def disconnect(self, reason: str) -> None:
        self.left.append((self.name, reason))

    @on("two words")
    async def two_words(self, first: Plain, second: Plain = None) -> Plain:
        return [first, second]

    @on("nothing")
    def nothing(self) -> None:
        """Acknowledges with no arguments."""

    @on("ask")
    async def ask(self) -> Plain:
        try:
            return await self.emit_with_ack("question", b"\1", timeout=2.0)
        except NotAcknowledged:
            return "silence"

    @on("slow")
    async def slow(self) -> str:
        await trio.sleep(0.1)
        return "slow"

    @on("fast")
    def fast(self) -> str:
        return "fast"

    @on("boom")
    def boom(self) -> None:
        raise RuntimeError("boom")


class Tokens:
    """An authenticator for tests."""

    async def authenticate(self, credentials: Credentials) -> User:
        if credentials.token == "bad":
            raise AuthRefused("expired", "Log in again.")
        return User(credentials.token)


CHAT = attrs.evolve(SOCKETIO, namespaces={**INTEROP, "/chat": f"{ME}Chat"})


@pytest.mark.parametrize(
    ("auth", "answer"),
    [
        ({}, {"message": "Wrong password", "data": {"hint": "open"}}),
        ({"token": "bad"}, {"message": "Log in again.", "data": {"code": "expired"}}),
        ({"crash": True}, {"data": {"code": "crash"}}),
    ],
)
async def test_a_namespace_may_refuse_and_say_why(auth: Any, answer: Any) -> None:
    async with serving(socketio=CHAT, authenticator=Tokens()) as served, served.ws("/socket.io/") as ws:
        client = SocketIoClient(ws)
        await client.receive()
        said = await client.connect("/chat", auth)
        assert {**said, **answer} == said
        # The connection lives on: another namespace, or another try, is welcome.
        assert "sid" in await client.connect("/chat", {"password": "sesame", "token": "ann"})
        assert await client.receive() == '42/chat,["welcome","ann"]'


async def test_a_node_without_topics_says_so() -> None:
    opened: list[Address] = []
    async with Node("bare") as node:
        options = GatewayOptions(port=0, socketio=CHAT)
        await node.spawn(Gateway, options, None, opened.append, TestDirectory())
        async with open_websocket(f"ws://127.0.0.1:{opened[0].port}/socket.io/?EIO=4&transport=websocket") as ws:
            client = SocketIoClient(ws)
            await client.receive()
            assert (await client.connect("/chat"))["data"] == {"code": "unavailable"}
            assert "sid" in await client.connect("/custom")


async def test_a_namespace_that_does_not_decide_refuses() -> None:
    async with serving(socketio=attrs.evolve(CHAT, connect_timeout=1.5)) as served, socketio_client(served) as client:
        await client.receive()
        assert (await client.connect("/chat", {"slow": True}))["data"] == {"code": "crash"}


async def test_whoever_is_sent_away_in_connect_has_been_in() -> None:
    async with serving(socketio=CHAT) as served, socketio_client(served, "/chat", {"end": True}) as client:
        assert client.sid
        assert await client.receive() == "41/chat,"
        await until(lambda: ("ended", "server namespace disconnect") in Chat.left)


async def test_acknowledgements_both_ways() -> None:
    async with serving(socketio=CHAT) as served, socketio_client(served, "/chat", {"password": "sesame"}) as client:
        await client.receive()
        await client.send('42/chat,1["two words","a","b"]', '42/chat,2["two words","a"]', '42/chat,3["nothing"]')
        assert [await client.receive() for _ in range(3)] == [
            '43/chat,1[["a","b"]]',
            '43/chat,2[["a",null]]',
            "43/chat,3[]",
        ]
        # Arguments that do not fit, and events that nobody handles, are ignored.
        await client.send('42/chat,4["two words"]', '42/chat,5["unknown"]', '42/chat,6["ask"]')
        question = await client.receive()
        assert question == '451-/chat,0["question",{"_placeholder":true,"num":0}]'
        assert await client.receive() == b"\1"
        await client.send('43/chat,77["nobody asked"]', '461-/chat,0[{"_placeholder":true,"num":0},7]', b"\2")
        assert [await client.receive() for _ in range(2)] == ['461-/chat,6[[{"_placeholder":true,"num":0},7]]', b"\2"]
        await client.send('42/chat,7["ask"]')
        assert (await client.receive(), await client.receive())[0].startswith("451-/chat,1[")
        assert await client.receive() == '43/chat,7["silence"]'


async def test_events_of_one_client_are_handled_in_order() -> None:
    async with serving(socketio=CHAT) as served, socketio_client(served, "/chat", {"password": "sesame"}) as client:
        await client.receive()
        await client.send('42/chat,1["slow"]', '42/chat,2["fast"]')
        assert [await client.receive() for _ in range(2)] == ['43/chat,1["slow"]', '43/chat,2["fast"]']


async def test_a_crash_ends_one_namespace_of_one_client() -> None:
    async with serving(socketio=CHAT) as served, socketio_client(served, "/chat", {"password": "sesame"}) as client:
        await client.receive()
        await client.connect("/custom")
        await client.receive()
        await client.send('42/chat,["boom"]')
        assert await client.receive() == "41/chat,"
        assert "sid" in await client.connect("/chat", {"password": "sesame"})


@pytest.mark.parametrize(
    ("goodbye", "reason"),
    [
        ("41/chat", "client namespace disconnect"),
        ("1", "transport close"),
        ("", "transport close"),
        ("4x", "parse error"),
    ],
)
async def test_a_namespace_is_told_how_its_client_left(goodbye: str, reason: str) -> None:
    async with serving(socketio=CHAT) as served:
        name = f"{goodbye} {reason}"
        async with socketio_client(served, "/chat", {"password": "sesame", "name": name}) as client:
            await client.receive()
            if goodbye:
                await client.send(goodbye)
                await until(lambda: any(each[0] == name for each in Chat.left))
        await until(lambda: (name, reason) in Chat.left)


def test_no_method_may_handle_a_reserved_event() -> None:
    with pytest.raises(TypeError, match="disconnect"):

        class Wrong(Namespace):
            @on("disconnect")
            def gone(self) -> None: ...


# -- rooms --


async def test_rooms_with_exceptions_and_ids() -> None:
    async with (
        serving() as served,
        socketio_client(served, "/rooms") as ann,
        socketio_client(served, "/rooms") as bob,
        socketio_client(served, "/rooms") as cat,
    ):
        for client, rooms in ((ann, "ab"), (bob, "b"), (cat, "bc")):
            for room in rooms:
                await client.send(f'42/rooms,1["join","{room}"]')
                assert room in await client.receive()

        async def say(rooms: list[str], but: list[str], word: str) -> None:
            await ann.send("42/rooms,9" + json.dumps(["say", rooms, but, word]))
            assert await ann.receive() == '43/rooms,9["said"]'

        await say(["b"], [], "all")
        await say(["b"], ["c"], "not cat")
        await say(["a", "b", "c"], [], "once")
        await say([bob.sid], [], "bob alone")
        await say([bob.sid, "b"], [], "bob once")
        await say(["nobody"], [], "nobody")
        await ann.send('42/rooms,["shout","end"]')

        def heard(client: SocketIoClient) -> Any:
            async def until_end() -> list[str]:
                words = []
                while True:
                    event = json.loads((await client.receive()).removeprefix("42/rooms,"))
                    words.append(event[0])
                    if event[0] == "end":
                        return sorted(words)

            return until_end()

        assert await heard(ann) == ["end"]
        assert await heard(bob) == ["all", "bob alone", "bob once", "end", "not cat", "once"]
        assert await heard(cat) == ["all", "bob once", "end", "once"]

        await bob.send('42/rooms,1["leave","b"]')
        assert await bob.receive() == "43/rooms,1[[]]"
        await say(["b"], [], "without bob")
        await ann.send('42/rooms,["shout","end"]')
        assert await heard(bob) == ["end"]


async def test_an_actor_speaks_to_a_room_and_strangers_cannot_join_it() -> None:
    class Stranger:
        format = sink = None

        def joined(self, joined: Joined) -> None:
            raise AssertionError

        def closed(self, reason: str, *, crashed: bool) -> None: ...

    class Owner(Actor):
        def handle_call(self, message: Any, caller: Any) -> Any:
            return UNHANDLED

    async with serving() as served, socketio_client(served, "/rooms") as client:
        await client.send('42/rooms,1["join","lobby"]')
        await client.receive()
        await served.realtime.publish(room_topic("/rooms", "lobby"), "news", {"a": b"\1"})
        text, data = await client.receive(), await client.receive()
        assert text.startswith('451-/rooms,["news",{"a":{"_placeholder":true,"num":0}},"')
        assert data == b"\1"
        # This would end every client's connection: it is not sent to them.
        await served.realtime.publish(room_topic("/rooms", "lobby"), "disconnect", {})
        await served.realtime.publish(room_topic("/rooms", "lobby"), "still", None)
        assert "still" in await client.receive()

        owner = await served.node.spawn(Owner)
        outlet: Any = Stranger()
        outlet.sink = type("Sink", (), {"offer": lambda *_: True})()
        with pytest.raises(JoinRefused):
            await served.realtime.join(room_topic("/rooms", "lobby"), outlet, owner=owner)


async def test_volatile_events_are_lost_rather_than_kept() -> None:
    async with serving() as served:
        async with socketio_client(served, "/rooms") as client:
            await client.send('42/rooms,["volatile",1]')
            assert await client.receive() == '42/rooms,["volatile",1]'
        sid = await served.sid("/socket.io/")
        await served.post("40/rooms,", "/socket.io/", sid=sid)
        assert (await served.get("/socket.io/", sid=sid)).text.startswith("40/rooms,{")
        await served.post('42/rooms,["volatile",1]\x1e42/rooms,1["join","a"]', "/socket.io/", sid=sid)
        assert (await served.get("/socket.io/", sid=sid)).text == '43/rooms,1[["a"]]'


async def test_a_burst_over_polling_comes_in_sixteens() -> None:
    async with serving() as served:
        sid = await served.sid("/socket.io/")
        await served.post("40/rooms,", "/socket.io/", sid=sid)
        await served.get("/socket.io/", sid=sid)
        await served.post('42/rooms,["burst",100]', "/socket.io/", sid=sid)
        numbers: list[int] = []
        while len(numbers) < 100:
            packets = (await served.get("/socket.io/", sid=sid)).text.split("\x1e")
            assert len(packets) <= 16
            numbers += [json.loads(each.removeprefix("42/rooms,"))[1] for each in packets]
        assert numbers == list(range(100))


# -- recovery --


async def back(
    served: Any, pid: str, offset: str | None, namespace: str = "/rooms", **auth: Any
) -> tuple[Any, list[Any]]:
    """Come back, and say what was answered, and what came until a marker."""
    said = {"pid": pid, **({} if offset is None else {"offset": offset}), **auth}
    async with served.ws("/socket.io/") as ws:
        client = SocketIoClient(ws)
        await client.receive()
        answer = await client.connect(namespace, said)
        await client.send(f'42{namespace},["shout","marker"]')
        events = []
        while True:
            events.append(json.loads((await client.receive()).removeprefix(f"42{namespace},")))
            if events[-1][0] == "marker":
                return answer, events[:-1]


async def test_whoever_comes_back_gets_all_it_missed_and_its_rooms() -> None:
    async with serving() as served, socketio_client(served, "/rooms") as other:
        async with socketio_client(served, "/rooms") as client:
            await client.send('42/rooms,1["join","a"]')
            await client.receive()
            topic = room_topic("/rooms", "a")
            await served.realtime.publish(topic, "one", None)
            offset = json.loads((await client.receive()).removeprefix("42/rooms,"))[-1]
            await served.realtime.publish(topic, "two", None)  # perhaps lost on the way
        await served.realtime.publish(topic, "three", b"\1" * 3)
        await served.realtime.publish(room_topic("/rooms", "b"), "not for it", None)
        await other.send('42/rooms,["shout","four"]')
        await other.receive()

        async with served.ws("/socket.io/") as ws:
            again = SocketIoClient(ws)
            await again.receive()
            answer = await again.connect("/rooms", {"pid": client.token, "offset": offset})
            assert answer == {"sid": client.sid, "pid": client.token}
            missed = [await again.receive() for _ in range(4)]
            assert [type(each) for each in missed] == [str, str, bytes, str]
            names = [json.loads(each.partition(",")[2])[0] for each in missed if isinstance(each, str)]
            assert names == ["two", "three", "four"]
            await served.realtime.publish(topic, "five", None)  # its room is its own again
            assert "five" in await again.receive()


async def test_a_gap_that_is_not_whole_is_no_recovery() -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, recovery_packets=5)) as served:
        async with socketio_client(served, "/rooms") as client:
            await client.send('42/rooms,["burst",1]')
            offset = json.loads((await client.receive()).removeprefix("42/rooms,"))[-1]
            await client.send('42/rooms,["burst",20]')
            await client.receive()
        answer, events = await back(served, client.token, offset)
        assert answer["sid"] != client.sid
        assert events == []


async def test_offsets_that_nobody_gave_out() -> None:
    async with serving() as served:
        for offset in ("", "unknown", 7, None):
            await come_back_with(served, offset)


async def come_back_with(served: Served, offset: Any) -> None:
    async with socketio_client(served, "/rooms") as client:
        await client.send('42/rooms,["burst",2]')
        await client.receive()
    answer, events = await back(served, client.token, offset)
    if offset is None:  # it says that it got nothing at all
        assert answer["sid"] == client.sid
        assert [each[:2] for each in events] == [["burst", 0], ["burst", 1]]
    else:
        assert (answer["sid"] == client.sid, events) == (False, [])


async def test_a_token_opens_its_own_namespace_for_its_own_user() -> None:
    namespaces = {**INTEROP, "/named": f"{ME}Named"}
    async with serving(socketio=attrs.evolve(SOCKETIO, namespaces=namespaces), authenticator=Tokens()) as served:
        async with socketio_client(served, "/named", {"token": "ann"}) as client:
            pass
        wrong, _ = await back(served, client.token, None, "/rooms")
        assert wrong["sid"] != client.sid
        right, _ = await back(served, client.token, None, "/named", token="ann")
        assert right == {"sid": client.sid, "pid": client.token}
        wrong, _ = await back(served, client.token, None, "/named", token="bob")
        assert wrong["sid"] != client.sid
        # What was in wrong hands is good for nobody any more.
        right, _ = await back(served, client.token, None, "/named", token="ann")
        assert right["sid"] != client.sid


class Named(Namespace):
    """Clients with names, who may come back."""

    recovers = True

    @on("shout")
    async def shout(self, event: str) -> None:
        await self.everyone.emit(event)


async def test_after_a_kick_nothing_can_be_recovered() -> None:
    namespaces = {**INTEROP, "/named": f"{ME}Named"}
    async with serving(socketio=attrs.evolve(SOCKETIO, namespaces=namespaces), authenticator=Tokens()) as served:
        async with socketio_client(served, "/named", {"token": "ann"}) as client:
            pass
        served.realtime.kick("ann")
        answer, _ = await back(served, client.token, None, "/named", token="ann")
        assert answer["sid"] != client.sid


class Fleeting(Tokens):
    """Tokens that are good for a moment."""

    async def authenticate(self, credentials: Credentials) -> User:
        return User(credentials.token, expires=time.time() + 1.5)


async def test_a_token_that_expires_ends_what_it_has_opened() -> None:
    async with serving(socketio=CHAT, authenticator=Fleeting()) as served:
        auth = {"password": "sesame", "token": "ann", "name": "fleeting"}
        async with socketio_client(served, "/chat", auth) as client:
            await client.receive()
            assert await client.receive() == "41/chat,"
            await until(lambda: ("fleeting", "server namespace disconnect") in Chat.left)


async def test_whoever_is_back_before_the_old_connection_was_found_dead() -> None:
    async with serving() as served, socketio_client(served, "/rooms") as client:
        answer, _ = await back(served, client.token, None)
        assert answer["sid"] == client.sid
        await closed(client)


async def test_leaving_in_order_is_leaving_for_good_and_time_runs_out() -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, recovery_seconds=0.3)) as served:
        before = served.node.info().actors
        async with socketio_client(served, "/rooms") as client:
            await client.send("41/rooms,")
            answer, _ = await back(served, client.token, None)
            assert answer["sid"] != client.sid
        await until(lambda: served.node.info().actors <= before + 3)
        answer, _ = await back(served, client.token, None)
        assert answer["sid"] != client.sid


async def test_where_nobody_may_come_back_nothing_is_promised() -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, recovery_seconds=0)) as served:
        async with socketio_client(served, "/rooms") as client:
            assert not client.token
        await until(lambda: not served.sessions())
        answer, _ = await back(served, "anything", None)
        assert answer["sid"] != client.sid
        assert "pid" not in answer


async def test_so_many_may_be_away() -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, max_detached=2)) as served:
        gone = []
        for _ in range(3):
            async with socketio_client(served, "/rooms") as client:
                gone.append(client)
            await until(lambda: not served.sessions())
        answers = [(await back(served, each.token, None))[0] for each in reversed(gone)]
        assert [answer["sid"] == each.sid for answer, each in zip(answers, reversed(gone), strict=True)] == [
            True,
            True,
            False,
        ]


# -- attacks --


async def test_a_client_cannot_open_namespaces_without_end() -> None:
    namespaces = {f"/n{number}": f"{ME}Named" for number in range(40)}
    async with (
        serving(socketio=attrs.evolve(SOCKETIO, namespaces=namespaces)) as served,
        served.ws("/socket.io/") as ws,
    ):
        client = SocketIoClient(ws)
        await client.receive()
        await client.send(*(f"40{name}," for name in namespaces))
        answers = [await client.receive() for _ in namespaces]
        assert sum("Too many namespaces" in each for each in answers) == 8


async def test_a_client_that_does_not_read_is_given_up_and_may_come_back() -> None:
    async with serving(EngineOptions(buffer_bytes=300_000)) as served:
        stream = await open_narrow_stream(served.port)
        await stream.send_all(upgrade("/socket.io/?EIO=4&transport=websocket", host="127.0.0.1"))
        await stream.send_all(masked_text("40/rooms,"))
        topic = room_topic("/rooms", "")
        await until(lambda: served.realtime.relay.count(topic) > 0)
        await trio.sleep(0.1)
        before = served.node.info().actors
        for _ in range(40):
            await served.realtime.publish(topic, "noise", "x" * 100_000)
        await until(lambda: served.node.info().actors < before)
        await stream.aclose()
        async with socketio_client(served) as other:
            assert await other.receive() == '42["auth",{}]'


async def test_secrets_do_not_show() -> None:
    shown = []
    async with (
        serving(authenticator=Tokens()) as served,
        socketio_client(served, "/topics", {"token": "planted"}) as client,
        served.ws("/socket.io/", token="planted"),
    ):
        async for info in served.node.processes():
            shown += [repr(info), repr(served.node.status(info.pid))]
            if info.cls.rpartition(".")[2] in {"EngineSession", "Topics"}:
                shown.append(repr(await served.node.get_state(info.pid)))
    text = "".join(shown)
    assert "SocketIoConversation" in text, text
    assert client.token not in text
    assert "planted" not in text.replace("User(subject='planted'", "")


async def test_malformed_socketio_packets_harm_nobody_else() -> None:
    luck = random.Random(8)
    async with serving() as served, socketio_client(served) as witness:
        await witness.receive()
        for _ in range(25):
            async with served.ws("/socket.io/") as ws:
                client = SocketIoClient(ws)
                await client.receive()
                await client.connect("/rooms")
                try:
                    for _ in range(10):
                        good = luck.choice(
                            ('42/rooms,1["join","a"]', '451-/rooms,["x",{"_placeholder":true,"num":0}]', "41")
                        )
                        letters = list(good)
                        letters[luck.randrange(len(letters))] = chr(luck.randrange(32, 127))
                        await client.send("".join(letters))
                except ConnectionClosed:
                    pass
        await witness.send('42["message","alive"]')
        assert await witness.receive() == '42["message-back","alive"]'


async def test_clients_of_revision_3() -> None:
    async with serving(attrs.evolve(PATIENT, eio3=True)) as served:
        response = await served.get("/socket.io/", EIO=3)
        sid = json.loads(response.text.partition(":")[2][1:])["sid"]
        texts = (await served.get("/socket.io/", EIO=3, sid=sid)).text
        assert texts.startswith("2:40")  # nobody has to ask for the main namespace
        said = '42["message","a"]'
        await served.post(f"{len(said)}:{said}11:40/custom?a", "/socket.io/", EIO=3, sid=sid)
        rest = texts + (await served.get("/socket.io/", EIO=3, sid=sid)).text
        with trio.move_on_after(30):
            while "/custom" not in rest or "message-back" not in rest:
                rest += (await served.get("/socket.io/", EIO=3, sid=sid)).text
        assert '42["message-back","a"]' in rest
        assert "10:40/custom," in rest
