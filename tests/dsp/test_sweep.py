"""The one-knob filter: its response, its middle, its slope, and knobs that are turned fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import sosfreqz

from wsactors.dsp.curves import cutoff
from wsactors.dsp.glide import GLIDE
from wsactors.dsp.sweep import Sweep, sections

RATE = 48_000
FRAMES = 65_536
HERTZ = np.fft.rfftfreq(FRAMES, 1 / RATE)


def response(position: float) -> Any:
    sweep = Sweep()
    sweep.process(np.zeros((2 * GLIDE, 2), np.float32), position)
    impulse = np.zeros((FRAMES, 2), np.float32)
    impulse[0] = 1.0
    return np.fft.rfft(sweep.process(impulse, position)[:, 0])


@pytest.mark.parametrize("position", [-1.0, -0.5, -0.05, 0.05, 0.5, 1.0])
def test_it_responds_as_its_sections_do(position: float) -> None:
    expected = sosfreqz(np.array(sections(position)), HERTZ, fs=RATE)[1]
    assert np.abs(response(position) - expected).max() < 1e-4


@pytest.mark.parametrize("position", [-0.9, -0.5, 0.3, 0.9])
def test_it_falls_by_24_decibels_per_octave_and_does_not_scream(position: float) -> None:
    decibels = 20 * np.log10(np.abs(response(position)) + 1e-12)
    edge = cutoff(position)
    outside = [edge * 4, edge * 8] if position < 0 else [edge / 4, edge / 8]
    near, far = (decibels[int(np.argmin(np.abs(HERTZ - hertz)))] for hertz in outside)
    assert near - far == pytest.approx(24, abs=4)  # the bilinear transform makes it steeper towards the treble
    assert decibels.max() < 3.0


def test_in_the_middle_it_is_not_there() -> None:
    signal = np.ones((480, 2), np.float32)
    sweep = Sweep()
    assert sweep.process(signal, 0.0) is signal
    sweep.process(signal, 0.4)
    sweep.process(signal, 0.0)
    back = sweep.process(signal, 0.0)
    assert np.array_equal(back[-1:], signal[-1:])
    assert sweep.process(signal, 0.0) is signal


def test_a_knob_that_is_turned_all_the_time_stays_two_filters_at_most() -> None:
    rng = np.random.default_rng(1)
    signal = (0.1 * np.sin(2 * np.pi * 100 * np.arange(48_000) / RATE))[:, None] * np.ones(2)
    sweep, out, at = Sweep(), [], 0
    while at < len(signal):
        size = int(rng.integers(1, 100))
        out.append(sweep.process(signal[at : at + size].astype(np.float32), float(rng.uniform(-1, 0))))
        assert len(sweep._filters) <= 2
        at += size
    assert np.abs(np.diff(np.concatenate(out)[:, 0])).max() < 0.1 * 2 * np.pi * 100 / RATE * 2.5


def test_the_knob_s_ends() -> None:
    assert sections(0.0) == ()
    assert cutoff(-1.0) == pytest.approx(60)
    assert cutoff(1.0) == pytest.approx(8_000)
    assert cutoff(-1e-9) == pytest.approx(20_000)
    assert cutoff(1e-9) == pytest.approx(20)
