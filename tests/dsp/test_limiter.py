"""The limiter: never above its ceiling, never a jump, and not there at all when it is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.limiter import Limiter


def blocks(signal: Any, size: int, limiter: Limiter) -> Any:
    return np.concatenate([limiter.process(signal[at : at + size]) for at in range(0, len(signal), size)])


def loud(seed: int, frames: int = 24_000) -> Any:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((frames, 2)) * np.repeat(rng.choice([0.05, 0.5, 3.0], frames // 480), 480)[:, None]
    return signal.astype(np.float32)


@pytest.mark.parametrize("size", [128, 480, 960])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_ever_above_the_ceiling(seed: int, size: int) -> None:
    out = blocks(loud(seed), size, Limiter(ceiling=-1.0))
    assert np.abs(out).max() <= db_to_gain(-1.0) + 1e-7


def test_a_single_full_scale_sample_is_caught_before_it_comes() -> None:
    signal = np.zeros((2_400, 2), np.float32)
    signal[:, 0] = 0.1
    signal[1_000, 1] = 8.0
    limiter = Limiter()
    out = blocks(signal, 480, limiter)
    at = 1_000 + limiter.delay
    assert 0.5 < out[at, 1] <= db_to_gain(-1.0)
    gain = out[:, 0] / 0.1
    assert gain[at] == pytest.approx(gain[limiter.delay :].min(), abs=0.02)
    assert np.abs(np.diff(gain[limiter.delay + 1 :])).max() <= 1 / 96 + 1e-4  # no jump: at most 1/L per frame


def test_what_is_below_the_ceiling_passes_bit_for_bit() -> None:
    rng = np.random.default_rng(4)
    signal = (0.2 * rng.uniform(-1, 1, (4_800, 2))).astype(np.float32)
    limiter = Limiter()
    out = blocks(signal, 480, limiter)
    assert np.array_equal(out[limiter.delay :], signal[: -limiter.delay])
    assert limiter.reduction == 0.0


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=30), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_how_the_stream_is_cut_makes_no_difference(sizes: list[int], seed: int) -> None:
    signal = loud(seed, 4_800)
    whole = blocks(signal, 480, Limiter())
    limiter, pieces, at = Limiter(), [], 0
    for size in [*sizes, len(signal)]:
        if at < len(signal):
            pieces.append(limiter.process(signal[at : at + size]))
            at += size
    assert np.allclose(np.concatenate(pieces), whole, atol=2e-5)


def test_it_recovers_after_the_release() -> None:
    signal = np.full((96_000, 2), 0.5, np.float32)
    signal[1_000:1_100] = 4.0
    limiter = Limiter(release=4_800)
    out = blocks(signal, 480, limiter)
    assert out[1_400, 0] < 0.2
    assert out[60_000, 0] == pytest.approx(0.5, abs=1e-3)
