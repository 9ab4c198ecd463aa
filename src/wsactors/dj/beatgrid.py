"""Where a song's beats are: one tempo, one downbeat, and arithmetic.

Positions are source frames of 48 kHz, as floats; a beat is counted from the grid's downbeat and may be negative or
broken. Every correction by hand (twice the tempo, half a beat later, tapped along) gives a new grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Self, cast

import attrs

from wsactors.dj.timeline import SAMPLE_RATE

MIN_BPM = 20.0
MAX_BPM = 999.0
MAX_BAR = 32
"""Most beats in a bar."""
MAX_TAPS = 256
"""Most taps that are listened to; of more, the last ones count."""
_MAX_FIRST = float(1 << 40)


def _check_first(_instance: object, _attribute: object, value: Any) -> None:
    if type(value) is not float or not -_MAX_FIRST <= value <= _MAX_FIRST:
        raise ValueError(f"a grid's downbeat must be a source frame, got {value!r}")


def _check_beat(_instance: object, _attribute: object, value: Any) -> None:
    if type(value) is not float or not 60.0 * SAMPLE_RATE / MAX_BPM <= value <= 60.0 * SAMPLE_RATE / MIN_BPM:
        raise ValueError(
            f"a grid's tempo must be {MIN_BPM:g} to {MAX_BPM:g} beats per minute; its beat is {value!r} frames"
        )


def _check_bar(_instance: object, _attribute: object, value: Any) -> None:
    if type(value) is not int or not 1 <= value <= MAX_BAR:
        raise ValueError(f"a bar has 1 to {MAX_BAR} beats, got {value!r}")


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int else value


@attrs.frozen
class Beatgrid:
    """A song's beats. Raises `ValueError` beyond 20 to 999 beats per minute."""

    first: float = attrs.field(converter=_as_float, validator=_check_first)
    """The source frame of a downbeat, from which bars and phrases are counted."""
    beat: float = attrs.field(converter=_as_float, validator=_check_beat)
    """Source frames from one beat to the next."""
    bar: int = attrs.field(default=4, validator=_check_bar)
    """Beats in a bar."""

    @classmethod
    def of(cls, bpm: float, first: float = 0.0, bar: int = 4, rate: int = SAMPLE_RATE) -> Self:
        """The grid of a tempo, for a recording of `rate` frames a second."""
        if not MIN_BPM <= bpm <= MAX_BPM:
            raise ValueError(f"a tempo is {MIN_BPM:g} to {MAX_BPM:g} beats per minute, got {bpm!r}")
        return cls(first, 60.0 * rate / bpm, bar)

    def bpm(self, rate: int = SAMPLE_RATE) -> float:
        """Beats per minute when `rate` source frames are played a second."""
        return 60.0 * rate / self.beat

    def beat_at(self, position: float) -> float:
        """Beats from the downbeat to a source frame."""
        return (position - self.first) / self.beat

    def position_of(self, beat: float) -> float:
        """The source frame of a beat: the inverse of `beat_at`."""
        return self.first + beat * self.beat

    def nearest(self, position: float, fraction: float = 1.0) -> float:
        """The source frame nearest to `position` that is a whole number of `fraction` beats from the downbeat.

        Half-way between two it is the later one. Raises `ValueError` unless `fraction` is more than 0.
        """
        if not fraction > 0:
            raise ValueError(f"a fraction of a beat must be more than 0, got {fraction!r}")
        return self.position_of(math.floor(self.beat_at(position) / fraction + 0.5) * fraction)

    def doubled(self) -> Self:
        """Twice the tempo. Raises `ValueError`, like the next three, when that leaves 20 to 999 beats per minute."""
        return attrs.evolve(self, beat=self.beat / 2)

    def halved(self) -> Self:
        """Half the tempo."""
        return attrs.evolve(self, beat=self.beat * 2)

    def three_halves(self) -> Self:
        """Three beats where there were two."""
        return attrs.evolve(self, beat=self.beat * 2 / 3)

    def two_thirds(self) -> Self:
        """Two beats where there were three."""
        return attrs.evolve(self, beat=self.beat * 3 / 2)

    def shifted(self, beats: float) -> Self:
        """Everything later by `beats`: 0.5 when the grid sits on the off-beat."""
        return attrs.evolve(self, first=self.position_of(beats))

    def with_downbeat(self, position: float) -> Self:
        """The same beats, counted from the one nearest to `position`."""
        return attrs.evolve(self, first=self.nearest(position))

    def tapped(self, times: Sequence[float]) -> Self:
        """The grid that somebody tapped: `times` are source frames, each on a beat, some beats perhaps left out.

        The straight line with the least squared error through them; the downbeat stays as near as it can to where it
        was. Raises `ValueError` for fewer than two taps, and for a tempo beyond 20 to 999.
        """
        taps = sorted(times)[-MAX_TAPS:]
        gaps = sorted(after - before for before, after in itertools.pairwise(taps) if after > before)
        if not gaps:
            raise ValueError("tap at least twice, on beats that follow each other")
        usual = gaps[len(gaps) // 2]
        beats = [0.0]
        for before, after in itertools.pairwise(taps):
            beats.append(beats[-1] + math.floor((after - before) / usual + 0.5))
        middle, centre = sum(beats) / len(beats), sum(taps) / len(taps)
        spread = sum((each - middle) ** 2 for each in beats)
        slope = sum((b - middle) * (t - centre) for b, t in zip(beats, taps, strict=True)) / spread
        tapped = attrs.evolve(self, first=centre - middle * slope, beat=slope)
        return tapped.with_downbeat(self.first)

    def to_wire(self) -> list[object]:
        """Plain values that `from_wire` turns back into an equal grid."""
        return [self.first, self.beat, self.bar]

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """The grid in a list made by `to_wire`. Raises `ValueError` for anything else, whatever it is."""
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError("a beatgrid is a list of downbeat, beat and bar")
        return cls(*cast("list[Any]", value))
