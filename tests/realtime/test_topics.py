from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.realtime.topics import Client, JsonLines
from wsactors.actors import Actor, ProcessActor
from wsactors.errors import NoProcess
from wsactors.realtime.channel import Answer, Channel
from wsactors.realtime.identity import JoinRefused, PublishRefused
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.publication import Position, PresenceDiff, Publication
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import RealtimeSupervisor
from wsactors.supervision import Node

ME = f"{__name__}:"


class Owner(ProcessActor):
    async def run(self) -> None:
        await trio.sleep_forever()


class Room(Channel):
    async def join(self, params: Any) -> Any:
        if params == "go away":
            raise JoinRefused("unauthorized", "not you")
        if params == "crash":
            raise RuntimeError("boom")
        if params == "slow":
            await trio.sleep(60)
        return {"welcome": params}

    def handle_push(self, event: str, payload: Any) -> Any:
        match event:
            case "crash":
                raise RuntimeError("boom")
            case "quiet":
                return None
            case "no":
                return Answer("error", {"reason": "no"})
            case "whisper":
                self.push("whispered", payload)
                return {}
            case _:
                return super().handle_push(event, payload)


OPTIONS = RealtimeOptions(
    topics=(
        TopicOptions("small:*", max_members=1, history=3, linger=5.0, history_seconds=5.0),
        TopicOptions("private:*", private=True),
        TopicOptions("room:*", channel=ME + "Room", history=50),
    )
)


@asynccontextmanager
async def realtime_node(options: RealtimeOptions = OPTIONS) -> AsyncIterator[Realtime]:
    async with Node("topics", debug=True) as node:
        await node.spawn(
            RealtimeSupervisor, options, kwargs={"allowed_packages": ("wsactors", __name__.partition(".")[0])}
        )
        yield Realtime.of(node)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def enter(realtime: Realtime, topic: str = "room:1", **more: Any) -> tuple[Client, Any, Any]:
    client = Client()
    owner = await realtime.node.spawn(Owner)
    channel = await realtime.join(topic, client, owner=owner, **more)
    return client, channel, owner


async def test_what_one_pushes_the_others_get_once_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        (a, channel, _), (b, _, _) = await enter(realtime), await enter(realtime)
        c, _, _ = await enter(realtime, self_broadcast=True)
        for number in range(20):
            realtime.push(channel, "chat", {"n": number, "bytes": b"\x00"}, ref=number)
        await settle()
        assert a.of("publication") == []
        assert b.of("publication") == c.of("publication")
        assert b.offsets == list(range(1, 21))
        assert b.of("publication")[3] == ["chat", {"n": 3, "bytes": {"$binary": "AA=="}}, 4]
        assert a.of("reply") == [[number, "ok", {}] for number in range(20)]


