"""An endpoint on a real socket, with an application that the test looks into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from aioquic.quic import events

from tests.media.quic.pair import server_configuration
from wsactors.actors import Pid
from wsactors.media.quic.aioquic_backend import AioquicBackend
from wsactors.media.quic.connection import Connection
from wsactors.media.quic.endpoint import EndpointBinding, EndpointOptions, EndpointStatistics, QuicEndpoint
from wsactors.media.quic.hub import Hub
from wsactors.media.quic.transport import Backend
from wsactors.supervision import ChildSpec, DynamicSupervisor, Node, Supervisor


class Echo:
    """Says everything again; crashes, ends and answers when told to."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.handled: list[Any] = []
        self.ended: list[str] = []

    def event(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived(data=b"crash"):
                raise LookupError("as asked")
            case events.StreamDataReceived(data=b"crash later" | b"wait" | b"wait for ever" as data):
                self.connection.tell(data)
            case events.StreamDataReceived(data=data, stream_id=stream_id, end_stream=end) if stream_id % 4 == 0:
                self.connection.transport.send_stream_data(stream_id, data, end)
            case events.DatagramFrameReceived(data=data):
                self.connection.transport.send_datagram_ordinary(data)
        self.connection.flush()

    def progress(self) -> None:
        self.connection.stop_awaiting()

    async def handle(self, message: Any) -> None:
        self.handled.append(message)
        match message:
            case b"crash later":
                raise LookupError("as asked, later")
            case b"wait for ever":
                await trio.sleep_forever()

    def closed(self, reason: str) -> None:
        self.ended.append(reason)


@attrs.define
class Open:
    """An endpoint that is open."""

    node: Node
    binding: EndpointBinding
    echoes: list[Echo]
    endpoint: str = "endpoint"

    @property
    def port(self) -> int:
        assert self.binding.bound is not None
        return self.binding.bound

    @property
    def hub(self) -> Hub:
        assert self.binding.hub is not None
        return self.binding.hub

    async def statistics(self) -> EndpointStatistics:
        found: EndpointStatistics = await self.node.call(self.endpoint, "statistics", timeout=10)
        return found

    @property
    def pids(self) -> list[Pid]:
        return [each.connection.pid for each in self.echoes if each.connection.pid is not None]


@asynccontextmanager
async def open_endpoint(
    options: EndpointOptions | None = None,
    *,
    accept: Callable[[Connection], Any] | None = None,
    backend: Backend | None = None,
    **configuration: Any,
) -> AsyncIterator[Open]:
    """An endpoint under a supervisor, as a node has one."""
    echoes: list[Echo] = []

    def echo(connection: Connection) -> Echo:
        echoes.append(Echo(connection))
        return echoes[-1]

    made = server_configuration(**configuration)
    binding = EndpointBinding(
        options or EndpointOptions(),
        backend or AioquicBackend(),
        lambda: made,
        accept or echo,
    )
    made.reset_key = binding.reset_key
    async with Node("quic") as node:
        await node.spawn(
            Supervisor,
            "rest_for_one",
            [
                ChildSpec(
                    "connections", DynamicSupervisor, kwargs={"extra_args": (binding.current,)}, name="connections"
                ),
                ChildSpec("endpoint", QuicEndpoint, (binding, "connections"), name="endpoint"),
            ],
            5,
            10.0,
        )
        yield Open(node, binding, echoes)
