"""The client against a real node, whose connections break in every way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import trio

from tests.client.stage import LIMITS, Stage, stage, wire
from tests.gateway.harness import TestDirectory, TestSession, open_narrow_stream, until, upgrade
from wsactors.client import (
    ClientError,
    Disconnected,
    Overflowed,
    Retry,
    Rhythm,
    Topic,
    TopicMessage,
    connect,
    open_websocket,
)
from wsactors.gateway.options import DrainOptions, Limits
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.permission import PermissionOptions
from wsactors.wire import native
from wsactors.wire.ws_frame import close_frame

SOON = Retry(first=0.02, longest=0.1, attempts=40)


async def take(topic: Topic, count: int) -> list[TopicMessage]:
    with trio.fail_after(30):
        return [await anext(topic) for _ in range(count)]


async def members(here: Stage, topic: str, count: int) -> None:
    with trio.fail_after(30):
        while (info := await here.realtime.topic(topic)) is None or info.members != count:  # noqa: ASYNC110
            await trio.sleep(0.005)


async def present(topic: Topic, keys: Sequence[str]) -> None:
    with trio.fail_after(30):
        while set(topic.presence.keys) != set(keys):
            await topic.changed()


async def test_two_clients_and_an_actor_talk() -> None:
    async with stage() as here, connect(here.url, token="ann") as ann, connect(here.url, token="bob") as bob:
        with trio.fail_after(30):
            room = await ann.join_topic("room:1")
            other = await bob.join_topic("room:1", echo=True)
            assert room.response == {}

            position = await room.publish("said", {"cover": b"\x00\xff", "n": 1.5}, id="m1")
            await other.push("said", ["pushed"])
            await here.realtime.publish("room:1", "said", None)
            heard = await take(other, 3)
            assert [each.payload for each in heard] == [{"cover": b"\x00\xff", "n": 1.5}, ["pushed"], None]
            assert (heard[0].id, heard[0].offset, position) == ("m1", 1, native.Position(heard[0].epoch, 1))
            assert [each.payload for each in await take(room, 2)] == [["pushed"], None]

            await room.track({"mood": "good"})
            await present(other, ["ann"])
            await room.track({"mood": "better"})
            with trio.fail_after(30):
                while [meta["mood"] for meta in other.presence.metas("ann")] != ["better"]:
                    assert "ann" in other.presence
                    await other.changed()
            await room.leave()
            await present(other, [])
            assert [each async for each in room] == []
            with pytest.raises(ClientError, match="not joined"):
                await room.publish("said", 1)


async def test_two_devices_of_one_person_are_one_key() -> None:
    async with stage() as here, connect(here.url, token="ann") as phone, connect(here.url, token="ann") as desk:
        with trio.fail_after(30):
            there, here_too = await phone.join_topic("room:1"), await desk.join_topic("room:1")
            await there.track({"device": "phone"})
            await here_too.track({"device": "desk"})
            while len(there.presence.metas("ann")) < 2:
                await there.changed()
            await here_too.leave()
            while len(there.presence.metas("ann")) > 1:
                await there.changed()
            assert [meta["device"] for meta in there.presence.metas("ann")] == ["phone"]


async def test_pushes_are_answered_or_refused_and_large_payloads_pass() -> None:
    async with stage() as here, connect(here.url, token="ann") as client:
        with trio.fail_after(30):
            sturdy = await client.join_topic("sturdy:1")
            payload = b"\xff" * 900_000
            assert await sturdy.push("ask", payload) == {"asked": payload, "by": "ann"}
            with pytest.raises(ClientError) as refused:
                await sturdy.publish("said", 1)
            assert refused.value.code == "refused"
            with pytest.raises(ClientError, match="unmatched_topic"):
                await client.join_topic("nowhere")
            with pytest.raises(ClientError, match="already"):
                await client.join_topic("sturdy:1")


async def test_a_channel_that_crashes_is_joined_again() -> None:
    async with stage() as here, connect(here.url) as client:
        with trio.fail_after(30):
            sturdy = await client.join_topic("sturdy:1")
            await sturdy.push("crash", ack=False)
            while sturdy.is_joined:
                await sturdy.changed()
            assert await sturdy.push("ask", 1) == {"asked": 1, "by": ""}


@pytest.mark.parametrize("side", ["wire", "client", "server"])
async def test_after_a_cut_everything_that_was_missed_comes_once_and_in_order(side: str) -> None:
    async with (
        stage() as here,
        wire(here.port) as cable,
        connect(cable.url, retry=SOON, token="ann") as client,
        connect(here.url) as other,
    ):
        with trio.fail_after(30):
            room = await client.join_topic("room:1")
            await room.track({"mood": "good"})
            witness = await other.join_topic("room:1")
            await present(witness, ["ann"])
            for number in range(3):
                await here.realtime.publish("room:1", "n", number)
            await room.publish("mine", "not echoed")
            cable.target = None
            match side:
                case "wire":
                    cable.cut()
                case "client":
                    carrier: Any = client._carrier
                    await trio.aclose_forcefully(carrier.socket._stream)
                case _:
                    server_side = next(each for each in here.realtime.seats.values() if each.user.subject == "ann")
                    here.node.exit(server_side.owner, "kill")
            await members(here, "room:1", 1)
            for number in range(3, 6):
                await here.realtime.publish("room:1", "n", number)
            cable.target = here.port
            assert [each.payload for each in await take(room, 6)] == [0, 1, 2, 3, 4, 5]
            await here.realtime.publish("room:1", "n", 6)
            assert [(each.payload, each.after_gap) for each in await take(room, 1)] == [(6, False)]
            assert (room.gaps, room.recovered, client.connections) == (0, True, 2)
            await present(witness, ["ann"])
            assert client.attempts >= 2


async def test_who_was_away_too_long_hears_that_something_is_lost() -> None:
    async with stage() as here, wire(here.port) as cable, connect(cable.url, retry=SOON) as client:
        with trio.fail_after(30):
            short = await client.join_topic("short:1")
            await here.realtime.publish("short:1", "n", 0)
            assert (await take(short, 1))[0].payload == 0
            cable.target = None
            cable.cut()
            for number in range(1, 6):
                await here.realtime.publish("short:1", "n", number)
            cable.target = here.port
            while short.recovered is None:
                await short.changed()
            assert (short.gaps, short.recovered) == (1, False)
            for number in (6, 7):
                await here.realtime.publish("short:1", "n", number)
            assert [(each.payload, each.after_gap) for each in await take(short, 2)] == [(6, True), (7, False)]


async def test_after_a_restart_of_the_node_topics_and_sessions_come_back() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    urls: list[str] = []

    async with trio.open_nursery() as nursery:
        stop_first = trio.Event()

        async def run(name: str, stop: trio.Event, task_status: trio.TaskStatus[Stage]) -> None:
            async with stage(name, directory=directory) as here:
                urls.append(here.url)
                task_status.started(here)
                await stop.wait()

        first = await nursery.start(run, "stage", stop_first)
        with trio.fail_after(30):
            async with connect(lambda: urls[-1], retry=SOON, rhythm=Rhythm(latency=None)) as client:
                room, listening = await client.join_topic("room:1"), await client.join("main")
                await first.realtime.publish("room:1", "n", 1)
                session.offer_frame(b"before")
                assert (await anext(listening)).payload == b"before"
                stop_first.set()
                while client.is_online:
                    await client.changed()
                second = await nursery.start(run, "again", trio.Event())
                await second.realtime.publish("room:1", "n", 2)
                assert await room.publish("n", 3) is not None  # it waits until the topic is joined again
                assert client.node == "again"
                assert [each.payload for each in await take(room, 1)] == [1]
                assert room.gaps == 1
                await second.realtime.publish("room:1", "n", 4)
                assert [(each.payload, each.after_gap) for each in await take(room, 1)] == [(4, True)]
                await until(lambda: bool(session.members))
                session.offer_frame(b"after")
                assert (await anext(listening)).payload == b"after"
        nursery.cancel_scope.cancel()


async def test_after_too_many_attempts_it_gives_up_and_says_so() -> None:
    retry = Retry(first=0.01, longest=0.02, attempts=5)
    async with stage() as here, wire(here.port) as cable, connect(cable.url, retry=retry) as client:
        with trio.fail_after(30):
            room = await client.join_topic("room:1")
            listed = client.sessions
            cable.target = None
            cable.cut()
            with pytest.raises(Disconnected) as failed:
                async for _ in room:
                    pass
            assert failed.value.code == "connection_failed"
            assert "5 attempts" in str(failed.value)
            assert (cable.accepted, client.attempts) == (5, 5)
            with pytest.raises(Disconnected, match="gave up"):
                await listed()
            with pytest.raises(Disconnected, match="gave up"):
                await client.wait_online()


async def test_nobody_ever_there_is_connection_failed_and_every_server_is_tried() -> None:
    async with wire(None) as one, wire(None) as two:
        with trio.fail_after(30), pytest.raises(Disconnected) as failed:
            async with connect([one.url, two.url], retry=Retry(first=0.01, longest=0.01, attempts=4)):
                pass
    assert failed.value.code == "connection_failed"
    assert (one.accepted, two.accepted) == (2, 2)


async def test_a_token_is_renewed_on_the_living_connection() -> None:
    tokens = itertools.chain(["ann:2"], itertools.repeat("ann:600"))
    async with stage() as here, connect(here.url, token=lambda: next(tokens)) as client:
        with trio.fail_after(30):
            room = await client.join_topic("sturdy:1")
            await trio.sleep(2.2)
            assert await room.push("ask", 1) == {"asked": 1, "by": "ann"}
            assert client.connections == 1
            with pytest.raises(ClientError, match="unauthorized"):
                await client.authenticate("bob")
            with pytest.raises(ClientError, match="unauthorized"):
                await client.authenticate("mallory")


async def test_a_token_that_expires_ends_the_connection() -> None:
    async with stage() as here, connect(here.url, token="ann:1.5", retry=SOON) as client:
        with trio.fail_after(30):
            room = await client.join_topic("room:1")
            with pytest.raises(Disconnected) as ended:
                await anext(room)
    assert (ended.value.code, client.closed_with) == ("expired", 4401)


async def test_a_new_token_is_asked_for_when_the_old_one_is_not_good_any_more() -> None:
    tokens = iter(["ann:1.5", "mallory", "ann"])
    async with stage() as here, connect(here.url, token=lambda: next(tokens), retry=SOON) as client:
        with trio.fail_after(30):
            room = await client.join_topic("sturdy:1")
            while client.connections < 2:
                await client.changed()
            assert await room.push("ask", 1) == {"asked": 1, "by": "ann"}


async def test_who_is_not_let_in_is_told_why() -> None:
    async with stage() as here:
        for retry in (None, SOON):
            with trio.fail_after(30), pytest.raises(ClientError) as refused:
                async with connect(here.url, token="mallory", retry=retry):
                    pass
            assert (refused.value.code, "Log in" in str(refused.value)) == ("unauthorized", True)


async def test_a_kicked_member_is_not_resumed() -> None:
    async with stage() as here, wire(here.port) as cable, connect(cable.url, token="ann", retry=SOON) as client:
        with trio.fail_after(30):
            room, other = await client.join_topic("room:1"), await client.join_topic("room:2")
            assert len(here.realtime.places) == 1
            assert here.realtime.kick("ann") == 2
            for topic in (room, other):
                with pytest.raises(ClientError, match="ended: kicked"):
                    await anext(topic)
            assert len(here.realtime.places) == 0
            again = await client.join_topic("room:1")
            cable.cut()
            while client.connections < 2 or not again.is_joined:
                await again.changed()
            assert client._core.welcome is not None
            assert client._core.welcome.resumed is None


def read(message: str | bytes) -> Any:
    assert isinstance(message, bytes)
    return native.decode_server(message)


async def resumed(socket: Any, hello: native.Hello) -> tuple[str, ...] | None:
    await socket.send_message(native.encode(hello))
    welcome = read(await socket.get_message())
    assert isinstance(welcome, native.Welcome)
    return welcome.resumed


async def test_a_resume_token_is_good_once_and_for_its_owner_alone() -> None:
    async with stage() as here:
        with trio.fail_after(30):
            async with connect(here.url, token="ann") as ann:
                await ann.join_topic("room:1")
                assert ann._core.welcome is not None
                token = ann._core.welcome.resume
            topics = {"room:1": native.Position("", 0), "room:9": native.Position("", 0)}
            found = []
            for who in ("ann", "ann", "bob"):
                async with open_websocket(here.url) as socket:
                    found.append(await resumed(socket, native.Hello(token=who, resume=token, topics=topics)))
            assert found == [("room:1",), None, None]


async def test_a_stolen_resume_token_is_void() -> None:
    async with stage() as here:
        with trio.fail_after(30):
            async with connect(here.url, token="ann") as ann:
                await ann.join_topic("room:1")
                assert ann._core.welcome is not None
                token = ann._core.welcome.resume
            for who in ("bob", "ann"):
                async with open_websocket(here.url) as socket:
                    assert await resumed(socket, native.Hello(token=who, resume=token)) is None


async def test_a_connection_that_believes_itself_alive_gives_way_to_the_one_that_resumes_it() -> None:
    async with stage() as here, connect(here.url, token="ann") as old:
        with trio.fail_after(30):
            room = await old.join_topic("room:1")
            assert old._core.welcome is not None
            hello = native.Hello(
                token="ann", resume=old._core.welcome.resume, topics={"room:1": native.Position("", 0)}
            )
            async with open_websocket(here.url) as socket:
                assert await resumed(socket, hello) == ("room:1",)
                joined = read(await socket.get_message())
                assert isinstance(joined, native.TopicJoined)
                with pytest.raises(Disconnected) as ended:
                    await anext(room)
                assert ended.value.code == "replaced"
                await members(here, "room:1", 1)


async def test_a_drained_node_sends_its_clients_away_at_moments_of_their_own() -> None:
    url = ""
    async with trio.open_nursery() as nursery, stage("second") as second:
        async with stage(drain=DrainOptions(seconds=3.0, reconnect_seconds=0.4)) as first:
            url = first.url
            came: list[native.Hint] = []
            rooms: list[Topic] = []
            ready = trio.Event()

            async def come() -> None:
                async with connect(lambda: url, retry=SOON) as client:
                    rooms.append(await client.join_topic("room:1"))
                    if len(rooms) == 8:
                        ready.set()
                    while client.node != "second" or not client.is_online:
                        await client.changed()
                    came.append(client.hints[-1])
                    await trio.sleep_forever()

            for _ in range(8):
                nursery.start_soon(come)
            with trio.fail_after(30):
                await ready.wait()
            url = second.url
        await until(lambda: len(came) == 8)
        assert {each.hint for each in came} == {"drain"}
        moments = [each.after for each in came]
        assert max(moments) <= 0.4
        assert max(moments) - min(moments) > 0.01
        await members(second, "room:1", 8)
        nursery.cancel_scope.cancel()


async def test_a_slow_consumer_is_told_and_may_resume() -> None:
    async with stage() as here:
        with trio.fail_after(30):
            stream = await open_narrow_stream(here.port)
            async with stream:
                await stream.send_all(upgrade(host="127.0.0.1"))
                await stream.send_all(masked(native.encode(native.Hello())))
                await stream.send_all(masked(native.encode(native.JoinTopic(1, "room:1"))))
                await members(here, "room:1", 1)
                for number in range(600):
                    await here.realtime.publish("room:1", "n", [number, "x" * 4_000])
                await members(here, "room:1", 0)
                received = bytearray()
                while data := await stream.receive_some(65_536):
                    received += data
            assert received.endswith(close_frame(1013, "you read too slowly"))
            start = received.index(b"\r\n\r\n") + 4
            assert received[start + 1] < 126
            welcome = read(bytes(received[start + 2 : start + 2 + received[start + 1]]))
            async with open_websocket(here.url) as socket:
                hello = native.Hello(resume=welcome.resume, topics={"room:1": native.Position("", 0)})
                assert await resumed(socket, hello) == ("room:1",)


def masked(payload: bytes) -> bytes:
    """A client's frame, masked with zeros."""
    assert len(payload) < 126
    return bytes((0x82, 0x80 | len(payload))) + bytes(4) + payload


