"""Turns, the clock, votes and the result of a battle."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.permission import Seats
from wsactors.dj.round_rules import BattleResult, Event, RoundRule, Rules
from wsactors.dj.rounds import MAX_VERDICTS, NotNow, Rounds

SEATS = Seats("ana", "bo")


def battle(first: Any = "a", **rules: Any) -> Rounds:
    return Rounds(Rules(**rules), SEATS, first)


def started(**rules: Any) -> Rounds:
    """A battle in the first turn, at 5 s."""
    rounds = battle(**rules)
    rounds.ready("ana", 0.0)
    rounds.ready("bo", 0.0)
    rounds.tick(5.0)
    return rounds


def kinds(events: list[Event]) -> list[tuple[str, float, int, str | None]]:
    return [(each.kind, each.at, each.round, each.turn) for each in events]


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(NotNow) as caught:
        yield
    assert caught.value.code == code


def test_a_whole_battle_by_the_clock_alone() -> None:
    rounds = battle(rounds=(RoundRule(seconds=60), RoundRule(seconds=30, together=True, crossfader="both")))
    assert rounds.ready("ana", 0.0) == []
    assert kinds(rounds.ready("bo", 10.0)) == [("countdown", 10.0, 1, None)]
    assert kinds(rounds.tick(1000.0)) == [
        ("turn", 15.0, 1, "a"),
        ("turn", 75.0, 1, "b"),
        ("voting", 135.0, 1, None),
        ("round", 155.0, 1, None),
        ("pause", 155.0, 1, None),
        ("countdown", 160.0, 2, None),
        ("turn", 165.0, 2, None),
        ("voting", 195.0, 2, None),
        ("round", 215.0, 2, None),
        ("pause", 215.0, 2, None),  # a tie: the extra round is like the last one
        ("countdown", 220.0, 3, None),
        ("turn", 225.0, 3, None),
        ("voting", 255.0, 3, None),
        ("round", 275.0, 3, None),
        ("over", 275.0, 3, None),
    ]
    assert rounds.result is not None
    assert (rounds.result.winner, rounds.result.reason) == (None, "draw")


@given(st.lists(st.floats(0.01, 40.0), max_size=200))
def test_it_does_not_matter_how_often_it_is_told_the_time(steps: list[float]) -> None:
    slow, fast = started(), started()
    now, heard = 5.0, []
    for step in steps:
        now += step
        heard += fast.tick(now)
    assert heard == slow.tick(now)
    assert fast.view() == slow.view()
    assert fast.due() == slow.due()


def test_who_began_is_second_next_time() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),) * 3)
    turns = [each.turn for each in rounds.tick(1000.0) if each.kind == "turn"]
    assert turns[:5] == ["b", "b", "a", "a", "b"]


def test_the_crossfader_is_whose_the_round_says() -> None:
    rounds = battle(rounds=(RoundRule(seconds=10), RoundRule(seconds=10, crossfader="b")))
    assert rounds.rule().mixers() == ("a", "b")  # rehearsal
    rounds.ready("ana", 0.0)
    rounds.ready("bo", 0.0)
    mixers = []
    for now in (1.0, 6.0, 16.0, 26.0, 60.0):
        rounds.tick(now)
        mixers.append((rounds.phase, rounds.rule().mixers()))
    assert mixers == [("countdown", ()), ("turn", ("a",)), ("turn", ("b",)), ("voting", ()), ("turn", ("b",))]
    rounds.tick(1000.0)
    assert rounds.rule().mixers() == ("a", "b")


def test_a_player_can_end_his_turn_early() -> None:
    rounds = started()
    with refused("not_your_turn"):
        rounds.done("bo", 6.0)
    assert kinds(rounds.done("ana", 7.0)) == [("turn", 7.0, 1, "b")]
    assert kinds(rounds.done("bo", 8.0)) == [("voting", 8.0, 1, None)]


def test_the_better_one_wins() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), voting=0)
    rounds.judged("a", 80.0, 6.0)
    rounds.judged("a", 90.0, 7.0)
    rounds.judged("b", 84.0, 16.0)
    rounds.tick(1000.0)
    assert rounds.result is not None
    assert (rounds.result.winner, rounds.result.reason, rounds.result.judged) == ("a", "rounds", (85.0, 84.0))
    assert rounds.results[0].points == (85.0, 84.0)


def test_votes_count_as_much_as_the_rules_say() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), votes_weight=0.3)
    rounds.judged("a", 80.0, 6.0)
    rounds.judged("b", 60.0, 16.0)
    for number in range(4):
        rounds.vote(f"fan {number}", "b", 26.0)
    rounds.vote("fan 0", "a", 27.0)
    assert rounds.view().votes == (1, 3)
    rounds.tick(1000.0)
    assert rounds.results[0].points == pytest.approx((0.7 * 80 + 0.3 * 25, 0.7 * 60 + 0.3 * 75))
    assert rounds.results[0].winner == "b"


def test_without_votes_the_judge_decides_alone() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), votes_weight=1.0)
    rounds.judged("b", 60.0, 16.0)
    rounds.tick(1000.0)
    assert rounds.results[0].points == (0.0, 60.0)


def test_one_user_has_one_vote() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),))
    for number in range(50):
        rounds.vote("fan", "ab"[number % 2], 26.0)  # type: ignore[arg-type]
    assert rounds.view().votes == (0, 1)


@pytest.mark.parametrize("user", ["ana", "bo", ""])
def test_players_and_nobody_do_not_vote(user: str) -> None:
    rounds = started(rounds=(RoundRule(seconds=10),))
    with refused("not_a_spectator"):
        rounds.vote(user, "a", 26.0)


def test_votes_are_for_a_deck_and_in_time() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),))
    with refused("no_voting"):
        rounds.vote("fan", "a", 6.0)
    with refused("no_such_deck"):
        rounds.vote("fan", "c", 26.0)  # type: ignore[arg-type]
    with refused("no_voting"):
        rounds.vote("fan", "a", 45.0)


def test_the_ballot_box_is_bounded() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), most_voters=3)
    for number in range(3):
        rounds.vote(f"fan {number}", "a", 26.0)
    with refused("full"):
        rounds.vote("fan 3", "b", 26.0)
    rounds.vote("fan 0", "b", 26.0)
    assert rounds.view().votes == (2, 1)


def test_what_was_due_when_somebody_was_refused_is_still_heard_of() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),) * 2)
    with refused("no_voting"):
        rounds.vote("fan", "a", 46.0)
    assert [each.kind for each in rounds.tick(46.0)] == ["turn", "voting", "round", "pause"]


def test_verdicts_are_bounded_and_in_time() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),))
    with refused("not_his_turn"):
        rounds.judged("b", 50.0, 6.0)
    for _ in range(MAX_VERDICTS):
        rounds.judged("a", 50.0, 6.0)
    with refused("too_many"):
        rounds.judged("a", 100.0, 6.0)
    rounds.judged("b", 50.0, 26.0)  # the judge takes a second
    with refused("no_round"):
        rounds.judged("b", 50.0, 46.0)
    for points in (-1.0, 101.0, float("nan")):
        with pytest.raises(ValueError, match="0 to 100"):
            rounds.judged("b", points, 47.0)


@pytest.mark.parametrize(
    ("ties", "winner", "reason"),
    [
        (("votes",), "b", "votes"),
        (("judge",), "a", "judge"),
        (("judge", "votes"), "a", "judge"),
        (("draw", "votes"), None, "draw"),
        ((), None, "draw"),
    ],
)
def test_ties_are_broken_in_the_order_of_the_rules(ties: Any, winner: str | None, reason: str) -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), ties=ties, votes_weight=0.0)
    rounds.judged("a", 80.2, 6.0)
    rounds.judged("b", 80.0, 16.0)
    rounds.vote("fan", "b", 26.0)
    rounds.tick(1000.0)
    assert rounds.result is not None
    assert (rounds.result.winner, rounds.result.reason) == (winner, reason)


def test_an_extra_round_decides() -> None:
    rounds = started(rounds=(RoundRule(seconds=10),), ties=("extra",), voting=0)
    rounds.tick(35.0)
    assert (rounds.phase, rounds.view().round, rounds.view().turn) == ("turn", 2, "b")
    rounds.judged("b", 70.0, 36.0)
    rounds.tick(1000.0)
    assert rounds.result is not None
    assert (rounds.result.winner, rounds.result.reason, rounds.result.won) == ("b", "rounds", (0, 1))


def test_who_gives_up_loses_and_who_breaks_off_ends_it() -> None:
    rounds = started()
    rounds.judged("a", 100.0, 6.0)
    (event,) = rounds.forfeit("ana", 7.0)
    assert isinstance(event.result, BattleResult)
    assert (event.result.winner, event.result.reason) == ("b", "forfeit")
    with refused("over"):
        rounds.forfeit("bo", 8.0)
    with refused("over"):
        rounds.abort(8.0)
    assert rounds.tick(1000.0) == []
    broken = battle()
    (event,) = broken.abort(1.0)
    assert isinstance(event.result, BattleResult)
    assert (event.result.winner, event.result.reason) == (None, "aborted")


def test_only_players_play() -> None:
    rounds = battle()
    with refused("not_a_player"):
        rounds.ready("fan", 0.0)
    with refused("not_a_player"):
        rounds.forfeit("", 0.0)
    with refused("already_started"):
        started().ready("ana", 6.0)


def test_a_clock_that_goes_back_is_an_error() -> None:
    with pytest.raises(ValueError, match="went back"):
        started().tick(4.0)


@given(st.integers(0, 2**32))
def test_decks_may_be_exchanged(seed: int) -> None:
    """The same battle with the players' decks exchanged has the mirrored result."""
    draw = random.Random(seed)
    one, other = battle("a"), Rounds(Rules(), Seats("bo", "ana"), "b")
    now, flip = 0.0, {"a": "b", "b": "a"}
    for _ in range(80):
        now += draw.uniform(0, 20)
        verb, side = draw.choice(["ready", "done", "judged", "vote"]), draw.choice("ab")
        for rounds, seat in ((one, side), (other, flip[side])):
            who = {"a": "ana", "b": "bo"}[side]
            argument: Any = {"vote": ("fan", seat), "judged": (seat, float(ord(side) % 7 * 10))}.get(verb, (who,))
            try:
                getattr(rounds, verb)(*argument, now)
            except NotNow:
                continue
        assert one.view().won == other.view().won[::-1]
        assert one.phase == other.phase
        assert [each.winner for each in one.results] == [flip.get(each.winner or "") for each in other.results]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": ()},
        {"rounds": (RoundRule(),) * 33},
        {"countdown": -1},
        {"voting": 4000},
        {"votes_weight": 1.5},
        {"ties": ("coin",)},
        {"ties": ("draw", "draw")},
        {"extra_rounds": 9},
        {"most_voters": -1},
        {"close": -1},
        {"pause": "5"},
    ],
)
def test_impossible_rules_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        Rules(**wrong)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"crossfader": "c"}, {"together": True}])
def test_impossible_rounds_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        RoundRule(**wrong)


@pytest.mark.parametrize("seats", [Seats("ana", "ana"), Seats("ana"), Seats()])
def test_a_battle_needs_two_players(seats: Seats) -> None:
    with pytest.raises(ValueError, match="two different players"):
        Rounds(Rules(), seats)
