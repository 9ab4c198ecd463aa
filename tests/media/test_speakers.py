from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.speakers import Speakers, SpeakersOptions


def talk(places: Speakers, levels: dict[str, int], begin: float, seconds: float) -> list[tuple[str, ...]]:
    """Everybody speaks at a level for some seconds; who had a place after each frame."""
    seen = []
    for step in range(round(seconds * 50)):
        for name, level in levels.items():
            places.hear(name, level, now=begin + step / 50)
        seen.append(tuple(sorted(map(str, places.holders))))
    return seen


def test_a_free_place_is_taken_at_once() -> None:
    places = Speakers(SpeakersOptions(last=2))
    assert places.hear("a", 30, now=0.0)
    assert places.hear("b", 60, now=0.0)
    assert not places.hear("c", 28, now=0.0)


def test_somebody_clearly_louder_takes_over_after_a_while_and_the_weakest_goes() -> None:
    places = Speakers(SpeakersOptions(last=2, hold=1.0, patience=0.3))
    talk(places, {"a": 30, "b": 40}, 0.0, 2.0)
    seen = talk(places, {"a": 30, "b": 40, "c": 25}, 2.0, 1.0)
    assert seen[0] == ("a", "b")
    assert seen[-1] == ("a", "c")
    assert 13 <= seen.index(("a", "c")) <= 17
    assert places.switches == 1


def test_people_of_similar_loudness_do_not_flap() -> None:
    chance = random.Random(1)
    places = Speakers(SpeakersOptions(last=1))
    for step in range(50 * 60):
        for name in "abc":
            places.hear(name, 30 + chance.randrange(-5, 6), now=step / 50)
    assert places.switches == 0


def test_who_pauses_gives_way_at_once_to_who_speaks_and_to_nobody_else() -> None:
    places = Speakers(SpeakersOptions(last=1))
    places.hear("a", 20, now=0.0)
    assert places.hear("a", 60, now=0.1, voiced=False)
    assert not places.hear("b", 60, now=0.12, voiced=False)
    assert places.hear("b", 50, now=0.14)
    assert places.holders == ("b",)


def test_priority_comes_first_and_is_not_displaced_by_loudness() -> None:
    places = Speakers(SpeakersOptions(last=1))
    talk(places, {"loud": 10}, 0.0, 3.0)
    assert places.hear("chair", 40, now=3.0, priority=True)
    assert talk(places, {"loud": 10}, 3.0, 3.0)[-1] == ("chair",)


def test_zero_means_everybody() -> None:
    places = Speakers(SpeakersOptions(last=0))
    assert all(places.hear(name, 30, now=0.0) for name in range(200))


events = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 127), st.booleans(), st.booleans(), st.booleans()), max_size=200
)


@given(events, st.integers(1, 3))
def test_there_are_never_more_than_the_places_and_no_place_changes_hands_too_often(
    heard: list[tuple[int, int, bool, bool, bool]], last: int
) -> None:
    places = Speakers(SpeakersOptions(last=last))
    for step, (name, level, voiced, priority, rests) in enumerate(heard):
        if rests:
            places.rest(name)
        else:
            forwarded = places.hear(name, level, now=step / 50, voiced=voiced, priority=priority)
            assert forwarded == (name in places.holders)
        assert len(places.holders) <= last
    assert places.switches <= last * (len(heard) / 50 + 1)
