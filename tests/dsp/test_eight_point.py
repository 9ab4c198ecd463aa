"""Reading between the frames: as true as it says, and the same in blocks of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dsp.eight_point import read_at
from wsactors.dsp.interpolation import cubic_read

RNG = np.random.default_rng(5)
NOISE = (RNG.standard_normal((20_000, 2)) * 5_000).astype(np.int16)


def signal_to_noise(hertz: float, read) -> float:
    at = np.arange(60_000)
    wave = np.sin(2 * np.pi * hertz * at / 48_000).astype(np.float32)
    positions = 100 + 1.037 * np.arange(40_000)
    wanted = np.sin(2 * np.pi * hertz * positions / 48_000)
    error = read(np.repeat(wave[:, None], 2, axis=1), positions)[:, 0] - wanted
    return float(-10 * np.log10(2 * np.mean(error**2)))


@pytest.mark.parametrize(("hertz", "decibels"), [(100, 125), (1_000, 97), (5_000, 74), (10_000, 66), (15_000, 30)])
def test_a_sine_stays_a_sine(hertz, decibels):
    ours = signal_to_noise(hertz, read_at)
    cubic = signal_to_noise(hertz, lambda source, positions: cubic_read(source, 100.0, 1.037, len(positions)))

    assert ours > decibels
    assert ours > min(cubic, 130)


def test_a_whole_position_is_the_frame_itself():
    assert np.array_equal(read_at(NOISE, np.arange(100.0, 900.0)), NOISE[100:900].astype(np.float32) / 32768)


@given(st.floats(-50, 20_050), st.floats(-4, 4), st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_size_are_the_same_to_the_bit(begin, rate, blocks):
    positions = begin + rate * np.arange(sum(blocks))
    cuts = np.cumsum(blocks)[:-1]

    pieces = [read_at(NOISE, part) for part in np.split(positions, cuts)]

    assert np.array_equal(np.concatenate(pieces), read_at(NOISE, positions))


def test_places_far_apart_are_read_as_well_and_outside_is_silence():
    far = np.array([10.5, 19_000.25, -1e9, 1e12, 500.0])
    near = [read_at(NOISE, far[index : index + 1])[0] for index in range(len(far))]

    assert np.array_equal(read_at(NOISE, far), np.array(near))
    assert not read_at(NOISE, far)[2:4].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels_is_read(channels):
    source = np.repeat(NOISE[:, :1], channels, axis=1)
    positions = 100.2 + 0.9 * np.arange(700, dtype=np.float64)
    assert np.allclose(read_at(source, positions), read_at(NOISE, positions)[:, :1], atol=1e-6)
