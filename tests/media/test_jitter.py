"""The jitter buffer on links that lose, delay, repeat and reorder, against the figures that listeners are promised."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.links import (
    FRAME,
    RATE,
    Listener,
    arrivals,
    gilbert_elliott,
    listening,
    packet,
    talk,
)
from wsactors.media.jitter import JitterBuffer
from wsactors.media.steps import Do, JitterOptions, Stretch
from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, FLAG_SILENCE, MAX_TIMESTAMP, AudioFrame, Copy

COUNT = 3_000  # a minute


def in_order(listener: Listener) -> list[int]:
    numbers = [each.number for each in listener.played if each.number is not None]
    assert numbers == sorted(set(numbers))
    return numbers


def test_a_clean_link_is_heard_whole_and_waits_little() -> None:
    chance = random.Random(1)
    listener = listening()
    listener.run(arrivals(talk(COUNT), way=lambda _at: 0.02 + chance.random() * 0.003), COUNT / 50)

    assert len(in_order(listener)) >= COUNT - 3
    assert listener.concealed <= 0.002
    assert listener.buffer.statistics.longest_concealed <= 0.04 * RATE
    assert max(each.held for each in listener.after(2.0)) < 0.022
    assert listener.played[0].at == 0
    assert min(each.at for each in listener.played if each.number is not None) < 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_loss_is_repaired_from_copies(seed: int) -> None:
    chance = random.Random(seed)
    listener = listening()
    coming = arrivals(
        talk(3 * COUNT, distances=(2, 1)),
        is_lost=lambda: chance.random() < 0.03,
        way=lambda _at: 0.02 + chance.random() / 300,
    )
    listener.run(coming, 3 * COUNT / 50)

    statistics = listener.buffer.statistics
    assert 0.02 < statistics.lost / (3 * COUNT) < 0.04
    assert listener.residual(3 * COUNT) <= 0.0005
    assert listener.concealed <= 0.01
    assert statistics.lost / statistics.runs < 1.2
    in_order(listener)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bursts_are_repaired_from_copies_that_come_later(seed: int) -> None:
    chance = random.Random(seed)
    listener = listening()
    is_lost = gilbert_elliott(chance, 0.10, 3)
    coming = arrivals(talk(3 * COUNT, distances=(8, 4)), is_lost=is_lost, way=lambda _at: 0.02 + chance.random() / 300)
    listener.run(coming, 3 * COUNT / 50)

    statistics = listener.buffer.statistics
    assert statistics.lost / (3 * COUNT) > 0.08
    assert 2 < statistics.lost / statistics.runs < 4
    assert listener.residual(3 * COUNT) <= 0.015
    assert max(each.held for each in listener.after(2.0)) < 0.2
    in_order(listener)


def test_jitter_and_reordering_are_waited_for() -> None:
    chance = random.Random(4)
    coming = arrivals(talk(COUNT), way=lambda _at: 0.05 + chance.uniform(-0.03, 0.03))
    assert [frame.sequence for _, frame in coming] != list(range(COUNT))
    listener = listening()
    listener.run(coming, COUNT / 50)

    assert len(in_order(listener)) >= COUNT - 5
    assert listener.concealed <= 0.002
    assert 0.005 < listener.buffer.jitter < 0.04
    assert max(each.held for each in listener.after(5.0)) < 0.085


def test_after_a_hole_sound_is_back_at_once_and_nothing_old_is_played() -> None:
    def way(at: float) -> float:
        # For ten seconds nothing gets through, and half of it comes when the way is open again.
        return 0.02 if not 10 <= at < 20 else 20.02 - at + (at - 10) * 0.002

    chance = random.Random(5)
    coming = [
        each for each in arrivals(talk(2_000), way=way) if each[0] < 10.1 or each[0] > 20.1 or chance.random() < 0.5
    ]
    listener = listening()
    most = 0
    for begin in range(40):
        listener.run([each for each in coming if begin <= each[0] < begin + 1], begin + 1)
        most = max(most, len(listener.buffer))

    assert most < 40
    back = next(each for each in listener.played if each.at > 20 and each.number is not None)
    assert back.at < 21
    for each in listener.after(20):
        if each.number is not None:
            assert each.at - each.number * FRAME / RATE < 0.3
    assert listener.buffer.statistics.stale > 100
    assert listener.buffer.statistics.longest_concealed <= 0.12 * RATE


@pytest.mark.parametrize("ppm", [-300, 300])
def test_clocks_that_drift_never_run_the_buffer_dry(ppm: int) -> None:
    chance = random.Random(6)
    listener = listening(ppm=ppm)
    listener.run(arrivals(talk(15_000), way=lambda _at: 0.02 + chance.random() * 0.003), 299)

    statistics = listener.buffer.statistics
    assert statistics.underruns == 0
    assert statistics.concealed == 0
    held = [each.held for each in listener.after(5.0)]
    assert max(held) - min(held) < 0.02
    assert listener.buffer.drift == pytest.approx(0, abs=20)  # of the sender against `now`; the device is another clock
    assert (statistics.shortened > 2_000, statistics.lengthened > 2_000) == (ppm < 0, ppm > 0)
    assert len(in_order(listener)) > 14_940


@pytest.mark.parametrize("ppm", [-300, 300])
def test_drift_is_survived_also_by_players_that_cannot_stretch(ppm: int) -> None:
    listener = listening(ppm=ppm)
    coming = arrivals(talk(15_000))
    at = 0.0
    index = 0
    while at < 299:
        while index < len(coming) and coming[index][0] <= at:
            listener.buffer.put(coming[index][1], coming[index][0])
            index += 1
        at += listener.buffer.take(at).samples / (RATE * (1 + ppm / 1e6))
    assert listener.concealed < 0.002
    assert listener.buffer.held < 0.25


@pytest.mark.parametrize("ppm", [-300, 300])
def test_a_sender_s_drift_is_told_and_made_up_for(ppm: int) -> None:
    chance = random.Random(6)
    listener = listening()
    coming = [
        (at / (1 + ppm / 1e6) + 0.02 + chance.random() * 0.003, frame) for at, frame in talk(15_000)
    ]  # fmt: skip
    listener.run(sorted(coming, key=lambda each: each[0]), 298)
    assert listener.buffer.drift == pytest.approx(ppm, abs=20)
    assert listener.buffer.statistics.concealed == 0
    assert max(each.held for each in listener.after(5.0)) < 0.025


def test_numbers_wrap_unheard() -> None:
    chance = random.Random(7)
    listener = listening()
    sent = talk(500, sequence=2**32 - 250, timestamp=MAX_TIMESTAMP - 600 * FRAME)
    listener.run(arrivals(sent, way=lambda _at: 0.02 + chance.random() * 0.03), 10.2)
    assert len(in_order(listener)) > 495
    assert listener.buffer.statistics.lost == 0
    assert listener.buffer.highest == 249


def test_what_comes_twice_is_counted_and_played_once() -> None:
    listener = listening()
    coming = arrivals(talk(200))
    listener.run(sorted(coming + coming[50:150], key=lambda each: each[0]), 4.2)
    assert len(in_order(listener)) == 200
    assert listener.buffer.statistics.duplicates == 100
    assert listener.buffer.statistics.received == 200


def test_what_comes_when_its_turn_is_over_is_late_and_lost() -> None:
    listener = listening()
    listener.run(arrivals(talk(501), way=lambda at: 0.02 if round(at * 50) % 100 != 50 else 0.2), 10)
    statistics = listener.buffer.statistics
    assert (statistics.lost, statistics.late, statistics.runs) == (5, 5, 5)
    assert statistics.received >= 494


def test_a_copy_does_not_count_twice_when_the_frame_comes_after_all() -> None:
    buffer = JitterBuffer()
    sent = [frame for _, frame in talk(4, distances=(1,))]
    for at, frame in enumerate([sent[0], sent[2], sent[1], sent[3]]):
        buffer.put(frame, 0.02 * at)
    assert len(buffer) == 4
    assert [buffer.take(0.2).do for _ in range(1)] == [Do.DECODE]
    while len(buffer):
        buffer.take(0.2)
    assert buffer.statistics.recovered == 0


def test_a_pause_is_silence_and_neither_loss_nor_guess() -> None:
    listener = listening()
    sequence = 0
    coming = []
    for begin in (0, 200, 413):
        for number in range(begin, begin + 100):
            flags = FLAG_DISCONTINUITY if number == begin else FLAG_SILENCE if number >= begin + 97 else 0
            coming.append(
                (number / 50 + 0.02, AudioFrame(1, sequence, number * FRAME, packet(number), 30, flags))
            )  # fmt: skip
            sequence += 1
    listener.run(coming, 11)

    statistics = listener.buffer.statistics
    assert (statistics.lost, statistics.concealed, statistics.underruns, statistics.skipped) == (0, 0, 0, 0)
    assert len(in_order(listener)) == 300
    fresh = [each.number for each in listener.played if each.step.fresh]
    assert fresh == [0, 200, 413]
    for each in listener.played:  # pauses keep their length
        if each.number in {200, 413}:
            assert 0.02 < each.at - each.number / 50 < 0.07


def test_who_joins_late_hears_at_once_and_is_live_within_a_second() -> None:
    for delay in (0.0, 0.08):
        listener = listening()
        history = [(5.0, frame) for _, frame in talk(4, first=246)]
        live = arrivals(talk(250, first=250), way=lambda _at: 0.001)
        listener.at = 5.0
        listener.run([*history, *live], 5.0 + 4)
        first = next(each for each in listener.played if each.number is not None)
        assert first.at - 5.0 <= 0.011 + delay
        for each in listener.after(6.0):
            if each.number is not None:
                assert each.at - (each.number + 1) / 50 < 0.045
        assert listener.buffer.statistics.concealed == 0


def test_a_stream_that_begins_anew_is_followed() -> None:
    listener = listening()
    again = [(at + 4.0, frame) for at, frame in arrivals(talk(200, sequence=9_000_000, timestamp=10**12))]
    listener.run([*arrivals(talk(200)), *again], 9)
    numbers = [each.number for each in listener.played if each.number is not None]
    assert numbers == [*range(200), *range(200)]


def test_a_way_that_becomes_longer_for_good_is_learnt() -> None:
    listener = listening()
    listener.run(arrivals(talk(1_000), way=lambda at: 0.02 if at < 5 else 1.5), 19)
    assert [each.number for each in listener.played if each.number is not None][-1] > 850


def test_the_opus_packet_after_a_lost_one_may_carry_it() -> None:
    # SILK, 20 ms, mono; the second bit of the first byte says that there is a copy.
    coming = [
        (at, attrs.evolve(frame, payload=b"\x08\x40" + frame.payload))
        for at, frame in arrivals(talk(100)) if frame.sequence not in {50, 60, 61}
    ]  # fmt: skip
    listener = listening()
    listener.run(coming, 2)
    done = [each.step.do for each in listener.played]
    statistics = listener.buffer.statistics
    assert done.count(Do.FEC) == 2
    assert (statistics.lost, statistics.recovered) == (3, 2)
    assert statistics.concealed == FRAME


def test_memory_is_bounded_while_nobody_takes() -> None:
    buffer = JitterBuffer(JitterOptions(capacity=100))
    for at, frame in arrivals(talk(5_000, distances=(8,))):
        buffer.put(frame, at)
        assert len(buffer) <= 100
    assert buffer.statistics.skipped > 4_800
    played = []
    for _ in range(200):
        step = buffer.take(100.1)
        played.append(step.do)
    assert Do.DECODE in played


def test_a_device_that_stood_still_goes_on_live() -> None:
    listener = listening()
    coming = arrivals(talk(1_000))
    listener.run([each for each in coming if each[0] <= 5], 5)
    for at, frame in coming:
        if 5 < at <= 8:
            listener.buffer.put(frame, at)
    listener.at = 8.0
    listener.run([each for each in coming if each[0] > 8], 19)
    for each in listener.after(8.0):
        if each.number is not None:
            assert each.at - each.number / 50 < 0.3
    assert listener.buffer.statistics.skipped > 100


def test_a_device_that_stood_still_plays_nothing_of_before_while_it_has_not_heard_of_what_came_since() -> None:
    listener = listening()
    coming = arrivals(talk(400))
    listener.run([each for each in coming if each[0] < 2.0], 1.99)
    for at, frame in coming:
        if 2.0 <= at < 2.2:
            listener.buffer.put(frame, at)
    assert len(listener.buffer) > 5
    listener.at = 6.0
    for _ in range(5):
        listener.step()
    listener.run([(max(at, 6.05), frame) for at, frame in coming if at >= 2.2], 8.0)
    for each in listener.after(6.0):
        assert each.number is None or each.at - each.number / 50 < 0.2
    assert listener.played[-1].number is not None


def test_what_is_no_opus_is_counted_and_left_out() -> None:
    buffer = JitterBuffer()
    buffer.put(AudioFrame(1, 0, 0, b"\xff"), 0.0)
    buffer.put(AudioFrame(1, 0, 0, b"\xf8", copies=(Copy(b"\x03", 1),)), 0.0)
    assert (len(buffer), buffer.statistics.malformed) == (0, 2)


frames: Any = st.tuples(
    st.integers(0, 40) | st.integers(0, 2**32 - 1),
    st.integers(0, 50) | st.integers(0, MAX_TIMESTAMP // FRAME),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([0, 0, 1, 3, 8]),
    st.floats(0, 0.3),
    st.integers(0, 4),
)


@given(st.lists(frames, max_size=120))
@settings(deadline=None)
def test_whatever_comes_there_is_always_something_to_play(heard: list[Any]) -> None:
    buffer, now = JitterBuffer(JitterOptions(capacity=32)), 5.0
    for sequence, timestamp, flags, distance, pause, takes in heard:
        now += pause
        copies = (Copy(packet(1), distance),) if distance else ()
        buffer.put(AudioFrame(1, sequence, timestamp * FRAME, packet(2), 30, flags, copies), now)
        assert len(buffer) <= 32
        for _ in range(takes):
            step = buffer.take(now)
            assert 0 < step.samples <= 2_880
            assert bool(step.packet) == (step.do in {Do.DECODE, Do.FEC})
            assert step.stretch is Stretch.NONE or step.do is Do.DECODE
            now += step.samples / RATE
        statistics = buffer.statistics
        assert statistics.recovered <= statistics.lost
        assert 0 <= buffer.target <= 1.0
        assert buffer.statistics.concealed <= statistics.played
