"""Each attack may cost its own connection and nothing else: another client plays on throughout, in the same process.

`open_gateway` runs every connection in one nursery, so an exception that escapes from any of them fails the test.
"""

from __future__ import annotations

import contextlib
import re

import pytest
import trio
import trio.lowlevel

from tests.gateway.harness import (
    Gateway,
    TestDirectory,
    TestSession,
    exchange,
    open_gateway,
    open_narrow_stream,
    request,
    until,
    upgrade,
)
from wsactors.client import Disconnected, connect, open_websocket
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.wire import native

REQUESTS = 500
"""Fewer than a kept-alive connection may make, more than fit any buffer when nobody reads the answers."""
CLOSE = "Connection: close\r\n"
TRAILING = [
    pytest.param(upgrade() + b"x", id="one trailing byte"),
    pytest.param(upgrade() + b"\x00" * 200, id="trailing zeros"),
    pytest.param(upgrade() + b"\xff" * 70_000, id="trailing flood"),
    pytest.param(upgrade() + request("/health"), id="a request behind an upgrade"),
]
MALFORMED = [
    pytest.param(upgrade().replace(b"Version: 13", b"Version: 8"), 426, id="version"),
    pytest.param(upgrade().replace(b"dGhl", b"dGh"), 400, id="key too short"),
    pytest.param(upgrade().replace(b"dGhl", b"d!\xffl"), 400, id="key no base64"),
    pytest.param(upgrade().replace(b"Connection: Upgrade", b"Connection: close"), 400, id="connection"),
    pytest.param(upgrade().replace(b"GET ", b"POST "), 400, id="method"),
    pytest.param(upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 400, id="HTTP/1.0"),
    pytest.param(upgrade(headers="Content-Length: 4\r\n") + b"body", 400, id="body"),
    pytest.param(upgrade(headers="Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, id="two keys"),
    pytest.param(upgrade("/other"), 404, id="path"),
]


async def still_plays(gateway: Gateway) -> None:
    """A new client joins and hears."""
    session = gateway.directory.by_name["main"]
    with trio.fail_after(30):
        async with connect(f"ws://{gateway.host}/ws") as client:
            listening = await client.join("main")
            session.offer_frame(b"sound")
            assert (await anext(listening)).payload == b"sound"


def directory() -> TestDirectory:
    found = TestDirectory()
    found.add(TestSession("main"))
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> GatewayOptions:
    monkeypatch.setattr("wsactors.gateway.ws.CLOSING_SECONDS", 0.1)
    return GatewayOptions(port=0, limits=Limits(head_seconds=1.0, audio_age_ms=60_000))


@pytest.mark.parametrize("data", TRAILING)
async def test_an_upgrade_with_something_behind_it(data: bytes, impatient: GatewayOptions) -> None:
    async with open_gateway(impatient, directory()) as gateway:
        async with connect(f"ws://{gateway.host}/ws") as other:
            listening = await other.join("main")
            answer = await exchange(gateway.port, data)
            assert answer.startswith(b"HTTP/1.1 101 ") or not answer  # a reset may overtake the answer
            gateway.directory.by_name["main"].offer_frame(b"undisturbed")
            with trio.fail_after(30):
                assert (await anext(listening)).payload == b"undisturbed"
        await still_plays(gateway)


@pytest.mark.parametrize(("data", "status"), MALFORMED)
@pytest.mark.parametrize("first", [b"", request("/health")], ids=["first request", "later request"])
async def test_a_malformed_upgrade(first: bytes, data: bytes, status: int) -> None:
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, first + data)
        assert f"HTTP/1.1 {status} ".encode() in answer
        await still_plays(gateway)


async def test_an_upgrade_on_a_later_request_reaches_the_websocket_and_never_hypercorn(
    impatient: GatewayOptions,
) -> None:
    async with open_gateway(impatient, directory()) as gateway:
        answer = await exchange(gateway.port, request("/health") + request("/api/sessions") + upgrade() + b"x")
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert answer.count(b"HTTP/1.1 101 ") == 1
        await still_plays(gateway)


SMUGGLING = [
    pytest.param(request(headers="Content-Length: 0\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n", id="CL and TE"),
    pytest.param(request(headers="Content-Length: 0\r\nContent-Length: 5\r\n") + b"GET /", id="two lengths"),
    pytest.param(request(headers="Content-Length: +0\r\n"), id="odd length"),
    pytest.param(request(headers="Transfer-Encoding: xchunked\r\n"), id="odd coding"),
    pytest.param(request(headers="Host: evil.example\r\n"), id="two hosts"),
    pytest.param(request(headers="Origin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n"), id="two origins"),
    pytest.param(request(headers="X: a\r\n b\r\n"), id="folded line"),
    pytest.param(request(headers="X : a\r\n"), id="blank before the colon"),
    pytest.param(request(headers="X: a\x00b\r\n"), id="zero in a header"),
    pytest.param(request("http://evil.example/health"), id="absolute target"),
    pytest.param(request("*"), id="asterisk"),
    pytest.param(request("health"), id="target without a slash"),
    pytest.param(request("/a\x00b"), id="zero in the target"),
    pytest.param(request("/" + "a" * 5_000), id="long target"),
    pytest.param(request().replace(b"\r\n", b"\n") + b"\r\n\r\n", id="bare line feeds"),
    pytest.param(b"GET /health\r\n\r\n", id="HTTP/0.9"),
    pytest.param(request().replace(b"HTTP/1.1", b"HTTP/2.0"), id="HTTP/2.0"),
]


@pytest.mark.parametrize("data", SMUGGLING)
@pytest.mark.parametrize("before", [0, 1, 3], ids=["first", "later", "fourth"])
async def test_what_two_parsers_could_read_differently_is_refused_on_every_request(data: bytes, before: int) -> None:
    """And what stands behind it is never looked at."""
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, request("/health") * before + data + request("/ready", headers=CLOSE))
        assert answer.count(b"HTTP/1.1 200 ") == before
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
        assert len(statuses) == before + 1
        assert statuses[-1] in {b"400", b"414", b"501", b"505"}
        assert b"ready" not in answer
        await still_plays(gateway)


async def test_a_refusal_waits_until_the_answers_before_it_are_out() -> None:
    """A bad request behind a good one must not overtake its answer, however slowly that is made."""
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, request("/js/page.js") * 5 + request("/", method="POST", headers=CLOSE))
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 5 + [b"405"]


