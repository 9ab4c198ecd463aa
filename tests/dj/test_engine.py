"""The engine: the right samples at the right frame, no clicks, and the same sound when it is rebuilt at any moment."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.dj.deck_loops import beat_loop
from wsactors.dj.deck_motion import scratch
from wsactors.dj.engine import MAX_PENDING, RAMP, Engine
from wsactors.dj.state import BattleState, Crossfader, DeckState
from wsactors.dj.strip import Crossing, Master, Phones, Strip

SECONDS = 48_000


def ramp_song() -> Any:
    """A song whose left sample tells its own position: frame n holds n / 48,000 of full scale."""
    left = np.arange(24_000, dtype=np.float32) / 48_000
    return np.stack([left, np.zeros_like(left)], axis=1)


def tone(hertz: float, seconds: float = 10.0) -> Any:
    t = np.arange(int(seconds * SECONDS)) / SECONDS
    return np.repeat((8_000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)[:, None], 2, axis=1)


def sweep(seconds: float = 10.0) -> Any:
    """Every moment sounds different: a sine rising from 200 to 2,200 Hz."""
    t = np.arange(int(seconds * SECONDS)) / SECONDS
    phase = 2 * np.pi * (200 * t + 100 * t**2)
    return np.repeat((8_000 * np.sin(phase)).astype(np.int16)[:, None], 2, axis=1)


def playing(song: str, frames: int, at: int = 0, **changes: Any) -> DeckState:
    return attrs.evolve(DeckState().load(at, song, frames).play(at), **changes)


A_ALONE = Crossfader(-1.0)


def render(engine: Engine, frames: int, block: int = 480) -> Any:
    out = [engine.render(min(block, frames - at)) for at in range(0, frames, block)]
    return np.concatenate(out)


def test_the_sample_of_frame_f_is_the_deck_s_position_at_f() -> None:
    engine = Engine({"s": ramp_song()}, 100_000, BattleState(a=playing("s", 24_000, 100_000), crossfader=A_ALONE))
    out = render(engine, 9_600)[:, 0]
    at = np.arange(1_000, 9_600)
    assert np.allclose(out[at], (at - engine.delay) / 48_000, atol=1e-6)


def test_an_empty_or_paused_battle_is_silent() -> None:
    paused = DeckState().load(0, "s", 24_000)
    for state in (BattleState(), BattleState(a=paused), BattleState(a=playing("missing", 24_000))):
        assert not render(Engine({"s": ramp_song()}, 0, state), 4_800).any()


@pytest.mark.parametrize("at", [4_800, 4_801, 5_123, 5_279])
def test_a_command_is_carried_out_on_its_own_frame_not_on_the_block_s(at: int) -> None:
    song = {"s": np.full((48_000, 2), 0.5, np.float32)}
    engine = Engine(song, 0, BattleState(a=DeckState().load(0, "s", 48_000), crossfader=A_ALONE))
    engine.set_state(at, BattleState(a=playing("s", 48_000, at), crossfader=A_ALONE))
    out = render(engine, 9_600)[:, 0]
    first = int(np.flatnonzero(out)[0])
    assert first == at + engine.delay


@pytest.mark.parametrize("change", ["pause", "seek", "gain", "fader", "load", "rate", "stop_all"])
def test_no_change_clicks(change: str) -> None:
    songs = {"s": tone(200), "t": tone(200)}
    deck = playing("s", 480_000)
    before = BattleState(a=deck, crossfader=A_ALONE)
    at = 12_345
    after = {
        "pause": attrs.evolve(before, a=deck.pause(at)),
        "seek": attrs.evolve(before, a=deck.seek(at, 99_999.5)),
        "gain": attrs.evolve(before, a=deck.with_gain(0.1)),
        "fader": attrs.evolve(before, crossfader=Crossfader(1.0)),
        "load": attrs.evolve(before, a=deck.load(at, "t", 480_000).play(at)),
        "rate": attrs.evolve(before, a=deck.with_rate(at, 1.01)),
        "stop_all": BattleState(),
    }[change]
    engine = Engine(songs, 0, before)
    engine.set_state(at, after)
    out = render(engine, 24_000)[:, 0]
    # A 200 Hz sine of this size moves 0.0064 per frame; a cut would move up to 0.49.
    assert np.abs(np.diff(out)).max() < 0.0064 * 2.2


@given(cut=st.integers(1, 380))
@settings(max_examples=20, deadline=None)
def test_rebuilt_at_any_moment_it_sounds_the_same(cut: int) -> None:
    songs = {"s": sweep(), "t": tone(777)}
    state = BattleState(
        playing("s", 480_000, 0, rate=1.03), playing("t", 480_000, 0, loop=True), Crossfader(period=96_000, origin=0)
    )
    whole = render(Engine(songs, 0, state), 400 * 480)
    rebuilt = render(Engine(songs, cut * 480, state), 480 * 20)
    start = cut * 480
    stable = RAMP + 96
    assert np.allclose(rebuilt[stable:], whole[start + stable : start + 9_600], atol=1e-4)


def busy() -> list[tuple[int, BattleState]]:
    """A battle in which everything is used: knobs, effects, headphones, both decks, key-lock, a loop, a moving fader."""
    a, b = playing("s", 480_000, rate=1.03, keylock=True), playing("t", 480_000, loop=True)
    bus = Master().switched("echo", True).switched("reverb", True).switched("crush", True)
    states = [(0, BattleState(a, b, Crossfader(period=48_000, origin=7), bus=bus))]

    def then(frame: int, **changes: Any) -> None:
        states.append((frame, attrs.evolve(states[-1][1], **changes)))

    then(3_333, strip_a=Strip(low=-1.0, sweep=0.3, pfl=True), a=a.with_rate(3_333, 0.97))
    then(
        5_001, strip_b=Strip(kill_mid=True, volume=0.4), b=beat_loop(b, 5_001, 1 / 8), crossing=Crossing("sharp", True)
    )
    then(9_600, bus=bus.tuned("echo", "wet", 0.9), phones_a=Phones(0.5, 0.7), master=3.0)
    then(14_441, strip_a=Strip(), crossfader=Crossfader(-0.3), b=scratch(states[-1][1].b, 14_441, -1.5))
    return states


@pytest.mark.parametrize("block", [96, 256, 960, 1_111, 24_000])
def test_blocks_of_any_size_sound_the_same_to_the_bit(block: int) -> None:
    songs = {"s": sweep(), "t": tone(777)}
    outs = []
    for size in (480, block):
        engine = Engine(songs, 0, busy()[0][1], phones=True)
        for frame, state in busy()[1:]:
            engine.set_state(frame, state)
        pieces = [engine.render_all(min(size, 24_000 - at)) for at in range(0, 24_000, size)]
        outs.append(np.concatenate([np.hstack((piece.out, *piece.phones)) for piece in pieces]))
    assert outs[0].shape == (24_000, 6)
    assert np.abs(outs[0]).max(axis=0).min() > 0.01 or not outs[0][:, 4:].any()
    assert np.array_equal(outs[0], outs[1])


def test_headphones_carry_what_the_room_does_not_hear() -> None:
    state = BattleState(
        playing("s", 480_000), playing("t", 480_000), A_ALONE, strip_b=Strip(pfl=True), phones_b=Phones(0.0, 1.0)
    )
    engine = Engine({"s": tone(500), "t": tone(1_500)}, 0, state, phones=True)
    pieces = [engine.render_all() for _ in range(100)]
    room = np.concatenate([piece.out for piece in pieces])[4_800:, 0]
    first, second = (np.concatenate([piece.phones[side] for piece in pieces])[4_800:, 0] for side in (0, 1))

    def level(sound: Any, hertz: float) -> float:
        t = np.arange(len(sound)) / SECONDS
        return float(np.abs(np.mean(sound * np.exp(-2j * np.pi * hertz * t))))

    assert level(second, 1_500) > 0.1 > 1e-3 > level(second, 500)
    assert level(room, 500) > 0.1 > 1e-3 > level(room, 1_500)
    assert not first.any()


def test_an_engine_made_afresh_does_not_let_knobs_be_heard_on_their_way() -> None:
    quiet = BattleState(playing("s", 480_000), playing("t", 480_000), A_ALONE, strip_a=Strip(volume=0.0))
    assert np.abs(render(Engine({"s": tone(500), "t": tone(1_500)}, 0, quiet), 4_800)).max() < 1e-6


def test_the_fader_carries_both_songs_at_equal_power() -> None:
    songs = {"s": tone(500), "t": tone(1_500)}
    out = {}
    for place in (-1.0, 0.0, 1.0):
        state = BattleState(playing("s", 480_000), playing("t", 480_000), Crossfader(place))
        sound = render(Engine(songs, 0, state), 48_000)[4_800:, 0]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) / len(sound) * 4
        hertz = np.fft.rfftfreq(len(sound), 1 / SECONDS)
        out[place] = [float(spectrum[np.abs(hertz - f) < 5].max()) for f in (500, 1_500)]
    assert out[-1.0][1] < out[-1.0][0] / 1_000
    assert out[1.0][0] < out[1.0][1] / 1_000
    assert out[0.0][0] == pytest.approx(out[-1.0][0] * 0.7071, rel=0.01)
    assert out[0.0][1] == pytest.approx(out[1.0][1] * 0.7071, rel=0.01)


def test_too_loud_is_limited() -> None:
    songs = {"s": np.full((48_000, 2), 0.9, np.float32)}
    state = BattleState(playing("s", 48_000, gain=4.0), playing("s", 48_000, gain=4.0), Crossfader(0.0), 4.0)
    assert np.abs(render(Engine(songs, 0, state), 24_000)).max() <= 0.892


def test_a_later_truth_overrides_what_was_to_come() -> None:
    songs = {"s": ramp_song()}
    engine = Engine(songs, 0, BattleState(crossfader=A_ALONE))
    engine.set_state(9_600, BattleState(a=playing("s", 24_000, 9_600), crossfader=A_ALONE))
    engine.set_state(4_800, BattleState(crossfader=A_ALONE))
    assert not render(engine, 19_200).any()


def test_what_waits_is_bounded() -> None:
    engine = Engine({}, 0, BattleState())
    accepted = [engine.set_state(1_000 + step, BattleState()) for step in range(MAX_PENDING + 10)]
    assert accepted.count(True) == MAX_PENDING
    engine.render(4_800)
    assert engine.set_state(10_000, BattleState())


def test_a_change_for_a_frame_gone_by_happens_now() -> None:
    engine = Engine({"s": ramp_song()}, 48_000, BattleState(crossfader=A_ALONE))
    engine.set_state(10, BattleState(a=playing("s", 24_000, 47_000), crossfader=A_ALONE))
    out = render(engine, 4_800)[:, 0]
    assert out[2_000] == pytest.approx((1_000 + 2_000 - engine.delay) / 48_000, abs=1e-6)


def test_skipping_leaves_the_sound_on_the_timeline() -> None:
    engine = Engine({"s": ramp_song()}, 0, BattleState(a=playing("s", 24_000), crossfader=A_ALONE))
    engine.render()
    engine.skip_to(9_600)
    out = render(engine, 4_800)[:, 0]
    assert out[2_000] == pytest.approx((9_600 + 2_000 - engine.delay) / 48_000, abs=1e-6)
    engine.skip_to(0)
    assert engine.frame == 14_400
