"""Every door of a node with keys and rules, tried by strangers, by the wrong person, and with tokens that must show nowhere."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

from tests.gateway.harness import TestDirectory, exchange, upgrade
from tests.realtime.tokens import SECRET, jwk, signed
from wsactors.actors import get_state
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.server import Address
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.realtime.channel import Channel
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire import native

RULES = (
    Rule(topics=("private:{sub}",), allow=("join", "publish", "presence_write")),
    Rule(topics=("board",), roles=("editor",), allow=("publish",)),
    Rule(topics=("board",), deny=("publish", "presence_read")),
)
TOPICS = RealtimeOptions(
    topics=(
        TopicOptions("private:*", private=True),
        TopicOptions("crash:*", channel="tests.gateway.test_doors:Crashing"),
        TopicOptions("*"),
    )
)


class Crashing(Channel):
    """Keeps what it gets, and crashes over it."""

    async def join(self, params: Any) -> Any:
        self.token_of_the_client = params
        return {}

    def handle_push(self, event: str, payload: Any) -> Any:
        raise RuntimeError(f"cannot use {payload}")


@attrs.frozen
class House:
    realtime: Realtime
    port: int

    @property
    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[WebSocketConnection]:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(30):
                ws = await connect_websocket_url(nursery, f"ws://127.0.0.1:{self.port}{path}")
            yield ws
            await ws.aclose()
            await ws._stream.aclose()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def house(*, anonymous: bool = False) -> AsyncIterator[House]:
    addresses: list[Address] = []
    keys = KeyedAuthenticator(AuthOptions(anonymous=anonymous, secret=SECRET, audience=("api",)))
    permission = PermissionOptions(policy=PolicyOptions(rules=RULES), bind_presence=True)
    async with Node("doors") as node:
        realtime = await start_realtime(
            node, TOPICS, authenticator=keys, permission=permission, allowed_packages=("wsactors", "tests")
        )
        await node.spawn(Gateway, GatewayOptions(port=0), None, addresses.append, TestDirectory())
        yield House(realtime, addresses[0].port)


def token(subject: str = "ada", **more: Any) -> str:
    return signed({"sub": subject, "role": "member", "aud": "api", "exp": time.time() + 60} | more)


def bad_tokens() -> dict[str, str]:
    now = time.time()
    return {
        "nothing": "",
        "rubbish": "rubbish",
        "expired": token(exp=now - 60),
        "eternal": signed({"sub": "ada", "aud": "api"}),
        "for others": token(aud="web"),
        "of another key": signed(
            {"sub": "ada", "aud": "api", "exp": now + 60}, "another secret, long enough to be taken"
        ),
        "unsigned": token().rpartition(".")[0] + ".",
        "none": signed({"sub": "ada", "aud": "api", "exp": now + 60}, header={"alg": "none"}),
        "own key": signed({"sub": "ada", "aud": "api", "exp": now + 60}, header={"jwk": jwk("RSA")}),
        "jku": signed({"sub": "ada", "aud": "api", "exp": now + 60}, header={"jku": "https://evil.example"}),
    }


async def told(ws: WebSocketConnection) -> Any:
    with trio.fail_after(30):
        return json.loads(await ws.get_message())


async def native_told(ws: WebSocketConnection) -> Any:
    with trio.fail_after(30):
        message = await ws.get_message()
    assert isinstance(message, bytes)
    return native.decode_server(message)


async def test_no_door_opens_to_a_token_that_is_wrong() -> None:
    async with house() as doors, doors.http as http:
        for name, wrong in bad_tokens().items():
            bearer = {"authorization": f"Bearer {wrong}"} if wrong else {}
            for method, path in (
                ("POST", "/api/topics/room/publish"),
                ("POST", "/api/publish"),
                ("POST", "/api/broadcast"),
                ("GET", "/api/topics/room/history"),
                ("GET", "/api/topics/room/presence"),
                ("GET", "/api/topics/room/poll"),
                ("GET", "/api/topics/room/events"),
            ):
                answer = await http.request(
                    method, path, headers=bearer, json={"event": "e"} if method == "POST" else None
                )
                assert answer.status_code == 401, (name, path, answer.text)
            for path in (
                f"/socket/websocket?vsn=2.0.0&token={wrong}",
                f"/socket/websocket?vsn=2.0.0&apikey={wrong}",
                f"/realtime/v1/websocket?apikey={wrong}",
            ):
                status = (await exchange(doors.port, upgrade(path))).split()[1]
                assert status in {b"401", b"403"}, (name, path)
        assert doors.realtime.seats == {}
        assert doors.realtime.topics() == []


async def test_the_right_person_only_gets_in_by_every_door() -> None:
    async with house() as doors, doors.http as http:
        ada, bob = ({"authorization": f"Bearer {token(name)}"} for name in ("ada", "bob"))
        said = {"event": "e", "payload": {}}
        assert (await http.post("/api/topics/private:ada/publish", headers=ada, json=said)).status_code == 200
        assert (await http.post("/api/topics/private:ada/publish", headers=bob, json=said)).status_code == 403
        batch = {"messages": [{"topic": "private:ada", "event": "e", "payload": {}}]}
        assert (await http.post("/api/broadcast", headers=bob, json=batch)).status_code == 403
        for what in ("history", "poll", "events", "presence"):
            assert (await http.get(f"/api/topics/private:ada/{what}", headers=bob)).status_code == 403, what
        assert (await http.get("/api/topics/private:ada/history", headers=ada)).status_code == 200
        # She may read her topic, but no rule lets anybody see who is there.
        assert (await http.get("/api/topics/private:ada/presence", headers=ada)).status_code == 403
        assert (await http.post("/api/topics/board/publish", headers=ada, json=said)).status_code == 403
        editor = {"authorization": f"Bearer {token('eve', role='editor')}"}
        assert (await http.post("/api/topics/board/publish", headers=editor, json=said)).status_code == 200

        for name, status in (("bob", "error"), ("ada", "ok")):
            async with doors.socket(f"/socket/websocket?vsn=2.0.0&token={token(name)}") as ws:
                await ws.send_message('["1","1","private:ada","phx_join",{}]')
                assert (await told(ws))[4]["status"] == status
            async with doors.socket(f"/realtime/v1/websocket?vsn=2.0.0&apikey={token(name)}") as ws:
                config = {"config": {"private": True}}
                await ws.send_message(json.dumps(["1", "1", "realtime:private:ada", "phx_join", config]))
                assert (await told(ws))[4]["status"] == status


async def test_what_a_token_has_opened_ends_when_it_opens_no_door_any_more() -> None:
    """Sooner, and a stock client that comes back with the same token would be let in and sent away in a tight loop."""
    async with house() as doors, doors.http as http:
        late = token(exp=time.time() - 7.0)  # over, but not by more than clocks may differ
        socket = f"/socket/websocket?vsn=2.0.0&token={late}"
        async with doors.socket(socket) as ws, trio.open_nursery() as nursery:
            await ws.send_message('["1","1","private:ada","phx_join",{}]')
            assert (await told(ws))[4]["status"] == "ok"

            @nursery.start_soon
            async def read_until_sent_away() -> None:
                events = await http.get("/api/topics/private:ada/events", params={"access_token": late})
                assert '"expired"' in events.text
                assert (
                    await http.get("/api/topics/private:ada/events", params={"access_token": late})
                ).status_code == 401

            with pytest.raises(ConnectionClosed) as caught, trio.fail_after(30):
                while True:
                    await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1008
        assert (await exchange(doors.port, upgrade(socket))).split()[1] == b"403"


async def test_a_native_client_s_token_lasts_as_long_as_it_opens_the_door() -> None:
    async with house() as doors:
        late = token(exp=time.time() - 7.0)  # over, but not by more than clocks may differ
        async with doors.socket("/ws") as ws:
            await ws.send_message(native.encode(native.Hello((2,), token=late)))
            welcome = await native_told(ws)
            assert isinstance(welcome, native.Welcome)
            assert welcome.expires is not None
            assert 0 < welcome.expires <= 3.0
            await ws.send_message(native.encode(native.JoinTopic(1, "private:ada")))
            assert isinstance(await native_told(ws), native.TopicJoined)
            assert isinstance(await native_told(ws), native.Expiring)
            ended = await native_told(ws)
            assert isinstance(ended, native.Error)
            assert ended.code == "expired"
        async with doors.socket("/ws") as ws:
            await ws.send_message(native.encode(native.Hello((2,), token=late)))
            refused = await native_told(ws)
            assert isinstance(refused, native.Error)
            assert refused.code == "expired"


async def test_a_supabase_channel_s_own_token_counts_and_cannot_become_another_s() -> None:
    async with house() as doors:
        project = token("", role="anon")
        async with doors.socket(f"/realtime/v1/websocket?vsn=2.0.0&apikey={project}") as ws:
            config = {
                "config": {"private": True, "presence": {"key": "bob", "enabled": True}},
                "access_token": token("ada"),
            }
            await ws.send_message(json.dumps(["1", "1", "realtime:private:ada", "phx_join", config]))
            assert (await told(ws))[4]["status"] == "ok"
            track = {"type": "presence", "event": "track", "payload": {"phx_ref": "mine"}}
            await ws.send_message(json.dumps(["1", "2", "realtime:private:ada", "presence", track]))
            assert (await told(ws))[4]["status"] == "ok"
            found = await doors.realtime.presence("private:ada")
            assert list(found) == ["ada"]  # not bob
            assert "mine" not in str(found)
            await ws.send_message(
                json.dumps(["1", "3", "realtime:private:ada", "access_token", {"access_token": token("bob")}])
            )
            while (message := await told(ws))[3] != "phx_close":
                assert message[3] in {"system", "presence_diff"}


async def test_a_token_is_in_no_log_no_report_no_state_and_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, shown = token(), ""
    async with house() as doors, doors.http as http:
        path = f"/socket/websocket?vsn=2.0.0&token={good}&password=hunter2hunter2"
        async with doors.socket(path) as ws:
            params = {"access_token": good, "password": "hunter2hunter2"}
            await ws.send_message(json.dumps(["1", "1", "crash:1", "phx_join", params]))
            await told(ws)
            (pid,) = doors.realtime.seats
            shown += f"{await get_state(pid)} {doors.realtime.seats} {doors.realtime.node.status(pid)}"
            await ws.send_message(json.dumps(["1", "2", "crash:1", "boom", params]))
            while (message := await told(ws))[3] != "phx_error":
                shown += str(message)
            shown += str(message)
        for target in (f"/api/topics/room/events?access_token={good}x", f"/api/topics/%01/history?apikey={good}"):
            answer = await http.get(target, headers={"authorization": f"Bearer {good}x"})
            shown += f"{answer.headers} {answer.text}"
    clients = ("trio-websocket", "httpx", "httpcore")  # which speak of themselves
    ours = [record for record in caplog.records if not record.name.startswith(clients)]
    assert any("actor.crashed" in record.getMessage() for record in ours)
    shown += "".join(f"{record.getMessage()} {vars(record)}" for record in ours)

    for secret in (good, *good.split("."), "hunter2hunter2"):
        assert secret not in shown
