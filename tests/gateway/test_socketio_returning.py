"""Who a Socket.IO client is when it comes back, and that nothing stays of one that has been sent away."""

from __future__ import annotations

import json
from typing import Any

import attrs

from tests.gateway.engines import INTEROP, SOCKETIO, Served, SocketIoClient, serving
from tests.gateway.harness import until
from tests.gateway.test_socketio_topics import ROOMS, Tokens, talker
from wsactors.gateway.engines import Engines
from wsactors.gateway.port import Port
from wsactors.gateway.socketio import SocketIo
from wsactors.gateway.socketio_namespace import Namespace

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
