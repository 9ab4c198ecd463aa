"""Metrics and the admin API on real ports, beside a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import h11
import httpx
import pytest
import trio
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from tests.gateway.harness import exchange, request, upgrade
from tests.gateway.topics import Topics, listening, open_topics
from wsactors.client import Disconnected, Retry, connect
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.admin_openapi import document
from wsactors.gateway.admin_site import admin_site
from wsactors.gateway.server import Address
from wsactors.realtime.identity import Credentials, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions

TOKEN = "correct horse battery staple"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ROOMS = RealtimeOptions(topics=(TopicOptions("room:*", presence_interval=0.01),))


class Ada:
    """Everybody is Ada."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        return User("ada", "member")


@asynccontextmanager
async def open_admin(token: str | None = TOKEN) -> AsyncIterator[tuple[Topics, httpx.AsyncClient]]:
    addresses: list[Address] = []
    async with open_topics(ROOMS, authenticator=Ada()) as topics:
        options = GatewayOptions(port=0, region="eu-west")
        await topics.node.spawn(Gateway, options, None, addresses.append, None, None, admin_site(token))
        async with httpx.AsyncClient(base_url=addresses[0].urls[0], timeout=30) as client:
            yield topics, client


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """What a scrape says: by name and the values of the labels that differ."""
    text = (await client.get("/metrics", headers=BEARER)).text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            constant = {key: sample.labels[key] for key in ("node", "region") if key in sample.labels}
            assert constant in ({}, {"node": "topics", "region": "eu-west"})
            found[sample.name, *(value for key, value in sample.labels.items() if key not in constant)] = sample.value
    return found


async def samples_with(client: httpx.AsyncClient, **is_open: int) -> dict[tuple[str, ...], float]:
    """What a scrape says as soon as so many connections are open, by protocol."""
    for _ in range(3_000):
        found = await samples(client)
        if all(found["wsactors_connections", protocol] == count for protocol, count in is_open.items()):
            return found
        await trio.sleep(0.01)
    raise AssertionError(f"never {is_open}")


async def test_a_connection_comes_as_what_it_turns_out_to_speak() -> None:
    """A counter that goes back looks like a restart to Prometheus, which then adds all of it again."""
    came, are_open = "wsactors_connections_opened_total", "wsactors_connections"
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            stream = await trio.open_tcp_stream("127.0.0.1", topics.address.port)
            silent = await samples_with(client, http=1)
            assert silent[came, "http"] == 0
            await stream.send_all(upgrade("/echo"))
            await stream.receive_some()
            speaking = await samples(client)
            assert (speaking[are_open, "http"], speaking[are_open, "echo"]) == (0, 1)
            assert (speaking[came, "http"], speaking[came, "echo"]) == (0, 1)
            await stream.aclose()
            await exchange(topics.address.port, b"rubbish\r\n\r\n")
            over = await samples_with(client, http=0, echo=0)
            assert (over[came, "http"], over[came, "echo"]) == (1, 1)


async def test_a_socketio_client_that_polls_is_one() -> None:
    polling = "/socket.io/?EIO=4&transport=polling"
    async with open_admin() as (topics, client), topics.client() as poller:
        with trio.fail_after(60):
            sid = (await poller.get(polling)).text.split('"')[3]
            found = await samples(client)
            assert (found["wsactors_connections", "socketio"], found["wsactors_connections", "http"]) == (1, 1)
            assert (await poller.post(f"{polling}&sid={sid}", content="1")).status_code == 200
            found = await samples_with(client, socketio=0)
            assert found["wsactors_connections_opened_total", "socketio"] == 1


async def test_a_scrape_counts_what_happened() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                await topics.realtime.publish("room:1", "hello", 1)
                await events.next()
                said = upgrade("/echo") + bytes((0x81, 0x81, 0, 0, 0, 0, 65)) + bytes((0x88, 0x80, 0, 0, 0, 0))
                await exchange(topics.address.port, said)
                found = await samples(client)
        assert found["wsactors_connections", "http"] == 1
        assert found["wsactors_connections", "sse"] == 1
        assert found["wsactors_connections_opened_total", "echo"] == 1
        assert found["wsactors_messages_in_total", "echo"] == 1
        assert found["wsactors_bytes_in_total", "echo"] == 7 + 6
        assert found["wsactors_messages_out_total", "http"] >= 2
        assert found["wsactors_bytes_out_total", "echo"] > 100
        assert found["wsactors_joins_total", "ok"] == 1
        assert found["wsactors_join_seconds_count",] == 1
        assert found["wsactors_channels",] == 1
        assert found["wsactors_publications_total",] == 1
        assert found["wsactors_actors",] > 5
        assert found["process_open_fds",] > 3
        reasons = {key[1] for key in found if key[0] == "wsactors_drops_total"}
        assert reasons == {"aged_out", "oldest", "replaced", "refused", "slow_reader"}
        while not found.get(("wsactors_loop_lag_seconds_count",)):
            await trio.sleep(0.05)
            found = await samples(client)