async def test_a_request_in_ten_thousand_pieces_is_one_request() -> None:
    async with (
        open_gateway(GatewayOptions(port=0, limits=Limits(head_seconds=60.0)), directory()) as gateway,
        await trio.open_tcp_stream("127.0.0.1", gateway.port) as peer,
    ):
        with trio.fail_after(60):
            for byte in request("/health", headers="A: " + "b" * 10_000 + "\r\n" + CLOSE):
                await peer.send_all(bytes([byte]))
            answer = b""
            while piece := await peer.receive_some():
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_ten_thousand_chunks_are_not_taken() -> None:
    body = b"Transfer-Encoding: chunked\r\n"
    async with open_gateway(directory=directory()) as gateway:
        head = request("/health", method="POST").replace(b"\r\n\r\n", b"\r\n" + body + b"\r\n")
        answer = await exchange(gateway.port, head + b"1\r\na\r\n" * 10_000)
        assert answer.startswith(b"HTTP/1.1 413 ")
        await still_plays(gateway)


@pytest.mark.parametrize("head", [request("/health", headers=CLOSE), upgrade()], ids=["page", "websocket"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://127.0.0.1.evil.example\r\n", 403),
        ("Origin: http://127.0.0.1:1\r\n", 403),
        ("Origin: https://127.0.0.1\r\n", 403),
        ("Origin: http://127.0.0.1, https://evil.example\r\n", 403),
    ],
)
async def test_a_foreign_origin(head: bytes, headers: str, status: int) -> None:
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, head[:-2] + headers.encode() + b"\r\n")
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "", "a@127.0.0.1", "192.168.1.9"],
)
@pytest.mark.parametrize("target", ["page", "websocket", "later page"])
async def test_a_foreign_host(host: str, target: str) -> None:
    """What DNS rebinding looks like: our address, under a name of theirs."""
    data = {
        "page": request("/", host=host, headers=CLOSE),
        "websocket": upgrade(host=host),
        "later page": request("/health") + request("/", host=host, headers=CLOSE),
    }[target]
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, data)
        assert b"HTTP/1.1 421 " in answer or (b"HTTP/1.1 400 " in answer and host in {"", "a@127.0.0.1"})


