"""The mixer: no control clicks, cuts make no difference, what is flat is not there, and what a DJ hears is this DJ's own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from wsactors.dj.mixer import Channel, CueBus, MasterBus
from wsactors.dj.strip import BANDS, EFFECTS, KNOBS, Crossing, Effect, Master, Phones, Strip
from wsactors.dsp.gain import db_to_gain
from wsactors.dsp.glide import GLIDE

RATE = 48_000
CLICK = -60.0
"""dBFS that may be left of a tone of 1 kHz at -6 dBFS, when all from 500 Hz to 2 kHz has been taken out."""


@attrs.frozen
class Truth:
    """What is in force in a block."""

    strip: Strip = Strip()
    master: Master = Master()
    phones: Phones = Phones(mix=1.0)
    side: float = 1.0


def mixed(signal: Any, script: list[tuple[int, Truth]], sizes: Iterator[int], frame: int = 0) -> tuple[Any, Any]:
    """The master's and the headphones' output; the script says what is true from which frame on."""
    channel, master, cue = Channel(), MasterBus(), CueBus()
    out, heard, at = [], [], 0
    for (_, truth), end in zip(script, [begin for begin, _ in script[1:]] + [len(signal)], strict=True):
        while at < end:
            piece = signal[at : min(end, at + next(sizes))]
            sent = channel.process(piece, truth.strip, truth.side)
            mix = master.process(sent.mix, truth.master, frame + at)
            out.append(mix.out)
            heard.append(cue.process([sent.pfl, None], mix.mix, truth.phones))
            at += len(piece)
    return np.concatenate(out), np.concatenate(heard)


def noise(frames: int, seed: int = 1) -> Any:
    return (np.random.default_rng(seed).standard_normal((frames, 2)) * 0.2).astype(np.float32)


# -- clicks ------------------------------------------------------------------------------------------------------------

STEP = 12_000 + 137
LENGTH = 36_000
FLAT = Truth()
STOP = butter(4, (500, 2_000), "bandstop", fs=RATE, output="sos")


def strip(**changes: Any) -> Truth:
    return Truth(strip=attrs.evolve(Strip(), **changes))


def effect(kind: str, **knobs: Any) -> Truth:
    """One effect, switched on, its delay short enough that what is put into it comes out within the test."""
    values = {"on": True, "wet": 1.0, "time": 0.4, **knobs}
    changed = Effect(kind, **values)
    master = attrs.evolve(Master(), effects=tuple(changed if e.kind == kind else e for e in Master().effects))
    return Truth(master=master)


def steps() -> dict[str, tuple[Truth, Truth]]:
    """A step of every control, from end to end and to the middle."""
    quiet = Phones(0.0)
    found: dict[str, tuple[Truth, Truth]] = {
        "trim": (strip(trim=1.0), strip(trim=0.0)),
        "volume": (FLAT, strip(volume=0.0)),
        "crossfader": (FLAT, Truth(side=Crossing().gains(1.0)[0])),
        "master volume": (FLAT, Truth(master=Master(volume=0.0))),
        "pfl": (Truth(phones=quiet), Truth(strip(pfl=True).strip, phones=quiet)),
        "cue mix": (Truth(strip(pfl=True, volume=0.0).strip, phones=quiet), Truth(strip(pfl=True, volume=0.0).strip)),
        "cue volume": (FLAT, Truth(phones=Phones(1.0, 0.0))),
    }
    for band in BANDS:
        found[f"eq {band} out"] = FLAT, strip(**{band: -1.0})
        found[f"eq {band} up"] = strip(**{band: -1.0}), strip(**{band: 1.0})
        found[f"kill {band}"] = strip(low=0.2), Truth(strip(low=0.2).strip.with_kill(band, True))
    for begin, end in itertools.permutations((-1.0, -0.5, 0.0, 0.5, 1.0), 2):
        found[f"sweep {begin:g} to {end:g}"] = strip(sweep=begin), strip(sweep=end)
    for kind in set(EFFECTS) - {"crush"}:
        found[f"{kind} on"] = FLAT, effect(kind)
        found[f"{kind} off"] = effect(kind), effect(kind, on=False)
        for knob in KNOBS:
            # The knobs that say how much of an effect there is, from nothing to everything.
            low, high = (0.0, 1.0) if knob != "time" else (0.2, 0.5)
            found[f"{kind} {knob} up"] = effect(kind, **{knob: low}), effect(kind, **{knob: high})
            found[f"{kind} {knob} down"] = effect(kind, **{knob: high}), effect(kind, **{knob: low})
        both = effect(kind)
        found[f"{kind} beat"] = both, attrs.evolve(both, master=attrs.evolve(both.master, beat=20_000.0))
    dirty = functools.reduce(lambda m, kind: m.switched(kind, True), ("echo", "flanger", "filter"), Master())
    found["order"] = Truth(master=dirty), Truth(master=dirty.ordered(EFFECTS[::-1]))
    return found


def residue(before: Truth, after: Truth, which: int) -> float:
    """dBFS of the loudest that is left after a step when 1 kHz is taken out, for half a second."""
    tone = 10 ** (-6 / 20) * np.sin(2 * np.pi * 1_000 * np.arange(LENGTH) / RATE)
    signal = np.repeat(tone.astype(np.float32)[:, None], 2, axis=1)
    out = mixed(signal, [(0, before), (STEP, after)], itertools.repeat(480))[which]
    return float(20 * np.log10(np.abs(sosfilt(STOP, out, axis=0)[STEP:]).max() + 1e-9))


def test_no_control_clicks() -> None:
    loudest: dict[str, float] = {}
    for name, (before, after) in steps().items():
        which = 1 if name in {"pfl", "cue mix", "cue volume"} else 0
        loudest[name] = residue(before, after, which)
    for name, left in sorted(loudest.items(), key=lambda item: -item[1]):
        print(f"{name:24s} {left:7.1f} dBFS")
    assert {name: left for name, left in loudest.items() if left > CLICK} == {}


@pytest.mark.parametrize("knob", ["on", "wet", "depth", "tone"])
def test_a_step_of_the_crusher_is_no_dirtier_than_what_it_leads_from_or_to(knob: str) -> None:
    # Its very sound is what the click test counts. So: no more of it than before or after the step.
    settings = [effect("crush", **{knob: value}) for value in ((False, True) if knob == "on" else (0.1, 0.9))]
    steady = max(residue(truth, truth, 0) for truth in settings)
    assert residue(settings[0], settings[1], 0) <= steady + 0.2
    assert residue(settings[1], settings[0], 0) <= steady + 0.2


def test_the_click_test_hears_clicks() -> None:
    tone = 10 ** (-6 / 20) * np.sin(2 * np.pi * 1_000 * np.arange(LENGTH) / RATE)
    tone[STEP:] *= 0.9
    assert 20 * np.log10(np.abs(sosfilt(STOP, tone)[STEP:]).max()) > -40


# -- cuts --------------------------------------------------------------------------------------------------------------


def script(seed: int, frames: int) -> list[tuple[int, Truth]]:
    """Changes of everything, at any frame."""
    rng = np.random.default_rng(seed)
    truth, at, found = Truth(), 0, [(0, Truth())]
    while (at := at + int(rng.integers(1, 2_500))) < frames:
        for _ in range(3):
            truth = changed(truth, rng)
        found.append((at, truth))
    return found


def changed(truth: Truth, rng: Any) -> Truth:
    strip, master, value = truth.strip, truth.master, float(rng.random())
    match int(rng.integers(0, 9)):
        case 0:
            strip = strip.with_band(BANDS[rng.integers(3)], float(rng.choice([-1, 0, 0.3, 1])))
        case 1:
            strip = strip.with_kill(BANDS[rng.integers(3)], bool(rng.integers(2)))
        case 2:
            strip = attrs.evolve(strip, sweep=float(rng.choice([-0.8, -0.3, 0, 0, 0.4, 0.7])))
        case 3:
            strip = attrs.evolve(strip, volume=value, pfl=bool(rng.integers(2)), trim=value * 3)
        case 4:
            master = master.switched(EFFECTS[rng.integers(5)], bool(rng.integers(2)))
        case 5:
            master = master.tuned(EFFECTS[rng.integers(5)], KNOBS[rng.integers(5)], value)
        case 6:
            master = master.ordered([EFFECTS[place] for place in rng.permutation(5)])
        case 7:
            master = attrs.evolve(master, volume=value, beat=15_000 + 10_000 * value)
        case _:
            return attrs.evolve(truth, phones=Phones(value, 1 - value), side=value)
    return attrs.evolve(truth, strip=strip, master=master)


@pytest.mark.parametrize("seed", range(4))
def test_how_the_stream_is_cut_makes_no_difference_to_any_bit(seed: int) -> None:
    signal, changes = noise(24_000, seed), script(seed, 24_000)
    rng = np.random.default_rng(seed)
    whole = mixed(signal, changes, itertools.repeat(480), 7 << 40)
    for sizes in (itertools.repeat(256), itertools.repeat(960), iter(lambda: int(rng.integers(1, 1_500)), None)):
        again = mixed(signal, changes, sizes, 7 << 40)
        for one, other in zip(whole, again, strict=True):
            assert np.array_equal(one, other)
    assert max(np.abs(out).max() for out in whole) <= db_to_gain(-1.0)


# -- what goes where ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [256, 480, 960])
def test_a_mixer_at_rest_changes_no_bit(size: int) -> None:
    signal = noise(9_600) * np.float32(0.3)
    out, _ = mixed(signal, [(0, Truth())], itertools.repeat(size))
    delay = MasterBus().delay
    assert np.array_equal(out[delay:], signal[:-delay])
    assert not out[:delay].any()
    assert Channel().process(signal, Strip()).mix is signal


def test_back_at_rest_no_bit_is_changed_either() -> None:
    signal = noise(24_000) * np.float32(0.3)
    busy = Truth(Strip(2.0, 0.5, -1.0, 0.3, kill_high=True, sweep=-0.4, volume=0.5), effect("flanger").master, side=0.3)
    out, _ = mixed(signal, [(0, Truth()), (3_000, busy), (9_000, Truth())], itertools.repeat(480))
    rest = 9_000 + 3 * GLIDE
    delay = MasterBus().delay
    assert np.array_equal(out[rest + delay :], signal[rest:-delay])


def test_pfl_is_before_the_fader_and_behind_the_equaliser() -> None:
    signal = noise(4 * GLIDE)
    down = Strip(volume=0.0, pfl=True)
    channel = Channel()
    channel.process(signal, down, 0.0)
    sent = channel.process(signal, down, 0.0)
    assert not sent.mix.any()
    assert sent.pfl is not None
    assert np.array_equal(sent.pfl, signal)
    channel.process(signal, attrs.evolve(down, kill_low=True, kill_mid=True, kill_high=True))
    killed = channel.process(signal, attrs.evolve(down, kill_low=True, kill_mid=True, kill_high=True))
    assert killed.pfl is not None
    assert not killed.pfl.any()
    channel.process(signal, Strip())
    assert channel.process(signal, Strip()).pfl is None


def test_each_dj_hears_what_this_dj_wants_to() -> None:
    a, b = (np.full((GLIDE, 2), level, np.float32) for level in (0.1, 0.2))
    mix = np.full((GLIDE, 2), 0.4, np.float32)
    heard = []
    for pfl, phones in (([a, None], Phones(0.0)), ([None, b], Phones(0.5, 0.5)), ([a, b], Phones(1.0))):
        cue = CueBus()
        out = np.concatenate([cue.process(pfl, mix, phones) for _ in range(3)])
        heard.append(float(out[-1, 0]))
    assert heard == [pytest.approx(0.1), pytest.approx((0.2 * 0.5 + 0.4 * 0.5) * 0.25), pytest.approx(0.4)]


def test_headphones_are_limited_and_in_time_with_the_mix() -> None:
    assert MasterBus().delay == 96 - 1 + 15
    loud = noise(9_600) * 10
    out, heard = mixed(loud, [(0, Truth())], itertools.repeat(480))
    assert np.abs(heard).max() <= db_to_gain(-1.0)
    # After the way there, what a DJ hears of the mix is the mix.
    assert np.allclose(out[4 * GLIDE :], heard[4 * GLIDE :], atol=0.02)


def test_effects_are_heard_in_their_order() -> None:
    # Crushed and then filtered is smooth; filtered and then crushed has its steps.
    master = Master().switched("crush", True).switched("filter", True)
    for kind, knob, value in (("crush", "wet", 1.0), ("crush", "depth", 1.0), ("filter", "wet", 1.0),
                              ("filter", "tone", 0.2)):  # fmt: skip
        master = master.tuned(kind, knob, value)
    tone = (0.5 * np.sin(2 * np.pi * 60 * np.arange(9_600) / RATE)[:, None] * np.ones(2)).astype(np.float32)
    jumps = []
    for order in (["crush", "filter"], ["filter", "crush"]):
        kinds = [*order, *(kind for kind in EFFECTS if kind not in order)]
        out, _ = mixed(tone, [(0, Truth(master=master.ordered(kinds)))], itertools.repeat(480))
        jumps.append(float(np.abs(np.diff(out[4_800:, 0])).max()))
    assert jumps[0] < 0.02
    assert jumps[1] > 0.2


def test_how_much_the_limiter_takes_is_told() -> None:
    bus = MasterBus()
    assert bus.reduction == 0.0
    for at in range(0, 4_800, 480):
        bus.process(noise(480, at) * 10, Master(), at)
    assert bus.reduction > 0.5
