"""When a command happened: fair to whoever is far away, and of no use to who lies.

A DJ acts on what he hears, and he hears it late: the sound's way to him, his player's buffer, then his command's way back.
So that the same hands give the same mix over any link, a command takes effect as of the frame that he *heard*, which his
client puts on it as a stamp. A stamp is believed only as far as the node's own measurement of the round trip (and the buffer
that it grants to everybody alike) can explain it. Who answers probes late on purpose gains no more than `Fairness.most`.
A command without a stamp is placed one round trip before it arrived.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

import attrs

from .timeline import SAMPLE_RATE

MAX_PROBES: Final = 8
"""Probes that may be on their way; of more, the oldest count as lost."""
_KEPT: Final = 9
_NANOSECONDS: Final = 1_000_000_000


def _frames(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or not 0 <= value <= 10 * SAMPLE_RATE:
        raise ValueError(f"{attribute.name} must be 0 to {10 * SAMPLE_RATE} frames, got {value!r}")


@attrs.frozen
class Fairness:
    """How far back a command may take effect, in frames; for all players of a battle alike."""

    hearing: int = attrs.field(default=SAMPLE_RATE // 10, validator=_frames)
    """Granted on top of the round trip: a player's buffer, and how uneven a link is."""
    most: int = attrs.field(default=SAMPLE_RATE // 2, validator=_frames)
    """Never further than this, however long the round trip is."""


@attrs.frozen
class Placed:
    """Where on the timeline a command takes effect."""

    frame: int
    late: int
    """Frames between that and its arrival: sound that was made meanwhile did not know of it."""
    moved: int
    """Frames by which its stamp was not believed; 0 for an honest one."""


def place(stamp: int | None, arrived: int, round_trip: int, fairness: Fairness, last: int = 0) -> Placed:
    """The frame at which a command takes effect.

    ``arrived`` and ``round_trip`` are the node's own, in frames; ``last`` is where the same player's command before this one
    was placed: nobody's commands overtake each other. The result is never later than ``arrived`` (unless ``last`` is) and
    never earlier than what ``fairness`` allows.

    Example:
        >>> place(90_000, arrived=100_000, round_trip=9_600, fairness=Fairness())
        Placed(frame=90000, late=10000, moved=0)
    """
    earliest = arrived - min(max(0, round_trip) + fairness.hearing, fairness.most)
    wanted = arrived - min(max(0, round_trip), fairness.most) if stamp is None else stamp
    frame = max(min(max(wanted, earliest), arrived), last)
    return Placed(frame, arrived - frame, frame - wanted)


class RoundTrip:
    """A connection's round trip, measured by whoever sends the probes. ``now`` is always ``time.monotonic_ns()``."""

    def __init__(self) -> None:
        self._asked: OrderedDict[int, int] = OrderedDict()
        self._next = 1
        self._latest: deque[int] = deque(maxlen=_KEPT)

    def ask(self, now: int) -> int:
        """Begin a measurement; the number that has to come back."""
        nonce, self._next = self._next, self._next % 0xFFFFFFFF + 1
        self._asked[nonce] = now
        if len(self._asked) > MAX_PROBES:
            self._asked.popitem(last=False)
        return nonce

    def answered(self, nonce: int, now: int) -> bool:
        """A number has come back; False, and nothing is learnt, when it was not asked for (any more)."""
        asked = self._asked.pop(nonce, None)
        if asked is None:
            return False
        self._latest.append(max(0, now - asked))
        return True

    @property
    def frames(self) -> int:
        """The median of the latest answers, in frames of 48 kHz, so that neither one slow nor one quick counts; 0 before
        there is any."""
        ordered = sorted(self._latest)
        return ordered[len(ordered) // 2] * SAMPLE_RATE // _NANOSECONDS if ordered else 0
