"""What an Opus packet says about itself in its first two bytes (RFC 6716 §3.1): enough to forward it without decoding."""

from __future__ import annotations

from typing import Final

from .errors import ProtocolError

MAX_PACKET_SAMPLES: Final = 5_760
"""Longest packet there can be: 120 ms at 48 kHz."""
_SILK: Final = (480, 960, 1_920, 2_880)
_HYBRID: Final = (480, 960)
_CELT: Final = (120, 240, 480, 960)
_FRAME_SAMPLES: Final = (*_SILK * 3, *_HYBRID * 2, *_CELT * 4)
"""Samples at 48 kHz of one frame, by the five bits of the configuration (RFC 6716 table 2)."""


def packet_samples(packet: bytes) -> int:
    """How many samples per channel at 48 kHz ``packet`` lasts.

    Raises:
        ProtocolError: It is empty, says nothing about its length, or says more than 120 ms.

    Example:
        >>> packet_samples(b"\\xfc\\xff\\xfe"), packet_samples(b"\\x08")
        (960, 960)
    """
    if not packet:
        raise ProtocolError("an Opus packet has at least one byte")
    frame = _FRAME_SAMPLES[packet[0] >> 3]
    code = packet[0] & 3
    if code == 0:
        return frame
    if code < 3:
        return 2 * frame
    count = packet[1] & 0x3F if len(packet) > 1 else 0
    if not 0 < count * frame <= MAX_PACKET_SAMPLES:
        raise ProtocolError("an Opus packet lasts at most 120 ms")
    return count * frame


def has_fec(packet: bytes) -> bool:
    """Whether ``packet`` carries a coarse copy of the sound before it (RFC 6716 §4.2.4), in its first frame.

    The flags lie bit by bit at the beginning of the SILK layer: voice activity of each 20 ms, then this one; in stereo
    the same again for the second channel. Packets of three and more frames are taken to carry none.
    """
    if len(packet) < 2 or packet[0] >> 3 >= 16 or packet[0] & 3 == 3:
        return False
    at = 1
    if packet[0] & 3 == 2:  # two frames of different sizes: the first one's size comes before it
        if packet[1] == 0:
            return False
        at = 2 if packet[1] < 252 else 3
    if len(packet) <= at:
        return False
    periods = max(1, _FRAME_SAMPLES[packet[0] >> 3] // 960)
    flags = packet[at]
    if flags >> 7 - periods & 1:
        return True
    is_stereo = bool(packet[0] & 4)
    return is_stereo and bool(flags >> 6 - 2 * periods & 1)