async def test_every_delivery_is_counted_also_those_that_no_sink_saw() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with listening(topics, "room:1") as one, listening(topics, "room:1") as two:
                await one.next("joined")
                await two.next("joined")
                before = await samples(client)
                for number in range(10):
                    await topics.realtime.publish("room:1", "n", number)
                for events in (one, two):
                    assert [(await events.next("message"))[1]["payload"] for _ in range(10)] == list(range(10))
                after = await samples(client)
        assert sum(count for count, _ in topics.realtime.relay.sent().values()) > 0
        assert after["wsactors_messages_out_total", "http"] - before["wsactors_messages_out_total", "http"] >= 20
        assert after["wsactors_bytes_out_total", "http"] - before["wsactors_bytes_out_total", "http"] > 20 * 100


async def test_what_polled_and_streamed_clients_say_and_get_counts_as_their_protocols() -> None:
    engine, phoenix = "/socket.io/?EIO=4&transport=polling", "/socket/longpoll?vsn=2.0.0"
    async with open_admin() as (topics, client), topics.client() as web:
        with trio.fail_after(60):
            sid = (opened := await web.get(engine)).text.split('"')[3]
            said, texts = ('40{"token":"t"}', '420["subscribe","room:1",{"presence":false}]'), []
            for packet in said:
                assert (await web.post(f"{engine}&sid={sid}", content=packet)).status_code == 200
                texts.append((await web.get(f"{engine}&sid={sid}")).text)
            token = (await web.get(phoenix)).json()["token"]
            push = '["1","1","room:1","phx_join",{}]'
            assert (await web.post(f"{phoenix}&token={token}", content=push)).json()["status"] == 200
            got = (await web.get(f"{phoenix}&token={token}")).json()["messages"]
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                await topics.realtime.publish("room:1", "hello", 1)
                await events.next("message")
                await web.get("/api/topics/room:1/poll")
                found = await samples(client)
        assert found["wsactors_messages_in_total", "socketio"] == 2
        assert found["wsactors_bytes_in_total", "socketio"] == sum(map(len, said))
        assert found["wsactors_messages_out_total", "socketio"] == 3
        assert found["wsactors_bytes_out_total", "socketio"] == len(opened.text) + sum(map(len, texts))
        assert found["wsactors_messages_in_total", "phoenix"] == 1
        assert found["wsactors_bytes_in_total", "phoenix"] == len(push)
        assert found["wsactors_messages_out_total", "phoenix"] == len(got)
        assert found["wsactors_bytes_out_total", "phoenix"] == sum(map(len, got))
        assert found["wsactors_messages_out_total", "sse"] == 2
        assert found["wsactors_bytes_out_total", "sse"] > 100
        assert found["wsactors_bytes_out_total", "poll"] > 20
        for direction in ("in", "out"):  # and the requests that carried it count as HTTP, heads and all
            carried = sum(found[f"wsactors_bytes_{direction}_total", each] for each in ("socketio", "phoenix", "sse"))
            assert found[f"wsactors_bytes_{direction}_total", "http"] > carried


async def test_nothing_that_a_client_says_becomes_a_label() -> None:
    async with open_admin() as (topics, client):
        evil = "evil-label-value"
        await exchange(topics.address.port, upgrade(f"/{evil}"))
        await exchange(topics.address.port, request(f"/{evil}", method="GET", headers="Connection: close\r\n"))
        async with topics.client() as web:
            await web.get(f"/api/topics/{evil}/history")
            await web.post("/api/topics/room:1/publish", json={"event": evil, "payload": evil})
        assert evil not in (await client.get("/metrics", headers=BEARER)).text


PATHS = [(path, method) for path, found in document("1")["paths"].items() for method in found]


