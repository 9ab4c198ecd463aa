"""Blends for the judge, made as a DJ makes them: two decks, two strips, a crossfader, and what went wrong."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import attrs

from wsactors.dj.analysis.values import Key
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.judge.moment import DeckMoment, Moment, SongFacts
from wsactors.dj.judge.transition import Transition, TransitionFinder
from wsactors.dj.judge.verdict import Verdict, judge
from wsactors.dj.timeline import SAMPLE_RATE

STEP = 1600
"""Timeline frames from moment to moment."""
A_MINOR = Key(9, True, 1.0)
START = 1_000_000_000


grid = functools.cache(Beatgrid.of)


@attrs.frozen(kw_only=True)
class Blend:
    """Deck a plays from the start; after `lead` seconds deck b is brought in, for `seconds`; `tail` seconds later it ends."""

    bpm: float = 126.0
    into_bpm: float = 126.0
    matched: bool = True
    """Whether the second song's speed is set to the first one's tempo."""
    late_ms: float = 0.0
    """By how much the second song's beats are late."""
    beats_off: int = 0
    """Whole beats by which its phrase is late."""
    level_db: float = 0.0
    key: Key | None = A_MINOR
    into_key: Key | None = A_MINOR
    keylock: bool = True
    lead: float = 1.0
    seconds: float = 8.0
    tail: float = 1.3
    swap_bass: bool = True
    gap: float = 0.0
    """Seconds of silence instead of a blend."""
    over: float = 0.0
    jerks: int = 0
    """Times the crossfader goes back and forth on its way."""
    jump: float = 0.0
    """Seconds by which the second song jumps in the middle."""
    grids: bool = True
    loudness: tuple[float, float] = (-9.0, -9.0)

    @property
    def length(self) -> float:
        return self.lead + self.seconds + self.tail

    def progress(self, time: float) -> float:
        """Where the crossfader is, 0 to 1."""
        if not self.seconds:
            return float(time >= self.lead)
        done = min(1.0, max(0.0, (time - self.lead) / self.seconds))
        return min(0.9, max(0.1, done + 0.4 * math.sin(2 * math.pi * self.jerks * done))) if 0 < done < 1 else done

    def gains(self, time: float) -> tuple[float, float]:
        if self.gap:
            return float(time < self.lead), float(time >= self.lead + self.gap)
        angle = self.progress(time) * math.pi / 2
        return math.cos(angle), math.sin(angle)

    def moment(self, number: int) -> Moment:
        frames = number * STEP
        time = frames / SAMPLE_RATE
        first, second = grid(self.bpm, 1000.0), grid(self.into_bpm, 4321.0)
        speed = self.bpm / self.into_bpm if self.matched else 1.0
        position = second.first + frames * speed
        position -= self.late_ms / 1000 * SAMPLE_RATE * speed + self.beats_off * second.beat
        if self.jump and time > self.lead + self.seconds / 2:
            position += self.jump * SAMPLE_RATE
        left, right = self.gains(time)
        done = self.progress(time)
        low = (0.0 if done > 0.5 else 1.0, 0.0 if done <= 0.5 else 1.0) if self.swap_bass else (1.0, 1.0)
        if self.gap or done in {0.0, 1.0}:
            low = (1.0, 1.0)
        a = DeckMoment(
            "one", first.first + frames, 1.0, first if self.grids else None, self.keylock, left, (low[0], 1.0, 1.0)
        )
        b = DeckMoment(
            "two", position, speed, second if self.grids else None, self.keylock,
            right * 10 ** (self.level_db / 20), (low[1], 1.0, 1.0),
        )  # fmt: skip
        return Moment(START + frames, a, b, self.over if self.lead < time < self.lead + self.seconds else 0.0)

    def moments(self) -> list[Moment]:
        return [self.moment(number) for number in range(int(self.length * 30))]

    @property
    def facts(self) -> dict[str, SongFacts]:
        return {"one": SongFacts(self.key, self.loudness[0]), "two": SongFacts(self.into_key, self.loudness[1])}

    def transition(self, change: Callable[[Moment], Moment] = lambda moment: moment) -> Transition:
        found = find([change(each) for each in self.moments()])
        assert len(found) == 1
        return found[0]

    def verdict(self, **arguments: Any) -> Verdict:
        return judge(self.transition(), self.facts, **arguments)


def find(moments: list[Moment]) -> list[Transition]:
    finder = TransitionFinder()
    return [found for each in moments if (found := finder.see(each)) is not None]
