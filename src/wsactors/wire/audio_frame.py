"""The audio frame of the native protocol: 19 bytes of header, then one coded frame of a track.

Header, big-endian: kind u8 = 1, flags u8, track u32, sequence u32, timestamp u64 in samples, level u8.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs

from .errors import ProtocolError

MAX_TIMESTAMP: Final = 2**53 - 1
"""The largest timestamp: what a JavaScript number holds exactly."""
AUDIO_KIND: Final = 0x01
_AUDIO: Final = struct.Struct(">BBIIQB")
AUDIO_HEADER_BYTES: Final = _AUDIO.size
MAX_AUDIO_PAYLOAD: Final = 4_000
"""Largest coded frame in bytes; libopus' own recommendation for an output buffer (opus_encode, max_data_bytes)."""

FLAG_DISCONTINUITY: Final = 0x01
"""The timeline jumped: a decoder starts afresh here instead of concealing the gap."""
FLAG_SILENCE: Final = 0x02
"""The payload is digital silence; a level meter may rest."""
FLAG_LAST: Final = 0x04
"""No frame of this track follows."""
_KNOWN_FLAGS: Final = FLAG_DISCONTINUITY | FLAG_SILENCE | FLAG_LAST
QUIETEST: Final = 127
"""The level of silence: levels are −dBov as in RFC 6464, so 0 is the loudest and 127 is nothing."""


@attrs.frozen
class AudioFrame:
    """One coded frame of a track."""

    track: int
    """Which track: the number that `Joined` gave."""
    sequence: int
    """Counts the frames of the track; wraps at 2**32."""
    timestamp: int
    """The frame's first sample on the track's clock, in samples."""
    payload: bytes
    """One Opus packet."""
    level: int = QUIETEST
    """Loudness in −dBov, 0 (full scale) to 127 (silence)."""
    flags: int = 0


def encode_audio(
    track: int, sequence: int, timestamp: int, payload: bytes, *, level: int = QUIETEST, flags: int = 0
) -> bytes:
    """The bytes of one audio frame: made once, sent to every listener.

    ``sequence`` is taken modulo 2**32. Header, big-endian, 19 bytes: kind u8 = 1, flags u8, track u32, sequence u32,
    timestamp u64 (samples, at most 2**53 − 1), level u8; the rest is the payload.

    Raises:
        ProtocolError: A value is out of range; here the caller is at fault.
    """
    if not 0 < len(payload) <= MAX_AUDIO_PAYLOAD:
        raise ProtocolError(f"payload: expected 1 to {MAX_AUDIO_PAYLOAD} bytes")
    if not 0 <= timestamp <= MAX_TIMESTAMP or not 0 <= level <= QUIETEST or flags & ~_KNOWN_FLAGS:
        raise ProtocolError("audio frame: timestamp, level or flags out of range")
    return _AUDIO.pack(AUDIO_KIND, flags, track, sequence & 0xFFFFFFFF, timestamp, level) + payload


def decode_audio(data: bytes) -> AudioFrame:
    """The audio frame in ``data``. Raises `ProtocolError` when it is not one, or carries flags of a later version."""
    if not AUDIO_HEADER_BYTES < len(data) <= AUDIO_HEADER_BYTES + MAX_AUDIO_PAYLOAD:
        low, high = AUDIO_HEADER_BYTES + 1, AUDIO_HEADER_BYTES + MAX_AUDIO_PAYLOAD
        raise ProtocolError(f"audio frame: expected {low} to {high} bytes")
    kind, flags, track, sequence, timestamp, level = _AUDIO.unpack_from(data)
    if kind != AUDIO_KIND or flags & ~_KNOWN_FLAGS or level > QUIETEST or timestamp > MAX_TIMESTAMP:
        raise ProtocolError("audio frame: unknown kind or flags, or a value out of range")
    return AudioFrame(track, sequence, timestamp, data[AUDIO_HEADER_BYTES:], level, flags)
