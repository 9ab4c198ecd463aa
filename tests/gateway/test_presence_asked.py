"""Who is present is told to those who asked for it: in every protocol's way of asking, and to nobody else."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.gateway.conversations import SupabaseTalker, realtime_node
from tests.gateway.native_peers import world
from wsactors.realtime.identity import User
from wsactors.wire import native
from wsactors.wire.plain import Plain

T = "realtime:room:1"


def track(meta: Plain) -> Plain:
    return {"type": "presence", "event": "track", "payload": meta}


async def test_native_clients_that_do_not_ask_get_no_presence_and_all_the_rest(autojump_clock: MockClock) -> None:
    async with world() as here:
        ann, bob, eve = [await here.peer() for _ in range(3)]
        ann.topics.user = User("ann")
        await ann.ask(native.JoinTopic(1, "room:1", presence=False))
        await bob.ask(native.JoinTopic(1, "room:1", presence=False))
        await eve.ask(native.JoinTopic(1, "room:1"))
        await ann.ask(native.Track("room:1", {"mood": "good"}, 2))
        await trio.sleep(1)
        await ann.ask(native.Push("room:1", "hi", None))
        for peer in (ann, bob):
            assert peer.of(native.PresenceDiff) == peer.of(native.PresenceState) == []
        assert [list(each.joins) for each in eve.of(native.PresenceDiff)] == [["ann"]]
        assert [len(each.of(native.Message)) for each in (ann, bob, eve)] == [0, 1, 1]


async def test_a_supabase_client_sees_the_others_from_when_it_shows_itself(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = [await SupabaseTalker.of(realtime) for _ in range(2)]
        await ada.enter("room:1", presence={"key": "ada"})
        await bob.enter("room:1", presence={"key": "bob"})
        await bob.say(T, "presence", track({}))
        await trio.sleep(0.5)
        assert ada.got == []
        assert [list(each[4]["joins"]) for each in bob.got] == [["bob"]]

        await ada.say(T, "presence", track({}))
        await trio.sleep(0.5)
        assert [list(each[4]["joins"]) for each in ada.got] == [["ada"]]
        await ada.say(T, "presence", track({"again": True}))
        await trio.sleep(0.5)
        await realtime.publish("room:1", "hit", {"n": 1})
        await trio.sleep(0.5)
        got = ada.got
        assert [each[3] for each in got if isinstance(each, list)] == ["presence_diff"]
        assert len(got) == 2, "neither comes twice"
        await ada.say(T, "phx_leave", {})
        await bob.say(T, "phx_leave", {})
        assert realtime.relay.count("room:1") == 0
