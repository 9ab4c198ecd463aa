from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.sessions.stages import Guest, Hall, open_hall
from wsactors.realtime.identity import Refused
from wsactors.sessions.mix_places import MOST_MIXES, MixPlaces


def test_what_one_session_has_no_other_gets() -> None:
    places = MixPlaces(5)
    assert places.claim("one", 4) == 4
    assert places.claim("two", 4) == 1
    assert places.claim("one", 5) == 4, "it keeps what it has, and gets what is left: nothing"
    assert places.claim("one", 1) == 1
    assert places.claim("two", 4) == 4
    assert places.claim("two", 0) == 0
    assert places.claim("one", 9) == 5


async def speakers(hall: Hall, count: int) -> list[Guest]:
    await hall.open(kind="voice")
    return [await hall.join(guest=f"guest {number}") for number in range(count)]


async def test_who_wants_a_mix_beyond_what_the_node_makes_is_refused_and_hears_each_voice(
    autojump_clock: MockClock,
) -> None:
    async with open_hall() as hall:
        one, two, three = await speakers(hall, 3)
        for guest in (one, two, three):
            guest.say()
        await three.until(lambda: len({frame.track for frame in three.frames}) == 2)
        places = MixPlaces.of(hall.node)
        places.claim("another session", MOST_MIXES - 1)
        assert await one.act("mix", on=True)
        with pytest.raises(Refused, match="each voice by itself") as refused:
            await two.act("mix", on=True)
        assert refused.value.code == "too_many"
        before = len(two.frames)
        three.say(3)
        await two.until(lambda: len(two.frames) >= before + 3)
        await one.act("mix", on=False)
        assert await two.act("mix", on=True)
        # Whoever leaves gives the place back.
        two.member.leave()
        await three.until(lambda: len(three.people) == 2)
        assert await three.act("mix", on=True)


async def test_a_session_that_was_killed_mixes_for_the_same_people_again(autojump_clock: MockClock) -> None:
    async with open_hall() as hall:
        one, two = await speakers(hall, 2)
        for guest in (one, two):
            guest.say()
            assert await guest.act("mix", on=True)
        MixPlaces.of(hall.node).claim("another session", MOST_MIXES - 2)
        session = hall.node.whereis("voice:talk:session")
        assert session is not None
        hall.node.exit(session, "kill")
        with trio.fail_after(30):
            while hall.node.whereis("voice:talk:session") in {session, None}:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)
        for guest in (one, two):
            before = len(guest.frames)
            await guest.until(lambda guest=guest, before=before: len(guest.frames) > before + 10)  # type: ignore[misc]
            assert len({frame.track for frame in guest.frames[-5:]}) == 1
        assert one.frames[-1].track == two.frames[-1].track, "that of the mix"
