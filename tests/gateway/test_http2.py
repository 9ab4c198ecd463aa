"""HTTP/2 on real sockets, with the h2 library as the client: what is served, and what each flood costs."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpx
import pytest
import trio
import trio.lowlevel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.gateway.h2_client import connected, trusting
from tests.gateway.harness import Gateway, open_gateway, until
from tests.gateway.test_churn import garbage, without_collector
from wsactors.gateway import http2
from wsactors.gateway.options import GatewayOptions, Limits, RequestRates, TlsOptions
from wsactors.gateway.routes import routes_of
from wsactors.wire.h2_frames import PREFACE

CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
LIMITS = Limits(body_bytes=200_000, body_seconds=60.0, stall_seconds=60.0, http2_streams=20)
HASTY = attrs.evolve(LIMITS, body_seconds=1.0, stall_seconds=1.0)


class Endless:
    """An answer without end, by a handler that asks nobody whether the reader is still there."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.running += 1
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
                await trio.lowlevel.checkpoint()
        finally:
            self.running -= 1


class Handlers:
    """What the routes of these tests have seen."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0
        self.release = trio.Event()
        self.endless = Endless()


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    seen = Handlers()

    async def hang(_: Request) -> Response:
        seen.running += 1
        seen.peak = max(seen.peak, seen.running)
        try:
            await seen.release.wait()
        finally:
            seen.running -= 1
        return PlainTextResponse("done")

    more = [Route("/echo", echo, methods=["POST"]), Route("/endless", seen.endless), Route("/hang", hang)]
    monkeypatch.setattr("wsactors.gateway.port.routes_of", lambda port: [*routes_of(port), *more])
    return seen


@asynccontextmanager
async def gateway_with(pem: Path, limits: Limits = LIMITS, **options: Any) -> AsyncIterator[Gateway]:
    shown = GatewayOptions(port=0, tls=TlsOptions("on", pem, pem), limits=limits, **options)
    async with open_gateway(shown) as gateway:
        yield gateway


async def still_serves(gateway: Gateway, pem: Path) -> None:
    async with httpx.AsyncClient(verify=trusting(pem), http2=True, timeout=30) as client:
        assert (await client.get(f"{gateway.url}/health")).text == "ok\n"


async def test_it_is_agreed_on_by_alpn_and_http1_stays_for_others(pem: Path, handlers: Handlers) -> None:
    async with gateway_with(pem) as gateway:
        for wants, gets in ((True, "HTTP/2"), (False, "HTTP/1.1")):
            async with httpx.AsyncClient(verify=trusting(pem), http2=wants) as client:
                page = await client.get(f"{gateway.url}/")
                assert (page.http_version, page.status_code) == (gets, 200)
                assert page.headers["x-content-type-options"] == "nosniff"
                echoed = await client.post(f"{gateway.url}/echo", content=b"z" * 150_000)
                assert echoed.content == b"z" * 150_000
                assert (
                    await client.get(f"{gateway.url}/health", headers={"origin": "https://evil.example"})
                ).status_code == 403
                assert (await client.get(f"{gateway.url}/health", headers={"host": "evil.example"})).status_code == 421


async def test_many_at_once_on_one_connection(pem: Path, handlers: Handlers) -> None:
    async with gateway_with(pem) as gateway, httpx.AsyncClient(verify=trusting(pem), http2=True, timeout=30) as client:
        answers = []

        async def ask(number: int) -> None:
            answers.append((await client.post(f"{gateway.url}/echo", content=b"%d" % number)).text)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(ask, number)
        assert sorted(answers, key=int) == [str(number) for number in range(60)]


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("CONNECT", "/ws", [(":protocol", "websocket")], 501),
        ("BREW", "/", [], 405),
        ("GET", "http://evil.example/", [], 400),
        ("GET", "/" + "a" * 5_000, [], 414),
        ("GET", "/", [(f"x-{number}", "y") for number in range(70)], 431),
        ("POST", "/echo", [("content-length", "300000")], 413),
        ("POST", "/echo", [("content-encoding", "gzip")], 415),
        ("GET", "/", [("origin", "https://evil.example")], 403),
    ],
)
async def test_what_is_refused_costs_its_stream_only(
    method: str, target: str, headers: list[tuple[str, str]], status: int, pem: Path, handlers: Handlers
) -> None:
    async with gateway_with(pem) as gateway, connected(gateway.port, pem) as client:
        client.ask(target, method, headers=headers, end=method != "POST")
        await client.flush()
        try:
            event = await client.hear(h2.events.ResponseReceived)
        except trio.BrokenResourceError:
            assert ":protocol" in dict(headers)  # the library does not even let it in
            return
        assert isinstance(event, h2.events.ResponseReceived)
        assert dict(event.headers or ())[b":status"] == b"%d" % status
        client.events.clear()
        client.ask("/health")
        await client.flush()
        event = await client.hear(h2.events.ResponseReceived)
        assert isinstance(event, h2.events.ResponseReceived)
        assert dict(event.headers or ())[b":status"] == b"200"


async def test_extended_connect_is_not_offered(pem: Path) -> None:
    async with gateway_with(pem) as gateway, connected(gateway.port, pem) as client:
        await client.hear(h2.events.RemoteSettingsChanged)
        assert not client.core.remote_settings.enable_connect_protocol
        assert client.core.remote_settings.max_concurrent_streams == LIMITS.http2_streams


async def test_rapid_reset_is_ended_and_what_was_begun_is_bounded(pem: Path, handlers: Handlers) -> None:
    async with gateway_with(pem) as gateway:
        async with connected(gateway.port, pem) as client:
            with contextlib.suppress(trio.BrokenResourceError):
                for _ in range(30):
                    for _ in range(20):
                        client.core.reset_stream(client.ask("/hang"), h2.errors.ErrorCodes.CANCEL)
                    await client.flush()
                    await trio.lowlevel.checkpoint()
            assert await client.hear_goodbye() in {CALM, None}
        assert handlers.peak <= http2.HANDLERS_PER_STREAM * LIMITS.http2_streams
        handlers.release.set()
        await until(lambda: not gateway.shared.admission.open)
        await still_serves(gateway, pem)


async def test_how_much_one_connection_may_ask_is_set(pem: Path, handlers: Handlers) -> None:
    rates = RequestRates(http2_requests=0.01, http2_requests_burst=5)
    async with gateway_with(pem, rates=rates) as gateway, connected(gateway.port, pem) as client:
        for _ in range(5):
            client.ask("/health")
        await client.flush()
        with trio.fail_after(10):
            while sum(isinstance(each, h2.events.StreamEnded) for each in client.events) < 5:
                await client.listen()
        client.ask("/health")
        await client.flush()
        assert await client.hear_goodbye() in {CALM, None}
    async with gateway_with(pem, rates=RequestRates(http2_resets=0.01, http2_resets_burst=3)) as gateway:
        async with connected(gateway.port, pem) as client:
            for _ in range(5):
                client.core.reset_stream(client.ask("/hang"), h2.errors.ErrorCodes.CANCEL)
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.flush()
            assert await client.hear_goodbye() in {CALM, None}
        await still_serves(gateway, pem)


def raw(kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


FLOODS = {
    "continuation": raw(1, b"\x82", 1) + raw(9, b"", 1) * 20,
    "large header block": raw(1, b"\x82", 1) + raw(9, b"\x00" * 16_000, 1) * 4,
    "large frame": raw(0, b"x" * 20_000, 1),
    # An entry of 4,000 bytes, put into the table once and named many times.
    "hpack": raw(1, b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4_000 + b"\xbe" * 5_000, 1, 5),
    "preface twice": PREFACE,
    "http/1.1": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + bytes(100),
    "table size": raw(1, b"\x3f\xff\xff\xff\xff\x0f", 1, 5),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_header_flood_ends_its_connection_and_nothing_else(name: str, pem: Path) -> None:
    async with gateway_with(pem) as gateway:
        async with connected(gateway.port, pem) as client:
            with contextlib.suppress(trio.BrokenResourceError):
                await client.stream.send_all(FLOODS[name])
            await client.hear_goodbye()
            await until(lambda: not gateway.shared.admission.open)
        await still_serves(gateway, pem)


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(raw(6, bytes(8)), id="ping"),
        pytest.param(raw(4, struct.pack("!HI", 4, 70_000)), id="settings"),
        pytest.param(raw(8, (1).to_bytes(4, "big")), id="window"),
        pytest.param(raw(2, bytes(5), 1), id="priority"),
        pytest.param(raw(0xEE, b""), id="unknown"),
    ],
)
async def test_a_flood_of_cheap_frames_is_read_slowly_and_holds_nobody_up(piece: bytes, pem: Path) -> None:
    async with gateway_with(pem) as gateway, connected(gateway.port, pem) as client, trio.open_nursery() as nursery:

        async def flood() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await client.stream.send_all(piece * 1_000)

        async def read() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while await client.stream.receive_some():
                    pass

        nursery.start_soon(flood)
        nursery.start_soon(read)
        for _ in range(5):
            await still_serves(gateway, pem)
        nursery.cancel_scope.cancel()


async def test_a_body_is_bounded_in_size_and_time(pem: Path, handlers: Handlers) -> None:
    async with gateway_with(pem, HASTY) as gateway:
        for total, status in ((210_000, b"413"), (10, b"408")):
            async with connected(gateway.port, pem) as client:
                stream_id = client.ask("/echo", "POST", end=False)
                await client.flush()
                send = total
                while send:
                    size = min(send, 10_000, client.core.local_flow_control_window(stream_id))
                    if size:
                        client.core.send_data(stream_id, b"x" * size)
                        send -= size
                        await client.flush()
                    else:
                        client.events.clear()
                        await client.hear(h2.events.WindowUpdated)
                    if any(
                        isinstance(event, h2.events.StreamReset | h2.events.ResponseReceived) for event in client.events
                    ):
                        break
                event = await client.hear(h2.events.ResponseReceived)
                assert isinstance(event, h2.events.ResponseReceived)
                assert dict(event.headers or ())[b":status"] == status


async def test_an_answer_of_which_nothing_is_taken_is_given_up(pem: Path, handlers: Handlers) -> None:
    """The window stays shut while pings keep the connection alive: the socket itself never stalls."""
    async with gateway_with(pem, HASTY) as gateway, connected(gateway.port, pem) as client:
        stream_id = client.ask("/endless")
        await client.flush()
        reset = None
        with trio.fail_after(30):
            while reset is None:
                data = await client.stream.receive_some()
                for event in client.core.receive_data(bytes(data)):
                    if isinstance(event, h2.events.StreamReset):
                        reset = event
                client.core.ping(bytes(8))
                await client.flush()
                await trio.sleep(0.02)
        assert reset.stream_id == stream_id
        await until(lambda: not handlers.endless.running)
        await still_serves(gateway, pem)


async def test_a_connection_without_requests_is_closed(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.gateway.http.KEEP_ALIVE_SECONDS", 0.1)
    async with gateway_with(pem) as gateway, connected(gateway.port, pem) as client:
        await client.hear_goodbye()
        await until(lambda: not gateway.shared.admission.open)


async def test_nothing_stays_of_connections_that_have_ended(pem: Path) -> None:
    async with gateway_with(pem) as gateway:

        async def visit() -> None:
            async with connected(gateway.port, pem) as client:
                client.ask("/health")
                await client.flush()
                await client.hear(h2.events.StreamEnded)
            await until(lambda: not gateway.shared.meters.connections)

        await visit()
        with without_collector():
            for _ in range(10):
                await visit()
            assert [
                name for name in garbage() if name.startswith("wsactors.")
            ] == []  # h2's client leaves some of its own
