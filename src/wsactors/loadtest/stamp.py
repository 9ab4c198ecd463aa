"""The mark in every message that the harness sends: who sent it, as which of its messages, and when it should have been sent.

It is plain ASCII of fixed length, so that a receiver finds it in the bytes of any protocol without parsing them, and a sender
writes it into bytes that are otherwise the same each time. The time is the *intended* one (`scenario.Schedule`),
in microseconds of the machine's monotonic clock, which all processes of a run share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["MARK", "STAMP_BYTES", "Template", "read_stamp", "stamp"]

MARK: Final = b"wsload1:"
STAMP_BYTES: Final = 54
_BLANK: Final = MARK.decode() + "0" * (STAMP_BYTES - len(MARK))


def stamp(run: int, sender: int, sequence: int, intended: float) -> str:
    """The mark of one message.

    Args:
        run: 32 bits that tell runs apart: messages of an older one, still in a server's history, are not ours to count.
        sender: 32 bits.
        sequence: counts the sender's messages from 0.
        intended: seconds of the monotonic clock.

    >>> stamp(1, 2, 3, 4.0)
    'wsload1:0000000100000002:000000000003:00000000003d0900'
    """
    return f"wsload1:{run:08x}{sender:08x}:{sequence:012x}:{int(intended * 1e6):016x}"


def read_stamp(data: bytes | bytearray, at: int) -> tuple[int, int, float] | None:
    """Run and sender as one number (run << 32 | sender), the sequence, and the intended time; None if it is no stamp.

    ``at`` is where `MARK` was found.
    """
    try:
        intended = int(data[at + 38 : at + 54], 16)
        return int(data[at + 8 : at + 24], 16), int(data[at + 25 : at + 37], 16), intended / 1e6
    except ValueError:
        return None


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
