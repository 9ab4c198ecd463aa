from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.client.latency import PINGS, ROUNDS, Latency, trimmed_mean


def measured(latency: Latency, times: list[float]) -> list[bool]:
    latency.start()
    ended: list[bool] = []
    for nonce, seconds in enumerate(times):
        assert latency.wants_ping
        latency.sent(nonce, 100.0)
        assert not latency.wants_ping
        ended.append(latency.answered(nonce, 100.0 + seconds))
    return ended


@given(st.lists(st.floats(0, 100), min_size=3, max_size=20))
def test_neither_the_fastest_nor_the_slowest_counts(samples: list[float]) -> None:
    assert trimmed_mean(samples) == pytest.approx(statistics.fmean(sorted(samples)[1:-1]))


def test_one_slow_answer_does_not_move_a_round() -> None:
    latency = Latency()

    assert measured(latency, [0.1, 0.1, 9.0, 0.1, 0.1]) == [False] * (PINGS - 1) + [True]
    assert latency.seconds == pytest.approx(0.1)
    assert not latency.wants_ping


def test_the_latest_ten_rounds_count() -> None:
    latency = Latency()
    for number in range(ROUNDS + 3):
        measured(latency, [float(number)] * PINGS)

    assert list(latency.history) == pytest.approx([float(number) for number in range(3, ROUNDS + 3)])
    assert latency.seconds == pytest.approx(7.5)


def test_answers_to_other_pings_and_of_another_connection_do_not_count() -> None:
    latency = Latency()
    assert not latency.answered(1, 1.0)
    latency.start()
    latency.sent(1, 0.0)
    assert not latency.answered(2, 5.0)
    latency.stop()
    assert not latency.answered(1, 5.0)
    assert latency.seconds is None
