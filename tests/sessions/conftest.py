"""A node with its tree of sessions, booted from the files that a node boots, and listeners that remember what they hear."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from wsactors.actors import Attached
from wsactors.dj import child
from wsactors.dj.song import Pcm, Song, new_memory, seal
from wsactors.dj.timeline import frame_at
from wsactors.dsp.loops import demo_loops
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.directory import Membership, SessionDirectory, open_battle
from wsactors.sessions.messages import DeckTruth, GetState, GetStatus, MixerTruth, Status
from wsactors.sessions.options import BattleOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire.native import FLAG_DISCONTINUITY, AudioFrame, Event, decode_audio, decode_server

SUPERVISORS = Path(__file__).parents[2] / "supervisors"


@attrs.frozen
class Arrival:
    at: int
    """Timeline frame at which it was offered."""
    seconds: float
    data: bytes
    frame: AudioFrame


class Ear:
    """A sink that keeps everything and can be waited on."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.told: list[tuple[float, object, Event]] = []
        """When, under which key, what: everything but sound."""
        self._changed = trio.Event()

    def offer(self, data: bytes, key: object = None) -> bool:
        at = time.monotonic_ns()
        if key == AUDIO:
            self.arrivals.append(Arrival(frame_at(at), at / 1e9, data, decode_audio(data)))
        else:
            event = decode_server(data)
            assert isinstance(event, Event)
            self.told.append((at / 1e9, key, event))
        self._changed.set()
        self._changed = trio.Event()
        return True

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        with trio.fail_after(seconds):
            while not (result := condition()):
                await self._changed.wait()
        return result

    async def hear(self, count: int, seconds: float = 30.0) -> list[Arrival]:
        """The next `count` frames."""
        begin = len(self.arrivals)
        await self.until(lambda: len(self.arrivals) >= begin + count, seconds)
        return self.arrivals[begin : begin + count]

    def packets(self, begin: int = 0) -> list[tuple[int, bytes]]:
        return [(arrival.frame.timestamp, arrival.frame.payload) for arrival in self.arrivals[begin:]]

    def jumps(self) -> int:
        """Discontinuities after the first frame."""
        return sum(bool(arrival.frame.flags & FLAG_DISCONTINUITY) for arrival in self.arrivals[1:])

    def longest_gap(self) -> float:
        """Seconds between two frames at most."""
        times = [arrival.seconds for arrival in self.arrivals]
        return max((b - a for a, b in pairwise(times)), default=0.0)


@attrs.frozen
class House:
    node: Node
    directory: SessionDirectory
    visitor: Attached
    """Somebody who owns the listeners."""

    async def open(self, name: str, **options: Any) -> BattleOptions:
        battle = BattleOptions(name, **options)
        await open_battle(self.node, battle, load_tree(SUPERVISORS / "battle.toml", ["wsactors"]))
        return battle

    async def listen(self, name: str, history: int = 0, *, events: bool = True) -> tuple[Ear, Membership]:
        ear = Ear()
        membership = await self.directory.join(name, ear, self.visitor.pid, history=history, events=events)
        assert isinstance(membership, Membership)
        return ear, membership

    async def deck(self, battle: BattleOptions, side: str) -> DeckTruth:
        truth: DeckTruth = await self.node.call(battle.part(f"deck_{side}"), GetState())
        return truth

    async def mixer(self, battle: BattleOptions) -> MixerTruth:
        truth: MixerTruth = await self.node.call(battle.part("mixer"), GetState())
        return truth

    async def status(self, battle: BattleOptions) -> Status:
        status: Status = await self.node.call(battle.part("session"), GetStatus())
        return status


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    # Debug mode refuses a message that its sender could still change.
    async with Node("house", debug=True) as node:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        async with node.attach() as visitor:
            yield House(node, SessionDirectory(node), visitor)


@pytest.fixture(scope="session")
def loops() -> dict[str, Any]:
    """The demo loops as the sessions of these tests play them."""
    first, second = demo_loops(1)
    return {"loop-a": first, "loop-b": second}


@pytest.fixture
def ready_loops(monkeypatch: pytest.MonkeyPatch, loops: dict[str, Any]) -> None:
    """Synthesising them takes a second of processor, once per node; here once for all nodes (tests/dj has the real way)."""

    async def made() -> Any:
        return tuple((Song(name, name, len(loop), loop=True), in_memory(loop)) for name, loop in loops.items())

    monkeypatch.setattr("wsactors.dj.cache.make_loops", made)


def in_memory(samples: Any) -> Pcm:
    memory = new_memory("test")
    os.write(memory, samples.tobytes())
    return seal(memory, len(samples))


PATIENT = """
import sys
from wsactors.dj import render
render.MAX_LATE = 60 * render.SAMPLE_RATE
render.main(sys.argv[1:])
"""


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A render process that a busy machine does not let run for a moment is not taken for one that hangs, and skips nothing."""
    folder = tmp_path_factory.mktemp("patient")
    (folder / "patient_render.py").write_text(PATIENT)
    monkeypatch.setattr("wsactors.dj.child._PACKAGE_ROOT", f"{child._PACKAGE_ROOT}:{folder}")
    monkeypatch.setattr("wsactors.dj.render_host.MODULE", "patient_render")
    monkeypatch.setattr("wsactors.dj.render_host.STALL", 10.0)


@pytest.fixture
async def house(ready_loops: None, patience: None) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
