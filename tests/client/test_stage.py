"""Taking part in a stage over real sockets: roles, hands, sound and clips, and what attackers get."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

pytest.importorskip("av")

from tests.client.stage import LIMITS, Tokens, wire
from tests.dj import hostile
from tests.gateway.harness import until
from tests.sessions.stages import SUPERVISORS, voice
from wsactors.client import ClientError, Retry, Rhythm, Stage, connect, join_stage
from wsactors.client.sound_sources import read_raw, read_wav
from wsactors.client.speaking import Framer, level_of, say
from wsactors.client.stage_mirror import StageMirror
from wsactors.client.uplink import Uplink
from wsactors.gateway import Address, Gateway
from wsactors.gateway.options import GatewayOptions
from wsactors.media.opus import Decoder
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.start import start_realtime
from wsactors.sessions.directory import SessionDirectory, open_stage
from wsactors.sessions.stage_messages import GetStage, StageStatus
from wsactors.sessions.stage_options import StageOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire import native

DEADLINE = 60.0
TALK = StageOptions("talk", title="The talk", moderators=("mod",))


@attrs.frozen
class House:
    node: Node
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def status(self) -> StageStatus:
        status: StageStatus = await self.node.call(TALK.part("session"), GetStage())
        return status


@pytest.fixture
async def house() -> AsyncIterator[House]:
    opened: list[Address] = []
    async with Node("house") as node:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        await start_realtime(node, RealtimeOptions(), authenticator=Tokens())
        await open_stage(node, TALK, load_tree(SUPERVISORS / "stage.toml", ["wsactors"]))
        options = GatewayOptions(port=0, limits=LIMITS)
        await node.spawn(Gateway, options, None, opened.append, SessionDirectory(node))
        with trio.fail_after(DEADLINE):
            yield House(node, opened[0].port)


@asynccontextmanager
async def taking_part(url: str, token: str = "", **how: Any) -> AsyncIterator[Stage]:
    async with connect(url, token=token, **how) as client:
        yield await join_stage(client, "talk")


async def bring_up(mod: Stage, stage: Stage) -> None:
    assert stage.you is not None
    number = stage.you.id
    await stage.act("hand", up=True)
    await mod.wait(lambda: number in {person.id for person in mod.mirror.hands})
    await mod.act("move", id=number, to="speakers")
    await stage.wait(lambda: stage.on_stage)


async def next_from(stage: Stage, track: int) -> native.AudioFrame:
    async for frame in stage.listening:
        if frame.track == track:
            return frame
    raise AssertionError("nothing came")


async def test_hand_stage_and_voice(house: House) -> None:
    async with taking_part(house.url, "mod") as mod, taking_part(house.url, "ann") as ann:
        assert ann.you is not None
        assert (ann.you.name, ann.you.role, ann.on_stage) == ("ann", 1, False)
        with pytest.raises(ClientError) as refused:
            await ann.act("accept")
        assert refused.value.code == "unauthorized"
        await bring_up(mod, ann)
        track = ann.you.track
        await mod.wait(lambda: mod.mirror.person_of(track))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_talking, ann)
            frame = await next_from(mod, track)
            nursery.cancel_scope.cancel()
        assert (frame.role, frame.payload[:1]) == (2, b"\xfc")
        person = mod.mirror.person_of(frame.track)
        assert person is not None
        assert person.name == "ann"
        await ann.leave()
        await mod.wait(lambda: person.id not in mod.mirror.people)


async def keep_talking(stage: Stage) -> None:
    while True:
        stage.speak(b"\xfc" + bytes(40), level=20)
        await trio.sleep(0.02)


async def test_sound_of_samples_is_heard_as_it_was(house: House) -> None:
    tone = np.sin(np.arange(48_000) * (2 * math.pi * 500 / 48_000), dtype=np.float32) * np.float32(0.3)
    async with taking_part(house.url, "mod") as mod, taking_part(house.url) as guest:
        assert mod.you is not None
        heard: list[native.AudioFrame] = []
        guest.listening.on_frame = lambda frame, _now: heard.append(frame)
        silence = np.zeros(48_000, np.float32)
        assert 50 <= await say(mod, [tone[:7_000], tone[7_000:], silence]) <= 70
        await until(lambda: bool(heard) and bool(heard[-1].flags & native.FLAG_SILENCE))
    with Decoder(1) as decoder:
        sound = np.concatenate([decoder.decode(frame.payload) for frame in heard])[9_600:38_400, 0]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert np.argmax(spectrum) * 48_000 / len(sound) == pytest.approx(500, abs=3)
    assert abs(heard[20].level - level_of(tone)) <= 2


async def test_an_audience_member_that_sends_audio_by_hand_is_heard_by_nobody(house: House) -> None:
    """The attack goes past the client's own checks: whatever bytes come, they are dropped, and the connection goes on."""
    async with taking_part(house.url, "mod") as mod, taking_part(house.url, "mallet") as ann:
        good = voice(0)
        attacks = [good, good[:1] + b"\x68" + good[2:], good[:2] + b"\xff" * 4 + good[6:], b"\x01", good + bytes(5_000)]
        for data in attacks * 4:
            ann._client.send_audio(data)
        await ann.act("people")
        status = await house.status()
        assert (status.frames, dict(status.dropped)) == (0, {"role": 20})
        await bring_up(mod, ann)
        for data in attacks[1:]:
            ann._client.send_audio(data)
        await ann.act("people")
        assert dict((await house.status()).dropped)["malformed"] == 4


