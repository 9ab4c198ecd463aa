"""A recording as the reading head sees it: endless where it loops, silent where there is nothing, without a seam.

A tape is addressed by the *unbroken* position of a head that never jumps: turn after turn of a loop lies one behind the
other. Where one turn follows another, the sound that goes on behind the loop's end gives way to its start over
:attr:`Region.seam` source frames. So the sound is a continuous function of the position: a head may be rocked to and
fro across a seam, it may be read in blocks of any size, and it needs no memory.
"""

from __future__ import annotations

import math
from typing import cast

import attrs
import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.eight_point import read_at
from wsactors.dsp.interpolation import Block, Source, plain_span

Places = NDArray[np.float64]
SEAM = 240.0
"""Source frames in which a loop's end gives way to its start: 5 ms."""


@attrs.frozen
class Region:
    """A stretch that repeats: where, and whether its end and its start send the head back."""

    start: float
    end: float
    above: bool = True
    """Whether a position at or past the end is folded back."""
    below: bool = True
    """Whether a position before the start is folded back; if not, it plays into the loop."""
    seam: float = SEAM
    """0 for a recording that was made to repeat."""

    @property
    def length(self) -> float:
        """Source frames from the start to the end."""
        return self.end - self.start


class Tape:
    """A recording, perhaps with a loop. Both are kept, not copied."""

    __slots__ = ("region", "source")

    def __init__(self, source: Source, region: Region | None = None) -> None:
        self.source = source
        self.region = region

    def at(self, positions: Places) -> Block:
        """The sound at each of the (monotonous, or nearly) positions, shape (len(positions), channels)."""
        region = self.region
        if region is None or not self._folds(region, positions[0], positions[-1], positions):
            return read_at(self.source, positions)
        turn = self._turns(region, positions)
        places = positions - turn * region.length
        out = read_at(self.source, places)
        if region.seam:
            self._join(region, turn, places, out)
        return out

    def span(self, first: int, frames: int) -> Block:
        """The sound at `frames` whole positions from `first` on; inside a loop each is taken to the nearest frame."""
        begin = self._in_one_piece(first, frames)
        if begin is not None:
            return plain_span(self.source, begin, begin + frames)
        region = cast("Region", self.region)
        positions = np.arange(first, first + frames, dtype=np.float64)
        turn = self._turns(region, positions)
        places = positions - turn * region.length
        out = read_at(self.source, np.rint(places))
        if region.seam:
            self._join(region, turn, places, out)
        return out

    def mono(self, first: int, frames: int) -> NDArray[np.float32]:
        """The channels of `span` added up, in no particular unit: for comparing one place with another."""
        begin = self._in_one_piece(first, frames)
        if begin is not None and 0 <= begin <= len(self.source) - frames:
            piece = self.source[begin : begin + frames]
            return np.add(piece[:, 0], piece[:, -1], dtype=np.float32)
        mixed: NDArray[np.float32] = self.span(first, frames).sum(axis=1)
        mixed *= np.float32(32768) if self.source.dtype == np.int16 else np.float32(1)
        return mixed

    def _in_one_piece(self, first: int, frames: int) -> int | None:
        """The source frame where `frames` positions from `first` on lie in one piece; None where a turn ends in them."""
        region = self.region
        last = first + frames - 1
        if region is None or not self._folds(region, first, last, None):
            return first
        turn, until = self._turns(region, np.array([first, last], np.float64))
        begin = round(first - turn * region.length)
        seam = min(region.seam, region.length / 2)
        clear = (turn <= 0 or begin - region.start > seam + 1) and (
            turn >= 0 or region.end - (begin + frames) > seam + 1
        )
        return begin if turn == until and clear else None

    def _folds(self, region: Region, first: float, last: float, positions: Places | None) -> bool:
        low, high = (first, last) if first <= last else (last, first)
        if positions is not None and not region.start + 64 <= low <= high <= region.end - 64:
            low, high = float(positions.min()), float(positions.max())
        return (region.above and high >= region.end) or (region.below and low < region.start)

    def _turns(self, region: Region, positions: Places) -> Places:
        turn = np.floor((positions - region.start) / region.length)
        if not region.above:
            np.minimum(turn, 0.0, out=turn)
        if not region.below:
            np.maximum(turn, 0.0, out=turn)
        return turn

    def _join(self, region: Region, turn: Places, places: Places, out: Block) -> None:
        """Let the other side of the seam be heard where a turn begins (going on) or ends (going back)."""
        seam = min(region.seam, region.length / 2)
        after = (turn > 0) & (places - region.start < seam)
        before = (turn < 0) & (region.end - places < seam)
        for where, sign in ((after, 1.0), (before, -1.0)):
            if not where.any():
                continue
            near = places[where]
            away = near - region.start if sign > 0 else region.end - near
            share = (0.5 - 0.5 * np.cos(math.pi * away / seam)).astype(np.float32)[:, None]
            other = read_at(self.source, near + sign * region.length)
            out[where] = out[where] * share + other * (1 - share)
