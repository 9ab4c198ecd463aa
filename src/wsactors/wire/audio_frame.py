"""The audio frame of the native protocol: 19 bytes of header, then one coded frame of a track, maybe behind a copy.

Header, big-endian: kind u8, flags u8, track u32, sequence u32, timestamp u64 in samples, level u8. Kind 1: the rest is
the payload. Kind 2: u16, then a copy of an earlier payload, then the payload: who lost the earlier frame has it again.
Of the u16, the low 11 bits are the copy's length, the next says that another copy (u16, copy) follows it, and the high 4
say how many frames earlier it was, minus one.

Sound that somebody sends to the node is an *uplink* frame: kind 1, track 0, none of the flags that only a server sets.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs

from .errors import ProtocolError
from .opus_packet import packet_samples

MAX_TIMESTAMP: Final = 2**53 - 1
"""The largest timestamp: what a JavaScript number holds exactly."""
AUDIO_KIND: Final = 0x01
REDUNDANT_KIND: Final = 0x02
AUDIO_KINDS: Final = frozenset({AUDIO_KIND, REDUNDANT_KIND})
_AUDIO: Final = struct.Struct(">BBIIQB")
_COPY: Final = struct.Struct(">H")
AUDIO_HEADER_BYTES: Final = _AUDIO.size
MAX_AUDIO_PAYLOAD: Final = 4_000
"""Largest coded frame in bytes; libopus' own recommendation for an output buffer (opus_encode, max_data_bytes)."""
MAX_DATAGRAM: Final = 1_150
"""Largest whole frame that goes as a datagram: 1,200 bytes of UDP, which every path carries, minus what QUIC adds."""
MAX_DISTANCE: Final = 16
"""Farthest back that a copy reaches, in frames."""
MAX_COPY: Final = 0x7FF
"""Largest payload that is copied, in bytes; far more than a datagram holds."""
MAX_COPIES: Final = 3
"""Most copies in one frame."""
_MORE: Final = 0x800
MAX_UPLINK_SAMPLES: Final = 2_880
"""Longest packet that a speaker sends: 60 ms at 48 kHz."""

FLAG_DISCONTINUITY: Final = 0x01
"""The timeline jumped: a decoder starts afresh here instead of concealing the gap."""
FLAG_SILENCE: Final = 0x02
"""Silence, or the last frames before it: nothing may follow for a while, and a level meter may rest."""
FLAG_LAST: Final = 0x04
"""No frame of this track follows."""
FLAG_VOICE: Final = 0x08
"""Somebody speaks in it: the voice detector of whoever coded it says so."""
FLAG_PRIORITY: Final = 0x10
"""Of a priority speaker: others are to be played more quietly meanwhile. Only a server sets it."""
ROLE_SHIFT: Final = 5
ROLE_MASK: Final = 0x60
"""Two bits for the speaker's role: `ROLE_NONE` to `ROLE_MODERATOR`. Only a server sets them."""
ROLE_NONE, ROLE_AUDIENCE, ROLE_SPEAKER, ROLE_MODERATOR = range(4)
_KNOWN_FLAGS: Final = 0x7F
UPLINK_FLAGS: Final = FLAG_DISCONTINUITY | FLAG_SILENCE | FLAG_VOICE
"""What a speaker may say about its own frames."""
QUIETEST: Final = 127
"""The level of silence: levels are −dBov as in RFC 6464, so 0 is the loudest and 127 is nothing."""


@attrs.frozen
class Copy:
    """The payload of an earlier frame once more.

    It belongs at the frame's ``sequence − distance`` and ``timestamp − distance × duration``, the duration being its own.
    """

    payload: bytes
    distance: int
    """How many frames earlier it was."""


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
    copies: tuple[Copy, ...] = ()
    """Payloads of earlier frames, for who has lost them."""

    @property
    def role(self) -> int:
        """The speaker's role: `ROLE_NONE` to `ROLE_MODERATOR`."""
        return (self.flags & ROLE_MASK) >> ROLE_SHIFT


def encode_audio(
    track: int, sequence: int, timestamp: int, payload: bytes, *, level: int = QUIETEST, flags: int = 0
) -> bytes:
    """The bytes of one audio frame: made once, sent to every listener.

    ``sequence`` is taken modulo 2**32. Header, big-endian, 19 bytes: kind u8 = 1, flags u8, track u32, sequence u32,
    timestamp u64 (samples, at most 2**53 − 1), level u8; the rest is the payload.

    Raises:
        ProtocolError: A value is out of range; here the caller is at fault.
    """
    return _head(AUDIO_KIND, track, sequence, timestamp, payload, level, flags) + payload


