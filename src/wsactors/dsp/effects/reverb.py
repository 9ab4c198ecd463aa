"""A reverb: a hall of eight delays that feed each other.

A feedback delay network (J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators", AES
1991) with a Hadamard matrix: nothing is lost where the delays meet, so how long the hall rings is said by one gain per
delay. Each delay is fed by three reflections of its own, so that drums do not rattle.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.effects import Setting
from wsactors.dsp.effects.tail import Tail, joined
from wsactors.dsp.glide import Glide
from wsactors.dsp.interpolation import Block
from wsactors.dsp.recursion import recurse

SAMPLE_RATE = 48_000
SHORTEST = 0.3
"""Seconds in which the hall falls by 60 dB, with the knob at 0."""
LONGEST = 6.0
"""The same with the knob at 1."""
_DELAYS = (1_123, 1_307, 1_489, 1_663, 1_871, 2_089, 2_311, 2_591)
_STEP = _DELAYS[0]
_SIZE = 4_096
_REFLECTIONS = (
    (0, 331, 701), (13, 409, 829), (151, 457, 887), (73, 277, 743),
    (199, 521, 941), (37, 359, 787), (97, 569, 1_009), (223, 433, 853),
)  # fmt: skip
_EARLY = 1_024
_LEVEL = 0.4
_DARK = 0.55
_EACH = np.array(_DELAYS, np.float64)[:, None] * (-3.0 / SAMPLE_RATE)

Lines = NDArray[np.float64]
"""What the eight delays carry, shape (8, frames)."""


class Reverb:
    """`time` is how long the hall rings, `tone` how bright that is. Switched off, it rings out."""

    __slots__ = ("_at", "_dull", "_memory", "_past", "_ring", "_tail", "_time", "_tone", "_wet")

    def __init__(self) -> None:
        self._tail = Tail()
        self._wet, self._time, self._tone = Glide(0.0), Glide(0.0), Glide(0.0)
        self._ring: Lines | None = None
        self._start()

    def _start(self) -> None:
        self._at = 0
        self._memory = np.zeros((len(_DELAYS), 1))
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
        lines = self._read(ring, frames)
        dull: Lines
        dull, self._memory = recurse([1 - _DARK], [1, -_DARK], lines, 1, self._memory)
        dull += (lines - dull) * self._tone.factor(frames)[:, 0]
        dull *= self._kept(frames)
        heard = np.concatenate((self._past, piece.T * self._tail.send.factor(frames).T), axis=1)
        self._past = heard[:, -_EARLY:]
        self._write(ring, _mixed(dull) + _reflections(heard, frames))
        amount = self._wet.factor(frames) * self._tail.back.factor(frames)
        out: Block = (piece + _sides(lines) * amount).astype(np.float32)
        return out

    def _kept(self, frames: int) -> Lines:
        """What each delay keeps of a turn."""
        seconds = SHORTEST * np.exp2(self._time.factor(frames)[:, 0] * math.log2(LONGEST / SHORTEST))
        return np.exp2(_EACH * (math.log2(10.0) / seconds))

    def _read(self, ring: Lines, frames: int) -> Lines:
        out = np.empty((len(_DELAYS), frames))
        for row, delay in enumerate(_DELAYS):
            begin = (self._at - delay) % _SIZE
            first = min(frames, _SIZE - begin)
            out[row, :first] = ring[row, begin : begin + first]
            out[row, first:] = ring[row, : frames - first]
        return out

    def _write(self, ring: Lines, lines: Lines) -> None:
        first = min(lines.shape[1], _SIZE - self._at)
        ring[:, self._at : self._at + first] = lines[:, :first]
        ring[:, : lines.shape[1] - first] = lines[:, first:]
        self._at = (self._at + lines.shape[1]) % _SIZE


def _seconds(knob: float) -> float:
    return float(SHORTEST * (LONGEST / SHORTEST) ** knob)


def _mixed(lines: Lines) -> Lines:
    """The Hadamard matrix, as butterflies: additions in an order that does not depend on the number of frames."""
    for half in (4, 2, 1):
        mixed = np.empty_like(lines)
        for row in range(0, len(lines), 2 * half):
            upper, lower = lines[row : row + half], lines[row + half : row + 2 * half]
            np.add(upper, lower, out=mixed[row : row + half])
            np.subtract(upper, lower, out=mixed[row + half : row + 2 * half])
        lines = mixed
    out: Lines = lines * math.sqrt(1 / 8)
    return out


def _reflections(heard: Lines, frames: int) -> Lines:
    """What each delay is fed with: three early reflections, of the left side for even ones, of the right for odd ones."""
    out = np.empty((len(_DELAYS), frames))
    for row, (first, second, third) in enumerate(_REFLECTIONS):
        side, feed = heard[row % 2], out[row]
        np.subtract(side[_EARLY - first :][:frames], side[_EARLY - second :][:frames], out=feed)
        feed += side[_EARLY - third :][:frames]
    return out


def _sides(lines: Lines) -> Lines:
    """Even delays to the left, odd ones to the right."""
    left = lines[0] - lines[2] + lines[4] - lines[6]
    right = lines[1] - lines[3] + lines[5] - lines[7]
    out: Lines = np.stack((left, right), axis=1)
    out *= _LEVEL
    return out
