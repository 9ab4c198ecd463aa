from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dsp.limiter import Limiter
from wsactors.media.ducking import Ducker, DuckingOptions
from wsactors.media.mix import MAX_CLIPS, Mixer

SAMPLES = 960


def noise(seed: int, channels: int = 1, scale: float = 0.1) -> Any:
    return np.random.default_rng(seed).uniform(-scale, scale, (SAMPLES, channels)).astype(np.float32)


@given(st.integers(1, 6), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=25)
def test_everybody_hears_all_others_and_not_oneself(speakers: int, channels: int) -> None:
    mixer = Mixer[int](channels=channels)
    # A limiter looks a little ahead, so compare with one of the same history.
    wanted: dict[Any, Limiter] = {
        name: Limiter(channels=channels, true_peak=False) for name in (*range(speakers), "all")
    }
    for tick in range(3):
        blocks = {name: noise(100 * tick + name, channels) for name in range(speakers)}
        mixer.feed(blocks)
        for name in range(speakers):
            others = np.zeros((SAMPLES, channels), np.float32)
            for key, block in blocks.items():
                others += block if key != name else 0
            assert np.allclose(mixer.without(name), wanted[name].process(others), atol=1e-6)
        total: Any = np.sum(list(blocks.values()), axis=0, dtype=np.float32)
        assert np.allclose(mixer.whole(), wanted["all"].process(total), atol=1e-6)


def test_the_mix_of_many_loud_ones_stays_below_full_scale() -> None:
    mixer: Mixer[Any] = Mixer()
    for tick in range(5):
        mixer.feed({name: noise(tick * 9 + name, scale=0.9) for name in range(8)})
        assert np.abs(mixer.whole()).max() <= 0.9
        assert np.abs(mixer.without(3)).max() <= 0.9


def test_mono_and_stereo_meet() -> None:
    mixer: Mixer[str] = Mixer(channels=2)
    mono, stereo = noise(1, 1), noise(2, 2)
    mixer.feed({"a": mono, "b": stereo})
    heard = mixer.whole()
    assert np.allclose(heard[95:], (mono + stereo)[:-95], atol=1e-6)
    single: Mixer[str] = Mixer(channels=1)
    single.feed({"b": stereo})
    assert np.allclose(single.whole()[95:, 0], stereo.mean(axis=1)[:-95], atol=1e-6)
    with pytest.raises(ValueError, match="960 samples"):
        single.feed({"b": stereo[:100]})


def level(block: Any) -> float:
    return float(np.sqrt(np.mean(block**2)))


def test_others_give_way_to_a_priority_speaker_and_come_back() -> None:
    mixer: Mixer[Any] = Mixer()
    tone = np.full((SAMPLES, 1), 0.2, np.float32)
    silent = np.zeros((SAMPLES, 1), np.float32)
    heard = []
    for tick in range(100):
        chair = {"chair": silent} if 20 <= tick < 50 else {}
        mixer.feed({"bob": tone, **chair}, priority={"chair"})
        heard.append(level(mixer.whole()))
    assert heard[15] == pytest.approx(0.2, rel=1e-3)
    assert heard[30] == pytest.approx(0.05, rel=0.02)  # −12 dB
    assert heard[55] == pytest.approx(0.05, rel=0.02)  # a pause is waited out
    assert heard[99] == pytest.approx(0.2, rel=1e-3)


def test_gains_of_a_ducker_never_jump() -> None:
    ducker = Ducker(DuckingOptions(attack=0.05, release=0.2, hold=0.1))
    assert ducker.is_at_rest
    pattern = [False] * 3 + [True] * 10 + [False] * 3 + [True] * 2 + [False] * 30
    gains = np.concatenate([ducker.gains(priority, 480) for priority in pattern])[:, 0]
    assert np.abs(np.diff(gains)).max() <= 0.75 / (0.05 * 48_000) * 1.01
    assert gains.min() == pytest.approx(10 ** (-12 / 20), abs=1e-3)
    assert gains[-1] == pytest.approx(1.0)
    assert ducker.is_at_rest


def test_clips_sound_for_everybody_and_are_bounded() -> None:
    mixer: Mixer[Any] = Mixer()
    clip = np.full((SAMPLES * 2 + 100, 2), 0.1, np.float32)
    assert all(mixer.add_clip(clip) for _ in range(MAX_CLIPS))
    assert not mixer.add_clip(clip)
    heard = []
    for _ in range(4):
        mixer.feed({"ann": noise(1)})
        assert np.allclose(mixer.without("ann"), mixer.whole() - np.float32(0), atol=0.2)
        mixer.feed({})
        heard.append(level(mixer.without("ann")))
    assert heard[0] > 0.5
    assert heard[-1] == 0.0
    assert mixer.add_clip(clip)
    with pytest.raises(ValueError, match="clip"):
        mixer.add_clip(np.zeros(100, np.float32))
