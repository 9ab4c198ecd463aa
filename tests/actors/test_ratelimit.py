from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.table_host import FakeHost
from wsactors.actors.ratelimit import TokenBuckets
from wsactors.errors import BadRow, TableKindError


def make(host: FakeHost, **options: Any) -> TokenBuckets:
    return TokenBuckets(host.tables.new("rates", access="public", max_rows=1_000), **options)


def test_burst_then_rate(host: FakeHost) -> None:
    b = make(host, tokens=2, per=1.0, burst=5)
    assert [b.take("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert b.take("b")  # others are not concerned
    assert b.wait_time("a") == 0.5
    host.time = 0.49
    assert not b.take("a")
    host.time = 0.5
    assert b.take("a")
    assert not b.take("a")
    host.time = 100
    assert b.level("a") == 5
    assert [b.take("a") for _ in range(6)] == [True] * 5 + [False]


def test_refused_takes_cost_nothing(host: FakeHost) -> None:
    b = make(host, tokens=1, per=1.0, burst=3)
    assert not all(b.take("a", 2) for _ in range(50))
    assert b.level("a") == 1
    assert b.take("a", 1)


def test_nothing_is_lost_to_rounding(host: FakeHost) -> None:
    b = make(host, tokens=7, per=3.0, burst=7)
    assert b.take("a", 7)
    taken = 0
    for step in range(1, 30_001):  # asked every millisecond for 30 s: a limiter that rounds down gives less
        host.time = step / 1_000
        taken += b.take("a")
    assert taken == 70


def test_a_full_bucket_takes_no_memory(host: FakeHost) -> None:
    b = make(host, tokens=10, per=1.0, burst=20)
    for n in range(500):
        host.time = n / 10
        assert b.take(n)
    host.settle()
    assert len(host.tables["rates"]) <= 21
    host.time += 2
    host.settle()
    assert len(host.tables["rates"]) == 0


def test_a_flood_of_keys_is_refused_and_empties_no_bucket(host: FakeHost) -> None:
    b = TokenBuckets(host.tables.new(access="public", max_rows=10), tokens=1, per=60.0)
    assert [b.take(n) for n in range(20)] == [True] * 10 + [False] * 10
    assert not b.take(0)


def test_a_clock_that_stands_or_starts_anywhere(host: FakeHost) -> None:
    host.time = 1e9 + 0.1
    b = make(host, tokens=1)
    assert b.take("a")
    assert not b.take("a")


def test_bad_options(host: FakeHost) -> None:
    bad: Any
    for bad in ({"tokens": 0}, {"tokens": 1.5}, {"tokens": 1, "burst": 0}, {"tokens": 1, "per": 0}):
        with pytest.raises(BadRow):
            TokenBuckets(host.tables.new(access="public"), **bad)
    with pytest.raises(TableKindError):
        TokenBuckets(host.tables.new(), tokens=1)
    b = make(host, tokens=5)
    for cost in (0, 6, -1, True, 1.0):
        with pytest.raises(BadRow):
            b.take("a", cost)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 9), st.sampled_from([0.5, 1.0, 7.0]), st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 9)), max_size=40),
)  # fmt: skip
def test_against_exact_fractions(tokens: int, per: float, burst: int, asks: list[tuple[int, int]]) -> None:
    host = FakeHost()
    b = make(host, tokens=tokens, per=per, burst=burst)
    level, at, milliseconds = Fraction(burst), 0, 0
    for wait, cost in asks:
        milliseconds += wait
        host.time = milliseconds / 1_000
        level = min(Fraction(burst), level + Fraction(milliseconds - at, 1_000) * tokens / Fraction(per))
        at = milliseconds
        price = min(cost, burst)
        wait_time = b.wait_time("k", price)
        assert (wait_time == 0) == (level >= price)
        assert b.take("k", price) is (level >= price)
        if level >= price:
            level -= price
        else:
            assert abs(wait_time - float((price - level) * Fraction(per) / tokens)) < 1e-6
