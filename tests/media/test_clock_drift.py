from __future__ import annotations

import random

import pytest

from wsactors.media.clock_drift import ClockDrift


@pytest.mark.parametrize("ppm", [-300, -50, 0, 50, 300])
def test_the_drift_shows_through_the_network_s_noise(ppm: int) -> None:
    chance = random.Random(ppm)
    drift = ClockDrift()
    for n in range(60 * 50):
        # Many are late, some by much; those that are not tell the time.
        drift.arrived(n * 960, n / 50 * (1 - ppm / 1e6) + 0.03 + chance.expovariate(1 / 0.01))
    assert drift.ppm == pytest.approx(ppm, abs=15)


def test_it_says_nothing_before_it_knows_and_after_a_jump() -> None:
    drift = ClockDrift()
    for n in range(5 * 50):
        drift.arrived(n * 960, n / 50)
    assert drift.ppm is None
    for n in range(5 * 50, 20 * 50):
        drift.arrived(n * 960, n / 50)
    assert drift.ppm == pytest.approx(0, abs=1)
    drift.reset()
    assert drift.ppm is None
