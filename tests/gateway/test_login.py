"""A port that other machines reach, on a node that nobody enters without a login: nothing is served past that."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from starlette.routing import Route
from trio_websocket import ConnectionClosed

from tests.gateway.harness import exchange, open_gateway, upgrade
from tests.gateway.test_native import code_of
from tests.gateway.topics import Topics, open_topics
from tests.realtime.tokens import SECRET, signed
from wsactors.client import connect, open_websocket
from wsactors.gateway.options import GatewayOptions, TlsOptions
from wsactors.gateway.port import Port
from wsactors.gateway.routes import conversations_of, routes_of
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.wire import native

EXPOSED = GatewayOptions(host="0.0.0.0", port=0, tls=TlsOptions("off"), requires_login=True)
FOR_ALL = {"/health", "/ready"}
"""What a balancer asks for; it tells nothing."""


@asynccontextmanager
async def exposed() -> AsyncIterator[tuple[Topics, httpx.AsyncClient]]:
    keys = KeyedAuthenticator(AuthOptions(anonymous=False, secret=SECRET))
    async with (
        open_topics(options=EXPOSED, authenticator=keys) as topics,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{topics.address.port}", timeout=10) as client,
    ):
        yield topics, client


async def test_strangers_get_nothing_by_any_request() -> None:
    async with exposed() as (topics, client):
        port = Port.of(topics.node)
        assert port is not None
        paths = {re.sub(r"\{[^}]*\}", "a", route.path) for route in routes_of(port) if isinstance(route, Route)}
        assert {"/", "/listen/a", "/api/sessions", "/js/client.js"} < paths
        for path in paths:
            for method in ("GET", "POST"):
                body = {"messages": [{"topic": "a", "event": "a"}]} if method == "POST" else None
                answer = await client.request(method, path, json=body)
                if path == "/socket/longpoll":  # it says so in its body
                    assert answer.json()["status"] in {403, 410}
                    assert "token" not in answer.json()
                elif not (path in FOR_ALL and method == "GET"):
                    assert answer.status_code in {400, 401, 403, 404, 405}, (method, path, answer.text)
        assert (await client.get("/")).status_code == 403
        assert "gateway.allow_anonymous_public" in (await client.get("/listen/a.ogg")).text
        assert (await client.get("/api/sessions")).json()["error"]["code"] == "missing"


async def test_strangers_get_nothing_by_any_websocket() -> None:
    async with exposed() as (topics, _):
        port = Port.of(topics.node)
        assert port is not None
        paths = set(conversations_of(port))
        assert "/echo" not in paths
        for path in paths - {"/ws"}:  # it is the first message that says who it is
            answer = await exchange(topics.address.port, upgrade(f"{path}?vsn=2.0.0"))
            assert answer.split()[1] in {b"400", b"401", b"403"}, path
        host = f"ws://127.0.0.1:{topics.address.port}"
        async with open_websocket(f"{host}/socket.io/?EIO=4&transport=websocket") as socket:
            with trio.fail_after(10):
                assert str(await socket.get_message()).startswith("0{")
                await socket.send_message("40")
                assert str(await socket.get_message()).startswith("44{")
        assert (await exchange(topics.address.port, upgrade("/echo"))).split()[1] == b"404"
        async with open_websocket(f"{host}/ws") as socket:
            await socket.send_message(native.encode(native.Hello()))
            assert await closed_with(socket) == 4401


async def closed_with(socket: object) -> int:
    with trio.fail_after(10), pytest.raises(ConnectionClosed) as closed:
        while True:
            await socket.get_message()  # type: ignore[attr-defined]
    return code_of(closed.value)


async def test_who_logs_in_is_served() -> None:
    token = signed({"sub": "ada", "exp": time.time() + 60})
    async with exposed() as (topics, client):
        sessions = await client.get("/api/sessions", headers={"authorization": f"Bearer {token}"})
        assert (sessions.status_code, sessions.json()) == (200, {"sessions": []})
        with trio.fail_after(10):
            async with connect(f"ws://127.0.0.1:{topics.address.port}/ws", token=token) as native_client:
                assert await native_client.sessions() == ()


async def test_where_nobody_can_log_in_now_nobody_comes_in() -> None:
    """The topics, which know who may, have crashed and are being started again."""
    async with (
        open_gateway(GatewayOptions(port=0, requires_login=True)) as gateway,
        open_websocket(f"ws://{gateway.host}/ws") as socket,
    ):
        await socket.send_message(native.encode(native.Hello()))
        assert await closed_with(socket) == 4401


async def test_on_loopback_or_if_anybody_may_the_page_is_served() -> None:
    keys = KeyedAuthenticator(AuthOptions(anonymous=False, secret=SECRET))
    for options in (
        GatewayOptions(port=0, requires_login=True),
        GatewayOptions(host="0.0.0.0", port=0, tls=TlsOptions("off"), requires_login=True, allow_anonymous_public=True),
    ):
        async with (
            open_topics(options=options, authenticator=keys) as topics,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{topics.address.port}") as client,
        ):
            assert (await client.get("/")).status_code == 200
            assert (await client.get("/api/sessions")).status_code == 200
            assert (await client.get("/api/topics/a/history")).status_code == 401
