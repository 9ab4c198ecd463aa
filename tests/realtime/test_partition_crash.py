"""A part of the relay crashes while it sends: whoever waits gets everything, once, or knows that something is missing."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.client.stage import TOPICS, Tokens
from tests.gateway.harness import TestDirectory, until
from tests.gateway.topics import listening, open_topics
from tests.realtime.test_permission import enter
from tests.realtime.test_topics import Bot, settle
from tests.realtime.topics import Client, JsonLines
from wsactors.client import Retry, Topic, connect
from wsactors.cluster import Receiver
from wsactors.cluster.relay import BREATH, MOST_WAITING
from wsactors.gateway import Address, Gateway
from wsactors.gateway.options import GatewayOptions
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.publication import Format, Position, PresenceDiff, PresenceState, Publication
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

TOPIC = "room:1"
ONE = RealtimeOptions(relay_partitions=1)
BURST = 300
BAD = (40, 41, 170)
"""Publications in the middle of whose delivery the partition crashes."""


class Bomb:
    """A receiver that breaks its promise never to raise, at some publications; its format is its own, so it has a place in the
    middle: some have got what it raises at, others not."""

    def publication(self, publication: Publication) -> Any:
        return publication

    def presence_state(self, state: PresenceState) -> bytes | None:
        return None

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        return None

    def offer(self, publication: Any, key: object) -> bool:
        if publication.payload in BAD:
            raise RuntimeError("a fault in the relay")
        return True


class Late(JsonLines):
    """A format that comes after the bomb's."""


def plant(realtime: Realtime, topic: str = TOPIC) -> Bomb:
    bomb = Bomb()
    wire_format: Format = bomb
    realtime.relay.admit(topic, Receiver(bomb, wire_format, bomb.offer))
    return bomb


async def test_every_native_client_gets_everything_once_though_the_relay_crashes() -> None:
    opened: list[Address] = []
    async with Node("partitions") as node, trio.open_nursery() as nursery:
        realtime = await start_realtime(
            node,
            RealtimeOptions(topics=TOPICS.topics, relay_partitions=1),
            authenticator=Tokens(),
            allowed_packages=("wsactors", "tests"),
        )
        await node.spawn(Gateway, GatewayOptions(port=0), None, opened.append, TestDirectory())
        url = f"ws://127.0.0.1:{opened[0].port}/ws"
        heard: list[list[Any]] = [[] for _ in range(6)]
        rooms: list[Topic] = []

        async def listen(number: int, task_status: trio.TaskStatus[None]) -> None:
            async with connect(url, retry=Retry(first=0.02, longest=0.1)) as client:
                room = await client.join_topic(TOPIC, presence=number < 3)
                rooms.append(room)
                task_status.started()
                async for message in room:
                    heard[number].append(message.payload)
                    if message.payload == "end":
                        break

        with trio.fail_after(60):
            for number in range(6):
                await nursery.start(listen, number)
                if number == 2:
                    plant(realtime)
            for number in range(BURST):
                await realtime.publish(TOPIC, "n", number)
            await realtime.publish(TOPIC, "n", "end")
            await until(lambda: all(each[-1:] == ["end"] for each in heard))
        assert heard == [[*range(BURST), "end"]] * 6
        assert [(room.gaps, room.recovered) for room in rooms] == [(0, True)] * 6
        nursery.cancel_scope.cancel()


async def test_who_may_have_missed_something_is_told_before_anything_else_comes(autojump_clock: MockClock) -> None:
    async with Node("partitions") as node:
        realtime = await start_realtime(node, ONE)
        early, _, _ = await enter(realtime, TOPIC)
        plant(realtime)
        late, _, _ = await enter(realtime, TOPIC, client=Client(Late()))
        other, _, _ = await enter(realtime, "another")
        speaker, _, _ = await enter(realtime, "another")
        for number in range(38, 44):
            await realtime.publish(TOPIC, "n", number)
            await realtime.publish("another", "n", number)
        await trio.sleep(1)

        gone = [["a message may be missing", True]]
        assert early.of("publication") == [["n", 38, 1], ["n", 39, 2], ["n", 40, 3]]
        assert late.of("publication") == [["n", 38, 1], ["n", 39, 2]]
        assert early.of("closed") == late.of("closed") == gone
        assert other.offsets == speaker.offsets == [1, 2, 3, 4, 5, 6], "what waits for others goes on, in order"
        assert other.of("closed") == []
        assert realtime.relay.has_room("another")

        back, _, _ = await enter(realtime, TOPIC, since=Position(late.position[0], late.offsets[-1]))
        assert back.of("joined") == [[{}, True]]
        assert back.offsets == [3, 4, 5, 6]


