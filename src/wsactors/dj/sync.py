"""One deck follows another's beat. Pure.

Since a place is arithmetic from a truth, two decks at tempos that fit stay together without being held: there is
something to do only after somebody did something. `follow` is asked then, and now and then; it answers with the truth
that it got when all is well, else with one at the leader's tempo and with a push that takes away the rest of the error,
with at most 5 per cent more or less speed. A hand on the platter is never fought, and neither is a loop: the beat of a
loop is counted along its unbroken motion, so that a loop of a third of a beat does not take the other deck along.
"""

from __future__ import annotations

import math

import attrs

from wsactors.dj.deck import DeckState
from wsactors.dj.deck_motion import GLIDE, push
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.dsp.bounds import MAX_RATE

MAX_CORRECTION = 0.05
"""Most by which a push changes the speed: audible as an effort, not as another song."""
DEADBAND = SAMPLE_RATE / 20_000
"""Timeline frames of error that nobody hears, and that are left: 0.05 ms."""
SOFTEST_PUSH = SAMPLE_RATE // 5
"""Frames in which a small error is taken away; a larger one takes longer."""
MULTIPLES = (1.0, 2.0, 0.5)
"""Beats of the follower to one of the leader."""


def tempo(deck: DeckState) -> float | None:
    """Beats per timeline frame at the deck's fader; None when it has no song with a grid."""
    return None if deck.song is None or deck.grid is None else abs(deck.rate) / deck.grid.beat


def multiple(leader: DeckState, follower: DeckState) -> float | None:
    """How many beats of the follower go to one of the leader: 1, 2 or 0.5, with which it has to change its speed least.

    None when one of them has no grid, or no speed of the follower would do.
    """
    led, grid = tempo(leader), follower.grid
    if not led or follower.song is None or grid is None:
        return None
    best = min(MULTIPLES, key=lambda times: abs(math.log(led * times * grid.beat)))
    return best if led * best * grid.beat <= MAX_RATE else None


def beat_error(leader: DeckState, follower: DeckState, frame: int) -> float | None:
    """Timeline frames by which the follower's beat comes too late (positive) at a frame, nearest beat to nearest beat."""
    times = multiple(leader, follower)
    if times is None or leader.grid is None or follower.grid is None:
        return None
    led = leader.grid.beat_at(leader.position_at(frame)) * times
    error = led - follower.grid.beat_at(follower.position_at(frame))
    # At half the leader's beats, each of its beats may be the one; at twice, every second of the follower's is.
    every = min(1.0, times)
    beats = error - math.floor(error / every + 0.5) * every
    pace = tempo(leader)
    return beats / (pace * times) if pace else None


def follow(leader: DeckState, follower: DeckState, frame: int) -> DeckState:
    """The follower from timeline frame `frame` on: at the leader's tempo, and on the way to its beat.

    The very same truth when there is nothing to do: no grid, a hand on the platter, backwards, or all is well. A paused
    follower gets the tempo, and its place once it plays.
    """
    frame = max(frame, follower.frame)
    times, led, grid = multiple(leader, follower), tempo(leader), follower.grid
    if times is None or led is None or grid is None or follower.reverse:
        return follower
    rate = math.copysign(led * times * grid.beat, follower.rate)
    matched = follower if follower.rate == rate else follower.with_rate(frame, rate)
    if not (_runs(leader) and _runs(matched)):
        return matched
    settled = max(leader.legs_end, matched.legs_end, frame)
    error = beat_error(leader, matched, settled)
    if error is None or abs(error) <= DEADBAND:
        return matched
    return _pushed(matched, frame, settled, error)


def _runs(deck: DeckState) -> bool:
    return deck.playing and deck.touch is None and deck.bend == 0.0 and not deck.reverse


def _pushed(deck: DeckState, frame: int, settled: int, error: float) -> DeckState:
    """A push that takes `error` away, together with what the legs under way would have done."""
    going = deck.anchored(frame)
    rest = sum(leg.travelled(float(leg.frames)) for leg in going.legs)
    if abs(going.speed_at(frame) - going.cruise) > MAX_CORRECTION or (going.legs and settled > going.legs_end):
        return deck  # it spins up, or the leader does: the rest is for later
    distance = error * abs(deck.rate) + rest
    most = MAX_CORRECTION * abs(deck.rate)
    frames = max(SOFTEST_PUSH, math.ceil(abs(distance) / most) + GLIDE)
    return attrs.evolve(going, legs=push(distance, frames))
