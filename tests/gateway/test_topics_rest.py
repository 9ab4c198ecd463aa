from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio

from tests.gateway.topics import listening, open_topics
from wsactors.gateway.options import GatewayOptions, RequestRates
from wsactors.realtime.channel import Channel
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import Rule

TOPICS = RealtimeOptions(
    topics=(
        TopicOptions("room:*", history=5),
        TopicOptions("bare:*", history=0),
        TopicOptions("secret:*", private=True),
    )
)


class Picky(Channel):
    """Decides for itself what is published."""

    def handle_push(self, event: str, payload: Any) -> Any:
        return {}


async def test_what_is_published_is_heard_kept_and_placed() -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        with trio.fail_after(30):
            async with listening(topics, "room:1") as events:
                await events.next("joined")
                message = {"event": "chat", "payload": {"a": [1, None]}, "id": "m1"}
                said = await client.post("/api/topics/room:1/publish", json=message)
                assert said.status_code == 200
                assert said.json()["offset"] == 1
                _, heard = await events.next()
                assert (heard["event"], heard["payload"], heard["id"]) == ("chat", {"a": [1, None]}, "m1")
                raw = await client.post(
                    "/api/topics/room:1/publish",
                    params={"event": "blob"},
                    content=b"\x00\xff",
                    headers={"content-type": "application/octet-stream"},
                )
                assert raw.status_code == 200
                assert (await events.next())[1]["payload"] == {"$binary": "AP8="}
        kept = (await client.get("/api/topics/room:1/history")).json()
        assert [each["offset"] for each in kept["publications"]] == [1, 2]
        assert kept["recovered"] is True
        later = (await client.get("/api/topics/room:1/history", params={"since": f"{heard['epoch']}:1"})).json()
        assert [each["offset"] for each in later["publications"]] == [2]
        assert (await client.get("/api/topics/room:1/presence")).json() == {"presence": {}}


async def test_a_topic_whose_channels_decide_what_is_published_is_not_published_to() -> None:
    own = RealtimeOptions(topics=(TopicOptions("own:*", channel="tests.gateway.test_topics_rest:Picky"),))
    async with open_topics(own, allowed_packages=("tests",)) as topics, topics.client() as client:
        answer = await client.post("/api/topics/own:1/publish", json={"event": "a"})
        assert answer.status_code == 403
        assert "join it" in answer.json()["error"]["message"]


async def test_a_batch_says_of_each_message_what_became_of_it() -> None:
    messages = [
        {"topic": "room:1", "event": "a", "payload": 1},
        {"topic": "nowhere", "event": "a"},
        {"topic": "room:1", "event": "b"},
    ]
    async with open_topics(TOPICS) as topics, topics.client() as client:
        results = (await client.post("/api/publish", json={"messages": messages})).json()["results"]
        assert [each.get("offset") for each in results] == [1, None, 2]
        assert results[1]["error"]["code"] == "unmatched_topic"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/topics/room:1/publish", b"", 400),
        ("/api/topics/room:1/publish", b"[]", 400),
        ("/api/topics/room:1/publish", b"{}", 400),
        ("/api/topics/room:1/publish", b'{"event": ""}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "event": "b"}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "payload": NaN}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "payload": "\\ud800"}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "payload": 1e999}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "payload": ' + b"[" * 100_000, 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "sender": "b"}', 400),
        ("/api/topics/room:1/publish", b'{"event": "a", "id": 5}', 400),
        ("/api/topics/room:1/publish", b"\xff\xfe", 400),
        ("/api/topics/other/publish", b'{"event": "a"}', 404),
        ("/api/topics/%00/publish", b'{"event": "a"}', 404),
        ("/api/publish", b'{"messages": []}', 400),
        ("/api/publish", json.dumps({"messages": [{"topic": "room:1", "event": "a"}] * 101}).encode(), 400),
        ("/api/publish", b'{"messages": [{"event": "a"}]}', 400),
        ("/api/publish", b'{"messages": [7]}', 400),
    ],
)
async def test_what_is_no_message_is_refused(path: str, body: bytes, status: int) -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        answer = await client.post(path, content=body)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=9999999", "limit=nan", "since=x", "since="])
async def test_odd_parameters_are_refused(query: str) -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        answer = await client.get(f"/api/topics/room:1/history?{query}")
        assert answer.status_code == (200 if query == "since=" else 400)


async def test_what_is_private_is_neither_read_nor_found() -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        for what in ("history", "presence", "poll", "events"):
            assert (await client.get(f"/api/topics/secret:1/{what}")).status_code == 403
            assert (await client.get(f"/api/topics/nowhere/{what}")).status_code == 404
            assert (await client.post(f"/api/topics/room:1/{what}")).status_code == 405


