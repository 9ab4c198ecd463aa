"""One client with many connections, by every protocol: its address, its topic and its tokens are counted together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock
from trio_websocket import WebSocketConnection

import wsactors
from tests.gateway.conversations import OPTIONS, Names, SupabaseTalker, realtime_node
from tests.gateway.engines import Served, SocketIoClient, serving, socketio_client
from tests.gateway.harness import TestDirectory
from wsactors.client import open_websocket
from wsactors.gateway import Gateway
from wsactors.gateway.options import GatewayOptions, RequestRates
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.shared_limits import SharedLimitOptions
from wsactors.realtime.start import start_realtime
from wsactors.wire import native

PROXY = ("127.0.0.1",)
MINE, ALSO_MINE, ANOTHER_S = "2001:db8::1", "2001:db8::2:2", "2001:db8:0:1::1"
TOO_MANY = "Your address has 2 channels"


def channels(count: int) -> PermissionOptions:
    return PermissionOptions(shared=SharedLimitOptions(address_channels=count))


@asynccontextmanager
async def socket(served: Served, path: str, address: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket of a client at ``address``, behind a proxy."""
    headers = [(b"x-forwarded-for", address.encode())]
    async with open_websocket(f"ws://127.0.0.1:{served.port}{path}", headers=headers) as ws:
        yield ws


async def told(ws: WebSocketConnection) -> Any:
    with trio.fail_after(30):
        message = await ws.get_message()
    return native.decode_server(message) if isinstance(message, bytes) else json.loads(message)


async def by_native(served: Served, address: str) -> str:
    async with socket(served, "/ws", address) as ws:
        await ws.send_message(native.encode(native.Hello((2,))))
        assert isinstance(await told(ws), native.Welcome)
        await ws.send_message(native.encode(native.JoinTopic(1, "room")))
        answer = await told(ws)
        return f"{answer.code}: {answer.message}" if isinstance(answer, native.Error) else "ok"


async def by_phoenix(served: Served, address: str) -> str:
    async with socket(served, "/socket/websocket?vsn=2.0.0", address) as ws:
        await ws.send_message('["1","1","room","phx_join",{}]')
        answer = (await told(ws))[4]
        return "{reason}: {message}".format(**answer["response"]) if answer["status"] == "error" else "ok"


async def by_supabase(served: Served, address: str) -> str:
    async with socket(served, "/realtime/v1/websocket?vsn=2.0.0&apikey=x", address) as ws:
        await ws.send_message('["1","1","realtime:room","phx_join",{}]')
        answer = (await told(ws))[4]
        return "{reason}: {message}".format(**answer["response"]) if answer["status"] == "error" else "ok"


async def by_longpoll(served: Served, address: str) -> str:
    path, mine = "/socket/longpoll?vsn=2.0.0", {"x-forwarded-for": address}
    token = (await served.http.get(path, headers=mine)).json()["token"]
    mine["x-phoenix-longpoll-token"] = token
    lines = '["1","1","room","phx_join",{}]'
    await served.http.post(path, headers=mine | {"content-type": "application/x-ndjson"}, content=lines)
    (first, *_) = (await served.http.get(path, headers=mine)).json()["messages"]
    answer = json.loads(first)[4]
    return "{reason}: {message}".format(**answer["response"]) if answer["status"] == "error" else "ok"


async def by_socketio(served: Served, address: str) -> str:
    async with socket(served, "/socket.io/?EIO=4&transport=websocket", address) as ws:
        client = SocketIoClient(ws)
        assert (await client.receive()).startswith("0{")
        await client.connect("/topics")
        await client.send('42/topics,1["subscribe","room"]')
        answer = json.loads((await client.receive()).removeprefix("43/topics,1"))[0]
        return f"{answer['code']}: {answer['message']}" if answer["status"] == "error" else "ok"


