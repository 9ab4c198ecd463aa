"""Messages of the native protocol about how well sound is heard: a listener's report, and the probe that measures its way.

All counters count from the track's first frame on, so that a lost or late report does no harm: who reads two of them
subtracts.
"""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from .native_schema import integer, message_field, record_of, seconds, tuple_of
from .plain import MAX_EXACT_INT

MAX_REPORTED_TRACKS: Final = 32
"""Most tracks in one report: as many speakers as are ever forwarded to one listener, and some more."""

_u32 = integer(0, 2**32 - 1)
_count = integer(0, MAX_EXACT_INT)


@attrs.frozen
class TrackReport:
    """What a listener says about one track."""

    track: int = message_field(_u32)
    highest: int = message_field(_u32)
    """The highest sequence that has come."""
    received: int = message_field(_count)
    """Frames that came themselves, each counted once."""
    lost: int = message_field(_count, 0)
    """Frames that did not come themselves, or not in time."""
    recovered: int = message_field(_count, 0)
    """Of the lost, those that were heard from a copy."""
    late: int = message_field(_count, 0)
    """Of the lost, those that came when their turn was over."""
    runs: int = message_field(_count, 0)
    """How many times one or more frames in a row were lost: ``lost / runs`` is how bursty the loss is."""
    played: int = message_field(_count, 0)
    """Samples per channel that were played, silence between the frames not counted."""
    concealed: int = message_field(_count, 0)
    """Of the played samples, those that were guessed."""
    jitter: float = message_field(seconds, 0.0)
    """How much the frames' ways differ, in milliseconds (RFC 3550 §6.4.1)."""
    buffer: float = message_field(seconds, 0.0)
    """How long a frame waits before it is played, in milliseconds."""
    heard: int = message_field(_count, 0)
    """The timestamp of the sample that is being played."""


@attrs.frozen
class ReceiverReport:
    """Client: how the tracks of a session are heard; every second or so while there is sound."""

    KIND: ClassVar[str] = "report"
    tracks: tuple[TrackReport, ...] = message_field(tuple_of(record_of(TrackReport), MAX_REPORTED_TRACKS))
    probe: int = message_field(_u32, 0)
    """The nonce of the newest `Probe`; 0: there was none."""
    held: float = message_field(seconds, 0.0)
    """Seconds since that probe came."""


@attrs.frozen
class Probe:
    """Server, to clients that report: put this nonce into the next report, with the time that you have had it."""

    KIND: ClassVar[str] = "probe"
    nonce: int = message_field(_u32)