async def test_it_is_encoded_once_per_format(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        mine, other = JsonLines(), JsonLines()
        owner = await realtime.node.spawn(Owner)
        for number in range(40):
            await realtime.join("room:1", Client(mine if number % 2 else other), owner=owner)
        await realtime.publish("room:1", "x", None)
        await settle()
        assert (mine.encoded, other.encoded) == (1, 1)


async def test_a_join_can_be_refused_crash_or_take_too_long(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        for topic, params, code in (
            ("room:1", "go away", "unauthorized"),
            ("room:1", "crash", "crash"),
            ("room:1", "slow", "timeout"),
            ("nowhere", None, "unmatched_topic"),
            ("room:\n", None, "unmatched_topic"),
            ("room:" + "x" * 300, None, "unmatched_topic"),
            ("private:1", None, "unauthorized"),
        ):
            with pytest.raises(JoinRefused) as caught:
                await enter(realtime, topic, params=params)
            assert caught.value.code == code, topic
        await enter(realtime, "small:1")
        with pytest.raises(JoinRefused) as caught:
            await enter(realtime, "small:1")
        assert caught.value.code == "too_many"
        await settle()
        assert len(realtime.seats) == 1
        assert realtime.relay.count("room:1") == 0


async def test_joins_do_not_wait_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime, trio.open_nursery() as nursery:

        async def slow() -> None:
            with pytest.raises(JoinRefused):
                await enter(realtime, params="slow")

        nursery.start_soon(slow)
        await settle()
        before = trio.current_time()
        client, _, _ = await enter(realtime, params=1)
        assert trio.current_time() - before < 0.1
        assert client.got[0] == ["joined", {"welcome": 1}, None]


async def test_a_channel_that_crashes_ends_alone_and_its_client_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        (a, channel, owner), (b, _, _) = await enter(realtime), await enter(realtime)
        realtime.push(channel, "crash", None, ref=1)
        await settle()
        assert a.of("closed") == [["it has crashed", True]]
        await realtime.publish("room:1", "x", 1)
        await settle()
        assert a.of("publication") == []
        assert b.offsets == [1]
        again = Client()
        await realtime.join("room:1", again, owner=owner)
        await realtime.publish("room:1", "x", 2)
        await settle()
        assert again.offsets == [2]


async def test_leaving_and_the_end_of_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        (a, channel, _), (b, other, owner) = await enter(realtime), await enter(realtime)
        realtime.leave(channel)
        await settle()
        assert a.of("closed") == [["left", False]]
        realtime.node.exit(owner, "kill")
        await settle()
        assert b.of("closed") == []  # there is nobody to tell
        assert not realtime.seats
        assert realtime.relay.count("room:1") == 0
        assert realtime.node.whereis("topic:room:1") is not None
        assert not realtime.push(other, "x", None)


async def test_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        client, channel, _ = await enter(realtime)
        for event in ("quiet", "no", "whisper"):
            realtime.push(channel, event, 5, ref=event)
        await settle()
        assert client.got[2:] == [
            ["reply", "no", "error", {"reason": "no"}],
            ["push", "whispered", 5],
            ["reply", "whisper", "ok", {}],
        ]


async def test_who_comes_back_gets_the_whole_gap_or_is_told_that_it_is_not_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_node() as realtime:
        for number in range(1, 11):
            await realtime.publish("room:1", "n", number)
        epoch = (await realtime.publish("room:1", "n", 11)).epoch
        back, _, _ = await enter(realtime, since=Position(epoch, 4))
        assert back.of("joined")[0][1] is True
        assert back.offsets == list(range(5, 12))
        for since in (Position("other", 4), Position(epoch, 99)):
            back, _, _ = await enter(realtime, since=since)
            assert (back.of("joined")[0][1], back.offsets) == (False, [])
        limited, _, _ = await enter(realtime, since=Position(epoch, 4), limit=3)
        assert (limited.of("joined")[0][1], limited.offsets) == (False, [])
        gap = await realtime.history("room:1", limit=2)
        assert [each.payload for each in gap.missed] == [10, 11]


async def test_presence_is_told_in_diffs_and_an_update_is_a_join_and_a_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_node() as realtime:
        watcher, _, _ = await enter(realtime)
        members = [await enter(realtime) for _ in range(30)]
        for number, (_, channel, _) in enumerate(members):
            realtime.track(channel, {"n": number}, key=f"user{number % 10}", ref="t")
        await trio.sleep(0.5)
        assert len(watcher.of("diff")) == 1
        joins, leaves = watcher.of("diff")[0]
        assert (len(joins), leaves) == (10, {})
        assert all(len(metas) == 3 for metas in joins.values())
        realtime.track(members[0][1], {"n": "new"}, key="user0")
        await trio.sleep(0.5)
        joins, leaves = watcher.of("diff")[1]
        assert joins["user0"][0]["phx_ref_prev"] == leaves["user0"][0]["phx_ref"]
        newcomer, _, _ = await enter(realtime)
        assert len(newcomer.of("state")[0][0]) == 10
        for _, _, owner in members:
            realtime.node.exit(owner, "kill")
        await trio.sleep(0.5)
        assert len(watcher.of("diff")) == 3
        assert await realtime.presence("room:1") == {}
        with pytest.raises(PublishRefused):
            await realtime.publish("room:1", "x", b"\x00" * 4_000_000)


async def test_a_topic_that_crashes_starts_again_with_its_channels_and_their_presence(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_node() as realtime:
        client, channel, _ = await enter(realtime)
        realtime.track(channel, {"a": 1}, key="ada")
        first = await realtime.publish("room:1", "x", 1)
        pid = realtime.node.whereis("topic:room:1")
        assert pid is not None
        realtime.node.exit(pid, "kill")
        await trio.sleep(1)
        second = await realtime.publish("room:1", "x", 2)
        await settle()
        assert second.epoch != first.epoch
        assert client.offsets == [1, 1]
        assert client.of("closed") == []
        assert list(await realtime.presence("room:1")) == ["ada"]


async def test_a_topic_nobody_uses_is_forgotten_after_its_history(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        _, _, owner = await enter(realtime, "small:1")
        await realtime.publish("small:1", "x", 1)
        realtime.node.exit(owner, "kill")
        await trio.sleep(4)
        assert realtime.topics() == ["small:1"]
        await trio.sleep(8)
        assert realtime.topics() == []
        assert (await realtime.history("small:1")).missed == ()


async def test_a_partition_that_crashes_goes_on_with_its_receivers(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        client, _, _ = await enter(realtime)
        for name, _, _ in realtime.relay.partition_args():
            pid = realtime.node.whereis(name)
            assert pid is not None
            realtime.node.exit(pid, "kill")
        await trio.sleep(0.1)
        await realtime.publish("room:1", "x", 1)
        await settle()
        assert client.offsets == [1]


class Bot(Actor):
    def init(self) -> None:
        self.heard: list[Any] = []

    def handle_info(self, message: Any) -> Any:
        match message:
            case Publication(event=event, payload=payload):
                self.heard.append((event, payload))
            case PresenceDiff(joins=joins):
                self.heard.append(sorted(joins))

    def handle_call(self, message: Any, caller: Any) -> Any:
        return tuple(self.heard)


async def test_an_actor_takes_part(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_node() as realtime:
        bot = await realtime.node.spawn(Bot)
        await realtime.subscribe("room:1", bot)
        await realtime.subscribe("room:1", bot)
        client, channel, _ = await enter(realtime)
        realtime.push(channel, "chat", {"text": "hi"})
        realtime.track(channel, {}, key="ada")
        await trio.sleep(1)
        assert await realtime.node.call(bot, "heard") == (("chat", {"text": "hi"}), ["ada"])
        realtime.unsubscribe("room:1", bot)
        await realtime.publish("room:1", "x", 1)
        await settle()
        assert len(await realtime.node.call(bot, "heard")) == 2
        assert client.of("publication") == [["x", 1, 2]]
        await realtime.subscribe("room:1", bot)
        realtime.node.exit(bot, "kill")
        await settle()
        assert realtime.relay.count("room:1") == 1
        with pytest.raises(NoProcess):
            await realtime.subscribe("room:1", bot)
