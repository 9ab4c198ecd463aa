"""The lists of the admin API: what they say of connections, and how they are read page by page."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.gateway.engines import SocketIoClient
from tests.gateway.test_admin_site import BEARER, open_admin
from tests.gateway.topics import listening
from wsactors.client import connect, open_websocket


async def protocols(client: httpx.AsyncClient) -> dict[str, str]:
    """The user of the connections, by protocol."""
    listed = (await client.get("/admin/api/connections", headers=BEARER)).json()["connections"]
    return {each["protocol"]: each["subject"] for each in listed}


async def test_who_polls_shows_as_what_it_speaks_while_it_waits() -> None:
    async with open_admin() as (topics, client), topics.client() as web:
        with trio.fail_after(60):
            token = (await web.get("/socket/longpoll?vsn=2.0.0")).json()["token"]
            opened = (await web.get("/socket.io/?EIO=4&transport=polling")).text
            sid = opened.partition('"sid":"')[2].partition('"')[0]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(web.get, f"/socket/longpoll?vsn=2.0.0&token={token}")
                nursery.start_soon(web.get, f"/socket.io/?EIO=4&transport=polling&sid={sid}")
                while not {"phoenix", "socketio"} <= (found := await protocols(client)).keys():  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert found["phoenix"] == "ada"
                nursery.cancel_scope.cancel()
            while (await protocols(client)).keys() & {"phoenix", "socketio"}:  # noqa: ASYNC110
                await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "protocol"),
    [("/socket/websocket?vsn=2.0.0", "phoenix"), ("/realtime/v1/websocket?vsn=2.0.0&apikey=k", "supabase")],
)
async def test_who_has_joined_nothing_is_known_by_its_token(path: str, protocol: str) -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with open_websocket(f"ws://127.0.0.1:{topics.address.port}{path}"):
                while (found := await protocols(client)).get(protocol) != "ada":
                    assert set(found) <= {protocol, "http"}
                    await trio.sleep(0.01)


async def test_clients_of_socketio_are_known_by_what_they_say_in_a_namespace() -> None:
    async with open_admin() as (topics, client), topics.client() as web:
        url = f"ws://127.0.0.1:{topics.address.port}/socket.io/?EIO=4&transport=websocket"
        polling = "/socket.io/?EIO=4&transport=polling"
        with trio.fail_after(60):
            async with open_websocket(url) as ws:
                while "socketio" not in (found := await protocols(client)):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert found["socketio"] == ""
                await ws.send_message('40{"token":"t"}')
                while (await protocols(client))["socketio"] != "ada":  # noqa: ASYNC110
                    await trio.sleep(0.01)
            sid = (await web.get(polling)).text.split('"')[3]
            assert (await web.post(f"{polling}&sid={sid}", content='40{"token":"t"}')).text == "ok"
            assert (await web.get(f"{polling}&sid={sid}")).text.startswith("40{")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(web.get, f"{polling}&sid={sid}")
                while (await protocols(client)).get("socketio") != "ada":  # noqa: ASYNC110
                    await trio.sleep(0.01)
                # It moves to a WebSocket, and is known there, too.
                async with open_websocket(f"{url}&sid={sid}") as ws:
                    await ws.send_message("2probe")
                    assert await ws.get_message() == "3probe"
                    await ws.send_message("5")
                    await ws.send_message('420["subscribe","room:1"]')
                    while not str(await ws.get_message()).startswith("430"):
                        pass
                    listed = (await client.get("/admin/api/connections", headers=BEARER)).json()["connections"]
                    moved = [each for each in listed if each["protocol"] == "socketio"]
                    assert [each["subject"] for each in moved] == ["ada"]


async def test_connections_say_who_they_are_and_since_when() -> None:
    async with open_admin() as (topics, client), topics.client() as web:
        with trio.fail_after(60):
            async with connect(f"ws://127.0.0.1:{topics.address.port}/ws"), trio.open_nursery() as nursery:
                since = (await web.get("/api/topics/room:1/poll")).json()
                nursery.start_soon(web.get, f"/api/topics/room:1/poll?since={since['epoch']}:{since['offset']}")
                found: dict[str, Any] = {}
                while "poll" not in found:
                    listed = (await client.get("/admin/api/connections", headers=BEARER)).json()["connections"]
                    found = {each["protocol"]: each for each in listed}
                assert set(found) == {"native", "poll"}
                for each in found.values():
                    assert (each["address"], each["subject"]) == ("127.0.0.1", "ada")
                    assert 0 <= each["seconds"] < 60
                await topics.realtime.publish("room:1", "e", 1)
            listed = (await client.get("/admin/api/connections", headers=BEARER)).json()["connections"]
            assert "poll" not in {each["protocol"] for each in listed}


async def test_lists_are_read_page_by_page() -> None:
    async with open_admin() as (topics, client):
        with trio.fail_after(60):
            async with AsyncExitStack() as stack:
                for name in ("room:c", "room:a", "room:b"):
                    events = await stack.enter_async_context(listening(topics, name))
                    await events.next("joined")
                for kind in ("topics", "channels", "connections"):
                    got: list[Any] = []
                    page: dict[str, Any] = {"more": True}
                    while page["more"]:
                        last = {"after": got[-1] if kind == "topics" else got[-1]["id"]} if got else {}
                        query = {"limit": 1} | last
                        page = (await client.get(f"/admin/api/{kind}", headers=BEARER, params=query)).json()
                        assert len(page[kind]) == 1
                        got += page[kind]
                    whole = (await client.get(f"/admin/api/{kind}", headers=BEARER)).json()
                    assert len(got) == 3
                    assert not whole["more"]
                    assert [each if kind == "topics" else each["id"] for each in whole[kind]] == [
                        each if kind == "topics" else each["id"] for each in got
                    ]


async def test_a_kicked_socketio_client_does_not_come_back_to_what_it_had() -> None:
    async with open_admin() as (topics, client):
        url = f"ws://127.0.0.1:{topics.address.port}/socket.io/?EIO=4&transport=websocket"
        with trio.fail_after(60):
            async with open_websocket(url) as ws:
                kicked = SocketIoClient(ws)
                await kicked.receive()
                await kicked.connect("/")
                listed: list[Any] = []
                while not listed:
                    found = (await client.get("/admin/api/connections", headers=BEARER)).json()["connections"]
                    listed = [each["id"] for each in found if each["protocol"] == "socketio"]
                body = {"connection": listed[0], "reason": "enough"}
                assert (await client.post("/admin/api/kick", headers=BEARER, json=body)).json() == {"kicked": 1}
                with pytest.raises(ConnectionClosed):
                    await kicked.receive()
            async with open_websocket(url) as ws:
                again = SocketIoClient(ws)
                await again.receive()
                assert (await again.connect("/", {"pid": kicked.token}))["pid"] != kicked.token
