"""A battle's rounds: turns, the clock, spectators' votes and the result.

A state machine that reads no clock: every verb takes `now`, in seconds of any clock that does not go back, and first does
what was due until then, at the moment at which it was due. So it does not matter how late, or how often, it is told the
time, and nothing has to be remembered but its commands. Verbs return what everybody should hear of.

    waiting -> countdown -> turn (-> turn) -> voting -> pause -> countdown -> ... -> over
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wsactors.dj.permission import Round, Seats
from wsactors.dj.round_rules import BattleResult, BattleView, Event, Phase, RoundResult, RoundRule, Rules, Side, Tie

MAX_VERDICTS: Final = 256
"""Verdicts that count for a player in a round; further ones are not taken."""
_OTHER: Final[dict[Side, Side]] = {"a": "b", "b": "a"}


class NotNow(Exception):
    """What was asked for cannot be done in this phase, or by this user. ``code`` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rounds:
    """One battle between whoever sits at deck a and deck b. `first` begins the first round."""

    __slots__ = (
        "_counts", "_ends", "_phase", "_ready", "_result", "_results", "_round", "_rules", "_seats", "_starter", "_time", "_turn",
        "_untold", "_verdicts", "_votes",
    )  # fmt: skip

    def __init__(self, rules: Rules, seats: Seats, first: Side = "a") -> None:
        if not seats.a or not seats.b or seats.a == seats.b:
            raise ValueError("a battle needs two different players")
        self._rules = rules
        self._seats = seats
        self._starter: Side = first
        self._phase: Phase = "waiting"
        self._round = 0
        self._turn: Side | None = None
        self._ends: float | None = None
        self._time: float | None = None
        self._untold: list[Event] = []
        self._ready: set[Side] = set()
        self._verdicts: dict[Side, list[float]] = {"a": [], "b": []}
        self._votes: dict[str, Side] = {}
        self._counts = [0, 0]
        self._results: list[RoundResult] = []
        self._result: BattleResult | None = None

    # -- what it is --

    @property
    def phase(self) -> Phase:
        """Where the battle is."""
        return self._phase

    @property
    def result(self) -> BattleResult | None:
        """What came of it; None before it is over."""
        return self._result

    @property
    def results(self) -> tuple[RoundResult, ...]:
        """What came of the rounds so far."""
        return tuple(self._results)

    def rule(self) -> Round:
        """What the round lets the players do now: for `permission.refusal_of`. Before and after, both may rehearse."""
        if self._phase in {"waiting", "over"}:
            return Round()
        if self._phase == "turn":
            return Round(self._current().crossfader, self._turn)
        return Round("nobody")

    def view(self) -> BattleView:
        """Where the battle is, for everybody to see."""
        return BattleView(
            self._phase, self._round, self._turn, self._ends, self.rule().crossfader, self._counted(), self._won()
        )

    def due(self) -> float | None:
        """When `tick` has something to do; None if time alone changes nothing."""
        return self._ends

    # -- what happens --

    def tick(self, now: float) -> list[Event]:
        """Do what was due until `now`. Raises `ValueError` if that is before the last time."""
        self._advance(now)
        return self._told()

    def ready(self, user: str, now: float) -> list[Event]:
        """A player is ready; when both are, the countdown begins. Raises `NotNow`."""
        self._advance(now)
        side = self._side(user)
        if self._phase != "waiting":
            raise NotNow("already_started", "the battle has begun already")
        self._ready.add(side)
        return self._told(self._count_down(now) if len(self._ready) == 2 else ())

    def done(self, user: str, now: float) -> list[Event]:
        """The player whose turn it is ends it early. Raises `NotNow`."""
        self._advance(now)
        if self._phase != "turn" or self._turn != self._side(user):
            raise NotNow("not_your_turn", "only the player whose turn it is can end it")
        return self._told(self._next(now))

    def judged(self, side: Side, points: float, now: float) -> list[Event]:
        """The judge gave a player (the one who brought the new song in) 0 to 100 points for a transition.

        Counts until the voting is over, because the judge needs a second. Raises `NotNow` when no round is played, or
        when he has had more verdicts than anybody needs; `ValueError` for impossible points.
        """
        if not 0.0 <= points <= 100.0:
            raise ValueError(f"points are a number from 0 to 100, got {points!r}")
        self._advance(now)
        if self._phase not in {"turn", "voting"}:
            raise NotNow("no_round", "no round is being played")
        if self._phase == "turn" and self._turn not in {None, side} and self._starter == self._turn:
            raise NotNow("not_his_turn", "this player has not begun yet")
        if len(self._verdicts[side]) >= MAX_VERDICTS:
            raise NotNow("too_many", f"{MAX_VERDICTS} transitions of a player count in a round")
        self._verdicts[side].append(points)
        return self._told()

    def vote(self, user: str, side: Side, now: float) -> list[Event]:
        """A spectator votes on this round; whoever votes again changes his mind. Raises `NotNow`."""
        self._advance(now)
        if self._phase != "voting":
            raise NotNow("no_voting", "there is nothing to vote on now")
        if not user or user in {self._seats.a, self._seats.b}:
            raise NotNow("not_a_spectator", "only spectators who are known vote, not the players")
        if side not in _OTHER:
            raise NotNow("no_such_deck", "votes are for a or b")
        if user not in self._votes and len(self._votes) >= self._rules.most_voters:
            raise NotNow("full", f"the votes of {self._rules.most_voters} spectators count; the ballot box is full")
        self._count(self._votes.get(user), -1)
        self._count(side, 1)
        self._votes[user] = side
        return self._told()

    def forfeit(self, user: str, now: float) -> list[Event]:
        """A player gives up, or stayed away too long: the other one wins. Raises `NotNow`."""
        self._advance(now)
        side = self._side(user)
        self._not_over()
        return self._told(self._finish(now, _OTHER[side], "forfeit"))

    def abort(self, now: float) -> list[Event]:
        """The battle is broken off; nobody wins. Raises `NotNow` when it is over already."""
        self._advance(now)
        self._not_over()
        return self._told(self._finish(now, None, "aborted"))

    # -- from phase to phase --

    def _advance(self, now: float) -> None:
        if self._time is not None and now < self._time:
            raise ValueError(f"the clock went back, from {self._time} to {now}")
        self._time = now
        while self._ends is not None and self._ends <= now:
            self._untold += self._next(self._ends)

    def _told(self, events: Iterable[Event] = ()) -> list[Event]:
        """All that nobody has heard of: also what was due when somebody was refused."""
        told, self._untold = [*self._untold, *events], []
        return told

    def _side(self, user: str) -> Side:
        sides = self._seats.decks_of(user)
        if not sides:
            raise NotNow("not_a_player", "only the two players can do this")
        return "a" if sides[0] == "a" else "b"

    def _not_over(self) -> None:
        if self._phase == "over":
            raise NotNow("over", "the battle is over")

    def _current(self) -> RoundRule:
        """The rule of the round; an extra round is like the last one."""
        return self._rules.rounds[min(self._round, len(self._rules.rounds)) - 1]

    def _enter(self, phase: Phase, at: float, seconds: float, turn: Side | None = None) -> list[Event]:
        self._phase, self._turn, self._ends = phase, turn, at + seconds
        return [Event(phase, at, self._round, turn, self._ends)]

    def _count_down(self, at: float) -> list[Event]:
        if self._round:
            self._starter = _OTHER[self._starter]
        self._round += 1
        self._verdicts = {"a": [], "b": []}
        self._votes = {}
        self._counts = [0, 0]
        return self._enter("countdown", at, self._rules.countdown)

    def _next(self, at: float) -> list[Event]:
        """What comes when a phase ends at `at`."""
        rule = self._current()
        if self._phase == "countdown":
            return self._enter("turn", at, rule.seconds, None if rule.together else self._starter)
        if self._phase == "turn" and self._turn == self._starter:
            return self._enter("turn", at, rule.seconds, _OTHER[self._starter])
        if self._phase == "turn" and self._rules.voting:
            return self._enter("voting", at, self._rules.voting)
        if self._phase in {"turn", "voting"}:
            return self._close_round(at)
        return self._count_down(at)

    # -- what comes of it --

    def _close_round(self, at: float) -> list[Event]:
        result = self._round_result()
        self._results.append(result)
        events = [Event("round", at, self._round, result=result)]
        if self._round < len(self._rules.rounds):
            return events + self._enter("pause", at, self._rules.pause)
        a, b = self._won()
        if a != b:
            return events + self._finish(at, "a" if a > b else "b", "rounds")
        for tie in self._rules.ties:
            if tie == "extra":
                if self._round < len(self._rules.rounds) + self._rules.extra_rounds:
                    return events + self._enter("pause", at, self._rules.pause)
            elif tie == "draw" or self._broken(tie):
                return events + self._finish(at, self._broken(tie), tie)
        return events + self._finish(at, None, "draw")

    def _round_result(self) -> RoundResult:
        a, b = (_mean(self._verdicts[side]) for side in ("a", "b"))
        votes = self._counted()
        cast = sum(votes)
        share = self._rules.votes_weight if cast else 0.0
        points = tuple(
            (1.0 - share) * (judged or 0.0) + share * 100.0 * count / max(1, cast)
            for judged, count in ((a, votes[0]), (b, votes[1]))
        )
        winner: Side | None = None
        if abs(points[0] - points[1]) > self._rules.close:
            winner = "a" if points[0] > points[1] else "b"
        return RoundResult(self._round, (a, b), votes, (points[0], points[1]), winner)

    def _broken(self, tie: Tie) -> Side | None:
        """Who wins by all rounds' votes, or by the judge; None if that is a tie, too."""
        if tie not in {"votes", "judge"}:
            return None
        a, b = self._all_votes() if tie == "votes" else self._all_judged()
        if a == b:
            return None
        return "a" if a > b else "b"

    def _finish(self, at: float, winner: Side | None, reason: str) -> list[Event]:
        self._result = BattleResult(
            winner, reason, tuple(self._results), self._won(), self._all_votes(), self._all_judged()
        )
        self._phase, self._turn, self._ends = "over", None, None
        return [Event("over", at, self._round, result=self._result)]

    def _counted(self) -> tuple[int, int]:
        return self._counts[0], self._counts[1]

    def _count(self, side: Side | None, change: int) -> None:
        if side is not None:
            self._counts["ab".index(side)] += change

    def _won(self) -> tuple[int, int]:
        return sum(each.winner == "a" for each in self._results), sum(each.winner == "b" for each in self._results)

    def _all_votes(self) -> tuple[int, int]:
        return sum(each.votes[0] for each in self._results), sum(each.votes[1] for each in self._results)

    def _all_judged(self) -> tuple[float, float]:
        return sum(each.judged[0] or 0.0 for each in self._results), sum(
            each.judged[1] or 0.0 for each in self._results
        )


def _mean(points: list[float]) -> float | None:
    return sum(points) / len(points) if points else None
