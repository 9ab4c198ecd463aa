"""The mark in every message that the harness sends: who sent it, as which of its messages, and when it should have been sent.

It is plain ASCII of fixed length, so that a receiver finds it in the bytes of any protocol without parsing them, and a sender
writes it into bytes that are otherwise the same each time. The time is the *intended* one (`scenario.Schedule`),
in microseconds of the machine's monotonic clock, which all processes of a run share.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Callable
from typing import Final

__all__ = ["MARK", "STAMP_BYTES", "Template", "read_stamp", "stamp"]

MARK: Final = b"wsload1:"
_FIELDS: Final = struct.Struct(">QIQ")
_START: Final = len(MARK)
STAMP_BYTES: Final = _START + 2 * _FIELDS.size
_BLANK: Final = MARK.decode() + "0" * (STAMP_BYTES - _START)


def stamp(run: int, sender: int, sequence: int, intended: float) -> str:
    """The mark of one message.

    Args:
        run: 32 bits that tell runs apart: messages of an older one, still in a server's history, are not ours to count.
        sender: 32 bits.
        sequence: counts the sender's messages from 0; 32 bits.
        intended: seconds of the monotonic clock.

    >>> stamp(1, 2, 3, 4.0)
    'wsload1:00000001000000020000000300000000003d0900'
    """
    return MARK.decode() + _FIELDS.pack(run << 32 | sender, sequence, int(intended * 1e6)).hex()


def read_stamp(data: bytes | bytearray, at: int) -> tuple[int, int, float] | None:
    """Run and sender as one number (run << 32 | sender), the sequence, and the intended time; None if it is no stamp.

    ``at`` is where `MARK` was found.
    """
    try:
        # In one go: this runs for every message of every listener.
        sender, sequence, intended = _FIELDS.unpack(unhexlify(data[at + _START : at + STAMP_BYTES]))
    except (ValueError, struct.error):
        return None
    return sender, sequence, intended / 1e6


class Template:
    """The bytes of a message that differ from one to the next in the mark alone.

    Args:
        make: builds the message around a text; called once, with a text of ``size`` letters (at least `STAMP_BYTES`).
    """

    __slots__ = ("_after", "_before")

    def __init__(self, make: Callable[[str], bytes], size: int) -> None:
        self._before, _, self._after = make(_BLANK.ljust(size, ".")).partition(_BLANK.encode())

    def fill(self, mark: str) -> bytes:
        """The message with this mark in it."""
        return self._before + mark.encode() + self._after
