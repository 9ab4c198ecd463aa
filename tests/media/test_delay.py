from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.delay import ArrivalDelay, DelayOptions

FRAME, RATE = 960, 48_000


def feed(delay: ArrivalDelay, ways: list[float], begin: int = 0) -> None:
    for n, way in enumerate(ways, begin):
        delay.arrived(n * FRAME, n / 50 + way)


def test_the_aim_is_what_nearly_all_frames_stay_below() -> None:
    chance = random.Random(1)
    delay = ArrivalDelay()
    feed(delay, [0.05 + chance.uniform(0, 0.06) for _ in range(1_000)])
    assert 0.058 < delay.target < 0.070


def test_a_quiet_link_needs_the_least() -> None:
    chance = random.Random(1)
    delay = ArrivalDelay()
    assert delay.target == pytest.approx(0.040, abs=0.003)
    feed(delay, [0.2 + chance.uniform(0, 0.002) for _ in range(100)])
    assert delay.target == 0.010


def test_it_follows_a_worse_network_at_once_and_a_better_one_in_seconds() -> None:
    delay = ArrivalDelay()
    feed(delay, [0.05] * 1_000)
    feed(delay, [0.05 + 0.1 * (n % 2) for n in range(15)], 1_000)
    assert delay.target > 0.1
    feed(delay, [0.05] * 200, 1_015)
    assert delay.target > 0.1
    feed(delay, [0.05] * 1_500, 1_215)
    assert delay.target < 0.02


@pytest.mark.parametrize("ppm", [-300, 300])
def test_drifting_clocks_look_like_no_jitter(ppm: int) -> None:
    delay = ArrivalDelay()
    feed(delay, [0.05 + n / 50 * ppm / 1e6 for n in range(30_000)])
    assert delay.target <= 0.012


def test_a_hole_does_not_make_what_lay_in_buffers_seem_on_time() -> None:
    delay = ArrivalDelay()
    feed(delay, [0.05] * 100)
    delay.arrived(100 * FRAME, 12.05)
    assert delay.lateness(101 * FRAME, 12.05) == pytest.approx(12.0 - 2.02, abs=0.001)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.floats(0.0, 0.1), st.floats(0.1, 1.0))
def test_the_aim_stays_within_its_bounds(ways: list[float], least: float, most: float) -> None:
    delay = ArrivalDelay(DelayOptions(least=least, most=most))
    feed(delay, ways)
    assert least <= delay.target <= most
    assert delay.base <= min(ways[-50:]) + 1e-6


def test_it_counts_for_months() -> None:
    delay = ArrivalDelay(DelayOptions(memory=10))
    feed(delay, [0.05] * 2_000)
    assert delay.target == 0.010
