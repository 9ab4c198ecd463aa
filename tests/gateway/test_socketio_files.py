"""The browser's client: found where npm puts it, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.gateway.engines import SOCKETIO, serving
from wsactors.gateway.socketio_files import MAX_BYTES, find_files


def test_it_is_found_in_the_packages_of_the_directory_and_of_those_above(tmp_path: Path) -> None:
    dist = tmp_path / "node_modules" / "socket.io-client" / "dist"
    dist.mkdir(parents=True)
    (dist / "socket.io.js").write_text("one")
    (dist / "secret.js").write_text("no")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_files(None, below) == {"socket.io.js": b"one"}

    server = below / "node_modules" / "socket.io" / "client-dist"
    server.mkdir(parents=True)
    (server / "socket.io.min.js").write_text("two")
    assert find_files(None, below) == {"socket.io.min.js": b"two"}
    assert find_files(dist, below) == {"socket.io.js": b"one"}


@pytest.mark.parametrize("made", ["nothing", "a folder", "too large"])
def test_what_is_no_file_or_too_large_is_not_there(tmp_path: Path, made: str) -> None:
    if made == "a folder":
        (tmp_path / "socket.io.js").mkdir()
    elif made == "too large":
        (tmp_path / "socket.io.js").write_bytes(bytes(MAX_BYTES + 1))
    assert find_files(tmp_path, tmp_path) == {}


async def test_where_there_is_none_a_page_is_told_what_to_install(tmp_path: Path) -> None:
    async with serving(socketio=attrs.evolve(SOCKETIO, client_files=tmp_path)) as served:
        response = await served.http.get("/socket.io/socket.io.js")
        assert response.status_code == 404
        assert "npm install socket.io-client" in response.text
        (tmp_path / "socket.io.js").write_text("late")  # it is looked for once
        assert (await served.http.get("/socket.io/socket.io.js")).status_code == 404
