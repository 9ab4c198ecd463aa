from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.gateway.harness import exchange, open_gateway, request, until
from wsactors.gateway.certificates import Certificates
from wsactors.gateway.options import GatewayOptions, Limits, TlsOptions
from wsactors.gateway.proxies import UNIX, Client, Proxies
from wsactors.gateway.tls import make_certificate

LOCAL = "127.0.0.0/8"
CLOSE = "Connection: close\r\n"


async def who(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse([request.client.host, request.url.scheme])


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.gateway.port.routes_of", lambda _: [Route("/who", who)])


def client(trusted: list[str], peer: str, forwarded_for: str | None = None, proto: str | None = None) -> Client:
    def encoded(value: str | None) -> bytes | None:
        return None if value is None else value.encode()

    return Proxies.of(trusted).client(
        peer, secure=False, forwarded_for=encoded(forwarded_for), forwarded_proto=encoded(proto)
    )


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded_for", "found"),
    [
        ([], "192.0.2.1", "10.9.9.9", "192.0.2.1"),
        (["10.0.0.0/8"], "192.0.2.1", "10.9.9.9", "192.0.2.1"),
        (["10.0.0.0/8"], "10.0.0.1", "192.0.2.7", "192.0.2.7"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        # A client's own invention stands before what the first proxy wrote, and is not reached.
        (["10.0.0.0/8"], "10.0.0.1", "127.0.0.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        (["10.0.0.0/8"], "10.0.0.1", "192.0.2.7, nonsense", "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", "", "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", None, "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ",".join(["10.0.0.3"] * 500), "10.0.0.3"),
        (["unix"], UNIX, "192.0.2.7", "192.0.2.7"),
        ([], UNIX, "192.0.2.7", UNIX),
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy_of_ours(
    trusted: list[str], peer: str, forwarded_for: str | None, found: str
) -> None:
    assert client(trusted, peer, forwarded_for, "https") == Client(found, Proxies.of(trusted).trusts(peer))


async def test_headers_of_strangers_are_not_believed_and_those_of_proxies_are() -> None:
    lies = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\nX-Forwarded-Proto: https\r\n"
    async with open_gateway() as gateway:
        answer = await exchange(gateway.port, request("/who", headers=lies + CLOSE))
        assert json.loads(answer.rpartition(b"\r\n")[2]) == ["127.0.0.1", "http"]
    async with open_gateway(GatewayOptions(port=0, trusted_proxies=(LOCAL,))) as gateway:
        answer = await exchange(gateway.port, request("/who", headers=lies + CLOSE))
        assert json.loads(answer.rpartition(b"\r\n")[2]) == ["192.0.2.8", "https"]
        # The page's own origin is the one that the browser saw, at the proxy.
        for scheme, status in (("https", 200), ("http", 403)):
            headers = f"Origin: {scheme}://127.0.0.1\r\n{lies}{CLOSE}"
            answer = await exchange(gateway.port, request("/who", headers=headers))
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_proxy_header_names_the_client_and_every_connection_needs_one() -> None:
    options = GatewayOptions(port=0, trusted_proxies=(LOCAL,), proxy_protocol=True, limits=Limits(head_seconds=1.5))
    ask = request("/who", headers=CLOSE)
    async with open_gateway(options) as gateway:
        answer = await exchange(gateway.port, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n" + ask)
        assert answer.endswith(b'["192.0.2.7","http"]')
        answer = await exchange(gateway.port, b"PROXY UNKNOWN\r\n" + ask)
        assert answer.endswith(b'["127.0.0.1","http"]')
        for refused in (ask, b"", b"PROXY TCP4 nonsense\r\n" + ask, b"PROXY TCP4 ", b"\r\n\r\n\x00\r\nQUIT\n\x21"):
            assert await exchange(gateway.port, refused) == b""
        await until(lambda: not gateway.shared.admission.open)


async def test_a_stranger_s_proxy_header_is_a_malformed_request() -> None:
    options = GatewayOptions(port=0, trusted_proxies=("192.0.2.0/24",), proxy_protocol=True)
    async with open_gateway(options) as gateway:
        answer = await exchange(gateway.port, b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n" + request("/who"))
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_clients_behind_a_proxy_are_counted_one_by_one() -> None:
    options = GatewayOptions(
        port=0, trusted_proxies=(LOCAL,), proxy_protocol=True, limits=Limits(connections_per_address=2)
    )
    async with open_gateway(options) as gateway:
        greedy = [await trio.open_tcp_stream("127.0.0.1", gateway.port) for _ in range(3)]
        for stream in greedy:
            await stream.send_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
            await until(lambda: gateway.shared.admission.open > 1 or gateway.shared.admission.refused > 0)
        with trio.fail_after(30):
            assert await greedy[2].receive_some() == b""
        answer = await exchange(
            gateway.port, b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 80\r\n" + request("/who", headers=CLOSE)
        )
        assert b" 200 " in answer
        for stream in greedy:
            await stream.aclose()
        await until(lambda: not gateway.shared.admission.open)
        assert "0 addresses" in repr(gateway.shared.admission)


async def test_the_proxy_header_comes_before_tls(tmp_path: Path) -> None:
    pem = tmp_path / "c.pem"
    pem.write_bytes(make_certificate(["127.0.0.1"]))
    options = GatewayOptions(port=0, trusted_proxies=(LOCAL,), proxy_protocol=True, tls=TlsOptions("on", pem, pem))
    context = Certificates(options.tls, [], None).context
    assert context is not None
    async with open_gateway(options) as gateway:
        import ssl

        plain = await trio.open_tcp_stream("127.0.0.1", gateway.port)
        await plain.send_all(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n")
        stream = trio.SSLStream(
            plain, ssl.create_default_context(cafile=pem), server_hostname="127.0.0.1", https_compatible=True
        )
        with trio.fail_after(30):
            async with stream:
                await stream.send_all(request("/who", headers=CLOSE))
                answer = b"".join([piece async for piece in stream])
        assert answer.endswith(b'["2001:db8::7","https"]')
