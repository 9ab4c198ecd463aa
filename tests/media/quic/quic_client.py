"""A QUIC client on Trio around aioquic's connection, for tests that talk to a real endpoint."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import H3Event
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

SECONDS = 30.0


def configuration(alpn: str = "wsactors", **options: Any) -> QuicConfiguration:
    """Of a client that believes every certificate."""
    return QuicConfiguration(
        is_client=True, alpn_protocols=[alpn], max_datagram_frame_size=65_536, verify_mode=ssl.CERT_NONE, **options
    )


class QuicClient:
    """One connection, its socket, and everything that has come."""

    def __init__(self, port: int, quic: QuicConnection) -> None:
        self.port = port
        self.quic = quic
        self.h3: H3Connection | None = None
        self.seen: list[events.QuicEvent | H3Event] = []
        self.sent = 0
        self.deaf = False
        """Whether what comes is thrown away."""
        self.nursery: trio.Nursery
        self._news = trio.Condition()
        self._wake = trio.Event()
        self.sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        self.left: list[trio.socket.SocketType] = []

    async def run(self, *, reads: bool = True) -> None:
        await self.sock.bind(("127.0.0.1", 0))
        self.quic.connect(("127.0.0.1", self.port), time.monotonic())
        if reads:
            self.nursery.start_soon(self.read)
            self.nursery.start_soon(self._tick)
        await self.flush()

    async def flush(self) -> None:
        """Send what there is."""
        for data, address in self.quic.datagrams_to_send(time.monotonic()):
            await self.raw(data, address)
        self._wake.set()

    async def raw(self, data: bytes, address: Any = None) -> None:
        self.sent += 1
        await self.sock.sendto(data, address or ("127.0.0.1", self.port))

    async def read(self) -> None:
        sock = self.sock
        while True:
            data, address = await sock.recvfrom(65_536)
            if self.deaf:
                continue
            self.quic.receive_datagram(data, address, time.monotonic())
            await self._after()

    async def move(self) -> None:
        """Go on from another port, as behind a router that has forgotten us."""
        self.left.append(self.sock)
        self.sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        await self.sock.bind(("127.0.0.1", 0))
        self.nursery.start_soon(self.read)

    async def _tick(self) -> None:
        while True:
            due = self.quic.get_timer()
            self._wake = trio.Event()
            with trio.move_on_after(10 if due is None else max(0.0, due - time.monotonic())):
                await self._wake.wait()
                continue
            if due is not None:
                self.quic.handle_timer(time.monotonic())
                await self._after()

    async def _after(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.seen.append(event)
            if self.h3 is not None:
                self.seen += self.h3.handle_event(event)
        async with self._news:
            self._news.notify_all()
        await self.flush()

    async def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until ``condition`` is true; its value."""
        with trio.fail_after(SECONDS):
            async with self._news:
                while not (found := condition()):
                    await self._news.wait()
                return found

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.seen if type(event) is kind]

    async def wait_for(self, kind: type[Any], count: int = 1) -> Any:
        """The ``count``-th event of that kind."""
        await self.wait(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def stream(self, stream_id: int) -> bytes:
        """What has come on a stream so far."""
        return b"".join(each.data for each in self.of(events.StreamDataReceived) if each.stream_id == stream_id)

    async def send(self, data: bytes, stream_id: int = 0, *, end: bool = False) -> None:
        self.quic.send_stream_data(stream_id, data, end)
        await self.flush()

    async def datagram(self, data: bytes) -> None:
        self.quic.send_datagram_frame(data)
        await self.flush()

    async def close(self, code: int = 0, reason: str = "") -> None:
        self.quic.close(code, reason_phrase=reason)
        await self.flush()


@asynccontextmanager
async def open_quic(
    port: int,
    alpn: str = "wsactors",
    *,
    handshake: bool = True,
    reads: bool = True,
    quic: QuicConnection | None = None,
    **options: Any,
) -> AsyncIterator[QuicClient]:
    """A connection to ``port``, its handshake done. Without ``reads`` it says hello, and hears nothing."""
    client = QuicClient(port, quic or QuicConnection(configuration=configuration(alpn, **options)))
    try:
        async with trio.open_nursery() as client.nursery:
            await client.run(reads=reads)
            if handshake and reads:
                await client.wait_for(events.HandshakeCompleted)
            yield client
            await client.close()
            client.nursery.cancel_scope.cancel()
    finally:
        for sock in (client.sock, *client.left):
            sock.close()
