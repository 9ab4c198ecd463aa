"""What many connections ask together: attacks by one address with many of them, by a crowd on one topic, and by shown tokens."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.realtime.test_permission import OPTIONS, enter
from tests.realtime.test_topics import settle
from tests.realtime.topics import Client
from wsactors.realtime import shared_limits
from wsactors.realtime.addresses import counted_address
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, JoinRefused, PublishRefused, User
from wsactors.realtime.limits import Bucket, LimitOptions, Rate
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.shared_limits import Buckets, SharedLimitOptions, SharedLimits
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

FEW = SharedLimitOptions(address_channels=3, address_messages=Rate(10, 20), topic_publications=Rate(10, 20))
CROWD = 30


class Deaf(Channel):
    """Publishes what its clients shout, and answers whatever else they say."""

    def handle_push(self, event: str, payload: Any) -> Any:
        if event == "shout":
            self.broadcast(event, payload)
        return {}

    def handle_message(self, message: Any) -> Any:
        self.broadcast("said", message)


class Slowed(Client):
    """A client that can be told to send more slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def slow_down(self, seconds: float) -> None:
        self.waits.append(seconds)


async def from_(realtime: Realtime, address: str) -> User:
    """Somebody who comes from ``address``."""
    return await realtime.authenticate(Credentials(address=address))


async def why_not(realtime: Realtime, topic: str, user: User) -> tuple[str, str]:
    """Code and text with which a join is refused."""
    with pytest.raises(JoinRefused) as caught:
        await enter(realtime, topic, user)
    return caught.value.code, caught.value.message


async def start(node: Node, **more: Any) -> Realtime:
    options = attrs.evolve(OPTIONS, topics=(TopicOptions("deaf:*", channel=f"{__name__}:Deaf"), *OPTIONS.topics))
    permission = PermissionOptions(shared=more.pop("shared", FEW), limits=more.pop("limits", LimitOptions()))
    return await start_realtime(
        node, attrs.evolve(options, **more), permission=permission, allowed_packages=("wsactors", "tests")
    )


# --- channels -------------------------------------------------------------------------------------------------------


async def test_one_address_has_so_many_channels_whatever_the_connections(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node)
        channels = []
        for number in range(3):  # of IPv6 any address of the /64 is the same client
            user = await from_(realtime, f"2001:db8:0:7:{number:x}::1")
            channels.append((await enter(realtime, f"t{number}", user))[1:])
        mine = await from_(realtime, "2001:db8:0:7:ffff::9")
        code, text = await why_not(realtime, "t4", mine)
        assert code == "too_many"
        assert text.startswith("Your address has 3 channels")
        for other in ("2001:db8:0:8::1", "192.0.2.7", "::ffff:192.0.2.8"):
            await enter(realtime, "t4", await from_(realtime, other))
        for _ in range(10):  # nobody knows how many are behind a UNIX socket, or a program's own clients
            await enter(realtime, "t4", await from_(realtime, "unix"))
            await enter(realtime, "t4")

        realtime.leave(channels[0][0])
        await settle()
        await enter(realtime, "t5", mine)
        assert (await why_not(realtime, "t6", mine))[0] == "too_many"
        for _, owner in channels:
            node.exit(owner, "kill")
        await settle()
        await enter(realtime, "t6", mine)
        for seat in tuple(realtime.seats.values()):
            node.exit(seat.owner, "kill")
        await settle()
        assert realtime.permission.shared.addresses == 0
        assert not realtime.seats


async def test_who_is_refused_or_gives_up_takes_no_place(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node, limits=LimitOptions(topics=1))
        user = await from_(realtime, "192.0.2.7")
        _, _, owner = await enter(realtime, "a", user)
        for _ in range(10):
            with pytest.raises(JoinRefused):
                await enter(realtime, "private:a", user)
            with pytest.raises(JoinRefused):
                await enter(realtime, "b", user, owner=owner)  # it has its one topic
            with trio.CancelScope() as scope:
                scope.cancel()
                await enter(realtime, "c", user)
        await enter(realtime, "d", user)
        await enter(realtime, "e", user)
        assert (await why_not(realtime, "f", user))[0] == "too_many"


