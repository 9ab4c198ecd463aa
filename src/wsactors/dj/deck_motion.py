"""What moves a deck's platter besides play and pause: pitch, jog, scratch, brake, reverse, slip, jumps by beats. Pure."""

from __future__ import annotations

import attrs

from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import DeckState, Leg, number
from wsactors.dj.deck_cues import slipped_back
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.dsp.bounds import MAX_RATE

GLIDE = 480
"""Frames in which the platter follows the hand: 10 ms, longer than from one message of a jog wheel to the next."""
RELEASE = 960
"""Frames in which it is back at its own speed when the hand lets go."""
MAX_SECONDS = 30.0
"""Longest brake or spin-up."""
MAX_PUSH = 0.5
"""Most speed that a nudge adds."""


def with_pitch(deck: DeckState, frame: int, fader: float) -> DeckState:
    """The pitch fader at −1 (slowest) to 1 (fastest) of the deck's range. Raises `ValueError` beyond."""
    return deck.with_rate(frame, 1.0 + number("the pitch fader", fader, -1.0, 1.0) * deck.pitch_range)


def with_pitch_range(deck: DeckState, reach: float) -> DeckState:
    """How far the pitch fader reaches: 0.08, 0.16 or 0.5. The speed stays until it is moved. Raises `ValueError`."""
    return attrs.evolve(deck, pitch_range=reach)


def with_keylock(deck: DeckState, frame: int, on: bool) -> DeckState:
    """Keep the key whatever the speed, or not."""
    return deck.anchored(frame, keylock=on) if on != deck.keylock else deck


def with_quantize(deck: DeckState, on: bool) -> DeckState:
    """Set points on beats and keep the beat when jumping, or not."""
    return attrs.evolve(deck, quantize=on)


def with_sync(deck: DeckState, on: bool) -> DeckState:
    """Follow the other deck (see `wsactors.dj.sync`), or not."""
    return attrs.evolve(deck, synced=on)


def with_grid(deck: DeckState, grid: Beatgrid | None) -> DeckState:
    """Another beatgrid. Points and loops stay where they are."""
    return attrs.evolve(deck, grid=grid)


def brake(deck: DeckState, frame: int, seconds: float = 1.0) -> DeckState:
    """Stop as a platter does when the motor is cut, in so many seconds. Raises `ValueError` beyond 0 to 30."""
    length = _frames(seconds)
    if not deck.playing:
        return deck
    stopped = deck.anchored(frame, playing=False, preview=None, bend=0.0)
    return attrs.evolve(stopped, legs=_glide(length, deck.speed_at(stopped.frame) - stopped.cruise))


def spin_up(deck: DeckState, frame: int, seconds: float = 0.5) -> DeckState:
    """Start as a platter does when the motor is switched on, in so many seconds. Raises `ValueError` beyond 0 to 30."""
    length = _frames(seconds)
    if deck.playing or deck.song is None:
        return deck
    started = deck.play(frame)
    return attrs.evolve(started, legs=_glide(length, deck.speed_at(started.frame) - started.cruise))


def reverse(deck: DeckState, frame: int, on: bool) -> DeckState:
    """Play backwards, or forwards again: with slip from where the song would be."""
    if on == deck.reverse:
        return deck
    if not on and deck.slip:
        return slipped_back(deck, frame, reverse=False)
    return deck.anchored(frame, reverse=on)


def slip(deck: DeckState, frame: int, on: bool) -> DeckState:
    """Let the song go on silently behind what is done to the deck, or come back to it."""
    if on == deck.slip:
        return deck
    if on:
        going = deck.anchored(frame)
        return attrs.evolve(going, slip=True, shadow=going.position if deck.playing else going.shadow)
    if deck.shadow is None or not deck.playing:
        return deck.anchored(frame, slip=False, shadow=None)
    return slipped_back(deck, frame, slip=False, shadow=None, looping=False, rolling=False, reverse=False)


def scratch(deck: DeckState, frame: int, speed: float) -> DeckState:
    """A hand moves the platter at `speed` (source frames per frame, ±4); 0 holds it. Raises `ValueError` beyond."""
    speed = number("a platter's speed", speed, -MAX_RATE, MAX_RATE)
    if deck.song is None:
        return deck
    held = deck.anchored(frame, touch=speed)
    return attrs.evolve(held, legs=_glide(GLIDE, deck.speed_at(held.frame) - speed))


def release(deck: DeckState, frame: int) -> DeckState:
    """The hand lets go: the deck goes on as before; with slip, where it would be by now."""
    if deck.touch is None:
        return deck
    if deck.slip and deck.playing and deck.shadow is not None:
        return slipped_back(deck, frame, touch=None)
    free = deck.anchored(frame, touch=None)
    return attrs.evolve(free, legs=_glide(RELEASE, deck.speed_at(free.frame) - free.cruise))


def bend(deck: DeckState, frame: int, amount: float) -> DeckState:
    """The platter's rim is pushed: so much speed more (or less), −1 to 1, until it is 0 again. Raises `ValueError`."""
    amount = number("a bend", amount, -1.0, 1.0)
    if not deck.playing or deck.touch is not None:
        return deck if amount or not deck.bend else deck.anchored(frame, bend=0.0)
    pushed = deck.anchored(frame, bend=amount)
    return attrs.evolve(pushed, legs=_glide(GLIDE, deck.speed_at(pushed.frame) - pushed.cruise))


def nudge(deck: DeckState, frame: int, distance: float, seconds: float = 0.2) -> DeckState:
    """Get ahead (or back) by `distance` source frames within `seconds`, without a jump; a paused deck is just moved.

    Replaces a nudge under way. Raises `ValueError` when that takes more than half of the recorded speed.
    """
    length = max(4, _frames(seconds))
    if deck.song is None or deck.touch is not None:
        return deck
    if not deck.playing:
        going = deck.anchored(frame)
        return attrs.evolve(going, position=going.position + distance, legs=())
    return attrs.evolve(deck.anchored(frame), legs=push(distance, length))


def push(distance: float, frames: int) -> tuple[Leg, ...]:
    """Legs that gain `distance` source frames in `frames` frames: faster, a while, and back. Raises `ValueError`."""
    edge = min(GLIDE, frames // 4)
    extra = number("a nudge's speed", distance / (frames - edge), -MAX_PUSH, MAX_PUSH)
    return Leg(edge, 0.0, extra), Leg(frames - 2 * edge, extra, extra), Leg(edge, extra, 0.0)


def beat_jump(deck: DeckState, frame: int, beats: float) -> DeckState:
    """Jump by so many beats, ±512; a loop that the head is in goes with it. Raises `ValueError` without a beatgrid."""
    beats = number("a jump's beats", beats, -512.0, 512.0)
    if deck.grid is None:
        raise ValueError("the song has no beatgrid: analyse it, or tap one")
    going = deck.anchored(frame)
    distance = beats * deck.grid.beat
    region = deck.region if deck.looping else None
    if region is not None and region[0] <= going.position < region[1]:
        distance = max(distance, -region[0])
        return attrs.evolve(
            going, position=going.position + distance, loop_in=region[0] + distance, loop_out=region[1] + distance
        )
    place = going.position + distance
    if deck.loop and deck.frames:
        place %= deck.frames
    return attrs.evolve(going, position=min(max(place, 0.0), float(deck.frames)))


def _glide(frames: int, excess: float) -> tuple[Leg, ...]:
    return (Leg(frames, excess, 0.0),) if excess else ()


def _frames(seconds: float) -> int:
    return max(1, round(number("seconds", seconds, 0.0, MAX_SECONDS) * SAMPLE_RATE))
