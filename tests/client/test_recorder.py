from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio

from tests.gateway.harness import FRAME, RATE, TestDirectory, TestSession, open_gateway, patient
from wsactors.client import Recorder, connect
from wsactors.media.opus import Decoder, Encoder
from wsactors.wire.native import FLAG_DISCONTINUITY, AudioFrame, Copy

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """Two seconds of noise and tone: nothing a decoder could guess."""
    encoder = Encoder(2)
    chance = np.random.default_rng(11)
    found = []
    for number in range(100):
        at = (number * FRAME + np.arange(FRAME)) / RATE
        block = 0.2 * np.sin(2 * np.pi * 523 * at)[:, None] + 0.1 * chance.standard_normal((FRAME, 2))
        found.append(encoder.encode(np.ascontiguousarray(block, np.float32)))
    return found


def reference(packets: list[bytes | None]) -> NDArray[np.float32]:
    decoder = Decoder(2)
    return np.concatenate([decoder.decode(packet) for packet in packets])


def frame(number: int, packet: bytes, **fields: Any) -> AudioFrame:
    return AudioFrame(1, number % 2**32, number * FRAME, packet, **fields)


async def test_what_a_client_hears_equals_the_reference_decode_of_what_was_sent(
    packets: list[bytes], tmp_path: Path
) -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    recorder = Recorder()
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            listening = patient(await client.join("main"))
            for packet in packets:
                session.offer_frame(packet)
            session.end("over")
            async for received in listening:
                recorder.add(received)

    assert session.sent == packets
    assert np.array_equal(recorder.sound, reference([*packets]))
    assert recorder.lost == 0

    recorder.write_wav(tmp_path / "heard.wav")
    with wave.open(str(tmp_path / "heard.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 2, 100 * FRAME)
        samples = np.frombuffer(file.readframes(100 * FRAME), "<i2").reshape(-1, 2) / 32_767
    assert float(np.abs(samples - np.clip(recorder.sound, -1, 1)).max()) < 2 / 32_767


def test_what_was_lost_is_concealed_and_the_length_stays(packets: list[bytes]) -> None:
    recorder = Recorder()
    for number, packet in enumerate(packets):
        if number not in {40, 41, 42}:
            recorder.add(frame(number, packet))

    assert recorder.lost == 3
    assert np.array_equal(recorder.sound, reference([*packets[:40], None, None, None, *packets[43:]]))


def test_a_copy_of_the_frame_before_is_heard_where_that_was_lost(packets: list[bytes]) -> None:
    recorder = Recorder()
    for number, packet in enumerate(packets):
        if number not in {40, 41, 60}:
            recorder.add(frame(number, packet, copies=(Copy(packets[number - 1], 1),)))

    assert recorder.lost == 1
    assert np.array_equal(recorder.sound, reference([*packets[:40], None, *packets[41:]]))


def test_sequence_numbers_wrap_and_old_frames_are_ignored(packets: list[bytes]) -> None:
    recorder = Recorder()
    base = 2**32 - 2
    for number in range(4):
        recorder.add(frame(base + number, packets[number]))

    assert len(recorder.add(frame(base + 1, packets[1]))) == 0
    assert recorder.lost == 0
    assert len(recorder.sound) == 4 * FRAME


def test_a_jump_of_the_timeline_starts_the_decoder_afresh(packets: list[bytes]) -> None:
    recorder = Recorder()
    recorder.add(frame(0, packets[0]))
    recorder.add(frame(9_000, packets[50], flags=FLAG_DISCONTINUITY))

    assert recorder.lost == 0
    assert np.array_equal(recorder.sound[FRAME:], reference([packets[50]]))


def test_a_long_gap_is_not_filled_with_guesses(packets: list[bytes]) -> None:
    recorder = Recorder()
    recorder.add(frame(0, packets[0]))
    recorder.add(frame(100_000, packets[1]))

    assert recorder.lost == 99_999
    assert len(recorder.sound) <= 52 * FRAME