async def test_the_browser_of_another_site_cannot_open_a_websocket() -> None:
    async with open_gateway() as gateway:
        with pytest.raises(Disconnected, match="403"):
            async with open_websocket(f"ws://{gateway.host}/ws", headers=[(b"Origin", b"https://evil.example")]):
                pass
        async with open_websocket(f"ws://{gateway.host}/ws", headers=[(b"Origin", gateway.url.encode())]):
            pass


async def test_an_oversized_head_is_refused_before_it_has_all_come() -> None:
    options = GatewayOptions(port=0, limits=Limits(head_bytes=2_000))
    async with open_gateway(options, directory()) as gateway:
        for data in (
            b"GET /" + b"a" * 4_000,
            request(headers="X: y\r\n" * 400),
            request("/health") + b"GET /" + b"a" * 9_000,
        ):
            answer = await exchange(gateway.port, data)
            assert b"HTTP/1.1 4" in answer
        await still_plays(gateway)


async def test_slow_heads_are_timed_out_and_hold_nobody_up() -> None:
    options = GatewayOptions(port=0, limits=Limits(head_seconds=1.0))
    async with open_gateway(options, directory()) as gateway:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(slow_loris, gateway.port)
            await until(lambda: gateway.shared.admission.open >= 20)
            await still_plays(gateway)
        await until(lambda: not gateway.shared.admission.open)


async def slow_loris(port: int) -> None:
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            try:
                for byte in request(headers="A: " + "b" * 100_000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.02)
            except trio.BrokenResourceError:
                return
    pytest.fail("the head was never refused")


async def test_connections_over_the_limits_are_told_and_closed() -> None:
    options = GatewayOptions(port=0, limits=Limits(connections=3, connections_per_address=2))
    async with open_gateway(options, directory()) as gateway:
        url = f"ws://{gateway.host}/ws"
        async with connect(url), connect(url):
            assert (await exchange(gateway.port, b"")).startswith(b"HTTP/1.1 503 ")
            with pytest.raises(Disconnected):
                async with connect(url):
                    pass
        await until(lambda: not gateway.shared.admission.open)
        await still_plays(gateway)


async def test_garbage_of_many_kinds_leaves_the_gateway_playing() -> None:
    garbage = [
        b"",
        b"\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n",
        b"GET",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        request("/%00%ff%fe/\xe4"),
        request("/" + "a" * 4_090),
        request("/listen/main.ogg", method="DELETE"),
        request("/health") + b"\x00\xff" * 50,
        request("/health", headers="Expect: 100-continue\r\n"),
        upgrade()[:-4] + b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n\r\n\x88\x00",
    ]
    async with open_gateway(directory=directory()) as gateway:
        async with trio.open_nursery() as nursery:
            for data in garbage:
                nursery.start_soon(send_and_hang_up, gateway.port, data)
        await until(lambda: not gateway.shared.admission.open)
        await still_plays(gateway)


async def send_and_hang_up(port: int, data: bytes) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        await stream.send_eof()
        with trio.move_on_after(1):
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                return


async def test_a_client_that_asks_and_never_reads_is_given_up_with_bounded_memory() -> None:
    many = directory()
    for number in range(40):
        many.add(TestSession(f"session {number}", title="x" * 300, track=number + 2))
    ask = native.encode(native.ListSessions())
    frame = bytes((0x82, 0x80 | len(ask))) + bytes(4) + ask
    hello = native.encode(native.Hello())
    async with open_gateway(directory=many) as gateway, await open_narrow_stream(gateway.port) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(upgrade() + bytes((0x82, 0x80 | len(hello))) + bytes(4) + hello + frame * 200)
        await until(lambda: gateway.shared.admission.open == 0)
        (sink,) = gateway.shared.statistics().sinks or [None]
        assert sink is None or sink.buffered_peak <= 1024 * 1024
        await still_plays(gateway)


async def test_a_reader_that_never_reads_a_response_is_ended_by_the_write_deadline() -> None:
    options = GatewayOptions(port=0, limits=Limits(stall_seconds=0.2))
    async with open_gateway(options, directory()) as gateway:
        async with await open_narrow_stream(gateway.port) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(request("/js/page.js") * REQUESTS)
            await until(lambda: not gateway.shared.admission.open)
        await still_plays(gateway)
