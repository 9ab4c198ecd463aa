"""The client against servers that misbehave; against a real gateway see ``tests/gateway/test_native.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from tests.gateway.harness import TestDirectory, TestSession, open_gateway, patient
from wsactors.client import ClientError, Disconnected, connect, open_websocket
from wsactors.client.connection import BACKLOG_FRAMES
from wsactors.wire import native


@asynccontextmanager
async def node(behave: Callable[[WebSocketConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that greets, then does as told."""

    async def serve(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            await socket.get_message()
            await behave(socket)
        except ConnectionClosed:
            return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        yield f"ws://127.0.0.1:{server.port}/ws"
        nursery.cancel_scope.cancel()


WELCOME = native.encode(native.Welcome(1, "odd"))


async def test_a_node_that_breaks_the_protocol_is_left() -> None:
    async def behave(socket: WebSocketConnection) -> None:
        await socket.send_message(WELCOME)
        await socket.send_message(b"\xc1")
        await socket.get_message()

    with trio.fail_after(30):
        async with node(behave) as url, connect(url) as client:
            with pytest.raises(Disconnected):
                await client.sessions()


async def test_a_node_that_refuses_the_version_says_so() -> None:
    async def behave(socket: WebSocketConnection) -> None:
        await socket.send_message(native.encode(native.Error("version", "this node speaks version 2")))

    with trio.fail_after(30):
        async with node(behave) as url:
            with pytest.raises(ClientError, match="version 2"):
                async with connect(url):
                    pass


async def test_a_node_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.client.connection.REPLY_SECONDS", 0.1)

    async def behave(socket: WebSocketConnection) -> None:
        await socket.send_message(WELCOME)
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with node(behave) as url, connect(url) as client:
            with pytest.raises(ClientError, match="no answer to list"):
                await client.sessions()


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is() -> None:
    async with open_gateway() as gateway:
        with pytest.raises(KeyError, match="mine"):
            async with connect(f"ws://{gateway.host}/ws"):
                raise KeyError("mine")


async def test_a_reader_that_does_not_keep_up_loses_the_oldest() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            listening = patient(await client.join("main"))
            for number in range(BACKLOG_FRAMES + 50):
                session.offer_frame(number.to_bytes(2, "big"))
                if number % 20 == 0:
                    await client.ping()
            await client.ping()
            assert int.from_bytes((await anext(listening)).payload, "big") == listening.dropped == 50


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "ws:///ws", "127.0.0.1:80"])
async def test_what_is_no_websocket_address_is_a_mistake_of_the_caller(url: str) -> None:
    with pytest.raises(ValueError, match="expected a ws://"):
        async with open_websocket(url):
            pass
