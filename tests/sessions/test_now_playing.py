"""What a battle tells its listeners besides sound, and what becomes of a listener's place when somebody dies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio

pytest.importorskip("av")

from tests.dj import hostile
from wsactors.actors import Actor, Pid
from wsactors.actors.few import count
from wsactors.dj.clock import now
from wsactors.dj.song import Song
from wsactors.dj.state import Crossfader, DeckState
from wsactors.sessions.listener import Seat, listeners_of
from wsactors.sessions.messages import DeckTruth, LoadSong, MixerTruth, MoveCrossfader, Pause, Seek, SetRate
from wsactors.sessions.now_playing import INTERVAL, moves, state_event
from wsactors.sessions.options import BattleOptions
from wsactors.wire.native import MAX_CONTROL_BYTES, Event, decode_server

from .conftest import Ear, House, in_memory

SECOND = 48_000
BY_HAND = 3600.0
"""Seconds of a fade that does not move during a test."""


def latest(ear: Ear) -> dict[str, Any]:
    """The payload of the newest event."""
    return dict(ear.told[-1][2].payload)


async def told(ear: Ear, condition: Any, seconds: float = 30.0) -> dict[str, Any]:
    """Wait until the newest state fulfils the condition. (Sound comes all the time, so waiting for any offer does.)"""
    await ear.until(lambda: ear.told and condition(latest(ear)), seconds)
    return latest(ear)


async def test_on_joining_a_listener_is_told_what_is_played(house: House) -> None:
    await house.open("demo", fade_seconds=BY_HAND)
    ear, _membership = await house.listen("demo")
    state = await told(ear, lambda state: all(deck["playing"] for deck in state["decks"]))
    assert [deck["deck"] for deck in state["decks"]] == ["a", "b"]
    assert {deck["title"] for deck in state["decks"]} == {"loop-a", "loop-b"}
    assert -1 <= state["crossfader"] <= 1
    assert 0 <= state["frame"] - now() < SECOND
    late, _membership = await house.listen("demo")
    first = await told(late, lambda _: True, 1.0)
    assert [deck["title"] for deck in first["decks"]] == [deck["title"] for deck in state["decks"]]
    assert late.told[0][1] == ("state", "demo")
    assert late.told[0][2].session == "demo"
    # The place is that of the moment, and place and speed tell all later ones.
    passed = (first["frame"] - state["frame"]) / SECOND
    deck, before = first["decks"][0], state["decks"][0]
    assert deck["position"] == pytest.approx((before["position"] + passed) % deck["duration"], abs=0.01)


async def test_what_changes_is_told(house: House, loops: dict[str, Any]) -> None:
    battle = await house.open("demo", fade_seconds=0)
    ear, _membership = await house.listen("demo")
    await told(ear, lambda state: all(deck["playing"] for deck in state["decks"]))
    node = house.node
    await node.call(battle.part("deck_a"), Pause())
    assert (await told(ear, lambda state: not state["decks"][0]["playing"]))["decks"][1]["playing"]
    await node.call(battle.part("deck_a"), Seek(5.0))
    assert (await told(ear, lambda state: state["decks"][0]["position"] == 5.0))["decks"][0]["duration"] > 5
    song = Song("x", "Title", len(loops["loop-a"]), artist="Artist", bpm=120.0)
    await node.call(battle.part("deck_b"), LoadSong(song, in_memory(loops["loop-a"]), play=True))
    await node.call(battle.part("deck_b"), SetRate(0.5))
    state = await told(ear, lambda state: state["decks"][1]["rate"] == 0.5)
    assert (state["decks"][1]["title"], state["decks"][1]["artist"], state["decks"][1]["bpm"]) == (
        "Title",
        "Artist",
        60.0,
    )
    await node.call(battle.part("mixer"), MoveCrossfader(0.5))
    await told(ear, lambda state: state["crossfader"] == 0.5)
    quiet = len(ear.told)
    await ear.hear(round(3 * INTERVAL / 0.02))
    assert len(ear.told) == quiet  # playing on is no news


async def test_a_moving_crossfader_is_told_a_few_times_a_second_and_where_it_ends(house: House) -> None:
    battle = await house.open("demo", fade_seconds=0)
    ear, _membership = await house.listen("demo")
    await told(ear, lambda state: all(deck["playing"] for deck in state["decks"]))
    await house.node.call(battle.part("mixer"), MoveCrossfader(-1.0))
    await told(ear, lambda state: state["crossfader"] == -1.0)
    begin = len(ear.told)
    await house.node.call(battle.part("mixer"), MoveCrossfader(1.0, 2.0))
    await told(ear, lambda state: state["crossfader"] == 1.0)
    times = [at for at, _key, _event in ear.told[begin - 1 :]]
    places = [event.payload["crossfader"] for _at, _key, event in ear.told[begin:]]
    assert places == sorted(places)  # type: ignore[type-var]
    assert 4 <= len(places) <= 2.0 / INTERVAL + 3
    assert min(b - a for a, b in pairwise(times)) > INTERVAL / 2


async def test_a_storm_of_commands_is_told_at_a_bounded_rate_and_ends_with_the_truth(house: House) -> None:
    battle = await house.open("demo", fade_seconds=0)
    ear, _membership = await house.listen("demo")
    await told(ear, lambda state: all(deck["playing"] for deck in state["decks"]))
    begin = len(ear.told)
    for number in range(500):
        house.node.cast(battle.part("mixer"), MoveCrossfader(number / 500))
        house.node.cast(battle.part("deck_a"), SetRate(1 + number / 1000))
        if number % 50 == 0:
            await ear.hear(2)
    state = await told(ear, lambda state: state["decks"][0]["rate"] == 1.499)
    assert state["crossfader"] == 0.998
    seconds = ear.told[-1][0] - ear.told[begin - 1][0]
    assert len(ear.told) - begin <= seconds / INTERVAL + 2


async def test_who_wants_only_sound_gets_only_sound(house: House) -> None:
    await house.open("demo", fade_seconds=1.0)
    with_events, _membership = await house.listen("demo")
    without, _other = await house.listen("demo", events=False)
    await told(with_events, lambda state: state["crossfader"] == 1.0)
    await without.hear(1)
    assert without.told == []


async def test_a_session_that_was_killed_tells_its_listeners_again(house: House) -> None:
    battle = await house.open("demo", fade_seconds=0)
    ear, _membership = await house.listen("demo")
    before = await told(ear, lambda state: all(deck["playing"] for deck in state["decks"]))
    count = len(ear.told)
    house.node.exit(battle.part("session"), "kill")
    await ear.until(lambda: len(ear.told) > count)
    after = latest(ear)
    assert [deck["title"] for deck in after["decks"]] == [deck["title"] for deck in before["decks"]]


async def test_tags_of_a_hostile_file_do_not_end_the_session(house: House, tmp_path: Any) -> None:
    hostile.tone(tmp_path / "</script><img src=x onerror=alert(1)>.wav".replace("/", "_"), seconds=3.0)
    await house.open("demo", songs=tmp_path)
    ear, _membership = await house.listen("demo")
    state = await told(ear, lambda state: any(deck["playing"] for deck in state["decks"]), 20)
    assert any("onerror" in deck["title"] for deck in state["decks"])


def test_whatever_the_song_says_the_event_can_be_sent() -> None:
    song = Song("x", "\ud800" + "\U0001f3a7" * 10_000, 48_000, artist="\x00" * 10_000, bpm=1e300)
    truth = DeckTruth(DeckState("x", 48_000, True, 0.0, 0), song)
    data = state_event("n" * 64, {"a": truth, "b": truth}, MixerTruth(), 10**12)
    assert len(data) < MAX_CONTROL_BYTES
    event = decode_server(data)
    assert isinstance(event, Event)
    deck: Any = event.payload["decks"][0]  # type: ignore[index]
    assert (deck["playing"], deck["position"], deck["duration"]) == (False, 1.0, 1.0)  # it has long run out


def test_an_empty_deck_is_told_as_empty() -> None:
    event = decode_server(state_event("s", {"a": DeckTruth()}, MixerTruth(), 7))
    assert isinstance(event, Event)
    assert event.payload["decks"] == [
        {
            "deck": "a",
            "title": "",
            "artist": "",
            "playing": False,
            "position": 0.0,
            "duration": 0.0,
            "rate": 1.0,
            "loop": False,
        }
    ]


def test_a_fader_moves_while_it_glides_or_swings() -> None:
    glide = Crossfader().moved(1000, 1.0, 500)
    assert moves(glide, 1499)
    assert not moves(glide, 1500)
    assert moves(Crossfader(period=100), 10**9)
    assert not moves(Crossfader(0.3), 0)


# -- sinks and deaths -------------------------------------------------------------------------------------------------


class Owner(Actor):
    """A connection, to its listeners."""


class Counted:
    """A sink that notes every offer."""

    def __init__(self) -> None:
        self.offers = 0

    def offer(self, data: bytes, key: object = None) -> bool:
        self.offers += 1
        return True


async def seated(house: House, owner: Pid) -> tuple[Counted, Seat, Pid]:
    sink = Counted()
    membership = await house.directory.join("demo", sink, owner)
    (seat,) = [
        member.meta for member in house.node.groups.members(listeners_of("demo")) if member.pid is membership.listener
    ]
    return sink, seat, membership.listener


@pytest.mark.parametrize("victim", ["listener", "owner"])
async def test_from_the_step_in_which_it_dies_nothing_is_offered_to_its_sink(house: House, victim: str) -> None:
    """Also when the session has the seat in its hands, and whether the listener or its connection is killed."""
    battle: BattleOptions = await house.open("demo")
    ear, _membership = await house.listen("demo")
    owner = await house.node.spawn(Owner)
    sink, seat, listener = await seated(house, owner)
    await ear.until(lambda: sink.offers > 3)
    assert seat.offer(b"still", "audio")
    house.node.exit(owner if victim == "owner" else listener, "kill")
    count = sink.offers
    assert not seat.offer(b"too late", "audio")  # nothing has been awaited since the kill
    await ear.hear(10)
    assert sink.offers == count
    with trio.fail_after(30):
        while (await house.status(battle)).listeners > 1:
            await ear.hear(1)


async def test_listeners_that_come_and_go_leave_nothing_with_their_owner(house: House) -> None:
    await house.open("demo")
    owner = await house.node.spawn(Owner)
    for how in ("leave", "kill") * 10:
        membership = await house.directory.join("demo", Counted(), owner)
        if how == "leave":
            membership.leave()
        else:
            house.node.exit(membership.listener, "kill")
        async with house.node.attach() as me:
            assert await me.monitor(membership.listener).wait(30) is not None
    extras = owner._process.extras if owner._process is not None else None
    assert extras is not None
    assert not extras.on_death
    assert count(extras.watchers) <= 1  # the last death may still be telling


async def test_a_listener_of_a_dead_owner_does_not_start(house: House) -> None:
    from wsactors.errors import NoSuchSession

    await house.open("demo")
    owner = await house.node.spawn(Owner)
    house.node.exit(owner, "kill")
    sink = Counted()
    with pytest.raises(NoSuchSession):
        await house.directory.join("demo", sink, owner)
    assert not house.node.groups.members(listeners_of("demo"))
