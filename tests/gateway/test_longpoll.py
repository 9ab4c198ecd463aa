from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.gateway.conversations import OPTIONS, Names
from tests.gateway.harness import TestDirectory, exchange, until
from wsactors.gateway.longpoll import MAX_BATCH, LongPoll, Outbox, messages_of
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.port import Port
from wsactors.gateway.server import Address, Gateway
from wsactors.realtime.send_queue import DROP_OLDEST
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire.errors import ProtocolError

NDJSON = "application/x-ndjson"


class Site:
    """An open port of a node with topics."""

    def __init__(self, realtime: Realtime, port: int) -> None:
        self.realtime = realtime
        self.port = port

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers, body."""
        fields = {"host": f"127.0.0.1:{self.port}", "connection": "close", **(headers or {})}
        if body or method == "POST":
            fields["content-length"] = str(len(body))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        answer = await exchange(self.port, head.encode() + b"\r\n" + body)
        head_bytes, _, rest = answer.partition(b"\r\n\r\n")
        first, *lines = head_bytes.decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), found, rest


@asynccontextmanager
async def open_site(options: GatewayOptions | None = None) -> AsyncIterator[Site]:
    addresses: list[Address] = []
    async with Node("site") as node:
        realtime = await start_realtime(node, OPTIONS, authenticator=Names(), allowed_packages=("wsactors", "tests"))
        await node.spawn(Gateway, options or GatewayOptions(port=0), None, addresses.append, TestDirectory())
        yield Site(realtime, addresses[0].port)


class Poller:
    """A long-polling client."""

    def __init__(
        self, site: Site, *, vsn: str = "2.0.0", query: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self.site = site
        self.target = f"/socket/longpoll?vsn={vsn}{query}"
        self.headers = headers or {}
        self.token = ""

    async def get(self) -> Any:
        headers = {**self.headers, **({"x-phoenix-longpoll-token": self.token} if self.token else {})}
        status, found, body = await self.site.ask("GET", self.target, headers=headers)
        assert (status, found["cache-control"]) == (200, "no-store")
        answer = json.loads(body)
        self.token = answer.get("token", "")
        return answer

    async def messages(self) -> list[Any]:
        answer = await self.get()
        assert answer["status"] == 200
        return [json.loads(message) for message in answer["messages"]]

    async def post(self, *lines: Any, content_type: str = NDJSON, raw: bytes | None = None) -> int:
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        headers = {"x-phoenix-longpoll-token": self.token, "content-type": content_type}
        status, _, body = await self.site.ask("POST", self.target, text.encode() if raw is None else raw, headers)
        assert status == 200
        found: int = json.loads(body)["status"]
        return found


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongPoll.__init__, "__defaults__", (0.2,))


async def opened(site: Site, **more: Any) -> Poller:
    poller = Poller(site, **more)
    answer = await poller.get()
    assert (answer["status"], answer["messages"]) == (410, [])
    assert poller.token
    return poller


async def test_a_session_joins_talks_and_polls() -> None:
    async with open_site() as site:
        ada, bob = await opened(site), await opened(site)
        for each in (ada, bob):
            assert await each.post(["1", "1", "room:1", "phx_join", {}], ["1", "2", "room:1", "no", {}]) == 200
            assert [message[3] for message in await each.messages()] == ["phx_reply", "presence_state", "phx_reply"]
        photo = base64.b64encode(b"\x00\x01\x01\x06\x0513room:1photo\xff").decode()
        assert await ada.post(photo, ["1", "4", "room:1", "chat", {"a": "é"}]) == 200
        heard: list[Any] = []
        while len(heard) < 2:
            heard += await bob.messages()
        assert heard == [
            [None, None, "room:1", "photo", {"$binary": "/w=="}],
            [None, None, "room:1", "chat", {"a": "é"}],
        ]


async def test_a_waiting_poll_gets_what_comes() -> None:
    async with open_site() as site:
        ada = await opened(site)
        await ada.post(["1", "1", "room:1", "phx_join", {}])
        await ada.messages()
        heard: list[Any] = []

        async def wait() -> None:
            heard.extend(await ada.messages())

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked(0.02)
                await site.realtime.publish("room:1", "chat", {})
        assert heard == [[None, None, "room:1", "chat", {}]]


async def test_version_1_and_whole_bodies() -> None:
    async with open_site() as site:
        old = await opened(site, vsn="1.0.0")
        join = '{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}'
        assert await old.post(join, content_type="application/json") == 200
        assert [message["event"] for message in await old.messages()] == ["phx_reply", "presence_state"]


@pytest.mark.usefixtures("short_windows")
async def test_polls_end_and_so_does_a_session_that_nobody_polls() -> None:
    async with open_site() as site:
        ada = await opened(site)
        await ada.post(["1", "1", "room:1", "phx_join", {}])
        await ada.messages()
        assert (await ada.get()) == {"status": 204, "token": ada.token, "messages": []}
        assert len(site.realtime.seats) == 1
        await until(lambda: not site.realtime.seats)
        assert await ada.post(["1", "2", "room:1", "chat", {}]) == 410
        assert (await ada.get())["status"] == 410


async def test_who_may_not_connect_is_forbidden() -> None:
    async with open_site() as site:
        for poller in (Poller(site, vsn="3.0.0"), Poller(site, query="&token=expired"),
                       Poller(site, headers={"x-phoenix-authtoken": "signature"})):  # fmt: skip
            assert await poller.get() == {"status": 403}
        ada = await opened(site, headers={"x-phoenix-authtoken": "ada"})
        await ada.post(["1", "1", "room:1", "phx_join", {}])
        assert [seat.user.subject for seat in site.realtime.seats.values()] == ["ada"]


async def test_a_token_cannot_be_made_up_changed_or_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_site() as site:
        ada = await opened(site)
        token = ada.token
        session, issued, seal = token.split(".")
        later = f"{int(issued, 16) + 1:x}"
        for wrong in ("", "x", "a.b.c", f"{session}.{issued}.", f"{session}.{later}.{seal}", f"x{token}", token + "x",
                      "é.é.é".encode().decode("latin-1"), f"{session}.zz.{seal}"):  # fmt: skip
            ada.token = wrong
            assert await ada.post(["1", "1", "room:1", "phx_join", {}]) == 410, wrong
        ada.token = token
        assert await ada.post(["1", "1", "room:1", "phx_join", {}]) == 200
        monkeypatch.setattr("wsactors.gateway.longpoll.time.time", lambda: int(issued, 16) + 15 * 24 * 3600)
        assert await ada.post(["1", "2", "room:1", "chat", {}]) == 410


async def test_the_token_may_stand_in_the_query() -> None:
    async with open_site() as site:
        ada = await opened(site)
        target = f"{ada.target}&token={urllib.parse.quote(ada.token)}"
        _, _, body = await site.ask("POST", target, b'["1","1","room:1","phx_join",{}]', {"content-type": NDJSON})
        assert json.loads(body) == {"status": 200}


async def test_malformed_bodies_are_refused_and_the_session_lives() -> None:
    async with open_site() as site:
        ada = await opened(site)
        for raw in (b"\xff", b"", b"[", b"%%%", b"[" * 100_000, b"AAAA", b"\n".join([b"[]"] * (MAX_BATCH + 1))):
            assert await ada.post(raw=raw) == (200 if not raw else 400), raw[:20]
        assert await ada.post(["1", "1", "room:1", "phx_join", {}]) == 200
        assert len(await ada.messages()) == 2
        assert (await site.ask("PUT", ada.target))[0] == 400


async def test_a_node_that_stops_ends_waiting_polls() -> None:
    told: list[Any] = []

    async def wait() -> None:
        told.append(await ada.get())

    async with trio.open_nursery() as nursery, open_site() as site:
        ada = await opened(site)
        await ada.post(["1", "1", "room:1", "phx_join", {}])
        await ada.messages()
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert [(each["status"], each["messages"]) for each in told] == [(410, [])]


async def test_while_the_port_is_emptied_everybody_is_sent_away_once_and_nobody_begins_anew() -> None:
    async with open_site() as site:
        port = Port.of(site.realtime.node)
        assert port is not None
        ada, bob = await opened(site), await opened(site)
        told: list[Any] = []

        async def wait() -> None:
            told.append(await ada.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await until(lambda: port.meters.read("open")["phoenix"] == 2)
            await trio.testing.wait_all_tasks_blocked(0.02)
            await port.drain.run()
        assert [each["status"] for each in told] == [410]
        assert await bob.post(["1", "1", "room:1", "phx_join", {}]) == 410
        assert await bob.get() == {"status": 410}
        for poller in (bob, Poller(site), Poller(site, query="&token=expired")):
            assert await poller.get() == {"status": 500}
        assert not LongPoll.of(port).sessions
        port.drain.reset()
        await opened(site)


async def test_one_address_has_so_many_sessions() -> None:
    options = GatewayOptions(port=0)
    object.__setattr__(options.limits, "connections_per_address", 3)
    async with open_site(options) as site:
        for _ in range(3):
            await opened(site)
        assert await Poller(site).get() == {"status": 403}


async def test_a_newer_poll_ends_the_older_and_gets_everything(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox()
    got: list[list[bytes]] = []

    async def poll() -> None:
        got.append(await outbox.poll(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        assert got == [[]]
        outbox.offer(b"1")
    assert got == [[], [b"1"]]
    assert await outbox.poll(1) == []


async def test_what_waits_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox(limit=10)
    assert outbox.offer(b"12345")
    assert not outbox.offer(b"123456")
    assert outbox.is_closed
    assert not outbox.offer(b"1")
    assert await outbox.poll(1) == []


async def test_what_may_be_lost_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox(limit=10)
    for number in range(5):
        assert outbox.offer(b"old %d" % number, DROP_OLDEST)
        assert outbox.offer(b"%d" % number, ("topic", "latest"))
    assert await outbox.poll(1) == [b"old 4", b"4"]
    assert not outbox.is_closed


def test_messages_of_a_body() -> None:
    assert messages_of(b'["a"]\nAAE=\r\n\n{"b":1}', NDJSON) == ['["a"]', b"\0\1", '{"b":1}']
    assert messages_of(b'["a"]\n["b"]', "application/json") == ['["a"]\n["b"]']
    for body in (b"\xff", b"*", b"AAE", "é".encode()):
        with pytest.raises(ProtocolError):
            messages_of(body, NDJSON)
