"""Values that glide and settings that are faded: smooth, exact at both ends, and the same however the stream is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dsp.glide import GLIDE, Crossfade, Glide, blend

GAIN = st.floats(-8, 8)


def taken(glide: Glide, frames: int) -> Any:
    return np.broadcast_to(glide.factor(frames), (frames, 1))[:, 0]


def test_it_leaves_and_arrives_without_a_corner() -> None:
    glide = Glide(0.25)
    glide.aim(1.0)
    way = taken(glide, GLIDE + 20)
    assert way[0] == pytest.approx(0.25, abs=1e-6)
    assert (way[GLIDE - 1 :] == 1.0).all()
    assert (np.diff(way) >= 0).all()
    assert np.abs(np.diff(way, 2)).max() < 4e-5
    assert glide.settled
    assert glide.take(10) is None


def test_a_new_aim_is_followed_from_wherever_it_is() -> None:
    glide = Glide(0.0)
    way = []
    for step in range(40):  # a hand that turns a knob to and fro, faster than the glide
        glide.aim(float(step % 2))
        way.append(taken(glide, 50))
    glide.aim(0.5)
    way.append(taken(glide, GLIDE))
    joined = np.concatenate(way)
    assert np.abs(np.diff(joined)).max() < 2.1 / GLIDE
    assert joined.min() >= 0.0
    assert joined.max() <= 1.0
    assert joined[-1] == 0.5


@given(st.lists(st.tuples(GAIN, st.integers(1, 300)), min_size=1, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_pieces_of_any_size_give_the_same_bits(script: Any, data: Any) -> None:
    outs: list[Any] = []
    glide = Glide(1.0)
    for pieces in (False, True):
        glide = Glide(1.0)
        way: list[Any] = []
        for gain, frames in [*script, (script[0][0], 1_000)]:
            glide.aim(gain)
            left = frames
            while left:
                step = min(left, data.draw(st.integers(1, 200))) if pieces else left
                way.append(taken(glide, step))
                left -= step
        outs.append(np.concatenate(way))
    assert np.array_equal(outs[0], outs[1])
    assert outs[0][-1] == glide.target == pytest.approx(script[0][0], abs=1e-7)


@pytest.mark.parametrize("wrong", [8.1, -9.0, float("nan"), float("inf")])
def test_what_cannot_be_summed_exactly_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="must be within"):
        Glide(wrong)
    with pytest.raises(ValueError, match="must be within"):
        Glide(0.0).aim(wrong)


def heard(fade: Crossfade[str], frames: int) -> list[tuple[int, str, str]]:
    return [(each.end - each.begin, each.old, each.new) for each in fade.take(frames)]


def test_settings_give_way_one_after_the_other() -> None:
    fade = Crossfade("a")
    assert heard(fade, 100) == [(100, "a", "a")]
    fade.aim("b")
    assert heard(fade, 300) == [(300, "a", "b")]
    fade.aim("c")
    fade.aim("d")
    assert not fade.settled
    assert fade.setting == "d"
    assert heard(fade, 900) == [(180, "a", "b"), (480, "b", "d"), (240, "d", "d")]
    assert fade.settled
    fade.jump("e")
    assert heard(fade, 5) == [(5, "e", "e")]


def test_a_blend_is_exact_at_its_ends() -> None:
    rng = np.random.default_rng(1)
    dry, wet = rng.standard_normal((2, 100, 2)).astype(np.float32)
    assert np.array_equal(blend(dry, wet, np.zeros((100, 1))), dry)
    assert np.array_equal(blend(dry, wet, np.ones((100, 1))), wet)
