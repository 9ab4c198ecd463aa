"""What becomes of memberships whose connection, token or owner ends: without a socket, as in `test_native_topics`."""

from __future__ import annotations

import trio
import trio.testing

from tests.gateway.native_peers import world
from wsactors.realtime.identity import User
from wsactors.wire import native


async def test_what_was_saved_is_restored_with_its_flags_and_presence(autojump_clock: trio.testing.MockClock) -> None:
    async with world() as here:
        before, after, other = await here.peer(), await here.peer(), await here.peer()
        await before.ask(native.JoinTopic(1, "room:1", echo=True), native.Track("room:1", {"mood": "good"}))
        await before.ask(native.JoinTopic(2, "room:2"), native.JoinTopic(3, "guarded:1"))
        saved = before.topics.saved()
        before.topics.leave_all()
        position = await here.realtime.publish("room:1", "e", "missed")

        seen = {"room:1": native.Position(position.epoch, 0), "room:9": native.Position("", 0)}
        await after.topics.restore(saved, seen | {"guarded:1": native.Position("", 0)})
        await after.ask(native.Publish("room:1", "e", "mine"))
        await other.ask(native.JoinTopic(1, "room:1"))
        await trio.sleep(1)
        assert before.of(native.TopicLeft) == []

    assert [(each.topic, each.ref, each.recovered) for each in after.of(native.TopicJoined)] == [
        ("room:1", 0, True),
        ("guarded:1", 0, False),
    ]
    assert [each.payload for each in after.of(native.Message)] == ["missed", "mine"]
    diffs = [*other.of(native.PresenceState), *other.of(native.PresenceDiff)]
    assert "good" in str(diffs)


async def test_what_is_kept_for_a_client_that_may_come_back_is_bounded() -> None:
    async with world() as here:
        peer = await here.peer(most=9)
        for number in range(9):
            await peer.ask(native.JoinTopic(number + 1, f"room:{number}", "x" * 20_000))
        assert len(peer.topics.saved()) == 3


async def test_a_renewed_user_reaches_the_channels() -> None:
    async with world() as here:
        peer = await here.peer()
        joined = await peer.ask(native.JoinTopic(1, "guarded:1"))
        peer.topics.renew(User("ann"))
        await trio.testing.wait_all_tasks_blocked()
        seat = next(iter(here.realtime.seats.values()))
        assert (joined.response, seat.user.subject) == ({"user": ""}, "ann")


async def test_a_kicked_member_is_told() -> None:
    async with world() as here:
        peer = await here.peer()
        peer.topics.user = User("ann")
        await peer.ask(native.JoinTopic(1, "room:1"))
        assert here.realtime.kick("ann") == 1
        await trio.testing.wait_all_tasks_blocked()
        assert peer.got[-1] == native.TopicLeft("room:1", 0, "ended", "kicked")


async def test_memberships_that_have_ended_take_no_place() -> None:
    async with world() as here:
        peer = await here.peer(most=1)
        for number in range(3):
            assert isinstance(await peer.ask(native.JoinTopic(1, f"guarded:{number}")), native.TopicJoined)
            await peer.ask(native.Push(f"guarded:{number}", "crash"))
        assert peer.topics.saved() == {}


async def test_what_ends_because_the_token_does_can_be_resumed() -> None:
    async with world() as here:
        peer = await here.peer()
        peer.topics.user = User("ann", expires=1.0)
        await peer.ask(native.JoinTopic(1, "room:1"))
        assert peer.of(native.TopicJoined) == []  # it is refused at once

        peer.topics.user = User("ann")
        await peer.ask(native.JoinTopic(2, "room:1"))
        peer.topics.user = User("ann", expires=1.0)
        here.realtime.kick("ann", "Your token has expired.")
        await trio.testing.wait_all_tasks_blocked()
        assert peer.of(native.TopicLeft) == []
        assert list(peer.topics.saved()) == ["room:1"]
