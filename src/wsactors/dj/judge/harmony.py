"""How well two songs' keys go together, as they sound at the speeds at which they are played."""

from __future__ import annotations

import math

import attrs

from wsactors.dj.analysis.values import Key

PARALLEL = 2
"""Steps that count between a major key and the minor key of the same tonic; on the wheel it would be four."""


@attrs.frozen
class Harmony:
    """How two keys fit."""

    below: int
    """Steps on the wheel of keys when the second is rounded down to a semitone: 0 is the same key, 1 its fifth or its
    relative, 7 the farthest."""
    above: int
    """The same, rounded up."""
    part: float
    """How far it is from the one to the other, 0 to 1."""
    sure: float
    """How sure it is that these are the keys: 0 to 1."""
    first: Key
    second: Key
    """As they sound, to the nearest semitone."""

    @property
    def steps(self) -> int:
        """Steps at the nearest semitone."""
        return self.below if self.part < 0.5 else self.above

    @property
    def detune(self) -> float:
        """Cents by which the two are out of tune, 0 to 50."""
        return 100.0 * min(self.part, 1.0 - self.part)


def harmony(first: Key, raised: float, second: Key, raised_second: float) -> Harmony:
    """How two keys fit that are played so many semitones higher than they were recorded."""
    between = raised_second - raised
    # Two speeds that should be equal may differ by a rounding error, which is no semitone.
    whole = math.floor(between + 1e-6)
    part = max(0.0, between - whole)
    base = round(raised)
    heard = _higher(first, base)
    below, above = _higher(second, base + whole), _higher(second, base + whole + 1)
    return Harmony(
        _steps(heard, below),
        _steps(heard, above),
        part,
        min(first.sure, second.sure),
        heard,
        below if part < 0.5 else above,
    )


def _steps(first: Key, second: Key) -> int:
    parallel = first.tonic == second.tonic and first.minor != second.minor
    return PARALLEL if parallel else first.distance(second)


def _higher(key: Key, semitones: int) -> Key:
    return attrs.evolve(key, tonic=(key.tonic + semitones) % 12)