@pytest.mark.parametrize("pause", [0, 1, 2, 5])
async def test_what_waits_outlives_a_partition_that_is_killed(pause: int, autojump_clock: MockClock) -> None:
    async with Node("partitions") as node:
        realtime = await start_realtime(node, ONE)
        crowd = [(await enter(realtime, TOPIC, presence=False))[0] for _ in range(4 * BREATH)]
        for number in range(20):
            realtime.publish_nowait(TOPIC, "n", number)
        for _ in range(20 + pause):  # the topic has given all of it to the relay, which is somewhere in it
            await trio.lowlevel.checkpoint()
        node.exit("relay:0", "kill")
        for number in range(20, 40):  # some of it while nobody is there
            await realtime.publish(TOPIC, "n", number)
        await trio.sleep(1)

        for client in crowd:
            whole = list(range(1, 41))
            assert client.offsets == whole[: len(client.offsets)], "no gap, and nothing twice"
            assert len(client.offsets) == 40 or client.of("closed") == [["a message may be missing", True]]


async def test_others_have_their_turn_while_what_waited_is_made_up_for(autojump_clock: MockClock) -> None:
    async with Node("partitions") as node:
        realtime = await start_realtime(node, ONE)
        client, _, _ = await enter(realtime, TOPIC)
        epoch, _ = client.position
        for number in range(BURST):
            realtime.relay.publish(
                TOPIC, Publication(topic=TOPIC, event="n", payload=number, offset=number, epoch=epoch)
            )
        node.exit("relay:0", "kill")
        turns, (load,) = 0, realtime.relay._loads
        while load.waiting:
            await trio.lowlevel.checkpoint()
            turns += 1
        await settle()
        assert client.offsets == list(range(BURST))
        assert turns >= BURST


async def test_an_actor_sees_by_the_offset_that_something_is_missing(autojump_clock: MockClock) -> None:
    async with Node("partitions") as node:
        realtime = await start_realtime(node, ONE)
        plant(realtime)
        bot = await node.spawn(Bot)
        await realtime.subscribe(TOPIC, bot)
        for number in range(39, 43):
            await realtime.publish(TOPIC, "n", number)
        await trio.sleep(1)
        assert await node.call(bot, "heard") == (("n", 39), ("n", 42))


async def test_for_whom_there_is_no_room_at_all_loses_its_place_and_not_just_a_message(
    autojump_clock: MockClock,
) -> None:
    async with Node("partitions") as node:
        realtime = await start_realtime(node, ONE)
        client, _, _ = await enter(realtime, TOPIC)
        other, _, _ = await enter(realtime, "another")
        epoch, _ = client.position
        item = Publication(topic=TOPIC, event="n", payload=0, epoch=epoch)
        for _ in range(MOST_WAITING + 1):  # nobody asks whether there is room
            realtime.relay.publish(TOPIC, item)
        assert realtime.relay.refused == 1
        await trio.sleep(1)
        assert client.of("closed") == [["a message may be missing", True]]
        assert client.of("publication") == []
        assert not other.of("closed")
        await realtime.publish("another", "n", "on")
        await settle()
        assert [each[1] for each in other.of("publication")] == ["on"]


async def test_a_reader_of_events_comes_back_to_the_place_it_has_seen() -> None:
    place, seen, came = "", [], 0
    async with open_topics(ONE) as topics:
        plant(topics.realtime)
        with trio.fail_after(30):
            while 44 not in seen:
                async with listening(topics, TOPIC, headers={"last-event-id": place} if place else {}) as events:
                    kind, said = await events.next()
                    assert kind == "joined"
                    assert said["recovered"] is (True if came else None)
                    came += 1
                    for number in () if came > 1 else range(38, 45):
                        await topics.realtime.publish(TOPIC, "n", number)
                    while kind != "closed" and 44 not in seen:
                        kind, said = await events.next()
                        seen += [said["payload"]] if kind == "message" else []
                    place = events.last_id
    assert seen == list(range(38, 45))
    assert came >= 2
