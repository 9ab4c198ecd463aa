"""Congestion control for live sound: Reno's, but it does not take a lossy way for a full one.

Sound is a small, steady stream that cannot wait. Reno halves its window at every loss and lets it grow only while it is full, so
at 3 % of random loss (radio) two packets a round trip remain of it, and the node itself drops more than the way does. Nothing
is gained by that: the rate that a TCP connection would have on the same way (RFC 5348) is several times that of the sound.

So the window does not fall below what `RATE` needs over the shortest round trip. That is no licence to fill a narrow way:
packets that wait there do not make the shortest round trip longer; on a way that loses more than `HOPELESS` of all, Reno's
own minimum is kept; and a peer that is silent while the window is full is sent probes alone, whatever the window
(`fast_flight`; `aioquic_backend` sends nothing more while it is full).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aioquic.quic.congestion.base import register_congestion_control
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket

LIVE: Final = "live"
"""For `QuicConfiguration.congestion_control_algorithm`."""
RATE: Final = 60_000
"""Bytes a second: 128 kb/s, twice again for copies, and what QUIC puts around it."""
LEAST: Final = 8
"""Packets of the largest size that may be in flight on the shortest ways: below the ten with which every connection begins."""
HOPELESS: Final = 0.25
"""Share of the packets lost from which on the way is taken to be too narrow."""
_ACKNOWLEDGED_AFTER: Final = 0.3
"""Seconds for which a listener may seem silent: it keeps acknowledgements back for 50 ms, and some in a row get lost, too."""
LEAST_WINDOW: Final = round(RATE * 0.24)
"""Bytes that may always be in flight, for who knows no more of the way than what is acknowledged."""
_WINDOW: Final = 5.0
"""Seconds of which the share of losses is taken."""


class LiveCongestionControl(RenoCongestionControl):
    """Reno's with a floor."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._shortest: float | None = None
        self._lost = 0
        self._from_number = -1
        self._from_time = 0.0
        self._is_hopeless = False

    @property
    def floor(self) -> int:
        """Bytes below which the window does not fall for losses."""
        least = LEAST * self._max_datagram_size
        if self._is_hopeless or self._shortest is None:
            return 0
        return max(least, round(RATE * (self._shortest + _ACKNOWLEDGED_AFTER)))

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """As Reno, down to the floor."""
        packets = list(packets)
        super().on_packets_lost(now=now, packets=packets)
        if packets:
            self._count(len(packets), packets[-1].packet_number, now)
        self.congestion_window = max(self.congestion_window, self.floor)

    def on_persistent_congestion(self) -> None:
        """The peer is silent, and is only probed until it is not. What comes then begins like a new connection."""
        super().on_persistent_congestion()
        self.congestion_window = max(self.congestion_window, self.floor)

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """As Reno; the shortest one counts."""
        super().on_rtt_measurement(now=now, rtt=rtt)
        self._shortest = rtt if self._shortest is None else min(self._shortest, rtt)
        self.congestion_window = max(self.congestion_window, self.floor)

    def _count(self, lost: int, number: int, now: float) -> None:
        """``lost`` packets up to ``number`` are: whether that is too large a share of all."""
        self._lost += lost
        if self._from_number < 0 or now - self._from_time > 2 * _WINDOW:  # nothing was lost for a while
            self._is_hopeless = False
            self._lost, self._from_number, self._from_time = 0, number, now
        elif now - self._from_time >= _WINDOW:
            self._is_hopeless = self._lost > HOPELESS * max(1, number - self._from_number)
            self._lost, self._from_number, self._from_time = 0, number, now


register_congestion_control(LIVE, LiveCongestionControl)
