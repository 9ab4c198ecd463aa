"""Attacks that take several doors, or several of one kind at once: what one of them lets in, another may have refused."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio

from tests.gateway.engines import SocketIoClient, serving, socketio_client
from tests.gateway.harness import exchange, until, upgrade
from tests.gateway.test_longpoll import Poller, open_site
from tests.gateway.topics import listening, open_topics
from wsactors.client import Disconnected, open_websocket
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.options import GatewayOptions, Limits, RequestRates
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import Credentials, JoinRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import Decide, PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.wire.plain import Plain

ME = f"{__name__}:"
AT_ONCE = 20


class Club(Channel):
    """Lets members in, and nobody else, whatever the policy says."""

    async def join(self, params: Plain) -> Plain:
        if not self.user.subject:
            raise JoinRefused("unauthorized", "Members only.")
        return {}


class Named:
    """Whoever shows a token is called by it."""

    async def authenticate(self, credentials: Credentials) -> User:
        name, _, role = credentials.token.partition("/")
        return User(name, role=role or "member")


@pytest.mark.parametrize("what", ["history", "presence", "poll", "events"])
async def test_where_channels_decide_who_comes_in_nobody_reads_past_them(what: str) -> None:
    club = RealtimeOptions(topics=(TopicOptions("club:*", channel=f"{ME}Club"),))
    async with (
        open_topics(club, authenticator=Named(), allowed_packages=("tests",)) as topics,
        topics.client() as client,
    ):
        await topics.realtime.publish("club:1", "chat", "between us")
        answer = await client.get(f"/api/topics/club:1/{what}")
        assert "between us" not in answer.text
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "unauthorized")
        if what != "events":
            member = await client.get(f"/api/topics/club:1/{what}", headers={"authorization": "Bearer ann"})
            assert member.status_code == 200
        await until(lambda: not topics.realtime.seats)


async def together(ask: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What is answered when everybody asks at once."""
    answers: list[Any] = []

    async def one() -> None:
        answers.append(await ask())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(one)
    return answers


async def test_one_address_has_so_many_engineio_sessions_also_when_it_asks_for_all_at_once() -> None:
    async with serving(EngineOptions(echo=True, max_sessions_per_address=3)) as served:
        answers: list[httpx.Response] = await together(served.get)
        assert sorted(each.status_code for each in answers) == [200] * 3 + [503] * (AT_ONCE - 3)


async def test_one_address_has_so_many_longpoll_sessions_also_when_it_asks_for_all_at_once() -> None:
    options = GatewayOptions(port=0)
    object.__setattr__(options.limits, "connections_per_address", AT_ONCE)
    async with open_site(options) as site:
        object.__setattr__(options.limits, "connections_per_address", 3)
        answers = await together(lambda: Poller(site).get())
        assert sorted(each["status"] for each in answers) == [403] * (AT_ONCE - 3) + [410] * 3


async def test_a_client_with_a_whole_ipv6_network_is_one_client() -> None:
    limits, rates = Limits(connections_per_address=3), RequestRates(requests=0.001, requests_burst=9)
    engine = EngineOptions(max_sessions_per_address=3)
    async with serving(engine, trusted_proxies=("127.0.0.1",), limits=limits, rates=rates) as served:
        asked: list[tuple[int, int, int]] = []
        for number in range(5):
            mine = {"x-forwarded-for": f"2001:db8::{number + 1:x}"}
            polling = await served.http.get(served.url("/socket.io/"), headers=mine)
            topics = await served.http.get("/api/topics/a/history", headers=mine)
            phoenix = await served.http.get("/socket/longpoll?vsn=2.0.0", headers=mine)
            asked.append((polling.status_code, topics.status_code, phoenix.json()["status"]))
        assert asked == [(200, 200, 410)] * 3 + [(503, 429, 403)] * 2
        other = await served.http.get(served.url("/socket.io/"), headers={"x-forwarded-for": "2001:db8:0:1::1"})
        assert other.status_code == 200


