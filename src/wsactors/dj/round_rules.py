"""The rules of a battle, and what comes of it: frozen values, checked when they are made."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import attrs

from wsactors.dj.permission import CROSSFADER_RULES

Side: TypeAlias = Literal["a", "b"]
Phase: TypeAlias = Literal["waiting", "countdown", "turn", "voting", "pause", "over"]
Tie: TypeAlias = Literal["judge", "votes", "extra", "draw"]
TIES: Final[tuple[Tie, ...]] = ("judge", "votes", "extra", "draw")
MAX_ROUNDS: Final = 32
MAX_EXTRA: Final = 8
MAX_SECONDS: Final = 3600.0
MAX_VOTERS: Final = 1_000_000


def _seconds(least: float) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) not in {int, float} or not least <= value <= MAX_SECONDS:  # type: ignore[operator]
            raise ValueError(f"{attribute.name} must be {least:g} to {MAX_SECONDS:g} seconds, got {value!r}")

    return check


def _count(least: int, most: int) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{attribute.name} must be a whole number from {least} to {most}, got {value!r}")

    return check


@attrs.frozen(kw_only=True)
class RoundRule:
    """One round."""

    together: bool = False
    """Whether both play at the same time; otherwise one after the other, who began last time second."""
    seconds: float = attrs.field(default=120.0, validator=_seconds(1.0))
    """How long a turn lasts, or both together."""
    crossfader: str = attrs.field(default="turn", validator=attrs.validators.in_(CROSSFADER_RULES))
    """Who has the crossfader, one of `permission.CROSSFADER_RULES`."""

    def __attrs_post_init__(self) -> None:
        if self.together and self.crossfader == "turn":
            raise ValueError('in a round that both play together it is nobody\'s turn: the crossfader cannot be "turn"')


@attrs.frozen(kw_only=True)
class Rules:
    """A battle."""

    rounds: tuple[RoundRule, ...] = attrs.field(default=(RoundRule(),) * 3, converter=tuple)
    countdown: float = attrs.field(default=5.0, validator=_seconds(0.0))
    """Seconds from both being ready to the first turn, and from each pause to the next one."""
    voting: float = attrs.field(default=20.0, validator=_seconds(0.0))
    """Seconds in which spectators vote on a round; 0 lets the judge alone decide."""
    pause: float = attrs.field(default=5.0, validator=_seconds(0.0))
    """Seconds after each round."""
    votes_weight: float = attrs.field(default=0.3)
    """What the spectators' votes count beside the judge's scores: 0 to 1."""
    ties: tuple[Tie, ...] = attrs.field(default=("votes", "judge", "extra", "draw"))
    """How a tie of the rounds won is broken, tried in this order."""
    extra_rounds: int = attrs.field(default=1, validator=_count(0, MAX_EXTRA))
    """Most extra rounds."""
    close: float = attrs.field(default=0.5)
    """Points out of 100 that two players may differ by in a round that nobody wins."""
    most_voters: int = attrs.field(default=10_000, validator=_count(0, MAX_VOTERS))
    """Users whose votes are kept in a round; who comes later is told that the ballot box is full."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.rounds) <= MAX_ROUNDS:
            raise ValueError(f"a battle has 1 to {MAX_ROUNDS} rounds, got {len(self.rounds)}")
        if type(self.votes_weight) not in {int, float} or not 0.0 <= self.votes_weight <= 1.0:
            raise ValueError(f"votes_weight must be a number from 0 to 1, got {self.votes_weight!r}")
        if type(self.close) not in {int, float} or not 0.0 <= self.close <= 100.0:
            raise ValueError(f"close must be a number from 0 to 100, got {self.close!r}")
        if any(tie not in TIES for tie in self.ties) or len(set(self.ties)) != len(self.ties):
            raise ValueError(f"ties are some of {', '.join(TIES)}, each once; got {self.ties!r}")


@attrs.frozen
class RoundResult:
    """What came of one round."""

    number: int
    """From 1."""
    judged: tuple[float | None, float | None]
    """Means of the judge's verdicts on a and b, 0 to 100; None without a transition."""
    votes: tuple[int, int]
    points: tuple[float, float]
    """Both together: 0 to 100."""
    winner: Side | None
    """None: nobody won it."""


@attrs.frozen
class BattleResult:
    """What came of the battle."""

    winner: Side | None
    """None: a draw, or broken off."""
    reason: str
    """``rounds``, one of `TIES`, ``forfeit`` or ``aborted``."""
    rounds: tuple[RoundResult, ...]
    won: tuple[int, int]
    """Rounds won by a and b."""
    votes: tuple[int, int]
    judged: tuple[float, float]
    """Sums of the rounds' judged means."""


@attrs.frozen
class Event:
    """Something that everybody should hear of."""

    kind: str
    """``countdown``, ``turn``, ``voting``, ``pause``, ``round`` (a result is there) or ``over``."""
    at: float
    """When it happened, by the caller's clock."""
    round: int
    """From 1."""
    turn: Side | None = None
    until: float | None = None
    """When the phase ends by itself."""
    result: RoundResult | BattleResult | None = None


@attrs.frozen
class BattleView:
    """Where a battle is."""

    phase: Phase
    round: int
    """From 1; 0 before the first."""
    turn: Side | None
    ends_at: float | None
    """When the phase ends by itself; None if it does not."""
    crossfader: str
    votes: tuple[int, int]
    won: tuple[int, int]