async def test_who_is_here_is_not_told_to_those_who_may_not_know() -> None:
    rules = (Rule(topics=("room:*",), deny=frozenset({"presence_read"})),)
    permission = PermissionOptions(policy=PolicyOptions(rules=rules))
    async with open_topics(TOPICS, permission=permission) as topics, topics.client() as client:
        assert (await client.get("/api/topics/room:1/history")).status_code == 200
        assert (await client.get("/api/topics/room:1/presence")).status_code == 403


async def test_too_many_requests_are_told_to_wait() -> None:
    options = GatewayOptions(port=0, rates=RequestRates(requests=0.01, requests_burst=5))
    async with open_topics(TOPICS, options) as topics, topics.client() as client:
        statuses = [(await client.get("/api/topics/room:1/history")).status_code for _ in range(8)]
        assert statuses == [200] * 5 + [429] * 3
        batch = {"messages": [{"topic": "room:1", "event": "a"}] * 100}
        refused = await client.post("/api/publish", json=batch)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]


async def test_what_one_client_and_all_may_ask_is_set_and_counts_for_every_kind_of_request() -> None:
    proxied = GatewayOptions(
        port=0,
        trusted_proxies=("127.0.0.1",),
        rates=RequestRates(requests=0.01, requests_burst=3, all_requests=1, request_bytes=1024),
    )
    async with open_topics(TOPICS, proxied) as topics, topics.client() as client:
        message = {"event": "a", "payload": "x" * 2_500}  # counts as three
        assert (await client.post("/api/topics/room:1/publish", json=message)).status_code == 429
    alone = attrs.evolve(proxied, rates=attrs.evolve(proxied.rates, all_requests=1_000))
    async with open_topics(TOPICS, alone) as topics, topics.client() as client:
        assert (await client.post("/api/topics/room:1/publish", json=message)).status_code == 200
        for path in ("/api/topics/room:1/history", "/api/topics/room:1/events"):
            assert (await client.get(path)).status_code == 429
        assert (await client.post("/api/broadcast", content=b"{}")).status_code == 429
        other = {"x-forwarded-for": "192.0.2.7"}
        assert (await client.get("/api/topics/room:1/history", headers=other)).status_code == 200


async def test_polls_follow_each_other_without_a_gap() -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        with trio.fail_after(30):
            first = (await client.get("/api/topics/room:1/poll")).json()
            assert (first["publications"], first["recovered"]) == ([], None)
            place = f"{first['epoch']}:{first['offset']}"
            heard: list[int] = []

            async def poll() -> None:
                nonlocal place
                while len(heard) < 20:
                    answer = (await client.get("/api/topics/room:1/poll", params={"since": place, "timeout": 5})).json()
                    assert answer["recovered"] is True
                    heard.extend(each["payload"] for each in answer["publications"])
                    place = f"{answer['epoch']}:{answer['offset']}"

            async with trio.open_nursery() as nursery:
                nursery.start_soon(poll)
                for number in range(20):
                    await topics.realtime.publish("room:1", "n", number)
                    await trio.sleep(0.01)
            assert heard == list(range(20))
            empty = (await client.get("/api/topics/room:1/poll", params={"since": place, "timeout": 0.05})).json()
            assert (empty["publications"], f"{empty['epoch']}:{empty['offset']}") == ([], place)
            lost = (await client.get("/api/topics/room:1/poll", params={"since": "other:1"})).json()
            assert lost["recovered"] is False


async def test_a_poll_that_is_given_up_leaves_nothing() -> None:
    async with open_topics(TOPICS) as topics:
        async with topics.client() as client:
            first = (await client.get("/api/topics/room:1/poll")).json()
            with trio.move_on_after(0.1):
                await client.get("/api/topics/room:1/poll", params={"since": f"{first['epoch']}:{first['offset']}"})
        with trio.fail_after(30):
            while topics.realtime.seats:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_a_poll_brings_a_bounded_amount_and_the_rest_next_time() -> None:
    async with open_topics(TOPICS) as topics, topics.client() as client:
        first = (await client.get("/api/topics/room:1/poll")).json()
        place = f"{first['epoch']}:0"
        sizes: list[int] = []
        for _ in range(4):
            await topics.realtime.publish("room:1", "large", "x" * 600_000)
        while sum(sizes) < 4:
            answer = (await client.get("/api/topics/room:1/poll", params={"since": place})).json()
            place = f"{answer['epoch']}:{answer['offset']}"
            sizes.append(len(answer["publications"]))
        assert sizes == [2, 2]
