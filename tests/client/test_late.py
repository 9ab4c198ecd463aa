from __future__ import annotations

import random

from wsactors.client.late import LATE_SECONDS, LateGate

RATE = 48_000


def test_after_a_stall_what_lay_in_the_buffers_is_skipped_and_live_sound_is_not() -> None:
    gate = LateGate(rate=RATE)
    assert all(gate.accept(n * 960, now=5 + n * 0.02) for n in range(100))

    burst = [gate.accept(n * 960, now=15.0) for n in range(100, 500)]  # ten seconds pass, then all at once

    ages = [15.0 - 5 - n * 0.02 for n in range(100, 500)]
    assert burst == [age <= LATE_SECONDS for age in ages]
    assert gate.late == burst.count(False)
    assert gate.worst_accepted <= LATE_SECONDS
    assert gate.accept(500 * 960, now=15.0)


def test_two_clocks_that_drift_apart_stay_acceptable() -> None:
    """100 ppm for ten hours is 3.6 s."""
    gate = LateGate(rate=RATE)
    assert all(gate.accept(round(second * RATE), now=second * 1.0001) for second in range(0, 36_000, 5))


def test_a_way_that_has_become_longer_for_good_is_the_new_normal() -> None:
    gate = LateGate(rate=RATE)
    gate.accept(0, now=0.0)
    heard = [gate.accept(n * 960, now=1 + n * 0.02) for n in range(1, 400)]
    assert not any(heard[:140])
    assert all(heard[160:])


def test_jitter_below_the_limit_costs_nothing() -> None:
    chance = random.Random(3)
    gate = LateGate(rate=RATE)
    now = 0.0
    for number in range(5_000):
        now = max(now, number * 0.02 + chance.random() * 0.4)
        assert gate.accept(number * 960, now=now)
    assert 0.3 < gate.worst_accepted <= 0.5


def test_a_timeline_that_jumped_is_learnt_anew() -> None:
    gate = LateGate(rate=RATE)
    gate.accept(10**9, now=1.0)
    assert not gate.accept(0, now=1.02)
    gate.reset()
    assert gate.accept(0, now=1.04)
