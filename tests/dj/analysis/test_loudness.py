"""Loudness and peak of whole songs: the meters are tested on the EBU's cases, here is how songs are put through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsactors.dj.analysis.loudness import find_loudness
from wsactors.dsp.true_peak import true_peak

from . import synthetic


def sine(decibels: float, seconds: float, *, cycles: float = 1_000 / 48_000, turn: float = 0.0) -> Any:
    n = np.arange(int(seconds * 48_000))
    sound = 10 ** (decibels / 20) * np.sin(2 * np.pi * (cycles * n + turn))
    return np.repeat(np.round(sound * 32_767).astype(np.int16)[:, None], 2, axis=1)


def test_a_tone_in_int16_has_the_loudness_that_the_recommendation_says() -> None:
    found = find_loudness(sine(-23.0, 20.0))
    assert found is not None
    assert found.integrated == pytest.approx(-23.0, abs=0.1)
    assert found.peak == pytest.approx(-23.0, abs=0.05)


def test_pauses_are_left_out() -> None:
    found = find_loudness(np.concatenate([sine(-36.0, 10.0), sine(-23.0, 60.0), sine(-36.0, 10.0)]))
    assert found is not None
    assert found.integrated == pytest.approx(-23.0, abs=0.1)


def test_a_peak_between_samples_is_found_wherever_it_is() -> None:
    """A quarter of the sampling rate, 45 degrees on: every sample is 3 dB below the peak (EBU Tech 3341, case 16)."""
    quiet = sine(-20.0, 2.0)
    found = find_loudness(np.concatenate([quiet, sine(-6.0, 0.1, cycles=0.25, turn=0.125), quiet]))
    assert found is not None
    assert found.peak == pytest.approx(-6.0, abs=0.3)


def test_looking_at_the_loudest_places_only_finds_the_same_peak() -> None:
    samples = synthetic.drums(124.0, hat=0.3, seconds=12.0)
    found = find_loudness(samples)
    assert found is not None
    assert found.peak == pytest.approx(true_peak(samples.astype(np.float32) / 32_768), abs=0.01)


def test_one_channel_counts_as_two_alike_and_silence_has_no_loudness() -> None:
    samples = synthetic.drums(124.0, hat=0.3, seconds=5.0)
    assert find_loudness(samples[:, 0]) == find_loudness(samples)
    assert find_loudness(np.zeros((96_000, 2), np.int16)) is None
    assert find_loudness(sine(-3.0, 0.3)) is None
