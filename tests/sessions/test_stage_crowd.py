"""Ten speakers, of whom three are heard, and five hundred listeners: nobody sees a loss where nothing was lost."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.gateway.quic_harness import QuicGateway, open_quic_gateway
from tests.media.links import FRAME, Listener, listening, number_in, packet
from tests.media.test_selective_forwarding import SOFT, Speaker
from tests.sessions.stages import SUPERVISORS, Hall, open_hall, user
from wsactors.client import Client, connect, join_stage
from wsactors.client.hearing import BLOCK, Hearing
from wsactors.media.reports import track_report
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.directory import SessionDirectory, open_stage
from wsactors.sessions.stage_messages import GetStage, StageStatus
from wsactors.sessions.stage_options import StageOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire.audio_frame import AUDIO_HEADER_BYTES, AudioFrame, decode_audio, encode_audio

SPEAKERS = tuple(f"speaker{number}" for number in range(10))
LISTENERS = 500
TICK = FRAME / 48_000
BYTES = AUDIO_HEADER_BYTES + len(packet(0))


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    async with open_hall() as found:
        yield found


class Ear:
    """A sink that keeps what it is offered, and when."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.times: list[float] = []

    def offer(self, data: bytes, key: object = None) -> bool:
        if key == AUDIO:
            self.frames.append(data)
            self.times.append(trio.current_time())
        return True

    def decoded(self) -> dict[int, list[tuple[float, AudioFrame]]]:
        """By track."""
        found: dict[int, list[tuple[float, AudioFrame]]] = defaultdict(list)
        for at, data in zip(self.times, self.frames, strict=True):
            frame = decode_audio(data)
            found[frame.track].append((at, frame))
        return found


@attrs.frozen
class Mouth:
    """Somebody on the stage: what they say, and their place."""

    speaker: Speaker
    member: Any

    def say(self) -> None:
        frame = self.speaker.next()
        if frame is not None:
            data = encode_audio(0, frame.sequence, frame.timestamp, frame.payload, level=frame.level, flags=frame.flags)
            self.member.speak(data, trio.current_time())


async def mouths(directory: Any, owner: Any, chance: random.Random) -> list[Mouth]:
    """The ten, who moderate, so that they may speak; nobody's numbers are another's."""
    found = []
    for at, name in enumerate(SPEAKERS):
        member = await directory.join("talk", Ear(), owner, user=user(name))
        found.append(Mouth(Speaker(chance, number=at * 1_000_000, until=at * 1_000_000 + 50), member))
    return found


async def talk(speaking: Sequence[Mouth], seconds: float) -> None:
    """Everybody's frames at their time; in the end all fall silent."""
    begun = trio.current_time()
    for number in range(round(seconds / TICK)):
        await trio.sleep_until(begun + number * TICK)
        for mouth in speaking:
            if number == round((seconds - 1.0) / TICK):
                mouth.speaker.level, mouth.speaker.until = SOFT, 10**9
            mouth.say()
    await trio.sleep(0.1)


def play(ear: Ear, until: float) -> dict[int, Listener]:
    """As a listener's jitter buffers have it, after 20 ms on the way."""
    found = {}
    for track, coming in ear.decoded().items():
        listener = found[track] = listening()
        listener.at = coming[0][0] - 0.1
        listener.run([(at + 0.02, frame) for at, frame in coming], until)
    return found


async def test_five_hundred_listeners_see_no_loss_when_ten_speakers_share_three_places(
    autojump_clock: MockClock, hall: Hall
) -> None:
    await hall.open(moderators=SPEAKERS, loudest=3)
    speaking = await mouths(hall.directory, hall.owner.pid, random.Random(4))
    ears = [Ear() for _ in range(LISTENERS)]
    for number, ear in enumerate(ears):
        await hall.directory.join("talk", ear, hall.owner.pid, guest=f"g{number}")
    await talk(speaking, 15.0)

    # Everybody was offered the same bytes, which were coded once, in the same order.
    assert all(ear.frames == ears[0].frames for ear in ears)
    assert len(ears[0].decoded()) > 5
    for ear in (ears[0], ears[-1]):
        for track, listener in play(ear, trio.current_time()).items():
            report, counted = track_report(track, listener.buffer), listener.buffer.statistics
            assert (report.lost, report.late, report.concealed) == (0, 0, 0)
            assert (counted.underruns, counted.skipped, counted.stale, counted.duplicates) == (0, 0, 0, 0)
            assert counted.received == len(ear.decoded()[track])
    # No more than three at a time, but for the ends of what was said.
    assert len(ears[0].frames) <= 3.2 * 15.0 / TICK


