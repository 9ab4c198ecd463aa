"""What a client of the native protocol does with topics, without a socket: messages in, messages out."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.gateway.harness import TestDirectory
from tests.gateway.native_peers import Owner, Peer, world
from wsactors.gateway.framing import PLAIN, deflated
from wsactors.gateway.native import NativeConversation
from wsactors.gateway.native_outlet import error_of, native_format
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.port import Port
from wsactors.realtime.identity import AuthRefused, User
from wsactors.realtime.publication import Publication
from wsactors.supervision import Node
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError


async def test_members_hear_each_other_but_not_themselves_unless_they_ask() -> None:
    async with world() as here:
        ann, bob, eve = [await here.peer() for _ in range(3)]
        for peer in (ann, bob):
            assert isinstance(await peer.ask(native.JoinTopic(1, "room:1", presence=False)), native.TopicJoined)
        await eve.ask(native.JoinTopic(1, "room:1", presence=False, echo=True))

        answer = await ann.ask(native.Publish("room:1", "said", {"cover": b"\x00\xff"}, 7, id="m1"))
        await eve.ask(native.Publish("room:1", "said", "mine"), native.Publish("room:1", "said", "quiet", echo=False))
        await ann.ask(native.Publish("room:1", "said", "echo", echo=True))

    assert isinstance(answer, native.Published)
    assert (answer.ref, answer.offset) == (7, 1)
    heard = {peer: [each.payload for each in peer.of(native.Message)] for peer in (ann, bob, eve)}
    assert heard[bob] == [{"cover": b"\x00\xff"}, "mine", "quiet", "echo"]
    assert heard[ann] == ["mine", "quiet", "echo"]
    assert heard[eve] == [{"cover": b"\x00\xff"}, "mine", "echo"]
    first = bob.of(native.Message)[0]
    assert (first.event, first.id, first.offset, first.epoch) == ("said", "m1", 1, answer.epoch)


async def test_a_publication_is_encoded_once_for_all_native_clients() -> None:
    publication = Publication(topic="t", event="e", payload=b"x" * 70_000)

    plain, small = publication.encode(native_format(PLAIN)), publication.encode(native_format(deflated(15)))
    assert plain is publication.encode(native_format(PLAIN))
    assert plain is not None
    assert small is not None
    assert len(small) < len(plain) / 10
    assert Publication(topic="t", event="e", payload=float("nan")).encode(native_format(PLAIN)) is None


async def test_pushes_are_answered_by_the_channel() -> None:
    async with world() as here:
        peer = await here.peer()
        joined = await peer.ask(native.JoinTopic(1, "guarded:1"))
        assert joined.response == {"user": ""}
        assert await peer.ask(native.Push("guarded:1", "ask", 1, 2)) == native.Reply(2, "ok", {"got": 1})
        assert await peer.ask(native.Push("guarded:1", "no", 1, 3)) == native.Reply(3, "error", {"reason": "no"})
        assert await peer.ask(native.Push("guarded:1", "ask", 1)) is None
        assert await peer.ask(native.Push("guarded:1", "whisper", "x", 4)) == native.Push("guarded:1", "whispered", "x")


async def test_where_the_application_looks_at_pushes_nobody_publishes_past_it() -> None:
    async with world() as here:
        peer = await here.peer()
        await peer.ask(native.JoinTopic(1, "guarded:1"))
        error = await peer.ask(native.Publish("guarded:1", "e", 1, 2, echo=True))
    assert (error.code, error.ref, error.topic) == ("refused", 2, "guarded:1")
    assert not peer.of(native.Message)


async def test_a_channel_that_crashes_says_so_and_may_be_joined_again() -> None:
    async with world() as here:
        peer = await here.peer()
        await peer.ask(native.JoinTopic(1, "guarded:1"))
        left = await peer.ask(native.Push("guarded:1", "crash"))
        assert (left.topic, left.code) == ("guarded:1", "crash")
        assert (await peer.ask(native.Push("guarded:1", "ask", 1, 2))).code == "not_joined"
        assert isinstance(await peer.ask(native.JoinTopic(3, "guarded:1")), native.TopicJoined)


@pytest.mark.parametrize(
    ("request_", "code", "details"),
    [
        (native.JoinTopic(5, "nowhere"), "unmatched_topic", None),
        (native.JoinTopic(5, "private:1"), "unauthorized", None),
        (native.JoinTopic(5, "room:1", private=True), "unauthorized", None),
        (native.JoinTopic(5, "guarded:1", "no"), "refused", {"code": "full moon", "details": {"until": "tomorrow"}}),
        (native.JoinTopic(5, "guarded:1", "odd"), "refused", None),
        (native.Push("room:1", "e", 1, 5), "not_joined", None),
        (native.Publish("room:1", "e", 1, 5), "not_joined", None),
        (native.Track("room:1", {}, 5), "not_joined", None),
        (native.Untrack("room:1", 5), "not_joined", None),
    ],
)
async def test_what_is_refused_is_an_error_with_the_ref(request_: Any, code: str, details: Any) -> None:
    async with world() as here:
        error = await (await here.peer()).ask(request_)
    assert (error.code, error.ref, error.topic, error.details) == (code, 5, request_.topic, details)


async def test_a_connection_joins_a_bounded_number_of_topics() -> None:
    async with world() as here:
        peer = await here.peer(most=2)
        await peer.ask(native.JoinTopic(1, "room:1"), native.JoinTopic(2, "room:2"))
        assert (await peer.ask(native.JoinTopic(3, "room:3"))).code == "too_many"
        assert await peer.ask(native.LeaveTopic(4, "room:1")) == native.TopicLeft("room:1", 4, "left", "left")
        assert isinstance(await peer.ask(native.JoinTopic(5, "room:3")), native.TopicJoined)
        assert await peer.ask(native.LeaveTopic(6, "room:1")) == native.TopicLeft("room:1", 6)


async def test_a_second_join_replaces_the_first_and_nothing_comes_twice() -> None:
    async with world() as here:
        peer = await here.peer(most=1)
        await peer.ask(native.JoinTopic(1, "room:1", presence=False), native.JoinTopic(2, "room:1", presence=False))
        await here.realtime.publish("room:1", "e", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert [type(each) for each in peer.got] == [native.TopicJoined, native.TopicJoined, native.Message]


async def test_who_comes_back_gets_what_was_missed_or_hears_that_it_is_not_all() -> None:
    async with world() as here:
        position = await here.realtime.publish("short:1", "e", 1)
        for number in range(2, 4):
            position = await here.realtime.publish("short:1", "e", number)
        peer = await here.peer()

        whole = await peer.ask(native.JoinTopic(1, "short:1", since=native.Position(position.epoch, 1)))
        assert (whole.recovered, whole.missed, whole.offset) == (True, 2, 3)
        assert [type(each).KIND for each in peer.got] == ["topic_joined", "presence_state", "message", "message"]
        assert [(each.offset, each.payload) for each in peer.of(native.Message)] == [(2, 2), (3, 3)]

        torn = await peer.ask(native.JoinTopic(2, "short:1", since=native.Position(position.epoch, 0)))
        other = await peer.ask(native.JoinTopic(3, "short:1", since=native.Position("another", 3)))
        fresh = await peer.ask(native.JoinTopic(4, "short:1"))
    assert (torn.recovered, other.recovered, fresh.recovered) == (False, False, None)


async def test_presence_comes_as_a_state_and_diffs(autojump_clock: trio.testing.MockClock) -> None:
    async with world() as here:
        ann, bob = await here.peer(), await here.peer()
        ann.topics.user, bob.topics.user = User("ann"), User("bob")
        await ann.ask(native.JoinTopic(1, "room:1"))
        assert await ann.ask(native.Track("room:1", {"mood": "good"}, 2)) == native.Reply(2, "ok", {})
        await trio.sleep(1)
        await bob.ask(native.JoinTopic(1, "room:1"))
        (state,) = bob.of(native.PresenceState)
        assert [meta["mood"] for meta in state.state["ann"]] == ["good"]

        await ann.ask(native.Track("room:1", {"mood": "better"}))
        await trio.sleep(1)
        await ann.ask(native.Untrack("room:1", 3))
        await trio.sleep(1)
    update, leave = bob.of(native.PresenceDiff)
    assert update.joins["ann"][0]["phx_ref_prev"] == update.leaves["ann"][0]["phx_ref"]
    assert (leave.joins, list(leave.leaves)) == ({}, ["ann"])


async def test_a_node_without_topics_says_so() -> None:
    async with Node("plain") as node:
        peer = Peer(None, await node.spawn(Owner))
        assert (await peer.ask(native.JoinTopic(1, "room:1"))).code == "unmatched_topic"
        peer.topics.leave_all()


def test_refusals_at_the_door_have_the_protocols_own_codes() -> None:
    codes = [error_of(AuthRefused(code, "x")).code for code in ("expired", "signature", "revoked", "timeout", "other")]
    assert codes == ["expired", "unauthorized", "unauthorized", "timeout", "refused"]


TEMPLATES: list[Any] = [
    native.JoinTopic(1, "room:1", {"a": [1, b"x"]}, native.Position("e", 3)),
    native.JoinTopic(2, "guarded:1", "no"),
    native.LeaveTopic(3, "room:1"),
    native.Push("room:1", "said", {"text": "hello"}, 4),
    native.Publish("room:1", "said", [None, 1.5], 5, id="x"),
    native.Track("room:1", {"mood": "good"}, 6),
    native.Untrack("room:1", 7),
    native.Authenticate(8, "token"),
    native.Join("main"),
    native.Leave("main"),
    native.Ping(9),
    native.Hello(topics={"room:1": native.Position("e", 3)}),
]


async def test_tampered_messages_by_the_thousand_end_their_own_connection_and_nothing_else() -> None:
    chance = random.Random(11)
    async with world() as here:
        port = Port.build(
            GatewayOptions(port=0),
            TestDirectory(),
            node_name="fuzz",
            is_ready=lambda: True,
            runtime=here.node,
        )
        healthy = await here.peer()
        await healthy.ask(native.JoinTopic(1, "room:1"))
        broken = 0
        for _ in range(1_000):
            owner = await here.node.spawn(Owner)
            peer = Peer(here.realtime, owner)
            closed: list[tuple[int, str]] = []
            talk = NativeConversation(Raw(peer), port, owner, partial(note, closed), peer.topics)
            await talk.greet(native.encode(native.Hello()))
            try:
                for _ in range(100):
                    data = bytearray(native.encode(chance.choice(TEMPLATES)))
                    for _ in range(chance.choice([0, 0, 1, 2, 8])):
                        data[chance.randrange(len(data))] = chance.randrange(256)
                    await talk.receive(bytes(data[: chance.choice([len(data), chance.randrange(len(data))])]))
            except ProtocolError as error:
                talk.refuse(error)
                broken += 1
                assert (closed, peer.got[-1].code) == ([(1002, "protocol error")], "protocol")
            talk.end()
            here.node.exit(owner, "kill")
        assert broken > 700
        published = await healthy.ask(native.Publish("room:1", "said", "well", 2, echo=True))
        assert isinstance(published, native.Published | native.Message)


def note(closed: list[tuple[int, str]], code: int, reason: str) -> None:
    closed.append((code, reason))


class Raw:
    """A sink of messages without frames."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def offer(self, data: bytes, key: object = None) -> bool:
        self._peer.got.append(native.decode_server(data))
        return True