async def test_a_renewed_token_does_not_free_its_place(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node)
        user = await from_(realtime, "192.0.2.7")
        _, channel, owner = await enter(realtime, "a", user)
        renewed = await realtime.reauthenticate(user, "newer")
        assert renewed.address == "192.0.2.7"
        realtime.renew(channel, attrs.evolve(renewed, address="192.0.2.8"))
        await settle()
        await enter(realtime, "b", user)
        await enter(realtime, "c", user)
        assert (await why_not(realtime, "d", user))[0] == "too_many"
        node.exit(owner, "kill")
        await settle()
        await enter(realtime, "d", user)


async def test_a_node_has_so_many_channels_and_says_so(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node, max_channels=2)
        for number in range(2):
            await enter(realtime, "a", await from_(realtime, f"192.0.2.{number}"))
        code, text = await why_not(realtime, "a", await from_(realtime, "192.0.2.7"))
        assert code == "too_many"
        assert text.startswith("This node has 2 channels")
        assert realtime.permission.shared.addresses == 2


def test_addresses_are_counted_like_a_simple_model_and_forgotten() -> None:
    chance, limits = random.Random(7), SharedLimits(FEW)
    inside: list[str] = []
    for _ in range(3_000):
        address = f"192.0.2.{chance.randrange(6)}"
        if chance.random() < 0.6:
            granted = limits.enter(address)
            assert granted == (inside.count(address) < 3)
            inside += [address] * granted
        elif inside:
            limits.leave(inside.pop(chance.randrange(len(inside))))
        assert limits.addresses == len(set(inside))


def test_channels_of_one_address_share_its_text() -> None:
    first, second = (counted_address(f"2001:db8:0:7::{number}") for number in (1, 2))
    assert first is second


# --- messages -------------------------------------------------------------------------------------------------------


async def test_a_crowd_on_one_topic_is_slowed_then_refused_and_others_go_on(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node, shared=attrs.evolve(FEW, address_channels=1_000))
        crowd = [await enter(realtime, "a", client=Slowed()) for _ in range(CROWD)]
        for number in range(3):  # none of them sends more than it may
            for _, channel, _ in crowd:
                realtime.push(channel, "chat", number, ref=number)
        await settle()
        answers = [(each, reply) for each, _, _ in crowd for reply in each.of("reply")]
        refusals = [(client, reply) for client, reply in answers if reply[1] == "error"]
        assert len(answers) == 3 * CROWD
        assert len(refusals) == 3 * CROWD - 40
        assert all(isinstance(client, Slowed) and client.waits for client, _ in refusals)
        assert {reply[2]["code"] for _, reply in refusals} == {"rate"}
        assert refusals[0][1][2]["reason"].startswith("Too much is published on this topic by all its members")

        client, channel, _ = await enter(realtime, "b")
        realtime.push(channel, "chat", "elsewhere", ref=1)
        await realtime.publish("a", "chat", "an actor's word")
        await settle()
        assert client.of("reply") == [[1, "ok", {}]]
        with pytest.raises(PublishRefused, match="on this topic"):
            realtime.check_publication(ANONYMOUS, "a")
        await trio.sleep(3)
        realtime.check_publication(ANONYMOUS, "a")
        realtime.push(crowd[0][1], "chat", "again", ref=9)
        await settle()
        assert crowd[0][0].of("reply")[-1] == [9, "ok", {}]


async def test_a_topic_counts_what_is_published_and_not_what_is_only_said(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node)
        hall = [await enter(realtime, "deaf:1") for _ in range(CROWD)]
        for _, channel, _ in hall:
            for number in range(3):
                realtime.push(channel, "ask", number, ref=number)
        await settle()
        assert all(status == "ok" for client, _, _ in hall for _, status, _ in client.of("reply"))
        for client, channel, _ in hall:
            client.got.clear()
            realtime.push(channel, "shout", 1, ref=1)
            realtime.push(channel, "shout", 2, ref=2)
        await settle()
        codes = [reply[2].get("code") for client, _, _ in hall for reply in client.of("reply")]
        assert (codes.count(None), codes.count("rate")) == (40, 20)
        for _, channel, _ in hall:  # what others tell a channel is not its client's doing, and ends none
            node.send(channel, "news")
        await settle()
        assert not any(client.of("closed") for client, _, _ in hall)


