"""What listeners get of many speakers: few at a time, no silence, and numbers in which only real loss is a gap."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.media.forwarder import Forwarded, Forwarder, ForwarderOptions
from wsactors.media.speakers import SpeakersOptions
from wsactors.wire.audio_frame import (
    FLAG_DISCONTINUITY,
    FLAG_LAST,
    FLAG_PRIORITY,
    FLAG_SILENCE,
    FLAG_VOICE,
    ROLE_MODERATOR,
    AudioFrame,
    decode_audio,
    decode_uplink,
)
from wsactors.wire.errors import ProtocolError

FRAME = 960
LOUD, SOFT = 28, 65
ONE = ForwarderOptions(speakers=SpeakersOptions(last=1))


def packet(number: int) -> bytes:
    return b"\xf8" + number.to_bytes(4, "big")


def uplink(number: int, level: int = LOUD, flags: int = 0) -> AudioFrame:
    return AudioFrame(0, number % 2**32, number * FRAME, packet(number), level, flags)


def put(forwarder: Forwarder, track: int, numbers: Iterator[int] | range, level: int = LOUD) -> list[AudioFrame]:
    """Frames that come on time; what everybody gets."""
    return [sent.frame for n in numbers for sent in forwarder.put(track, uplink(n, level), n / 50)]


def assert_no_loss(frames: list[AudioFrame]) -> None:
    """A listener of one track sees every sequence once, and time that jumps only where it is told."""
    for before, after in itertools.pairwise(frames):
        assert after.sequence == (before.sequence + 1) % 2**32
        assert after.timestamp >= before.timestamp + FRAME
        if after.timestamp > before.timestamp + FRAME:
            assert after.flags & FLAG_DISCONTINUITY
            assert before.flags & FLAG_SILENCE or after.flags & FLAG_SILENCE


def test_silence_is_not_sent_and_is_no_loss() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("ann")
    sent = put(forwarder, track, range(50), SOFT)
    assert sent == []
    for begin in (50, 200, 350):
        sent += put(forwarder, track, range(begin, begin + 50), LOUD)
        sent += put(forwarder, track, range(begin + 50, begin + 150), SOFT)

    assert_no_loss(sent)
    assert len(sent) == 3 * (1 + 50 + 15 + 3)  # the frame before, speech, hangover, the end
    payloads = {frame.payload for frame in sent}
    for begin in (50, 200, 350):  # nothing of the beginning is clipped: the frame before it is there, too
        assert {packet(n) for n in range(begin - 1, begin + 65)} <= payloads
    assert [bool(frame.flags & FLAG_SILENCE) for frame in sent[-4:]] == [False, True, True, True]
    assert sent[0].flags & (FLAG_DISCONTINUITY | FLAG_SILENCE) == FLAG_DISCONTINUITY | FLAG_SILENCE
    assert sent[1].flags & FLAG_VOICE


def test_music_is_never_suppressed_nor_chosen_from() -> None:
    forwarder = Forwarder(ONE)
    music, voice = forwarder.add_track("dj", "music"), forwarder.add_track("ann")
    for n in range(100):
        assert [each.frame.payload for each in forwarder.put(music, uplink(n, 127), n / 50)] == [packet(n)]
        assert forwarder.put(voice, uplink(n), n / 50)


def test_ten_speakers_of_whom_three_are_heard_look_like_no_loss_at_all() -> None:
    chance = random.Random(11)
    forwarder = Forwarder(ForwarderOptions(speakers=SpeakersOptions(last=3)))
    tracks = [forwarder.add_track(name) for name in range(10)]
    heard: dict[int, list[AudioFrame]] = defaultdict(list)
    talking = [SOFT] * 10
    most = 0
    for n in range(50 * 120):
        for place, track in enumerate(tracks):
            if chance.random() < 0.01:
                talking[place] = chance.choice([SOFT, SOFT, 15, 25, 35, 45])
            level = talking[place] + chance.randrange(4)
            for sent in forwarder.put(track, uplink(n, level), n / 50):
                heard[track].append(sent.frame)
        most = max(most, len(list(forwarder.speaking())))
        for sent in forwarder.tick(n / 50):
            heard[sent.frame.track].append(sent.frame)

    assert forwarder.switches > 20
    assert len(heard) == 10
    for frames in heard.values():
        assert_no_loss(frames)
    assert most <= 3 + 3  # those who give way say so with their last frames
    assert forwarder.forwarded < 50 * 120 * 3.5


def test_an_idle_stage_costs_next_to_nothing() -> None:
    chance = random.Random(5)
    forwarder = Forwarder()
    tracks = [forwarder.add_track(name) for name in range(10)]
    frames = 0
    for n in range(50 * 60):
        for track in tracks:
            frames += 1
            # Somebody coughs now and then.
            level = 30 if chance.random() < 0.0005 else chance.randrange(58, 68)
            forwarder.put(track, uplink(n, level), n / 50)
    assert forwarder.forwarded < 0.05 * frames


def test_what_the_speaker_s_way_lost_stays_lost_and_nothing_else() -> None:
    forwarder = Forwarder(first_sequence=2**32 - 10)
    track = forwarder.add_track("ann")
    sent = put(forwarder, track, (n for n in range(40) if n not in {20, 21, 30}))
    base = sent[0].sequence
    assert base == 2**32 - 10
    assert [(frame.sequence - base) % 2**32 for frame in sent] == [n for n in range(40) if n not in {20, 21, 30}]


def test_what_is_reordered_is_forwarded_with_its_own_number() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("ann")
    order = [0, 1, 2, 4, 3, 3, 6, 5]
    sent = [each.frame for at, n in enumerate(order) for each in forwarder.put(track, uplink(n), at / 50)]
    assert [frame.sequence for frame in sent] == [0, 1, 2, 4, 3, 6, 5]
    assert [frame.payload for frame in sent] == [packet(n) for n in (0, 1, 2, 4, 3, 6, 5)]


def test_a_speaker_who_vanishes_is_ended_for_the_listeners_and_may_come_back() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("ann")
    sent = put(forwarder, track, range(20))
    assert forwarder.tick(0.5) == []
    ending = [each.frame for each in forwarder.tick(0.9)]
    assert ending
    assert all(frame.flags & FLAG_SILENCE for frame in ending)
    assert forwarder.tick(1.0) == []
    sent += ending + put(forwarder, track, range(100, 120))
    assert_no_loss(sent)


def test_muting_and_leaving_end_what_is_said() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("ann")
    sent = put(forwarder, track, range(20))
    sent += [each.frame for each in forwarder.hush(track, 0.4)]
    assert sent[-1].flags & FLAG_SILENCE
    assert forwarder.hush(track, 0.41) == []
    sent += put(forwarder, track, range(50, 60))
    sent += [each.frame for each in forwarder.remove_track(track, 1.2)]
    assert sent[-1].flags & FLAG_LAST
    assert_no_loss(sent)
    assert forwarder.put(track, uplink(61), 1.3) == []
    assert forwarder.remove_track(track, 1.3) == []
    assert forwarder.drops["unknown"] == 1


def test_only_the_server_says_who_has_which_role_and_priority() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("chair", role=ROLE_MODERATOR, priority=True)
    (sent,) = forwarder.put(track, uplink(0), 0.0)
    assert decode_audio(sent.coded()) == sent.frame
    assert sent.coded() is sent.coded()
    assert sent.frame.role == ROLE_MODERATOR
    assert sent.frame.flags & FLAG_PRIORITY
    assert forwarder.priority
    forwarder.set_role(track, 1, priority=False)
    (sent,) = forwarder.put(track, uplink(1), 0.02)
    assert (sent.frame.role, sent.frame.flags & FLAG_PRIORITY) == (1, 0)
    assert not forwarder.priority


def test_who_joins_late_gets_what_fills_the_jitter_buffer_and_no_more() -> None:
    forwarder = Forwarder()
    ann, bob = forwarder.add_track("ann"), forwarder.add_track("bob")
    put(forwarder, ann, range(50))
    put(forwarder, bob, range(50), SOFT)
    found = [each.frame for each in forwarder.late_join(1.0)]
    assert [frame.payload for frame in found] == [packet(n) for n in range(46, 50)]
    assert forwarder.late_join(2.0) == []


def test_the_number_of_tracks_is_bounded_and_numbers_are_not_used_twice() -> None:
    forwarder = Forwarder(ForwarderOptions(tracks=2))
    first = forwarder.add_track("a")
    forwarder.add_track("b")
    with pytest.raises(ValueError, match="at most 2"):
        forwarder.add_track("c")
    forwarder.remove_track(first, 0.0)
    assert forwarder.add_track("c") > first + 1
    with pytest.raises(ValueError, match="voice"):
        forwarder.add_track("d", "noise")


def test_packets_that_would_cost_everybody_too_much_are_dropped() -> None:
    forwarder = Forwarder()
    track = forwarder.add_track("ann")
    for payload in (b"\xe0x", b"\x1b\x02", b"\xff"):  # 2.5 ms, 120 ms, nothing that says
        assert forwarder.put(track, attrs.evolve(uplink(0), payload=payload), 0.0) == []
    assert forwarder.drops["malformed"] == 3


def test_a_thousand_speakers_of_whom_few_are_loud() -> None:
    forwarder = Forwarder()
    tracks = [forwarder.add_track(name) for name in range(1_000)]
    for n in range(20):
        for place, track in enumerate(tracks):
            forwarder.put(track, uplink(n, LOUD if place % 250 == 0 else SOFT), n / 50)
    assert {each.speaker for each in forwarder.speaking()} == {0, 250, 500}
    assert forwarder.forwarded == 3 * 20


events = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["put"] * 12 + ["skip", "swap", "hush", "tick", "leap", "flag"]),
        st.sampled_from([LOUD, SOFT, 127, 40]),
    ),
    max_size=250,
)


@given(events)
@settings(deadline=None)
def test_sequences_of_a_track_never_repeat_and_never_overlap(heard: list[tuple[int, str, int]]) -> None:
    forwarder = Forwarder(ONE)
    tracks = [forwarder.add_track(name) for name in range(4)]
    numbers = [0] * 4
    out: dict[int, list[Forwarded]] = defaultdict(list)
    for at, (name, what, level) in enumerate(heard):
        now, found = at / 50, []
        if what == "hush":
            found = forwarder.hush(tracks[name], now)
        elif what == "tick":
            found = forwarder.tick(now + 0.5)
        else:
            number = numbers[name] + {"skip": 3, "swap": -1, "leap": 5_000}.get(what, 1)
            numbers[name] = max(number, 0)
            flags = FLAG_DISCONTINUITY if what == "flag" else 0
            found = forwarder.put(tracks[name], uplink(numbers[name], level, flags), now)
        for each in found:
            out[each.frame.track].append(each)
    for sent in out.values():
        ordered = sorted(sent, key=lambda each: each.frame.sequence)
        assert len({each.frame.sequence for each in ordered}) == len(ordered)
        for before, after in itertools.pairwise(ordered):
            assert after.frame.timestamp >= before.frame.timestamp + FRAME
        for each in sent:
            assert decode_audio(each.coded()) == each.frame


@given(st.lists(st.binary(max_size=60), max_size=60))
@settings(deadline=None)
def test_arbitrary_datagrams_are_frames_or_refused_and_harm_nobody(heard: list[bytes]) -> None:
    forwarder = Forwarder()
    fuzzed, honest = forwarder.add_track("eve"), forwarder.add_track("ann")
    for number, data in enumerate(heard):
        for candidate in (data, b"\x01" + data, b"\x01\x08\0\0\0\0" + data):
            try:
                frame = decode_uplink(candidate)
            except ProtocolError:
                continue
            for sent in forwarder.put(fuzzed, frame, number / 50):
                assert decode_audio(sent.coded()) == sent.frame
        (sent,) = forwarder.put(honest, uplink(number), number / 50)
        assert sent.frame.payload == packet(number)
