from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.gateway.harness import Gateway, open_gateway, request, until
from wsactors.gateway.certificates import Certificates
from wsactors.gateway.options import GatewayOptions, TlsOptions
from wsactors.gateway.tls import make_certificate


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "own.pem"
    path.write_bytes(make_certificate(["127.0.0.1"]))
    return path


@asynccontextmanager
async def connected(gateway: Gateway, trusted: bytes) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    context = ssl.create_default_context(cadata=trusted.partition(b"-----BEGIN PRIVATE")[0].decode())
    plain = await trio.open_tcp_stream("127.0.0.1", gateway.port)
    stream = trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True)
    with trio.fail_after(30):
        async with stream:
            await stream.do_handshake()
            yield stream


async def ask(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with trio.fail_after(30):
        await stream.send_all(request("/health"))
        answer = b""
        while not answer.endswith(b"ok\n"):
            answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_new_connections_get_the_new_certificate_and_open_ones_stay(pem: Path) -> None:
    first = pem.read_bytes()
    async with open_gateway(GatewayOptions(port=0, tls=TlsOptions("on", pem, pem))) as gateway:
        assert gateway.shared.certificates is not None
        async with connected(gateway, first) as old:
            await ask(old)
            second = make_certificate(["127.0.0.1"])
            pem.write_bytes(second)
            assert gateway.shared.certificates.reload()
            async with connected(gateway, second) as new:
                await ask(new)
                await ask(old)
            with pytest.raises(trio.BrokenResourceError):
                async with connected(gateway, first):
                    pass


async def test_files_that_do_not_fit_change_nothing(pem: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(pem.read_bytes())
    certificates = Certificates(TlsOptions("on", pem, key), [], None)
    before = certificates.context
    pem.write_bytes(make_certificate(["127.0.0.1"]))  # the key is still the old one
    assert not certificates.reload()
    pem.write_text("nonsense")
    assert not certificates.reload()
    pem.unlink()
    assert not certificates.reload()
    assert certificates.context is before


async def test_a_changed_file_is_noticed(pem: Path, tmp_path: Path) -> None:
    options = TlsOptions("on", pem, pem, reload_seconds=0.02)
    certificates = Certificates(options, [], None)
    before = certificates.context
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificates.watch)
        pem.write_text("half a certif")
        await trio.sleep(0.05)
        assert certificates.context is before
        new = tmp_path / "new.pem"
        new.write_bytes(make_certificate(["127.0.0.1"]))
        new.replace(pem)
        await until(lambda: certificates.context is not before)
        nursery.cancel_scope.cancel()


async def test_a_development_certificate_is_not_watched() -> None:
    with trio.fail_after(30):
        await Certificates(TlsOptions("on"), ["localhost"], None).watch()
