"""A speaker's own numbers, honest and not, become an order and a time that can be relied on."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.uplink import LEAP, REORDERED, Uplink
from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, MAX_TIMESTAMP, AudioFrame

RATE = 48_000
FRAME = 960
PACKET = b"\xf8\x01"


def frame(number: int, timestamp: int | None = None, flags: int = 0) -> AudioFrame:
    return AudioFrame(0, number % 2**32, number * FRAME if timestamp is None else timestamp, PACKET, 30, flags)


def test_frames_in_order_follow_each_other_on_the_server_s_clock() -> None:
    uplink = Uplink()
    placed = [uplink.place(frame(7 + n), FRAME, 100.0 + n / 50) for n in range(50)]
    assert [each and each.index for each in placed] == list(range(50))
    assert [each and each.timestamp for each in placed] == [100 * RATE - FRAME + n * FRAME for n in range(50)]
    assert [n for n, each in enumerate(placed) if each and each.jumped] == [0]


def test_sequences_wrap_and_timestamps_may_be_as_large_as_they_get() -> None:
    uplink = Uplink()
    for n in range(10):
        number = 2**32 - 5 + n
        placed = uplink.place(frame(number, MAX_TIMESTAMP - 20 * FRAME + n * FRAME), FRAME, n / 50)
        assert placed is not None
        assert placed.index == n


def test_what_is_reordered_gets_its_own_place_once() -> None:
    uplink = Uplink()
    order = [0, 1, 3, 2, 2, 5, 4, 3]
    placed = [uplink.place(frame(n), FRAME, at / 50) for at, n in enumerate(order)]
    assert [each and (each.index, each.reordered) for each in placed] == [
        (0, False), (1, False), (3, False), (2, True), None, (5, False), (4, True), None,
    ]  # fmt: skip
    assert uplink.drops == {"duplicate": 2}


def test_a_loss_stays_a_gap_and_a_pause_is_none() -> None:
    uplink = Uplink()
    uplink.place(frame(0), FRAME, 0.0)
    lost = uplink.place(frame(3), FRAME, 0.06)
    paused = uplink.place(frame(4, 100 * FRAME), FRAME, 2.0)
    assert lost is not None
    assert (lost.index, lost.jumped) == (3, False)
    assert paused is not None
    assert (paused.index, paused.jumped) == (4, True)
    assert paused.timestamp - lost.timestamp == 97 * FRAME


def test_a_speaker_who_begins_anew_goes_on_behind_what_was_there() -> None:
    uplink = Uplink()
    for n in range(10):
        uplink.place(frame(5_000 + n), FRAME, n / 50)
    again = uplink.place(frame(0, 0, FLAG_DISCONTINUITY), FRAME, 3.0)
    assert again is not None
    assert (again.index, again.jumped, again.timestamp) == (10, True, 3 * RATE - FRAME)
    more = uplink.place(frame(1), FRAME, 3.02)
    assert more is not None
    assert (more.index, more.jumped) == (11, False)


@pytest.mark.parametrize("is_first_lost", [False, True])
def test_a_speaker_who_begins_anew_soon_is_heard_again(is_first_lost: bool) -> None:
    uplink = Uplink()
    for n in range(500):
        uplink.place(frame(n), FRAME, n / 50)
    begin = 15.0  # its program was started again
    placed = [
        uplink.place(frame(n, flags=0 if n else FLAG_DISCONTINUITY), FRAME, begin + n / 50)
        for n in range(is_first_lost, 200)
    ]
    kept = [each for each in placed if each is not None]
    assert len(kept) == (148 if is_first_lost else 200)
    assert [each.index for each in kept] == list(range(500, 500 + len(kept)))
    assert [each.jumped for each in kept] == [True] + [False] * (len(kept) - 1)


def test_a_stall_s_old_frames_are_dropped_and_a_longer_way_is_learnt() -> None:
    uplink = Uplink()
    for n in range(100):
        uplink.place(frame(n), FRAME, n / 50)
    stalled = [uplink.place(frame(n), FRAME, 4.0) for n in range(100, 200)]
    kept = [n for n, each in enumerate(stalled) if each is not None]
    assert kept == list(range(75, 100))  # half a second of the two
    longer = [uplink.place(frame(n), FRAME, n / 50 + 0.8) for n in range(200, 300)]
    kept = [n for n, each in enumerate(longer) if each is not None]
    assert kept == list(range(51, 100))  # it is dropped for one second, then that is how it is


def test_drift_for_an_hour_is_no_leap() -> None:
    for ppm in (-300, 300):
        uplink = Uplink()
        for n in range(0, 180_000, 50):
            placed = uplink.place(frame(n), FRAME, n / 50 * (1 + ppm / 1e6))
            assert placed is not None
            assert placed.jumped == (n == 0)
        assert not uplink.drops


steps = st.lists(
    st.tuples(
        st.integers(-70, 70) | st.integers(-(2**32), 2**32),
        st.integers(-10 * FRAME, 10 * FRAME) | st.integers(0, MAX_TIMESTAMP),
        st.sampled_from([120, 480, 960, 2_880]),
        st.booleans(),
        st.floats(0, 0.3),
    ),
    max_size=150,
)


@given(steps)
def test_whatever_a_speaker_says_nothing_overlaps_and_time_is_not_multiplied(
    heard: list[tuple[int, int, int, bool, float]],
) -> None:
    uplink, now, number, stamp = Uplink(), 50.0, 0, 0
    taken: dict[int, tuple[int, int]] = {}
    for step, leap, samples, flagged, pause in heard:
        now += pause
        number, stamp = number + step, min(MAX_TIMESTAMP, max(0, stamp + leap))
        flags = FLAG_DISCONTINUITY if flagged else 0
        placed = uplink.place(frame(number, stamp, flags), samples, now)
        if placed is None:
            continue
        assert placed.index not in taken
        taken[placed.index] = (placed.timestamp, placed.timestamp + placed.samples)
    ordered = [taken[index] for index in sorted(taken)]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    media = sum(end - start for start, end in ordered) / RATE
    assert media <= 2 * (now - 50.0) + 1.2


def test_a_flood_of_leaps_gains_nothing() -> None:
    uplink, chance, media = Uplink(), random.Random(2), 0
    for n in range(20_000):  # ten seconds, 2,000 frames a second
        placed = uplink.place(
            frame(chance.randrange(2**32), chance.randrange(2**52), FLAG_DISCONTINUITY), 2_880, n / 2_000
        )
        media += 0 if placed is None else placed.samples
    assert media / RATE < 20
    assert LEAP > REORDERED
