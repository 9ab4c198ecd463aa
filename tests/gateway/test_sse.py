from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import pytest
import trio

from tests.gateway.h2_client import connected
from tests.gateway.harness import exchange, open_narrow_stream, request
from tests.gateway.topics import Topics, listening, open_topics
from wsactors.gateway import GatewayOptions, TlsOptions
from wsactors.gateway import sse as sse_module
from wsactors.realtime.identity import AuthRefused, Credentials, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions

KEPT = RealtimeOptions(topics=(TopicOptions("room:*", history=5), TopicOptions("bare:*", history=0)))


async def say(topics: Topics, *numbers: int, topic: str = "room:1") -> None:
    for number in numbers:
        await topics.realtime.publish(topic, "number", number)


async def members(topics: Topics, topic: str = "room:1") -> int:
    info = await topics.realtime.topic(topic)
    return info.members if info is not None else 0


async def nobody_left(topics: Topics) -> None:
    with trio.fail_after(30):
        while topics.realtime.seats:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_publications_arrive_in_order_and_a_reader_that_comes_back_misses_nothing() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                headers = events.headers
                assert headers["content-type"] == "text/event-stream"
                assert headers["x-accel-buffering"] == "no"
                assert "no-transform" in headers["cache-control"]
                kind, first = await events.next()
                assert (kind, first["recovered"], first["missed"]) == ("joined", None, 0)
                await say(topics, 1, 2)
                assert [(await events.next())[1]["payload"] for _ in range(2)] == [1, 2]
                place = events.last_id
            await nobody_left(topics)
            await say(topics, 3, 4)
            async with listening(topics, "room:1", headers={"last-event-id": place}) as events:
                kind, first = await events.next()
                assert (kind, first["recovered"], first["missed"]) == ("joined", True, 2)
                assert events.last_id == place
                await say(topics, 5)
                assert [(await events.next())[1]["payload"] for _ in range(3)] == [3, 4, 5]
                place = events.last_id
            await say(topics, *range(6, 20))
            async with listening(topics, "room:1", headers={"last-event-id": place}) as events:
                assert (await events.next())[1]["recovered"] is False
        await nobody_left(topics)


@pytest.mark.parametrize("place", ["nonsense", "other:1", ":", "a:9\x7f", "x" * 1_000])
async def test_a_place_that_is_none_is_a_gap_and_not_an_error(place: str) -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1", params={"since": place}) as events:
                assert (await events.next())[1]["recovered"] is False


async def test_a_topic_without_history_never_says_that_nothing_was_missed() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "bare:1") as events:
                _, first = await events.next()
                assert events.last_id == ""
            async with listening(topics, "bare:1", headers={"last-event-id": f"{first['epoch']}:0"}) as events:
                assert (await events.next())[1]["recovered"] is False


async def test_presence_is_told_to_those_who_ask() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1", params={"presence": "true"}) as events:
                await events.next("presence_state")
                (channel,) = topics.realtime.seats
                topics.realtime.track(channel, {"name": "ada"}, key="ada")
                _, diff = await events.next("presence_diff")
                assert diff["joins"]["ada"][0]["name"] == "ada"


async def test_a_reader_who_leaves_is_noticed_though_nothing_is_sent() -> None:
    async with open_topics(KEPT) as topics:
        stream = await trio.open_tcp_stream("127.0.0.1", topics.address.port)
        await stream.send_all(request("/api/topics/room:1/events"))
        with trio.fail_after(30):
            while not await members(topics):  # noqa: ASYNC110
                await trio.sleep(0.01)
        await stream.aclose()
        await nobody_left(topics)


async def test_a_reader_who_breaks_off_while_he_is_told_what_he_missed_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_topics(KEPT) as topics:
        first = await topics.realtime.publish("room:1", "large", "")
        for _ in range(4):
            await topics.realtime.publish("room:1", "large", "x" * 900_000)
        stream = await open_narrow_stream(topics.address.port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.send_all(request(f"/api/topics/room:1/events?since={first.epoch}:1"))
        with trio.fail_after(30):
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 200")
            await stream.aclose()  # by a reset
            await nobody_left(topics)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_heartbeat_comes_when_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_module, "HEARTBEAT_SECONDS", 0.02)
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                assert {await events.receive() for _ in range(3)} == {b":\n\n"}


async def test_the_same_bytes_go_to_all_readers_and_binary_becomes_base64() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as first, listening(topics, "room:1") as second:
                await first.next("joined")
                await second.next("joined")
                await topics.realtime.publish("room:1", "blob", {"data": b"\x00\xff"})
                assert await first.next() == await second.next()
                await topics.realtime.publish("room:1", "odd", {"line": "a\nb\r\u2028"})
                assert (await first.next())[1]["payload"] == {"line": "a\nb\r\u2028"}


async def test_who_is_kicked_is_told_and_the_connection_may_be_used_again() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                (channel,) = topics.realtime.seats
                topics.realtime.leave(channel, "kicked")
                assert await events.next() == ("closed", {"code": "closed", "reason": "kicked"})
                with pytest.raises(EOFError):
                    await events.next()
                await events.stream.send_all(request("/health", headers="Connection: close\r\n"))
                assert b"".join([piece async for piece in events.stream]).endswith(b"ok\n")


async def test_who_is_here_when_the_node_stops_is_told_when_to_come_back() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            stopping, ready = trio.Event(), trio.Event()
            found: list[Topics] = []

            async def serve() -> None:
                async with open_topics(KEPT) as topics:
                    found.append(topics)
                    ready.set()
                    await stopping.wait()

            nursery.start_soon(serve)
            await ready.wait()
            async with listening(found[0], "room:1") as events:
                await events.next("joined")
                stopping.set()
                assert (await events.next("closed"))[1]["code"] == "restart"


