"""A line against servers that do what the test says, over real sockets."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.lowlevel
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from tests.gateway.harness import until
from wsactors.gateway.options import TlsOptions
from wsactors.gateway.tls import server_context
from wsactors.loadtest.frames import client_frame
from wsactors.loadtest.line import MAX_UNSENT, Line
from wsactors.loadtest.poller import Poller
from wsactors.loadtest.target import Target

Behave = Callable[[trio.abc.Stream], Awaitable[None]]


class Ear:
    """Writes down what happens to a line."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.is_open = trio.Event()
        self.came = trio.Event()
        self.over = trio.Event()
        self.reason = ""

    def opened(self) -> None:
        self.is_open.set()

    def take(self, opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        self.messages.append(bytes(data[start:end]))
        self.came.set()
        return True

    def ended(self, reason: str) -> None:
        self.reason = reason
        self.over.set()


@asynccontextmanager
async def line_to(behave: Behave, *, tls: bool = False) -> AsyncIterator[tuple[Line, Ear]]:
    """A line to a server that behaves like that, and who hears it."""
    serving = server_context(TlsOptions(), ["localhost"], None) if tls else None
    client = None
    if tls:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, serving, server_side=True) if serving else stream as door:
            await behave(door)

    poller, ear = Poller(), Ear()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        address = listeners[0].socket.getsockname()
        target = Target("localhost", address[1], tls, trio.socket.AF_INET, address, True)
        nursery.start_soon(poller.run)
        with trio.fail_after(30):
            line = Line(poller, target, client, "/ws?x=1", ear)
            yield line, ear
        line.cut()
        nursery.cancel_scope.cancel()
    assert len(poller) == 0


async def head_of(stream: trio.abc.Stream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return data


def answer_to(head: bytes) -> bytes:
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split(b": ")[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return b"HTTP/1.1 101 ok\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def speaking(*words: bytes) -> Behave:
    """A server that shakes hands, says that, and waits for the client to go."""

    async def behave(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer_to(await head_of(stream)) + b"".join(words))
        while await stream.receive_some():
            pass

    return behave


@pytest.mark.parametrize("tls", [False, True])
async def test_it_talks_with_a_strict_server(tls: bool) -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        server, whole = WSConnection(ConnectionType.SERVER), b""
        while server.state is not ConnectionState.CLOSED:
            server.receive_data(bytes(await stream.receive_some()) or None)
            for event in server.events():
                match event:
                    case Request(target=target):
                        assert target == "/ws?x=1"
                        await stream.send_all(server.send(AcceptConnection()) + server.send(Ping(b"are you there")))
                    case Pong(payload=payload):
                        await stream.send_all(server.send(TextMessage(bytes(payload).decode())))
                    case BytesMessage(data=data, message_finished=finished):
                        whole += bytes(data)
                        if finished:
                            goodbye = CloseConnection(code=1012, reason="come\x1b[2J back")
                            await stream.send_all(server.send(BytesMessage(whole * 2)) + server.send(goodbye))
                    case CloseConnection():
                        return

    async with line_to(behave, tls=tls) as (line, ear):
        await ear.is_open.wait()
        assert line.send(client_frame(b"x" * 100_000))
        await ear.over.wait()

    assert ear.messages == [b"are you there", b"x" * 200_000]
    assert ear.reason == "closed: 1012 come\x1b[2J back"  # as it came; those who show it make it visible


async def test_the_first_messages_may_come_with_the_handshake() -> None:
    async with line_to(speaking(b"\x82\x02hi", b"\x82\x05there")) as (_, ear):
        await ear.is_open.wait()
        await until(lambda: len(ear.messages) == 2)

    assert ear.messages == [b"hi", b"there"]


async def test_the_handshake_may_come_in_pieces() -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        for letter in answer_to(await head_of(stream)) + b"\x82\x01x":
            await stream.send_all(bytes((letter,)))
            await trio.lowlevel.checkpoint()
        await trio.sleep_forever()

    async with line_to(behave) as (_, ear):
        await ear.came.wait()


async def answer(data: bytes) -> str:
    """Why the line ends when the server answers the handshake so."""

    async def behave(stream: trio.abc.Stream) -> None:
        await head_of(stream)
        await stream.send_all(data)

    async with line_to(behave) as (_, ear):
        await ear.over.wait()
        assert not ear.is_open.is_set()
    return ear.reason


async def test_a_refusal_is_told() -> None:
    assert await answer(b"HTTP/1.1 403 Forbidden\r\n\r\n") == "refused: 403 Forbidden"
    assert "does not fit" in await answer(b"HTTP/1.1 101 ok\r\nSec-WebSocket-Accept: nonsense\r\n\r\n")
    assert await answer(b"") == "closed during the handshake"
    assert "too long" in await answer(b"HTTP/1.1 101 ok\r\n" + b"x" * 20_000)


async def test_a_server_that_breaks_the_protocol_is_left() -> None:
    async with line_to(speaking(b"\x82\x80\0\0\0\0")) as (_, ear):
        await ear.over.wait()

    assert "masked" in ear.reason


async def test_nobody_there() -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    poller, ear = Poller(), Ear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        Line(poller, Target("localhost", address[1], False, trio.socket.AF_INET, address, True), None, "/", ear)
        with trio.fail_after(30):
            await ear.over.wait()
        nursery.cancel_scope.cancel()

    assert ear.reason == "Connection refused"


async def test_what_the_server_does_not_take_is_kept_up_to_a_bound() -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer_to(await head_of(stream)))
        await trio.sleep_forever()

    async with line_to(behave) as (line, ear):
        await ear.is_open.wait()
        frame = client_frame(bytes(100_000))
        taken = 0
        while line.send(frame):
            taken += 1
            assert taken < 500
        assert taken * len(frame) > MAX_UNSENT
        line.cut()
        assert not line.send(frame)


async def test_a_line_that_stalls_takes_nothing_until_it_reads_on() -> None:
    say = trio.Event()

    async def behave(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer_to(await head_of(stream)))
        await say.wait()
        await stream.send_all(b"\x82\x01a")
        await trio.sleep_forever()

    async with line_to(behave) as (line, ear):
        await ear.is_open.wait()
        line.stall()
        say.set()
        await trio.sleep(0.05)
        assert ear.messages == []
        line.resume()
        await ear.came.wait()


async def test_a_cut_line_is_reset_and_tells_nobody() -> None:
    seen: list[type[BaseException]] = []

    async def behave(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer_to(await head_of(stream)))
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            seen.append(trio.BrokenResourceError)

    async with line_to(behave) as (line, ear):
        await ear.is_open.wait()
        line.cut(reset=True)
        await until(lambda: bool(seen))

    assert not ear.over.is_set()
