"""Connections come and go by the hundred: nothing of them stays, not even for the garbage collector.

A node collects its oldest generation hardly ever, so a cycle that outlives its connection is as good as a leak.
"""

from __future__ import annotations

import gc
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing

from tests.gateway.harness import request, until, upgrade
from tests.gateway.topics import Topics, open_topics
from tests.gateway.ws_frames import BINARY, CLOSE, TEXT, frame
from wsactors.gateway import GatewayOptions
from wsactors.gateway.options import Limits
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.realtime.watch import Deadline
from wsactors.wire import native

CONNECTIONS = 60
AT_ONCE = 10
UNLIMITED = Limits(
    connections_per_address=1_000, connects_per_second=100_000.0, connects_per_second_per_address=100_000.0
)
RESET = struct.pack("ii", 1, 0)
GOODBYE = frame(CLOSE, b"\x03\xe8")


class Caller:
    """A client that knows just enough to come and go."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._heard = b""

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def hear(self, words: bytes) -> bytes:
        """Read until ``words`` have come, and forget everything up to their end."""
        while words not in self._heard:
            more = await self.stream.receive_some()
            assert more, f"expected {words!r}, got {self._heard[-500:]!r}"
            self._heard += more
        said, _, self._heard = self._heard.partition(words)
        return said

    async def end(self) -> None:
        while await self.stream.receive_some():
            pass


@asynccontextmanager
async def calling(topics: Topics, *, cut: bool) -> AsyncIterator[Caller]:
    stream = await trio.open_tcp_stream("127.0.0.1", topics.address.port)
    try:
        yield Caller(stream)
    finally:
        if cut:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await trio.aclose_forcefully(stream)


Visit = Callable[[Topics, int, bool], Awaitable[None]]


async def visit_native(topics: Topics, number: int, cut: bool) -> None:
    async with calling(topics, cut=cut) as caller:
        topic = f"room:{number % 3}"
        join = native.JoinTopic(1, topic, presence=True)
        hello = (native.Hello(native.VERSIONS), join, native.Track(topic, {"name": "x"}, ref=2))
        await caller.say(upgrade() + b"".join(frame(BINARY, native.encode(each)) for each in hello))
        await caller.hear(b"topic_joined")
        await caller.hear(b"reply")
        if not cut:
            await caller.say(frame(BINARY, native.encode(native.LeaveTopic(3, topic))))
            await caller.hear(b"topic_left")
            await caller.say(GOODBYE)
            await caller.end()


async def visit_phoenix(topics: Topics, number: int, cut: bool, path: str = "/socket/websocket?vsn=2.0.0") -> None:
    topic = f"room:{number % 3}" if "apikey" not in path else f"realtime:room:{number % 3}"
    async with calling(topics, cut=cut) as caller:
        join = json.dumps(["1", "1", topic, "phx_join", {"config": {"presence": {"key": ""}}}])
        await caller.say(upgrade(path) + frame(TEXT, join.encode()))
        await caller.hear(b'"status":"ok"')
        if number % 4 == 1:
            await caller.say(frame(TEXT, json.dumps(["1", "2", topic, "phx_leave", {}]).encode()))
            await caller.hear(b"phx_close")
        if not cut:
            await caller.say(GOODBYE)
            await caller.end()


async def visit_supabase(topics: Topics, number: int, cut: bool) -> None:
    await visit_phoenix(topics, number, cut, "/realtime/v1/websocket?apikey=key&vsn=2.0.0")


async def visit_socketio(topics: Topics, number: int, cut: bool) -> None:
    async with calling(topics, cut=cut) as caller:
        await caller.say(upgrade("/socket.io/?EIO=4&transport=websocket") + frame(TEXT, b"40"))
        await caller.hear(b"40{")
        await caller.say(frame(TEXT, b'420["subscribe","room:%d",{"presence":true}]' % (number % 3)))
        await caller.hear(b"430[")
        if not cut:
            await caller.say(frame(TEXT, b"41"))
            await caller.say(GOODBYE)
            await caller.end()


async def visit_polling(topics: Topics, number: int, cut: bool) -> None:
    path = "/socket.io/?EIO=4&transport=polling"
    async with calling(topics, cut=False) as caller:
        await caller.say(request(path))
        await caller.hear(b'"sid":"')
        sid = (await caller.hear(b'"')).decode()
        for body in ("40", "1"):
            said = request(f"{path}&sid={sid}", method="POST", headers=f"Content-Length: {len(body)}\r\n")
            await caller.say(said + body.encode())
            await caller.hear(b"ok")
        if not cut:
            await caller.say(request("/health", headers="Connection: close\r\n"))
            await caller.end()


async def visit_events(topics: Topics, number: int, cut: bool) -> None:
    async with calling(topics, cut=cut) as caller:
        await caller.say(request(f"/api/topics/room:{number % 3}/events"))
        await caller.hear(b"200")
        await trio.testing.wait_all_tasks_blocked()


async def visit_http(topics: Topics, number: int, cut: bool) -> None:
    async with calling(topics, cut=cut) as caller:
        await caller.say(request("/health", headers="" if cut else "Connection: close\r\n"))
        await caller.hear(b"200")
        if not cut:
            await caller.end()


VISITS: dict[str, Visit] = {
    "native": visit_native,
    "phoenix": visit_phoenix,
    "supabase": visit_supabase,
    "socketio": visit_socketio,
    "polling": visit_polling,
    "events": visit_events,
    "http": visit_http,
}


async def churn(topics: Topics, visit: Visit) -> None:
    """Have them all come and go, and wait until the node has seen the last of them."""
    numbers = iter(range(CONNECTIONS))

    async def visitor() -> None:
        for number in numbers:
            await visit(topics, number, number % 2 == 0)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(visitor)


def kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def census() -> Counter[str]:
    """What is alive of our own, by kind."""
    return Counter(name for thing in gc.get_objects() if (name := kind(thing)).startswith("wsactors."))


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def garbage() -> Counter[str]:
    """What only the garbage collector could free, by kind; it is freed."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(map(kind, gc.garbage))
    gc.garbage.clear()
    return found


async def forgotten(topics: Topics, actors: int) -> None:
    """Wait until nobody is there any more but the ``actors``, and nothing is kept for those who might come back."""
    await until(lambda: len(topics.node.sched.processes) <= actors, seconds=60)
    topics.realtime.places.expire(trio.current_time() + 1_000)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("protocol", VISITS)
async def test_nothing_stays_of_connections_that_have_ended(protocol: str) -> None:
    # Those who do not come back to a Socket.IO namespace are waited for by an actor.
    options = GatewayOptions(port=0, limits=UNLIMITED, socketio=SocketIoOptions(recovery_seconds=0.2))
    async with open_topics(options=options) as topics:
        actors = len(topics.node.sched.processes) + 3
        await churn(topics, VISITS[protocol])
        await forgotten(topics, actors)
        with without_collector():
            before = census()
            await churn(topics, VISITS[protocol])
            await forgotten(topics, actors)
            left, after = garbage(), census()
        assert left == {}
        after[f"{Deadline.__module__}.{Deadline.__qualname__}"] = (
            0  # those that were cancelled are swept away now and then
        )
        more = {name: count for name, count in (after - before).items() if count >= CONNECTIONS / 10}
        assert more == {}, "of which there is one for every so many connections"
        assert len(topics.realtime.places) == 0
