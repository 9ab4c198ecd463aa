"""Recovery: whoever is told that everything came back has everything, once, in order, whatever happened meanwhile."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.realtime.test_topics import Owner, settle
from tests.realtime.topics import Client
from wsactors.actors import Pid, introspection
from wsactors.realtime.identity import JoinRefused, PublishRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.outlet import Joined
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import Decide
from wsactors.realtime.publication import Position
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

TOPIC = "room"
KEPT, SECONDS = 6, 20.0
OPTIONS = RealtimeOptions(
    topics=(
        TopicOptions("none:*", history=0),
        TopicOptions("*", history=KEPT, history_seconds=SECONDS, linger=SECONDS),
    ),
    relay_partitions=2,
)


class Connection:
    """One connection of a reader: what was written to it, read or not."""

    def __init__(self) -> None:
        self.format = POSITIONS
        self.sink = self
        self.written: list[tuple[str, int, bool | None]] = []
        """(epoch, offset, None), or where it begins and whether everything came back."""
        self.is_broken = False
        self.has_ended = False

    def joined(self, joined: Joined) -> None:
        start = joined.missed[0].offset - 1 if joined.missed else joined.offset
        self.written.append((joined.epoch, start, bool(joined.recovered)))
        self.written += [(each.epoch, each.offset, None) for each in joined.missed]

    def offer(self, data: Any, key: object = None) -> bool:
        if not self.is_broken:
            self.written.append((*data, None))
        return True

    def reply(self, ref: Any, status: str, response: Any) -> None: ...

    def push(self, event: str, payload: Any) -> None: ...

    def closed(self, reason: str, *, crashed: bool) -> None:
        self.has_ended = True


class Reader:
    """A client that may lose its connection at any time, with what was under way, and come back."""

    def __init__(self, realtime: Realtime) -> None:
        self.epoch = ""
        self.seen: list[int] = []
        """Offsets of this epoch that it has read, from where it began."""
        self.connection: Connection | None = None
        self.channel: Pid | None = None
        self.owner: Pid | None = None
        self.recoveries = 0
        self.refusals: list[str] = []
        self._realtime = realtime

    async def join(self, connection: Connection) -> None:
        owner = self.owner = await self._realtime.node.spawn(Owner)
        since = Position(self.epoch, self.seen[-1]) if self.epoch else None
        try:
            channel = await self._realtime.join(
                TOPIC, connection, owner=owner, since=since, self_broadcast=True, presence=False
            )  # fmt: skip
        except JoinRefused as refusal:
            self.refusals.append(refusal.code)
            if connection is self.connection:
                self.drop(0)
        else:
            if connection is self.connection:
                self.channel = channel

    def drop(self, lost: int) -> None:
        """The connection breaks; the last ``lost`` messages never arrived."""
        connection, self.connection, self.channel = self.connection, None, None
        if connection is not None:
            connection.is_broken = True
            del connection.written[max(0, len(connection.written) - lost) :]
            self.read(connection)
        if self.owner is not None:
            self._realtime.node.exit(self.owner, "kill")
            self.owner = None

    def read(self, connection: Connection) -> None:
        for epoch, offset, recovered in connection.written:
            match recovered:
                case None if epoch == self.epoch:
                    assert offset == self.seen[-1] + 1, (self.seen, offset)
                    self.seen.append(offset)
                case None:  # the topic has begun anew while it was here, and says so by the epoch
                    assert offset == 1
                    self.epoch, self.seen = epoch, [1]
                case True:
                    self.recoveries += 1
                    assert (epoch, offset) == (self.epoch, self.seen[-1])
                case False:
                    self.epoch, self.seen = epoch, [offset]
        connection.written.clear()


class Positions:
    """A format that writes where a publication stands."""

    def publication(self, publication: Any) -> Any:
        return (publication.epoch, publication.offset)

    def presence_state(self, state: Any) -> None:
        return None

    presence_diff = presence_state


POSITIONS = Positions()

who = st.integers(0, 2)
one_step = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 3)),
    st.tuples(st.just("publish"), st.integers(KEPT, KEPT + 3)),
    st.tuples(st.just("push"), who),
    st.tuples(st.just("drop"), st.tuples(who, st.integers(0, 3))),
    st.tuples(st.just("join"), who),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, SECONDS / 2, SECONDS * 3])),
    st.tuples(st.just("settle"), st.just(0)),
    st.tuples(st.just("crash"), st.just(0)),
).map(lambda step: [step])


@st.composite
def blink(draw: Any) -> list[tuple[str, Any]]:
    """Somebody is away for a moment in which a little happens; any of it may still be under way when the next begins."""
    reader = draw(who)
    middle = draw(st.lists(st.sampled_from([("publish", 1), ("publish", 2), ("push", (reader + 1) % 3)]), max_size=2))
    script = [("join", reader), ("publish", 1), ("drop", (reader, draw(st.integers(0, 2)))), *middle, ("join", reader)]
    settled = draw(st.lists(st.booleans(), min_size=len(script), max_size=len(script)))
    return [each for step, pause in zip(script, settled, strict=True) for each in (step, *[("settle", 0)] * pause)]


steps = st.lists(one_step | blink() | blink(), min_size=3, max_size=25).map(lambda parts: list(chain(*parts)))


async def run(script: list[tuple[str, Any]], tally: dict[str, int]) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, OPTIONS)
        readers = [Reader(realtime) for _ in range(3)]
        async with trio.open_nursery() as nursery:

            async def publish(count: int) -> None:
                for number in range(count):
                    await realtime.publish(TOPIC, "said", number)

            for verb, what in script:
                match verb:
                    case "publish":
                        nursery.start_soon(publish, what)
                    case "push" if (channel := readers[what].channel) is not None:
                        realtime.push(channel, "said", "pushed")
                    case "drop":
                        readers[what[0]].drop(what[1])
                    case "join" if readers[what].connection is None:
                        readers[what].connection = Connection()
                        nursery.start_soon(readers[what].join, readers[what].connection)
                    case "wait":
                        await trio.sleep(what)
                    case "settle":
                        await settle()
                    case "crash" if (topic := node.whereis(f"topic:{TOPIC}")) is not None:
                        node.exit(topic, "crash")
                        tally["crashes"] += 1
                await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        info = await realtime.topic(TOPIC)
        for reader in readers:
            assert set(reader.refusals) <= {"crash", "gone", "timeout"}
            if reader.connection is not None and not reader.connection.has_ended:
                reader.read(reader.connection)
                assert info is not None
                tally["checked"] += 1
                # Nothing is missing at the end either; a topic that has begun anew and said nothing is known to nobody.
                if info.position.offset:
                    assert (reader.epoch, reader.seen[-1]) == (info.position.epoch, info.position.offset)
            tally["recoveries"] += reader.recoveries


def test_what_is_said_to_be_recovered_is_neither_lost_nor_doubled() -> None:
    tally = {"recoveries": 0, "crashes": 0, "checked": 0}

    @given(steps)
    @settings(max_examples=120, deadline=None)
    def attempt(script: list[tuple[str, Any]]) -> None:
        trio.run(run, script, tally, clock=MockClock(autojump_threshold=0))

    attempt()
    assert min(tally.values()) > 10, tally  # it has tried what it says


async def test_a_topic_without_a_past_never_says_that_nothing_was_missed(autojump_clock: MockClock) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, OPTIONS)
        first, second = Client(), Client()
        await realtime.join("none:1", first, owner=await node.spawn(Owner))
        epoch, offset = first.position
        await realtime.publish("none:1", "said", "missed")
        await realtime.join("none:1", second, owner=await node.spawn(Owner), since=Position(epoch, offset))

        assert second.of("joined") == [[{}, False]]


async def test_what_readers_cannot_keep_up_with_is_refused_and_never_missing_in_the_middle(
    autojump_clock: MockClock,
) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, RealtimeOptions(relay_partitions=1))
        client = Client()
        channel = await realtime.join(TOPIC, client, owner=await node.spawn(Owner), self_broadcast=True)
        await introspection.suspend("relay:0")
        taken = 0
        with pytest.raises(PublishRefused) as caught:
            for _ in range(10_000):
                await realtime.publish(TOPIC, "said", None)
                taken += 1
        assert caught.value.code == "overloaded"
        assert taken >= 1_000
        assert not realtime.publish_nowait(TOPIC, "said", None)
        realtime.push(channel, "said", None, ref=1)
        await settle()
        assert [status for _, status, _ in client.of("reply")] == ["error"]
        introspection.resume("relay:0")
        await settle()
        await realtime.publish(TOPIC, "said", None)
        await settle()

        assert client.offsets == list(range(1, taken + 2))
        assert realtime.relay.refused == 0
        await introspection.suspend("relay:0")
        big = b"x" * 2_500_000
        taken = 0
        while realtime.publish_nowait(TOPIC, "said", big):
            taken += 1
            await settle()
        assert 20 < taken < 40  # bytes count, too
        introspection.resume("relay:0")


async def test_a_partition_that_was_restarted_takes_again(autojump_clock: MockClock) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, RealtimeOptions(relay_partitions=1))
        client = Client()
        await realtime.join(TOPIC, client, owner=await node.spawn(Owner))
        await introspection.suspend("relay:0")
        while realtime.publish_nowait(TOPIC, "said", None):
            await settle()
        node.exit("relay:0", "kill")
        await settle()

        await realtime.publish(TOPIC, "said", "again")
        await settle()
        assert client.of("publication")[-1][1] == "again"


# --- what else lives on when things break ---------------------------------------------------------------------------


class Faces(Client):
    """What phoenix.js knows of who is there."""

    def faces(self) -> set[str]:
        known: dict[str, set[str]] = {}
        for kind, *parts in self.got:
            if kind == "state":
                known = {key: {meta["phx_ref"] for meta in metas} for key, metas in parts[0].items()}
            elif kind == "diff":
                for key, metas in parts[0].items():
                    known.setdefault(key, set()).update(meta["phx_ref"] for meta in metas)
                for key, metas in parts[1].items():
                    known.get(key, set()).difference_update(meta["phx_ref"] for meta in metas)
        return {f"{key}:{len(refs)}" for key, refs in known.items() if refs}


async def test_after_a_topic_s_crash_nobody_sees_ghosts(autojump_clock: MockClock) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, OPTIONS)
        owners = [await node.spawn(Owner) for _ in range(4)]
        clients = [Faces() for _ in owners]
        for client, owner, name in zip(clients, owners, "abcd", strict=True):
            channel = await realtime.join(TOPIC, client, owner=owner)
            if name != "d":
                realtime.track(channel, {}, key=name)
        await trio.sleep(1)
        assert all(client.faces() == {"a:1", "b:1", "c:1"} for client in clients)

        node.exit(node.whereis(f"topic:{TOPIC}") or "", "crash")
        node.exit(owners[2], "kill")  # it leaves while nobody counts
        await trio.sleep(2)

        assert all(client.faces() == {"a:1", "b:1"} for client in (clients[0], clients[1], clients[3]))


async def test_one_member_cannot_fill_a_topic_with_names(autojump_clock: MockClock) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, OPTIONS)
        client = Faces()
        channel = await realtime.join(TOPIC, client, owner=await node.spawn(Owner))
        for number in range(100):
            realtime.track(channel, {}, key=f"name {number}")
            await trio.sleep(0.15)
        await trio.sleep(1)

        assert list(await realtime.presence(TOPIC)) == ["name 99"]
        assert client.faces() == {"name 99:1"}


async def test_a_new_token_that_says_less_ends_the_membership(autojump_clock: MockClock) -> None:
    asked: list[Any] = []

    def decide(question: Decide) -> bool:
        asked.append(question.params)
        return question.user.role == "member" and question.params == {"password": "right"}

    async with Node("recovery") as node:
        realtime = await start_realtime(
            node, OPTIONS, permission=PermissionOptions(decider=lambda q: q.action != "join" or decide(q))
        )
        client = Client()
        member = User("ada", "member", stamp="1")
        channel = await realtime.join(
            TOPIC, client, owner=await node.spawn(Owner), user=member, params={"password": "right"}
        )
        realtime.renew(channel, User("ada", "member", stamp="2"))
        await settle()
        assert client.of("closed") == []
        realtime.renew(channel, User("ada", "guest", stamp="3"))
        await settle()
        assert client.of("closed") == [["You may not join this topic.", False]]
        assert asked == [{"password": "right"}] * 3


async def test_a_topic_that_hangs_is_told_apart_from_one_that_ended(autojump_clock: MockClock) -> None:
    async with Node("recovery") as node:
        realtime = await start_realtime(node, RealtimeOptions(join_seconds=2.0))
        await realtime.publish("t", "e", 1)
        topic = node.whereis("topic:t")
        assert topic is not None
        await introspection.suspend(topic)
        start = trio.current_time()
        with pytest.raises(PublishRefused):
            await realtime.publish("t", "e", 2)
        assert trio.current_time() - start == pytest.approx(2.0)
        introspection.resume(topic)
        await settle()
        assert (await realtime.history("t")).missed[-1].payload == 1  # what was refused is not published later
