"""Request bodies on real sockets: what arrives, what is refused, and what it costs."""

from __future__ import annotations

import attrs
import httpx
import pytest
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.gateway.harness import Gateway, exchange, open_gateway, request, until
from wsactors.gateway.body import BodyBudget, BodyLease, RequestRefused
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.gateway.routes import routes_of

CLOSE = "Connection: close\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
SMALL = GatewayOptions(port=0, limits=Limits(body_bytes=100_000, body_seconds=0.3, bodies_bytes=150_000))


async def echo(request: Request) -> Response:
    body = await request.body()
    return PlainTextResponse(b"%d:" % len(body) + body)


async def ignore(_: Request) -> Response:
    return PlainTextResponse("no matter")


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["POST", "PUT", "PATCH", "DELETE"]
    more = [Route("/echo", echo, methods=methods), Route("/ignore", ignore, methods=methods)]
    monkeypatch.setattr("wsactors.gateway.port.routes_of", lambda port: [*routes_of(port), *more])


def post(target: str, body: bytes, headers: str = "") -> bytes:
    return request(target, method="POST", headers=f"{headers}Content-Length: {len(body)}\r\n") + body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_body_arrives_whole(method: str) -> None:
    async with open_gateway() as gateway, httpx.AsyncClient(base_url=gateway.url) as client:
        for body in (b"", b"x", b"\x00\xff" * 300_000):
            answer = await client.request(method, "/echo", content=body)
            assert answer.content == b"%d:" % len(body) + body


async def test_a_body_in_chunks_arrives_whole_and_the_next_request_is_found_behind_it() -> None:
    async with open_gateway() as gateway:
        first = request("/echo", method="POST", headers=CHUNKED) + b"5\r\nhello\r\nA\r\n, chunks! \r\n0\r\n\r\n"
        answer = await exchange(gateway.port, first + post("/echo", b"second", CLOSE))
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b"15:hello, chunks! " in answer
        assert answer.endswith(b"6:second")


async def test_a_client_that_expects_the_word_is_given_it_once_and_only_if_the_body_would_be_taken() -> None:
    async with open_gateway() as gateway:
        with trio.fail_after(30):
            async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as stream:
                waiting = "Expect: 100-continue\r\nContent-Length: 2\r\n"
                await stream.send_all(request("/echo", method="POST", headers=CLOSE + waiting))
                assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await stream.send_all(b"ok")
                answer = b"".join([piece async for piece in stream])
                assert b"100" not in answer
                assert answer.endswith(b"2:ok")
        large = request("/echo", method="POST", headers="Expect: 100-continue\r\nContent-Length: 99999999\r\n")
        assert (await exchange(gateway.port, large)).startswith(b"HTTP/1.1 413 ")
        foreign = f"Origin: http://evil.example\r\n{waiting}"
        answer = await exchange(gateway.port, request("/echo", method="POST", headers=foreign))
        assert answer.startswith(b"HTTP/1.1 403 ")


REFUSED = [
    pytest.param(post("/echo", b"x" * 100_001), 413, id="too long by its length"),
    pytest.param(
        request("/echo", method="POST", headers=CHUNKED) + b"ffff\r\n" + b"x" * 65535 + b"\r\nffff\r\n",
        413,
        id="too long in chunks",
    ),
    pytest.param(post("/echo", b"x", "Content-Encoding: gzip\r\n"), 415, id="compressed"),
    pytest.param(post("/echo", b"x", "Expect: wonders\r\n"), 417, id="unknown expectation"),
    pytest.param(request("/echo", method="POST", headers="Content-Length: 9\r\n") + b"x", 408, id="never ends"),
    pytest.param(request("/echo", method="POST", headers=CHUNKED) + b"5\r\nab", 408, id="never ends, in chunks"),
    pytest.param(
        request("/echo", method="POST", headers=CHUNKED) + b"5;a=b\r\nhello\r\n0\r\n\r\n", 400, id="extension"
    ),
    pytest.param(request("/echo", method="POST", headers=CHUNKED) + b"0\r\nA: b\r\n\r\n", 400, id="trailer"),
    pytest.param(post("/echo", b"x", CHUNKED), 400, id="length and chunks"),
    pytest.param(post("/echo", b"x", "Content-Length: 1\r\n"), 400, id="two lengths"),
    pytest.param(
        request("/echo", method="POST", headers=CHUNKED).replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400, id="HTTP/1.0"
    ),
]


