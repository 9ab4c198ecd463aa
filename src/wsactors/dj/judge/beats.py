"""How far apart the beats of two songs are, from the decks' truths and the songs' grids."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import attrs

from wsactors.dj.judge.moment import DeckMoment, Moment
from wsactors.dj.judge.transition import Transition
from wsactors.dj.timeline import SAMPLE_RATE

_RATIOS: Final = (0.5, 1.0, 2.0)


@attrs.frozen
class BeatGap:
    """How the beats of two songs lie at one moment."""

    beats: float
    """Part of the faster song's beat by which the incoming song is late, −0.5 to 0.5."""
    milliseconds: float
    """The same in time."""
    tempo: float
    """By what part the incoming song is faster than the outgoing one, or than half or twice that, whatever is nearest."""


def beat_gap(outgoing: DeckMoment, incoming: DeckMoment, correction: float = 0.0) -> BeatGap | None:
    """How the beats lie; None if a song has no grid or does not go forwards.

    `correction` is the part of a beat by which the incoming song sounds later than the two grids say
    (`onsets.correction`).
    """
    first, second = outgoing.tempo, incoming.tempo
    if first is None or second is None or outgoing.grid is None or incoming.grid is None:
        return None
    ratio = tempo_ratio(first, second)
    # Counted in the beats of the faster song; for whichever it is, the other's beats are divided alike.
    fine_first, fine_second = max(ratio, 1.0), max(1.0 / ratio, 1.0)
    away = fine_first * outgoing.grid.beat_at(outgoing.position) - fine_second * incoming.grid.beat_at(
        incoming.position
    )
    away = _nearest_beat(away + correction)
    pulse = (fine_first * first + fine_second * second) / 2
    return BeatGap(away, 1000.0 * away / (pulse * SAMPLE_RATE), second / (ratio * first) - 1.0)


def tempo_ratio(outgoing: float, incoming: float) -> float:
    """1, 2 or ½: how many beats of the incoming song go with one of the outgoing."""
    return min(_RATIOS, key=lambda ratio: (abs(math.log2(incoming / (ratio * outgoing))), abs(ratio - 1.0)))


@attrs.frozen
class BeatMatch:
    """How the beats lay over a transition."""

    away: float
    """Mean distance in ms, each moment counting by how well both songs are heard."""
    late: float
    """Mean in ms by which the incoming song was late; negative if early."""
    drift: float
    """Milliseconds a second by which the songs ran apart."""


def beat_match(transition: Transition, correction: float = 0.0) -> BeatMatch | None:
    """How the beats lay; None if that cannot be said."""
    total = away = late = drift = 0.0
    for outgoing, incoming, weight in _both(transition):
        gap = beat_gap(outgoing, incoming, correction)
        if gap is None:
            continue
        total += weight
        away += weight * abs(gap.milliseconds)
        late += weight * gap.milliseconds
        drift += weight * abs(gap.tempo)
    if not total:
        return None
    return BeatMatch(away / total, late / total, 1000.0 * drift / total)


def _both(transition: Transition) -> Iterator[tuple[DeckMoment, DeckMoment, float]]:
    """Moments at which both are heard, and how well the weaker one is; in a cut or a gap, as if one had gone on."""
    count = 0
    for each in transition.moments:
        outgoing, incoming = each.deck(transition.outgoing), each.deck(transition.incoming)
        weight = min(_power(outgoing), _power(incoming))
        if weight > 0.0:
            count += 1
            yield outgoing, incoming, weight
    if count < 2:
        outgoing, incoming = at_cut(transition)
        yield outgoing, incoming, 1e-6


def at_cut(transition: Transition) -> tuple[DeckMoment, DeckMoment]:
    """The incoming deck when it was first alone, and the outgoing one as if it had gone on until then."""
    outgoing = transition.before.deck(transition.outgoing).moved(transition.frames)
    return outgoing, transition.after.deck(transition.incoming)


def _power(deck: DeckMoment) -> float:
    strength = deck.strength
    return 10.0 ** (strength / 10.0) if strength > -40.0 else 0.0


def phrase_gap(transition: Transition, bars: int = 8) -> tuple[int, int] | None:
    """Whole beats by which the phrases miss each other when the songs change over, and the beats of a phrase.

    None if a song has no grid or does not go forwards. Counted in beats of the outgoing song, whose bar is what counts.
    """
    if transition.kind == "blend":
        outgoing, incoming = _sides(transition, transition.moment)
    else:
        outgoing, incoming = at_cut(transition)
    if outgoing.grid is None or incoming.grid is None or outgoing.tempo is None or incoming.tempo is None:
        return None
    ratio = tempo_ratio(outgoing.tempo, incoming.tempo)
    phrase = bars * outgoing.grid.bar
    away = outgoing.grid.beat_at(outgoing.position) - incoming.grid.beat_at(incoming.position) / ratio
    beats = round(away) % phrase
    return min(beats, phrase - beats), phrase


def _sides(transition: Transition, moment: Moment) -> tuple[DeckMoment, DeckMoment]:
    return moment.deck(transition.outgoing), moment.deck(transition.incoming)


def _nearest_beat(beats: float) -> float:
    return beats - math.floor(beats + 0.5)
