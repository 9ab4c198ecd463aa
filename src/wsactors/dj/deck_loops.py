"""A deck's loops: set by hand or by beats, halved and doubled, left and come back to; and rolls. Pure.

A loop is any stretch of at least 64 source frames, of broken length too: where the head is, is computed from the
unbroken motion, so after a thousand turns it is still on the beat.
"""

from __future__ import annotations

import math

import attrs

from wsactors.dj.deck import MIN_LOOP, DeckState, number
from wsactors.dj.deck_cues import slipped_back, snapped
from wsactors.dj.timeline import SAMPLE_RATE

MIN_BEATS = 1 / 32
MAX_BEATS = 32.0
_GRIDLESS_BEAT = SAMPLE_RATE / 2
_LONGEST = 64 * 3 * float(SAMPLE_RATE)


def loop_in(deck: DeckState, frame: int) -> DeckState:
    """Put the in point here (with quantize: on the nearest beat). A loop that was running is left."""
    if deck.song is None:
        return deck
    here = snapped(deck, deck.heard_at(max(frame, deck.frame)))
    return attrs.evolve(_left(deck, frame), loop_in=here, loop_out=None)


def loop_out(deck: DeckState, frame: int) -> DeckState:
    """Put the out point here and let the stretch repeat. Raises `ValueError` unless it comes after the in point."""
    if deck.song is None:
        return deck
    if deck.loop_in is None:
        raise ValueError("set the loop's in point first")
    out = snapped(deck, deck.heard_at(max(frame, deck.frame)))
    if out - deck.loop_in < MIN_LOOP:
        raise ValueError("a loop's out point must come after its in point: play a little further")
    return _repeating(deck, frame, deck.loop_in, out)


def beat_loop(deck: DeckState, frame: int, beats: float) -> DeckState:
    """Repeat so many beats, 1/32 to 32, from here; the same again leaves it.

    With quantize the loop begins at the beat (of a loop shorter than that: at the part of a beat) that has begun.
    Without a grid a beat is half a second. Raises `ValueError` beyond that.
    """
    length = _length(deck, beats)
    if deck.song is None:
        return deck
    if deck.looping and not deck.rolling and deck.loop_in is not None and deck.loop_out is not None:
        if abs(deck.loop_out - deck.loop_in - length) < 1.0:
            return loop_exit(deck, frame)
        return _repeating(deck, frame, deck.loop_in, deck.loop_in + length)
    start = _begun(deck, frame, beats)
    return _repeating(deck, frame, start, start + length)


def roll(deck: DeckState, frame: int, beats: float) -> DeckState:
    """Repeat so many beats while the song goes on silently; `loop_exit` ends it there. Raises `ValueError`."""
    length = _length(deck, beats)
    if deck.song is None or not deck.playing:
        return deck
    start = deck.loop_in if deck.rolling and deck.loop_in is not None else _begun(deck, frame, beats)
    going = deck.anchored(frame)
    shadow = going.position if going.shadow is None else going.shadow
    return attrs.evolve(_repeating(deck, frame, start, start + length), shadow=shadow, rolling=True)


def loop_exit(deck: DeckState, frame: int) -> DeckState:
    """Go on behind the loop; with slip, and after a roll, where the song would be without it."""
    if not deck.looping:
        return deck
    if deck.rolling or deck.slip:
        return slipped_back(deck, frame, looping=False, rolling=False)
    return _left(deck, frame)


def reloop(deck: DeckState, frame: int) -> DeckState:
    """Leave the loop, or repeat it again: from its start when it has been passed. Raises `ValueError` without one."""
    if deck.looping:
        return loop_exit(deck, frame)
    start, end = deck.loop_in, deck.loop_out
    if start is None or end is None:
        raise ValueError("there is no loop to come back to: set its in and out points")
    if deck.heard_at(max(frame, deck.frame)) >= end:
        deck = deck.anchored(frame, position=start)
    return _repeating(deck, frame, start, end)


def loop_halve(deck: DeckState, frame: int) -> DeckState:
    """Half as long, from the same start. Raises `ValueError` without a loop, and when it cannot be shorter."""
    return _resized(deck, frame, 0.5)


def loop_double(deck: DeckState, frame: int) -> DeckState:
    """Twice as long, from the same start. Raises `ValueError` without a loop, and when it cannot be longer."""
    return _resized(deck, frame, 2.0)


def _resized(deck: DeckState, frame: int, factor: float) -> DeckState:
    if deck.loop_in is None or deck.loop_out is None:
        raise ValueError("there is no loop: set its in and out points")
    length = number("a loop's length", (deck.loop_out - deck.loop_in) * factor, MIN_LOOP, _LONGEST)
    if not deck.looping:
        return attrs.evolve(deck, loop_out=deck.loop_in + length)
    return _repeating(deck, frame, deck.loop_in, deck.loop_in + length)


def _repeating(deck: DeckState, frame: int, start: float, end: float) -> DeckState:
    """The loop on; a head at its end or beyond is taken into it, as far from its start as it would have come."""
    moved = deck.anchored(frame)
    place = moved.position if moved.position < end else start + (moved.position - start) % (end - start)
    return attrs.evolve(moved, position=place, loop_in=start, loop_out=end, looping=True)


def _left(deck: DeckState, frame: int) -> DeckState:
    return deck.anchored(frame, looping=False, rolling=False) if deck.looping else deck


def _length(deck: DeckState, beats: float) -> float:
    beats = number("a loop's beats", beats, MIN_BEATS, MAX_BEATS)
    return max(MIN_LOOP, beats * (_GRIDLESS_BEAT if deck.grid is None else deck.grid.beat))


def _begun(deck: DeckState, frame: int, beats: float) -> float:
    here = deck.heard_at(max(frame, deck.frame))
    if not deck.quantize or deck.grid is None:
        return here
    part = min(1.0, beats)
    start = deck.grid.position_of(math.floor(deck.grid.beat_at(here) / part + 1e-6) * part)
    return start if start >= 0 else here
