"""How levels, equalisers and the flow of a transition were handled, from the decks' truths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Final

import attrs

from wsactors.dj.judge.moment import SILENCE, DeckMoment, Moment, Side, SongFacts
from wsactors.dj.judge.transition import OFF_DB, Transition
from wsactors.dj.timeline import SAMPLE_RATE

_BASS_HEARD: Final = -9.0
_BASS_NEAR: Final = 6.0
_USUAL: Final = -14.0  # LUFS
_WELL_HEARD: Final = -18.0
_SMALL_JUMP: Final = 0.25  # beats
_GRID: Final = 8  # jumps of eighths of a beat keep the rhythm,
_ON_GRID: Final = 0.25  # give or take a quarter of one


@attrs.frozen
class LevelHandling:
    """How loud it was."""

    step: float
    """dB by which the mix is louder with the new song than it was with the old one."""
    swing: float
    """dB by which it was, in between, louder or quieter than a straight way from one to the other, at most."""
    clash: float
    """Seconds in which both basses were heard."""


@attrs.frozen
class Flow:
    """How smoothly it went."""

    silence: float
    """Seconds."""
    breaks: int
    """Jumps off the beat, and stops, of decks that were heard."""
    back: float
    """How much of the way the faders went back and forth: 0 is straight from one song to the other."""


def level_handling(transition: Transition, facts: Mapping[str, SongFacts]) -> LevelHandling:
    """How loud it was. A song whose loudness nobody knows counts as loud as the others usually are."""
    begin = _loud(transition.before.deck(transition.outgoing), facts)
    end = _loud(transition.settled.deck(transition.incoming), facts)
    swing = clash = 0.0
    for each, seconds in _timed(transition):
        done = (each.frame - transition.before.frame) / max(1, transition.frames)
        level = _sum(_loud(each.a, facts), _loud(each.b, facts))
        if level > OFF_DB:  # a silence is judged as one
            swing = max(swing, abs(level - (begin + (end - begin) * done)))
        if min(each.a.bass, each.b.bass) > _BASS_HEARD and abs(each.a.bass - each.b.bass) < _BASS_NEAR:
            clash += seconds
    return LevelHandling(end - begin, swing, clash)


def over(transition: Transition) -> float:
    """By how much and how long the mix was too loud for the limiter's ceiling: dB × seconds."""
    return sum(each.over * seconds for each, seconds in _timed(transition))


def flow(transition: Transition) -> Flow:
    """How smoothly it went."""
    breaks = 0
    way = (transition.before, *transition.moments, transition.after)
    for first, second in itertools.pairwise(way):
        for side in ("a", "b"):
            breaks += _broken(first, second, side)
    shares = [_share(each, transition.incoming) for each in way]
    travelled = sum(abs(second - first) for first, second in itertools.pairwise([0.0, *shares, 1.0]))
    return Flow(transition.silence / SAMPLE_RATE, breaks, max(0.0, travelled - 1.0))


def _timed(transition: Transition) -> list[tuple[Moment, float]]:
    ends = [each.frame for each in transition.moments[1:]] + [transition.after.frame]
    return [(each, (end - each.frame) / SAMPLE_RATE) for each, end in zip(transition.moments, ends, strict=False)]


def _loud(deck: DeckMoment, facts: Mapping[str, SongFacts]) -> float:
    strength = deck.strength
    song = facts.get(deck.song) if deck.song is not None else None
    if strength <= SILENCE or song is None or song.loudness is None:
        return strength
    return strength + song.loudness - _USUAL


def _sum(first: float, second: float) -> float:
    return 10.0 * math.log10(math.pow(10.0, first / 10.0) + math.pow(10.0, second / 10.0))


def _share(moment: Moment, incoming: Side) -> float:
    """How much of the sound is the incoming song: 0 to 1."""
    strengths = (moment.a.strength, moment.b.strength)
    if max(strengths) <= OFF_DB:
        return 0.5
    a, b = (math.pow(10.0, each / 20.0) for each in strengths)
    return (a if incoming == "a" else b) / (a + b)


def _broken(first: Moment, second: Moment, side: Side) -> bool:
    """Whether a deck that is well heard stopped, changed its song or jumped, but for whole beats."""
    before, after = first.deck(side), second.deck(side)
    if before.strength < _WELL_HEARD:
        return False
    if before.song != after.song or (after.speed == 0.0 and before.speed != 0.0):
        return True
    if after.strength < _WELL_HEARD:
        return False
    frames = second.frame - first.frame
    jumped = after.position - before.position - frames * (before.speed + after.speed) / 2
    # Between two moments a speed may have changed at any time.
    if abs(jumped) <= 64.0 + frames * abs(after.speed - before.speed):
        return False
    if before.grid is None:
        return True
    beats = jumped / before.grid.beat
    return abs(beats) > _SMALL_JUMP and abs(beats * _GRID - round(beats * _GRID)) > _ON_GRID