async def by_events(served: Served, address: str) -> str:
    async with served.http.stream("GET", "/api/topics/room/events", headers={"x-forwarded-for": address}) as stream:
        if stream.status_code == 200:
            return "ok"
        error = json.loads(await stream.aread())["error"]
        return f"{error['code']}: {error['message']}"


async def by_poll(served: Served, address: str) -> str:
    answer = await served.http.get("/api/topics/room/poll", headers={"x-forwarded-for": address})
    error = answer.json().get("error")
    return "ok" if error is None else f"{error['code']}: {error['message']}"


DOORS = {
    "too_many": (by_native, by_socketio, by_events, by_poll),
    "too many channels joined": (by_phoenix, by_longpoll),
    "ChannelRateLimitReached: Too many channels": (by_supabase,),
}


async def test_one_address_has_so_many_channels_by_whatever_protocol() -> None:
    async with serving(permission=channels(2), trusted_proxies=PROXY) as served, AsyncExitStack() as stack:
        for number in range(2):
            ws = await stack.enter_async_context(socket(served, "/socket/websocket?vsn=2.0.0", MINE))
            await ws.send_message(f'["1","1","room{number}","phx_join",{{}}]')
            assert (await told(ws))[4]["status"] == "ok"
        doors = [(code, door) for code, found in DOORS.items() for door in found]
        for number, (code, door) in enumerate(doors):
            assert (await door(served, ALSO_MINE)).startswith(f"{code}: {TOO_MANY}"), door
            assert await door(served, f"192.0.2.{number}") == "ok", door


@pytest.mark.parametrize("trusted", [False, True])
async def test_behind_a_unix_socket_is_one_client_only_if_a_proxy_says_who(trusted: bool, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    options = GatewayOptions(port=0, unix_socket=path, trusted_proxies=("unix",) if trusted else ())
    async with wsactors.Node("unix") as node, AsyncExitStack() as stack:
        await start_realtime(node, permission=channels(2))
        await node.spawn(Gateway, options, None, None, TestDirectory())
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=10)
        )
        found = []
        for address in (MINE, ALSO_MINE, MINE, ANOTHER_S):
            asked = client.stream("GET", "/api/topics/room/events", headers={"x-forwarded-for": address})
            found.append((await stack.enter_async_context(asked)).status_code)
        assert found == ([200, 200, 503, 200] if trusted else [200] * 4)


async def test_a_crowd_that_publishes_by_rest_is_told_to_wait() -> None:
    permission = PermissionOptions(shared=SharedLimitOptions(topic_publications=Rate(0.01, 2)))
    async with serving(permission=permission, trusted_proxies=PROXY) as served:
        said = {"event": "chat", "payload": {}}
        found = []
        for number in range(8):  # each from an address of its own
            mine = {"x-forwarded-for": f"192.0.2.{number}"}
            found.append(await served.http.post("/api/topics/room/publish", json=said, headers=mine))
        taken = [each.status_code for each in found].index(429)
        assert 4 <= taken <= 5  # it takes some time, in which a little comes back
        assert found[-1].json()["error"]["message"].startswith("Too much is published on this topic")
        assert found[-1].headers["retry-after"]
        batch = {"messages": [{"topic": "other", **said}, {"topic": "room", **said}]}
        refused = await served.http.post("/api/broadcast", json=batch)
        assert refused.status_code == 429
        assert (await served.realtime.history("other")).missed == (), "all of it, or nothing"
        both = (await served.http.post("/api/publish", json=batch)).json()["results"]
        assert [each.get("error", {}).get("code") for each in both] == [None, "rate"]
        await served.realtime.publish("room", "chat", "an actor's word")


