from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.gateway.conversations import MARKED, Talker, realtime_node, replied
from tests.wire.plain_values import PLAIN_VALUES, TEXTS
from wsactors.gateway.phoenix_formats import (
    ChannelsFormat,
    is_reserved,
    longpoll_format,
    phoenix_format,
    supabase_format,
)
from wsactors.realtime.identity import Credentials, User
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.publication import PresenceDiff, Publication
from wsactors.wire import phoenix
from wsactors.wire.errors import ProtocolError
from wsactors.wire.phoenix import V1, V2
from wsactors.wire.plain import Plain

STATE: list[object] = [None, None, "room:1", "presence_state", {}]
WELCOME = replied("room:1", {"welcome": {}}, ref="j")


async def test_join_push_and_broadcast(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        assert await ada.join("room:1") == [WELCOME, STATE]
        assert await bob.join("room:1", join_ref="9") == [
            replied("room:1", {"welcome": {}}, ref="9", join_ref="9"), STATE,
        ]  # fmt: skip

        assert await ada.say("room:1", "chat", {"text": "hé"}) == [replied("room:1", {})]
        assert bob.got == [[None, None, "room:1", "chat", {"text": "hé"}]]
        assert await bob.say("room:1", "photo", b"\x00\xff", join_ref="9") == [replied("room:1", {}, join_ref="9")]
        assert ada.got == [b"\x02\x06\x05room:1photo\x00\xff"]
        await realtime.publish("room:1", "chat", [1])
        await trio.testing.wait_all_tasks_blocked()
        assert ada.got == bob.got == [[None, None, "room:1", "chat", {"value": [1]}]]


async def test_answers_and_messages_for_one(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await ada.join("room:1")
        await bob.join("room:1")
        assert bob.got == []

        assert await ada.say("room:1", "no", {}) == [replied("room:1", {"reason": "no"}, status="error")]
        assert await ada.say("room:1", "bytes", {}) == [b"\x01\x01\x01\x06\x02jrroom:1ok\x00\xff"]
        assert await ada.say("room:1", "whisper", {"a": 1}, ref=None) == [["j", None, "room:1", "whispered", {"a": 1}]]
        assert await ada.say("room:1", "whisper", b"ab", ref=None) == [b"\x00\x01\x06\x09jroom:1whisperedab"]
        assert await ada.say("room:1", "silent", {}) == []
        [answer] = await ada.say("room:1", "nan", {})
        assert answer[4]["status"] == "error"
        assert "cannot be encoded" in answer[4]["response"]["reason"]
        assert bob.got == []


async def test_version_1(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        old, new = await Talker.of(realtime, version=V1), await Talker.of(realtime)
        await new.join("room:1")
        await old.tell('{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}')
        assert old.got == [
            {"topic": "room:1", "event": "phx_reply", "ref": "1",
             "payload": {"status": "ok", "response": {"welcome": {}}}},
            {"topic": "room:1", "event": "presence_state", "ref": None, "payload": {}},
        ]  # fmt: skip
        await old.tell('{"topic":"room:1","event":"chat","payload":{"a":1},"ref":"2"}')
        assert new.got == [[None, None, "room:1", "chat", {"a": 1}]]
        assert [each["ref"] for each in old.got] == ["2"]
        await new.say("room:1", "photo", b"abc")
        assert old.got == [{"topic": "room:1", "event": "photo", "ref": None, "payload": {"$binary": "YWJj"}}]
        await old.tell('{"topic":"room:1","event":"phx_leave","payload":{},"ref":"3"}')
        assert [(each["event"], each["ref"]) for each in old.got] == [("phx_reply", "3"), ("phx_close", "1")]
        with pytest.raises(ProtocolError):
            await old.tell(b"\0\0\0\1\1te")


async def test_heartbeat(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        assert await ada.say("phoenix", "heartbeat", {}, join_ref=None, ref="7") == [
            [None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
        ]
        assert await ada.say("phoenix", "other", {}, ref="8") == [
            replied("phoenix", {"reason": "unmatched topic"}, status="error", ref="8", join_ref=None)
        ]


async def test_what_is_not_joined(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        unmatched = {"reason": "unmatched topic"}
        assert await ada.say("room:1", "chat", {}) == [replied("room:1", unmatched, status="error", join_ref=None)]
        assert await ada.say("room:1", "phx_leave", {}) == [replied("room:1", {})]
        [refused] = await ada.join("nowhere")
        assert refused[:4] == ["j", "j", "nowhere", "phx_reply"]
        assert (refused[4]["status"], refused[4]["response"]["reason"]) == ("error", "unmatched topic")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"refuse": "unauthorized"}, "unauthorized"), ({"refuse": "full"}, "full"), ({"crash": True}, "join crashed"),
        ({"refuse": "unmatched_topic"}, "unmatched topic"),
    ],
)  # fmt: skip
async def test_a_refused_join_says_why_and_can_be_tried_again(
    autojump_clock: MockClock, params: Plain, reason: str
) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        [refused] = await ada.join("room:1", params)
        assert (refused[4]["status"], refused[4]["response"]["reason"]) == ("error", reason)
        assert refused[4]["response"].get("detail") == (1 if params != {"crash": True} else None)
        assert await ada.join("room:1") == [WELCOME, STATE]


async def test_leave(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await ada.join("room:1")
        await bob.join("room:1")
        assert await ada.say("room:1", "phx_leave", {}) == [
            replied("room:1", {}), ["j", "j", "room:1", "phx_close", {}],
        ]  # fmt: skip
        await bob.say("room:1", "chat", {})
        assert ada.got == []
        assert await ada.join("room:1", join_ref="k") == [
            replied("room:1", {"welcome": {}}, ref="k", join_ref="k"), STATE,
        ]  # fmt: skip


async def test_what_comes_between_leaving_and_being_gone_is_dropped(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        await ada.join("room:1")
        for event in ("phx_leave", "chat", "phx_leave"):
            await ada.conversation.receive(f'["j","{event}","room:1","{event}",{{}}]')
        await trio.testing.wait_all_tasks_blocked()
        assert [(each[1], each[3]) for each in ada.got] == [("phx_leave", "phx_reply"), ("j", "phx_close")]


async def test_joining_again_closes_the_old_channel_first(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await bob.join("room:1")
        await ada.join("room:1", join_ref="1")
        assert await ada.join("room:1", join_ref="2") == [
            ["1", "1", "room:1", "phx_close", {}],
            replied("room:1", {"welcome": {}}, ref="2", join_ref="2"),
            STATE,
        ]
        await bob.say("room:1", "chat", {})
        assert len(ada.got) == 1, "two channels would both get it"
        assert len(realtime.seats) == 2


async def test_joining_again_ends_an_old_channel_that_does_not_end(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        await ada.join("stubborn:1", join_ref="1")
        await ada.say("stubborn:1", "x", {}, join_ref="1")
        start = trio.current_time()
        events = [each[3] for each in await ada.join("stubborn:1", join_ref="2")]
        assert events == ["phx_error", "phx_reply", "presence_state"]
        assert 4 < trio.current_time() - start < 7


async def test_stale_messages_are_dropped_and_those_without_join_ref_are_taken(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await ada.join("room:1", join_ref="2")
        await bob.join("room:1")
        assert await ada.say("room:1", "chat", {"n": 1}, join_ref="1") == []
        assert await ada.say("room:1", "phx_leave", {}, join_ref="1") == []
        assert await ada.say("room:1", "chat", {"n": 2}, join_ref=None) == [replied("room:1", {}, join_ref="2")]
        assert await ada.say("room:1", "chat", {"n": 3}, join_ref=2) == [replied("room:1", {}, join_ref="2")]
        assert [each[4]["n"] for each in bob.got] == [2, 3]


async def test_too_many_channels(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime, max_channels=3)
        for number in range(3):
            await ada.join(f"room:{number}")
        [refused] = await ada.join("room:4")
        assert refused[4]["response"]["reason"] == "too many channels joined"
        assert len(await ada.join("room:1", join_ref="k")) == 3, "joining one again is no further one"
        await ada.say("room:0", "phx_leave", {})
        assert (await ada.join("room:4"))[0][4]["status"] == "ok"


async def test_a_channel_that_crashes(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await ada.join("room:1")
        await ada.join("room:2", join_ref="k")
        await bob.join("room:1")
        assert await ada.say("room:1", "crash", {}) == [["j", "j", "room:1", "phx_error", {"reason": "channel_crash"}]]
        assert bob.got == []
        assert await ada.say("room:2", "chat", {}, join_ref="k") == [replied("room:2", {}, join_ref="k")]
        assert await ada.join("room:1", join_ref="l") == [
            replied("room:1", {"welcome": {}}, ref="l", join_ref="l"), STATE,
        ]  # fmt: skip


async def test_presence_of_two_devices(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        eve, phone, desk = [await Talker.of(realtime) for _ in range(3)]
        await eve.join("room:1")
        here = {"track": {"at": "phone"}, "key": "ada"}
        await phone.join("room:1", here)
        await trio.sleep(0.5)
        [[_, _, topic, event, diff]] = eve.got
        assert (topic, event, diff["leaves"]) == ("room:1", "presence_diff", {})
        [meta] = diff["joins"]["ada"]["metas"]
        assert meta == {"at": "phone", "phx_ref": meta["phx_ref"]}

        _, state = await desk.join("room:1", {"track": {"at": "desk"}, "key": "ada"})
        assert state == [None, None, "room:1", "presence_state", {"ada": {"metas": [meta]}}]
        await trio.sleep(0.5)
        assert [each["at"] for each in eve.got[0][4]["joins"]["ada"]["metas"]] == ["desk"]
        await phone.say("room:1", "phx_leave", {})
        await trio.sleep(0.5)
        assert eve.got[0][4] == {"joins": {}, "leaves": {"ada": {"metas": [meta]}}}


async def test_channels_end_with_their_connection(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        await ada.join("room:1")
        realtime.node.exit(ada.owner, "kill")
        await trio.sleep(1)
        assert not realtime.seats
        assert ada.got == []


async def test_who_sends_too_fast_is_read_slower_and_then_refused(autojump_clock: MockClock) -> None:
    limits = LimitOptions(topic_messages=Rate(10.0, 20.0))
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime, user=User("ada", limits=limits))
        await ada.join("room:1")
        start = trio.current_time()
        for number in range(60):
            await ada.conversation.receive(f'["j","{number}","room:1","chat",{{}}]')
        await trio.testing.wait_all_tasks_blocked()
        assert [each[4]["status"] for each in ada.got] == ["ok"] * 60
        assert 3 < trio.current_time() - start < 6
        for number in range(60):  # another way in than this connection's, which it does not slow down
            realtime.push(next(iter(realtime.seats)), "chat", {}, number)
        await trio.testing.wait_all_tasks_blocked()
        refused = [each[4]["response"] for each in ada.got if each[4]["status"] == "error"]
        assert refused
        assert {each["code"] for each in refused} == {"rate"}


async def test_a_connection_ends_with_its_token(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime, user=await realtime.authenticate(Credentials(token="brief:10")))
        await trio.sleep(9)
        assert ada.closed == []
        await trio.sleep(1.5)
        assert ada.closed == [(1008, "your token has expired")]
        bob = await Talker.of(realtime, user=await realtime.authenticate(Credentials(token="brief:10")))
        bob.conversation.end()
        await trio.sleep(20)
        assert bob.closed == []


async def test_nobody_can_say_what_only_a_server_says(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada, bob = await Talker.of(realtime), await Talker.of(realtime)
        await ada.join("room:1")
        await bob.join("room:1")
        for event in (
            "phx_close",
            "phx_error",
            "phx_reply",
            "presence_state",
            "presence_diff",
            "chan_reply_r",
            "phx_x",
        ):
            assert is_reserved(event)
            assert await ada.say("room:1", event, {}) == [
                replied("room:1", {"reason": "reserved event"}, status="error")
            ]
            await realtime.publish("room:1", event, {"status": "ok", "response": {}})
        await trio.testing.wait_all_tasks_blocked()
        assert ada.got == bob.got == []


async def test_malformed_messages_are_refused_and_nothing_else_is_raised(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await Talker.of(realtime)
        for data in ("", "[]", "{}", "[" * 100_000, b"", b"\xff", '["a","b","t","e",[]]', b"\3\0\0\1\1\0\1te{}"):
            with pytest.raises(ProtocolError):
                await ada.conversation.receive(data)
        assert ada.got == []
        assert (await ada.join("room:1"))[0] == WELCOME


# -- formats --------------------------------------------------------------------------------------------------------------

FORMATS: list[ChannelsFormat] = [
    *(phoenix_format(version, MARKED) for version in (V1, V2)), *(longpoll_format(version) for version in (V1, V2)),
    *(supabase_format(version, MARKED) for version in (V1, V2)),
]  # fmt: skip


@given(TEXTS.filter(bool), TEXTS.filter(bool), PLAIN_VALUES)
@settings(max_examples=50, deadline=None)
def test_whatever_is_published_can_be_written_in_every_format(topic: str, event: str, payload: Plain) -> None:
    publication = Publication(topic=topic, event=event, payload=payload)
    diff = PresenceDiff(topic, {event: [{"phx_ref": "1", "of": payload}]}, {})

    for wire_format in FORMATS:
        assert publication.encode(wire_format)
        assert diff.encode(wire_format)
        assert publication.encode(wire_format) is publication.encode(wire_format)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60), st.sampled_from(FORMATS))
def test_whatever_is_decoded_can_be_written_in_every_format(data: bytes | str, wire_format: ChannelsFormat) -> None:
    try:
        message = wire_format.decode(data)
    except ProtocolError:
        return
    if not is_reserved(message.event):
        publication = Publication(topic=message.topic, event=message.event, payload=message.payload)
        assert all(publication.encode(each) for each in FORMATS)


def test_there_is_one_format_for_the_same_bytes() -> None:
    assert phoenix_format(V2, MARKED) is phoenix_format(V2, MARKED)
    assert phoenix_format(V2, MARKED) is not phoenix_format(V1, MARKED)


def test_long_poll_is_text_only() -> None:
    data = longpoll_format(V2).publication(Publication(topic="t", event="e", payload=b"abc"))
    assert data == b'[null,null,"t","e",{"$binary":"YWJj"}]'
    reply = phoenix.Message("1", "2", "t", "phx_reply", {"status": "ok", "response": b"abc"})
    assert longpoll_format(V2).message(reply).startswith(b'["1","2","t","phx_reply",')


def test_what_is_not_plain_is_not_sent() -> None:
    broken = Publication(topic="t", event="e", payload={"a": float("nan")})
    assert all(broken.encode(each) is None for each in FORMATS)
