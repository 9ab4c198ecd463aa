"""Filters: responses as scipy has them, and a stream that may be cut anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, sosfreqz

from wsactors.dsp.biquad import Chain, Past, allpass, highpass, lowpass

CHAINS = {
    "low": [lowpass(250), lowpass(250), allpass(2_500)],
    "mid": [highpass(250), highpass(250), lowpass(2_500), lowpass(2_500)],
    "bass": [highpass(20, 1.6)],
    "sharp": [lowpass(60, 0.54)],
    "all": [allpass(250), allpass(2_500)],
}


def response(chain: Chain, frames: int = 131_072) -> Any:
    impulse = np.zeros((frames, 1))
    impulse[0] = 1.0
    return np.fft.rfft(chain.process(impulse)[:, 0])


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_responds_as_its_sections_do(name: str) -> None:
    sections = CHAINS[name]
    _, expected = sosfreqz(np.array(sections), np.fft.rfftfreq(131_072, 1 / 48_000), fs=48_000)
    assert np.abs(response(Chain(sections, 1)) - expected).max() < 1e-6


@pytest.mark.parametrize("hertz", [40.0, 250.0, 2_500.0, 12_000.0])
def test_the_designs_are_butterworth_s(hertz: float) -> None:
    for design, kind in ((lowpass, "lowpass"), (highpass, "highpass")):
        assert np.allclose(design(hertz), butter(2, hertz, kind, fs=48_000, output="sos")[0], atol=1e-9)
    assert np.abs(np.abs(response(Chain([allpass(hertz)], 1), 65_536)) - 1).max() < 1e-9


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12), name=st.sampled_from([*CHAINS]))
@settings(max_examples=40, deadline=None)
def test_how_the_stream_is_cut_makes_no_difference(sizes: list[int], name: str) -> None:
    signal = np.random.default_rng(1).standard_normal((sum(sizes), 2))
    chain = Chain(CHAINS[name])
    pieces = [chain.process(piece) for piece in np.split(signal, np.cumsum(sizes)[:-1])]
    assert np.array_equal(np.concatenate(pieces), Chain(CHAINS[name]).process(signal))
    assert np.allclose(np.concatenate(pieces), sosfilt(np.array(CHAINS[name]), signal, axis=0), atol=1e-6)


@pytest.mark.parametrize(("hertz", "quality"), [(0.0, 1.0), (24_000.0, 1.0), (-5.0, 1.0), (100.0, 0.0)])
def test_an_impossible_filter_is_refused(hertz: float, quality: float) -> None:
    with pytest.raises(ValueError, match="a filter needs a frequency below 24000 Hz"):
        lowpass(hertz, quality)


@given(st.lists(st.integers(0, 30), max_size=12))
def test_the_past_is_the_stream_s_end(sizes: list[int]) -> None:
    signal = np.arange(1, sum(sizes) + 1, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    past = Past(20)
    for piece in np.split(signal, np.cumsum(sizes)[:-1]) if sizes else []:
        past.push(piece)
    whole = np.concatenate((np.zeros((20, 2), np.float32), signal))
    assert np.array_equal(past.last(20), whole[-20:])
    assert np.array_equal(past.last(7), whole[-7:])
    assert len(past.last(99)) == 20