def encode_redundant(frame: AudioFrame, previous_payload: bytes, distance: int = 1, *more: Copy) -> bytes:
    """The bytes of ``frame`` with a copy of the payload that was sent ``distance`` frames before it, and maybe ``more``.

    All frames from a copied one to this one must last equally long and follow each other without a jump: from this and
    the copy's own duration a listener knows where the copy belongs.

    Raises:
        ProtocolError: A value is out of range; here the caller is at fault.
    """
    parts = [
        _head(REDUNDANT_KIND, frame.track, frame.sequence, frame.timestamp, frame.payload, frame.level, frame.flags)
    ]
    if len(more) >= MAX_COPIES:
        raise ProtocolError(f"copies: expected at most {MAX_COPIES}")
    for left, copy in enumerate((Copy(previous_payload, distance), *more), -len(more)):
        if not 0 < len(copy.payload) <= MAX_COPY or not 0 < copy.distance <= MAX_DISTANCE:
            raise ProtocolError(f"copy: expected 1 to {MAX_COPY} bytes, 1 to {MAX_DISTANCE} frames earlier")
        parts += [_COPY.pack((copy.distance - 1) << 12 | (_MORE if left else 0) | len(copy.payload)), copy.payload]
    parts.append(frame.payload)
    return b"".join(parts)


def _head(kind: int, track: int, sequence: int, timestamp: int, payload: bytes, level: int, flags: int) -> bytes:
    if not 0 < len(payload) <= MAX_AUDIO_PAYLOAD:
        raise ProtocolError(f"payload: expected 1 to {MAX_AUDIO_PAYLOAD} bytes")
    if not 0 <= timestamp <= MAX_TIMESTAMP or not 0 <= level <= QUIETEST or flags & ~_KNOWN_FLAGS:
        raise ProtocolError("audio frame: timestamp, level or flags out of range")
    if not 0 <= track <= 0xFFFFFFFF:
        raise ProtocolError("audio frame: track out of range")
    return _AUDIO.pack(kind, flags, track, sequence & 0xFFFFFFFF, timestamp, level)


def decode_audio(data: bytes) -> AudioFrame:
    """The audio frame in ``data``. Raises `ProtocolError` when it is not one, or carries flags of a later version."""
    if len(data) <= AUDIO_HEADER_BYTES:
        raise ProtocolError(f"audio frame: expected more than {AUDIO_HEADER_BYTES} bytes")
    kind, flags, track, sequence, timestamp, level = _AUDIO.unpack_from(data)
    if kind not in AUDIO_KINDS or flags & ~_KNOWN_FLAGS or level > QUIETEST or timestamp > MAX_TIMESTAMP:
        raise ProtocolError("audio frame: unknown kind or flags, or a value out of range")
    at, copies = _copies_in(data) if kind == REDUNDANT_KIND else (AUDIO_HEADER_BYTES, ())
    if not 0 < len(data) - at <= MAX_AUDIO_PAYLOAD:
        raise ProtocolError(f"audio frame: expected a payload of 1 to {MAX_AUDIO_PAYLOAD} bytes")
    return AudioFrame(track, sequence, timestamp, data[at:], level, flags, copies)


def _copies_in(data: bytes) -> tuple[int, tuple[Copy, ...]]:
    """Where the payload begins, and the copies before it."""
    found: list[Copy] = []
    at, word = AUDIO_HEADER_BYTES, _MORE
    while word & _MORE:
        start = at + _COPY.size
        if len(data) < start or len(found) == MAX_COPIES:
            raise ProtocolError("audio frame: a copy's length is missing, or there are too many")
        (word,) = _COPY.unpack_from(data, at)
        at = start + (word & MAX_COPY)
        if at == start or len(data) <= at:
            raise ProtocolError("audio frame: a copy's length is wrong")
        found.append(Copy(data[start:at], (word >> 12) + 1))
    return at, tuple(found)


def decode_uplink(data: bytes) -> AudioFrame:
    """What a speaker sent. Raises `ProtocolError` for everything that a speaker may not say.

    A speaker sends kind 1 with track 0, flags within `UPLINK_FLAGS`, a packet of at most 60 ms, and at most
    `MAX_DATAGRAM` bytes in all. Its track, its role and its priority are the server's business.
    """
    if len(data) > MAX_DATAGRAM:
        raise ProtocolError(f"audio frame: {len(data)} bytes, more than the {MAX_DATAGRAM} of a datagram")
    frame = decode_audio(data)
    if data[0] != AUDIO_KIND or frame.track or frame.flags & ~UPLINK_FLAGS:
        raise ProtocolError("audio frame: a speaker sends kind 1, track 0 and flags within 0x0b")
    if packet_samples(frame.payload) > MAX_UPLINK_SAMPLES:
        raise ProtocolError("audio frame: a speaker's packet lasts at most 60 ms")
    return frame
