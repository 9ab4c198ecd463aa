"""A node with Engine.IO and Socket.IO on a real port, and clients of both made of bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.gateway.harness import TestDirectory, until
from wsactors.client import Disconnected, open_websocket
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.engineio_session import EngineSession
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.server import Address, Gateway
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.realtime.identity import Authenticator
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

INTEROP = {
    "/": "wsactors.gateway.socketio_interop:Main",
    "/custom": "wsactors.gateway.socketio_interop:Custom",
    "/rooms": "wsactors.gateway.socketio_interop:Rooms",
    "/topics": "wsactors.gateway.socketio_topics:Topics",
}
ENGINE = EngineOptions(ping_interval=0.3, ping_timeout=0.2, echo=True)
PATIENT = EngineOptions(echo=True)
SOCKETIO = SocketIoOptions(namespaces=INTEROP, allowed_packages=("wsactors", "tests"))


@attrs.frozen
class Served:
    """A node that serves."""

    node: Node
    port: int
    realtime: Realtime
    http: httpx.AsyncClient

    def url(self, path: str = "/engine.io/", **query: str | int) -> str:
        fields = {"EIO": 4, "transport": "polling", **query}
        return f"{path}?" + "&".join(f"{key}={value}" for key, value in fields.items() if value != "")

    async def get(self, path: str = "/engine.io/", **query: str | int) -> httpx.Response:
        return await self.http.get(self.url(path, **query))

    async def post(self, content: bytes | str, path: str = "/engine.io/", **query: str | int) -> httpx.Response:
        return await self.http.post(self.url(path, **query), content=content)

    async def sid(self, path: str = "/engine.io/") -> str:
        response = await self.get(path)
        return str(json.loads(response.text[1:])["sid"])

    @asynccontextmanager
    async def ws(self, path: str = "/engine.io/", **query: str | int) -> AsyncIterator[WebSocketConnection]:
        url = f"ws://127.0.0.1:{self.port}" + self.url(path, **{"transport": "websocket", **query})
        async with open_websocket(url, max_message_size=8_000_000) as connection:
            yield connection

    def sessions(self) -> list[EngineSession]:
        """Those that live."""
        processes = self.node.sched.processes.values()
        return [process.actor for process in processes if process.kind.cls is EngineSession]

    async def wait_polled(self) -> None:
        """Wait until somebody's GET is held."""
        await until(lambda: any(session._core._poll is not None for session in self.sessions()))

    async def is_refused(self, path: str = "/engine.io/", **query: str | int) -> bool:
        """Whether a WebSocket is refused, or closed at once."""
        try:
            async with self.ws(path, **query) as ws:
                await ws.get_message()
        except (Disconnected, ConnectionClosed):
            return True
        return False


@asynccontextmanager
async def serving(
    engine: EngineOptions = PATIENT,
    socketio: SocketIoOptions = SOCKETIO,
    *,
    realtime: RealtimeOptions = RealtimeOptions(),  # noqa: B008 - frozen
    authenticator: Authenticator | None = None,
    permission: PermissionOptions = PermissionOptions(),  # noqa: B008 - frozen
    **gateway: Any,
) -> AsyncIterator[Served]:
    opened: list[Address] = []
    async with Node("engines") as node:
        topics = await start_realtime(
            node,
            realtime,
            authenticator=authenticator,
            permission=permission,
            allowed_packages=("wsactors", "tests"),
        )
        options = GatewayOptions(port=0, engineio=engine, socketio=socketio, **gateway)
        await node.spawn(Gateway, options, None, opened.append, TestDirectory())
        base = f"http://127.0.0.1:{opened[0].port}"
        async with httpx.AsyncClient(base_url=base, timeout=30, verify=False) as http:
            yield Served(node, opened[0].port, topics, http)


class SocketIoClient:
    """A Socket.IO client on a WebSocket, as thin as can be."""

    def __init__(self, ws: WebSocketConnection) -> None:
        self.ws = ws
        self.sid = self.token = ""

    async def connect(self, namespace: str = "/", auth: Any = None) -> Any:
        """Enter ``namespace``: what was answered."""
        name = "" if namespace == "/" else namespace + ","
        await self.ws.send_message(f"40{name}" + ("" if auth is None else json.dumps(auth)))
        answer = await self.receive()
        assert answer[:2] in {"40", "44"}, answer
        assert answer[2 : 2 + len(name)] == name
        said = json.loads(answer[2 + len(name) :])
        self.sid, self.token = said.get("sid", ""), said.get("pid", "")
        return said

    async def receive(self) -> Any:
        """The next message that is no ping."""
        while True:
            with trio.fail_after(30):
                message = await self.ws.get_message()
            if message != "2":
                return message
            await self.ws.send_message("3")

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.ws.send_message(message)


@asynccontextmanager
async def socketio_client(served: Served, namespace: str = "/", auth: Any = None) -> AsyncIterator[SocketIoClient]:
    async with served.ws("/socket.io/") as ws:
        client = SocketIoClient(ws)
        assert (await client.receive()).startswith("0{")
        await client.connect(namespace, auth)
        yield client