async def test_on_an_idle_stage_a_tenth_is_sent_at_most_and_no_first_word_is_clipped(
    autojump_clock: MockClock, hall: Hall
) -> None:
    await hall.open(moderators=SPEAKERS, loudest=10)
    speaking = await mouths(hall.directory, hall.owner.pid, random.Random(5))
    ear = Ear()
    await hall.directory.join("talk", ear, hall.owner.pid, guest="g")
    for mouth in speaking:
        mouth.speaker.until = 10**9  # nobody has anything to say, and all are sending
    await talk(speaking, 10.0)
    assert len(ear.frames) <= 0.1 * 3 * 10.0 / TICK  # of what three voices take
    assert sum(map(len, ear.frames)) <= 0.1 * 3 * 10.0 / TICK * BYTES

    for mouth in speaking:
        mouth.speaker.until = mouth.speaker.number
    await talk(speaking, 20.0)
    said = 0
    heard = {number_in(frame.payload) for frames in ear.decoded().values() for _, frame in frames}
    for mouth in speaking:
        for begin in mouth.speaker.begins:
            said += 1
            assert {begin - 1, begin, begin + 1} <= heard
    assert said > 20


def test_the_more_people_are_to_be_told_the_less_often_they_are() -> None:
    stage = StageOptions("talk")
    assert [stage.tell_after(people) for people in (1, 200, 500, 1_000, 5_000)] == [0.2, 0.2, 0.5, 1.0, 2.0]


# -- over QUIC itself ---------------------------------------------------------------------------------------------------


class LateDirectory:
    """The sessions of a node that is made later than this."""

    def __init__(self) -> None:
        self.real: SessionDirectory

    async def open(self, node: Node) -> None:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        stage = StageOptions("talk", moderators=SPEAKERS, loudest=3)
        await open_stage(node, stage, load_tree(SUPERVISORS / "stage.toml", ["wsactors"]))
        self.real = SessionDirectory(node)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@attrs.define
class Remote:
    """A listener by QUIC, as `wsactors.client.hearing.hear` is one, who also keeps what has come."""

    client: Client
    hearing: Hearing = attrs.Factory(lambda: Hearing(1))
    came: set[tuple[int, int]] = attrs.Factory(set)
    joined: trio.Event = attrs.Factory(trio.Event)

    def feed(self, frame: AudioFrame, now: float) -> None:
        self.came.add((frame.track, frame.sequence))
        self.hearing.feed(frame, now)

    async def hear(self) -> None:
        stage = await join_stage(self.client, "talk")
        stage.listening.hand_to(self.feed, trio.current_time())
        self.joined.set()
        begun, block = trio.current_time(), 0
        while True:
            block += 1
            await trio.sleep_until(begun + block * BLOCK / 48_000)
            self.hearing.pull(BLOCK, begun + block * BLOCK / 48_000)
            report = self.hearing.report(trio.current_time()) if block % 100 == 0 else None
            if report is not None:
                self.client.report(report)


async def test_listeners_by_quic_report_no_loss_when_ten_speakers_share_three_places() -> None:
    directory = LateDirectory()
    opened = open_quic_gateway(directory=directory, prepare=directory.open)  # type: ignore[arg-type]
    async with opened as gateway, gateway.node.attach() as owner, trio.open_nursery() as nursery:
        remotes = [await nursery.start(remote, gateway) for _ in range(3)]
        speaking = await mouths(directory, owner.pid, random.Random(6))
        with trio.fail_after(30):
            for each in remotes:
                await each.joined.wait()
        ear = Ear()
        await directory.join("talk", ear, owner.pid, guest="g")
        await talk(speaking, 4.0)
        # What was said is there but for what could not be sent in its time: that is the machine's doing, and was counted.
        said = {(frame.track, frame.sequence) for frames in ear.decoded().values() for _, frame in frames}
        dropped = sum(each.sink.dropped for each in gateway.clients)
        with trio.fail_after(30):
            while sum(len(said - each.came) for each in remotes) > dropped:
                await remotes[0].client.ping()
        # So is what was not taken from speakers who make up for a moment in which this process was held up.
        status: StageStatus = await gateway.node.call(StageOptions("talk").part("session"), GetStage())
        refused = sum(count for why, count in status.dropped if why not in {"silence", "place"})
        assert len({track for track, _ in said}) > 2
        for track in {track for track, _ in said}:
            numbers = sorted(number for each, number in said if each == track)
            assert sum(b - a - 1 for a, b in pairwise(numbers)) <= refused
        for each in remotes:
            for quality in each.hearing.quality.values():
                counted = quality.statistics  # who is held up finds what came meanwhile late, or too old
                assert counted.lost <= counted.late + counted.stale + dropped + refused
            each.hearing.close()
        nursery.cancel_scope.cancel()


async def remote(gateway: QuicGateway, task_status: trio.TaskStatus[Remote]) -> None:
    url = f"quic://127.0.0.1:{gateway.port}"
    async with connect(url, certificate_sha256=gateway.offer.hashes()[0]) as client:
        found = Remote(client)
        task_status.started(found)
        await found.hear()
