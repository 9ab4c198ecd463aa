from __future__ import annotations

import re
from typing import NoReturn

import httpx
import pytest

from tests.gateway.harness import Gateway, TestDirectory, TestSession, exchange, open_gateway, request
from wsactors.gateway.options import GatewayOptions


async def get(gateway: Gateway, path: str, **arguments: object) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request("GET", gateway.url + path, timeout=5, **arguments)  # type: ignore[arg-type]


async def test_the_page_its_modules_and_what_protects_them() -> None:
    async with open_gateway() as gateway:
        page = await get(gateway, "/")
        modules = re.findall(r'src="(/[^"]+\.js)"', page.text)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert modules
        assert "<script>" not in page.text
        for path in modules:
            module = await get(gateway, path)
            assert module.headers["content-type"] == "text/javascript; charset=utf-8"
            assert module.headers["x-content-type-options"] == "nosniff"
            assert "connect-src" not in module.headers["content-security-policy"]
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert policy.endswith("; connect-src 'self' https://127.0.0.1:*")
        again = await get(gateway, "/", headers={"if-none-match": page.headers["etag"]})
        assert again.status_code == 304


async def test_health_ready_and_the_list_of_sessions() -> None:
    ready = True
    directory = TestDirectory()
    directory.add(TestSession("main stage", title="<b>loud</b>"))
    async with open_gateway(directory=directory, is_ready=lambda: ready) as gateway:
        assert (await get(gateway, "/health")).text == "ok\n"
        assert (await get(gateway, "/ready")).status_code == 200
        ready = False
        assert (await get(gateway, "/ready")).status_code == 503
        listed = (await get(gateway, "/api/sessions")).json()
        assert listed == {
            "sessions": [{"name": "main stage", "title": "<b>loud</b>", "kind": "battle", "listeners": 0}]
        }


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/%2e%2e/app.py", "/js/", "/web/index.html"])
async def test_a_path_that_is_no_page_is_not_found(path: str) -> None:
    async with open_gateway() as gateway:
        answer = await exchange(gateway.port, request(path, headers="Connection: close\r\n"))
        assert answer.startswith(b"HTTP/1.1 404 ")


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with open_gateway() as gateway:
        answer = await exchange(
            gateway.port, request("/health") + request("/health") + request("/health", headers="Connection: close\r\n")
        )
        assert answer.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/", method="POST", headers="Connection: close\r\n"), 405),
        (request("/", method="BREW"), 405),
        (request("/", headers="Content-Length: 5\r\n") + b"hello", 413),
        (request("/", headers="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 413),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (request("/health") + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (request("/health") + request("/", headers="A: b\r\n" * 70), 431),
        (request("/health") + request("/", method="CONNECT", headers="Content-Length: 0\r\n"), 405),
    ],
)
async def test_what_is_not_served_is_answered_and_closed(data: bytes, status: int) -> None:
    async with open_gateway() as gateway:
        answer = await exchange(gateway.port, data)
        assert f"HTTP/1.1 {status} ".encode() in answer


async def test_http2_is_not_entered_by_upgrade() -> None:
    async with open_gateway() as gateway:
        headers = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        answer = await exchange(gateway.port, request("/health", headers=headers))
        assert answer.startswith(b"HTTP/1.1 200 ")


class FailingDirectory(TestDirectory):
    """Sessions that cannot be listed."""

    async def sessions(self) -> NoReturn:
        raise RuntimeError("a secret of the inside")


async def test_a_failure_of_the_application_is_a_500_that_tells_nothing() -> None:
    async with open_gateway(directory=FailingDirectory()) as gateway, httpx.AsyncClient() as client:
        for path in ("/api/sessions", "/listen/main.ogg"):
            answer = await client.get(gateway.url + path)
            assert answer.status_code == 500
            assert "secret" not in answer.text
        assert (await client.get(gateway.url + "/health")).status_code == 200


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.gateway.http.KEEP_ALIVE_SECONDS", 0.05)
    async with open_gateway(GatewayOptions(port=0)) as gateway:
        answer = await exchange(gateway.port, request("/health"))
        assert answer.startswith(b"HTTP/1.1 200 ")