@pytest.mark.parametrize(("path", "method"), PATHS)
async def test_nobody_is_served_without_the_token(path: str, method: str) -> None:
    async with open_admin() as (_, client):
        target = path.replace("{topic}", "room:1")
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"authorization": f"Basic {TOKEN}"}, 401),
            ({"cookie": f"token={TOKEN}; authorization=Bearer {TOKEN}"}, 401),
            ({"x-api-key": TOKEN}, 401),
            ({**BEARER, "origin": "https://evil.example"}, 403),
            ({**BEARER, "host": "evil.example"}, 421),
        ):
            answer = await client.request(method, target, headers=headers)
            assert answer.status_code == status
            assert TOKEN not in answer.text
        by_query = await client.request(method, f"{target}?token={TOKEN}&access_token={TOKEN}")
        assert by_query.status_code == 401


async def test_guessing_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = trio.current_time()
    monkeypatch.setattr("wsactors.gateway.admin_site.trio", SimpleNamespace(current_time=lambda: now))
    async with open_admin() as (_, client):
        answers = [
            (await client.get("/metrics", headers={"authorization": f"Bearer {n}"})).status_code for n in range(14)
        ]
        assert answers == [401] * 10 + [429] * 4
        # Nor does the right one get in now, or guessing would only look slower.
        assert (await client.get("/metrics", headers=BEARER)).status_code == 429
        now += 1.1
        assert (await client.get("/metrics", headers=BEARER)).status_code == 200


async def test_without_a_token_metrics_are_open_to_this_machine_and_the_api_is_closed() -> None:
    async with open_admin(None) as (_, client):
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200
        for path in ("/admin/api/node", "/admin/api/topics", "/admin/api/connections"):
            assert (await client.get(path, headers=BEARER)).status_code == 403
        assert (await client.post("/admin/api/kick", json={"subject": "ada"})).status_code == 403


async def test_the_document_is_valid_and_says_what_is_served() -> None:
    async with open_admin() as (topics, client):
        found = (await client.get("/openapi.json", headers=BEARER)).json()
        validate(found)
        site = admin_site(TOKEN)
        routes: list[Any] = list(site.routes(topics_port(topics)))
        served = {
            (route.path.replace(":path", ""), method.lower())
            for route in routes
            if isinstance(route, Route)
            for method in route.methods or ()
            if method != "HEAD"
        }
        assert served == set(PATHS)


def topics_port(topics: Topics) -> Any:
    from wsactors.gateway.port import Port

    port = Port.of(topics.node)
    assert port is not None
    return port


async def test_topics_channels_and_connections_are_listed() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with listening(topics, "room:1") as events, listening(topics, "room:2"):
                await events.next("joined")
                api = "/admin/api"
                node = (await client.get(f"{api}/node", headers=BEARER)).json()
                assert (node["name"], node["region"], node["ready"]) == ("topics", "eu-west", True)
                assert (node["topics"], node["channels"]) == (2, 2)
                listed = (await client.get(f"{api}/topics", headers=BEARER, params={"limit": 1})).json()
                assert listed == {"topics": ["room:1"], "more": True}
                listed = (await client.get(f"{api}/topics", headers=BEARER, params={"prefix": "room:2"})).json()
                assert listed == {"topics": ["room:2"], "more": False}
                said = await client.post(
                    f"{api}/topics/room:1/publish", headers=BEARER, json={"event": "hi", "payload": [1]}
                )
                assert said.json()["offset"] == 1
                assert (await events.next())[1]["payload"] == [1]
                topic = (await client.get(f"{api}/topics/room:1", headers=BEARER)).json()
                assert (topic["members"], topic["published"], topic["position"]["offset"]) == (1, 1, 1)
                channels = (await client.get(f"{api}/channels", headers=BEARER, params={"topic": "room:1"})).json()[
                    "channels"
                ]
                assert [(each["topic"], each["subject"], each["role"]) for each in channels] == [
                    ("room:1", "ada", "member")
                ]
                connections = (await client.get(f"{api}/connections", headers=BEARER)).json()["connections"]
                assert {each["protocol"] for each in connections} == {"sse"}
                assert {each["subject"] for each in connections} == {"ada"}
                assert channels[0]["connection"] in {each["id"] for each in connections}
                topics.realtime.track(next(iter(topics.realtime.seats)), {"name": "ada"}, key="ada")
                presence: dict[str, list[dict[str, str]]] = {}
                while not presence:
                    presence = (await client.get(f"{api}/topics/room:1/presence", headers=BEARER)).json()["presence"]
                assert presence["ada"][0]["name"] == "ada"


