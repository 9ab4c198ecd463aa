"""A histogram of durations that keeps three digits of each, whatever their size: Gil Tene's HdrHistogram.

Values are counted in buckets whose width doubles with each power of two, 1,024 to each, so a percentile is exact to 0.1 %
and recording costs one dictionary entry. Histograms add up: of processes, of seconds, of runs.

The layout (and so every bucket's number) is HdrHistogram's for three significant digits and a lowest value of one. PyPI's
``hdrhistogram`` is not used: it installs two packages of build tools along with itself, and recording takes it longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

__all__ = ["Histogram"]

_BITS: Final = 11
"""Bits of a value that are kept: 2,048 buckets of width one, then 1,024 for each further power of two."""
_HALF: Final = _BITS - 1
MAX_MICROSECONDS: Final = 3_600_000_000
"""One hour; what is longer counts as this."""


def bucket_of(microseconds: int) -> int:
    """The number of the bucket that a value of 0 to `MAX_MICROSECONDS` falls into."""
    shift = microseconds.bit_length() - _BITS
    return microseconds if shift <= 0 else (shift << _HALF) + (microseconds >> shift)


def lowest_of(bucket: int) -> int:
    """The smallest value of a bucket, in µs."""
    if bucket < 1 << _BITS:
        return bucket
    shift = (bucket >> _HALF) - 1
    return (bucket - (shift << _HALF)) << shift


def middle_of(bucket: int) -> float:
    """The value that stands for a bucket, in µs."""
    return (lowest_of(bucket) + lowest_of(bucket + 1) - 1) / 2


class Histogram:
    """Durations in seconds, from 1 µs to an hour; longer ones count as an hour, negative ones as nothing.

    >>> h = Histogram([0.001, 0.002, 0.1])
    >>> h.count, round(h.percentile(50), 4), round(h.highest, 3)
    (3, 0.002, 0.1)
    """

    __slots__ = ("counts",)

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.counts: dict[int, int] = {}
        """How many values each bucket holds, by the bucket's number."""
        for value in seconds:
            self.record(value)

    def __repr__(self) -> str:
        if not self.counts:
            return "<Histogram, empty>"
        return f"<Histogram of {self.count}: p50 {self.percentile(50):.6f} s, p99 {self.percentile(99):.6f} s>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def record(self, seconds: float) -> None:
        """Count one value."""
        value = min(max(0, int(seconds * 1e6)), MAX_MICROSECONDS)
        shift = value.bit_length() - _BITS  # bucket_of, in place: a call would cost as much as the rest
        bucket = value if shift <= 0 else (shift << _HALF) + (value >> shift)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1

    def add(self, other: Histogram) -> None:
        """Count everything that ``other`` counted."""
        counts = self.counts
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count

    def take(self) -> Histogram:
        """What was counted so far, as a histogram of its own; this one begins again."""
        taken = Histogram()
        taken.counts, self.counts = self.counts, {}
        return taken

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    @property
    def highest(self) -> float:
        """The longest, in seconds; 0 when there is none."""
        return middle_of(max(self.counts)) / 1e6 if self.counts else 0.0

    @property
    def mean(self) -> float:
        """The average, in seconds; 0 when there is none."""
        total = self.count
        return sum(middle_of(bucket) * count for bucket, count in self.counts.items()) / total / 1e6 if total else 0.0

    def percentile(self, share: float) -> float:
        """The value, in seconds, that ``share`` % of all do not exceed; 0 when there is none."""
        return next(self.percentiles((share,)))

    def percentiles(self, shares: Iterable[float]) -> Iterator[float]:
        """Several percentiles, ascending, in one walk."""
        total = self.count
        walk = iter(sorted(self.counts.items()))
        seen, bucket = 0, 0
        for share in shares:
            # The rank is rounded up: the 99th percentile of ten values is the tenth, not the ninth.
            rank = max(1, -int(-share * total // 100))
            while total and seen < rank:
                bucket, count = next(walk)
                seen += count
            yield middle_of(bucket) / 1e6 if total else 0.0

    def pack(self) -> list[int]:
        """Bucket, count, bucket, count …, ascending: for the wire and for files."""
        return [number for pair in sorted(self.counts.items()) for number in pair]

    @classmethod
    def unpack(cls, numbers: Iterable[int]) -> Histogram:
        """What `pack` packed."""
        histogram = cls()
        pairs = iter(numbers)
        histogram.counts = dict(zip(pairs, pairs, strict=True))
        return histogram

    def summary(self) -> Mapping[str, float]:
        """Count, mean, the usual percentiles and the highest, in seconds."""
        shares = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
        values = dict(zip(shares, self.percentiles(shares.values()), strict=True))
        return {"count": self.count, "mean": self.mean, **values, "max": self.highest}
