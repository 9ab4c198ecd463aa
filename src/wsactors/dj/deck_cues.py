"""A deck's cue point and hotcues, in the manners of CDJ players. Pure: each verb gives a new truth.

CUE on a deck that plays takes it back to the cue point and stops it; on one that stands elsewhere it sets the cue point
there; on one that stands at its cue point it plays for as long as it is held. A hotcue that is not set is set where the
deck is; one that is set is jumped to, and on a paused deck plays while it is held.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from wsactors.dj.deck import HOTCUES, DeckState, number

CUE = 0
"""The CUE button in `DeckState.preview`."""
_HERE = 1.0


def snapped(deck: DeckState, position: float) -> float:
    """A place of the song to put a point at: with quantize the nearest beat, in any case inside the song."""
    if deck.quantize and deck.grid is not None:
        position = deck.grid.nearest(position)
        if position < 0:
            position += deck.grid.beat
    return min(max(position, 0.0), float(deck.frames))


def in_phase(deck: DeckState, frame: int, target: float) -> float:
    """Where to jump to reach `target`: with quantize as far from the beat as the head is, so that the beat goes on."""
    if not (deck.quantize and deck.playing and deck.grid is not None):
        return target
    beat = deck.grid.beat_at(deck.heard_at(frame))
    moved = target + (beat - math.floor(beat + 0.5)) * deck.grid.beat
    return moved if 0 <= moved <= deck.frames else target


def cue_press(deck: DeckState, frame: int) -> DeckState:
    """The CUE button goes down."""
    if deck.song is None or deck.preview is not None:
        return deck
    if deck.playing:
        return deck.anchored(frame, playing=False, position=deck.cue, legs=(), bend=0.0, shadow=None, rolling=False)
    here = deck.heard_at(max(frame, deck.frame))
    if abs(here - deck.cue) < _HERE:
        return deck.anchored(frame, playing=True, position=deck.cue, legs=(), preview=CUE)
    cue = snapped(deck, here)
    return deck.anchored(frame, cue=cue, position=cue, legs=())


def cue_release(deck: DeckState, frame: int) -> DeckState:
    """The CUE button comes up: a preview ends at the cue point."""
    if deck.preview != CUE:
        return deck
    return deck.anchored(frame, playing=False, position=deck.cue, legs=(), preview=None)


def hotcue_press(deck: DeckState, frame: int, number: int) -> DeckState:
    """Hotcue `number`, 1 to 8, goes down: set it, jump to it, or play from it while it is held. Raises `ValueError`."""
    place = deck.hotcues[_index(number)]
    if deck.song is None:
        return deck
    frame = max(frame, deck.frame)
    if place is None:
        return hotcue_set(deck, frame, number)
    if deck.playing and deck.preview is None:
        held = number if deck.slip else None
        return deck.anchored(frame, position=in_phase(deck, frame, place), legs=(), preview=held)
    return deck.anchored(frame, playing=True, position=place, legs=(), preview=number)


def hotcue_release(deck: DeckState, frame: int, number: int) -> DeckState:
    """Hotcue `number` comes up: a preview ends at the hotcue; with slip the song is where it would have been."""
    place = deck.hotcues[_index(number)]
    if deck.preview != number:
        return deck
    if deck.slip and deck.shadow is not None:
        return slipped_back(deck, frame, preview=None)
    stopped = deck.anchored(frame, playing=False, legs=(), preview=None)
    return stopped if place is None else attrs.evolve(stopped, position=place)


def hotcue_set(deck: DeckState, frame: int, number: int) -> DeckState:
    """Put hotcue `number` where the deck is (with quantize: on the nearest beat), also over another."""
    _index(number)
    if deck.song is None:
        return deck
    return with_hotcue(deck, number, snapped(deck, deck.heard_at(max(frame, deck.frame))))


def with_hotcue(deck: DeckState, number: int, position: float | None) -> DeckState:
    """Put hotcue `number`, 1 to 8, at a source frame, or clear it. Raises `ValueError` outside the song."""
    index = _index(number)
    place = None if position is None else _inside(deck, position)
    return attrs.evolve(deck, hotcues=(*deck.hotcues[:index], place, *deck.hotcues[index + 1 :]))


def with_cue(deck: DeckState, position: float) -> DeckState:
    """Put the cue point at a source frame. Raises `ValueError` outside the song."""
    return attrs.evolve(deck, cue=_inside(deck, position))


def slipped_back(deck: DeckState, frame: int, **changes: Any) -> DeckState:
    """Jump to where the song has gone on to silently; nothing but `changes` when it has not."""
    moved = deck.anchored(frame)
    if moved.shadow is None:
        return attrs.evolve(moved, **changes)
    shadow = moved.shadow if deck.slip else None
    back: dict[str, Any] = {"position": moved.shadow, "shadow": shadow, "legs": ()}
    return attrs.evolve(moved, **(back | changes))


def _index(number: int) -> int:
    if type(number) is not int or not 1 <= number <= HOTCUES:
        raise ValueError(f"hotcues are numbered from 1 to {HOTCUES}, got {number!r}")
    return number - 1


def _inside(deck: DeckState, position: float) -> float:
    return number("a cue", position, 0.0, float(deck.frames))
