"""At which bit rates a battle is coded: its own, and those lower ones that some listener needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from wsactors.dj.render_protocol import Packet
from wsactors.dj.timeline import PACKET
from wsactors.wire.native import QUIETEST, encode_audio

LOOK: Final = 10
"""Packets between two looks at who needs what: a fifth of a second."""
KEEP: Final = 500
"""Packets for which a rate that nobody needs any more is still coded: ten seconds."""


class TiersInUse:
    """The lower rates that are coded now.

    Args:
        rates: All that there may be, best first.

    Example:
        >>> tiers = TiersInUse((64_000, 32_000))
        >>> tiers.look([0, 0, 2], packet=10)
        (32000,)
    """

    def __init__(self, rates: tuple[int, ...]) -> None:
        self._rates = rates
        self._used: dict[int, int] = {}

    def look(self, tiers: Iterable[int], packet: int) -> tuple[int, ...]:
        """The rates to be coded while listeners are on ``tiers`` (0: the battle's own), at this number of a packet."""
        for tier in set(tiers):
            if 0 < tier <= len(self._rates):
                self._used[self._rates[tier - 1]] = packet
        self._used = {rate: at for rate, at in self._used.items() if packet - at < KEEP}
        return tuple(rate for rate in self._rates if rate in self._used)


def coded(track: int, packet: Packet, rates: tuple[int, ...], flags: int) -> tuple[bytes, ...]:
    """The audio frame for each tier, alike but for the sound: so a listener that changes tiers misses nothing.

    Where a rate is not there (yet) it is the next better one.
    """
    lower: Mapping[int, bytes] = dict(packet.lower)
    level = min(QUIETEST, max(0, round(-packet.rms)))
    found: list[bytes] = []
    for sound in (packet.data, *(lower.get(rate) for rate in rates)):
        if sound is None:
            found.append(found[-1])
        else:
            found.append(encode_audio(track, packet.frame // PACKET, packet.frame, sound, level=level, flags=flags))
    return tuple(found)
