from __future__ import annotations

import ssl
import stat
from pathlib import Path

import httpx
import pytest
import trio

from tests.gateway.harness import TestDirectory, TestSession, exchange, open_gateway, patient, request, until
from wsactors.client import Disconnected, connect
from wsactors.gateway.options import GatewayOptions, GatewayRefused, Limits, TlsOptions
from wsactors.gateway.tls import make_certificate, server_context


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "own.pem"
    path.write_bytes(make_certificate(["127.0.0.1", "localhost"]))
    return path


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def options(certificate: Path, limits: Limits | None = None) -> GatewayOptions:
    return GatewayOptions(port=0, tls=TlsOptions("on", certificate, certificate), limits=limits or Limits())


async def test_page_and_websocket_over_tls(certificate: Path) -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(options(certificate), directory) as gateway:
        async with httpx.AsyncClient(verify=trusting(certificate)) as web:
            page = await web.get(gateway.url + "/", headers={"origin": gateway.url})
            assert page.status_code == 200
            refused = await web.get(gateway.url + "/", headers={"origin": gateway.url.replace("https", "http")})
            assert refused.status_code == 403
        async with connect(f"wss://{gateway.host}/ws", ssl_context=trusting(certificate)) as client:
            with trio.fail_after(30):
                listening = patient(await client.join("main"))
                for number in range(500):
                    session.offer_frame(number.to_bytes(2, "big") * 500)
                    if number % 10 == 0:
                        await client.ping()
                heard = [int.from_bytes((await anext(listening)).payload[:2], "big") for _ in range(200)]
    assert heard == sorted(heard)


async def test_a_stalled_tls_listener_ages_out_and_goes_on_with_whole_records(certificate: Path) -> None:
    """What waits is sealed only when it is written: a dropped record would break the connection."""
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with (
        open_gateway(options(certificate), directory) as gateway,
        connect(f"wss://{gateway.host}/ws", ssl_context=trusting(certificate)) as client,
    ):
        with trio.fail_after(60):
            listening = patient(await client.join("main"))
            # Nothing here yields to the reader, so the kernel fills up.
            while not any(sink.would_block for sink in gateway.shared.statistics().sinks):
                session.offer_frame(b"x" * 1_000)
            await trio.sleep(0.6)
            for _ in range(300):
                session.offer_frame(b"y" * 1_000)
            async for frame in listening:
                if frame.payload[:1] == b"y":
                    break
            assert await client.ping() > 0


async def test_plain_http_on_a_tls_port_and_a_silent_peer_cost_themselves_only(certificate: Path) -> None:
    async with open_gateway(options(certificate, Limits(head_seconds=1.0))) as gateway:
        assert b"200" not in await exchange(gateway.port, request("/"))
        assert await exchange(gateway.port, b"") == b""
        with pytest.raises(Disconnected):
            async with connect(f"wss://{gateway.host}/ws"):
                pass  # the certificate is trusted by nobody
        await until(lambda: not gateway.shared.admission.open)


def test_old_protocols_are_not_spoken(certificate: Path) -> None:
    context = server_context(TlsOptions("on", certificate, certificate), [], None)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_development_certificate_is_kept_private_and_used_again(tmp_path: Path) -> None:
    kept = tmp_path / "state" / "development-certificate.pem"
    server_context(TlsOptions("on"), ["localhost"], kept.parent)
    first = kept.read_bytes()
    server_context(TlsOptions("on"), ["localhost"], kept.parent)
    assert kept.read_bytes() == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    server_context(TlsOptions("on"), ["localhost", "10.0.0.9"], kept.parent)
    assert kept.read_bytes() != first
    kept.write_text("damaged")
    server_context(TlsOptions("on"), ["localhost"], kept.parent)
    assert kept.read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def test_a_certificate_that_cannot_be_used_says_which_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(GatewayRefused, match=r"missing\.pem"):
        server_context(TlsOptions("on", missing, missing), [], None)


@pytest.mark.parametrize(
    "data", [request("/"), b"x", request("/", headers="A: b\r\n" * 5_000)], ids=["page", "byte", "flood"]
)
async def test_plain_http_on_a_tls_port_is_told_to_come_by_https(data: bytes, certificate: Path) -> None:
    async with open_gateway(options(certificate)) as gateway:
        answer = await exchange(gateway.port, data)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ") or (not answer and len(data) > 20_000)  # a reset may overtake it
        if answer:
            assert b"https://" in body
            assert f"content-length: {len(body)}\r\n".encode() in head
        await until(lambda: not gateway.shared.admission.open)