@pytest.mark.parametrize(("data", "status"), REFUSED)
@pytest.mark.parametrize("before", [0, 1], ids=["first", "later"])
async def test_a_body_that_is_refused_ends_the_connection_and_what_follows_is_no_request(
    data: bytes, status: int, before: int
) -> None:
    async with open_gateway(SMALL) as gateway:
        behind = b"" if status == 408 else request("/ready", headers=CLOSE)
        answer = await exchange(gateway.port, post("/echo", b"ok") * before + data + behind)
        assert answer.count(b"HTTP/1.1 200 ") == before
        assert f"HTTP/1.1 {status} ".encode() in answer
        assert b"ready" not in answer


async def test_a_handler_that_does_not_read_its_body_wedges_nothing() -> None:
    async with open_gateway() as gateway:
        answer = await exchange(
            gateway.port, post("/ignore", b"x" * 1_000_000) * 3 + post("/nowhere", b"x" * 1_000_000, CLOSE)
        )
        assert answer.count(b"HTTP/1.1 200 ") == 3
        assert answer.count(b"HTTP/1.1 404 ") == 1


async def drip(gateway: Gateway, size: int) -> bytes:
    return await exchange(gateway.port, request("/echo", method="POST", headers=f"Content-Length: {size}\r\n") + b"x")


async def test_bodies_that_hang_hold_a_bounded_amount_and_nobody_else_up() -> None:
    """Announced memory counts: many who promise a megabyte and send a byte get no more than the port has for all."""
    async with open_gateway(attrs.evolve(SMALL, limits=attrs.evolve(SMALL.limits, body_seconds=2.0))) as gateway:
        answers = []

        async def ask() -> None:
            answers.append((await drip(gateway, 90_000))[9:12])

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            await until(lambda: len(answers) == 4)
            assert answers == [b"503"] * 4
            async with httpx.AsyncClient() as client:
                assert (await client.post(f"{gateway.url}/echo", content=b"y")).text == "1:y"
        assert answers[4] == b"408"
        async with httpx.AsyncClient() as client:
            assert (await client.post(f"{gateway.url}/echo", content=b"x" * 100_000)).status_code == 200


async def test_one_client_s_bodies_keep_nobody_else_out() -> None:
    limits = Limits(body_bytes=10_000, body_seconds=60.0, bodies_bytes=100_000)
    async with open_gateway(GatewayOptions(port=0, limits=limits)) as gateway, trio.open_nursery() as nursery:
        answers = []

        async def ask() -> None:
            answers.append((await drip(gateway, 9_000))[9:12])

        for _ in range(20):
            nursery.start_soon(ask)
        await until(lambda: len(answers) == 18)
        assert answers == [b"503"] * 18
        async with httpx.AsyncClient() as here:
            assert (await here.post(f"{gateway.url}/echo", content=b"x" * 9_000)).status_code == 503
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address="127.0.0.2")) as elsewhere:
            assert (await elsewhere.post(f"{gateway.url}/echo", content=b"x" * 9_000)).status_code == 200
        nursery.cancel_scope.cancel()


def test_a_lease_gives_back_what_it_held() -> None:
    budget = BodyBudget(10)
    with BodyLease.of(budget) as lease, BodyLease.of(budget) as other:
        lease.hold(6)
        with pytest.raises(RequestRefused):
            other.hold(5)
        lease.hold(2)
        other.hold(8)
        with pytest.raises(RequestRefused):
            lease.hold(3)
    with BodyLease.of(budget) as lease:
        lease.hold(10)