async def test_who_comes_back_within_the_grace_has_role_hand_and_place(house: House) -> None:
    quick: dict[str, Any] = {"retry": Retry(first=0.01, longest=0.1), "rhythm": Rhythm(latency=None)}
    async with (
        wire(house.port) as proxy,
        taking_part(house.url, "mod") as mod,
        taking_part(proxy.url, "ann", **quick) as ann,
        taking_part(proxy.url, **quick) as guest,
    ):
        await bring_up(mod, ann)
        await bring_up(mod, guest)
        before = [(stage.you.id, stage.you.role) for stage in (ann, guest) if stage.you is not None]
        proxy.cut()
        away = lambda: {p.id for p in mod.mirror.people.values() if p.away}  # noqa: E731
        await mod.wait(lambda: not away() and all(stage._client.connections == 2 for stage in (ann, guest)))
        for stage in (ann, guest):
            await stage.act("people")
        assert [(stage.you.id, stage.you.role) for stage in (ann, guest) if stage.you is not None] == before
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_talking, guest)
            assert guest.you is not None
            assert (await next_from(mod, guest.you.track)).role == 2
            nursery.cancel_scope.cancel()


async def test_a_flood_of_acts_is_refused_and_costs_nobody_else(house: House) -> None:
    async with taking_part(house.url, "mod") as mod, taking_part(house.url, "ann") as ann:
        codes: list[str] = []

        async def ask() -> None:
            try:
                await ann.act("hand", up=True)
            except ClientError as error:
                codes.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(ask)
            await mod.act("topic", text="still here")
            nursery.cancel_scope.cancel()
        await mod.wait(lambda: mod.mirror.topic == "still here")
        assert set(codes) <= {"rate"}


async def test_act_needs_a_session_that_was_joined(house: House) -> None:
    async with connect(house.url) as client:
        with pytest.raises(ClientError) as refused:
            await client.act("talk", "hand", {"up": True})
        assert refused.value.code == "not_joined"
        with pytest.raises(ClientError) as refused:
            await join_stage(client, "nowhere")
        assert refused.value.code == "no_session"


