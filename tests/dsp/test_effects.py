"""The effects: what each does, that an idle one is not there, that tails ring out, and that cuts make no difference."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from wsactors.dsp.delay_line import DelayLine
from wsactors.dsp.effects import Insert, Setting
from wsactors.dsp.effects.crush import Crush
from wsactors.dsp.effects.echo import MAX_DELAY, MAX_FEEDBACK, Echo
from wsactors.dsp.effects.filter import Filter
from wsactors.dsp.effects.flanger import SHORTEST, WIDEST, Flanger
from wsactors.dsp.effects.reverb import Reverb
from wsactors.dsp.glide import GLIDE

KINDS: dict[str, type[Insert]] = {
    "echo": Echo, "reverb": Reverb, "flanger": Flanger, "filter": Filter, "crush": Crush,
}  # fmt: skip
ON, OFF = Setting(on=True), Setting()
SETTINGS = st.builds(
    Setting, st.booleans(), *[st.floats(0, 1)], st.integers(1, 200_000), *[st.floats(0, 1) for _ in range(4)]
)


def noise(frames: int, seed: int = 1) -> Any:
    return (np.random.default_rng(seed).standard_normal((frames, 2)) * 0.1).astype(np.float32)


def through(effect: Insert, signal: Any, setting: Setting, frame: int = 0, size: int = 480) -> Any:
    return np.concatenate(
        [effect.process(signal[at : at + size], setting, frame + at) for at in range(0, len(signal), size)]
    )


def warm(kind: str, setting: Setting) -> Insert:
    """An effect that has been on, hearing silence, until all its glides have ended."""
    effect = KINDS[kind]()
    through(effect, np.zeros((4 * GLIDE, 2), np.float32), setting, -4 * GLIDE)
    return effect


def click(frames: int) -> Any:
    signal = np.zeros((frames, 2), np.float32)
    signal[0] = (0.5, -0.25)
    return signal


@pytest.mark.parametrize("kind", KINDS)
def test_off_it_hands_on_the_block_it_was_given(kind: str) -> None:
    effect, signal = KINDS[kind](), noise(480)
    assert effect.process(signal, OFF, 0) is signal
    assert effect.asleep


@pytest.mark.parametrize("kind", KINDS)
def test_switched_off_it_falls_asleep_and_is_not_there_again(kind: str) -> None:
    setting = Setting(on=True, frames=4_800, feedback=0.2, time=0.0, tone=0.2)
    effect = KINDS[kind]()
    through(effect, noise(9_600), setting)
    assert not effect.asleep
    through(effect, np.zeros((48_000, 2), np.float32), attrs.evolve(setting, on=False))
    assert effect.asleep
    signal = noise(480)
    assert effect.process(signal, attrs.evolve(setting, on=False), 0) is signal


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_how_the_stream_is_cut_makes_no_difference(kind: str, data: Any, seed: int) -> None:
    script = data.draw(st.lists(st.tuples(SETTINGS, st.integers(1, 2_000)), min_size=1, max_size=5))
    signal = noise(sum(frames for _, frames in script), seed)
    frame = data.draw(st.integers(0, 1 << 45))
    rng = np.random.default_rng(seed)
    outs = []
    for sizes in (itertools.repeat(480), itertools.repeat(10_000), iter(lambda: int(rng.integers(1, 700)), None)):
        effect, at, pieces = KINDS[kind](), 0, []
        for setting, frames in script:
            end = at + frames
            while at < end:
                size = min(end - at, next(sizes))
                pieces.append(effect.process(signal[at : at + size], setting, frame + at))
                at += size
        outs.append(np.concatenate(pieces))
    assert np.array_equal(outs[0], outs[1])
    assert np.array_equal(outs[0], outs[2])
    assert np.isfinite(outs[0]).all()


@pytest.mark.parametrize("delay", [480, 7_777, 24_000])
def test_an_echo_repeats_on_its_beat_and_falls_by_its_feedback(delay: int) -> None:
    setting = Setting(on=True, wet=0.8, frames=delay, feedback=0.5, tone=1.0)
    out = through(warm("echo", setting), click(4 * delay), setting)
    assert np.array_equal(out[0], [0.5, -0.25])
    for repeat in (1, 2, 3):
        expected = 0.8 * (0.5 * MAX_FEEDBACK) ** (repeat - 1)
        assert out[repeat * delay] == pytest.approx(np.array([0.5, -0.25]) * expected, rel=1e-5)
    between = np.ones(4 * delay, bool)
    between[::delay] = False
    assert np.abs(out[between]).max() < 1e-9


def test_an_echo_gets_darker_and_rings_out_when_it_is_switched_off() -> None:
    setting = Setting(on=True, wet=1.0, frames=4_800, feedback=0.5, tone=0.0)
    effect = warm("echo", setting)
    through(effect, noise(4_800), setting)
    tail = through(effect, noise(48_000, 2) * 0.0, attrs.evolve(setting, on=False))
    first, second = tail[:4_800], tail[4_800:9_600]
    assert 0.01 < np.sqrt((second**2).mean()) < np.sqrt((first**2).mean())
    treble = [np.abs(np.fft.rfft(part[:, 0]))[800:].sum() / np.abs(np.fft.rfft(part[:, 0]))[:100].sum() for part in
              (first, second)]  # fmt: skip
    assert treble[1] < treble[0] * 0.75
    # And nothing new goes in: after the send has closed, what is played now is not repeated.
    effect = warm("echo", setting)
    out = through(effect, noise(4_800), attrs.evolve(setting, on=False))
    rest = through(effect, np.zeros((48_000, 2), np.float32), attrs.evolve(setting, on=False))
    assert np.abs(rest).max() < np.abs(out).max()
    assert np.abs(rest[4_800:]).max() < 0.06


def test_the_loudest_echo_does_not_run_away() -> None:
    setting = Setting(on=True, wet=1.0, frames=480, feedback=1.0, tone=1.0)
    n = np.arange(240_000)
    out = through(Echo(), (0.5 * np.sin(2 * np.pi * n / 48))[:, None].astype(np.float32) * np.ones(2), setting)
    assert np.abs(out).max() <= 0.5 * (1 + 1 / (1 - MAX_FEEDBACK)) + 0.1


def test_a_delay_beyond_the_line_is_as_long_as_the_line() -> None:
    setting = Setting(on=True, wet=1.0, frames=10**9, feedback=0.0, tone=1.0)
    out = through(warm("echo", setting), click(MAX_DELAY + 1), setting, size=9_600)
    assert np.flatnonzero(out[:, 0]).tolist() == [0, MAX_DELAY]


@pytest.mark.parametrize(("knob", "seconds"), [(0.0, 0.3), (0.5, 1.34), (1.0, 6.0)])
def test_a_reverb_falls_by_60_decibels_in_its_time(knob: float, seconds: float) -> None:
    setting = Setting(on=True, wet=1.0, time=knob, tone=1.0)
    effect = warm("reverb", setting)
    out = through(effect, click(round(48_000 * min(seconds, 2.0))), setting, size=960)
    energy = np.cumsum((out[::-1, 0].astype(np.float64)) ** 2)[::-1]
    level = 10 * np.log10(energy[4_800:] / energy[4_800])
    early, late = (int(np.argmax(level < -decibels)) for decibels in (3, 13))
    assert (late - early) / 48_000 * 6 == pytest.approx(seconds, rel=0.2)


def test_a_reverb_is_dense_stereo_and_darker_with_less_tone() -> None:
    bright, dark = (
        through(warm("reverb", setting), click(24_000), setting)[4_800:]
        for setting in (Setting(on=True, tone=1.0), Setting(on=True, tone=0.0))
    )
    assert (np.abs(bright[:4_800, 0]) > 1e-4).mean() > 0.2
    assert abs(np.corrcoef(bright.T)[0, 1]) < 0.5
    spectrum = [np.abs(np.fft.rfft(part[:, 0])) for part in (bright, dark)]
    half = len(spectrum[0]) // 2
    assert (spectrum[1][half:] ** 2).sum() < (spectrum[0][half:] ** 2).sum() / 10


def test_a_flanger_s_comb_swings_with_the_timeline() -> None:
    setting = Setting(on=True, wet=1.0, frames=6_000, depth=1.0, feedback=0.0)
    for frame in (0, 48_000 * 1_000_003, 24_000):
        effect = warm("flanger", setting)
        out = through(effect, click(480), setting, frame)[1:, 0]
        loud = np.flatnonzero(np.abs(out) > 0.05) + 1
        if frame % 48_000 == 0:  # the near end of the swing
            assert loud.min() == int(SHORTEST)
        else:  # the far end
            assert loud.min() == int(SHORTEST + WIDEST)


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_a_crusher_leaves_as_many_steps_and_samples_as_asked(depth: float) -> None:
    setting = Setting(on=True, wet=1.0, depth=depth, tone=0.0)
    signal = (np.linspace(-1, 1, 48_000)[:, None] * np.ones(2)).astype(np.float32)
    out = through(warm("crush", setting), signal, setting)
    assert len(np.unique(out[:, 0])) <= min(48_000 / 32, 2 ** (16 - 13 * depth) + 1) + 1
    assert np.abs(np.diff(out[:, 0])[np.arange(47_999) % 32 != 31]).max() == 0.0


def test_a_crusher_that_takes_nothing_gives_back_16_bits() -> None:
    setting = Setting(on=True, wet=1.0, depth=0.0, tone=1.0)
    signal = (np.random.default_rng(1).integers(-32_768, 32_768, (4_800, 2)) / 32_768).astype(np.float32)
    assert np.array_equal(through(warm("crush", setting), signal, setting), signal)


def test_the_filter_is_the_sweep_mixed_in() -> None:
    tone = (np.sin(2 * np.pi * 8_001 * np.arange(9_600) / 48_000)[:, None] * np.ones(2)).astype(np.float32)
    left = []
    for wet in (0.0, 0.5, 1.0):
        setting = Setting(on=True, wet=wet, tone=0.2)
        left.append(np.abs(through(Filter(), tone, setting)[4_800:]).max())
    assert left[0] == pytest.approx(1.0, abs=0.01)
    assert left[1] == pytest.approx(0.5, abs=0.01)
    assert left[2] < 0.001
    setting = Setting(on=True, wet=1.0, tone=0.5)
    effect = warm("filter", setting)
    assert effect.process(tone, setting, 0) is tone


def test_a_delay_line_is_a_ring() -> None:
    line, written = DelayLine(1_000), noise(5_000)
    rng = np.random.default_rng(1)
    at = 0
    while at < 4_000:
        size = int(rng.integers(1, 300))
        line.write(written[at : at + size])
        at += size
        delay = int(rng.integers(1, 1_001))
        count = int(rng.integers(1, delay + 1))
        expected = np.concatenate((np.zeros((1_000, 2), np.float32), written[:at]))[1_000 + at - delay :][:count]
        assert np.array_equal(line.read(delay, count), expected)
    for delay, count in ((0, 1), (5, 6), (1_001, 1), (5, 0)):
        with pytest.raises(ValueError, match="cannot read"):
            line.read(delay, count)
