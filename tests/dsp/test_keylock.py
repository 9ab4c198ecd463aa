"""Another tempo in the same key: pure tones stay pure, drums stay in time, and where it is read from does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from wsactors.dsp.keylock import EPOCH, HOP, KeyLock
from wsactors.dsp.loops import demo_loops
from wsactors.dsp.tape import Region, Tape

RATE = 48_000


def stereo(mono):
    return np.repeat((mono * 32_767).astype(np.int16)[:, None], 2, axis=1)


def stretched(source, rate, frames, block=480, begin=5_000.0, region=None, frame=0, since=0):
    tape = Tape(source, region)

    def motion(at: int) -> float:
        return float(begin + rate * at)

    key = KeyLock(tape, motion, frame, since)
    return np.concatenate([key.render(tape, motion, min(block, frames - at)) for at in range(0, frames, block)])


def purity(sound, hertz) -> float:
    """Decibels by which these frequencies, give or take 12 Hz, are louder than everything else."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    bins = np.fft.rfftfreq(len(sound), 1 / RATE)
    wanted = (np.abs(bins[:, None] - np.array(hertz)) < 12).any(axis=1)
    return float(10 * np.log10(power[wanted].sum() / power[~wanted].sum()))


CHORD = (220.0, 277.18, 329.63, 440.0, 880.3)


@pytest.mark.parametrize("rate", [0.92, 1.0, 1.037, 1.06])
def test_tones_keep_their_pitch_and_stay_pure(rate):
    t = np.arange(RATE * 5) / RATE
    sine = stretched(stereo(0.3 * np.sin(2 * np.pi * 440 * t)), rate, RATE * 3)[RATE:, 0]
    chord = stretched(stereo(sum(0.1 * np.sin(2 * np.pi * f * t) for f in CHORD)), rate, RATE * 3)[RATE:, 0]

    assert purity(sine, (440.0,)) > 50
    assert purity(chord, CHORD) > 36


@pytest.mark.parametrize("rate", [0.94, 1.06])
def test_drums_are_where_the_motion_says(rate):
    rng = np.random.default_rng(0)
    burst = (np.exp(-np.arange(2_000) / 300) * rng.standard_normal(2_000) * 0.2).astype(np.float32)
    track = np.zeros(RATE * 12)
    hits = range(52_800, len(track) - 60_000, 24_000)
    for hit in hits:
        track[hit : hit + 2_000] = burst

    sound = stretched(stereo(track), rate, round(len(track) / rate) - 9_600)[:, 0]

    late = []
    for hit in hits:
        wanted = (hit - 5_000) / rate
        around = sound[round(wanted) - 2_000 : round(wanted) + 4_000]
        found = int(np.argmax(np.correlate(around, burst[:600], "valid")))
        late.append((round(wanted) - 2_000 + found - wanted) / 48)
    assert abs(np.mean(late)) < 0.2
    assert np.abs(late).max() < 1.0


def test_at_the_recorded_speed_it_is_the_recording():
    loop = demo_loops()[0]
    sound = stretched(loop, 1.0, 48_000)

    assert np.allclose(sound[HOP:], loop[5_000 + HOP : 53_000] / np.float32(32768), atol=1e-6)


def test_blocks_of_any_size_are_the_same_to_the_bit():
    loop = demo_loops()[1]
    whole = stretched(loop, 1.05, 96_000)

    for block in (256, 960, 1_111):
        assert np.array_equal(stretched(loop, 1.05, 96_000, block), whole)


def test_made_afresh_in_the_middle_of_an_epoch_it_goes_on_as_if_it_had_run():
    loop = demo_loops()[0]
    running = stretched(loop, 0.95, 200_000)

    fresh = stretched(loop, 0.95, 40_000, frame=160_000)

    assert np.array_equal(fresh, running[160_000:])


def test_made_by_a_truth_younger_than_the_epoch_it_is_the_same_from_the_next_one_on():
    loop = demo_loops()[0]
    region = Region(0.0, float(len(loop)), seam=0.0)
    frames = EPOCH - 100_000 + 50_000
    running = stretched(loop, 0.95, frames + 100_000, region=region)

    fresh = stretched(loop, 0.95, frames, region=region, frame=100_000, since=90_000)

    at = EPOCH - 100_000 + HOP
    assert np.array_equal(fresh[at:], running[100_000 + at :])


def test_a_loop_of_broken_length_stays_in_the_key():
    t = np.arange(RATE * 2) / RATE
    region = Region(10_000.0, 10_000 + 7_200.3)
    sound = stretched(stereo(0.3 * np.sin(2 * np.pi * 440 * t)), 1.05, RATE * 2, begin=9_000.0, region=region)

    assert purity(sound[RATE // 2 :, 0], (440.0,)) > 20  # the loop itself does not fit the sine