async def test_clips_are_uploaded_in_pieces_and_played(house: House, tmp_path: Path) -> None:
    async with taking_part(house.url, "mod") as mod, taking_part(house.url, "ann") as ann:
        clip = await mod.upload("horn", hostile.tone(tmp_path / "horn.wav").read_bytes())
        with pytest.raises(ClientError, match="not an audio file") as failed:
            await mod.upload("nothing", b"#!/bin/sh\n" * 10_000)
        assert failed.value.code == "clip"
        await mod.act("play", clip=clip)
        board = ann.mirror.facts["board"]
        assert isinstance(board, int)
        assert (await next_from(ann, board)).role == 0


async def test_a_player_hears_all_voices_in_one_ogg_stream(house: House) -> None:
    async with taking_part(house.url, "mod") as mod, trio.open_nursery() as nursery:
        nursery.start_soon(keep_talking, mod)
        async with await trio.open_tcp_stream("127.0.0.1", house.port) as stream:
            await stream.send_all(b"GET /listen/talk.ogg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            data = b""
            while data.count(b"OggS") < 25:
                data += await stream.receive_some()
        assert data.startswith(b"HTTP/1.1 200")
        assert data.count(b"OpusHead") == 1
        serials = {data[at + 14 : at + 18] for at in range(len(data)) if data.startswith(b"OggS\x00", at)}
        assert serials == {TALK.mix_track.to_bytes(4, "little")}
        nursery.cancel_scope.cancel()


# -- pure -------------------------------------------------------------------------------------------------------------


def test_frames_of_a_speaker_are_what_a_node_takes() -> None:
    uplink = Uplink()
    frames = [native.decode_uplink(uplink.frame(b"\xfc\xff\xfe", level=level)) for level in (20, 60, 127)]
    uplink.pause(480_000)
    frames.append(native.decode_uplink(uplink.frame(b"\xfc\xff\xfe", level=90, voice=True)))
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    assert [frame.timestamp for frame in frames] == [0, 960, 1_920, 482_880]
    assert [frame.flags for frame in frames] == [0x09, 0x00, 0x02, 0x09]


def test_sound_of_any_lengths_becomes_frames() -> None:
    sound = np.arange(5_000, dtype=np.float32)
    framer = Framer()
    pieces = [sound[:100], sound[100:3_000], np.stack([sound[3_000:]] * 2, axis=1)]
    blocks = [block for piece in pieces for block in framer.feed(piece)] + list(framer.rest())
    assert [block.shape for block in blocks] == [(960, 1)] * 6
    assert (np.concatenate(blocks)[:5_000, 0] == sound).all()
    assert not list(framer.rest())


async def test_sound_comes_from_files_and_pipes(tmp_path: Path) -> None:
    path = hostile.tone(tmp_path / "stereo.wav", seconds=0.1)
    sound = np.concatenate(list(read_wav(path)))
    assert sound.shape == (4_800, 2)
    raw = (sound[:, 0] * 32_768).astype("<i2").tobytes()
    piped = np.concatenate([block async for block in read_raw(io.BytesIO(raw))])
    assert (piped == sound[:, 0]).all()
    for wrong in (hostile.tone(tmp_path / "slow.wav", rate=44_100), hostile.random_bytes(tmp_path / "x.wav", 100)):
        with pytest.raises(ValueError, match=wrong.name):
            next(read_wav(wrong))


def test_a_mirror_knows_when_it_has_missed_something() -> None:
    mirror = StageMirror()
    assert mirror.take("stage_state", {"version": 3, "topic": "a", "people": [{"id": 1, "name": "x", "new": 1}]})
    assert mirror.take("stage_change", {"from": 3, "version": 4, "people": [{"id": 2, "name": "y", "role": 2}]})
    assert mirror.take("stage_change", {"from": 4, "version": 4, "levels": [[2, 20], [9, 20]]})
    assert mirror.levels == {2: 20}
    assert not mirror.take("stage_change", {"from": 7, "version": 8, "gone": [1, 2]})
    assert (mirror.version, mirror.people, mirror.levels) == (8, {}, {})
