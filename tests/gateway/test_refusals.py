"""Whoever is refused before anything serves him is told in the words of the API that he asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h2.events
import httpx
import pytest

from tests.gateway.h2_client import connected
from tests.gateway.harness import exchange, request
from tests.gateway.test_admin_site import BEARER, open_admin
from tests.gateway.topics import open_topics
from wsactors.gateway.admin_site import AdminApi
from wsactors.gateway.body import METHODS
from wsactors.gateway.options import GatewayOptions, Limits, TlsOptions
from wsactors.gateway.refusals import code_of, refuse

EVIL = {"origin": "https://evil.example"}
ALL = ", ".join(sorted(METHODS))


def is_ours(answer: httpx.Response, status: int, code: str) -> None:
    """Whether it has the shape of our own APIs."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert (set(answer.json()), set(error), error["code"]) == ({"error"}, {"code", "message"}, code)
    assert error["message"]


def is_supabase(answer: httpx.Response, status: int) -> None:
    """Whether it has the shape that Supabase's clients read."""
    assert (answer.status_code, set(answer.json())) == (status, {"message"})
    assert answer.headers["content-type"] == "application/json"


async def test_apis_answer_json_and_pages_text() -> None:
    options = GatewayOptions(port=0, limits=Limits(body_bytes=2048))
    async with open_topics(options=options) as topics, topics.client() as client:
        is_ours(await client.get("/api/nothing"), 404, "not_found")
        deleted = await client.delete("/api/topics/room:1/publish")
        is_ours(deleted, 405, "method_not_allowed")
        assert deleted.headers["allow"] == "POST"
        sessions = await client.put("/api/sessions")
        is_ours(sessions, 405, "method_not_allowed")
        assert sessions.headers["allow"] == "GET, HEAD"
        is_ours(await client.get("/api/topics/a/history", headers=EVIL), 403, "forbidden")
        is_ours(await client.get("/api/sessions", headers={"host": "evil.example"}), 421, "misdirected_request")
        is_ours(await client.post("/api/publish", content=b"x" * 3000), 413, "too_large")
        packed = {"content-encoding": "gzip"}
        is_ours(await client.post("/api/publish", content=b"x", headers=packed), 415, "unsupported_media_type")
        brewed = await client.request("BREW", "/api/publish")
        is_ours(brewed, 405, "method_not_allowed")
        assert brewed.headers["allow"] == ALL
        for path, allowed in (("/health", "GET, HEAD"), ("/", "GET, HEAD")):
            page = await client.post(path)
            assert (page.status_code, page.headers["allow"]) == (405, allowed)
            assert page.headers["content-type"].startswith("text/plain")
        assert (await client.get("/nothing")).text == "There is nothing at this path.\n"


@pytest.mark.parametrize("stem", ["/api/broadcast", "/realtime/v1/api/broadcast"])
async def test_supabase_s_clients_are_answered_in_their_own_shape(stem: str) -> None:
    options = GatewayOptions(port=0, limits=Limits(body_bytes=2048))
    async with open_topics(options=options) as topics, topics.client() as client:
        got = await client.get(stem)
        is_supabase(got, 405)
        assert got.headers["allow"] == "POST"
        is_supabase(await client.post(stem, headers=EVIL), 403)
        is_supabase(await client.post(stem, content=b"x" * 3000), 413)
        is_supabase(await client.post(f"{stem}/a/b/c/d", content=b"{}"), 404)
        is_supabase(await client.get("/realtime/v1/nothing"), 404)


async def test_an_endpoint_that_fails_says_so_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_self: AdminApi, _request: Any) -> Any:
        raise ZeroDivisionError("token=PLANTED")

    monkeypatch.setattr(AdminApi, "node", fail)
    async with open_admin() as (_, client):
        failed = await client.get("/admin/api/node", headers=BEARER)
        is_ours(failed, 500, "crash")
        assert "PLANTED" not in failed.text


async def test_the_admin_api_answers_json_whatever_is_asked() -> None:
    async with open_admin() as (_, client):
        is_ours(await client.get("/admin/api/nothing", headers=BEARER), 404, "not_found")
        for path, allowed in (("kick", "POST"), ("drain", "DELETE, POST"), ("node", "GET, HEAD")):
            answer = await client.put(f"/admin/api/{path}", headers=BEARER)
            is_ours(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == allowed
        is_ours(await client.post("/metrics"), 405, "method_not_allowed")
        is_ours(await client.post("/openapi.json"), 405, "method_not_allowed")
        is_ours(await client.get("/admin/api/node"), 401, "missing")
        is_ours(await client.post("/admin/api/kick", headers=BEARER, content=b"{"), 400, "malformed")
        is_ours(await client.get("/admin/api/node", headers={**BEARER, **EVIL}), 403, "forbidden")


async def test_http2_refuses_in_the_same_words(pem: Path) -> None:
    options = GatewayOptions(port=0, tls=TlsOptions("on", pem, pem), limits=Limits(body_bytes=2048))
    async with open_topics(options=options) as topics, connected(topics.address.port, pem) as client:
        stream = client.ask("/api/publish", "BREW")
        await client.flush()
        head = await client.hear(h2.events.ResponseReceived)
        assert isinstance(head, h2.events.ResponseReceived)
        await client.hear(h2.events.StreamEnded)
        headers = {bytes(name).decode(): bytes(value).decode() for name, value in head.headers or ()}
        assert (headers[":status"], headers["allow"]) == ("405", ALL)
        assert json.loads(client.body(stream))["error"]["code"] == "method_not_allowed"


async def test_a_request_that_is_refused_behind_another_is_told_likewise() -> None:
    async with open_topics() as topics:
        host = f"127.0.0.1:{topics.address.port}"
        late = request("/api/sessions", headers="Content-Length: 1\r\n").replace(b"127.0.0.1", host.encode()) + b"x"
        answer = await exchange(topics.address.port, request("/health") + late)
        status, _, body = answer.partition(b"ok\n")[2].partition(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 413 ")
        assert json.loads(body)["error"]["code"] == "too_large"


def test_every_status_has_a_word() -> None:
    assert [code_of(status) for status in (400, 404, 405, 431, 503)] == [
        "malformed", "not_found", "method_not_allowed", "request_header_fields_too_large", "overloaded",
    ]  # fmt: skip
    assert refuse("", 431, "too many headers").body == b"too many headers\n"
