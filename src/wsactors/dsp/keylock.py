"""Another tempo in the same key: WSOLA (W. Verhelst and M. Roelands, ICASSP 1993), with random access.

Grains of 2,048 source frames, played at the recorded speed, overlap by half. A grain is put where the head would be, give
or take `SEARCH` frames: there where it goes on best from the grain before. What is nearer to the head is preferred, and
drums are where the truth says they are: on average within 0.1 ms, each within 0.6 (at speeds of 0.94 and 1.06).

Grains begin at multiples of `HOP` on the timeline, and the first of every `EPOCH` is put exactly where the head is, like
it or not. So what is heard in an epoch depends on the motion in that epoch alone: a head that is made in the middle of
one finds the grains since it began again and goes on with them. The price is that every 11 s two grains may not fit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.interpolation import Block
from wsactors.dsp.tape import Tape

GRAIN = 2048
HOP = GRAIN // 2
"""Frames from one grain to the next: a change of speed is heard at most this much later."""
EPOCH = 512 * HOP
"""Frames after which the grains start afresh: 10.9 s."""
SEARCH = 512
"""Source frames by which a grain may miss the head: enough for a whole period of the lowest bass, 47 Hz."""
# A drum sounds where the first grain that has it puts it, since the next one is made to fit: on average at three quarters
# of its length. There a grain has to be right for drums to be on time (measured: else late by 0.6 ms at a speed of 1.06).
_ANCHOR = GRAIN * 3 // 4
_COARSE = 4
_FINE = 6
_REACH = SEARCH + _FINE + 2
_PULL = 0.1
_WINDOW = np.hanning(GRAIN + 1)[:GRAIN].astype(np.float32)[:, None]

Motion = Callable[[int], float]
"""The source position of the head at a timeline frame."""


class KeyLock:
    """Plays a tape at the speed of a motion, but in its own key.

    `frame` is the first that is wanted, `since` the first for which `motion` tells the truth: the grains from there on,
    or from the epoch's beginning, are found again.
    """

    __slots__ = ("_next", "_place", "_ready", "_tail")

    def __init__(self, tape: Tape, motion: Motion, frame: int, since: int) -> None:
        first = frame // HOP * HOP
        epoch = frame // EPOCH * EPOCH
        self._next = epoch if since <= epoch < first else first - HOP
        self._place: int | None = None
        place = self._choose(tape, motion)
        while self._next < first:
            place = self._choose(tape, motion)
        self._tail: Block = (tape.span(place, GRAIN) * _WINDOW)[HOP:]
        self._ready = self._step(tape, motion)[frame - first :]

    def moved(self, distance: float) -> None:
        """The motion is told from another turn of a loop from now on: its positions are `distance` less than before."""
        if self._place is not None:
            self._place -= round(distance)

    def render(self, tape: Tape, motion: Motion, frames: int) -> Block:
        """The next frames, float32 of shape (frames, channels)."""
        while len(self._ready) < frames:
            self._ready = np.concatenate((self._ready, self._step(tape, motion)))
        out, self._ready = self._ready[:frames].copy(), self._ready[frames:]
        return out

    def _step(self, tape: Tape, motion: Motion) -> Block:
        """One hop of sound: the second half of one grain and the first of the next."""
        grain = tape.span(self._choose(tape, motion), GRAIN) * _WINDOW
        out: Block = self._tail + grain[:HOP]
        self._tail = grain[HOP:]
        return out

    def _choose(self, tape: Tape, motion: Motion) -> int:
        """Find the place of the next grain."""
        head = round(motion(self._next + _ANCHOR)) - _ANCHOR
        if self._place is not None and self._next % EPOCH:
            head += _best(tape.mono(self._place + HOP, HOP), tape.mono(head - _REACH, HOP + 2 * _REACH))
        self._place = head
        self._next += HOP
        return head


def _best(wanted: NDArray[np.float32], around: NDArray[np.float32]) -> int:
    """By how many frames from the head `around` goes on best like `wanted`: roughly first, then to the frame."""
    rough = _likeness(_coarse(wanted), _coarse(around))
    lags = np.arange(len(rough), dtype=np.float32) * _COARSE - _REACH
    lag = int(lags[int(np.argmax(rough - _PULL * (lags / SEARCH) ** 2))])
    low = max(-_REACH, min(lag - _FINE, _REACH - 2 * _FINE))
    fine = _likeness(wanted, around[low + _REACH : low + _REACH + HOP + 2 * _FINE])
    lags = np.arange(low, low + len(fine), dtype=np.float32)
    return low + int(np.argmax(fine - _PULL * (lags / SEARCH) ** 2))


def _coarse(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    averaged: NDArray[np.float32] = mono[: len(mono) // _COARSE * _COARSE].reshape(-1, _COARSE).mean(axis=1)
    return averaged


def _likeness(wanted: NDArray[np.float32], around: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalised correlation at every lag, at most 1."""
    size = len(wanted)
    total = np.cumsum(np.square(around), dtype=np.float64)
    energy = total[size - 1 :].copy()
    energy[1:] -= total[:-size]
    # What is left of a sum when silence follows sound may be less than nothing.
    np.maximum(energy, 0.0, out=energy)
    scale = np.sqrt(energy * float(np.dot(wanted, wanted)) + 1e-9)
    alike: NDArray[np.float32] = (np.correlate(around, wanted, "valid") / scale).astype(np.float32)
    return alike
