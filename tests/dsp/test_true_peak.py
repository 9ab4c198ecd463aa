"""True peaks: the cases of EBU Tech 3341, another oversampler's opinion, and no dependence on the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from wsactors.dsp.true_peak import REACH, TruePeakMeter, true_peak

RATE = 48_000


def sine(divisor: int, degrees: float, amplitude: float) -> Any:
    n = np.arange(RATE)
    tone = amplitude * np.sin(2 * np.pi * n / divisor + np.deg2rad(degrees))
    # The cases are about the tone, not about its sudden beginning: they fade in and out.
    fade = np.minimum(1.0, np.minimum(n, RATE - 1 - n) / 4_800)
    return np.repeat((tone * fade).astype(np.float32)[:, None], 2, axis=1)


@pytest.mark.parametrize(
    ("case", "divisor", "degrees", "amplitude", "expected"),
    [(15, 4, 0.0, 0.5, -6.0), (16, 4, 45.0, 0.5, -6.0), (17, 6, 60.0, 0.5, -6.0), (18, 8, 67.5, 0.5, -6.0),
     (19, 4, 45.0, 1.41, 3.0)],
)  # fmt: skip
def test_the_cases_of_ebu_3341(case: int, divisor: int, degrees: float, amplitude: float, expected: float) -> None:
    measured = true_peak(sine(divisor, degrees, amplitude))
    print(f"true-peak case {case}: {measured:.3f} dBTP")
    assert expected - 0.4 <= measured <= expected + 0.2


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_a_longer_filter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Noise that ends at 18 kHz; the interpolator's sixteen points cannot know what is nearer to half the rate.
    noise = resample_poly(rng.standard_normal((9_600, 2)), 3, 4, axis=0, window=("kaiser", 10.0)).astype(np.float32)
    noise = resample_poly(noise.astype(np.float64), 4, 3, axis=0).astype(np.float32) * 0.2
    other = 20 * np.log10(np.abs(resample_poly(noise.astype(np.float64), 4, 1, axis=0, window=("kaiser", 12.0))).max())
    assert true_peak(noise) == pytest.approx(other, abs=0.1)


@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=20), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_how_the_stream_is_cut_makes_no_difference(sizes: list[int], seed: int) -> None:
    signal = np.random.default_rng(seed).standard_normal((sum(sizes), 2)).astype(np.float32)
    whole, pieces, at = TruePeakMeter(), TruePeakMeter(), 0
    highest = whole.process(signal)
    told = []
    for size in sizes:
        told.append(pieces.process(signal[at : at + size]))
        at += size
    assert max(told) == highest
    assert pieces.peak == whole.peak


def test_silence_and_the_reach() -> None:
    assert true_peak(np.zeros((100, 2), np.float32)) == -127.0
    assert TruePeakMeter().peak == -127.0
    assert TruePeakMeter().process(np.zeros((0, 2), np.float32)) == 0.0
    loudest = np.sign(np.random.default_rng(1).standard_normal((96_000, 2))).astype(np.float32)
    assert 1.0 < 10 ** (true_peak(loudest) / 20) <= REACH
