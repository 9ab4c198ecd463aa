from __future__ import annotations

import httpx
import pytest

from tests.gateway.harness import open_gateway
from wsactors.gateway.cors import Cors
from wsactors.gateway.options import GatewayOptions

FRIEND = "https://radio.example"
EVIL = "https://evil.example"
ASKING = {"access-control-request-method": "POST", "access-control-request-headers": "x-evil"}


async def answer(allowed: tuple[str, ...], method: str, headers: dict[str, str]) -> httpx.Response:
    options = GatewayOptions(port=0, allowed_origins=allowed)
    async with open_gateway(options) as gateway, httpx.AsyncClient() as client:
        return await client.request(method, f"{gateway.url}/health", headers=headers)


def cors_headers(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control")}


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_nobody_is_named_by_default(method: str) -> None:
    response = await answer((), method, {"origin": EVIL} | ASKING)
    assert response.status_code == 403
    assert not cors_headers(response)


async def test_a_named_site_reads_answers_and_is_told_its_configured_name() -> None:
    response = await answer((FRIEND + "/",), "GET", {"origin": FRIEND})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == FRIEND
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["vary"] == "origin"


async def test_a_preflight_of_a_named_site_is_answered_with_a_closed_list() -> None:
    response = await answer((FRIEND,), "OPTIONS", {"origin": FRIEND} | ASKING)
    assert response.status_code == 204
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "authorization" in response.headers["access-control-allow-headers"]
    assert "x-evil" not in response.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    "origin", [EVIL, "null", f"{FRIEND}.evil.example", f"{FRIEND}:444", "http://radio.example", ""]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_another_site_is_refused_and_never_reflected(origin: str, method: str) -> None:
    response = await answer((FRIEND,), method, {"origin": origin} | ASKING)
    assert response.status_code == 403
    assert not cors_headers(response)


async def test_everybody_is_let_in_without_credentials_only() -> None:
    for origin in (EVIL, "null"):
        response = await answer(("*", FRIEND), "GET", {"origin": origin})
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers


def test_a_cache_is_told_that_answers_differ() -> None:
    assert Cors.of([FRIEND]).headers(None) == {"vary": "origin"}
    assert Cors.of([]).headers(EVIL) == {}
