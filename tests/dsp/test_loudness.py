"""Loudness: the cases of EBU Tech 3341, gates, time scales, and a memory that does not grow."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter, sosfreqz

from wsactors.dsp.biquad import Chain
from wsactors.dsp.loudness import _K_WEIGHT, HOP, SILENCE, LoudnessMeter, integrated_loudness

RATE = 48_000


def tones(*parts: tuple[float, float]) -> Any:
    """1 kHz at so many dBFS for so many seconds, in both channels."""
    pieces = [
        10 ** (decibels / 20) * np.sin(2 * np.pi * 1_000 * np.arange(round(seconds * RATE)) / RATE)
        for decibels, seconds in parts
    ]
    return np.repeat(np.concatenate(pieces).astype(np.float32)[:, None], 2, axis=1)


CASES: dict[int, tuple[list[tuple[float, float]], float]] = {
    1: ([(-23, 20)], -23.0),
    2: ([(-33, 20)], -33.0),
    3: ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
    4: ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
    5: ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cases_of_ebu_3341(case: int) -> None:
    parts, expected = CASES[case]
    measured = integrated_loudness(tones(*parts))
    print(f"loudness case {case}: {measured:.3f} LUFS")
    assert measured == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("case", [1, 2])
def test_a_steady_tone_is_as_loud_on_every_scale(case: int) -> None:
    parts, expected = CASES[case]
    meter = LoudnessMeter()
    meter.process(tones(*parts))
    told = meter.loudness
    for value in (told.momentary, told.short_term, told.loudest_momentary, told.loudest_short_term):
        assert value == pytest.approx(expected, abs=0.1)


def test_short_term_over_three_seconds_whatever_the_phase() -> None:
    # As in case 9: 1.34 s at -20 and 1.66 s at -30 dBFS, over and over, are -23 LUFS in any three seconds.
    meter = LoudnessMeter()
    signal = tones(*[(-20, 1.34), (-30, 1.66)] * 5)
    told = []
    for at in range(0, len(signal), HOP):
        meter.process(signal[at : at + HOP])
        told.append(meter.loudness.short_term)
    assert np.abs(np.array(told[30:]) + 23.0).max() <= 0.1


def test_momentary_over_four_tenths_of_a_second() -> None:
    # As in case 12: 0.18 s at -20 and 0.22 s at -30 dBFS.
    meter = LoudnessMeter()
    signal = tones(*[(-20, 0.18), (-30, 0.22)] * 25)
    told = []
    for at in range(0, len(signal), HOP):
        meter.process(signal[at : at + HOP])
        told.append(meter.loudness.momentary)
    assert np.abs(np.array(told[10:]) + 23.0).max() <= 0.1


def test_the_histogram_gives_what_all_the_blocks_would() -> None:
    rng = np.random.default_rng(3)
    seconds = 60
    levels = np.repeat(10 ** (rng.uniform(-45, 0, seconds) / 20), RATE)[:, None]
    signal = (rng.standard_normal((seconds * RATE, 2)) * 0.1 * levels).astype(np.float32)
    weighted = signal.astype(np.float64)
    for section in _K_WEIGHT:
        weighted = lfilter(section[:3], section[3:], weighted, axis=0)
    hops = (weighted**2).sum(axis=1).reshape(-1, HOP).mean(axis=1)
    power = np.convolve(hops, np.ones(4) / 4, "valid")
    level = -0.691 + 10 * np.log10(power)
    gate = -0.691 + 10 * np.log10(power[level > -70].mean()) - 10
    truth = -0.691 + 10 * np.log10(power[(level > -70) & (level > gate)].mean())
    assert integrated_loudness(signal) == pytest.approx(truth, abs=0.01)


def test_blocks_of_any_size_and_a_memory_that_does_not_grow() -> None:
    signal = tones((-26, 4), (-20, 4))
    told = []
    meter = LoudnessMeter()
    for size in (256, 480, 960, 47_999):
        meter = LoudnessMeter()
        for at in range(0, len(signal), size):
            meter.process(signal[at : at + size])
        told.append(meter.loudness)
    assert told.count(told[0]) == len(told)
    before = sys.getsizeof(meter._hops)
    meter.process(tones((-20, 30)))
    assert sys.getsizeof(meter._hops) <= max(before, 400)


def test_silence_mono_and_too_many_channels() -> None:
    assert integrated_loudness(np.zeros((RATE, 2), np.float32)) == SILENCE
    assert integrated_loudness(tones((-20, 0.3))) == SILENCE
    stereo = tones((-20, 2))
    assert integrated_loudness(stereo[:, :1]) == pytest.approx(integrated_loudness(stereo) - 3.01, abs=0.01)
    with pytest.raises(ValueError, match="one or two channels, got 6"):
        LoudnessMeter(6)


def test_the_weighting_is_the_recommendation_s() -> None:
    impulse = np.zeros((65_536, 1))
    impulse[0] = 1.0
    response = np.fft.rfft(Chain(_K_WEIGHT, 1).process(impulse)[:, 0])
    hertz, expected = sosfreqz(np.array(_K_WEIGHT), np.fft.rfftfreq(65_536, 1 / RATE)[1:], fs=RATE)
    assert len(hertz) == len(response) - 1
    assert np.abs(response[1:] - expected).max() < 1e-6
    assert 20 * np.log10(np.abs(expected[np.argmin(np.abs(hertz - 997))])) == pytest.approx(0.69, abs=0.01)
