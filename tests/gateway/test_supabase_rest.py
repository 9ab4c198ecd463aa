from __future__ import annotations

import json
from typing import Any
from unittest.mock import ANY

import pytest

from tests.gateway.test_longpoll import Site, open_site
from wsactors.gateway.options import GatewayOptions, RequestRates
from wsactors.realtime.identity import PublishRefused, User
from wsactors.realtime.service import Realtime

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """On "plain:locked" only ada may publish; "plain:busy" takes nothing now."""

    async def check_publish(self: Realtime, user: User, topic: str, *, private: bool = False) -> None:
        if topic == "plain:locked" and user.subject != "ada":
            raise PublishRefused("unauthorized", "You may not publish on this topic.")
        if topic == "plain:busy":
            raise PublishRefused("rate", "You have exceeded your rate limit")

    monkeypatch.setattr(Realtime, "check_publish", check_publish)


async def published(site: Site, topic: str) -> list[Any]:
    gap = await site.realtime.history(topic)
    return [(each.event, each.payload) for each in gap.missed]


def batch(*messages: Any) -> bytes:
    return json.dumps({"messages": list(messages)}).encode()


@pytest.mark.parametrize("prefix", ["", "/realtime/v1"])
async def test_a_batch_is_published_in_order(prefix: str) -> None:
    async with open_site() as site:
        messages = [{"topic": "plain:1", "event": f"e{n}", "payload": {"n": n}} for n in range(3)]
        other = {"topic": "plain:2", "event": "x", "payload": {}, "private": True, "id": "7"}
        assert await site.ask("POST", f"{prefix}/api/broadcast", batch(*messages, other), JSON) == (202, ANY, b"")
        assert await published(site, "plain:1") == [(f"e{n}", {"n": n}) for n in range(3)]
        assert await published(site, "plain:2") == []
        gap = await site.realtime.history("private:plain:2")
        assert [(each.event, each.id) for each in gap.missed] == [("x", "7")]


@pytest.mark.parametrize("prefix", ["", "/realtime/v1"])
async def test_single_messages_in_json_and_bytes(prefix: str) -> None:
    async with open_site() as site:
        stem = f"{prefix}/api/broadcast"
        octets = {"content-type": "application/octet-stream"}
        for target, body, headers in (
            ("/plain:1/events/a", b'{"n":1}', JSON), ("/plain%3A1/events/b%2Fc?private=true", b'{"n":2}', {}),
            ("/plain:1/events/photo", bytes(range(256)), octets), ("/plain:1/events/nothing", b"", octets),
        ):  # fmt: skip
            assert (await site.ask("POST", stem + target, body, headers))[0] == 202, target
        assert await published(site, "plain:1") == [
            ("a", {"n": 1}), ("photo", bytes(range(256))), ("nothing", b""),
        ]  # fmt: skip
        assert await published(site, "private:plain:1") == [("b/c", {"n": 2})]


@pytest.mark.parametrize(
    ("target", "body", "headers", "status"),
    [
        ("", b"{", JSON, 400), ("", b"[" * 100_000, JSON, 400), ("", b"{}", JSON, 422), ("", batch({"topic": "x"}), JSON, 422),
        ("", batch({"topic": "nowhere", "event": "e", "payload": {}}), JSON, 422),
        ("/plain:1/events/e", b"[1]", JSON, 422), ("/plain:1/events/e", b"x", {"content-type": "text/plain"}, 415),
        ("/plain:1/events/" + "x" * 256, b"{}", JSON, 422), ("/%FF/events/e", b"{}", JSON, 400),
        ("/plain:1", b"{}", JSON, 404), ("/a/b/c/d", b"{}", JSON, 404), ("/plain:busy/events/e", b"{}", JSON, 429),
        ("/plain:locked/events/e", b"{}", JSON, 403), ("/room:1/events/e", b"{}", JSON, 403),
        ("/plain:1/events/e", b"{}", {"authorization": "Basic eDp5"}, 401),
        ("/plain:1/events/e", b"{}", {"authorization": "Bearer expired"}, 401),
    ],
)  # fmt: skip
async def test_refusals(target: str, body: bytes, headers: dict[str, str], status: int) -> None:
    async with open_site() as site:
        found, answer_headers, answer = await site.ask("POST", "/api/broadcast" + target, body, headers)
        assert found == status
        assert answer_headers["content-type"].startswith("application/json")
        assert json.loads(answer)
        assert ("retry-after" in answer_headers) == (status == 429)


async def test_which_fields_are_wrong() -> None:
    async with open_site() as site:
        _, _, answer = await site.ask("POST", "/api/broadcast", batch({"topic": "a", "payload": []}), JSON)
        assert json.loads(answer) == {
            "errors": {"messages": [{"event": ["can't be blank"], "payload": ["is invalid"]}]}
        }


async def test_of_a_batch_all_or_none_is_published() -> None:
    async with open_site() as site:
        body = batch(*({"topic": f"plain:{name}", "event": "e", "payload": {}} for name in ("1", "locked")))
        assert (await site.ask("POST", "/api/broadcast", body, JSON))[0] == 403
        nowhere = {"topic": "nowhere", "event": "e", "payload": {}}
        there = {"topic": "plain:1", "event": "e", "payload": {}}
        assert (await site.ask("POST", "/api/broadcast", batch(there, nowhere), JSON))[0] == 422
        assert await published(site, "plain:1") == []
        assert (await site.ask("POST", "/api/broadcast", body, {**JSON, "authorization": "Bearer ada"}))[0] == 202
        assert len(await published(site, "plain:1")) == 1


async def test_other_methods_are_not_served() -> None:
    async with open_site() as site:
        for method in ("GET", "PUT"):
            assert (await site.ask(method, "/api/broadcast"))[0] == 405


async def test_what_a_topic_s_channels_look_at_does_not_come_in_by_this_door() -> None:
    async with open_site() as site:
        message = {"topic": "room:1", "event": "crash", "payload": {}}
        status, _, body = await site.ask("POST", "/api/broadcast", batch(message), JSON)

        assert (status, b"join it" in body) == (403, True)
        assert await published(site, "room:1") == []


async def test_a_flood_is_refused_with_the_protocol_s_own_code() -> None:
    async with open_site() as site:
        flood = batch(*({"topic": "plain:1", "event": "e", "payload": {}} for _ in range(100)))
        found = [(await site.ask("POST", "/api/broadcast", flood, JSON))[0] for _ in range(8)]

        assert set(found[:3]) == {202}
        assert found[-1] == 429


async def test_one_client_publishes_so_much() -> None:
    async with open_site(GatewayOptions(port=0, rates=RequestRates(requests=0.01, requests_burst=12))) as site:
        ten = batch(*({"topic": "plain:1", "event": "e", "payload": {}} for _ in range(10)))
        assert (await site.ask("POST", "/api/broadcast", ten, JSON))[0] == 202
        assert (await site.ask("POST", "/api/broadcast", ten, JSON))[0] == 429
        assert len(await published(site, "plain:1")) == 10