def no_more_than_a_member(question: Decide) -> bool:
    return question.action != "join" or question.topic != "staff" or question.user.role == "staff"


async def test_whoever_comes_back_by_socketio_with_less_gets_nothing_of_what_he_may_not_read_any_more() -> None:
    permission = PermissionOptions(decider=no_more_than_a_member)
    async with serving(authenticator=Named(), permission=permission) as served:
        async with socketio_client(served, "/topics", {"token": "ann/staff"}) as client:
            await client.send('42/topics,1["subscribe","staff"]')
            await client.receive()
        await trio.sleep(0.05)
        await served.realtime.publish("staff", "chat", "between us")
        async with served.ws("/socket.io/") as ws:
            again = SocketIoClient(ws)
            await again.receive()
            await again.connect("/topics", {"pid": client.token, "token": "ann/member"})
            assert again.sid != client.sid
            await again.send('42/topics,1["subscribe","staff"]')
            answer = await again.receive()
            assert answer.startswith('43/topics,1[{"status":"error"')


async def test_whoever_comes_back_by_socketio_as_he_was_gets_what_he_missed() -> None:
    permission = PermissionOptions(decider=no_more_than_a_member)
    async with serving(authenticator=Named(), permission=permission) as served:
        async with socketio_client(served, "/topics", {"token": "ann/staff"}) as client:
            await client.send('42/topics,1["subscribe","staff"]')
            await client.receive()
        await until(lambda: served.realtime.relay.count("staff") == 1)
        await served.realtime.publish("staff", "chat", "between us")
        async with served.ws("/socket.io/") as ws:
            again = SocketIoClient(ws)
            await again.receive()
            await again.connect("/topics", {"pid": client.token, "token": "ann/staff"})
            assert again.sid == client.sid
            while "between us" not in await again.receive():
                pass


class Fragile(Channel):
    """Crashes when it is told to."""

    async def join(self, params: Plain) -> Plain:
        if params == {"crash": "join"}:
            raise RuntimeError("as asked")
        return {}

    def handle_push(self, event: str, payload: Plain) -> Any:
        if event == "crash":
            raise RuntimeError("as asked")
        return {}


async def test_a_client_that_crashes_its_channel_without_end_ends_nothing_but_that() -> None:
    rooms = RealtimeOptions(topics=(TopicOptions("room:*", channel=f"{ME}Fragile"),))
    async with open_topics(rooms, allowed_packages=("wsactors", "tests")) as topics:
        node = topics.node
        names = ("channels", "topics", "topic:room:1", *(f"relay:{number}" for number in range(4)))
        url = f"ws://127.0.0.1:{topics.address.port}/socket/websocket?vsn=2.0.0"
        with trio.fail_after(60):
            async with open_websocket(url) as honest, open_websocket(url) as hostile:
                await honest.send_message('["1","1","room:1","phx_join",{}]')
                assert '"ok"' in await honest.get_message()
                before = [node.whereis(name) for name in names]
                assert all(before)
                for number in range(60):
                    await hostile.send_message(f'["{number}","{number}","room:1","phx_join",{{"crash":"join"}}]')
                    assert "join crashed" in await hostile.get_message()
                    await hostile.send_message(f'["a{number}","a{number}","room:1","phx_join",{{}}]')
                    assert '"ok"' in await hostile.get_message()
                    await hostile.send_message(f'["a{number}","b","room:1","crash",{{}}]')
                    while "phx_error" not in await hostile.get_message():
                        pass
                assert [node.whereis(name) for name in names] == before
                await topics.realtime.publish("room:1", "chat", {})
                while '"chat"' not in await honest.get_message():
                    pass


