from __future__ import annotations

from typing import Any

import trio

from wsactors.actors import Actor, Pid
from wsactors.media.gathering import Gathering
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.fan_out import PHASES, FanOut, Turn
from wsactors.sessions.listener import Seat
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.supervision import Node

CROWD = 300


class Ear:
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.times: list[float] = []

    def offer(self, data: bytes, key: object = None) -> bool:
        assert key == AUDIO
        self.heard.append(data)
        self.times.append(trio.current_time())
        return True


class Session(Actor):
    """Says what it is given to everybody."""

    def init(self, seats: list[Seat]) -> None:
        self.fan: FanOut[Seat, bytes] = FanOut(self, lambda seat, data: seat.offer(data, AUDIO))
        for seat in seats:
            self.fan.enter(seat)

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case bytes():
                await self.fan.put(message)
            case ("enter", number):
                self.fan.enter(late[number])
            case ("leave", number):
                self.fan.leave(late[number])

    async def handle_info(self, message: Any) -> Any:
        if isinstance(message, Turn):
            await self.fan.turn()


late: dict[int, Seat] = {}
"""Seats that come later: messages are values, and a seat is none."""


async def started(node: Node, ears: list[Ear]) -> Pid:
    class Crowd(Session):
        def init(self) -> None:  # type: ignore[override]
            super().init([Seat(ear) for ear in ears])

    session: Pid = await node.spawn(Crowd)
    return session


async def test_every_listener_gets_everything_in_order_and_always_as_late(autojump_clock: object) -> None:
    ears = [Ear() for _ in range(CROWD)]
    async with Node("fan") as node:
        session = await started(node, ears)
        said = [bytes([number]) for number in range(50)]
        for each in said:
            node.cast(session, each)
            await trio.sleep(0.02)
        await trio.sleep(0.1)
    assert all(ear.heard == said for ear in ears)
    delays = [round(ear.times[0] - ears[0].times[0], 6) for ear in ears]
    assert delays[:100] == [0.0] * 100, "the first hundred wait for nobody"
    assert sorted(set(delays)) == [0.0, PHASES.step, 2 * PHASES.step]
    for ear, delay in zip(ears, delays, strict=True):
        assert {round(mine - first, 6) for mine, first in zip(ear.times, ears[0].times, strict=True)} == {delay}


async def test_who_comes_while_a_frame_is_on_its_way_does_not_get_it(autojump_clock: object) -> None:
    """What a session gives to those who come has it already: they would hear it twice."""
    ears = [Ear() for _ in range(CROWD)]
    late[1] = Seat(new := Ear())
    async with Node("fan") as node:
        session = await started(node, ears)
        node.cast(session, b"one")
        await trio.sleep(PHASES.step / 2)
        node.cast(session, ("enter", 1))
        await trio.sleep(0.02)
        assert all(ear.heard == [b"one"] for ear in ears)
        assert new.heard == []
        node.cast(session, b"two")
        await trio.sleep(0.02)
        assert new.heard == [b"two"]
        node.cast(session, ("leave", 1))
        node.cast(session, b"three")
        await trio.sleep(0.02)
        assert new.heard == [b"two"]


async def test_who_leaves_while_a_frame_is_on_its_way_gets_nothing(autojump_clock: object) -> None:
    ears = [Ear() for _ in range(CROWD)]
    late[2] = seat = Seat(new := Ear())
    async with Node("fan") as node:
        session = await started(node, ears)
        node.cast(session, ("enter", 2))
        node.cast(session, b"one")
        await trio.sleep(PHASES.step / 2)
        seat.give_up("left")
        await trio.sleep(0.02)
        assert new.heard == []


async def test_what_is_too_old_is_dropped_and_counted(autojump_clock: Any) -> None:
    ears = [Ear() for _ in range(CROWD)]
    async with Node("fan") as node:
        session = await started(node, ears)
        node.cast(session, b"one")
        await trio.sleep(PHASES.step / 2)
        autojump_clock.jump(PHASES.oldest + 1)  # the whole node was held up
        await trio.sleep(1)
        assert [len(ear.heard) for ear in ears] == [1] * 100 + [0] * 200
        metrics = ListenerMetrics.of(node)
        assert metrics.too_late == 2
        node.cast(session, b"two")
        await trio.sleep(0.02)
        assert all(ear.heard[-1] == b"two" for ear in ears)
        assert sum(metrics.late.counts) == 4


class Sends:
    """As the sink of a datagram connection: gathers while others are offered the same."""

    def __init__(self, gathering: Gathering, sent: list[str]) -> None:
        self._gathering = gathering
        self._sent = sent

    def offer(self, data: bytes, key: object = None) -> bool:
        assert self._gathering.is_on
        if not self._sent or self._sent[-1] != "offered":
            self._gathering.at_end(lambda: self._sent.append("together"))
        self._sent.append("offered")
        return True


async def test_what_sinks_gather_leaves_before_others_have_their_turn(autojump_clock: object) -> None:
    sent: list[str] = []
    async with Node("fan") as node:
        gathering = Gathering.of(node)
        sinks = [Sends(gathering, sent) for _ in range(150)]

        class Crowd(Session):
            def init(self) -> None:  # type: ignore[override]
                super().init([Seat(sink) for sink in sinks])

        session = await node.spawn(Crowd)
        node.cast(session, b"one")
        await trio.sleep(0.001)
        assert not gathering.is_on
    assert sent == [*["offered"] * 64, "together", *["offered"] * 36, "together"]
