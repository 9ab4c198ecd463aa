"""Reading at any speed: exact where it can be, clean where it cannot, silent where there is nothing, seamless in loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsactors.dsp.interpolation import cubic_read


def sine(hertz: float, frames: int) -> Any:
    t = np.arange(frames) / 48_000
    return np.repeat(np.sin(2 * np.pi * hertz * t).astype(np.float32)[:, None], 2, axis=1)


def test_at_the_recorded_speed_samples_come_back_bit_for_bit() -> None:
    source = np.arange(2_000, dtype=np.int16).reshape(1_000, 2)
    out = cubic_read(source, 100.0, 1.0, 480)
    assert np.array_equal(out, source[100:580].astype(np.float32) / 32_768)


def test_the_result_may_be_written_to_without_touching_the_source() -> None:
    source = np.ones((1_000, 2), np.float32)
    cubic_read(source, 10.0, 1.0, 480)[:] = 0
    assert source.min() == 1.0


@pytest.mark.parametrize(("hertz", "least"), [(1_000, 85.0), (5_000, 45.0), (10_000, 26.0)])
def test_noise_of_interpolation_stays_below_the_published_figures(hertz: float, least: float) -> None:
    rate = 1.037
    out = cubic_read(sine(hertz, 48_000), 100.25, rate, 24_000)[:, 0].astype(np.float64)
    t = (100.25 + rate * np.arange(24_000)) / 48_000
    wanted = np.sin(2 * np.pi * hertz * t)
    assert 10 * np.log10(np.mean(wanted**2) / np.mean((out - wanted) ** 2)) > least


@example(position=-2.220446049250313e-16, rate=-1.0, cut=1)
@given(
    position=st.floats(-900, 1_900),
    rate=st.floats(-4, 4),
    cut=st.integers(1, 479),
)
def test_a_block_read_in_two_pieces_is_the_same_block(position: float, rate: float, cut: int) -> None:
    source = sine(300, 1_000)
    whole = cubic_read(source, position, rate, 480)
    pieces = [cubic_read(source, position, rate, cut), cubic_read(source, position + rate * cut, rate, 480 - cut)]
    assert np.allclose(whole, np.concatenate(pieces), atol=2e-4)


def test_outside_the_recording_there_is_silence() -> None:
    source = np.ones((100, 2), np.float32)
    out = cubic_read(source, -50.0, 1.0, 200)
    assert not out[:50].any()
    assert (out[50:150] == 1).all()
    assert not out[150:].any()
    assert not cubic_read(source, 1e9, 1.5, 10).any()
    assert not cubic_read(source, -1e9, -1.5, 10).any()


@pytest.mark.parametrize("rate", [1.0, 0.77, 1.31])
def test_a_loop_has_no_seam(rate: float) -> None:
    # 10 whole periods: played around, it must be one endless sine.
    source = sine(480, 1_000)
    out = cubic_read(source, 0.0, rate, 30_000, loop=(0, 1_000))[4:, 0]
    t = rate * np.arange(4, 30_000) / 48_000
    assert np.abs(out - np.sin(2 * np.pi * 480 * t)).max() < 1e-3


def test_a_position_many_turns_later_is_folded_into_the_loop() -> None:
    source = np.arange(4_000, dtype=np.int16).reshape(2_000, 2)
    out = cubic_read(source, 500.0 + 1_000 * 12_345, 1.0, 480, loop=(0, 1_000))
    assert np.array_equal(out, cubic_read(source, 500.0, 1.0, 480))


def test_before_the_loop_it_plays_into_it() -> None:
    source = np.arange(4_000, dtype=np.int16).reshape(2_000, 2)
    out = cubic_read(source, 0.0, 1.0, 480, loop=(100, 300)) * 32_768
    assert out[299, 0] == source[299, 0]
    assert out[300, 0] == source[100, 0]


def test_nonsense_is_refused() -> None:
    source = np.zeros((100, 2), np.float32)
    for rate in (4.5, -4.5, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            cubic_read(source, 0.0, rate, 10)
    for loop in ((50, 50), (-1, 10), (0, 101)):
        with pytest.raises(ValueError, match="loop"):
            cubic_read(source, 0.0, 1.0, 10, loop=loop)
