from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.loadtest.histogram import MAX_MICROSECONDS, Histogram, bucket_of, lowest_of

microseconds = st.integers(0, MAX_MICROSECONDS)
seconds = st.lists(st.floats(0, 3600, allow_nan=False), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("value", "bucket"),
    # Computed by HdrHistogram(1, 3_600_000_000, 3)._counts_index_for of PyPI's hdrhistogram 0.10.8.
    [(0, 0), (1, 1), (2047, 2047), (2048, 2048), (4095, 3071), (4096, 3072), (100_000, 7706), (3_600_000_000, 23220)],
)
def test_the_layout_is_hdr_histograms(value: int, bucket: int) -> None:
    assert bucket_of(value) == bucket


@given(microseconds)
def test_a_bucket_is_at_most_a_thousandth_wide(value: int) -> None:
    bucket = bucket_of(value)

    assert lowest_of(bucket) <= value < lowest_of(bucket + 1)
    assert lowest_of(bucket + 1) - lowest_of(bucket) <= max(1, value / 1000)


@given(seconds, st.floats(0.1, 100))
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    exact = sorted(values)[max(1, math.ceil(round(share * len(values) / 100, 9))) - 1]
    near = [
        sorted(values)[max(0, min(len(values) - 1, math.ceil(share * len(values) / 100) - 1 + off))]
        for off in (-1, 0, 1)
    ]

    found = Histogram(values).percentile(share)
    assert any(abs(found - each) <= each / 1000 + 2e-6 for each in (exact, *near))


@given(seconds, seconds)
def test_histograms_add_up(first: list[float], second: list[float]) -> None:
    together = Histogram(first)
    together.add(Histogram(second))

    assert together == Histogram(first + second)


@given(seconds)
def test_it_travels_whole(values: list[float]) -> None:
    histogram = Histogram(values)

    assert Histogram.unpack(histogram.pack()) == histogram


def test_taking_begins_again() -> None:
    histogram = Histogram([0.5])

    assert histogram.take().count == 1
    assert histogram.count == 0
    assert histogram.summary() == {"count": 0, "mean": 0, "p50": 0, "p90": 0, "p99": 0, "p999": 0, "max": 0}


def test_what_cannot_be_is_counted_at_the_ends() -> None:
    """A message from another machine's clock, or from a hostile server, breaks nothing."""
    histogram = Histogram([-5.0, 1e12])

    assert histogram.count == 2
    assert histogram.percentile(1) == 0
    assert histogram.highest == pytest.approx(3600, rel=1e-3)