async def test_a_flood_is_bounded_and_slowed_down_and_the_node_stays_well() -> None:
    limits = Limits(message_bytes=64 * 1024, input_rate=16 * 1024 * 1024)
    rates = PermissionOptions(limits=LimitOptions(topic_messages=Rate(per_second=100.0, burst=20.0)))
    async with (
        stage(limits=limits, permission=rates) as here,
        connect(here.url) as flooder,
        connect(here.url) as other,
    ):
        with trio.fail_after(60):
            noise, quiet = await flooder.join_topic("room:noise"), await other.join_topic("room:1")
            listener = await other.join_topic("room:noise", buffer=10)

            async def flood() -> None:
                for _ in range(260):
                    await noise.publish("n", b"\xff" * 20_000, ack=False)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                for _ in range(20):
                    with trio.fail_after(30):
                        await quiet.publish("n", 1)
                    assert len(flooder._core.outgoing) <= 65
                    await trio.sleep(0.01)
            await noise.publish("n", "the end")
            assert any(hint.hint == "slow_down" for hint in flooder.hints)
            assert listener.dropped > 0
            assert len(listener._membership.buffer) <= 10


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [("drop_oldest", [7, 8, 9]), ("drop_newest", [0, 1, 2]), ("latest", [9]), ("fail", [0, 1, 2])],
)
async def test_what_becomes_of_messages_that_are_not_read(overflow: Any, kept: list[int]) -> None:
    async with stage() as here, connect(here.url) as client:
        with trio.fail_after(30):
            room = await client.join_topic("room:1", buffer=3, overflow=overflow)
            for number in range(10):
                await here.realtime.publish("room:1", "n", number)
            await until(lambda: room._membership.received >= (10 if overflow != "fail" else 4))
            assert [each.payload for each in await take(room, len(kept))] == kept
            if overflow == "fail":
                with pytest.raises(Overflowed):
                    await anext(room)
                await members(here, "room:1", 0)
            else:
                assert room.dropped == 10 - len(kept)