async def test_one_address_with_many_connections_has_one_budget(autojump_clock: MockClock) -> None:
    async with Node("shared", debug=True) as node:
        realtime = await start(node, shared=attrs.evolve(FEW, address_channels=1_000))
        user = await from_(realtime, "192.0.2.7")
        flood = [await enter(realtime, f"deaf:{number}", user, client=Slowed()) for number in range(CROWD)]
        calm, other, _ = await enter(realtime, "deaf:0", await from_(realtime, "192.0.2.8"))
        for number in range(3):
            for _, channel, _ in flood:
                realtime.push(channel, "ask", number, ref=number)
        realtime.push(other, "ask", "calm", ref=1)
        await settle()
        refusals = [reply for client, _, _ in flood for reply in client.of("reply") if reply[1] == "error"]
        assert len(refusals) == 3 * CROWD - 40
        assert refusals[0][2]["code"] == "rate"
        assert refusals[0][2]["reason"].startswith("Too much comes from your address")
        assert calm.of("reply") == [[1, "ok", {}]]
        with pytest.raises(PublishRefused, match="from your address"):
            realtime.check_publication(user, "another")


def test_what_one_bucket_refuses_costs_the_others_nothing() -> None:
    limits = SharedLimits(FEW)
    for _ in range(40):
        limits.take("", "full", 0.0)
    for _ in range(100):
        assert not limits.take("192.0.2.7", "full", 0.0).taken
    assert [limits.take("192.0.2.7", "free", 0.0).taken for _ in range(40)] == [True] * 40


def test_many_keys_take_bounded_memory_and_busy_ones_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_limits, "MAX_KEYS", 100)
    buckets = Buckets(Rate(0.001, 5))
    busy = buckets.of("busy", 0.0)
    for number in range(5_000):
        assert isinstance(buckets.of(f"topic {number}", 0.0), Bucket)
        assert buckets.of("busy", 0.0) is busy
    assert len(buckets) == 100


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_connection_shows_so_many_tokens(autojump_clock: MockClock) -> None:
    asked = 0

    class Counting:
        async def authenticate(self, credentials: Credentials, /) -> User:
            nonlocal asked
            asked += 1
            return User("ada")

    async with Node("shared", debug=True) as node:
        limits = LimitOptions(tokens=Rate(1, 5))
        realtime = await start_realtime(node, authenticator=Counting(), permission=PermissionOptions(limits=limits))
        _, _, owner = await enter(realtime, "a", User("ada"))
        for _ in range(10):
            await realtime.reauthenticate(User("ada"), "new", owner=owner)
        for _ in range(50):
            with pytest.raises(AuthRefused) as caught:
                await realtime.reauthenticate(User("ada"), "new", owner=owner)
            assert caught.value.code == "rate"
        assert asked == 10, "what is too much is not looked at"
        _, _, other = await enter(realtime, "a", User("ada"))
        await realtime.reauthenticate(User("ada"), "new", owner=other)
        await trio.sleep(7)
        await realtime.reauthenticate(User("ada"), "new", owner=owner)
        node.exit(owner, "kill")
        node.exit(other, "kill")
        await settle()
        assert realtime.permission._limits == {}
        with pytest.raises(AuthRefused):
            await realtime.reauthenticate(User("ada"), "new", owner=owner)


def test_the_defaults_hold_back_nobody_who_stays_within_his_own() -> None:
    own, shared, node = LimitOptions(), SharedLimitOptions(), RealtimeOptions()
    assert own.topics * 10 <= shared.address_channels <= node.max_channels / 10
    assert own.messages.per_second * 2 <= shared.address_messages.per_second
    assert own.topic_messages.per_second * 2 <= shared.topic_publications.per_second
