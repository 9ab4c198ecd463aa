"""The frames of somebody who speaks: numbered and timed, so that a program only has packets. Pure."""

from __future__ import annotations

from typing import Final

from wsactors.wire.native import FLAG_DISCONTINUITY, FLAG_SILENCE, FLAG_VOICE, QUIETEST, encode_audio

FRAME: Final = 960
"""Samples in a frame: 20 ms."""
VOICE_LEVEL: Final = 50
"""A frame louder than this (−dBov) counts as voice."""


class Uplink:
    """Numbers and times of one speaker's frames.

    >>> Uplink().frame(b"\\xfc\\xff\\xfe", level=20).hex(" ", -8)
    '01 0900000000000000 000000000000 000014fcfffe'
    """

    def __init__(self) -> None:
        self._sequence = 0
        self._timestamp = 0
        self._jumped = True

    def frame(self, packet: bytes, *, samples: int = FRAME, level: int = QUIETEST, voice: bool | None = None) -> bytes:
        """The next frame: one Opus packet of so many samples. Whether it is ``voice`` says its level, if nobody does.

        Raises:
            ProtocolError: The packet or the level cannot be sent.
        """
        speaks = level <= VOICE_LEVEL if voice is None else voice
        flags = (FLAG_VOICE if speaks else 0) | (FLAG_SILENCE if level == QUIETEST else 0)
        flags |= FLAG_DISCONTINUITY if self._jumped else 0
        data = encode_audio(0, self._sequence, self._timestamp, packet, level=level, flags=flags)
        self._sequence += 1
        self._timestamp += samples
        self._jumped = False
        return data

    def pause(self, samples: int) -> None:
        """Nothing is sent for that long."""
        self._timestamp += samples
        self._jumped = True
