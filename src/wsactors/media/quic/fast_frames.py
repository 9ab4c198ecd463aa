"""The few frames that the fast path reads itself: acknowledgements, padding, pings and datagrams (RFC 9000 §19, RFC 9221).

Whatever else a packet holds, or holds wrongly, is aioquic's to judge: `read_frames` then gives None.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PADDING, PING, ACK, DATAGRAM, DATAGRAM_WITH_LENGTH = 0x00, 0x01, 0x02, 0x30, 0x31
MAX_RANGES: Final = 64
"""Ranges of an acknowledgement that are read here; an honest peer that has more is a rare one."""


class Acknowledgement(NamedTuple):
    """What a peer says it has received."""

    delay: int
    """As on the wire: to be shifted by the peer's exponent."""
    ranges: list[tuple[int, int]]
    """Lowest and highest number of each range, both received; the highest range first."""

    def covers(self, number: int) -> bool:
        """Whether it says that this packet has arrived."""
        return any(low <= number <= high for low, high in self.ranges)


class Frames(NamedTuple):
    """All that a packet holds, when it holds nothing but these."""

    acknowledgement: Acknowledgement | None
    datagrams: list[bytes]
    is_eliciting: bool
    """Whether the peer wants an acknowledgement."""


def read_frames(payload: bytes) -> Frames | None:
    """Read a packet's frames; None when it holds anything unusual."""
    at, end = 0, len(payload)
    acknowledgement: Acknowledgement | None = None
    datagrams: list[bytes] = []
    is_eliciting = False
    try:
        while at < end:
            kind = payload[at]
            at += 1
            if kind == ACK and acknowledgement is None:
                acknowledgement, at = _read_acknowledgement(payload, at)
            elif kind == PADDING:
                at = end - len(payload[at:].lstrip(b"\0"))
            elif kind == PING:
                is_eliciting = True
            elif kind == DATAGRAM:
                datagrams.append(payload[at:])
                at = end
            elif kind == DATAGRAM_WITH_LENGTH:
                length, at = read_varint(payload, at)
                if at + length > end:
                    return None
                datagrams.append(payload[at : at + length])
                at += length
            else:
                return None
    except (IndexError, ValueError):
        return None
    return Frames(acknowledgement, datagrams, is_eliciting or bool(datagrams))


def read_varint(payload: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where the next thing begins. Raises `IndexError` when it is cut short."""
    first = payload[at]
    if first < 0x40:
        return first, at + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | payload[at + 1], at + 2
    end = at + (4 if first < 0xC0 else 8)
    if end > len(payload):
        raise IndexError("a number is cut short")
    return int.from_bytes(payload[at:end], "big") & (1 << 8 * (end - at) - 2) - 1, end


def _read_acknowledgement(payload: bytes, at: int) -> tuple[Acknowledgement, int]:
    """An ACK frame behind its type. Raises `ValueError` for one that is impossible or longer than is usual."""
    high, at = read_varint(payload, at)
    delay, at = read_varint(payload, at)
    count, at = read_varint(payload, at)
    length, at = read_varint(payload, at)
    if count > MAX_RANGES:
        raise ValueError("many ranges")
    low = high - length
    ranges = [(low, high)]
    for _ in range(count):
        gap, at = read_varint(payload, at)
        length, at = read_varint(payload, at)
        high = low - gap - 2
        low = high - length
        ranges.append((low, high))
    if low < 0:
        raise ValueError("a negative packet number")
    return Acknowledgement(delay, ranges), at
