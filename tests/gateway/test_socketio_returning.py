"""Who a Socket.IO client is when it comes back, and that nothing stays of one that has been sent away."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from trio_websocket import ConnectionClosed

from tests.gateway.engines import INTEROP, SOCKETIO, Served, SocketIoClient, serving, socketio_client
from tests.gateway.harness import until
from tests.gateway.test_socketio_topics import ROOMS, Tokens, talker
from tests.realtime.test_partition_crash import BAD, plant
from wsactors.gateway.engines import Engines
from wsactors.gateway.port import Port
from wsactors.gateway.socketio import SocketIo
from wsactors.gateway.socketio_namespace import Namespace
from wsactors.gateway.socketio_rooms import room_topic
from wsactors.realtime.options import RealtimeOptions

ME = f"{__name__}:"


class Brief(Namespace):
    """Sends everybody away at once."""

    recovers = True

    async def connect(self, auth: Any) -> None:
        self.end()


def app_of(served: Served) -> SocketIo:
    port = Port.of(served.node)
    assert port is not None
    app = Engines.of(port).servers["/socket.io"].app
    assert isinstance(app, SocketIo)
    return app


async def test_nothing_is_kept_of_a_client_that_is_sent_away_as_it_comes() -> None:
    socketio = attrs.evolve(SOCKETIO, namespaces={**INTEROP, "/brief": f"{ME}Brief"})
    async with serving(socketio=socketio) as served:
        app = app_of(served)
        for _ in range(3):
            async with served.ws("/socket.io/") as ws:
                client = SocketIoClient(ws)
                await client.receive()
                await client.connect("/brief")
                assert await client.receive() == "41/brief,"
        await until(lambda: not served.sessions())
        assert (app._sockets["/brief"], app._by_token, len(served.realtime.places)) == ({}, {}, 0)


async def logged_in_and_away(served: Served) -> dict[str, str]:
    """A client that came as nobody, logged in and has lost its connection since: with what it may come back."""
    async with talker(served) as ann:
        assert (await ann.ask("token", "ann.1"))["status"] == "ok"
        await ann.ask("subscribe", "room:1", {"presence": False})
        await served.realtime.publish("room:1", "n", 1)
        offset = json.loads((await ann.client.receive()).removeprefix("42/topics,"))[-1]
    await until(lambda: not served.sessions())
    await served.realtime.publish("room:1", "n", 2)
    return {"pid": ann.client.token, "offset": offset}


async def came_back(served: Served, **auth: str) -> bool:
    """Whether whoever shows this gets what was missed."""
    async with served.ws("/socket.io/") as ws:
        client = SocketIoClient(ws)
        await client.receive()
        return bool((await client.connect("/topics", auth))["pid"] == auth["pid"])


async def test_who_has_logged_in_meanwhile_comes_back_as_that_and_as_nobody_else() -> None:
    async with serving(realtime=ROOMS, authenticator=Tokens()) as served:
        assert await came_back(served, **await logged_in_and_away(served), token="ann.2")
        for stranger in ({}, {"token": "bob.1"}):
            assert not await came_back(served, **await logged_in_and_away(served), **stranger)


async def test_a_kick_meets_who_has_logged_in_meanwhile_and_is_away() -> None:
    async with serving(realtime=ROOMS, authenticator=Tokens()) as served:
        away = await logged_in_and_away(served)
        served.realtime.kick("ann")
        assert not await came_back(served, **away)
        away = await logged_in_and_away(served)
        served.realtime.kick("ann")
        assert not await came_back(served, **away, token="ann.2")


async def heard_until_cut(client: SocketIoClient) -> list[int]:
    """The numbers of a room, until the connection ends."""
    numbers = []
    with pytest.raises(ConnectionClosed):
        while True:
            numbers.append(json.loads((await client.receive()).removeprefix("42/rooms,"))[1])
    return numbers


async def test_whoever_may_have_missed_something_in_a_room_has_to_connect_anew() -> None:
    topic = room_topic("/rooms", "a")
    async with serving(realtime=RealtimeOptions(relay_partitions=1)) as served:
        async with socketio_client(served, "/rooms") as early, socketio_client(served, "/rooms") as elsewhere:
            await early.send('42/rooms,1["join","a"]')
            await early.receive()
            plant(served.realtime, topic)
            for number in range(BAD[0] - 2, BAD[0] + 4):
                await served.realtime.publish(topic, "n", number)
            numbers = await heard_until_cut(early)
            assert numbers in ([38, 39], [38, 39, 40]), "nothing came after the gap"
            await served.realtime.publish(room_topic("/rooms", ""), "others go on", None)
            assert "others go on" in await elsewhere.receive()
        async with served.ws("/socket.io/") as ws:
            again = SocketIoClient(ws)
            await again.receive()
            assert (await again.connect("/rooms", {"pid": early.token}))["sid"] != early.sid
