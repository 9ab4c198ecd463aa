"""The one clock that sound is placed on, shared by every process of the machine.

A *timeline frame* is a 48 kHz frame counted from the machine's monotonic clock. Nothing has to be agreed, stored or
handed on: a process that was killed and restarted computes the same frame for the same moment as everybody else, and
so does whoever commands it. The clock itself is read at the edges only; this module computes.
"""

from __future__ import annotations

SAMPLE_RATE = 48_000
"""Frames per second."""
BLOCK = 480
"""Frames the engine renders at a time: 10 ms."""
PACKET = 960
"""Frames per Opus packet: 20 ms. Half as many packets to fan out as with 10 ms, at the same sound and 6 % fewer bits;
who plays with others in time will want 10 ms, who listens does not."""
_NANOSECONDS = 1_000_000_000


def frame_at(nanoseconds: int) -> int:
    """The timeline frame that is being heard at this reading of ``time.monotonic_ns()``."""
    return nanoseconds * SAMPLE_RATE // _NANOSECONDS


def time_of(frame: int) -> int:
    """The first nanosecond of ``time.monotonic_ns()`` at which `frame` is being heard: the inverse of `frame_at`."""
    return -(-frame * _NANOSECONDS // SAMPLE_RATE)


def packet_from(frame: int) -> int:
    """The first packet boundary at or after `frame`. Packets start at multiples of `PACKET`, in every process."""
    return -(-frame // PACKET) * PACKET
