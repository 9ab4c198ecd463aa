from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.cluster import LocalExchange, NodeDown, NodeUp, Receiver, Relay, RelayPartition
from wsactors.cluster.relay import BREATH
from wsactors.supervision import Node


@attrs.frozen
class Text:
    text: str
    exclude: object = None
    key: object = None

    def encode(self, wire_format: str) -> bytes | None:
        match wire_format:
            case "deaf":
                return None
            case "broken":
                raise RuntimeError("a codec's fault")
        return f"{wire_format}:{self.text}".encode()


class Member:
    def __init__(self, name: object, wire_format: str = "plain") -> None:
        self.got: list[str] = []
        self.receiver = Receiver(name, wire_format, self.offer)

    def offer(self, data: bytes, key: object) -> bool:
        self.got.append(data.decode().partition(":")[2])
        return True


@asynccontextmanager
async def relays(*names: str, partitions: int = 4, exchange: LocalExchange | None = None) -> AsyncIterator[list[Relay]]:
    exchange = exchange or LocalExchange()
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            node = await stack.enter_async_context(Node(name, debug=True))
            relay = Relay(node, exchange.join(name), partitions)
            for place, groups, number in relay.partition_args():
                await node.spawn(RelayPartition, groups, number, name=place)
            found.append(relay)
        yield found


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_every_node_and_partition_gets_it_once(autojump_clock: trio.testing.MockClock) -> None:
    async with relays("one", "two", "three") as (one, two, three):
        here, there, elsewhere = ([Member(number) for number in range(50)] for _ in range(3))
        for relay, members in ((one, here), (two, there), (three, elsewhere)):
            for member in members:
                relay.admit("g", member.receiver)
        two.publish("g", Text("hello", exclude=7))
        two.publish("other", Text("not for them"))
        await settle()
        for members in (here, there, elsewhere):
            assert [len(member.got) for member in members] == [int(number != 7) for number in range(50)]


async def test_a_node_that_comes_later_or_goes(autojump_clock: trio.testing.MockClock) -> None:
    exchange = LocalExchange()
    changes: list[Any] = []
    async with relays("one", exchange=exchange) as (one,):
        one._backbone.watch(changes.append)
        member, other = Member(1), Member(2)
        one.admit("g", member.receiver)
        async with relays("two", exchange=exchange) as (two,):
            two.admit("g", other.receiver)
            two.publish("g", Text("from two"))
            one.publish("g", Text("from one"))
            await settle()
            assert member.got == other.got == ["from two", "from one"]
            two._backbone.leave()
            two._backbone.leave()
            assert not two._backbone.send("one", "relay", None)
        one.publish("g", Text("alone"))
        await settle()
        assert member.got[-1] == "alone"
        assert len(other.got) == 2
        assert changes == [NodeUp("two"), NodeDown("two")]
        assert not one._elsewhere


async def test_a_codec_that_fails_costs_its_own_receivers_only(autojump_clock: trio.testing.MockClock) -> None:
    async with relays("one", partitions=1) as (one,):
        members = [Member(number, kind) for number, kind in enumerate(("broken", "plain", "deaf", "other"))]
        for member in members:
            one.admit("g", member.receiver)
        one.publish("g", Text("x"))
        await settle()
        assert [member.got for member in members] == [[], ["x"], [], ["x"]]


async def test_who_leaves_while_it_is_sent_out_gets_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    async with relays("one", partitions=1) as (one,):
        members = [Member(number) for number in range(4 * BREATH)]
        last = members[-1]

        def leave(_data: bytes, _key: object) -> bool:
            one.remove("g", last.receiver)
            one.remove("g", last.receiver)
            return True

        members[0].receiver.offer = leave
        for member in members:
            one.admit("g", member.receiver)
        one.publish("g", Text("x"))
        await settle()
        assert last.got == []
        assert members[-2].got == ["x"]
        assert one.count("g") == len(members) - 1


async def test_a_group_without_receivers_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with relays("one", "two") as (one, two):
        member = Member(1)
        one.admit("g", member.receiver)
        assert two._elsewhere == {"g": {"one": None}}
        one.remove("g", member.receiver)
        assert not one._counts
        assert not any(one._groups)
        assert not two._elsewhere


def test_two_members_of_one_name_are_refused() -> None:
    exchange = LocalExchange()
    exchange.join("one")
    with pytest.raises(ValueError, match="already a node"):
        exchange.join("one")


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_receivers_get_exactly_what_is_published_while_they_are_in(seed: int) -> None:
    """Members come and go at random while others publish; deliveries happen whenever the loop gets to them."""
    trio.run(_come_and_go, random.Random(seed), clock=trio.testing.MockClock(autojump_threshold=0))


async def _come_and_go(chance: random.Random) -> None:
    async with relays("one", "two", partitions=3) as both:
        inside: dict[int, tuple[Relay, Member, list[str]]] = {}
        ended: list[tuple[Member, list[str]]] = []
        serial = 0
        for step in range(120):
            match chance.choice(("come", "come", "go", "say", "say", "say", "wait")):
                case "come":
                    serial += 1
                    relay, member = chance.choice(both), Member(serial, chance.choice(("a", "b")))
                    relay.admit("g", member.receiver)
                    inside[serial] = relay, member, []
                case "go" if inside:
                    relay, member, expected = inside.pop(chance.choice(sorted(inside)))
                    relay.remove("g", member.receiver)
                    ended.append((member, expected))
                    assert member.got == expected[: len(member.got)]
                    member.got = list(member.got)
                    size = len(member.got)
                    await trio.lowlevel.checkpoint()
                    assert len(member.got) == size
                case "say":
                    excluded = chance.choice([None, *inside])
                    chance.choice(both).publish("g", Text(str(step), exclude=excluded))
                    for number, (_, _, expected) in inside.items():
                        if number != excluded:
                            expected.append(str(step))
                case _:
                    await settle()
        await settle()
        for _, member, expected in inside.values():
            assert member.got == expected
