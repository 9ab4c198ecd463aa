"""A whole stage in memory: speakers, the forwarder, a network, and listeners with a jitter buffer for each track."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import attrs
import pytest

from tests.media.links import FRAME, Listener, listening, number_in, packet
from tests.media.test_copies import lossy
from wsactors.media.copies import FrameCopies
from wsactors.media.forwarder import Forwarded, Forwarder, ForwarderOptions
from wsactors.media.reports import track_report
from wsactors.media.speakers import SpeakersOptions
from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, FLAG_SILENCE, FLAG_VOICE, AudioFrame, decode_audio

SOFT = 65
THREE = ForwarderOptions(speakers=SpeakersOptions(last=3))


@attrs.define
class Speaker:
    """Speaks and pauses; with its own detector it sends nothing in pauses."""

    chance: random.Random
    sends_silence: bool = True
    level: int = SOFT
    number: int = -1
    until: int = 0
    begins: list[int] = attrs.Factory(list)
    """Numbers of the first frames of what was said."""
    sequence: int = 0
    ending: int = 0

    def next(self) -> AudioFrame | None:
        self.number += 1
        begins = False
        if self.number >= self.until:
            begins = self.level == SOFT and self.number > 20
            self.level = self.chance.randrange(15, 45) if begins else SOFT
            self.until = self.number + self.chance.randrange(50, 250)
            if begins:
                self.begins.append(self.number)
        level = self.level + self.chance.randrange(3)
        if self.sends_silence:
            return AudioFrame(0, self.number % 2**32, self.number * FRAME, packet(self.number), level)
        self.ending = 3 if self.level != SOFT else max(0, self.ending - 1)
        if not self.ending:
            return None
        flags = FLAG_VOICE if self.level != SOFT else FLAG_SILENCE
        self.sequence += 1
        frame = AudioFrame(0, self.sequence, self.number * FRAME, packet(self.number), level, flags)
        return attrs.evolve(frame, flags=flags | FLAG_DISCONTINUITY) if begins else frame


@attrs.define
class Hall:
    """Listeners' buffers, one for each track, fed over one network."""

    way: Callable[[], float] = lambda: 0.02
    is_lost: Callable[[], bool] = lambda: False
    copies: FrameCopies = attrs.Factory(FrameCopies)
    sent: int = 0
    size: int = 0
    coming: dict[int, list[tuple[float, AudioFrame]]] = attrs.Factory(lambda: defaultdict(list))

    def offer(self, frames: list[Forwarded], now: float) -> None:
        for each in frames:
            data = self.copies.add(each.coded())
            self.sent += 1
            self.size += len(data)
            if not self.is_lost():
                self.coming[each.frame.track].append((now + self.way(), decode_audio(data)))

    def listen(self, seconds: float) -> dict[int, Listener]:
        found = {}
        for track, coming in self.coming.items():
            found[track] = listening()
            found[track].at = max(0.0, coming[0][0] - 0.1)
            found[track].run(sorted(coming, key=lambda each: each[0]), seconds)
        return found


def play(speakers: list[Speaker], forwarder: Forwarder, hall: Hall, seconds: int) -> dict[int, Speaker]:
    tracks = {forwarder.add_track(at): each for at, each in enumerate(speakers)}
    for n in range(seconds * 50):
        now = n / 50 + 0.02
        for track, speaker in tracks.items():
            frame = speaker.next()
            if frame is not None:
                hall.offer(forwarder.put(track, frame, now), now)
        hall.offer(forwarder.tick(now), now)
    for track in tracks:
        hall.offer(forwarder.remove_track(track, seconds + 0.02), seconds + 0.02)
    return tracks