async def test_topics_that_nobody_is_in_make_room_for_those_that_somebody_wants() -> None:
    few = RealtimeOptions(max_topics=5)
    async with open_topics(few) as topics, topics.client() as client, listening(topics, "honest") as events:
        await events.next("joined")
        for number in range(20):
            answer = await client.post(f"/api/topics/{number}/publish", json={"event": "x"})
            assert answer.status_code == 200, answer.text
        assert "honest" in topics.realtime.topics()
        assert len(topics.realtime.topics()) <= 5
        async with listening(topics, "late") as late:
            await late.next("joined")
            assert (await client.post("/api/topics/honest/publish", json={"event": "y"})).status_code == 200
            assert (await events.next())[1]["event"] == "y"


ROUTES = (
    "/", "/health", "/ready", "/api/sessions", "/listen/x.opus", "/socket/longpoll?vsn=2.0.0", "/nowhere",
    "/engine.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=polling", "/api/topics/a/history",
    "/api/topics/a/presence", "/api/topics/a/poll", "/api/topics/a/events",
)  # fmt: skip
POSTS = ("/api/publish", "/api/topics/a/publish", "/api/broadcast", "/realtime/v1/api/broadcast", *ROUTES)
SOCKETS = (
    "/ws", "/socket/websocket?vsn=2.0.0", "/realtime/v1/websocket?vsn=1.0.0", "/engine.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=4&transport=websocket",
)  # fmt: skip
FOREIGN = (({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"host": "evil.example"}, 421))


async def test_no_route_answers_a_page_of_another_site() -> None:
    async with serving() as served:
        for headers, status in FOREIGN:
            for method, paths in (("GET", ROUTES), ("POST", POSTS), ("OPTIONS", POSTS), ("HEAD", ROUTES)):
                for path in paths:
                    body = b"{}" if method == "POST" else b""
                    answer = await served.http.request(method, path, headers=headers, content=body)
                    assert answer.status_code == status, (method, path, headers)
                    assert not [name for name in answer.headers if name.startswith("access-control")]
            for path in SOCKETS:
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "host")
                host = headers.get("host", "127.0.0.1")
                refused = await exchange(served.port, upgrade(path, host=host, headers=lines))
                assert refused.split()[1] == str(status).encode(), (path, headers)


@pytest.mark.parametrize("path", ["/api/topics/a/publish", "/api/publish", "/api/broadcast"])
async def test_large_bodies_count_as_the_many_small_ones_that_they_could_be(path: str) -> None:
    message = {"topic": "a", "event": "x", "payload": {"text": "x" * 1_000_000}}
    body: dict[str, Any] = {"messages": [message]}
    if path.startswith("/api/topics"):
        message.pop("topic")
        body = message
    async with serving(rates=RequestRates(requests=0.001, requests_burst=40)) as served:
        first, second, third = [(await served.http.post(path, json=body)).status_code for _ in range(3)]
        assert first < 300
        assert second < 300
        assert third == 429


ODD = (
    "", "%00", "%ff", "%C3%28", "%ED%A0%80", "%0d%0aset-cookie:%20x", "..%2f..", "%2e%2e/", "private:", "socketio:/:x",
    "realtime:", "topic:", "%F0%9F%98%80" * 40, "a" * 3_000, "{sub}", "*", "99999999999999999999999", "-1", "nan", "1e999",
    "a:9" + "9" * 400, "%D9%A3", ":", "::", "a:-1", "a:+1", "a:1_0", "0x10", "null", "[]", "a.b.c",
)  # fmt: skip
PLACES = (
    "/{}", "/api/topics/{}/history", "/api/topics/{}/presence", "/api/topics/a/history?since={}", "/api/topics/{}/poll",
    "/api/topics/a/history?limit={}", "/api/topics/a/poll?timeout={}", "/api/topics/a/poll?timeout=0&since={}", "/listen/{}",
    "/socket/longpoll?vsn={}", "/socket/longpoll?vsn=2.0.0&token={}", "/engine.io/?EIO={}&transport=polling",
    "/engine.io/?EIO=4&transport={}", "/engine.io/?EIO=4&transport=polling&sid={}",
    "/socket.io/?EIO=4&transport=polling&a={}",
)  # fmt: skip
POSTED = (
    "/api/broadcast/{}/events/e", "/api/broadcast/a/events/{}", "/api/broadcast/a/events/e?private={}",
    "/api/topics/{}/publish",
)  # fmt: skip


