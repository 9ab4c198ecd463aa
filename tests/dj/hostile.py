"""Songs, honest and hostile, made when a test needs them; nothing of it is ever committed."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np

from wsactors.wire.ogg import OggOpusStream


def tone(path: Path, *, seconds: float = 1.0, rate: int = 48_000, channels: int = 2, hertz: float = 440.0) -> Path:
    """A WAV of a tone, the same on all channels."""
    t = np.arange(int(seconds * rate)) / rate
    mono = (16_000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(mono[:, None], channels, axis=1).tobytes())
    return path


def coded(
    path: Path,
    codec: str,
    *,
    seconds: float = 1.0,
    rate: int = 48_000,
    layout: str = "stereo",
    hertz: float = 440.0,
    tags: dict[str, str] | None = None,
) -> Path:
    """A tone (silence with ``hertz=0``) in the container that the suffix names."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        size = rate  # a second at a time: ten hours must not be in memory at once
        channels = stream.codec_context.layout.nb_channels
        for second in range(max(1, round(seconds))):
            t = (np.arange(size) + second * size) / rate
            mono = (10_000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.repeat(mono, channels)[None, :], format="s16", layout=layout)
            frame.rate = rate
            frame.pts = second * size
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def late_ogg(path: Path, *, seconds: int, after: int) -> Path:
    """A tone in Ogg Opus as a listener saves it who came to a stream ``after`` seconds from its beginning."""
    with av.open(str(coded(path.with_suffix(".opus"), "libopus", seconds=seconds))) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    ogg = OggOpusStream(serial=7, channels=2)
    pages = [
        ogg.page([packet], sequence=number, granule=after * 48_000 + (number + 1) * 960)
        for number, packet in enumerate(packets)
    ]
    path.write_bytes(ogg.headers() + b"".join(pages))
    return path


def endless_flac(path: Path, hours: float) -> Path:
    """Hours of silence in a few megabytes, quickly: one block of silence is coded, the next ones are copies of it.

    A FLAC frame carries its number and checksums, so the copies are numbered and summed again here (RFC 9639 §9).
    """
    block, rate = 65_535, 48_000
    count = int(hours * 3_600 * rate / block)
    info = struct.pack(">HH", block, block) + bytes(6)
    info += ((rate << 44) | (1 << 41) | (15 << 36) | (count * block)).to_bytes(8, "big") + bytes(16)
    frames = bytearray()
    for number in range(count):
        header = b"\xff\xf8\x7a\x18" + _utf8(number) + struct.pack(">H", block - 1)
        body = header + bytes([_crc8(header)]) + b"\x00\x00\x00" * 2  # two channels, each a constant of 16 bits: 0
        frames += body + struct.pack(">H", _crc16(body))
    path.write_bytes(b"fLaC" + b"\x80" + (34).to_bytes(3, "big") + info + frames)
    return path


def _utf8(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _crc8(data: bytes) -> int:
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = ((register << 1) ^ 0x07) & 0xFF if register & 0x80 else register << 1
    return register


def _crc16(data: bytes) -> int:
    register = 0
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ 0x8005) & 0xFFFF if register & 0x8000 else register << 1
    return register


def id3(title: bytes) -> bytes:
    """An ID3v2.3 header with one title of any size."""

    def syncsafe(size: int) -> bytes:
        return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))

    frame = b"TIT2" + struct.pack(">IH", len(title) + 1, 0) + b"\x00" + title
    return b"ID3\x03\x00\x00" + syncsafe(len(frame)) + frame


def random_bytes(path: Path, size: int, prefix: bytes = b"") -> Path:
    path.write_bytes(prefix + os.urandom(size))
    return path