async def test_who_begins_to_poll_again_and_again_is_told_to_wait() -> None:
    few = RequestRates(requests=0.001, requests_burst=3)
    async with serving(permission=channels(1_000), authenticator=Names(), trusted_proxies=PROXY, rates=few) as served:

        async def answers(path: str, address: str) -> list[tuple[int, Any]]:
            mine = {"x-forwarded-for": address}
            found = [await served.http.get(path, headers=mine) for _ in range(5)]
            return [(each.status_code, each.text) for each in found]

        longpoll = [json.loads(text)["status"] for _, text in await answers("/socket/longpoll", MINE)]
        assert longpoll == [410] * 3 + [500] * 2
        assert (
            await served.http.get("/api/topics/a/history", headers={"x-forwarded-for": ALSO_MINE})
        ).status_code == 429
        sessions = [status for status, _ in await answers("/socket.io/?EIO=4&transport=polling", ANOTHER_S)]
        assert sessions == [200] * 3 + [503] * 2
        assert (
            await served.http.get("/api/topics/a/history", headers={"x-forwarded-for": "192.0.2.9"})
        ).status_code != 429


SHOWN = PermissionOptions(limits=LimitOptions(tokens=Rate(0.01, 3)))


async def test_tokens_without_end_are_not_looked_at_and_the_channel_goes_on(autojump_clock: MockClock) -> None:
    topic = "realtime:room:1"
    async with realtime_node(OPTIONS, permission=SHOWN) as realtime:
        ada = await SupabaseTalker.of(realtime)
        assert (await ada.enter("room:1", token="ada"))[0][4]["status"] == "ok"
        for number in range(5):
            assert await ada.say(topic, "access_token", {"access_token": f"brief:{number + 30}"}) == []
        for number in range(20):
            ((_, _, _, event, said),) = await ada.say(topic, "access_token", {"access_token": f"brief:{number + 90}"})
            assert (event, said["status"]) == ("system", "error")
            assert said["message"].startswith("You show too many tokens")
        bob = await SupabaseTalker.of(realtime)
        assert (await bob.enter("room:1", token="bob"))[0][4]["status"] == "ok"
        await ada.say(topic, "broadcast", {"event": "hi", "payload": {}})
        assert b"hi" in bob.got[-1]
        (*_, refused) = await ada.enter("room:2", token="ada")
        assert refused[4]["response"]["reason"].startswith("ClientJoinRateLimitReached")
        assert [code for code, _ in ada.closed] == [1013]


async def test_native_and_socketio_clients_show_so_many_tokens() -> None:
    async with serving(permission=SHOWN, authenticator=Names()) as served:
        async with socket(served, "/ws", MINE) as ws:
            await ws.send_message(native.encode(native.Hello((2,), token="ada")))
            assert isinstance(await told(ws), native.Welcome)
            answers: list[Any] = []
            for number in range(1, 10):
                await ws.send_message(native.encode(native.Authenticate(number, "ada")))
                answers.append(await told(ws))
            assert {type(each) for each in answers[:6]} == {native.Authenticated}
            assert (answers[-1].code, answers[-1].ref) == ("rate", 9)
            await ws.send_message(native.encode(native.JoinTopic(10, "room")))
            assert isinstance(await told(ws), native.TopicJoined)
        async with socketio_client(served, "/topics", {"token": "ada"}) as client:
            codes = []
            for _ in range(9):
                await client.send('42/topics,1["token","ada"]')
                codes.append(json.loads((await client.receive()).removeprefix("43/topics,1"))[0].get("code"))
            assert codes[:6] == [None] * 6
            assert codes[-1] == "rate"


async def test_whoever_enters_socketio_namespaces_again_and_again_shows_a_token_each_time() -> None:
    async with (
        serving(permission=SHOWN, authenticator=Names()) as served,
        socketio_client(served, "/topics", {"token": "ada"}) as client,
    ):
        answers: list[Any] = [{"sid": client.sid}]
        while len(answers) < 10:
            if "sid" in answers[-1]:
                await client.send("41/topics,")
            answers.append(await client.connect("/topics", {"token": "ada"}))
        assert all("sid" in each for each in answers[:7])
        assert answers[-1]["data"] == {"code": "rate"}
        assert answers[-1]["message"].startswith("You show too many tokens")
        assert "sid" in await client.connect("/rooms"), "who shows none is not held up"
