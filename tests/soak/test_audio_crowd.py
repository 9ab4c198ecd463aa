"""A thousand listeners hear a stage by QUIC for minutes, and some of them always come and go.

``make soak`` runs it; ``SOAK_LISTENERS=200 SOAK_AUDIO_SECONDS=30 make soak ARGS="-k audio"`` for a short look. The listeners are
those of ``benchmarks/_audio_joined.py``, in processes of their own: they join as anybody does and acknowledge as Chromium does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from tests.node.booting import node_running
from tests.soak.test_node import ask, resident_bytes
from wsactors.client import Client, Stage, connect, join_stage
from wsactors.media.opus import Encoder
from wsactors.node.cli import ExitCode

ROOT = Path(__file__).parents[2]
CROWD = ROOT / "benchmarks" / "_audio_joined.py"
LISTENERS = int(os.environ.get("SOAK_LISTENERS", "1000"))
SECONDS = float(os.environ.get("SOAK_AUDIO_SECONDS", "180"))
FRAME = 1_920
PROCESSES = 2
AT_ONCE = 25
"""Listeners of a process who join without waiting for each other; `LISTENERS` is a multiple of that times `PROCESSES`."""
CHURN = 5
"""Of each process' listeners so many leave each second, and as many others come."""
SETTLE = 90.0
"""Seconds that the last joins and leaves may take."""
GROWTH = 0.05
"""Share by which the node may grow while the number of its listeners stays the same, plus `GROWTH_BYTES`."""
GROWTH_BYTES = 15_000_000

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default::ResourceWarning")]

NODE = f"""
[node]
name = "soak"
trees = ["{ROOT}/supervisors/node.toml"]
[logging]
level = "error"
[gateway]
port = 0
[quic]
enabled = true
port = 0
[quic.limits]
connections = 5000
connections_per_address = 5000
packets_per_address = 1000000.0
[sessions.talk]
kind = "stage"
first_moderates = true
grace_seconds = 1.0
"""


