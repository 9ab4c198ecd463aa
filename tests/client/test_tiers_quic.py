"""A battle on QUIC, with a listener whose way loses a third of all packets and one whose way loses none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

pytest.importorskip("aioquic")

from tests.client.lossy_link import Way, at_random, open_link
from tests.gateway.quic_harness import open_quic_gateway
from tests.sessions.conftest import SUPERVISORS, loops, patience, ready_loops
from wsactors.client import Client, connect
from wsactors.client.hearing import Hearing, hear
from wsactors.sessions.directory import SessionDirectory, open_battle
from wsactors.sessions.options import BattleOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire.native import AudioFrame

__all__ = ["loops", "patience", "ready_loops"]

SMALL = 85
"""Bytes of a packet at 32 kb/s: 80, more or less."""


class LateDirectory:
    """The sessions of a node that is yet to be started."""

    async def prepare(self, node: Node) -> None:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        await open_battle(node, BattleOptions("demo"), load_tree(SUPERVISORS / "battle.toml", ["wsactors"]))
        self.found = SessionDirectory(node)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.found, name)


class Ear(Hearing):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[AudioFrame] = []
        self.changed = trio.Event()

    def feed(self, frame: AudioFrame, now: float) -> None:
        super().feed(frame, now)
        self.frames.append(frame)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not self.frames or not condition():
            self.changed = trio.Event()
            await self.changed.wait()

    async def until_small(self) -> None:
        """The latest frames are of the lowest tier."""
        await self.until(
            lambda: len(self.frames) > 10 and all(len(each.payload) <= SMALL for each in self.frames[-10:])
        )


async def listen(client: Client, ear: Ear) -> None:
    await hear(client, await client.join("demo"), lambda _: None, hearing=ear)


@pytest.mark.usefixtures("ready_loops", "patience")
async def test_behind_a_bad_link_one_gets_fewer_bits_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.client.hearing.REPORT_SECONDS", 0.4)
    late: Any = LateDirectory()
    bad, good = Ear(), Ear()
    with trio.fail_after(60):
        async with open_quic_gateway(directory=late, prepare=late.prepare) as gateway:
            trust = gateway.offer.hashes()[0]
            way = Way(delay=0.005, loss=at_random(0.3))
            async with (
                open_link(("127.0.0.1", gateway.port), way, seed=4) as link,
                connect(f"quic://127.0.0.1:{link.port}", certificate_sha256=trust) as one,
                connect(f"quic://127.0.0.1:{gateway.port}", certificate_sha256=trust) as two,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(listen, one, bad)
                # Does not report: a busy machine makes it lose some, too, and it is here to tell what the best is.
                (await two.join("demo")).hand_to(good.feed, trio.current_time())
                await bad.until_small()
                await good.until(lambda: good.frames[-1].sequence >= bad.frames[-1].sequence)
                nursery.cancel_scope.cancel()
    by_sequence = {each.sequence: each for each in good.frames}
    common = [(each, by_sequence[each.sequence]) for each in bad.frames if each.sequence in by_sequence]
    assert any(each.payload == best.payload for each, best in common), "it began with the best"
    for each, best in common:
        assert (each.timestamp, each.flags) == (best.timestamp, best.flags)
        assert len(each.payload) <= len(best.payload)
    numbers = [each.sequence for each in bad.frames]
    assert len(numbers) == len(set(numbers)), "nothing comes twice, whatever the rate"
    assert max(len(best.payload) for _, best in common[-10:]) > 2 * SMALL
