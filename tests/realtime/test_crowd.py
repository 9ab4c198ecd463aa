"""A crowd that comes and goes is told in a few differences, and nobody is left over."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.realtime.test_topics import Owner
from tests.realtime.topics import Client
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

CROWD = 3_000


class Watcher(Client):
    """Counts, and applies what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.present: set[str] = set()

    def offer(self, data: bytes, key: object = None) -> bool:
        taken = super().offer(data, key)
        kind, *parts = self.got[-1]
        if kind == "state":
            self.present = set(parts[0])
        elif kind == "diff":
            self.present = (self.present | set(parts[0])) - set(parts[1])
        return taken


class Silent(Client):
    """One of many, who does not look."""

    def offer(self, data: bytes, key: object = None) -> bool:
        return True


async def test_a_crowd_is_a_few_differences(autojump_clock: MockClock) -> None:
    async with Node("crowd") as node:
        realtime = await start_realtime(node, RealtimeOptions())
        early = Watcher()
        await realtime.join("hall", early, owner=await node.spawn(Owner))
        owners = []
        for number in range(CROWD):
            owners.append(await node.spawn(Owner))
            channel = await realtime.join("hall", Silent(), owner=owners[-1], presence=False)
            realtime.track(channel, {"n": number}, key=str(number))
            await trio.sleep(1 / CROWD)
        middle = Watcher()
        await realtime.join("hall", middle, owner=await node.spawn(Owner))
        await trio.sleep(1)

        assert early.present == middle.present == {str(number) for number in range(CROWD)}
        assert len(early.of("diff")) <= 7
        for owner in owners[::2]:
            node.exit(owner, "kill")
        await trio.sleep(1)
        assert early.present == middle.present == set(await realtime.presence("hall"))
        assert len(early.present) == CROWD // 2
        assert len(early.of("diff")) <= 10
        for owner in owners:
            node.exit(owner, "kill")
        await trio.sleep(1)
        assert early.present == middle.present == set()
        assert len(realtime.seats) == 2
