"""A real node behind a wire that a test can cut: for tests of clients that come back."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from tests.gateway.harness import TestDirectory
from wsactors.gateway import Address, Gateway
from wsactors.gateway.options import DrainOptions, GatewayOptions, Limits
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node


class Tokens:
    """An authenticator of tests. A token is ``name`` or ``name:seconds``: how long it holds from now on."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        name, _, seconds = credentials.token.partition(":")
        if not name:
            return ANONYMOUS
        if name == "mallory":
            raise AuthRefused("signature", "Log in with a token of this node.")
        if seconds and float(seconds) <= 0:
            raise AuthRefused("expired", "Your token has expired.")
        return User(name, "member", expires=time.time() + float(seconds) if seconds else None)


class Sturdy(Channel):
    """Answers questions, and crashes when asked to."""

    def handle_push(self, event: str, payload: Any) -> Any:
        if event == "crash":
            raise RuntimeError("boom")
        return {"asked": payload, "by": self.user.subject}


TOPICS = RealtimeOptions(
    topics=(
        TopicOptions("short:*", history=2, presence_interval=0.02),
        TopicOptions("sturdy:*", channel=f"{__name__}:Sturdy", presence_interval=0.02),
        TopicOptions("room:*", history=5_000, presence_interval=0.02),
    )
)
LIMITS = Limits(message_bytes=1024 * 1024, input_rate=64 * 1024 * 1024)


@attrs.define
class Stage:
    """One node with topics and an open port."""

    node: Node
    realtime: Realtime
    directory: TestDirectory
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def stage(
    name: str = "stage",
    *,
    limits: Limits = LIMITS,
    drain: DrainOptions | None = None,
    directory: Any = None,
    permission: PermissionOptions | None = None,
) -> AsyncIterator[Stage]:
    """Open a node."""
    opened: list[Address] = []
    options = GatewayOptions(port=0, limits=limits, drain=drain or DrainOptions(seconds=0.5, reconnect_seconds=0.1))
    directory = directory or TestDirectory()
    async with Node(name) as node:
        realtime = await start_realtime(
            node,
            TOPICS,
            authenticator=Tokens(),
            allowed_packages=("wsactors", __name__.partition(".")[0]),
            permission=permission or PermissionOptions(),
        )
        await node.spawn(Gateway, options, None, opened.append, directory)
        yield Stage(node, realtime, directory, opened[0].port)


_RESET = struct.pack("ii", 1, 0)


class Wire:
    """A TCP proxy in front of a node. ``target`` may change; None: whoever connects is cut off at once."""

    def __init__(self, nursery: trio.Nursery, listener: trio.SocketListener, target: int | None) -> None:
        self.target = target
        self.accepted = 0
        self.port: int = listener.socket.getsockname()[1]
        self._nursery = nursery
        self._streams: set[trio.SocketStream] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def cut(self) -> None:
        """End all connections, both ways, without a word."""
        for stream in tuple(self._streams):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            stream.socket.close()
        self._streams.clear()

    async def handle(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        if self.target is None:
            await trio.aclose_forcefully(near)
            return
        far = await trio.open_tcp_stream("127.0.0.1", self.target)
        self._streams |= {near, far}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, near, far, nursery)
            nursery.start_soon(self._carry, far, near, nursery)
        for stream in (near, far):
            await trio.aclose_forcefully(stream)
            self._streams.discard(stream)

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream, nursery: trio.Nursery) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wire(target: int | None) -> AsyncIterator[Wire]:
    """Open one in front of the port ``target``."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        found = Wire(nursery, listener, target)
        nursery.start_soon(trio.serve_listeners, found.handle, [listener])
        yield found
        nursery.cancel_scope.cancel()
