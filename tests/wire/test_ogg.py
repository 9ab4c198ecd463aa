"""Ogg Opus pages, held against the format's text, against other people's decoders, and joined in the middle."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.opus import Encoder
from wsactors.wire.ogg import OggOpusStream, crc32

FRAME = 960


def slow_crc(data: bytes) -> int:
    """RFC 3533's checksum as its text has it, bit by bit."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
            register &= 0xFFFFFFFF
    return register


def packets_of_tone(count: int, hertz: float = 440.0) -> list[bytes]:
    t = np.arange(count * FRAME) / 48_000
    signal = np.repeat((0.4 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None], 2, axis=1)
    with Encoder() as encoder:
        return [encoder.encode(np.ascontiguousarray(signal[at : at + FRAME])) for at in range(0, len(signal), FRAME)]


def live_pages(packets: list[bytes], first: int) -> list[bytes]:
    """One page per packet, placed on the timeline as a session does it: everything follows from the frame number."""
    stream = OggOpusStream(serial=77)
    pages = []
    for number, packet in enumerate(packets, first):
        pages.append(stream.page([packet], sequence=number + 2, granule=(number + 1) * FRAME))
    return pages


@given(st.binary(max_size=600))
def test_the_checksum_equals_the_one_of_the_text(data: bytes) -> None:
    assert crc32(data) == slow_crc(data)


def test_the_checksum_of_a_page_covers_it_with_its_own_field_zero() -> None:
    page = OggOpusStream(serial=1).page([b"abc"], sequence=5, granule=960)
    stored = int.from_bytes(page[22:26], "little")
    assert stored == slow_crc(page[:22] + b"\0\0\0\0" + page[26:])


@pytest.mark.parametrize("size", [1, 254, 255, 256, 509, 510, 1275])
def test_lacing_ends_every_packet(size: int) -> None:
    page = OggOpusStream(serial=1).page([b"x" * size, b"y"], sequence=2, granule=0)
    segments = page[26]
    lacing = page[27 : 27 + segments]
    assert lacing == b"\xff" * (size // 255) + bytes([size % 255, 1])
    assert page[27 + segments :] == b"x" * size + b"y"


def test_header_pages_are_what_rfc_7845_asks_for() -> None:
    headers = OggOpusStream(serial=9, pre_skip=312, comments=["TITLE=Grün"]).headers()
    assert headers[:6] == b"OggS\0\x02"  # beginning of stream
    assert headers[28:47] == b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
    second = headers[47:]
    assert second[:6] == b"OggS\0\0"
    assert b"OpusTags" in second
    assert "TITLE=Grün".encode() in second


def test_what_does_not_fit_is_refused() -> None:
    stream = OggOpusStream(serial=1)
    with pytest.raises(ValueError, match="at least one"):
        stream.page([], sequence=2, granule=0)
    with pytest.raises(ValueError, match="use more pages"):
        stream.page([b"x" * 1275] * 60, sequence=2, granule=0)
    with pytest.raises(ValueError, match="granule"):
        stream.page([b"x"], sequence=2, granule=-1)
    with pytest.raises(ValueError, match="channels"):
        OggOpusStream(serial=1, channels=6)
    with pytest.raises(ValueError, match="pre_skip"):
        OggOpusStream(serial=1, pre_skip=70_000)


def decode(data: bytes) -> Any:
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(data), format="ogg") as container:
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48_000)
        blocks = [piece.to_ndarray() for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate(blocks, axis=1).T


@pytest.mark.parametrize("first", [0, 1_500, 125_000_000])
def test_whoever_joins_late_hears_everything_from_there_on(first: int) -> None:
    """125,000,000 packets are 29 days of uptime: the granule of a live stream starts anywhere (RFC 7845 §4.3)."""
    pages = live_pages(packets_of_tone(100), first)
    headers = OggOpusStream(serial=77).headers()
    sound = decode(headers + b"".join(pages[40:]))
    assert len(sound) == pytest.approx(60 * FRAME, abs=FRAME)
    spectrum = np.abs(np.fft.rfft(sound[9_600:, 0] * np.hanning(len(sound) - 9_600)))
    assert np.argmax(spectrum) * 48_000 / (len(sound) - 9_600) == pytest.approx(440, abs=2)


def test_pages_are_the_same_for_everybody_and_after_a_restart() -> None:
    packets = packets_of_tone(4)
    assert live_pages(packets, 10) == live_pages(packets, 10)
    assert live_pages(packets, 10)[2:] == live_pages(packets[2:], 12)


@pytest.mark.skipif(shutil.which("opusinfo") is None, reason="opusinfo is not installed (Debian: opus-tools)")
def test_opusinfo_finds_no_fault(tmp_path: Path) -> None:
    pages = live_pages(packets_of_tone(100), 0)
    stream = OggOpusStream(serial=77)
    pages[-1] = stream.page([packets_of_tone(1)[0]], sequence=101, granule=100 * FRAME, last=True)
    path = tmp_path / "tone.opus"
    path.write_bytes(stream.headers() + b"".join(pages))
    report = subprocess.run(["opusinfo", str(path)], capture_output=True, text=True, check=False)
    text = report.stdout + report.stderr
    assert "WARNING" not in text, text
    assert "Playback length: 0m:01.99" in text, text
