"""Limits: a client is warned, slowed and only then refused, and never gets more than its rate."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.realtime.limits import TOO_MANY, Bucket, Coalescer, ConnectionLimits, LimitOptions, MessageLimits, Rate

SMALL = LimitOptions(
    messages=Rate(10, 20), bytes=Rate(1_000, 10_000), topic_messages=Rate(5, 10), joins=Rate(1, 5), topics=3
)


def test_a_flood_is_warned_once_then_slowed_then_refused() -> None:
    bucket = Bucket(Rate(per_second=10, burst=20, debt=5), now=0.0)
    kinds = [bucket.take(0.0).kind for _ in range(40)]

    assert kinds == ["ok"] * 15 + ["warn"] + ["ok"] * 4 + ["slow"] * 5 + ["refuse"] * 15


def test_who_is_slowed_for_as_long_as_told_loses_nothing() -> None:
    bucket, now = Bucket(Rate(10, 20, 5), now=0.0), 0.0
    for _ in range(1_000):
        verdict = bucket.take(now)
        assert verdict.taken
        now += verdict.wait
    assert now == pytest.approx((1_000 - 20) / 10, rel=0.01)  # and gets exactly its rate


def test_a_client_that_recovers_is_warned_again() -> None:
    bucket = Bucket(Rate(10, 20, 5), now=0.0)
    first = [bucket.take(0.0).kind for _ in range(20)]
    again = [bucket.take(100.0).kind for _ in range(20)]

    assert first == again
    assert first.count("warn") == 1


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 5)), max_size=60))
def test_nobody_gets_more_than_burst_debt_and_rate(script: list[tuple[float, float]]) -> None:
    rate = Rate(per_second=2.0, burst=6.0, debt=3.0)
    bucket, now, taken, largest = Bucket(rate, 0.0), 0.0, 0.0, 0.0
    for pause, cost in script:
        now += pause
        if bucket.take(now, cost).taken:
            taken += cost
            largest = max(largest, cost)
    assert taken <= rate.burst + rate.debt + largest + rate.per_second * now + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(Rate(1, 2, 1), now=100.0)
    kinds = [bucket.take(now).kind for now in (100.0, 50.0, 100.0, 0.0, 100.5)]

    assert kinds[-2:] == ["refuse", "slow"]


def test_one_message_larger_than_the_bucket_is_taken_and_waited_for() -> None:
    bucket = Bucket(Rate(1_000, 10_000, 10_000), now=0.0)
    verdict = bucket.take(0.0, 50_000.0)

    assert (verdict.kind, verdict.wait) == ("slow", 40.0)
    assert bucket.take(20.0, 1.0).kind == "refuse"
    assert bucket.take(35.0, 1.0).kind == "slow"


def test_the_tightest_of_the_buckets_counts_and_a_refusal_costs_nothing() -> None:
    limits = ConnectionLimits(SMALL, now=0.0)
    limits.join(0.0, "a")
    limits.join(0.0, "b")
    kinds = [limits.message(0.0, "a", 1).kind for _ in range(25)]

    assert kinds.count("refuse") == 5  # the topic's 10, and 10 below zero
    # What topic a was refused has cost the connection nothing: 20 + 20 less 20.
    kinds = [limits.message(0.0, "b", 1).kind for _ in range(25)]
    assert kinds.count("slow") == 20
    limits = ConnectionLimits(SMALL, now=0.0)
    assert limits.message(0.0, "x", 30_000).kind == "slow"
    assert limits.message(0.0, "x", 1).kind == "refuse"


def test_neither_bucket_pays_for_what_the_other_refuses() -> None:
    limits = MessageLimits(LimitOptions(messages=Rate(1, 4, 4), bytes=Rate(10, 100, 1)), now=0.0)
    assert limits.message(0.0, 150).kind == "slow"
    assert [limits.message(0.0, 1).kind for _ in range(20)] == ["refuse"] * 20
    assert limits.message(6.0, 1).taken
    assert [limits.message(20.0, 0).kind for _ in range(9)].count("refuse") == 1


def test_topics_and_tries_to_join_are_bounded() -> None:
    limits = ConnectionLimits(SMALL, now=0.0)
    assert all(limits.join(0.0, topic).taken for topic in "abc")
    assert limits.join(0.0, "d") == TOO_MANY
    limits.left("a")
    assert limits.join(0.0, "d").taken
    assert limits.join(0.0, "d").taken  # a rejoin is no second topic
    assert limits.topics == 3
    limits.left("d")  # the one it replaces
    assert limits.message(0.0, "d", 1).taken
    assert limits.topics == 3
    for _ in range(100):
        limits.left("d")
        limits.join(0.0, "d")
    assert limits.join(0.0, "d").kind == "refuse"
    assert limits.join(99.0, "d").kind == "ok"


@given(st.lists(st.floats(0, 0.3), max_size=50))
def test_of_presence_that_changes_too_fast_the_newest_counts_and_nothing_is_refused(pauses: list[float]) -> None:
    presence, now = Coalescer[int](0.1), 0.0
    told: list[tuple[float, int | None]] = []
    due: float | None = None

    def fire(until: float) -> None:
        nonlocal due
        if due is not None and due <= until:
            told.append((due, presence.take(due)))
            due = None

    for number, pause in enumerate(pauses):
        now += pause
        fire(now)
        wait = presence.put(number, now)
        if wait is not None:
            assert due is None
            due = now + wait
        fire(now)
    fire(float("inf"))

    assert due is None
    if pauses:
        assert told[-1][1] == len(pauses) - 1
        times = [at for at, _ in told]
        assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(times))
