"""Finding transitions: one deck is heard, then both (or neither), then the other.

A deck that comes in and goes out again while the first one plays on, as in a scratch or a teaser, makes none. Nothing
depends on which deck is which.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias

import attrs

from wsactors.dj.judge.moment import Moment, Side
from wsactors.dj.timeline import SAMPLE_RATE

Kind: TypeAlias = Literal["blend", "cut", "gap"]

ON_DB: Final = -30.0
"""A deck begins to be heard above this strength,"""
OFF_DB: Final = -36.0
"""and is no longer heard below this one."""
SETTLE: Final = SAMPLE_RATE
"""Timeline frames for which the new deck must be alone: a second, so that a fader that cuts makes one transition."""
MAX_GAP: Final = 8 * SAMPLE_RATE
"""After a longer silence the next song is a new beginning."""
MAX_MOMENTS: Final = 4096
"""Most moments of a transition (two minutes); of a longer one every second, then every fourth is kept."""
_CUT: Final = SAMPLE_RATE // 10


@attrs.frozen
class Transition:
    """How one song gave way to another."""

    outgoing: Side
    incoming: Side
    before: Moment
    """The last moment at which only the outgoing deck was heard."""
    moments: tuple[Moment, ...] = attrs.field(repr=False)
    """From then until the incoming deck was alone."""
    after: Moment
    """The first moment at which it was."""
    settled: Moment
    """A second later."""
    silence: int = 0
    """Timeline frames in which neither was heard."""

    @property
    def frames(self) -> int:
        """How long it took, in timeline frames."""
        return self.after.frame - self.before.frame

    @property
    def kind(self) -> Kind:
        """A gap has silence of more than 0.1 s in it; a cut is shorter than that."""
        if self.silence > _CUT:
            return "gap"
        return "cut" if self.frames <= _CUT else "blend"

    @property
    def moment(self) -> Moment:
        """Where the incoming deck became the stronger one; a cut's end."""
        for each in self.moments:
            if each.deck(self.incoming).strength >= each.deck(self.outgoing).strength > OFF_DB:
                return each
        return self.after


@attrs.define
class _Change:
    """A transition that has begun."""

    before: Moment
    moments: list[Moment] = attrs.field(factory=list)
    stride: int = 1
    seen: int = 0
    silence: int = 0
    over: float = 0.0
    after: Moment | None = None

    def add(self, moment: Moment) -> None:
        """Keep the moment, or of a long transition some of them; what was too loud in between is not forgotten."""
        self.over = max(self.over, moment.over)
        if self.seen % self.stride == 0:
            self.moments.append(attrs.evolve(moment, over=self.over))
            self.over = 0.0
        self.seen += 1
        if len(self.moments) >= MAX_MOMENTS:
            self.moments = [
                attrs.evolve(first, over=max(first.over, second.over))
                for first, second in zip(self.moments[::2], self.moments[1::2], strict=True)
            ]
            self.stride *= 2


class TransitionFinder:
    """Is shown every moment, in order, and says when a transition is over."""

    __slots__ = ("_change", "_heard", "_holder", "_last", "_recent")

    def __init__(self) -> None:
        self._heard: dict[Side, bool] = {"a": False, "b": False}
        self._holder: Side | None = None
        self._last: Moment | None = None
        self._change: _Change | None = None
        self._recent: deque[Moment] = deque(maxlen=1)

    @property
    def changing(self) -> bool:
        """Whether a transition is going on."""
        return self._change is not None

    @property
    def holder(self) -> Side | None:
        """The deck that was alone last."""
        return self._holder

    def see(self, moment: Moment) -> Transition | None:
        """The transition that is over with this moment, if one is. Raises `ValueError` for a moment that is not later."""
        if self._last is not None and moment.frame <= self._last.frame:
            raise ValueError(f"moments come in order; {moment.frame} is not after {self._last.frame}")
        passed = moment.frame - self._last.frame if self._last is not None else 0
        self._last = moment
        self._listen(moment)
        if self._holder is None:
            self._holder = self._alone()
            self._recent.append(moment)
            return None
        return self._follow(moment, passed, self._holder)

    def _listen(self, moment: Moment) -> None:
        for side in ("a", "b"):
            strength = moment.deck(side).strength
            self._heard[side] = strength >= ON_DB or (self._heard[side] and strength >= OFF_DB)

    def _alone(self) -> Side | None:
        if self._heard["a"] == self._heard["b"]:
            return None
        return "a" if self._heard["a"] else "b"

    def _follow(self, moment: Moment, passed: int, holder: Side) -> Transition | None:
        alone = self._alone()
        if alone == holder:
            self._change = None
            self._recent.append(moment)
            return None
        if self._change is None:
            self._change = _Change(self._recent[-1])
        change = self._change
        if alone is not None:
            return self._settle(change, moment, holder, alone)
        change.add(moment)
        if change.after is not None:  # the outgoing deck was cut out and is back
            change.after = None
        if not self._heard["a"] and not self._heard["b"]:
            change.silence += passed
            if change.silence > MAX_GAP:
                self._forget()
        return None

    def _settle(self, change: _Change, moment: Moment, holder: Side, alone: Side) -> Transition | None:
        if change.after is None:
            change.after = moment
        if moment.frame - change.after.frame < SETTLE:
            return None
        moments = tuple(each for each in change.moments if each.frame < change.after.frame)
        found = Transition(holder, alone, change.before, moments, change.after, moment, change.silence)
        self._forget()
        self._holder = alone
        self._recent.append(moment)
        return found

    def _forget(self) -> None:
        self._change = None
        self._holder = None
        self._recent.clear()
