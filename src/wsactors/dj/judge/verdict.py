"""A transition's scores, each with the reason for it in words.

Every score falls steadily with what it measures and never depends on which deck is which, on time or on chance. What
cannot be judged (no beatgrid, no key) is left out, and the rest counts for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from wsactors.dj.judge import words
from wsactors.dj.judge.beats import at_cut, beat_match, phrase_gap
from wsactors.dj.judge.harmony import harmony
from wsactors.dj.judge.levels import flow, level_handling, over
from wsactors.dj.judge.moment import SongFacts
from wsactors.dj.judge.transition import Kind, Transition
from wsactors.dj.judge.weights import PARTS, Weights
from wsactors.dj.timeline import SAMPLE_RATE

_Judged: TypeAlias = tuple[float | None, str]
_KEYS: Final = (100.0, 92.0, 68.0, 48.0, 32.0, 18.0, 8.0, 0.0)
_OUT_OF_TUNE: Final = 0.8  # less than 0.82, or a whole semitone would be better than most of one
_UNSURE: Final = 70.0  # what a harmony is worth that nobody can be sure of
_FREE_SWING: Final = 3.0  # dB; a linear fader dips by as much
_HALF_SWING: Final = 4.0
_BASS_SECONDS: Final = 4.0
_HALF_OVER: Final = 2.0  # dB × seconds
_HALF_SILENCE: Final = 0.5  # seconds


@attrs.frozen
class Score:
    """One part of a verdict."""

    part: str
    """One of `weights.PARTS`."""
    value: float | None
    """0 to 100; None if it could not be judged."""
    weight: float
    words: str
    """Why, for people to read."""


@attrs.frozen
class Verdict:
    """What the judge says about a transition."""

    outgoing: str
    incoming: str
    """Decks: ``a`` or ``b``."""
    begin: int
    end: int
    """Timeline frames between which it happened."""
    kind: Kind
    scores: tuple[Score, ...]
    total: float
    """The weighted mean of what could be judged: 0 to 100."""
    offset: float | None
    """Milliseconds by which the incoming song's beats were late (negative: early), on average; None if unknown."""

    def score(self, part: str) -> Score:
        """One of the scores."""
        return next(each for each in self.scores if each.part == part)


def judge(
    transition: Transition,
    facts: Mapping[str, SongFacts],
    weights: Weights | None = None,
    correction: float = 0.0,
) -> Verdict:
    """Score a transition.

    `facts` are by song; `correction` is what the sound says beyond the grids (`onsets.correction`), a part of a beat.
    """
    weights = Weights() if weights is None else weights
    offset, beat = _beat(transition, weights, correction)
    judged = {
        "beat": beat,
        "phrase": _phrase(transition, weights),
        "level": _level(transition, facts, weights),
        "harmony": _harmony(transition, facts),
        "clipping": _clipping(transition),
        "smoothness": _smoothness(transition),
    }
    scores = tuple(Score(part, judged[part][0], weights.of(part), judged[part][1]) for part in PARTS)
    counted = [(each.value, each.weight) for each in scores if each.value is not None]
    whole = sum(weight for _, weight in counted)
    total = sum(value * weight for value, weight in counted) / whole if whole else 0.0
    return Verdict(
        transition.outgoing, transition.incoming, transition.before.frame, transition.after.frame, transition.kind,
        scores, total, offset,
    )  # fmt: skip


def _falling(amount: float, half: float) -> float:
    """1 for nothing, a half for `half`, and less and less."""
    return 1.0 / (1.0 + (amount / half) ** 2)


def _beat(transition: Transition, weights: Weights, correction: float) -> tuple[float | None, _Judged]:
    match = beat_match(transition, correction)
    if match is None:
        return None, (None, words.NO_GRID)
    value = 100.0 * _falling(match.away, weights.half_beat_ms)
    # Beats that go on after a silence as if there had been none are not heard as matched.
    value /= 1.0 + transition.silence / SAMPLE_RATE / _HALF_SILENCE
    return match.late, (value, words.beat(match, transition.silence))


def _phrase(transition: Transition, weights: Weights) -> _Judged:
    gap = phrase_gap(transition, weights.phrase_bars)
    if gap is None:
        return None, words.NO_GRID
    beats, phrase = gap
    bar = phrase // weights.phrase_bars
    value = 10.0
    for unit, worth in ((phrase, 100.0), (phrase / 2, 85.0), (phrase / 4, 70.0), (bar, 55.0), (bar / 2, 25.0)):
        if unit >= 1 and beats % unit == 0:
            value = worth
            break
    return value, words.phrase(beats, bar, phrase)


def _level(transition: Transition, facts: Mapping[str, SongFacts], weights: Weights) -> _Judged:
    handling = level_handling(transition, facts)
    value = 100.0 * _falling(handling.step, weights.half_level_db)
    value *= _falling(max(0.0, handling.swing - _FREE_SWING), _HALF_SWING)
    value *= 0.5 + 0.5 * _falling(handling.clash, _BASS_SECONDS)
    return value, words.level(handling)


def _harmony(transition: Transition, facts: Mapping[str, SongFacts]) -> _Judged:
    outgoing, incoming = at_cut(transition)
    first, second = (facts.get(deck.song or "", SongFacts()).key for deck in (outgoing, incoming))
    if first is None or second is None:
        return None, words.NO_KEY
    fit = harmony(first, outgoing.semitones, second, incoming.semitones)
    value = _KEYS[fit.below] + (_KEYS[fit.above] - _KEYS[fit.below]) * fit.part
    value *= 1.0 - _OUT_OF_TUNE * fit.detune / 100.0
    return _UNSURE + (value - _UNSURE) * fit.sure, words.harmony(fit)


def _clipping(transition: Transition) -> _Judged:
    amount = over(transition)
    return 100.0 / (1.0 + amount / _HALF_OVER), words.clipping(amount)


def _smoothness(transition: Transition) -> _Judged:
    went = flow(transition)
    value = 100.0 / (1.0 + went.silence / _HALF_SILENCE) / (1.0 + went.breaks) / (1.0 + went.back)
    return value, words.smoothness(went, transition)