async def test_whom_one_kicks_is_gone_and_nobody_else() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with listening(topics, "room:1") as one, listening(topics, "room:2") as two:
                await one.next("joined")
                await two.next("joined")
                channel = next(pid for pid, seat in topics.realtime.seats.items() if seat.topic == "room:1")
                answer = await client.post(
                    "/admin/api/kick", headers=BEARER, json={"channel": channel.serial, "reason": "bye"}
                )
                assert answer.json() == {"kicked": 1}
                assert (await one.next("closed"))[1]["reason"] == "bye"
                owner = next(iter(topics.realtime.seats.values())).owner
                answer = await client.post("/admin/api/kick", headers=BEARER, json={"connection": owner.serial})
                assert answer.json() == {"kicked": 1}
                with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
                    await two.next("never")
            async with listening(topics, "room:1") as one:
                await one.next("joined")
                assert (await client.post("/admin/api/kick", headers=BEARER, json={"subject": "ada"})).json() == {
                    "kicked": 1
                }
                await one.next("closed")


async def test_a_kicked_connection_is_told_and_resumes_nothing() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with connect(f"ws://127.0.0.1:{topics.address.port}/ws", retry=Retry()) as kicked:
                room = await kicked.join_topic("room:1")
                owner = next(iter(topics.realtime.seats.values())).owner
                body = {"connection": owner.serial, "reason": "enough"}
                assert (await client.post("/admin/api/kick", headers=BEARER, json=body)).json() == {"kicked": 1}
                with pytest.raises(Disconnected) as ended:
                    await anext(room)
                assert (ended.value.code, kicked.closed_with) == ("kicked", 4403)
            assert len(topics.realtime.places) == 0


NOBODY = [
    "",
    "[]",
    "{}",
    '{"subject": ""}',
    '{"subject": "a", "channel": 1}',
    '{"channel": "1"}',
    '{"channel": 1, "x": 2}',
    '{"subject": "a", "reason": 5}',
]


@pytest.mark.parametrize("body", NOBODY)
async def test_a_kick_of_nobody_in_particular_is_refused(body: str) -> None:
    async with open_admin() as (_, client):
        assert (await client.post("/admin/api/kick", headers=BEARER, content=body)).status_code == 400


async def test_a_drain_tells_everybody_and_can_be_taken_back() -> None:
    async with open_admin() as (topics, client), topics.client() as web:
        with trio.fail_after(60):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                drained = (await client.post("/admin/api/drain", headers=BEARER)).json()
                assert (drained["draining"], drained["guests"]) == (True, 0)
                assert drained["told"] >= 1
                assert (await events.next("closed"))[1]["code"] == "restart"
                ready = await web.get("/ready")
                # Another request on a connection that is about to be closed might be lost.
                assert (ready.status_code, ready.headers["connection"]) == (503, "close")
                node = (await client.get("/admin/api/node", headers=BEARER)).json()
                assert (node["ready"], node["draining"]) == (False, True)
                assert (await client.delete("/admin/api/drain", headers=BEARER)).json()["draining"] is False
                ready = await web.get("/ready")
                assert (ready.status_code, "connection" in ready.headers) == (200, False)
                node = (await client.get("/admin/api/node", headers=BEARER)).json()
                assert (node["ready"], node["draining"]) == (True, False)


ODD = [
    "topics?limit=0",
    "topics?limit=-1",
    "topics?limit=x",
    "topics?limit=99999",
    "topics/none",
    "channels?limit=%D9%A1",
    "channels?after=x",
    "connections?after=-1",
    "connections?after=99999999999999999999",
]


@pytest.mark.parametrize("path", ODD)
async def test_odd_questions_are_refused(path: str) -> None:
    async with open_admin() as (_, client):
        assert (await client.get(f"/admin/api/{path}", headers=BEARER)).status_code in {400, 404}


async def test_the_gateway_itself_serves_none_of_this() -> None:
    async with open_admin() as (topics, _), topics.client() as web:
        for path, method in PATHS:
            assert (await web.request(method, path, headers=BEARER)).status_code == 404
