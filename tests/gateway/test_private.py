"""Who is not let in hears nothing of a private Supabase channel and says nothing there, whatever he speaks and calls it.

No topic of this node is configured as private: only what a member's client says makes the channel so.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection

from tests.gateway.engines import SocketIoClient
from tests.gateway.harness import TestDirectory
from tests.gateway.test_doors import token
from tests.gateway.test_longpoll import Poller, Site
from tests.realtime.tokens import SECRET
from wsactors.client import ClientError, connect, open_websocket
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.server import Address
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire import native

RULE = Rule(
    topics=("private:den",), roles=("member",), allow=("join", "publish", "presence_read", "presence_write")
)  # fmt: skip
OPEN = ("den", "realtime:den", "Private:den", "den:private:")
SHUT = ("private:den", "private:realtime:den", "private:private:den", "private:", "private:*")
STRANGERS = ("anonymous", "eve")


def token_of(stranger: str) -> str:
    """Made when it is used: it does not hold for long."""
    return "" if stranger == "anonymous" else token(stranger, role="stranger")


class House:
    def __init__(self, realtime: Realtime, port: int) -> None:
        self.realtime = realtime
        self.port = port

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[WebSocketConnection]:
        async with open_websocket(f"ws://127.0.0.1:{self.port}{path}") as ws:
            yield ws


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    addresses: list[Address] = []
    keys = KeyedAuthenticator(AuthOptions(anonymous=True, secret=SECRET, audience=("api",)))
    permission = PermissionOptions(policy=PolicyOptions(rules=(RULE,)))
    with trio.fail_after(30):
        async with Node("private") as node:
            realtime = await start_realtime(node, RealtimeOptions(), authenticator=keys, permission=permission)
            await node.spawn(Gateway, GatewayOptions(port=0), None, addresses.append, TestDirectory())
            yield House(realtime, addresses[0].port)


class Stranger:
    """Somebody who tries, and writes down all he hears."""

    can_say_private = True

    def __init__(self) -> None:
        self.heard = ""
        self.number = 0

    async def join(self, name: str, *, private: bool = False) -> bool:
        raise NotImplementedError

    async def publish(self, name: str) -> None:
        raise NotImplementedError

    async def next(self) -> Any:
        raise NotImplementedError


class OnPhoenix(Stranger):
    can_say_private = False
    prefix = ""

    def __init__(self, ws: WebSocketConnection) -> None:
        super().__init__()
        self.ws = ws

    async def next(self) -> Any:
        message = await self.ws.get_message()
        if isinstance(message, bytes):
            self.heard += message.decode("latin-1")
            return [None] * 5
        self.heard += message
        return json.loads(message)

    async def ask(self, name: str, event: str, payload: Any) -> Any:
        self.number += 1
        ref = str(self.number)
        await self.ws.send_message(json.dumps([None, ref, self.prefix + name, event, payload]))
        while (answer := await self.next())[1] != ref:
            pass
        return answer[4]

    async def join(self, name: str, *, private: bool = False) -> bool:
        return bool((await self.ask(name, "phx_join", {}))["status"] == "ok")

    async def publish(self, name: str) -> None:
        await self.ask(name, "forged", {})


class OnSupabase(OnPhoenix):
    can_say_private = True
    prefix = "realtime:"

    async def join(self, name: str, *, private: bool = False) -> bool:
        config = {"private": private, "broadcast": {"ack": True}}
        return bool((await self.ask(name, "phx_join", {"config": config}))["status"] == "ok")

    async def publish(self, name: str) -> None:
        await self.ask(name, "broadcast", {"type": "broadcast", "event": "forged", "payload": {}})


class OnSocketIo(Stranger):
    def __init__(self, client: SocketIoClient) -> None:
        super().__init__()
        self.client = client

    async def next(self) -> Any:
        message = await self.client.receive()
        self.heard += str(message)
        return message

    async def ask(self, *words: Any) -> Any:
        self.number += 1
        await self.client.send(f"42{self.number}" + json.dumps(words))
        while not (answer := await self.next()).startswith(f"43{self.number}["):
            pass
        return json.loads(answer[len(f"43{self.number}") :])[0]

    async def join(self, name: str, *, private: bool = False) -> bool:
        return bool((await self.ask("subscribe", name, {"private": private}))["status"] == "ok")

    async def publish(self, name: str) -> None:
        await self.ask("publish", name, "forged", {})


class OnNative(Stranger):
    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.topics: list[Any] = []

    async def join(self, name: str, *, private: bool = False) -> bool:
        try:
            self.topics.append(await self.client.join_topic(name, private=private))
        except ClientError:
            return False
        return True

    async def publish(self, name: str) -> None:
        with suppress(ClientError):
            await self.client.request(lambda ref: native.Publish(name, "forged", {}, ref, echo=False), topic=name)

    async def next(self) -> Any:
        for topic in self.topics:
            self.heard += str(await anext(topic))


class OnLongPoll(Stranger):
    can_say_private = False

    def __init__(self, poller: Poller) -> None:
        super().__init__()
        self.poller = poller
        self.waiting: list[Any] = []

    async def next(self) -> Any:
        while not self.waiting:
            self.waiting = await self.poller.messages()
        self.heard += json.dumps(self.waiting[0])
        return self.waiting.pop(0)

    async def ask(self, name: str, event: str) -> Any:
        self.number += 1
        await self.poller.post([None, str(self.number), name, event, {}])
        while (answer := await self.next())[1] != str(self.number):
            pass
        return answer[4]

    async def join(self, name: str, *, private: bool = False) -> bool:
        return bool((await self.ask(name, "phx_join"))["status"] == "ok")

    async def publish(self, name: str) -> None:
        await self.ask(name, "forged")


Enter: TypeAlias = Callable[[House, str], AbstractAsyncContextManager[Stranger]]


@asynccontextmanager
async def on_phoenix(house: House, shown: str) -> AsyncIterator[Stranger]:
    async with house.socket(f"/socket/websocket?vsn=2.0.0&token={shown}") as ws:
        yield OnPhoenix(ws)


@asynccontextmanager
async def on_supabase(house: House, shown: str) -> AsyncIterator[Stranger]:
    async with house.socket(f"/realtime/v1/websocket?vsn=2.0.0&apikey={shown or token('', role='anon')}") as ws:
        yield OnSupabase(ws)


@asynccontextmanager
async def on_socketio(house: House, shown: str) -> AsyncIterator[Stranger]:
    async with house.socket("/socket.io/?EIO=4&transport=websocket") as ws:
        client = SocketIoClient(ws)
        await client.receive()
        await client.connect("/", {"token": shown} if shown else None)
        yield OnSocketIo(client)


@asynccontextmanager
async def on_native(house: House, shown: str) -> AsyncIterator[Stranger]:
    async with connect(f"ws://127.0.0.1:{house.port}/ws", token=shown) as client:
        yield OnNative(client)


@asynccontextmanager
async def on_longpoll(house: House, shown: str) -> AsyncIterator[Stranger]:
    poller = Poller(Site(house.realtime, house.port), query=f"&token={shown}" if shown else "")
    await poller.get()
    yield OnLongPoll(poller)


class Member(OnSupabase):
    """Somebody who is let in, on the private channel "den"."""

    async def say(self, event: str) -> None:
        await self.ask("den", "broadcast", {"type": "broadcast", "event": event, "payload": {"it": "s3cret"}})


@asynccontextmanager
async def member(house: House, name: str) -> AsyncIterator[Member]:
    async with house.socket(f"/realtime/v1/websocket?vsn=2.0.0&apikey={token(name)}") as ws:
        found = Member(ws)
        assert await found.join("den", private=True)
        yield found


async def until_heard(who: Stranger, word: str, times: int = 1) -> None:
    while who.heard.count(word) < times:
        await who.next()


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("enter", [on_phoenix, on_supabase, on_socketio, on_native, on_longpoll])
async def test_a_stranger_hears_nothing_and_says_nothing(enter: Enter, stranger: str) -> None:
    shown = token_of(stranger)
    async with house() as place, member(place, "ada") as ada, member(place, "bob") as bob, enter(place, shown) as eve:
        for name in (*SHUT, *OPEN):
            assert not (eve.can_say_private and await eve.join(name, private=True)), name
        for name in SHUT:
            assert not await eve.join(name), name
        for name in OPEN:
            assert await eve.join(name), name

        for name in (*SHUT, "den"):
            await eve.publish(name)
        await ada.say("told")
        await until_heard(bob, "s3cret")
        for name in OPEN:
            await place.realtime.publish(name, "marker", {})
        await until_heard(eve, "marker", len(OPEN))

        assert "s3cret" not in eve.heard
        assert "forged" not in bob.heard
        assert [each.event for each in (await place.realtime.history("private:den")).missed] == ["told"]
        assert [each.event for each in (await place.realtime.history("den")).missed] == ["forged", "marker"]


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_http_gives_a_stranger_nothing_and_takes_nothing_from_him(stranger: str) -> None:
    shown, message = token_of(stranger), {"event": "forged", "payload": {}}
    bearer = {"authorization": f"Bearer {shown}"} if shown else {}
    async with house() as place, member(place, "ada") as ada, member(place, "bob") as bob:
        await ada.say("told")
        await until_heard(bob, "s3cret")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}", headers=bearer, timeout=5) as http:
            for name in SHUT:
                for what in ("history", "presence", "poll", "events"):
                    assert (await http.get(f"/api/topics/{quote(name)}/{what}")).status_code == 403, (name, what)
                assert (await http.post(f"/api/topics/{quote(name)}/publish", json=message)).status_code == 403
                for private in (False, True, "true", "false"):
                    said = {"messages": [{"topic": name, "private": private, **message}]}
                    assert (await http.post("/api/broadcast", json=said)).status_code == 403
            for name in OPEN:
                assert "s3cret" not in (await http.get(f"/api/topics/{name}/history")).text
                assert "s3cret" not in (await http.get(f"/api/topics/{name}/poll")).text
                said = {"messages": [{"topic": name, "private": True, **message}]}
                assert (await http.post("/api/broadcast", json=said)).status_code == 403
                target = f"/api/broadcast/{name}/events/forged?private=true"
                assert (await http.post(target, json={})).status_code == 403
            both = {"messages": [{"topic": "den", **message}, {"topic": "den", "private": True, **message}]}
            assert (await http.post("/api/broadcast", json=both)).status_code == 403
            assert (await http.post("/api/broadcast", json={"messages": both["messages"][:1]})).status_code == 202

        assert [each.event for each in (await place.realtime.history("private:den")).missed] == ["told"]


async def test_members_reach_each_other_by_every_name_that_is_theirs() -> None:
    async with house() as place, member(place, "ada") as ada, member(place, "bob") as bob:
        async with on_phoenix(place, token("cat")) as cat:
            assert await cat.join("private:den")
            await ada.say("told")
            await until_heard(cat, "told")
            await cat.publish("private:den")
            await until_heard(bob, "forged")
        headers = {"authorization": f"Bearer {token('dan')}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}", headers=headers, timeout=5) as http:
            answer = await http.post("/api/broadcast/den/events/rest?private=true", json={})
            assert answer.status_code == 202
            await until_heard(bob, "rest")
            answer = await http.post("/api/broadcast/den/events/open", json={})
            assert answer.status_code == 202
        await ada.say("last")
        await until_heard(bob, "last")
        assert "open" not in bob.heard
        assert "private:" not in bob.heard, "its clients know the channel by their own name for it"