async def test_odd_names_and_numbers_are_refused_and_never_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    fields = "HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n"
    async with serving(rates=RequestRates(requests_burst=10_000)) as served:
        for method, places in (("GET", PLACES), ("POST", POSTED)):
            for place in places:
                asked = "".join(f"{method} {place.replace('{}', odd)} {fields}" for odd in ODD)
                last = "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
                answers = await exchange(served.port, (asked + last).encode(), seconds=60)
                statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]
                assert len(statuses) == len(ODD) + 1, place
                assert max(statuses) < 500, place
                assert b"set-cookie" not in answers
    assert "http_application_failed" not in caplog.text


async def test_no_name_but_its_own_leads_to_a_topic() -> None:
    """What looks like the name of somebody's topic to a person, or to other software, is another topic here, or none."""
    own = RealtimeOptions(topics=(TopicOptions("user:*", private=True), TopicOptions("*")))
    rule = Rule(topics=("user:{sub}",), allow=("join", "publish", "presence_read", "presence_write"))
    permission = PermissionOptions(policy=PolicyOptions(rules=(rule,)))
    names = (
        "user:ada", "USER:ada", "user:Ada", "user:ada ", " user:ada", "user:ada\u200b", "user\uff1aada", "user:a\u0308da",
        "private:user:ada", "private:private:user:ada", "realtime:user:ada", "realtime:private:user:ada",
        "socketio:/:user:ada", "user:*", "user:{sub}", "user:eve/../ada", "./user:ada", "user:ada/", "user%3Aada",
    )  # fmt: skip
    async with open_topics(own, authenticator=Named(), permission=permission) as topics, topics.client() as client:
        ada, eve = ({"authorization": f"Bearer {name}"} for name in ("ada", "eve"))
        url = f"ws://127.0.0.1:{topics.address.port}/socket/websocket?vsn=2.0.0&token=eve"
        with trio.fail_after(60):
            async with listening(topics, "user:ada", headers=ada) as events, open_websocket(url) as ws:
                await events.next("joined")
                for name in names:
                    quoted = quote(name, safe="")
                    await client.post(f"/api/topics/{quoted}/publish", json={"event": "forged"}, headers=eve)
                    message = {"topic": name, "event": "forged", "payload": {}}
                    for private in (False, True):
                        batch = {"messages": [{**message, "private": private}]}
                        await client.post("/api/broadcast", json=batch, headers=eve)
                    await ws.send_message(json.dumps(["1", "1", name, "phx_join", {}]))
                    while '"phx_reply"' not in (await ws.get_message()):
                        pass
                    await ws.send_message(json.dumps(["1", "2", name, "forged", {}]))
                    for what in ("history", "presence"):
                        answer = await client.get(f"/api/topics/{quoted}/{what}", headers=eve)
                        assert "between us" not in answer.text
                await topics.realtime.publish("user:ada", "chat", "between us")
                assert (await events.next())[1]["payload"] == "between us"
                await ws.send_message('[null,"beat","phoenix","heartbeat",{}]')
                while '"beat"' not in (heard := await ws.get_message()):
                    assert "between us" not in heard


async def test_a_refused_client_shows_no_token() -> None:
    async with open_topics(authenticator=Named()) as topics:
        url = f"ws://127.0.0.1:{topics.address.port}/nowhere?token=planted-secret"
        with pytest.raises(Disconnected) as caught:
            async with open_websocket(url):
                pass
        assert "planted-secret" not in str(caught.value)
