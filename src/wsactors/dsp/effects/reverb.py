"""A reverb: a hall of eight delays that feed each other.

A feedback delay network (J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators", AES
1991). Where the delays meet, nothing is lost: two Householder reflections of four delays each, whose outputs change sides.
So how long the hall rings is said by one gain per delay, and how bright by a filter of three points in each. What comes
in is reflected once on its way to each delay, so that drums do not rattle.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.effects import Setting
from wsactors.dsp.effects.tail import Tail, joined
from wsactors.dsp.glide import Glide
from wsactors.dsp.interpolation import Block

SAMPLE_RATE = 48_000
SHORTEST = 0.3
"""Seconds in which the hall falls by 60 dB, with the knob at 0."""
LONGEST = 6.0
"""The same with the knob at 1."""
_DELAYS = (1_123, 1_307, 1_489, 1_663, 1_871, 2_089, 2_311, 2_591)
_STEP = _DELAYS[0] - 1
_SIZE = 4_096
_REFLECTIONS = ((0, 701), (13, 829), (151, 457), (73, 743), (199, 941), (37, 359), (97, 1_009), (223, 433))
_EARLY = 1_024
_LEVEL = 0.4
_DARK = 0.25
"""The share of a frame's neighbours in it, each time around, with the tone at 0: 6 kHz falls by 1.4 dB more than 0 Hz."""
_EACH = np.array(_DELAYS, np.float64)[:, None] * (-3.0 / SAMPLE_RATE)
_CROSSED = np.array([0, 5, 2, 7, 4, 1, 6, 3])

Lines = NDArray[np.float64]
"""What the eight delays carry, shape (8, frames)."""


class Reverb:
    """`time` is how long the hall rings, `tone` how bright that is. Switched off, it rings out."""

    __slots__ = ("_at", "_past", "_ring", "_tail", "_time", "_tone", "_wet")

    def __init__(self) -> None:
        self._tail = Tail()
        self._wet, self._time, self._tone = Glide(0.0), Glide(0.0), Glide(0.0)
        self._ring: Lines | None = None
        self._start()

    def _start(self) -> None:
        self._at = 0
        self._past: Lines = np.zeros((2, _EARLY))

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away."""
        return self._tail.asleep

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames."""
        if self.asleep:
            self._ring = None
            if not setting.on:
                return block
        if self._ring is None:
            self._ring = np.zeros((len(_DELAYS), _SIZE))
            self._start()
            self._wet, self._time, self._tone = Glide(setting.wet), Glide(setting.time), Glide(setting.tone)
        for glide, value in ((self._wet, setting.wet), (self._time, setting.time), (self._tone, setting.tone)):
            glide.aim(value)
        pieces, at = [], 0
        rings = math.ceil(_seconds(setting.time) * SAMPLE_RATE * 4 / 3)
        while at < len(block):
            self._tail.aim(setting.on, rings)
            end = at + self._tail.until_change(min(_STEP, len(block) - at))
            pieces.append(self._ringing(self._ring, block[at:end]))
            self._tail.passed(end - at)
            at = end
        return joined(pieces)

    def _ringing(self, ring: Lines, piece: Block) -> Block:
        frames = len(piece)
        around = self._read(ring, frames)
        lines = around[:, 1:-1]
        dull = around[:, :-2] + around[:, 2:]
        dull -= 2.0 * lines
        dull *= (_DARK - _DARK * self._tone.factor(frames))[:, 0]
        dull += lines
        dull *= self._kept(frames)
        heard = np.concatenate((self._past, piece.T * self._tail.send.factor(frames).T), axis=1)
        self._past = heard[:, -_EARLY:]
        fed = _reflections(heard, frames)
        fed += _mixed(dull)
        self._write(ring, fed)
        amount = self._wet.factor(frames) * self._tail.back.factor(frames) * _LEVEL
        out: Block = (piece + _sides(lines).T * amount).astype(np.float32)
        return out

    def _kept(self, frames: int) -> Lines:
        """What each delay keeps of a turn."""
        seconds = SHORTEST * np.exp2(self._time.factor(frames)[:, 0] * math.log2(LONGEST / SHORTEST))
        return np.exp2(_EACH * (math.log2(10.0) / seconds))

    def _read(self, ring: Lines, frames: int) -> Lines:
        """What comes out of the delays, with a frame before and a frame after."""
        width = frames + 2
        out = np.empty((len(_DELAYS), width))
        for row, delay in enumerate(_DELAYS):
            begin = (self._at - delay - 1) % _SIZE
            first = _SIZE - begin
            if first >= width:
                out[row] = ring[row, begin : begin + width]
            else:
                out[row, :first] = ring[row, begin:]
                out[row, first:] = ring[row, : width - first]
        return out

    def _write(self, ring: Lines, lines: Lines) -> None:
        first = min(lines.shape[1], _SIZE - self._at)
        ring[:, self._at : self._at + first] = lines[:, :first]
        ring[:, : lines.shape[1] - first] = lines[:, first:]
        self._at = (self._at + lines.shape[1]) % _SIZE


def _seconds(knob: float) -> float:
    return float(SHORTEST * (LONGEST / SHORTEST) ** knob)


def _mixed(lines: Lines) -> Lines:
    """Each four delays give each other half of their sum and take themselves away, and half of them change sides.

    Added one by one, in an order that does not depend on the number of frames.
    """
    fours = lines.reshape(2, 4, -1)
    halves = fours[:, 0] + fours[:, 1]
    halves += fours[:, 2]
    halves += fours[:, 3]
    halves *= 0.5
    mixed: Lines = (halves[:, None] - fours).reshape(lines.shape)[_CROSSED]
    return mixed


def _reflections(heard: Lines, frames: int) -> Lines:
    """What each delay is fed with: two early reflections, of the left side for even ones, of the right for odd ones."""
    out = np.empty((len(_DELAYS), frames))
    for row, (first, second) in enumerate(_REFLECTIONS):
        side = heard[row % 2]
        np.subtract(side[_EARLY - first :][:frames], side[_EARLY - second :][:frames], out=out[row])
    return out


def _sides(lines: Lines) -> Lines:
    """Even delays to the left, odd ones to the right."""
    half = lines[:4] - lines[4:]
    return half[:2] + half[2:]
