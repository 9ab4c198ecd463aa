"""What is a transition, and what is not."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from tests.dj.judge.battles import START, STEP, Blend, find
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import DeckState
from wsactors.dj.judge.moment import SILENCE, DeckMoment, Moment
from wsactors.dj.judge.transition import MAX_MOMENTS, TransitionFinder
from wsactors.dj.strip import Strip
from wsactors.dj.timeline import SAMPLE_RATE

GRID = Beatgrid.of(120.0)
SECOND = 30


def played(*steps: tuple[float, float, float]) -> list[Moment]:
    """Moments at which the decks have these gains, each for so many seconds."""
    moments: list[Moment] = []
    for seconds, a, b in steps:
        for _ in range(round(seconds * SECOND)):
            frame = START + len(moments) * STEP
            one = DeckMoment("one", float(frame), 1.0, GRID, gain=a)
            two = DeckMoment("two", float(frame), 1.0, GRID, gain=b)
            moments.append(Moment(frame, one, two))
    return moments


def test_a_blend_is_found_a_second_after_it() -> None:
    moments = played((2, 1, 0), (4, 1, 1), (3, 0, 1))
    (found,) = find(moments)
    assert (found.outgoing, found.incoming, found.kind) == ("a", "b", "blend")
    assert found.before == moments[2 * SECOND - 1]
    assert found.after == moments[6 * SECOND]
    assert found.settled == moments[7 * SECOND]
    assert len(found.moments) == 4 * SECOND


def test_a_cut_and_a_gap() -> None:
    (cut,) = find(played((1, 0, 1), (2, 1, 0)))
    assert (cut.outgoing, cut.incoming, cut.kind, cut.moments) == ("b", "a", "cut", ())
    (gap,) = find(played((1, 1, 0), (0.5, 0, 0), (2, 0, 1)))
    assert (gap.kind, gap.silence) == ("gap", SAMPLE_RATE // 2)


@pytest.mark.parametrize(
    "steps",
    [
        ((1, 1, 0), (1, 1, 1), (3, 1, 0)),  # a teaser
        ((1, 1, 0), (0.5, 0, 1), (1, 1, 0), (0.5, 0, 1), (2, 1, 0)),  # cut in and out
        ((1, 1, 0), (2, 0, 0), (3, 1, 0)),  # a pause
        ((1, 1, 0), (9, 0, 0), (3, 0, 1)),  # a new beginning
        ((3, 0, 0), (3, 1, 0)),
        ((5, 1, 1),),  # both from the start, and still
        ((1, 1, 0), (0.9, 0, 1)),  # not settled yet
        ((1, 1, 0), (5, 1, 0.01)),  # nobody heard it
    ],
)
def test_what_is_no_transition(steps: Any) -> None:
    assert find(played(*steps)) == []


def test_one_after_the_other() -> None:
    found = find(played((1, 1, 0), (2, 1, 1), (2, 0, 1), (2, 1, 1), (3, 1, 0), (2, 0, 1)))
    assert [(each.outgoing, each.incoming, each.kind) for each in found] == [
        ("a", "b", "blend"),
        ("b", "a", "blend"),
        ("a", "b", "cut"),
    ]


def test_a_fader_that_cuts_makes_one_transition() -> None:
    cuts = [(0.2, number % 2, 1 - number % 2) for number in range(10)]
    assert len(find(played((1, 1, 0), *cuts, (2, 0, 1)))) == 1


def test_a_long_transition_keeps_a_bounded_number_of_moments_and_what_was_too_loud() -> None:
    moments = played((1, 1, 0), (400, 1, 1), (2, 0, 1))
    moments[7001] = attrs.evolve(moments[7001], over=3.0)
    (found,) = find(moments)
    assert MAX_MOMENTS // 2 <= len(found.moments) <= MAX_MOMENTS
    assert max(each.over for each in found.moments) == 3.0
    frames = [each.frame for each in found.moments]
    assert frames == sorted(frames)
    assert len({after - before for before, after in itertools.pairwise(frames)}) == 1


def test_moments_come_in_order() -> None:
    finder = TransitionFinder()
    finder.see(played((1, 1, 0))[0])
    with pytest.raises(ValueError, match="in order"):
        finder.see(played((1, 1, 0))[0])


def test_it_is_known_who_plays_and_whether_something_changes() -> None:
    finder = TransitionFinder()
    assert (finder.holder, finder.changing) == (None, False)
    for each in played((1, 1, 0), (1, 1, 1)):
        finder.see(each)
    assert (finder.holder, finder.changing) == ("a", True)


def test_what_a_deck_and_its_strip_say() -> None:
    deck = DeckState(song="one", frames=10_000_000, grid=GRID, keylock=True, gain=0.5).play(1000).with_rate(1000, 1.06)
    moment = DeckMoment.of(deck, Strip(trim=2.0, kill_low=True), 0.5, 1000 + 48_000)
    assert moment.position == pytest.approx(48_000 * 1.06)
    assert (moment.speed, moment.grid, moment.keylock, moment.song) == (1.06, GRID, True, "one")
    assert moment.gain == pytest.approx(0.5)
    assert moment.bands == (0.0, 1.0, 1.0)
    assert moment.bass == SILENCE
    assert moment.semitones == 0.0
    assert moment.strength == pytest.approx(-6.02 - 3.01, abs=0.01)
    assert DeckMoment.of(deck.pause(1000), Strip(), 1.0, 2000).strength == SILENCE
    assert DeckMoment.of(deck, Strip(), 1.0, 2000, level=-70.0).strength == SILENCE
    assert DeckMoment.of(DeckState(), Strip(), 1.0, 2000).strength == SILENCE


def test_a_song_that_is_silent_is_not_heard() -> None:
    moments = played((1, 1, 0), (2, 1, 1), (2, 1, 1), (2, 0, 1))
    quiet = [
        attrs.evolve(each, b=attrs.evolve(each.b, level=-90.0)) if number < 3 * SECOND else each
        for number, each in enumerate(moments)
    ]
    (found,) = find(quiet)
    assert found.before == quiet[3 * SECOND - 1]


def test_the_change_over_is_where_the_new_song_is_the_stronger_one() -> None:
    transition = Blend(swap_bass=False).transition()
    middle = (transition.before.frame + transition.after.frame) / 2
    assert transition.moment.frame == pytest.approx(middle, abs=SAMPLE_RATE / 2)
