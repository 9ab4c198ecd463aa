"""The demo loops are music, by what can be measured: one tempo, one key, no seam, headroom, never silent, never noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsactors.dsp.gain import equal_power
from wsactors.dsp.loops import BARS, BEAT, BPM, FRAMES, SAMPLE_RATE, demo_loops

A_MINOR = {9, 11, 0, 2, 4, 5, 7}  # pitch classes of the key, C = 0


@pytest.fixture(scope="module")
def loops() -> Any:
    return [loop.astype(np.float64) / 32_768 for loop in demo_loops(1)]


def rms_db(signal: Any) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(signal**2)) + 1e-12))


def test_they_have_one_length_in_whole_packets() -> None:
    assert BEAT * BPM == 60 * SAMPLE_RATE
    assert FRAMES == BARS * 4 * BEAT
    assert BEAT % 960 == 0
    assert {loop.shape for loop in demo_loops(1)} == {(FRAMES, 2)}
    assert {loop.dtype for loop in demo_loops(1)} == {np.dtype(np.int16)}


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    first, again, other = demo_loops(1), demo_loops(1), demo_loops(2)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_they_are_never_silent(loops: Any) -> None:
    for loop in loops:
        seconds = loop[: FRAMES // 4_800 * 4_800].reshape(-1, 4_800, 2)  # tenths of a second
        assert min(rms_db(piece) for piece in seconds) > -45


def test_there_is_headroom_alone_and_at_every_place_of_the_crossfader(loops: Any) -> None:
    for loop in loops:
        assert -8 < 20 * np.log10(np.abs(loop).max()) < -6
        assert -24 < rms_db(loop) < -14
        assert np.abs(loop.mean(axis=0)).max() < 1e-3
    for position in (-0.5, 0.0, 0.5):
        left, right = equal_power(position)
        assert np.abs(left * loops[0] + right * loops[1]).max() < 0.89  # the limiter stays out of it


def test_the_seam_is_no_click(loops: Any) -> None:
    for loop in loops:
        around = np.concatenate((loop[-480:], loop[:480]))
        steps = np.abs(np.diff(around, axis=0)).max(axis=1)
        assert steps[479] <= np.percentile(np.abs(np.diff(loop, axis=0)), 99.9)


def test_they_share_the_beat(loops: Any) -> None:
    """Low-frequency energy rises on the first beat of every bar, in both loops at the same frame."""
    for loop in loops:
        low = np.convolve(loop.mean(axis=1), np.ones(240) / 240, "same")
        for bar in range(1, BARS):
            at = bar * 4 * BEAT
            before = np.mean(low[at - 1_200 : at - 240] ** 2)
            assert np.mean(low[at + 240 : at + 2_400] ** 2) > 2 * before


def test_they_are_tonal_and_in_one_key(loops: Any) -> None:
    """Between 120 and 1,500 Hz, nearly all energy sits on notes of the key; noise would spread over all twelve."""
    for loop in loops:
        chroma = np.zeros(12)
        spectrum = np.abs(np.fft.rfft(loop.mean(axis=1))) ** 2
        hertz = np.fft.rfftfreq(FRAMES, 1 / SAMPLE_RATE)
        band = (hertz > 120) & (hertz < 1_500)
        notes = np.round(69 + 12 * np.log2(hertz[band] / 440)).astype(int) % 12
        np.add.at(chroma, notes, spectrum[band])
        inside = sum(chroma[note] for note in A_MINOR) / chroma.sum()
        assert inside > 0.85