@pytest.mark.parametrize("sends_silence", [True, False])
def test_ten_speakers_of_whom_three_are_heard_are_reported_without_loss(sends_silence: bool) -> None:
    chance = random.Random(8)
    forwarder, hall = Forwarder(THREE), Hall(way=lambda: 0.02 + chance.random() * 0.004)
    play([Speaker(chance, sends_silence) for _ in range(10)], forwarder, hall, 60)
    assert forwarder.switches > 5
    for track, listener in hall.listen(62).items():
        statistics = listener.buffer.statistics
        report = track_report(track, listener.buffer)
        assert (report.lost, report.late, report.concealed) == (0, 0, 0)
        assert (statistics.underruns, statistics.skipped, statistics.stale, statistics.duplicates) == (0, 0, 0, 0)
        assert statistics.received == len(hall.coming[track])
        assert statistics.played == FRAME * len(hall.coming[track])


def test_nobody_s_first_word_is_clipped_by_more_than_a_frame() -> None:
    chance = random.Random(9)
    forwarder, hall = Forwarder(ForwarderOptions(speakers=SpeakersOptions(last=0))), Hall()
    tracks = play([Speaker(chance) for _ in range(6)], forwarder, hall, 60)
    listeners = hall.listen(62)
    onsets = 0
    for track, speaker in tracks.items():
        played = {each.number for each in listeners[track].played if each.number is not None}
        for begin in speaker.begins:
            onsets += 1
            assert {begin - 1, begin, begin + 1} <= played  # even the frame before is there
    assert onsets > 30


def test_an_idle_stage_takes_a_tenth_of_the_bandwidth_at_most() -> None:
    chance = random.Random(10)
    forwarder, hall = Forwarder(THREE), Hall()
    for speaker in (speakers := [Speaker(chance) for _ in range(10)]):
        speaker.until = 10**9  # nobody has anything to say
    play(speakers, forwarder, hall, 30)
    assert hall.sent <= 0.1 * 3 * 30 * 50


def test_real_loss_is_all_that_is_reported_as_loss() -> None:
    chance = random.Random(11)
    lost = 0

    def is_lost() -> bool:
        nonlocal lost
        hit = chance.random() < 0.03
        lost += hit
        return hit

    forwarder = Forwarder(THREE)
    hall = Hall(way=lambda: 0.02 + chance.random() * 0.004, is_lost=is_lost, copies=lossy(2))
    play([Speaker(chance) for _ in range(10)], forwarder, hall, 100)
    found = [listener.buffer.statistics for listener in hall.listen(102).values()]
    reported = sum(each.lost for each in found)
    residual = sum(each.lost - each.recovered for each in found)
    assert lost * 0.9 <= reported <= lost  # what is lost at the very end nobody can know
    assert residual <= 0.003 * hall.sent  # pauses have two edges without copies
    assert sum(each.concealed for each in found) <= 0.01 * sum(each.played for each in found)


def test_who_joins_late_hears_what_is_being_said_at_once_and_live() -> None:
    chance = random.Random(12)
    forwarder, hall = Forwarder(THREE), Hall()
    speaker = Speaker(chance)
    track = forwarder.add_track("ann")
    late = Listener()
    while not (speaker.begins and speaker.number > speaker.begins[0] + 30):
        frame = speaker.next()
        assert frame is not None
        forwarder.put(track, frame, speaker.number / 50)
    joined = speaker.number / 50 + 0.001
    catching_up = [(joined + 0.01, sent.frame) for sent in forwarder.late_join(joined)]
    assert 0 < len(catching_up) <= 4
    speaker.until = 10**9
    for _ in range(100):
        frame = speaker.next()
        assert frame is not None
        hall.offer(forwarder.put(track, frame, speaker.number / 50), speaker.number / 50)
    late.at = joined
    late.run([*catching_up, *hall.coming[track]], joined + 2)
    heard = [each for each in late.played if each.number is not None]
    assert heard[0].at - joined < 0.05
    assert late.buffer.statistics.lost == 0
    for each in heard:
        if each.at > joined + 1:
            # Its last sample was spoken when it was sent; 20 ms of way, and what the buffer holds.
            assert each.at - number_in(each.step.packet) / 50 < 0.07
