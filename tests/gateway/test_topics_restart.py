"""The topics of a node crash as a whole and are started again: whoever is connected comes back to them by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.gateway.engines import SOCKETIO, SocketIoClient
from tests.gateway.harness import TestDirectory, until
from wsactors.actors import Actor, Pid
from wsactors.client import Retry, connect, open_websocket
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.server import Address, Gateway
from wsactors.gateway.socketio_rooms import room_topic
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import RealtimeSupervisor
from wsactors.supervision import ChildSpec, Node, Supervisor


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Node, Address]]:
    opened: list[Address] = []
    async with Node("restart") as node:
        topics = ChildSpec("realtime", RealtimeSupervisor, name="realtime", type="supervisor")
        await node.spawn(Supervisor, "one_for_one", [topics], 1_000, 10.0)
        await node.spawn(Gateway, GatewayOptions(port=0, socketio=SOCKETIO), None, opened.append, TestDirectory())
        yield node, opened[0]


async def crash(node: Node) -> None:
    """Kill the topics, and wait until there are others."""
    before, supervisor = Realtime.of(node), node.whereis("realtime")
    assert isinstance(supervisor, Pid)
    node.exit(supervisor, "kill")
    await until(lambda: Realtime.of(node) is not before and None not in map(node.whereis, ("channels", "topics")))


async def test_native_clients_go_on_with_what_they_were_in() -> None:
    async with (
        serving() as (node, address),
        connect(f"ws://127.0.0.1:{address.port}/ws", retry=Retry(first=0.02, longest=0.1)) as client,
    ):
        room = await client.join_topic("room")
        await crash(node)
        await until(lambda: bool(Realtime.of(node).seats))
        await Realtime.of(node).publish("room", "chat", "still here")
        with trio.fail_after(30):
            assert (await anext(room)).payload == "still here"


async def test_phoenix_clients_lose_a_connection_that_leads_nowhere() -> None:
    async with serving() as (node, address):
        url = f"ws://127.0.0.1:{address.port}/socket/websocket?vsn=2.0.0"
        join = '["1","1","room","phx_join",{}]'
        async with open_websocket(url) as ws:
            await ws.send_message(join)
            assert "ok" in await ws.get_message()
            await crash(node)
            await ws.send_message(join)
            with trio.fail_after(30), pytest.raises(ConnectionClosed):
                while True:
                    await ws.get_message()
        async with open_websocket(url) as ws:
            await ws.send_message(join)
            assert "ok" in await ws.get_message()


async def test_long_polling_clients_begin_a_new_session() -> None:
    async with serving() as (node, address), httpx.AsyncClient(base_url=address.urls[0], timeout=30) as http:

        async def ask(method: str, token: str = "", body: str = "") -> Any:
            headers = {"x-phoenix-longpoll-token": token, "content-type": "application/x-ndjson"}
            path = "/socket/longpoll?vsn=2.0.0"
            return json.loads((await http.request(method, path, headers=headers, content=body)).text)

        token = (await ask("GET"))["token"]
        await crash(node)
        await ask("POST", token, '["1","1","room","phx_join",{}]')
        status, deadline = 0, trio.current_time() + 30
        while status != 410 and trio.current_time() < deadline:
            status = (await ask("POST", token, '[null,"2","phoenix","heartbeat",{}]'))["status"]
        assert status == 410
        assert (await ask("GET"))["token"] != token


async def test_clients_in_rooms_of_socketio_have_to_connect_anew_and_nobody_waits_in_silence() -> None:
    async with serving() as (node, address):
        url = f"ws://127.0.0.1:{address.port}/socket.io/?EIO=4&transport=websocket"
        for _ in range(2):
            async with open_websocket(url) as ws:
                client = SocketIoClient(ws)
                await client.receive()
                await client.connect("/rooms")
                await client.send('42/rooms,1["join","a"]')
                await client.receive()
                await Realtime.of(node).publish(room_topic("/rooms", "a"), "word", None)
                assert "word" in await client.receive()
                await crash(node)
                with trio.fail_after(30), pytest.raises(ConnectionClosed):
                    await ws.get_message()


class Listener(Actor):
    """Keeps what it is sent."""

    def init(self) -> None:
        self.heard: list[Any] = []

    def handle_info(self, message: Any) -> None:
        self.heard.append(message.payload)

    def handle_call(self, message: Any, caller: Any) -> Any:
        return tuple(self.heard)


async def test_actors_go_on_listening() -> None:
    async with serving() as (node, _):
        listener, gone = await node.spawn(Listener), await node.spawn(Listener)
        for pid in (listener, gone):
            await Realtime.of(node).subscribe("room", pid)
        await Realtime.of(node).publish("room", "chat", 1)
        await crash(node)
        await Realtime.of(node).publish("room", "chat", 2)
        node.exit(gone, "kill")
        with trio.fail_after(30):
            while await node.call(listener, "heard") != (1, 2):
                await trio.lowlevel.checkpoint()
        Realtime.of(node).unsubscribe("room", listener)
        await until(lambda: Realtime.of(node).relay.count("room") == 0)
