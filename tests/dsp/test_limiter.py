"""The limiter: never above its ceiling, never a jump, and not there at all when it is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.limiter import MARGIN, Limiter
from wsactors.dsp.loops import demo_loops
from wsactors.dsp.true_peak import true_peak
from wsactors.media.opus import Decoder, Encoder


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
    # No jump: of the whole reduction, in decibels, at most 1/L per frame.
    steps = np.diff(np.log2(gain[limiter.delay + 1 : at]))
    assert np.abs(steps).max() <= np.log2(8.0 / db_to_gain(-1.0 - MARGIN)) / 96 + 1e-3


def test_what_is_below_the_ceiling_passes_bit_for_bit() -> None:
    rng = np.random.default_rng(4)
    signal = (0.2 * rng.uniform(-1, 1, (4_800, 2))).astype(np.float32)
    limiter = Limiter()
    out = blocks(signal, 480, limiter)
    assert np.array_equal(out[limiter.delay :], signal[: -limiter.delay])
    assert limiter.reduction == 0.0


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=30), seed=st.integers(0, 50), true_peaks=st.booleans())
@settings(max_examples=40, deadline=None)
def test_how_the_stream_is_cut_makes_no_difference(sizes: list[int], seed: int, true_peaks: bool) -> None:
    signal = loud(seed, 4_800)
    whole = blocks(signal, 480, Limiter(true_peak=true_peaks))
    limiter, at = Limiter(true_peak=true_peaks), 0
    pieces: list[Any] = []
    for size in [*sizes, len(signal)]:
        if at < len(signal):
            pieces.append(limiter.process(signal[at : at + size]))
            at += size
    assert np.array_equal(np.concatenate(pieces), whole)


def test_it_recovers_after_the_release() -> None:
    signal = np.full((96_000, 2), 0.5, np.float32)
    signal[1_000:1_100] = 4.0
    limiter = Limiter(release=4_800)
    out = blocks(signal, 480, limiter)
    assert out[1_400, 0] < 0.2
    assert out[60_000, 0] == pytest.approx(0.5, abs=1e-3)


def driven() -> dict[str, Any]:
    """Sounds that want a limiter, 12 dB and more too loud."""
    groove, answer = demo_loops()
    n = np.arange(48_000)
    return {
        "music": (groove[:96_000] + answer[:96_000].astype(np.float64)) / 8192,
        "square": 3.0 * np.sign(np.sin(2 * np.pi * 997 * n / 48_000))[:, None] * np.ones(2),
        "between": 2.0 * np.sin(2 * np.pi * 12_000 * n / 48_000 + np.pi / 4)[:, None] * np.ones(2),
        "high": 2.0 * np.sin(2 * np.pi * 17_001 * n / 48_000)[:, None] * np.ones(2),
        "bursts": np.random.default_rng(5).standard_normal((48_000, 2)) * np.repeat([0.05, 0.5, 3.0, 9.0] * 25, 480)[:, None],
    }  # fmt: skip


@pytest.mark.parametrize("kind", driven())
def test_the_ceiling_holds_between_the_samples(kind: str) -> None:
    signal = driven()[kind].astype(np.float32)
    assert true_peak(signal) > 5.0
    out = blocks(np.concatenate((signal, np.zeros((480, 2), np.float32))), 480, Limiter(ceiling=-1.0))
    assert np.abs(out).max() <= db_to_gain(-1.0)
    # A tone of 12 kHz that begins out of nothing, while the gain goes down by 6 dB: a hundredth more.
    assert true_peak(out) <= -1.0 + (0.02 if kind == "between" else 0.0)
    if kind in {"music", "square", "high"}:  # and, oversampled 16 times by somebody else's filter
        sixteen = resample_poly(out.astype(np.float64), 16, 1, axis=0, window=("kaiser", 12.0))
        assert 20 * np.log10(np.abs(sixteen).max()) <= -1.0


@pytest.mark.parametrize("kind", ["music", "square", "between"])
def test_what_comes_out_of_opus_is_below_full_scale(kind: str) -> None:
    out = blocks(driven()[kind].astype(np.float32), 480, Limiter(ceiling=-1.0))
    with Encoder(bitrate=128_000) as encoder, Decoder() as decoder:
        packets = [encoder.encode(np.ascontiguousarray(out[at : at + 960])) for at in range(0, 48_000, 960)]
        heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert np.abs(heard).max() <= 1.0


@pytest.mark.parametrize("seed", [1, 2])
def test_for_voices_the_samples_are_enough(seed: int) -> None:
    limiter = Limiter(channels=1, true_peak=False)
    assert limiter.delay == 95
    signal = loud(seed)[:, :1]
    out = blocks(signal, 480, limiter)
    assert db_to_gain(-1.1) < np.abs(out).max() <= np.float32(db_to_gain(-1.0))
    quiet = signal * np.float32(0.9 / np.abs(signal).max() * db_to_gain(-1.0))
    passed = blocks(quiet, 480, Limiter(channels=1, true_peak=False))
    assert np.array_equal(passed[95:], quiet[:-95])


def test_how_far_it_goes_down_is_told() -> None:
    limiter = Limiter()
    n = np.arange(9_600)
    blocks((2.0 * np.sin(n / 20)[:, None] * np.ones(2)).astype(np.float32), 480, limiter)
    assert limiter.reduction == pytest.approx(1 - db_to_gain(-1.0 - MARGIN) / 2.0, abs=0.01)


@pytest.mark.parametrize("wrong", [{"look_ahead": 1}, {"release": 0}, {"ceiling": 0.1}])
def test_an_impossible_limiter_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a limiter needs"):
        Limiter(**wrong)
