from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.media.stretch import longer, shorter

RATE = 48_000


def tone(hertz: float, samples: int = 960, channels: int = 2) -> Any:
    t = np.arange(samples) / RATE
    return np.repeat((0.4 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None], channels, axis=1)


def strongest(sound: Any) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound[:, 0] * np.hanning(len(sound)), 8_192))) * RATE / 8_192)


@pytest.mark.parametrize("hertz", [110, 150, 220, 333, 440, 1_000])
@pytest.mark.parametrize("change", [shorter, longer])
def test_a_tone_stays_a_tone(hertz: float, change: Any) -> None:
    sound = tone(hertz)
    changed = change(sound)

    assert 120 <= abs(len(changed) - len(sound)) <= 480
    assert (len(changed) > len(sound)) == (change is longer)
    assert changed.dtype == np.float32
    # No step is larger than those of the tone itself: no click.
    assert np.abs(np.diff(changed[:, 0])).max() < 1.3 * np.abs(np.diff(sound[:, 0])).max()
    assert np.allclose(changed[:10], sound[:10], atol=0.01)
    assert np.allclose(changed[-10:], sound[-10:], atol=0.01)


@pytest.mark.parametrize("hertz", [120, 150, 220, 440])
@pytest.mark.parametrize("change", [shorter, longer])
def test_a_tone_in_short_blocks_stays_a_tone_where_what_was_before_is_known(hertz: float, change: Any) -> None:
    whole = tone(hertz, 480 * 3)
    before, block, after = whole[:480], whole[480:960], whole[960:]
    changed = change(block, before=before)

    assert 120 <= abs(len(changed) - len(block)) <= 480
    assert (len(changed) > len(block)) == (change is longer)
    heard = np.concatenate((before, changed, after))
    assert np.abs(np.diff(heard[:, 0])).max() < 1.3 * np.abs(np.diff(whole[:, 0])).max()
    assert strongest(heard) == pytest.approx(strongest(whole), abs=60)


@pytest.mark.parametrize("change", [shorter, longer])
def test_what_has_no_period_is_left_alone_unless_it_is_silent(change: Any) -> None:
    rng = np.random.default_rng(1)
    noise = (0.2 * rng.standard_normal((960, 1))).astype(np.float32)
    assert change(noise) is noise
    assert len(change(noise, likeness=0.0)) != 960
    assert abs(len(change(noise * np.float32(1e-4))) - 960) == 480
    short = noise[:120]
    assert change(short) is short


@given(st.integers(1, 3_000), st.sampled_from([1, 2]), st.integers(0, 2**31), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_any_block_stays_finite_and_about_as_long(samples: int, channels: int, seed: int, likeness: float) -> None:
    block = np.random.default_rng(seed).uniform(-1, 1, (samples, channels)).astype(np.float32)
    for change in (shorter, longer):
        for before in (None, block[: samples // 2 + 1]):
            changed = change(block, likeness, before)
            assert abs(len(changed) - samples) <= 480
            assert np.abs(changed).max() <= 1.0
