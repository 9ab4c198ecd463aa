from __future__ import annotations

import socket
import stat
from pathlib import Path

import httpx
import pytest
import trio

import wsactors
from tests.gateway.harness import TestDirectory
from wsactors.gateway import Gateway
from wsactors.gateway.options import GatewayOptions, GatewayRefused, TlsOptions
from wsactors.gateway.unix_socket import UnixListener


async def test_it_serves_in_clear_beside_the_port_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    options = GatewayOptions(port=0, unix_socket=path, unix_socket_mode="0660", tls=TlsOptions("on"))
    async with wsactors.Node("unix") as node:
        await node.spawn(Gateway, options, None, None, TestDirectory())
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            with trio.fail_after(30):
                assert (await client.get("/health")).text == "ok\n"
                assert (await client.get("/health", headers={"host": "evil.example"})).status_code == 421
    assert not path.exists()


def test_a_dead_node_s_socket_is_replaced_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = UnixListener(path, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(GatewayRefused, match="another process serves"):
        UnixListener(path, 0o600)
    first.close()
    assert not path.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_no_socket_is_never_removed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    target = tmp_path / "precious"
    target.write_text("data")
    match kind:
        case "file":
            path.write_text("data")
        case "link":
            path.symlink_to(target)
        case _:
            path.mkdir()
    with pytest.raises(GatewayRefused, match="no socket"):
        UnixListener(path, 0o600)
    assert target.read_text() == "data"
    assert path.exists()


def test_a_socket_that_another_put_in_its_place_is_left_there(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    first = UnixListener(path, 0o600)
    path.unlink()
    second = UnixListener(path, 0o600)
    first.close()
    assert path.exists()
    second.close()


def test_a_place_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "gateway.sock", tmp_path / ("x" * 200)):
        with pytest.raises(GatewayRefused, match="cannot be used"):
            UnixListener(path, 0o600)
    assert not list(tmp_path.iterdir())