async def test_a_node_that_falls_silent_is_left_for_another() -> None:
    async with stage() as here:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        silent = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        urls = itertools.chain([here.url, silent], itertools.repeat(here.url))
        async with trio.open_nursery() as nursery:

            async def swallow(stream: trio.SocketStream) -> None:
                await trio.sleep_forever()

            nursery.start_soon(trio.serve_listeners, swallow, [listener])
            rhythm = Rhythm(heartbeat=0.1, patience=1.0, latency=None)
            with trio.fail_after(30):
                async with connect(lambda: next(urls), retry=SOON, rhythm=rhythm, timeout=1.0) as client:
                    room = await client.join_topic("room:1")
                    # Whatever it is told, the node's answers do not arrive from here on.
                    client._core.receive = lambda data, now: None  # type: ignore[method-assign]
                    await until(lambda: not client.is_online)
                    del client._core.receive
                    while client.connections < 2 or not room.is_joined:
                        await room.changed()
            nursery.cancel_scope.cancel()


async def test_latency_is_measured_by_itself_and_when_asked() -> None:
    async with stage() as here, connect(here.url) as client:
        with trio.fail_after(30):
            while client.latency.seconds is None:
                await client.changed()
            assert await client.measure_latency() > 0
            assert len(client.latency.history) == 2


async def test_a_client_of_version_1_is_served_as_ever() -> None:
    directory = TestDirectory()
    directory.add(TestSession("main"))
    async with stage(directory=directory) as here, open_websocket(here.url) as socket:
        with trio.fail_after(30):
            await socket.send_message(native.encode(native.Hello((1,)), 1))
            assert read(await socket.get_message()) == native.Welcome(1, "stage")
            await socket.send_message(native.encode(native.Join("main")))
            assert isinstance(read(await socket.get_message()), native.Joined)
            await socket.send_message(native.encode(native.JoinTopic(1, "room:1")))
            error = read(await socket.get_message())
            assert isinstance(error, native.Error)
            assert error.code == "protocol"


async def test_a_node_of_version_1_knows_no_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(limits=LIMITS) as here:
        monkeypatch.setattr(native, "common_version", lambda _: 1)
        async with connect(here.url) as client:
            with trio.fail_after(30):
                assert await client.sessions() == ()
                with pytest.raises(ClientError, match="knows no topics"):
                    await client.join_topic("room:1")
