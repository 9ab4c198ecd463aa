"""What a jitter buffer says, counts and is told: the vocabulary of `jitter` and of whoever plays what it says."""

from __future__ import annotations

from enum import Enum

import attrs

from wsactors.media.delay import DelayOptions


class Do(Enum):
    """What a step asks for."""

    DECODE = "decode"
    """Decode `Step.packet`."""
    FEC = "fec"
    """Decode what `Step.packet`, which comes next, carries of the lost one before it."""
    CONCEAL = "conceal"
    """Guess `Step.samples` samples."""
    SILENCE = "silence"
    """`Step.samples` samples of silence."""


class Stretch(Enum):
    """How a step's sound should differ from its natural length, if it can without being heard."""

    NONE = 0
    SHORTER = -1
    LONGER = 1


@attrs.frozen
class Step:
    """What to play next."""

    do: Do
    samples: int
    packet: bytes = b""
    fresh: bool = False
    """The sound begins anew: reset the decoder first."""
    stretch: Stretch = Stretch.NONE


@attrs.define
class JitterStatistics:
    """Counters since the beginning, of frames unless said otherwise."""

    received: int = 0
    """Came themselves, each once."""
    lost: int = 0
    """Did not come themselves, or not in time."""
    recovered: int = 0
    """Of the lost, those that were heard from a copy, whichever."""
    late: int = 0
    """Of the lost, those that came when their turn was over."""
    runs: int = 0
    """Times that one or more in a row were lost."""
    duplicates: int = 0
    stale: int = 0
    """Too old to be heard when they came: counted neither as received nor as late."""
    skipped: int = 0
    """Received, and left out to be live again."""
    malformed: int = 0
    underruns: int = 0
    """Times that there was nothing to play though there should have been."""
    played: int = 0
    """Samples, silence not counted."""
    concealed: int = 0
    """Samples that were guessed."""
    longest_concealed: int = 0
    """Samples guessed in a row."""
    shortened: int = 0
    lengthened: int = 0
    """Samples taken out and put in by stretching."""


@attrs.frozen
class JitterOptions:
    """Bounds of one buffer."""

    delay: DelayOptions = DelayOptions()
    capacity: int = 512
    """Most frames that wait; the oldest go."""
    stale: float = 0.5
    """Seconds by which a frame may be late and still be worth playing."""
    skip: float = 0.2
    """Seconds of sound too much, from which on frames are left out instead of played faster."""
    concealed: float = 0.12
    """Most seconds guessed in a row; silence follows."""
