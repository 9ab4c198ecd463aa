from __future__ import annotations

import random
import time
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.gateway.conversations import SupabaseTalker, Talker, realtime_node, replied
from wsactors.realtime.identity import JoinRefused, User
from wsactors.realtime.service import Realtime
from wsactors.wire.errors import ProtocolError
from wsactors.wire.phoenix import V1
from wsactors.wire.plain import Plain
from wsactors.wire.supabase import broadcast_payload

T = "realtime:room:1"
OK: dict[str, Plain] = {"postgres_changes": []}


def system(text: str, extension: str = "system") -> list[Any]:
    said = {"extension": extension, "status": "error", "message": text, "channel": "room:1"}
    return ["j", None, T, "system", said]


async def settled(talker: Talker) -> list[Any]:
    await trio.testing.wait_all_tasks_blocked()
    return talker.got


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is named may read and write what is private; "guest" may not."""

    async def check_join(self: Realtime, user: User, topic: str, params: Plain, *, private: bool) -> None:
        if private and (user.subject in {"", "guest"} or user.claims.get("weak")):
            raise JoinRefused("unauthorized", "no")

    monkeypatch.setattr(Realtime, "check_join", check_join)


# -- broadcast ------------------------------------------------------------------------------------------------------------


async def test_broadcasts_reach_everybody_but_their_sender(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await SupabaseTalker.of(realtime), await SupabaseTalker.of(realtime)
        old = await SupabaseTalker.of(realtime, version=V1)
        assert await ada.enter("room:1") == [replied(T, OK, ref="j")]
        for each in (bob, old):
            await each.enter("room:1")

        assert await ada.say(T, "broadcast", broadcast_payload("hit", {"n": 1})) == []
        assert bob.got == [b'\x04\x0f\x03\x00\x01realtime:room:1hit{"n":1}']
        assert old.got == [
            {"topic": T, "event": "broadcast", "ref": None, "payload": broadcast_payload("hit", {"n": 1})}
        ]
        await ada.say(T, "broadcast", broadcast_payload("hit", b"\x00\xff"))
        assert bob.got == [b"\x04\x0f\x03\x00\x00realtime:room:1hit\x00\xff"]
        assert old.got[0]["payload"] == broadcast_payload("hit", {"$binary": "AP8="})
        # as text, from whoever says it like that
        await bob.tell(f'["j",null,"{T}","broadcast",{{"type":"broadcast","event":"hit","payload":[]}}]')
        assert ada.got == [b"\x04\x0f\x03\x00\x01realtime:room:1hit[]"]


async def test_self_and_ack(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1", broadcast={"self": True, "ack": True})
        got = await ada.say(T, "broadcast", broadcast_payload("hit", {}))
        assert replied(T, {}) in got
        assert b"\x04\x0f\x03\x00\x01realtime:room:1hit{}" in got
        assert len(got) == 2
        [wrong] = await ada.say(T, "broadcast", {"event": 1})
        assert wrong[4]["status"] == "error"


async def test_clients_of_all_protocols_and_actors_talk_on_one_topic(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        sue, fay = await SupabaseTalker.of(realtime), await Talker.of(realtime)
        await sue.enter("plain:1")
        await fay.join("plain:1")
        assert fay.got == []

        await sue.say("realtime:plain:1", "broadcast", broadcast_payload("hit", {"n": 1}))
        assert fay.got == [[None, None, "plain:1", "hit", {"n": 1}]]
        await fay.say("plain:1", "hit", {"n": 2})
        assert sue.got == [b'\x04\x10\x03\x00\x01realtime:plain:1hit{"n":2}']
        await realtime.publish("plain:1", "hit", b"\x01", id="7")
        assert await settled(sue) == [b'\x04\x10\x03\x0a\x00realtime:plain:1hit{"id":"7"}\x01']
        assert fay.got == [b"\x02\x07\x03plain:1hit\x01"]


# -- joining --------------------------------------------------------------------------------------------------------------


async def test_postgres_changes_are_confirmed_and_honestly_refused(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        changes: list[Plain] = [{"event": "*", "schema": "public"}, {"event": "INSERT", "schema": "s", "table": "t"}]
        first, second = await ada.enter("room:1", postgres_changes=changes)
        confirmed = [
            {"event": "*", "schema": "public", "id": 1},
            {"event": "INSERT", "schema": "s", "table": "t", "id": 2},
        ]
        assert first == replied(T, {"postgres_changes": confirmed}, ref="j")
        assert second[3:] == ["system", {**second[4], "extension": "postgres_changes", "status": "error"}]
        assert "not available" in second[4]["message"]
        [said] = await ada.say(T, "broadcast", broadcast_payload("hit", {}), ref="2") or [None]
        assert said is None, "the channel stays usable"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("room:1", {}, "unmatched topic"),
        ("realtime:", {}, "TopicNameRequired: You must provide a topic name"),
        ("realtime:nowhere", {}, "unmatched topic"),
        (T, {"config": {"private": True}},
         "Unauthorized: You do not have permissions to read from this Channel topic: room:1"),
        (T, {"config": {"private": True}, "access_token": "guest"},
         "Unauthorized: You do not have permissions to read from this Channel topic: room:1"),
        (T, {"access_token": "expired"}, "InvalidJWTToken: Token has expired"),
        (T, {"access_token": "malformed"}, "MalformedJWT: The token provided is not a valid JWT"),
        (T, {"access_token": "signature"}, "JwtSignatureError: Failed to validate JWT signature"),
        (T, {"access_token": "claims"}, "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        ("realtime:private:1", {}, "PrivateOnly: This project only allows private channels"),
        (T, {"config": {"broadcast": {"replay": {"since": 0}}}},
         "UnableToReplayMessages: Replay is not allowed for public channels"),
        (T, {"config": {"private": True, "broadcast": {"replay": 1}}},
         "UnableToReplayMessages: Replay params are not valid"),
        (T, {"config": {"private": True, "broadcast": {"replay": {"since": 0}}}},
         "Unauthorized: You do not have permissions to read from this Channel topic: room:1"),
    ],
)  # fmt: skip
async def test_refused_joins_say_code_and_text(
    autojump_clock: MockClock, topic: str, payload: Plain, reason: str
) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        assert await ada.join(topic, payload) == [replied(topic, {"reason": reason}, status="error", ref="j")]
        assert not realtime.seats


async def test_too_many_channels_and_crashing_joins(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime, max_channels=1)
        await ada.enter("room:1")
        [refused] = await ada.enter("room:2")
        assert refused[4]["response"]["reason"] == "ChannelRateLimitReached: Too many channels"
        [crashed] = await (await SupabaseTalker.of(realtime)).join(T, {"crash": True})
        assert crashed[4]["response"]["reason"].startswith("UnknownErrorOnChannel: ")


async def test_private_channels_are_for_those_whom_the_policy_allows(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        assert (await ada.enter("room:1", token="ada", private=True))[0] == replied(T, OK, ref="j")
        [seat] = realtime.seats.values()
        assert seat.user.subject == "ada"
        assert (seat.topic, seat.private) == ("private:room:1", True)
        assert seat.params == {"config": {"private": True}}, "tokens are no business of a channel"


async def test_project_keys_are_nobodys_tokens(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime, user=User("bea"))
        await ada.enter("room:1", token="sb_publishable_x")
        assert [seat.user.subject for seat in realtime.seats.values()] == ["bea"]


async def test_a_channel_that_is_ended_says_why(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1", token="ada")
        realtime.kick("ada", "You were kicked")
        assert await settled(ada) == [system("You were kicked"), ["j", "j", T, "phx_close", {}]]
        await ada.enter("room:1", token="ada")
        assert await ada.say(T, "phx_leave", {}) == [replied(T, {}), ["j", "j", T, "phx_close", {}]]


# -- replay ---------------------------------------------------------------------------------------------------------------


async def test_private_channels_replay_the_newest_since_a_time(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        for number in range(5):
            await realtime.publish("private:room:1", "hit", {"n": number}, id=f"id{number}" if number else "")
        await realtime.publish("room:1", "hit", {"n": "public"})
        gap = await realtime.history("private:room:1")
        ada = await SupabaseTalker.of(realtime, version=V1)
        replay = {"since": 0, "limit": 3}
        got = await ada.enter("room:1", token="ada", private=True, broadcast={"replay": replay})
        assert [each["payload"] for each in got[1:]] == [
            broadcast_payload("hit", {"n": n}, {"replayed": True, "id": f"id{n}"}) for n in (2, 3, 4)
        ]
        await realtime.publish("private:room:1", "hit", {"n": 5})
        assert [each["payload"]["payload"]["n"] for each in await settled(ada)] == [5], "live from here, and none twice"

        bob = await SupabaseTalker.of(realtime, version=V1)
        replay = {"since": int(gap.missed[-1].at * 1000) + 60_000}
        assert len(await bob.enter("room:1", token="bob", private=True, broadcast={"replay": replay})) == 1
        cat = await SupabaseTalker.of(realtime)
        got = await cat.enter("room:1", token="cat", private=True, broadcast={"replay": {"since": 0}})
        assert len(got) == 7
        assert got[1].startswith(b"\x04\x0f\x03")
        assert b'{"replayed":true,"id":"' in got[1]


# -- presence -------------------------------------------------------------------------------------------------------------


def track(meta: Plain) -> Plain:
    return {"type": "presence", "event": "track", "payload": meta}


async def test_presence_of_two_devices(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        eve, phone, desk = [await SupabaseTalker.of(realtime) for _ in range(3)]
        assert (await eve.enter("room:1", presence={"enabled": True}))[1] == [None, None, T, "presence_state", {}]
        assert len(await phone.enter("room:1", presence={"key": "ada"})) == 1, "who does not ask gets no state"
        await desk.enter("room:1", presence={"key": "ada"})

        assert await phone.say(T, "presence", track({"at": "phone"})) == [replied(T, {})]
        await trio.sleep(0.5)
        await desk.say(T, "presence", track({"at": "desk"}))
        await trio.sleep(0.5)
        first, second = eve.got
        assert first[3] == second[3] == "presence_diff"
        [meta] = first[4]["joins"]["ada"]["metas"]
        assert meta["at"] == "phone"
        assert [each["at"] for each in second[4]["joins"]["ada"]["metas"]] == ["desk"]
        assert len(phone.got) == 2

        assert await phone.say(T, "presence", track({"at": "phone"})) == [replied(T, {})]
        await trio.sleep(0.5)
        assert eve.got == [], "the same again is nothing new"
        await phone.say(T, "presence", track({"at": "tram"}))
        await trio.sleep(0.5)
        [update] = eve.got
        [joined] = update[4]["joins"]["ada"]["metas"]
        assert (joined["at"], joined["phx_ref_prev"]) == ("tram", meta["phx_ref"])
        assert update[4]["leaves"] == {"ada": {"metas": [meta]}}
        assert phone.got == [update]
        assert await phone.say(T, "presence", {"event": "untrack"}) == [replied(T, {})]
        await trio.sleep(0.5)
        assert [list(each[4]["leaves"]) for each in eve.got] == [["ada"]]
        assert list(await realtime.presence("room:1")) == ["ada"], "the desk is still there"


async def test_presence_that_cannot_be(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1")
        [answer] = await ada.say(T, "presence", track([1]))
        assert answer == replied(T, {"reason": "Presence track payload must be a map"}, status="error")
        assert (await ada.say(T, "presence", {"event": "dance"}))[0][4]["status"] == "error"
        for _ in range(2):
            assert (await ada.say(T, "presence", track({"a": "x" * 10_000})))[0][4]["status"] == "error"
        assert (await ada.say(T, "presence", track({})))[0][4]["status"] == "ok"


async def test_without_a_key_everybody_has_one_of_their_own(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        for _ in range(2):
            talker = await SupabaseTalker.of(realtime)
            await talker.enter("room:1")
            await talker.say(T, "presence", track({}))
        assert len(await realtime.presence("room:1")) == 2


# -- tokens ---------------------------------------------------------------------------------------------------------------


async def test_a_new_token_makes_somebody_of_nobody(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1")
        assert await ada.say(T, "access_token", {"access_token": "ada"}) == []
        [seat] = realtime.seats.values()
        assert seat.user.subject == "ada"
        [said, closed] = await ada.say(T, "access_token", {"access_token": "bea"})
        assert (said[3], said[4]["status"], closed[3]) == ("system", "error", "phx_close"), "and of nobody another"


@pytest.mark.parametrize("token", ["ada", "sb_publishable_x", None, 7])
async def test_tokens_that_change_nothing(autojump_clock: MockClock, token: Plain) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1", token="ada", private=True)
        assert await ada.say(T, "access_token", {"access_token": token}) == []
        assert [seat.user.subject for seat in realtime.seats.values()] == ["ada"]


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("expired", "Token has expired"), ("malformed", "The token provided is not a valid JWT"),
        ("guest", "This token is another's: connect again to become somebody else."),
        ("weak", "You no longer have permission to read from this Channel topic: room:1"),
    ],
)  # fmt: skip
async def test_a_token_that_is_no_good_ends_the_channel(autojump_clock: MockClock, token: str, text: str) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1", token="ada", private=True)
        assert await ada.say(T, "access_token", {"access_token": token}) == [
            system(text), ["j", "j", T, "phx_close", {}],
        ]  # fmt: skip
        assert not realtime.seats


async def test_a_channel_ends_with_its_token_unless_it_gets_a_new_one(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1", token="brief:10")
        assert await ada.say(T, "access_token", {"access_token": "brief:30"}) == []
        await trio.sleep(11)
        assert ada.got == []
        # The mock clock is not the one that tokens go by.
        [seat] = realtime.seats.values()
        assert seat.channel is not None
        realtime.renew(seat.channel, attrs.evolve(seat.user, expires=time.time() - 60))
        await trio.sleep(1)  # memberships end a moment after their connection would
        said, closed = await settled(ada)
        assert (said[3], said[4]["status"], closed[3]) == ("system", "error", "phx_close")
        assert "expired" in said[4]["message"]
        assert ada.closed == []


# -- hostile --------------------------------------------------------------------------------------------------------------


async def test_malformed_messages_are_dropped_and_the_connection_kept(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        await ada.enter("room:1")
        for data in (
            "",
            "[]",
            "{",
            "[" * 100_000,
            b"",
            b"\xff",
            b"\3\0\0\1\1\0\1te{",
            b"\3\xff",
            '["a","b","t","e",[]]',
        ):
            await ada.tell(data)
        assert ada.got == []
        assert await ada.say(T, "unheard_of", {}) == []
        assert (await ada.say("phoenix", "heartbeat", {}, join_ref=None))[0][4] == {"status": "ok", "response": {}}


async def test_malformed_messages_by_the_ten_thousand_leave_everything_healthy(autojump_clock: MockClock) -> None:
    chance = random.Random(3)
    async with realtime_node() as realtime:
        sue, fay = await SupabaseTalker.of(realtime), await Talker.of(realtime)
        watcher = await SupabaseTalker.of(realtime)
        for talker, topic in ((sue, T), (fay, "room:1"), (watcher, T)):
            await talker.join(topic)
        seeds: list[bytes] = [
            f'["j","1","{T}","broadcast",{{"type":"broadcast","event":"hit","payload":{{"a":[1,2.5,null,"é"]}}}}]'.encode(),
            f'["j","1","{T}","presence",{{"event":"track","payload":{{"a":1}}}}]'.encode(),
            b'["j","1","room:1","chat",{"a":1}]', b"\3\1\1\x0f\3\x0a\1j1" + T.encode() + b'hit{"id":"7"}{"a":1}',
            b"\0\1\1\6\4j1room:1chatdata", b'["k","k","room:9","phx_leave",{}]',
        ]  # fmt: skip
        for _ in range(20_000):
            damaged = bytearray(chance.choice(seeds))
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            del damaged[chance.randint(1, len(damaged)) :]
            for data in (bytes(damaged), damaged.decode("utf-8", "replace")):
                for talker in (sue, fay):
                    try:
                        await talker.conversation.receive(data)
                    except ProtocolError:
                        continue
        await trio.testing.wait_all_tasks_blocked()
        assert watcher.got is not None
        await sue.say(T, "broadcast", broadcast_payload("hit", {"still": "here"}), join_ref=None)
        assert b'\4\x0f\3\0\1realtime:room:1hit{"still":"here"}' in watcher.got
        assert len(realtime.seats) == 3


async def test_what_was_shown_stands_in_no_log(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime)
        caplog.set_level("DEBUG")
        payload: Plain = {"access_token": "sb_PLANTED", "user_token": "sb_PLANTED", "config": {"broadcast": "PLANTED"}}
        await ada.join(T, payload)
        await ada.say(T, "access_token", {"access_token": "sb_PLANTED"})
        await ada.tell("PLANTED")
        [seat] = realtime.seats.values()
        assert "sb_PLANTED" not in str(seat.params)
        await ada.say(T, "broadcast", broadcast_payload("crash", {"token": "PLANTED"}))
        assert "actor.crashed" in caplog.text
        assert "PLANTED" not in caplog.text
