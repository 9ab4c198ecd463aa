"""Tracks made audible: mixed, silenced, bounded, reported on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from wsactors.client.hearing import BLOCK, MOST_TRACKS, RATE, Hearing, hear
from wsactors.client.listening import Listening
from wsactors.media.opus import Encoder
from wsactors.wire.native import AudioFrame, Joined

FRAME = 960


def frames(track: int, frequency: float, count: int) -> list[AudioFrame]:
    encoder = Encoder(1, bitrate=64_000)
    times = np.arange(count * FRAME, dtype=np.float32) / RATE
    tone = (0.25 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)[:, None]
    return [
        AudioFrame(track, n, n * FRAME, encoder.encode(np.ascontiguousarray(tone[n * FRAME : (n + 1) * FRAME])), 20)
        for n in range(count)
    ]


def play(hearing: Hearing, *tracks: list[AudioFrame], lost: frozenset[int] = frozenset()) -> np.ndarray:
    """Each frame comes when its last sample has been captured; the sound is pulled in blocks of 10 ms."""
    pulled = []
    for block in range(2 * len(tracks[0])):
        now = block * BLOCK / RATE
        if block % 2 == 0:
            for track in tracks:
                if block // 2 not in lost:
                    hearing.feed(track[block // 2], now)
        pulled.append(hearing.pull(BLOCK, now))
    return np.concatenate(pulled)


def power(sound: np.ndarray, frequency: float) -> float:
    """Amplitude of ``frequency`` in the second half of ``sound``."""
    half = sound[len(sound) // 2 :, 0]
    angle = 2j * np.pi * frequency * np.arange(len(half)) / RATE
    return float(2 * abs(np.mean(half * np.exp(-angle))))


def test_two_tracks_are_heard_together_and_one_alone_when_the_other_is_muted() -> None:
    both = play(hearing := Hearing(1), low := frames(1, 440, 100), high := frames(2, 3_000, 100))
    assert power(both, 440) == pytest.approx(0.25, rel=0.1)
    assert power(both, 3_000) == pytest.approx(0.25, rel=0.1)
    hearing.close()
    hearing = Hearing(1)
    for track in (low, high):
        hearing.feed(track[0], 0.0)
    hearing.set_volume(1, 0.0)
    alone = play(hearing, low, high)
    assert power(alone, 440) < 0.005
    assert power(alone, 3_000) == pytest.approx(0.25, rel=0.1)
    with pytest.raises(ValueError, match="0 to 2"):
        hearing.set_volume(1, 3.0)


def test_what_is_lost_is_counted_and_told() -> None:
    hearing = Hearing(1)
    assert hearing.report(0.0) is None
    play(hearing, frames(7, 440, 200), lost=frozenset({50, 51, 120}))
    quality = hearing.quality[7]
    assert quality.loss == pytest.approx(3 / 200, rel=0.1)
    assert 0 < quality.concealed < 0.03
    assert 0 < quality.buffer < 0.1
    hearing.probe(99, 4.0)
    report = hearing.report(4.25)
    assert report is not None
    assert (report.probe, report.held) == (99, 0.25)
    assert [(track.track, track.lost, track.received) for track in report.tracks] == [(7, 3, 197)]


def test_tracks_are_bounded() -> None:
    hearing = Hearing(1)
    for number, frame in enumerate(frames(0, 440, 1) * (MOST_TRACKS + 5)):
        hearing.feed(AudioFrame(number, 0, 0, frame.payload), float(number))
    assert sorted(hearing.quality) == list(range(5, MOST_TRACKS + 5))
    hearing.close()
    assert not hearing.quality


async def test_a_busy_moment_is_made_up_for_and_a_long_one_is_left_out(autojump_clock: trio.testing.MockClock) -> None:
    sound = frames(1, 440, 300)
    listening = Listening(Joined("main", 1))
    client: Any = SimpleNamespace(on_probe=None, report=lambda _report: None)
    blocks: list[Any] = []

    async def arrive() -> None:
        for number, frame in enumerate(sound):
            await trio.sleep_until(begun + number * FRAME / RATE)
            listening.feed(frame, trio.current_time())

    def write(block: Any) -> None:
        blocks.append(block)
        if len(blocks) in {150, 200, 250}:
            autojump_clock.jump(0.03)  # a moment in which this thread was not served
        elif len(blocks) == 350:
            autojump_clock.jump(1.0)

    async with trio.open_nursery() as nursery:
        begun = trio.current_time() + 0.005
        nursery.start_soon(arrive)
        quality = await hear(client, listening, write, seconds=4.5)
        nursery.cancel_scope.cancel()
    counted = quality[1].statistics
    heard = np.concatenate(blocks)[:, 0]
    assert len(heard) == 450 * BLOCK
    loud = np.sqrt(np.mean(heard[: 340 * BLOCK].reshape(-1, BLOCK) ** 2, axis=1))
    assert loud[20:].min() > 0.1
    assert counted.concealed <= 0.02 * counted.played
    assert trio.current_time() - begun < 6.2


async def test_what_waits_when_one_begins_to_hear_is_heard_at_once(autojump_clock: trio.testing.MockClock) -> None:
    listening = Listening(Joined("main", 1))
    for frame in frames(1, 440, 4):  # what a session gives who comes late
        listening.feed(frame, trio.current_time())
    blocks: list[Any] = []
    await hear(SimpleNamespace(on_probe=None), listening, blocks.append, seconds=0.1)  # type: ignore[arg-type]
    assert np.abs(np.concatenate(blocks[:2])).max() > 0.03
