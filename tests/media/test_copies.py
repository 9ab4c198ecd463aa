"""Copies of earlier frames: who gets them, of which, and that they repair what they are there for."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import pytest

from tests.media.links import FRAME, gilbert_elliott, listening, packet
from wsactors.media.copies import LEVELS, CopyChooser, CopyOptions, FrameCopies
from wsactors.media.reports import track_report
from wsactors.wire.audio_frame import (
    FLAG_DISCONTINUITY,
    MAX_DATAGRAM,
    AudioFrame,
    Copy,
    decode_audio,
    encode_audio,
    encode_redundant,
)
from wsactors.wire.receiver_report import ReceiverReport, TrackReport


def lossy(level: int) -> FrameCopies:
    """For a listener that has reported losses against which copies of that level help."""
    copies = FrameCopies()
    frames, lost, runs = {1: (1_000, 8, 8), 2: (100, 10, 10), 3: (100, 10, 6), 4: (100, 30, 10)}[level]
    copies.hear(ReceiverReport((TrackReport(1, 0, 100),)), 0.0)
    copies.hear(ReceiverReport((TrackReport(1, 0, 100 + frames - lost, lost=lost, runs=runs),)), 1.0)
    assert copies.distances == LEVELS[level]
    return copies


def coded(number: int, *, track: int = 1, at: int | None = None, flags: int = 0, payload: bytes = b"") -> bytes:
    timestamp = (number if at is None else at) * FRAME
    return encode_audio(track, number, timestamp, payload or packet(number), level=30, flags=flags)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_each_frame_carries_those_so_far_back_and_is_made_once_for_all(level: int) -> None:
    one, other = lossy(level), lossy(level)
    for n in range(2**32 - 10, 2**32 + 10):
        data = coded(n)
        sent = one.add(data)
        assert other.add(data) is sent
        frame = decode_audio(sent)
        assert attrs.evolve(frame, copies=()) == decode_audio(data)
        known = [far for far in LEVELS[level] if n - far >= 2**32 - 10]
        assert frame.copies == tuple(Copy(packet(n - far), far) for far in sorted(known, reverse=True))


def test_who_loses_nothing_gets_the_very_same_bytes() -> None:
    copies = FrameCopies()
    data = coded(1)
    assert copies.add(data) is data
    copies.hear(ReceiverReport((TrackReport(1, 0, 100),)), 0.0)
    copies.hear(ReceiverReport((TrackReport(1, 0, 150),)), 1.0)
    assert copies.add(data) is data
    probe = copies.probe(1.0)
    assert probe is not None
    copies.hear(ReceiverReport((), probe.nonce, 0.5), 1.6)
    assert copies.rtt == pytest.approx(0.1)


def test_there_is_no_copy_that_a_listener_could_not_place() -> None:
    copies = lossy(1)
    plain = [
        coded(0),
        coded(1, at=50, flags=FLAG_DISCONTINUITY),  # after a pause
        coded(3, at=52),  # what is between was lost before it came here
        coded(4, at=54),  # a jump that nobody told
        coded(5, at=55, payload=b"\xf9" + bytes(8)),  # 40 ms
        coded(6, at=57),  # after 40 ms
        coded(7, at=58, track=2),  # of somebody else
        encode_audio(1, 7, 58 * FRAME, b"\xff"),  # which says nothing about itself
    ]
    assert [copies.add(data) for data in plain] == plain
    redundant = encode_redundant(AudioFrame(1, 8, 59 * FRAME, packet(8)), packet(7))
    assert copies.add(redundant) is redundant
    large = [coded(n, track=3, payload=b"\xf8" + bytes(700)) for n in range(2)]
    assert [copies.add(data) for data in large] == large
    assert all(len(data) <= MAX_DATAGRAM for data in large)


def test_as_many_as_fit_a_datagram() -> None:
    copies = lossy(2)
    sent = [copies.add(coded(n, payload=b"\xf8" + bytes((n,)) * 400)) for n in range(3)]
    assert [len(decode_audio(data).copies) for data in sent] == [0, 1, 1]
    assert all(len(data) <= MAX_DATAGRAM for data in sent)


def test_what_was_never_sent_is_no_reason_to_send_more() -> None:
    copies = FrameCopies()
    for second in range(20):
        track = TrackReport(1, 0, 40 * second, lost=10 * second, runs=3 * second)
        copies.hear(ReceiverReport((track,)), float(second), dropped=10 * second)
    assert copies.distances == ()


def test_what_is_kept_is_bounded() -> None:
    copies = lossy(4)
    for n in range(100):
        for track in range(100):
            copies.add(coded(n, track=track))
    kept = copies._sent
    assert len(kept) <= 32
    assert all(len(sent) <= 8 for sent in kept.values())


def told(chooser: CopyChooser, reports: int, frames: int, lost: int, runs: int, begin: int = 0) -> list[int]:
    return [chooser.hear(frames, lost, runs, now=float(begin + second)) for second in range(reports)]


def test_copies_reach_as_far_back_as_losses_are_long() -> None:
    assert told(CopyChooser(), 5, 50, 0, 0)[-1] == 0
    assert told(CopyChooser(), 5, 1_000, 7, 7)[-1] == 1
    assert told(CopyChooser(), 5, 50, 2, 2)[-1] == 2
    assert told(CopyChooser(), 5, 50, 5, 3)[-1] == 3
    chooser = CopyChooser(CopyOptions(calm=15.0))
    assert told(chooser, 5, 50, 6, 2)[-1] == 4
    assert chooser.hear(0, 0, 0, now=6.0) == 4
    assert told(chooser, 10, 50, 0, 0, 7)[-1] == 4
    assert told(chooser, 80, 50, 0, 0, 17)[-1] == 0


def test_two_losses_that_happen_to_be_long_are_no_bursts() -> None:
    chooser = CopyChooser()
    assert told(chooser, 1, 50, 4, 2) == [2]
    assert told(chooser, 60, 50, 2, 2, 1)[-1] == 2


def closed_loop(is_lost: Callable[[], bool], seconds: int) -> tuple[float, float, list[tuple[int, ...]]]:
    """A listener that reports once a second and gets copies for that; residual loss and concealment after ten seconds."""
    chance = random.Random(9)
    listener, copies = listening(), FrameCopies()
    distances: list[tuple[int, ...]] = []
    before: tuple[int, int, int] = (0, 0, 0)
    for second in range(seconds):
        coming = []
        for number in range(second * 50, second * 50 + 50):
            data = copies.add(coded(number))
            if not is_lost():
                coming.append((number / 50 + chance.random() * 0.005, decode_audio(data)))
        listener.run(coming, second + 1)
        copies.hear(ReceiverReport((track_report(1, listener.buffer),)), float(second))
        distances.append(copies.distances)
        statistics = listener.buffer.statistics
        if second == 10:
            before = statistics.lost - statistics.recovered, statistics.concealed, statistics.played
    statistics = listener.buffer.statistics
    residual = (statistics.lost - statistics.recovered - before[0]) / ((seconds - 11) * 50)
    return residual, (statistics.concealed - before[1]) / (statistics.played - before[2]), distances


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_listener_reports_brings_the_copies_that_it_needs(seed: int) -> None:
    chance = random.Random(seed)
    residual, concealed, distances = closed_loop(lambda: chance.random() < 0.03, 150)
    assert residual <= 0.0005
    assert concealed <= 0.01
    assert set(distances[10:]) <= {(1,), (1, 2)}

    residual, concealed, distances = closed_loop(gilbert_elliott(chance, 0.10, 3), 150)
    assert residual <= 0.015
    assert concealed <= 0.02
    assert distances[-1] == LEVELS[-1]

    residual, concealed, distances = closed_loop(lambda: False, 20)
    assert (residual, concealed, set(distances)) == (0.0, 0.0, {()})
