"""A loop has no seam that could be heard, whichever way and in whatever blocks it is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dsp.tape import SEAM, Region, Tape

T = np.arange(96_000) / 48_000
SWEEP = np.repeat((20_000 * np.sin(2 * np.pi * (200 * T + 300 * T**2))).astype(np.int16)[:, None], 2, axis=1)
regions = st.builds(
    lambda start, length, above, below: Region(start, start + length, above, below),
    st.floats(0, 50_000), st.floats(64, 20_000), st.booleans(), st.booleans(),
)  # fmt: skip


def test_without_a_loop_it_is_the_recording():
    tape = Tape(SWEEP)
    assert np.array_equal(tape.at(np.arange(50.0, 99.0)), SWEEP[50:99] / np.float32(32768))
    assert np.array_equal(tape.span(50, 49), SWEEP[50:99] / np.float32(32768))


@given(st.floats(100, 40_000), st.floats(700, 20_000), st.integers(1, 500))
@settings(max_examples=60, deadline=None)
def test_behind_the_seam_a_turn_is_the_loop_again(start, length, turns):
    tape = Tape(SWEEP, Region(start, start + length))
    inside = start + SEAM + np.arange(length - SEAM - 1)

    assert np.allclose(tape.at(inside + turns * length), Tape(SWEEP).at(inside), atol=1e-4)
    back = start + np.arange(length - SEAM - 1)
    assert np.allclose(tape.at(back - turns * length), Tape(SWEEP).at(back), atol=1e-4)


@given(regions, st.floats(-40_000, 90_000), st.floats(-3, 3))
@settings(max_examples=100, deadline=None)
def test_the_sound_never_jumps(region, begin, rate):
    tape = Tape(SWEEP, region)
    low = region.start if not region.below else -1e9
    high = region.end if not region.above else 1e9
    positions = np.clip(begin + rate * np.arange(2_000), max(low, 10.0), min(high, 90_000.0) - 1e-6)
    fine = np.interp(np.arange(0, 1_999, 0.25), np.arange(2_000), positions)

    # The steepest sine moves 0.2 per source frame; two of them in a seam at most twice that, and the seam itself 0.02.
    allowed = np.abs(np.diff(fine)) * 0.42 + 1e-4
    assert (np.abs(np.diff(tape.at(fine)[:, 0])) <= allowed).all()


@given(regions, st.floats(-40_000, 90_000), st.floats(-3, 3), st.lists(st.integers(1, 500), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_blocks_of_any_size_are_the_same_to_the_bit(region, begin, rate, blocks):
    tape = Tape(SWEEP, region)
    positions = begin + rate * np.arange(sum(blocks))
    pieces = [tape.at(part) for part in np.split(positions, np.cumsum(blocks)[:-1])]

    assert np.array_equal(np.concatenate(pieces), tape.at(positions))


def test_a_loop_without_a_seam_is_repeated_as_it_is():
    tape = Tape(SWEEP, Region(0.0, 96_000.0, seam=0.0))

    assert np.array_equal(
        tape.at(np.arange(95_990.0, 96_010.0)), SWEEP[[*range(95_990, 96_000), *range(10)]] / np.float32(32768)
    )
    assert np.array_equal(tape.span(-5, 10), SWEEP[[*range(95_995, 96_000), *range(5)]] / np.float32(32768))


@pytest.mark.parametrize("first", [-700, 100, 29_000, 300_000])
def test_the_channels_added_up_are_those_of_the_sound(first):
    tape = Tape(SWEEP, Region(10_000.0, 30_000.5, below=False))
    assert np.allclose(tape.mono(first, 900), tape.span(first, 900).sum(axis=1) * 32768, atol=1.0)
