"""The crossfade keeps power, ramps meet their ends, and neither jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dsp.gain import db_to_gain, equal_power, ramp, ramp_at


@given(st.floats(-1, 1))
def test_power_is_constant(position: float) -> None:
    left, right = equal_power(position)
    assert left**2 + right**2 == pytest.approx(1.0)


def test_the_ends_are_exact_and_the_middle_is_minus_three_decibels() -> None:
    assert equal_power(-1) == (1.0, 0.0)
    assert equal_power(1) == (0.0, 1.0)
    assert equal_power(7) == (0.0, 1.0)
    assert equal_power(0)[0] == pytest.approx(db_to_gain(-3.01), abs=1e-3)


def test_a_ramp_starts_behind_its_first_frame_and_ends_on_its_last() -> None:
    gains = ramp(0.0, 1.0, 4)[:, 0]
    assert gains.tolist() == [0.25, 0.5, 0.75, 1.0]


@given(
    begin=st.floats(0, 4),
    end=st.floats(0, 4),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=8),
)
def test_a_ramp_in_pieces_is_the_same_ramp(begin: float, end: float, cuts: list[int]) -> None:
    pieces, done = [], 0
    for cut in cuts:
        assert ramp_at(begin, end, done, 480) == pytest.approx(ramp(begin, end, 1, done - 1, 480)[0, 0], abs=1e-5)
        pieces.append(ramp(begin, end, cut, done, 480))
        done += cut
    joined = np.concatenate(pieces)[:, 0]
    assert np.allclose(joined, ramp(begin, end, done, 0, 480)[:, 0], atol=1e-6)
    assert np.abs(np.diff(joined, prepend=begin)).max() <= abs(end - begin) / 480 + 1e-5
