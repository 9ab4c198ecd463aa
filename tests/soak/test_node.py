"""A node for minutes, under listeners that come and go, with its render process and its session killed again and again.

``make soak`` runs it; ``SOAK_SECONDS=60 make soak`` for a short look (default: ten minutes).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.node.booting import RunningNode, node_running
from tests.node.test_whole_node import addresses, render_processes
from wsactors.client import ClientError, Disconnected, connect
from wsactors.node.cli import ExitCode

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
LISTENERS = 50
SILENCE_LIMIT = 3.0
"""Seconds without a frame that a listener puts up with, kills included; the machine may be busy with other things."""
GROWTH_BYTES = 40_000_000

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default::ResourceWarning")]


class Tally:
    """What all listeners saw."""

    def __init__(self) -> None:
        self.frames = self.visits = self.kills = 0
        self.longest_silence = 0.0


async def listener(url: str, tally: Tally, chance: random.Random) -> None:
    """Come, stay a while, go; again and again."""
    while True:
        with contextlib.suppress(ClientError, Disconnected):
            async with connect(url) as client:
                listening = await client.join("demo")
                tally.visits += 1
                last = trio.current_time()
                with trio.move_on_after(chance.uniform(0.5, 10.0)):
                    async for _ in listening:
                        now = trio.current_time()
                        tally.longest_silence = max(tally.longest_silence, now - last)
                        last = now
                        tally.frames += 1
        await trio.sleep(chance.uniform(0.0, 0.5))


async def killer(node: RunningNode, admin: str, tally: Tally, chance: random.Random) -> None:
    """Kill the render process, or the session's actor, every few seconds."""
    while True:
        await trio.sleep(chance.uniform(4.0, 8.0))
        if chance.random() < 0.5:
            for pid in render_processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            await ask(admin, {"op": "kill", "pid": "battle:demo:session"})
        tally.kills += 1


async def ask(admin: str, request: dict[str, Any]) -> dict[str, Any]:
    """One question to the admin socket."""
    async with await trio.open_unix_socket(admin) as stream:
        await stream.send_all(json.dumps(request).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            said += await stream.receive_some()
        answer: dict[str, Any] = json.loads(said)
        return answer


def resident_bytes(pid: int) -> int:
    """What the process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_node_stays_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text((ROOT / "config/dev.toml").read_text().replace("../supervisors", str(ROOT / "supervisors")))
    config.chmod(0o600)
    chance = random.Random(2)
    tally = Tally()
    options = ("--set", "gateway.port=0", "--set", "admin.allow_changes=true", "--print-addresses")
    with node_running(config, *options) as node:
        told = addresses(node)
        async with trio.open_nursery() as nursery:
            for _ in range(LISTENERS):
                nursery.start_soon(listener, told["websocket"], tally, random.Random(chance.random()))
            nursery.start_soon(killer, node, told["admin"], tally, chance)
            await trio.sleep(SECONDS / 4)
            early = resident_bytes(node.process.pid)
            await trio.sleep(SECONDS * 3 / 4)
            late = resident_bytes(node.process.pid)
            nursery.cancel_scope.cancel()
        info = await ask(told["admin"], {"op": "info"})
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK
    print(
        f"\n{tally.visits} visits, {tally.frames} frames, {tally.kills} kills; longest silence {tally.longest_silence:.2f} s"
    )
    print(f"memory after a quarter {early / 1e6:.1f} MB, at the end {late / 1e6:.1f} MB; {info}")

    assert tally.visits > LISTENERS
    assert tally.kills > SECONDS / 10
    assert tally.longest_silence < SILENCE_LIMIT
    assert late - early < GROWTH_BYTES
    assert info["actors"] < 100, "actors of listeners that left are gone"
    assert info["zombies"] == 0
