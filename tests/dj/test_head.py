"""One deck's sound: in the right place, without clicks, the same in any blocks and from any moment on."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dj.deck_verbs import FRAMES, SCRIPTS, loaded, told
from wsactors.dj import deck_cues, deck_loops, deck_motion
from wsactors.dj.deck import DeckState
from wsactors.dj.head import JUMP, Head
from wsactors.dsp.glide import GLIDE
from wsactors.dsp.interpolation import Source
from wsactors.dsp.keylock import EPOCH

T = np.arange(FRAMES) / 48_000
SWEEP = np.repeat((16_000 * np.sin(2 * np.pi * (200 * T + 40 * T**2))).astype(np.int16)[:, None], 2, axis=1)
TONE = np.repeat((8_000 * np.sin(2 * np.pi * 200 * T)).astype(np.int16)[:, None], 2, axis=1)


def render(truths: list[DeckState], frame: int, frames: int, block: int = 480, song=SWEEP):
    """The sound of a list of truths, each from its own frame on; what is due within a block cuts it, as the engine does."""
    head = Head({"song": song}, frame, truths[0])
    coming = list(truths[1:])
    out = []
    at, end = frame, frame + frames
    edge = frame
    while at < end:
        while coming and max(coming[0].frame, frame) <= at:
            head.change(at, coming.pop(0))
        if at >= edge:
            edge = at + block
        upto = min(edge, end, max(coming[0].frame, frame) if coming else end)
        out.append(head.render(at, upto - at))
        at = upto
    return np.concatenate(out)


@given(SCRIPTS, st.sampled_from([1, 96, 256, 960, 4_800]))
@settings(max_examples=25, deadline=None)
def test_whatever_is_done_blocks_of_any_size_sound_the_same_to_the_bit(script, block):
    truths = told(loaded(frame=500), script)
    frames = truths[-1].frame - 500 + (2_000 if block == 1 else 12_000)
    if block == 1:
        truths, frames = truths[-1:], 1_500
    begin = truths[0].frame

    assert np.array_equal(render(truths, begin, frames, block), render(truths, begin, frames))


@given(SCRIPTS, st.integers(0, 60_000))
@settings(max_examples=40, deadline=None)
def test_made_afresh_it_sounds_like_one_that_has_run_up_to_its_fade(script, later):
    # The key's lock has a memory of its own: tests/dsp/test_keylock.py.
    truths = [attrs.evolve(deck, keylock=False) for deck in told(loaded(frame=500), script)]
    deck = truths[-1]
    start = deck.frame + later
    running = render(truths, 500, start - 500 + 4_000)[start - 500 :]

    fresh = render([deck], start, 4_000)

    settled = max(JUMP, GLIDE)
    assert np.array_equal(fresh[settled:], running[settled:])


def test_with_key_lock_a_deck_left_alone_is_found_again_at_once():
    deck = loaded(keylock=True).play(0).with_rate(0, 1.04)
    running = render([deck], 0, 200_000)

    fresh = render([deck], 150_000, 50_000)

    assert np.array_equal(fresh[JUMP:], running[150_000 + JUMP :])


def test_with_key_lock_a_deck_just_touched_is_found_again_at_the_next_epoch():
    truths = [loaded(keylock=True).load(EPOCH - 90_000, "song", FRAMES).play(EPOCH - 90_000).with_rate(0, 1.04)]
    for frame in range(EPOCH - 80_000, EPOCH - 60_000, 777):
        truths.append(truths[-1].with_rate(frame, 1.04 + 1e-7 * (frame % 1000)))
    begin = truths[0].frame
    running = render(truths, begin, 150_000)

    fresh = render(truths[-1:], EPOCH - 40_000, 80_000)

    assert np.array_equal(fresh[42_000:], running[EPOCH - 40_000 - begin + 42_000 :][: 80_000 - 42_000])


STEP = 2 * np.pi * 200 / 48_000 * 8_000 / 32_768
"""How far the 200 Hz tone moves in a frame at most; a cut would be up to seventy times as far."""


def _verbs():
    play = loaded(grid=None).load(0, "song", FRAMES, grid=None).play(0)
    at = 12_345
    looped = deck_loops.loop_out(deck_loops.loop_in(play, 5_000), 9_876)
    locked = attrs.evolve(play, keylock=True, rate=1.01)
    return {
        "pause": [play, play.pause(at)],
        "seek": [play, play.seek(at, 99_999.5)],
        "cue": [play, deck_cues.cue_press(play, at)],
        "hotcue": [play, deck_cues.hotcue_press(deck_cues.with_hotcue(play, 1, 33_333.0), at, 1)],
        "loop": [play, looped],
        "short loop": [play, deck_loops.beat_loop(play, at, 1 / 32)],
        "halve": [play, looped, deck_loops.loop_halve(looped, at)],
        "exit in the seam": [play, looped, deck_loops.loop_exit(looped, 9_900)],
        "rate in the seam": [play, looped, looped.with_rate(9_900, 1.01)],
        "roll": [play, deck_loops.roll(play, 5_000, 1 / 8), deck_loops.loop_exit(deck_loops.roll(play, 5_000, 1 / 8), at)],
        "brake": [play, deck_motion.brake(play, at, 0.1)],
        "spin up": [play.pause(0), deck_motion.spin_up(play.pause(0), at, 0.1)],
        "reverse": [play, deck_motion.reverse(play, at, True)],
        "scratch": [play, deck_motion.scratch(play, at, -1.0), deck_motion.scratch(play, at + 3_000, 0.9)],
        "hold": [play, deck_motion.scratch(play, at, 0.0), deck_motion.release(deck_motion.scratch(play, at, 0.0), 18_000)],
        "beat jump": [play, deck_motion.beat_jump(deck_motion.with_grid(play, loaded().grid), at, 1.3)],
        "key": [play, deck_motion.with_keylock(play, at, True)],
        "key off": [locked, deck_motion.with_keylock(locked, at, False)],
        "gain": [play, play.with_gain(0.1)],
        "eject": [play, play.eject(at)],
    }  # fmt: skip


@pytest.mark.parametrize("name", _verbs())
def test_nothing_clicks(name):
    truths = _verbs()[name]
    sound = render(truths, 0, 30_000, song=TONE)[:, 0]

    # Twice the tone's own step: in a fade two places are heard at once.
    assert np.abs(np.diff(sound)).max() < STEP * 2.2
    assert np.abs(sound).max() > 0.1


def test_a_start_leaves_a_drum_its_edge():
    flat = np.full((48_000, 2), 0.5, np.float32)
    deck = DeckState().load(0, "song", 48_000)
    sound = render([deck, deck.play(1_000)], 0, 2_000, song=flat)[:, 0]

    assert not sound[:1_000].any()
    assert sound[1_096] == 0.5


def test_a_platter_at_rest_is_silent():
    deck = loaded(playing=False).seek(0, 50_000.0)
    braked = deck_motion.brake(loaded().play(0), 4_800, 0.2)
    sound = render([loaded().play(0), braked], 0, 30_000)

    assert not render([deck], 0, 4_800).any()
    assert not sound[4_800 + 9_600 :].any()
    assert sound[9_600:12_000].any()


def test_a_song_that_comes_later_is_heard_when_it_is_there():
    songs: dict[str, Source] = {}
    head = Head(songs, 0, loaded().play(0))
    assert not head.render(0, 480).any()

    songs["song"] = SWEEP
    later = np.concatenate([head.render(480, 480), head.render(960, 480)])

    assert np.array_equal(later[480:], SWEEP[960:1_440] / np.float32(32768))


@pytest.mark.parametrize("keylock", [False, True])
def test_frames_left_out_are_left_out_of_the_sound(keylock):
    deck = loaded(keylock=keylock).play(0)
    head = Head({"song": SWEEP}, 0, deck)
    for frame in range(0, 9_600, 480):
        head.render(frame, 480)

    sound = np.concatenate([head.render(frame, 480) for frame in range(96_000, 105_600, 480)])

    assert np.allclose(sound[2_400:], SWEEP[98_400:105_600] / np.float32(32768), atol=1e-6)