async def test_over_http2_each_reader_has_a_stream(pem: Path) -> None:
    options = GatewayOptions(port=0, tls=TlsOptions("on", pem, pem))
    async with open_topics(KEPT, options) as topics, connected(topics.address.port, pem) as client:
        with trio.fail_after(30):
            streams = [client.ask(f"/api/topics/room:{number}/events") for number in (1, 2)]
            await client.flush()
            while len(topics.realtime.seats) < 2:
                await client.listen()
            await say(topics, 7, topic="room:1")
            await say(topics, 8, topic="room:2")
            while not all(b'"payload"' in client.body(stream) for stream in streams):
                await client.listen()
            assert b'"payload":7' in client.body(streams[0])
            assert b'"payload":8' in client.body(streams[1])
            client.core.reset_stream(streams[0])
            await client.flush()
            while len(topics.realtime.seats) > 1:  # noqa: ASYNC110
                await trio.sleep(0.01)
            (channel,) = topics.realtime.seats
            topics.realtime.leave(channel, "kicked")
            while b"kicked" not in client.body(streams[1]):
                await client.listen()


async def test_a_reader_that_does_not_read_is_cut_and_holds_nobody_up() -> None:
    async with (
        open_topics(RealtimeOptions(topics=(TopicOptions("*", history=0),))) as topics,
    ):
        stalled = await trio.open_tcp_stream("127.0.0.1", topics.address.port)
        await stalled.send_all(request("/api/topics/room:1/events"))
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                while len(topics.realtime.seats) < 2:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                sent = 0
                while len(topics.realtime.seats) == 2:
                    await topics.realtime.publish("room:1", "flood", "x" * 50_000)
                    await events.next()
                    sent += 50_000
                    assert sent < 50_000_000
        await stalled.aclose()


async def test_more_than_waits_for_a_response_to_begin_ends_it_and_leaves_no_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse_module, "GATE_BYTES", 3_000)
    async with open_topics(KEPT) as topics:
        first = await topics.realtime.publish("room:1", "large", "x" * 1_000)
        for _ in range(4):
            await topics.realtime.publish("room:1", "large", "x" * 1_000)
        with trio.fail_after(30):
            async with listening(topics, "room:1", params={"since": f"{first.epoch}:0"}) as events:
                heard = []
                with pytest.raises(EOFError):
                    while True:
                        kind, data = await events.next()
                        heard.append(data.get("offset") if kind == "message" else kind)
        assert heard[0] == "joined"
        assert heard[1:] == list(range(1, len(heard)))
        assert len(heard) < 5


class Tokens:
    """Knows two tokens."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        match credentials.token or credentials.api_key:
            case "good":
                return User("ada", "member")
            case "brief":
                return User("bob", "member", expires=time.time() + 2.0)
            case "":
                raise AuthRefused("missing", "Log in.")
            case _:
                raise AuthRefused("signature", "This token is not valid.")


BAD: list[dict[str, str]] = [
    {},
    {"authorization": "Bearer bad"},
    {"authorization": "Basic good"},
    {"authorization": "Bearer"},
    {"cookie": "token=good"},
]


async def test_only_who_shows_a_token_reads_and_only_until_it_expires() -> None:
    async with open_topics(KEPT, authenticator=Tokens()) as topics, topics.client() as client:
        with trio.fail_after(30):
            for headers in ({"authorization": "Bearer good"}, {"x-api-key": "good"}, {"apikey": "good"}):
                async with listening(topics, "room:1", headers=headers) as events:
                    await events.next("joined")
            async with listening(topics, "room:1", params={"access_token": "good"}) as events:
                await events.next("joined")
            for headers in BAD:
                refused = await client.get("/api/topics/room:1/events", headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert "error" in refused.json()
            async with listening(topics, "room:1", headers={"authorization": "Bearer brief"}) as events:
                _, closed = await events.next("closed")
                assert "expired" in f"{closed}"
        await nobody_left(topics)


async def test_what_cannot_be_read_says_so_in_its_status() -> None:
    secret = RealtimeOptions(topics=(TopicOptions("secret:*", private=True), TopicOptions("room:*")))
    async with open_topics(secret) as topics, topics.client() as client:
        for topic, status in (("other", 404), ("secret:1", 403), ("room:" + "x" * 300, 404), ("room:%0a", 404)):
            assert (await client.get(f"/api/topics/{topic}/events")).status_code == status
        head = request("/api/topics/room:1/events", method="HEAD", headers="Connection: close\r\n")
        answer = await exchange(topics.address.port, head)
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_reader_of_http_1_0_is_served_too() -> None:
    async with open_topics(KEPT) as topics:
        stream = await trio.open_tcp_stream("127.0.0.1", topics.address.port)
        with trio.fail_after(30):
            async with stream:
                await stream.send_all(request("/api/topics/room:1/events").replace(b"1.1", b"1.0"))
                got = b""
                while b"joined" not in got:
                    got += await stream.receive_some()
                await say(topics, 7)
                while b'"payload":7' not in got:
                    got += await stream.receive_some()
                assert b"chunked" not in got


async def test_behind_the_end_of_a_response_nothing_of_it_follows() -> None:
    async with open_topics(KEPT) as topics:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                (seat,) = topics.realtime.seats.values()
                assert isinstance(seat.outlet, sse_module.SseOutlet)
                seat.outlet.end("expired", "as if")
                await say(topics, 1, 2, 3)  # its channel is still there
                assert (await events.next())[0] == "closed"
                with pytest.raises(EOFError):
                    await events.next()
                await events.stream.send_all(request("/health", headers="Connection: close\r\n"))
                rest = b"".join([piece async for piece in events.stream])
                assert rest.startswith(b"HTTP/1.1 200")
                assert rest.endswith(b"ok\n")
