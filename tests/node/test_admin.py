"""The admin socket: the owner's alone, shows real actors, changes nothing unless allowed, and survives what it is sent."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from wsactors.actors import Actor
from wsactors.errors import Ignored, StartError
from wsactors.node import context as contexts
from wsactors.node.admin import AdminSocket
from wsactors.node.context import NodeContext
from wsactors.node.settings import AdminSettings, Settings
from wsactors.supervision import Node


class Idle(Actor):
    """Does nothing."""


@asynccontextmanager
async def serving(path: Path, **settings: Any) -> AsyncIterator[Node]:
    contexts.provide("admin-test", NodeContext(Settings(admin=AdminSettings(socket=path, **settings))))
    try:
        async with Node("admin-test") as node:
            await node.spawn(AdminSocket, name="admin")
            yield node
    finally:
        contexts.forget("admin-test")


async def exchange(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    with trio.fail_after(10):
        async with await trio.open_unix_socket(str(path)) as stream:
            answers = b""
            for number, line in enumerate(lines, 1):
                await stream.send_all(line + b"\n")
                while answers.count(b"\n") < number:
                    piece = await stream.receive_some()
                    if not piece:
                        break
                    answers += piece
    return [json.loads(line) for line in answers.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "admin.sock"


async def test_it_shows_the_actors_that_live(path: Path) -> None:
    async with serving(path) as node:
        pids = [await node.spawn(Idle, name=f"idle-{number}") for number in range(3)]
        node.exit(pids[0], "kill")

        info, listed = await exchange(path, b'{"op": "info"}', b'{"op": "processes", "sort": "pid", "limit": 1000}')

        rows = {row["name"]: row for row in listed["processes"]}
        assert info["node"] == "admin-test"
        assert info["actors"] + info["attached"] == len(listed["processes"]) == len(node.sched.processes)
        assert rows["idle-1"]["pid"] == repr(pids[1])
        assert rows["idle-1"]["class"] == "Idle"
        assert "idle-0" not in rows


async def test_it_is_the_owners_alone(path: Path) -> None:
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    contexts.provide("admin-test", NodeContext(Settings(admin=AdminSettings(socket=tmp_path / "open" / "s"))))
    try:
        async with Node("admin-test") as node:
            with pytest.raises(StartError, match="chmod 700"):
                await node.spawn(AdminSocket)
    finally:
        contexts.forget("admin-test")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_another_user_is_not_answered_even_when_he_reaches_it(path: Path) -> None:
    async with serving(path):
        # Root made the socket reachable for everybody by mistake; the kernel still says who comes.
        path.chmod(0o666)
        for folder in (path.parent, *path.parent.parents):
            if folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)
        code = (
            "import socket, os\nos.setgid(65534); os.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\n"
            f"s.connect({str(path)!r})\ns.settimeout(10)\n"
            'try:\n    s.sendall(b\'{"op": "info"}\\n\')\n    print(len(s.recv(100)))\nexcept OSError:\n    print(0)'
        )
        done = await trio.run_process(["/usr/bin/python3", "-c", code], capture_stdout=True)
        assert done.stdout == b"0\n"


async def test_it_changes_nothing_unless_allowed(path: Path) -> None:
    kill = b'{"op": "kill", "pid": "victim"}'
    async with serving(path) as node:
        await node.spawn(Idle, name="victim")
        [refused] = await exchange(path, kill)
        assert "admin.allow_changes" in refused["error"]
        assert node.whereis("victim") is not None

        context = contexts.context_of("admin-test")
        context.settings = Settings(admin=AdminSettings(socket=path, allow_changes=True))
        async with node.attach() as me:
            ref = me.monitor("victim")
            [done] = await exchange(path, kill)
            assert done["done"] is True
            down = await ref.wait(10)
            assert down is not None
            assert down.reason == "killed"


class Busy(Actor):
    """Blocks in its first message."""

    async def init(self, token: str) -> None:
        self.token = token

    async def handle_cast(self, message: trio.Event) -> None:
        message.set()
        await trio.sleep_forever()


async def test_the_fullest_come_first_and_a_status_tells_no_secret(path: Path) -> None:
    async with serving(path) as node:
        for number in range(50):
            await node.spawn(Idle, name=f"idle-{number}")
        await node.spawn(Busy, "PLANTED", name="busy")
        blocked = trio.Event()
        node.cast("busy", blocked)
        await blocked.wait()
        for _ in range(7):
            node.cast("busy", "more")

        first, status = await exchange(
            path, b'{"op": "processes", "sort": "queue", "limit": 1}', b'{"op": "status", "pid": "busy"}'
        )

        [row] = first["processes"]
        assert (row["name"], row["state"], row["queue"]) == ("busy", "blocked", 7)
        assert first["queued"] == 7
        assert any("handle_cast" in line for line in status["status"]["stack"])
        assert "PLANTED" not in json.dumps(status)


async def test_an_actor_is_held_still_and_let_go_again(path: Path) -> None:
    async with serving(path, allow_changes=True) as node:
        await node.spawn(Idle, name="idle")

        held, shown, gone_on, nobody = await exchange(
            path,
            b'{"op": "suspend", "pid": "idle"}',
            b'{"op": "status", "pid": "idle"}',
            b'{"op": "resume", "pid": "idle"}',
            b'{"op": "suspend", "pid": "<admin-test.999>"}',
        )

        assert (held["done"], shown["state"], gone_on["done"]) == (True, "suspended", True)
        assert "no live actor" in nobody["error"]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"3", b'"x"', b'{"op": "nonsense"}', b'{"op": "kill"}', b'{"op": "processes", "sort": "evil"}',
        b'{"op": "processes", "limit": 1e9}', b'{"op": "processes", "limit": true}', b'{"op": "processes", "limti": 3}',
        b"[" * 60_000, b"\xff\xfe", b'{"op": NaN}',
    ],
)  # fmt: skip
async def test_nonsense_is_answered_and_harms_nobody(path: Path, line: bytes) -> None:
    async with serving(path):
        nonsense, info = await exchange(path, line, b'{"op": "info"}')

        assert "error" in nonsense
        assert info["node"] == "admin-test"


async def test_an_endless_line_ends_the_connection_only(path: Path) -> None:
    async with serving(path):
        with trio.fail_after(10):
            async with await trio.open_unix_socket(str(path)) as stream:
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await stream.send_all(b"x" * 10_000)
        assert (await exchange(path, b'{"op": "info"}'))[0]["node"] == "admin-test"


async def test_connections_are_bounded(path: Path) -> None:
    async with serving(path), trio.open_nursery() as nursery:
        held = [await trio.open_unix_socket(str(path)) for _ in range(16)]
        for stream in held:
            await stream.send_all(b'{"op": "info"}\n')
            assert await stream.receive_some()

        with trio.fail_after(10):
            one_more = await trio.open_unix_socket(str(path))
            assert await one_more.receive_some() == b""
        for stream in (*held, one_more):
            await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_what_a_killed_node_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()

    async with serving(path):
        assert (await exchange(path, b'{"op": "info"}'))[0]["node"] == "admin-test"


async def test_a_socket_that_lives_is_not_taken(path: Path) -> None:
    async with serving(path):
        contexts.provide("second", NodeContext(Settings(admin=AdminSettings(socket=path))))
        try:
            async with Node("second") as second:
                with pytest.raises(StartError, match="another node serves this admin socket"):
                    await second.spawn(AdminSocket)
        finally:
            contexts.forget("second")
        assert (await exchange(path, b'{"op": "info"}'))[0]["node"] == "admin-test"


async def test_it_does_not_start_where_it_is_not_wanted(tmp_path: Path) -> None:
    contexts.provide("none", NodeContext(Settings(admin=AdminSettings(enabled=False))))
    try:
        async with Node("none") as node:
            with pytest.raises(Ignored):
                await node.spawn(AdminSocket)
    finally:
        contexts.forget("none")
