"""A stage as its people see it: who may speak is heard by the others, and by nobody else; who is killed comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

pytest.importorskip("av")

from wsactors.actors import Pid
from wsactors.errors import NoSuchSession
from wsactors.media.opus import Decoder, Encoder
from wsactors.realtime.identity import ANONYMOUS, Refused, User
from wsactors.realtime.metrics import Metrics
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.directory import close_stage, open_stage
from wsactors.sessions.member import FRAMES, visitor_of
from wsactors.sessions.soundboard_rules import Board
from wsactors.sessions.stage_messages import Clip
from wsactors.sessions.stage_news import HANDS, LISTED, News, event
from wsactors.sessions.stage_options import BoardOptions, StageOptions
from wsactors.sessions.stage_room import Room, Visitor
from wsactors.sessions.stage_rules import Role, Ruling, short_name
from wsactors.supervision import load_tree
from wsactors.wire.native import FLAG_PRIORITY, MAX_CONTROL_BYTES, AudioFrame

from .stages import SUPERVISORS, Guest, Hall, open_hall, user, voice

MOD, ANN, BOB, CAT = user("mod"), user("ann"), user("bob"), user("cat")


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    async with open_hall() as opened:
        yield opened


async def speak(guest: Guest, listener: Guest, count: int = 10, **how: Any) -> list[AudioFrame]:
    """What ``listener`` hears while ``guest`` speaks for so many frames."""
    before = len(listener.frames)
    for _ in range(count):
        guest.say(**how)
        await trio.sleep(0.02)
    return [frame for frame in listener.frames[before:] if frame.level < 127]


async def talk(hall: Hall, **options: Any) -> tuple[StageOptions, Guest, Guest]:
    """A stage with a moderator and somebody in the audience."""
    stage = await hall.open(opener=MOD, **options)
    return stage, await hall.join(who=MOD), await hall.join(who=ANN)


async def bring_up(mod: Guest, guest: Guest) -> None:
    await guest.act("hand", up=True)
    await mod.act("move", id=guest.id, to="speakers")
    await guest.until(lambda: guest.role == 2)


async def refused(guest: Guest, action: str, **args: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await guest.act(action, **args)
    return refusal.value.code


# -- speaking and hearing ---------------------------------------------------------------------------------------------


async def test_moderators_and_speakers_are_heard_by_everybody_but_themselves(
    autojump_clock: MockClock, hall: Hall
) -> None:
    stage, mod, ann = await talk(hall)
    assert (mod.role, ann.role) == (3, 1)
    frames = await speak(mod, ann)
    assert len(frames) == 10
    assert {frame.role for frame in frames} == {3}
    assert {frame.track for frame in frames} == {mod.you["track"]}
    assert {frame.track >> 16 for frame in frames} == {stage.track >> 16} == {ann.member.joined.track >> 16}
    assert [frame.payload for frame in frames] == [voice(0)[19:]] * 10
    assert not mod.frames
    await bring_up(mod, ann)
    assert {frame.role for frame in await speak(ann, mod)} == {2}
    assert {person["name"]: person["role"] for person in mod.people.values()} == {"mod": 3, "ann": 2}


async def test_sound_of_the_audience_goes_nowhere(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    guest = await hall.join(guest="g1")
    assert not await speak(ann, mod, 30)
    assert not await speak(guest, mod, 30)
    status = await hall.status(stage)
    assert (status.frames, dict(status.dropped)) == (0, {"role": 60})


async def test_an_uplink_frame_that_claims_a_role_or_a_priority_is_dropped(
    autojump_clock: MockClock, hall: Hall
) -> None:
    stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    now = trio.current_time()
    good = voice(0)
    forged = [good[:1] + bytes([flags]) + good[2:] for flags in (0x20, 0x40, 0x60, 0x10, 0x18, 0x80, 0x04)]
    forged += [good[:2] + (7).to_bytes(4, "big") + good[6:], b"\x02" + good[1:], good[:19], b"\x01", good + bytes(1200)]
    for data in forged:
        ann.member.speak(data, now)
    await ann.act("people")
    assert not mod.frames
    assert dict((await hall.status(stage)).dropped) == {"malformed": len(forged)}
    assert await speak(ann, mod)
    assert not any(frame.flags & FLAG_PRIORITY for frame in mod.frames)


async def test_a_flood_of_frames_ends_at_the_seat(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    ann.say(5_000)
    await ann.act("people")
    status = await hall.status(stage)
    assert dict(status.dropped)["rate"] > 5_000 - 2 * FRAMES.burst
    assert len(mod.frames) < 2 * FRAMES.burst


async def test_who_is_muted_by_a_moderator_is_not_heard_whatever_they_do(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    await mod.act("server_mute", id=ann.id, on=True)
    await ann.until(lambda: ann.you.get("server_muted"))
    assert not await speak(ann, mod)
    await ann.act("mute", on=False)
    assert await refused(ann, "server_mute", id=ann.id, on=False) == "unauthorized"
    assert not await speak(ann, mod)
    ann.member.leave()
    again = await hall.join(who=ANN)
    await bring_up(mod, again)
    assert not await speak(again, mod)
    await mod.act("server_mute", id=again.id, on=False)
    await again.until(lambda: not again.you.get("server_muted"))
    assert await speak(again, mod)


async def test_mute_push_to_talk_and_priority(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall, push_to_talk=True)
    await bring_up(mod, ann)
    assert ann.you["must_push"]
    assert not await speak(ann, mod)
    await ann.act("talk", on=True)
    assert await speak(ann, mod)
    await ann.act("mute", on=True)
    assert not await speak(ann, mod)
    await ann.act("mute", on=False)
    await mod.act("priority", id=ann.id, on=True)
    assert all(frame.flags & FLAG_PRIORITY for frame in await speak(ann, mod))
    await ann.act("talk", on=False)
    assert not await speak(ann, mod)


async def test_a_listener_may_choose_not_to_hear_somebody(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    bob = await hall.join(who=BOB)
    await bob.act("hear", id=mod.id, on=False)
    assert not await speak(mod, bob)
    assert await speak(mod, ann)
    await bob.act("hear", id=mod.id, on=True)
    assert await speak(mod, bob)
    assert await refused(bob, "hear", id=99, on=False) == "not_found"


async def test_of_two_connections_of_one_person_the_newer_speaks(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    second = await hall.join(who=ANN)
    assert (second.id, second.role) == (ann.id, 2)
    assert not await speak(ann, mod)
    assert await speak(second, mod)
    assert not ann.frames  # nobody hears themselves, on any connection
    second.member.leave()
    await wait_all_tasks_blocked()
    assert await speak(ann, mod)
    assert (await hall.status(stage)).people == 2


async def test_only_the_loudest_are_sent(autojump_clock: MockClock, hall: Hall) -> None:
    await hall.open("room", kind="voice", loudest=2)
    people = [await hall.join("room", user(f"u{number}")) for number in range(6)]
    listener = people[-1]
    for _ in range(150):
        for number, guest in enumerate(people[:5]):
            guest.say(level=30 if number < 3 else 20)
        await trio.sleep(0.02)
    tail = listener.frames[-40:]
    assert {frame.track for frame in tail} == {guest.you["track"] for guest in people[3:5]}


class Deaf:
    """A sink that counts what it is offered by track."""

    def __init__(self) -> None:
        self.tracks: Counter[int] = Counter()

    def offer(self, data: bytes, key: object = None) -> bool:
        if key == AUDIO:
            self.tracks[int.from_bytes(data[2:6], "big")] += 1
        return True


async def test_of_a_thousand_speakers_those_who_speak_are_heard_by_all(autojump_clock: MockClock, hall: Hall) -> None:
    stage = await hall.open("room", kind="voice", people=1_000, loudest=4)
    crowd: list[tuple[Deaf, Any]] = []
    for number in range(1_000):
        sink = Deaf()
        crowd.append((sink, await hall.directory.join("room", sink, hall.owner.pid, user=user(f"u{number}"))))
    with pytest.raises(Refused, match="full"):
        await hall.directory.join("room", Deaf(), hall.owner.pid, user=user("one more"))
    for sequence in range(8):
        for number, (_sink, member) in enumerate(crowd):
            loud = number % 400 == 7
            frame = voice(sequence, level=20) if loud else voice(sequence, level=100, flags=0)
            member.speak(frame, trio.current_time())
        await trio.sleep(0.02)
    await trio.sleep(1)
    heard = {tuple(sorted(sink.tracks)) for sink, _member in crowd}
    tracks = set().union(*heard)
    assert len(tracks) == 3  # of whom each hears the two others, and everybody else all
    assert sorted(len(each) for each in heard) == [2, 2, 2, 3]
    status = await hall.status(stage)
    assert (status.people, status.tracks, dict(status.dropped)["silence"]) == (1_000, 1_000, 997 * 8)


async def test_who_comes_while_somebody_speaks_gets_what_a_jitter_buffer_needs(
    autojump_clock: MockClock, hall: Hall
) -> None:
    _stage, mod, ann = await talk(hall)
    await speak(mod, ann, 20)
    late = await hall.join(who=BOB)
    assert 0 < len(late.frames) * 0.02 <= 0.08
    assert [frame.sequence for frame in late.frames] == [frame.sequence for frame in ann.frames[-len(late.frames) :]]


def tone(hertz: float, frames: int) -> list[bytes]:
    """Opus packets of 20 ms each."""
    t = np.arange(frames * 960) / 48_000
    sound = (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32).reshape(frames, 960, 1)
    with Encoder(1, bitrate=48_000) as encoder:
        return [encoder.encode(np.ascontiguousarray(block)) for block in sound]


def strength(frames: list[AudioFrame], hertz: float) -> float:
    """How strong a tone is in what was heard, against everything else."""
    with Decoder(1) as decoder:
        sound = np.concatenate([decoder.decode(frame.payload) for frame in frames])[:, 0][-14_400:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum[round(hertz * len(sound) / 48_000)] / spectrum.mean())


async def test_who_wants_one_stream_gets_everybody_else_in_it(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    bob = await hall.join(who=BOB)
    file = Guest()
    listening = await hall.directory.join("talk", file, hall.owner.pid, events=False)
    assert listening.joined.track == stage.mix_track
    for guest in (ann, bob):
        assert await guest.act("mix", on=True) == {"track": stage.mix_track}
    high, low = tone(1_000, 60), tone(400, 60)
    for number in range(60):
        mod.say(payload=high[number])
        ann.say(payload=low[number])
        await trio.sleep(0.02)
    for guest in (ann, bob, file):
        assert {frame.track for frame in guest.frames} == {stage.mix_track}
        assert len(guest.frames) >= 55
    assert strength(bob.frames, 1_000) > 20
    assert strength(bob.frames, 400) > 20
    assert strength(ann.frames, 1_000) > 20
    assert strength(ann.frames, 400) < 5  # nobody hears themselves
    assert [frame.payload for frame in file.frames[-20:]] == [frame.payload for frame in bob.frames[-20:]]
    assert not file.events
    await kill(hall, stage, "mixer")
    await bob.act("mix", on=False)
    assert await speak(mod, bob)
    listening.leave()
    await ann.act("mix", on=False)
    before = len(file.frames)
    await trio.sleep(1)
    assert len(file.frames) == before


async def test_packets_that_are_no_sound_do_not_stop_the_mix(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await ann.act("mix", on=True)
    mixer = hall.node.whereis(stage.part("mixer"))
    for number in range(40):
        mod.say(payload=b"\xfc" + bytes([number]) * (number * 20 + 1))
        await trio.sleep(0.02)
    assert len(ann.frames) >= 35
    assert hall.node.whereis(stage.part("mixer")) is mixer


# -- what people do ---------------------------------------------------------------------------------------------------


async def test_a_hand_an_invitation_and_the_way_back(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    bob = await hall.join(who=BOB)
    await bob.act("hand", up=True)
    await ann.act("hand", up=True)
    await mod.until(lambda: mod.state["hands"] == [bob.id, ann.id])
    assert await refused(ann, "accept") == "unauthorized"
    await mod.act("invite", id=ann.id)
    await ann.until(lambda: ann.you.get("invited"))
    await ann.act("decline")
    assert await refused(ann, "accept") == "unauthorized"
    await mod.act("invite", id=ann.id)
    await ann.act("accept")
    await bob.until(lambda: ann.id in bob.people and bob.people[ann.id]["role"] == 2)
    assert bob.state["hands"] == [bob.id]
    await ann.act("stand_down")
    await bob.until(lambda: ann.id not in bob.people)
    assert not await speak(ann, bob)


async def test_the_order_of_hands_is_kept_over_a_broken_connection_and_a_restart(
    autojump_clock: MockClock, hall: Hall
) -> None:
    stage, mod, ann = await talk(hall)
    bob = await hall.join(who=BOB)
    await ann.act("hand", up=True)
    await bob.act("hand", up=True)
    order = [ann.id, bob.id]
    ann.member.leave(lost=True)
    await mod.until(lambda: mod.sees(ann, "away"))
    await kill(hall, stage, "session")
    again = await hall.join(who=ANN)
    assert (again.id, again.you["hand"]) == (order[0], True)
    await mod.until(lambda: mod.state["hands"] == order and not mod.sees(again, "away"))


async def test_topic_and_end(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall, topic="first")
    assert ann.state["topic"] == "first"
    assert await refused(ann, "topic", text="mine") == "unauthorized"
    assert await refused(mod, "topic", text="x" * 121) == "too_large"
    await mod.act("topic", text="<b>\u202eevil\x00</b>")
    await ann.until(lambda: ann.state["topic"] == "<b>evil</b>")
    assert await refused(ann, "end") == "unauthorized"
    await mod.act("end")
    assert await ann.member.wait_ended() == "the session is over"
    with pytest.raises(Refused, match="over"):
        await hall.join(who=ANN)
    await hall.join(who=MOD)
    await hall.join(who=ANN)
    assert (await hall.status(stage)).people == 2


async def test_who_was_kicked_hears_nothing_more_and_does_not_come_back(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    await mod.act("kick", id=ann.id)
    assert await ann.member.wait_ended() == "you were asked to leave"
    assert not await speak(mod, ann)
    assert await refused(ann, "hand", up=True) == "not_joined"
    with pytest.raises(Refused, match="asked to leave"):
        await hall.join(who=ANN)
    await trio.sleep(301)
    await hall.join(who=ANN)


async def test_a_flood_of_acts_is_refused_and_the_session_goes_on(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    codes = [await refused(ann, "hand", up=7) for _ in range(200)]
    assert codes.count("rate") >= 150
    assert await speak(mod, ann)
    await trio.sleep(5)
    await ann.act("hand", up=True)


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("nonsense", {}),
        ("__init__", {}),
        ("hand", {}),
        ("hand", {"up": True, "more": 1}),
        ("move", {"id": [1], "to": {}}),
        ("hear", {"id": "1", "on": True}),
        ("people", {"after": -1}),
        ("upload", {"name": "x"}),
        ("play", {"clip": None}),
    ],
)
async def test_what_is_no_request_is_refused(
    autojump_clock: MockClock, hall: Hall, action: str, args: dict[str, Any]
) -> None:
    _stage, mod, _ann = await talk(hall)
    assert await refused(mod, action, **args) == "refused"


# -- who somebody is --------------------------------------------------------------------------------------------------


async def test_rights_come_from_who_somebody_is(autojump_clock: MockClock, hall: Hall) -> None:
    await hall.open(opener=MOD, moderators=("ann",), moderator_roles=("host",))
    roles = [(await hall.join(who=who)).role for who in (MOD, ANN, user("bob", "host"), CAT, ANONYMOUS)]
    assert roles == [3, 3, 3, 1, 1]
    assert (await hall.join(who=User("", "host", {"name": "mod"}))).role == 1  # nobody in particular, whatever its role


async def test_nobody_who_opened_it_moderates_nothing(autojump_clock: MockClock, hall: Hall) -> None:
    await hall.open()
    assert (await hall.join(who=ANONYMOUS)).role == 1


async def test_guests_are_told_apart_and_come_back_with_their_secret(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, _ann = await talk(hall)
    one, two = await hall.join(guest="secret-1"), await hall.join(guest="secret-2")
    assert one.id != two.id
    await bring_up(mod, one)
    one.member.leave(lost=True)
    two.member.leave(lost=True)
    await mod.until(lambda: mod.sees(one, "away"))
    stranger = await hall.join(guest="secret-3")
    assert stranger.role == 1
    again = await hall.join(guest="secret-1")
    assert (again.id, again.role) == (one.id, 2)
    assert "secret" not in repr([event for guest in (mod, again) for event in guest.events])


async def test_a_new_token_brings_the_rights_that_it_has(autojump_clock: MockClock, hall: Hall) -> None:
    await hall.open(moderator_roles=("host",))
    ann = await hall.join(who=user("ann", "host"))
    assert ann.role == 3
    ann.member.renew(user("ann"))
    await ann.until(lambda: ann.role == 1)
    assert await refused(ann, "topic", text="x") == "unauthorized"
    guest = await hall.join(guest="g")
    before = guest.id
    guest.member.renew(user("bob", "host"))
    await guest.until(lambda: guest.role == 3)
    assert guest.id != before
    assert guest.you["name"] == "bob"
    assert await speak(guest, ann)


def test_names_are_made_harmless_and_short() -> None:
    options = StageOptions()
    hostile = user("s", name="\u202e<img src=x onerror=alert(1)>\x1b[2J" + "x" * 500)
    name = visitor_of(options, hostile, "").name
    assert name.startswith("<img src=x onerror=alert(1)>[2J")
    assert len(name) == 40
    assert visitor_of(options, user("s", name=["x"]), "").name == "s"
    assert visitor_of(options, user("\x00"), "").name == "Somebody"
    assert visitor_of(options, User("", claims={"name": "mod"}), "g").name.startswith("Guest ")


# -- what they are told -----------------------------------------------------------------------------------------------


async def test_joining_costs_about_a_kilobyte_of_signalling(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    for number in range(6):
        await bring_up(mod, await hall.join(who=user(f"speaker {number}")))
    late = await hall.join(who=user("late"))
    await trio.sleep(1)
    assert len(late.people) == 8
    assert sum(late.sizes) <= 1_100


def test_the_longest_names_of_as_many_people_as_are_told_of_fit_into_one_message() -> None:
    options = StageOptions("x" * 64, speakers=200, hands=500, board=BoardOptions(clips=100))
    room = Room(options, lambda key, value: None)
    for number in range(400):
        name = visitor_of(options, user("s" * 200 + str(number), name="\U0001f3a4" * 100), "").name
        person = room.enter(Visitor(str(number), name), 0.0)
        facts: dict[str, Any] = {"muted": True, "server_muted": True, "away_since": 1.0}
        if number < 150:
            facts |= {"role": Role.SPEAKER, "priority": True}
        else:
            facts |= {"hand": number}
        room.apply(Ruling((attrs.evolve(person, **facts),), topic="\U0001f3a4" * 120), 0.0)
    told = News(Room(options, lambda key, value: None), lambda _: 2**32 - 1)
    told._room = room
    for number in range(400):
        told.spoke(number, 20)
    change = told.change()
    assert change is not None
    assert len(change["people"]) == LISTED + HANDS  # type: ignore[arg-type]
    clip = Clip(2**31, short_name("\U0001f3a4" * 100), 2**31, 480_000, None)  # type: ignore[arg-type]
    board = Board(options.board, {("clip", number): clip for number in range(100)})
    for name, payload in (("stage_change", change), ("stage_state", told.state()), ("stage_clips", board.payload())):
        assert len(event(options.name, name, payload)) < MAX_CONTROL_BYTES


def test_how_many_listen_is_not_always_worth_a_message() -> None:
    room = Room(StageOptions("x"), lambda key, value: None)
    told = News(room, lambda _: 7)
    ann = room.enter(Visitor("ann", "Ann"), 0.0)
    assert not told.is_counted
    assert told.change(count=False) is None
    room.apply(Ruling((attrs.evolve(ann, hand=1),)), 0.0)
    change = told.change(count=False)
    assert change is not None
    assert (change["audience"], change["hands"], told.is_counted) == (1, [ann.id], True)
    room.enter(Visitor("bob", "Bob"), 0.0)
    assert told.change(count=False) is None
    assert told.change() == {"from": 2, "version": 3, "audience": 2}


async def test_where_many_listen_they_are_told_less_often_how_many(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    crowd = [await hall.join(who=user(f"u{number}")) for number in range(100)]
    every = stage.count_after(len(crowd))
    assert every > 2 * stage.tell_after(len(crowd))
    await trio.sleep(3 * every)
    assert mod.state["audience"] == len(crowd) + 1
    begun = len(mod.events)
    for number in range(100):
        await hall.join(who=user(f"v{number}"))
        await trio.sleep(0.05)
    await ann.act("hand", up=True)
    await mod.until(lambda: mod.state["hand_count"] == 1, 1.0)
    await trio.sleep(3 * every)
    assert mod.state["audience"] == 201
    counts = [event for event in mod.events[begun:] if "audience" in event.payload]
    assert len(counts) <= 100 * 0.05 / every + 6


async def test_news_come_at_most_five_times_a_second_and_miss_nothing(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    for number in range(30):
        await hall.join(who=user(f"u{number}"))
        await ann.act("hand", up=number % 2 == 0)
        mod.say(level=20 + number)
        await trio.sleep(0.05)
    await trio.sleep(0.5)
    changes = [event for event in mod.events if event.name == "stage_change"]
    assert len(changes) <= 5 * 2.2 + 1
    assert not mod.missed
    fresh = await hall.join(who=CAT)
    await trio.sleep(0.5)
    assert mod.state == {**fresh.state, "audience": 32}
    assert mod.people == fresh.people


async def test_levels_are_told_until_it_is_silent(autojump_clock: MockClock, hall: Hall) -> None:
    _stage, mod, ann = await talk(hall)
    await speak(mod, ann, 20, level=25)
    await ann.until(lambda: ann.levels.get(mod.id) == 25)
    await ann.until(lambda: ann.levels.get(mod.id) == 127)
    count = len(ann.events)
    await trio.sleep(5)
    assert len(ann.events) == count


async def test_a_crowd_is_listed_in_part_and_can_be_paged_through(autojump_clock: MockClock, hall: Hall) -> None:
    await hall.open("room", kind="voice", people=200)
    people = [await hall.join("room", user(f"u{number}")) for number in range(LISTED + 15)]
    late = people[-1]
    await trio.sleep(1)
    assert len(late.people) == LISTED
    assert late.state["on_stage"] == len(people)
    hidden = next(guest for guest in people if guest.id not in late.people)
    await speak(hidden, late)
    await late.until(lambda: hidden.id in late.people)
    found: list[int] = []
    after = 0
    while True:
        page = await late.act("people", after=after)
        found += [person["id"] for person in page["people"]]
        after = page["more"]
        if not after:
            break
    assert found == sorted(guest.id for guest in people)
    assert max(late.sizes) < 16_384


# -- what is killed comes back ----------------------------------------------------------------------------------------


async def kill(hall: Hall, stage: StageOptions, part: str) -> None:
    before = hall.node.whereis(stage.part(part))
    assert isinstance(before, Pid)
    hall.node.exit(before, "kill")
    with trio.fail_after(30):
        while hall.node.whereis(stage.part(part)) in {before, None}:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


def without_tracks(guest: Guest) -> dict[int, dict[str, Any]]:
    return {number: {**person, "track": 0} for number, person in guest.people.items()}


async def test_a_session_that_was_killed_has_its_people_roles_and_hands_again(
    autojump_clock: MockClock, hall: Hall
) -> None:
    stage, mod, ann = await talk(hall)
    bob = await hall.join(who=BOB)
    await bring_up(mod, ann)
    await bob.act("hand", up=True)
    await mod.act("topic", text="still here")
    await mod.act("server_mute", id=ann.id, on=True)
    await bob.act("hear", id=ann.id, on=False)
    await speak(mod, bob)
    await trio.sleep(1)
    people, state = without_tracks(mod), {**mod.state}
    track = mod.you["track"]
    await kill(hall, stage, "session")
    await mod.until(lambda: mod.you["track"] != track)  # decoders begin anew
    assert without_tracks(mod) == people
    assert {**mod.state, "version": 0, "board": 0} == {**state, "version": 0, "board": 0}
    assert [(guest.you["name"], guest.role) for guest in (mod, ann, bob)] == [("mod", 3), ("ann", 2), ("bob", 1)]
    assert await speak(mod, bob)
    assert not await speak(ann, mod)
    await mod.act("server_mute", id=ann.id, on=False)
    assert await speak(ann, mod)
    assert not await speak(ann, bob)  # who does not want to hear her still does not


async def test_a_keeper_that_was_killed_costs_nothing(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await bring_up(mod, ann)
    await kill(hall, stage, "keeper")
    assert await speak(ann, mod)
    await mod.act("topic", text="after")
    await kill(hall, stage, "session")
    assert await speak(ann, mod)
    await mod.until(lambda: mod.state["topic"] == "after")
    assert ann.role == 2


async def test_a_listener_whose_owner_dies_keeps_the_place_for_the_grace(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, _ann = await talk(hall, grace_seconds=20)
    async with hall.node.attach() as connection:
        bob = await hall.join(who=BOB, owner=connection.pid)
        await bring_up(mod, bob)
    await mod.until(lambda: mod.sees(bob, "away"))
    assert (await hall.status(stage)).on_stage == 2
    again = await hall.join(who=BOB)
    assert (again.id, again.role) == (bob.id, 2)
    again.member.leave(lost=True)
    await mod.until(lambda: bob.id not in mod.people)
    assert (await hall.status(stage)).on_stage == 1


async def test_sessions_are_found_by_name_and_close_in_order(autojump_clock: MockClock, hall: Hall) -> None:
    template = load_tree(SUPERVISORS / "stage.toml", ["wsactors"])
    pid = await open_stage(hall.node, StageOptions("talk", title="A talk"), template)
    with pytest.raises(ValueError, match="already a session"):
        await open_stage(hall.node, StageOptions("talk", kind="voice"), template)
    ann = await hall.join(who=ANN)
    (info,) = await hall.directory.sessions()
    assert (info.name, info.title, info.kind, info.listeners) == ("talk", "A talk", "stage", 1)
    with pytest.raises(NoSuchSession):
        await hall.directory.join("elsewhere", ann, hall.owner.pid)
    await close_stage(hall.node, pid)
    assert await ann.member.wait_ended() == "the session ended"
    assert not await hall.directory.sessions()


async def test_who_was_let_in_and_never_came_is_forgotten(autojump_clock: MockClock, hall: Hall) -> None:
    from wsactors.sessions.stage_messages import Enter

    stage, _mod, _ann = await talk(hall)
    await hall.node.call(stage.part("session"), Enter(visitor_of(stage, CAT, "")))
    assert (await hall.status(stage)).people == 3
    await trio.sleep(6)
    assert (await hall.status(stage)).people == 2


async def test_what_becomes_of_frames_joins_and_acts_is_counted(autojump_clock: MockClock, hall: Hall) -> None:
    stage, mod, ann = await talk(hall)
    await speak(mod, ann, 10)
    await speak(ann, mod, 5)
    await refused(ann, "topic", text="x")
    await kill(hall, stage, "session")
    await mod.act("state")
    read = {metric.name: metric.read() for metric in Metrics.of(hall.node).all()}
    frames, people = read["wsactors_voice_frames_total"], read["wsactors_stage_people"]
    assert isinstance(frames, dict)
    assert frames["forwarded"] >= 10
    assert frames["role"] == 5
    assert people == {"audience": 1, "speaker": 0, "moderator": 1}
    assert read["wsactors_stage_joins_total"]["ok"] == 2  # type: ignore[index]
    assert read["wsactors_stage_acts_total"]["unauthorized"] == 1  # type: ignore[index]
