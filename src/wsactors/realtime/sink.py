"""What all sinks have in common: the protocol, why one ends, and what it counts."""

from __future__ import annotations

from typing import Final, Protocol

import attrs

BUFFER_BYTES: Final = 256 * 1024
"""What one connection may keep waiting, in bytes."""
STALL_TIMEOUT: Final = 30.0
"""Seconds in which the kernel must take something while ordered bytes wait."""


class Sink(Protocol):
    """Where the bytes for one connection go. Owned by the connection's actor and closed when that dies."""

    def offer(self, data: bytes, key: object = None) -> bool:
        """Hand over one whole message. Never raises, never waits; False when it will not be delivered."""
        ...


class SinkClosed(Exception):
    """The connection behind the sink ended, by either side."""


class SlowReader(SinkClosed):
    """The peer reads too slowly: ordered bytes did not fit its buffer, or waited longer than the stall timeout."""


@attrs.frozen
class SinkStatistics:
    """What became of a sink's messages, counted since it was made; ``buffered_bytes`` is of this moment."""

    offered: int
    sent_direct: int
    """Taken by the kernel whole and at once."""
    refused: int
    """Offers answered with False."""
    aged_out: int
    """Audio dropped because it waited too long, or because the buffer was full."""
    dropped: int
    """Messages that made room for newer ones."""
    replaced: int
    would_block: int
    """How often the kernel took nothing or only a part."""
    bytes_sent: int
    buffered_bytes: int
    buffered_peak: int
    oldest_audio_sent: float
    """The longest that audio waited here before the kernel took its first byte, in seconds."""
