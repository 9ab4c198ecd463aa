"""A node with topics and an open gateway, for tests of what serves topics over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import attrs
import h11
import httpx
import trio

import wsactors
from tests.gateway.harness import TestDirectory
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.server import Address
from wsactors.realtime.identity import Authenticator
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.wire.sse import EventReader, ServerEvent


@attrs.frozen
class Topics:
    """What is open."""

    node: wsactors.Node
    realtime: Realtime
    address: Address

    @property
    def url(self) -> str:
        return self.address.urls[0].rstrip("/")

    def client(self, **arguments: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30, **arguments)


@asynccontextmanager
async def open_topics(
    realtime: RealtimeOptions | None = None,
    options: GatewayOptions | None = None,
    authenticator: Authenticator | None = None,
    **more: Any,
) -> AsyncIterator[Topics]:
    """``more`` is what `start_realtime` takes beside these."""
    addresses: list[Address] = []
    async with wsactors.Node("topics") as node:
        service = await start_realtime(node, realtime or RealtimeOptions(), authenticator=authenticator, **more)
        await node.spawn(Gateway, options or GatewayOptions(port=0), None, addresses.append, TestDirectory())
        yield Topics(node, service, addresses[0])


class Events:
    """The events of one response, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.headers: dict[str, str] = {}
        self.status = 0
        self._http = h11.Connection(h11.CLIENT)
        self._reader = EventReader()
        self._waiting: list[ServerEvent] = []
        self._ended = False

    @property
    def last_id(self) -> str:
        return self._reader.last_id

    async def ask(self, host: str, target: str, headers: Mapping[str, str]) -> None:
        fields = [("host", host), *headers.items()]
        data = self._http.send(h11.Request(method="GET", target=target, headers=fields)) or b""
        await self.stream.send_all(data + (self._http.send(h11.EndOfMessage()) or b""))
        while not self.status:
            self._take(await self.receive())

    async def receive(self) -> bytes:
        """The next piece of the body, as it comes; ``b""`` at its end."""
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(await self.stream.receive_some())
                case h11.Response(status_code=status, headers=headers):
                    self.status = status
                    self.headers = {name.decode(): value.decode() for name, value in headers}
                    return b""
                case h11.Data(data=data):
                    return bytes(data)
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    self._ended = True
                    return b""

    async def next(self, kind: str | None = None) -> tuple[str, Any]:
        """The next event, or the next of that kind: its kind and data. Raises `EOFError` at the end."""
        while True:
            while not self._waiting:
                if self._ended:
                    raise EOFError
                self._take(await self.receive())
            event = self._waiting.pop(0)
            if kind in {None, event.kind}:
                return event.kind, json.loads(event.data)

    def _take(self, data: bytes) -> None:
        self._waiting += self._reader.feed(data)


@asynccontextmanager
async def listening(
    topics: Topics, topic: str, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
) -> AsyncIterator[Events]:
    """Read the events of a topic."""
    target = f"/api/topics/{topic}/events" + (f"?{urlencode(params)}" if params else "")
    async with await trio.open_tcp_stream("127.0.0.1", topics.address.port) as stream:
        events = Events(stream)
        await events.ask(f"127.0.0.1:{topics.address.port}", target, headers or {})
        assert events.status == 200
        yield events
