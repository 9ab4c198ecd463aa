"""Frames made audible: what a listener's loudspeaker gets, sample by sample, over links that are not perfect."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.media.links import FRAME, RATE, arrivals
from wsactors.media.opus import Application, Encoder
from wsactors.media.playout import Playout
from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, FLAG_SILENCE, AudioFrame, Copy

BLOCK = 480


def tone(hertz: float, samples: int, start: int = 0) -> Any:
    t = (np.arange(samples) + start) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None]


def coded(sound: Any, frame: int = FRAME, **options: Any) -> list[bytes]:
    with Encoder(1, bitrate=48_000, **options) as encoder:
        return [encoder.encode(sound[at : at + frame]) for at in range(0, len(sound) - frame + 1, frame)]


def frames(packets: list[bytes], frame: int = FRAME, distance: int = 0) -> list[tuple[float, AudioFrame]]:
    found = []
    for n, payload in enumerate(packets):
        copies = (Copy(packets[n - distance], distance),) if distance and n >= distance else ()
        found.append(
            (n * frame / RATE, AudioFrame(1, n, n * frame, payload, 20, 0, copies))
        )  # fmt: skip
    return found


def heard(playout: Playout, coming: list[tuple[float, AudioFrame]], seconds: float, ppm: float = 0.0) -> Any:
    at, index, pieces = 0.0, 0, []
    while at < seconds:
        while index < len(coming) and coming[index][0] <= at:
            playout.put(coming[index][1], coming[index][0])
            index += 1
        pieces.append(playout.pull(BLOCK, at))
        assert pieces[-1].shape == (BLOCK, 1)
        at += BLOCK / RATE / (1 + ppm / 1e6)
    return np.concatenate(pieces)[:, 0]


def loudness(sound: Any) -> Any:
    return np.sqrt(np.mean(sound[: len(sound) // BLOCK * BLOCK].reshape(-1, BLOCK) ** 2, axis=1))


def strongest(sound: Any) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))) * RATE / len(sound))


def biggest_step(sound: Any) -> float:
    return float(np.abs(np.diff(sound)).max())


@pytest.mark.parametrize("frame", [480, 960, 1_920, 2_880])
def test_a_tone_is_heard_as_it_was_with_frames_of_every_length(frame: int) -> None:
    packets = coded(tone(440, 3 * RATE), frame)
    playout = Playout(1)
    sound = heard(playout, arrivals(frames(packets, frame)), 2.9)
    begin = int(np.argmax(np.abs(sound) > 0.05)) / RATE
    assert frame / RATE <= begin + 0.02 <= 0.17
    assert strongest(sound[RATE:]) == pytest.approx(440, abs=2)
    assert loudness(sound[RATE // 2 :]).min() > 0.15
    assert playout.buffer.statistics.concealed == 0
    assert biggest_step(sound) < 0.05
    playout.close()


def test_loss_with_copies_is_not_heard() -> None:
    chance = random.Random(3)
    packets = coded(tone(300, 10 * RATE))
    coming = arrivals(frames(packets, distance=1), is_lost=lambda: chance.random() < 0.05)
    playout = Playout(1)
    sound = heard(playout, coming, 9.9)
    statistics = playout.buffer.statistics
    assert statistics.lost > 10
    assert statistics.concealed <= 0.01 * statistics.played
    assert loudness(sound[RATE:]).min() > 0.1


def test_loss_without_copies_is_guessed_from_speech_s_own_redundancy_and_by_concealment() -> None:
    chance = random.Random(4)
    t = np.arange(6 * RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    packets = coded((0.15 * buzz).astype(np.float32)[:, None], application=Application.VOIP, fec=True, expected_loss=20)
    playout = Playout(1)
    sound = heard(playout, arrivals(frames(packets), is_lost=lambda: chance.random() < 0.1), 5.9)
    statistics = playout.buffer.statistics
    assert statistics.recovered > 8
    assert statistics.concealed < 0.09 * statistics.played
    assert loudness(sound[RATE:]).min() > 0.002


def test_pauses_begin_and_end_without_a_click_and_are_silent() -> None:
    packets = coded(tone(200, 2 * RATE))
    coming = []
    for n, payload in enumerate(packets):
        flags = FLAG_SILENCE if n in {47, 48, 49} else FLAG_DISCONTINUITY if n == 50 else 0
        at = n + (50 if n >= 50 else 0)
        coming.append((at / 50 + 0.02, AudioFrame(1, n, at * FRAME, payload, 20, flags)))
    playout = Playout(1)
    sound = heard(playout, coming, 3.0)
    quiet = loudness(sound) < 1e-6
    assert 90 <= quiet[50:].sum() <= 110
    assert biggest_step(sound) < 0.03
    assert (playout.buffer.statistics.concealed, playout.buffer.statistics.lost) == (0, 0)


@pytest.mark.parametrize("frame", [480, 960])
@pytest.mark.parametrize("ppm", [-2_000, 2_000])
def test_drift_is_made_up_for_without_clicks(ppm: int, frame: int) -> None:
    packets = coded(tone(250, 30 * RATE), frame)
    playout = Playout(1)
    sound = heard(playout, arrivals(frames(packets, frame)), 29.5, ppm)
    statistics = playout.buffer.statistics
    assert statistics.underruns == 0
    changed = statistics.lengthened if ppm > 0 else statistics.shortened
    assert changed == pytest.approx(0.002 * 29 * RATE, abs=1_600)  # and what was waited for at first
    assert biggest_step(sound[RATE // 2 :]) < 0.03
    assert strongest(sound[RATE : 20 * RATE]) == pytest.approx(250, abs=2)


def test_what_is_no_opus_inside_a_good_header_is_guessed() -> None:
    packets = coded(tone(300, RATE))
    packets[20] = b"\xfb\x3f" + b"\xff" * 30
    packets[21] = b"\xfa" + b"\xff" * 3
    playout = Playout(1)
    sound = heard(playout, arrivals(frames(packets)), 0.9)
    assert np.isfinite(sound).all()
    assert playout.buffer.statistics.malformed >= 1


def test_it_can_be_pulled_in_any_pieces() -> None:
    packets = coded(tone(300, RATE))
    coming = arrivals(frames(packets))
    whole, pieces = Playout(1), Playout(1)
    for at, frame in coming:
        whole.put(frame, at)
        pieces.put(frame, at)
    one = whole.pull(4_800, 1.1)
    at, many = 1.1, []
    for size in (128,) * 37 + (64,):
        many.append(pieces.pull(size, at))
        at += size / RATE
    assert np.array_equal(one, np.concatenate(many))
    assert whole.waiting < 2_880
