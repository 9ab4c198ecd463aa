"""The equaliser: bands that add up, kills that kill, a bypass that is none, and turns without clicks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import sosfreqz

from wsactors.dsp.biquad import allpass, highpass, lowpass
from wsactors.dsp.eq import HIGH, LOW, Isolator
from wsactors.dsp.glide import GLIDE

RATE = 48_000
FRAMES = 32_768
HERTZ = np.fft.rfftfreq(FRAMES, 1 / RATE)


def noise(frames: int, seed: int = 1) -> Any:
    return (np.random.default_rng(seed).standard_normal((frames, 2)) * 0.1).astype(np.float32)


def response(low: float, mid: float, high: float) -> Any:
    """Of a settled equaliser, from a single sample."""
    eq = Isolator()
    eq.process(np.zeros((2 * GLIDE, 2), np.float32), low, mid, high)
    impulse = np.zeros((FRAMES, 2), np.float32)
    impulse[0] = 1.0
    return np.fft.rfft(eq.process(impulse, low, mid, high)[:, 0])


def chain(*sections: Any) -> Any:
    return sosfreqz(np.array(sections), HERTZ, fs=RATE)[1]


BANDS = {
    "low": chain(lowpass(LOW), lowpass(LOW), allpass(HIGH)),
    "mid": chain(highpass(LOW), highpass(LOW), lowpass(HIGH), lowpass(HIGH)),
    "high": chain(highpass(LOW), highpass(LOW), highpass(HIGH), highpass(HIGH)),
}


@pytest.mark.parametrize(
    "gains", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (2.0, 0.5, 0.25), (0.9, 1.0, 1.0)]
)
def test_it_responds_as_its_three_crossovers_do(gains: tuple[float, float, float]) -> None:
    expected = sum(gain * band for gain, band in zip(gains, BANDS.values(), strict=True))
    assert np.abs(response(*gains) - expected).max() < 1e-5


def test_all_bands_together_are_as_loud_as_the_input_everywhere() -> None:
    assert np.abs(20 * np.log10(np.abs(sum(BANDS.values())))).max() < 1e-6
    assert np.abs(20 * np.log10(np.abs(response(0.5, 0.5, 0.5))) + 6.02).max() < 0.01


@pytest.mark.parametrize(
    ("killed", "hertz", "deep"),
    [((0, 1, 1), 40, -60), ((0, 1, 1), 80, -38), ((1, 0, 1), 790, -31), ((1, 1, 0), 10_000, -47), ((1, 1, 0), 16_000, -60),
     ((0, 0, 0), 1_000, -150)],
)  # fmt: skip
def test_how_deep_a_kill_is(killed: tuple[float, float, float], hertz: float, deep: float) -> None:
    at = int(np.argmin(np.abs(HERTZ - hertz)))
    left = 20 * np.log10(np.abs(response(*killed)[at]) + 1e-12)
    print(f"kill {killed} at {hertz} Hz: {left:.1f} dB")
    assert left <= deep


@pytest.mark.parametrize("size", [256, 480, 960])
def test_flat_it_is_not_there(size: int) -> None:
    signal = noise(9_600)
    eq = Isolator()
    for at in range(0, len(signal), size):
        piece = signal[at : at + size]
        assert eq.process(piece, 1.0, 1.0, 1.0) is piece


def test_flat_again_it_is_gone_again_to_the_bit() -> None:
    signal = noise(9_600)
    eq = Isolator()
    eq.process(signal[:4_800], 0.0, 1.0, 2.0)
    back = eq.process(signal[4_800:], 1.0, 1.0, 1.0)
    assert not np.array_equal(back[: GLIDE - 1], signal[4_800 : 4_800 + GLIDE - 1])
    assert np.array_equal(back[GLIDE - 1 :], signal[4_800 + GLIDE - 1 :])
    assert eq.process(signal, 1.0, 1.0, 1.0) is signal


def test_filters_that_come_in_have_heard_what_was_before() -> None:
    signal = noise(9_600)
    late, early = Isolator(), Isolator()
    late.process(signal[:4_800], 1.0, 1.0, 1.0)
    early.process(signal[:4_800], 0.5, 1.0, 1.0)
    a, b = (eq.process(signal[4_800:], 0.5, 1.0, 1.0) for eq in (late, early))
    assert np.abs(a[GLIDE:] - b[GLIDE:]).max() < 1e-6
