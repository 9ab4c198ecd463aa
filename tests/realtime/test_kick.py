"""A kick meets whoever is there, and whoever is just coming, at every moment of the way in."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.realtime.test_permission import ADA, BOB, enter
from tests.realtime.test_topics import settle
from tests.realtime.topics import Client
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import ANONYMOUS, JoinRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import Decide, Decider
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node


class Gate:
    """Where somebody on his way can be held up."""

    def __init__(self) -> None:
        self.is_there, self.may_go_on = trio.Event(), trio.Event()

    async def __call__(self) -> None:
        self.is_there.set()
        await self.may_go_on.wait()


gates: dict[str, Gate] = {}


class Slow(Channel):
    """Takes its time to let somebody in."""

    async def join(self, params: Any) -> Any:
        if self.topic in gates:
            await gates[self.topic]()
        return {}


OPTIONS = RealtimeOptions(topics=(TopicOptions("slow:*", channel=f"{__name__}:Slow"), TopicOptions("*")))


async def start(node: Node, decide: Decider | None = None) -> Realtime:
    permission = PermissionOptions(decider=decide)
    return await start_realtime(node, OPTIONS, permission=permission, allowed_packages=("wsactors", "tests"))


class Comer:
    """Somebody who joins, held up at a gate, while something else happens."""

    def __init__(self) -> None:
        self.client = Client()
        self.refusal: JoinRefused | None = None

    async def join(self, realtime: Realtime, topic: str, user: User) -> None:
        try:
            await enter(realtime, topic, user, client=self.client)
        except JoinRefused as refusal:
            self.refusal = refusal


async def overtaken(node: Node, where: str) -> tuple[Realtime, Comer, Comer, int]:
    """Ada and Bob are both ``where``, when Ada is kicked: what became of them, and how many were kicked."""
    gate = gates["slow:1"] = Gate()

    async def decide(question: Decide) -> bool:
        if where == question.action:
            await gate()
        return True

    realtime = await start(node, decide)
    topic = "slow:1" if where == "channel" else "room"
    ada, bob = Comer(), Comer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.join, realtime, topic, ADA)
        nursery.start_soon(bob.join, realtime, topic, BOB)
        await gate.is_there.wait()
        await settle()
        count = realtime.kick("ada")
        gate.may_go_on.set()
    await settle()
    await realtime.publish(topic, "chat", "afterwards")
    await settle()
    return realtime, ada, bob, count


@pytest.mark.parametrize("where", ["join", "presence_read", "channel"])
async def test_who_was_allowed_before_the_kick_is_not_let_in_after_it(where: str, autojump_clock: MockClock) -> None:
    async with Node("kick", debug=True) as node:
        realtime, ada, bob, count = await overtaken(node, where)

        assert count == 1
        assert ada.refusal is not None
        assert ada.refusal.code == "unauthorized"
        assert "kicked" in ada.refusal.message
        assert ada.client.got == [], "nothing reaches whom a kick has overtaken"
        assert bob.refusal is None
        assert [each[1] for each in bob.client.of("publication")] == ["afterwards"]
        assert [seat.user for seat in realtime.seats.values()] == [BOB]
        assert not realtime.arriving
        await enter(realtime, "room", ADA)  # a kick is no ban: that is the policy's decision


async def test_a_kick_between_the_start_of_a_channel_and_its_admission(autojump_clock: MockClock) -> None:
    """The topic asks in the step in which it admits: here the kick comes right before that, at every step there is."""
    refused = told = 0
    for step in range(1, 40):
        async with Node("kick", debug=True) as node:
            realtime = await start(node)
            comer = Comer()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(comer.join, realtime, "room", ADA)
                while not realtime.permission._limits:
                    await trio.lowlevel.checkpoint()
                for _ in range(step):
                    await trio.lowlevel.checkpoint()
                assert realtime.kick("ada") == 1
            await settle()
            await realtime.publish("room", "chat", "afterwards")
            await settle()

            assert comer.client.of("publication") == []
            assert not realtime.seats
            if comer.refusal is None:
                told += 1
                assert comer.client.of("closed") == [["kicked", False]]
            else:
                refused += 1
                assert comer.client.got == []
    assert refused
    assert told


async def test_who_becomes_somebody_while_he_is_kicked_is_out(autojump_clock: MockClock) -> None:
    gate = Gate()

    async def decide(question: Decide) -> bool:
        if question.action == "join" and question.user.subject == "ada":
            await gate()
        return True

    async with Node("kick", debug=True) as node:
        realtime = await start(node, decide)
        client, channel, _ = await enter(realtime, "room", ANONYMOUS)
        realtime.renew(channel, ADA)
        await gate.is_there.wait()
        assert realtime.kick("ada") == 1
        gate.may_go_on.set()
        await settle()
        assert client.of("closed") == [["kicked", False]]
        assert not realtime.seats


async def test_a_kick_counts_each_membership_once(autojump_clock: MockClock) -> None:
    async with Node("kick", debug=True) as node:
        realtime = await start(node)
        clients = [(await enter(realtime, topic, ADA))[0] for topic in ("a", "b", "a")]
        assert realtime.kick("ada", "enough") == 3
        await settle()
        assert [client.of("closed") for client in clients] == [[["enough", False]]] * 3
        assert realtime.kick("ada") == 0