class Crowd:
    """A process of listeners."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CROWD), "1", "talk"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def ask(self, *words: object) -> list[float]:
        """What it answers."""
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> list[float]:
        assert self.process.stdout is not None
        status, *numbers = self.process.stdout.readline().split() or ["gone"]
        assert status == "ok", status
        return [float(number) for number in numbers]

    def end(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


@attrs.define
class Seen:
    """What the test noted while the run went on."""

    memory: list[tuple[float, int]] = attrs.field(factory=list)
    """Seconds, and bytes that the node holds."""
    joins: float = 0
    partings: float = 0
    frames: float = 0


@asynccontextmanager
async def crowds(port: int, seen: Seen) -> AsyncIterator[list[Crowd]]:
    """All listeners, joined."""
    found = [Crowd() for _ in range(PROCESSES)]
    try:
        for _ in range(0, LISTENERS, PROCESSES * AT_ONCE):
            assert await all_of(found, lambda crowd: crowd.ask("join", port, AT_ONCE)) == [[AT_ONCE]] * PROCESSES
            seen.joins += AT_ONCE * PROCESSES
        yield found
    finally:
        for crowd in found:
            crowd.end()


async def all_of(crowds: list[Crowd], do: Callable[[Crowd], list[float]]) -> list[list[float]]:
    """Ask all at once."""
    answers: dict[int, list[float]] = {}

    async def one(number: int, crowd: Crowd) -> None:
        answers[number] = await trio.to_thread.run_sync(do, crowd)

    async with trio.open_nursery() as nursery:
        for number, crowd in enumerate(crowds):
            nursery.start_soon(one, number, crowd)
    return [answers[number] for number in range(len(crowds))]


async def churn(port: int, crowds: list[Crowd], seen: Seen, node: int) -> None:
    """Come and go for so long."""
    begun = trio.current_time()
    while (elapsed := trio.current_time() - begun) < SECONDS:
        seen.memory.append((elapsed, resident_bytes(node)))
        seen.partings += sum(sum(left) for left in await all_of(crowds, lambda crowd: crowd.ask("leave", CHURN)))
        seen.joins += sum(sum(came) for came in await all_of(crowds, lambda crowd: crowd.ask("join", port, CHURN)))
        await trio.sleep(1.0)


async def settled(ask_now: Callable[[], Awaitable[Any]], expected: Any) -> Any:
    """Ask until the answer is as expected, or for too long; the last answer."""
    with trio.move_on_after(SETTLE):
        while (found := await ask_now()) != expected:  # noqa: ASYNC110
            await trio.sleep(1.0)
        return found
    return await ask_now()


async def speak(stage: Stage) -> None:
    """Sound without end, in frames of 40 ms: listeners and node share the cores."""
    at = np.arange(FRAME * 25, dtype=np.float32) / 48_000
    tone = (0.2 * np.sin(2 * np.pi * 225 * at)).astype(np.float32)[:, None]
    with Encoder(1, bitrate=32_000) as encoder:
        begun, number = trio.current_time(), 0
        while True:
            await trio.sleep_until(begun + number * FRAME / 48_000)
            block = np.ascontiguousarray(tone[number % 25 * FRAME :][:FRAME])
            stage.speak(encoder.encode(block), samples=FRAME, level=17)
            number += 1


async def counts(client: Client, stage: Stage) -> tuple[int, int]:
    """How many listen and how many are in the audience, as the node tells."""
    [session] = await client.sessions()
    state = await stage.act("state")
    assert isinstance(state, dict)
    return session.listeners, int(str(state["audience"]))


async def test_a_thousand_hear_a_stage_and_some_come_and_go(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(NODE)
    config.chmod(0o600)
    seen = Seen()
    with node_running(config, "--print-addresses") as node:
        told = json.loads(node.wait_line('"gateway"'))
        port, url = told["quic"]["port"], f"quic://127.0.0.1:{told['quic']['port']}"
        async with connect(url, certificate_sha256=told["quic"]["hash"]) as client, trio.open_nursery() as nursery:
            stage = await join_stage(client, "talk")
            nursery.start_soon(speak, stage)
            async with crowds(port, seen) as there:
                await churn(port, there, seen, node.process.pid)
                present = await settled(lambda: counts(client, stage), (LISTENERS + 1, LISTENERS))
                await all_of(there, lambda crowd: crowd.ask("count"))
                await trio.sleep(10.0)
                last = await all_of(there, lambda crowd: crowd.ask("count"))
                info = await ask(told["admin"], {"op": "info"})
                await all_of(there, lambda crowd: crowd.ask("leave", LISTENERS))
            alone = await settled(lambda: counts(client, stage), (1, 0))
            left = await ask(told["admin"], {"op": "info"})
            nursery.cancel_scope.cancel()
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK
    judge(seen, last, present, info)
    assert alone == (1, 0)
    assert left["actors"] < 200, "the actors of those who left are gone"
    assert left["zombies"] == 0


def judge(seen: Seen, last: list[list[float]], present: tuple[int, int], info: dict[str, Any]) -> None:
    """Print what was seen, then insist."""
    since, early = next(each for each in seen.memory if each[0] > SECONDS / 5)
    until, late = seen.memory[-1]
    print(
        f"\n{seen.joins:.0f} joins, {seen.partings:.0f} partings; in the last ten seconds (all, fewest, listeners) {last}"
    )
    print(f"memory after {since:.0f} s {early / 1e6:.1f} MB, after {until:.0f} s {late / 1e6:.1f} MB; {present} {info}")
    assert present == (LISTENERS + 1, LISTENERS)
    assert seen.partings >= PROCESSES * CHURN * 3
    assert seen.joins == LISTENERS + seen.partings
    assert sum(present for _, _, present in last) == LISTENERS
    assert min(fewest for _, fewest, _ in last) > 0, "everybody hears"
    assert late - early < early * GROWTH + GROWTH_BYTES
