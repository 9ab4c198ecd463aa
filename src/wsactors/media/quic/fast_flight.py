"""What the fast path has in flight: its congestion window, its losses, its round-trip times, and a peer gone silent.

The numbers are RFC 9002's; the window, the round-trip time and the reaction to loss are aioquic's own objects, fed from a
ring of send times in place of a record per packet. `fast_path` has the theory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from .aioquic_backend import MAX_PROBE_INTERVAL, AioquicTransport
from .guarded_connection import GuardedConnection
from .transport import Drop

RING: Final = 256
"""Packets whose send times are kept; a power of two. No more datagrams than this are ever in flight."""
NO_DATAGRAM: Final = -math.inf
"""In place of a send time: the number was aioquic's, or skipped."""
_MOST_IN_FLIGHT: Final = RING - 8
_MOST_NUMBERS: Final = 4096
"""Packets of both kinds since the last acknowledged one; a number of two bytes is clear up to 32,768 (RFC 9000 §17.1)."""
_MOST_DOUBLINGS: Final = 10
_REORDERED: Final = 3
"""A packet is lost when one this much later is acknowledged (RFC 9002 §6.1.1)."""
_SHORTEST_RTT: Final = 0.001


class FlightTransport(AioquicTransport):
    """The part of the fast path that decides whether a datagram may go, and learns what became of it."""

    __slots__ = (
        "_acked",
        "_allowance",
        "_fast_sent",
        "_floor",
        "_frame_limit",
        "_limited",
        "_lost",
        "_missing",
        "_next",
        "_overhead",
        "_probe_at",
        "_probe_step",
        "_probes",
        "_probing",
        "_probing_since",
        "_ring",
        "_skip_at",
        "_soft",
    )

    def __init__(self, quic: GuardedConnection) -> None:
        super().__init__(quic)
        self._next = 0
        """The next packet number."""
        self._acked = -1
        """The highest number that the peer has acknowledged."""
        self._floor = -1
        """Nothing up to here is in flight, acknowledged or not."""
        self._soft = -1
        """The last number that may be sent without looking at anything else."""
        self._allowance = 0
        """How many packets may be in flight; very negative when every one has to be looked at."""
        self._skip_at = 0
        self._frame_limit = 0
        """Frames up to this size are what `_allowance` was worked out for."""
        self._overhead = 0
        """What a packet is larger than its frame."""
        self._ring = [NO_DATAGRAM] * RING
        self._missing: list[int] = []
        """Below the highest acknowledged number, not acknowledged, not given up."""
        self._fast_sent = 0
        """Datagrams that took the fast path, as of the last time it was left."""
        self._lost = 0
        self._limited = False
        """The window was full since the last acknowledgement: then it may grow (RFC 9002 §7.8)."""
        self._probing = False
        self._probing_since = 0
        self._probe_at = 0.0
        self._probe_step = 0
        self._probes = 0

    def _held_back(self, size: int, now: float) -> Drop | None:
        """Why a frame of ``size`` bytes may not go now; None when it may, and `_allowance` then says how many more."""
        if self._probing:
            if self._acked <= self._probing_since:
                return self._probe(now)
            self._probing = False
        loss = self.quic._loss
        count, oldest = self._in_flight(now)
        packet = size + self._overhead
        window = loss.congestion_window - loss.bytes_in_flight
        if (count + 1) * packet <= window and count < _MOST_IN_FLIGHT and self._next - self._acked < _MOST_NUMBERS:
            self._frame_limit = size
            self._allow(window // packet)
            return None
        if count and now - oldest > 3 * loss.get_probe_timeout():
            self._write_off(count)
            return self._probe(now)
        self._limited = True
        return Drop.CONGESTED

    def _allow(self, packets: int) -> None:
        """Let this many be in flight from here on."""
        self._allowance = min(packets, _MOST_IN_FLIGHT)
        self._soften()

    def _soften(self) -> None:
        self._soft = min(max(self._acked, self._floor) + self._allowance, self._skip_at - 1)

    def _in_flight(self, now: float) -> tuple[int, float]:
        """How many datagrams are in flight, and when the oldest of them was sent."""
        ring = self._ring
        base = max(self._acked, self._floor, self._next - RING)
        sent = [at for number in range(base + 1, self._next) if (at := ring[number % RING]) != NO_DATAGRAM]
        return len(sent), min(sent, default=now)

    def _bytes_in_flight(self, since: float) -> int:
        """At most how many bytes of datagrams sent after ``since`` are in flight."""
        ring = self._ring
        base = max(self._acked, self._floor, self._next - RING)
        count = sum(ring[number % RING] > since for number in range(base + 1, self._next))
        return count * (self._frame_limit + self._overhead)

    def _probe(self, now: float) -> Drop | None:
        """Let one datagram pass per probe timeout, whatever the window says."""
        if now < self._probe_at:
            return Drop.SILENT
        timeout = self.quic._loss.get_probe_timeout()
        # Doubled each time as RFC 9002 §6.2.1 wants it, up to what live sound can bear.
        self._probe_at = now + min(timeout * 2**self._probe_step, max(MAX_PROBE_INTERVAL, timeout))
        self._probe_step = min(self._probe_step + 1, _MOST_DOUBLINGS)
        self._probes += 1
        return None

    def _write_off(self, count: int) -> None:
        """The peer is silent: nothing is in flight any more, and the window begins anew."""
        self._lost += count + len(self._missing)
        self._missing.clear()
        self._floor = self._next - 1
        self._probing = True
        self._probing_since = self._acked
        self._probe_at = -math.inf
        self._probe_step = 0
        self._allowance = -RING
        self._soft = -1
        self.quic._loss._cc.on_persistent_congestion()

    def _take_numbers(self, upto: int) -> None:
        """Note that aioquic has used the packet numbers up to ``upto``, that one not."""
        ring = self._ring
        for number in range(max(self._next, upto - RING), upto):
            ring[number % RING] = NO_DATAGRAM
        self._next = upto

    def _skip(self) -> None:
        """Leave one packet number out."""
        number = self._next
        self._ring[number % RING] = NO_DATAGRAM
        self._next = number + 1
        self._fast_sent -= 1
        self.quic.note_skipped(number)
        self._skip_at = self.quic.skip_at

    # Acknowledgements.

    def _gap(self, lowest: int) -> None:
        """Between the highest number acknowledged before and ``lowest`` some are missing: late, or lost."""
        ring = self._ring
        for number in range(max(self._acked, self._floor, self._next - RING) + 1, lowest):
            if ring[number % RING] != NO_DATAGRAM:
                self._missing.append(number)

    def _settle(self, ranges: Iterable[tuple[int, int]], highest: int, now: float) -> None:
        """Find out which of the missing have arrived after all, and which are lost."""
        ranges = list(ranges)
        left = [number for number in self._missing if not any(low <= number <= high for low, high in ranges)]
        lost = [number for number in left if number + _REORDERED <= highest]
        self._missing = left[len(lost) :]
        if not lost:
            return
        self._lost += len(lost)
        sent = self._ring[lost[-1] % RING] if self._next - lost[-1] <= RING else now
        # Their bytes were never added to aioquic's count, so none are taken off. When the last was sent counts.
        self.quic._loss._cc.on_packets_lost(now=now, packets=[_record(number, sent, 0) for number in lost])
        if self._allowance > 0:
            self._resize()

    def _resize(self) -> None:
        """The window has changed."""
        loss = self.quic._loss
        self._allow((loss.congestion_window - loss.bytes_in_flight) // (self._frame_limit + self._overhead))

    def _grow(self, highest: int, acknowledged: int, now: float) -> None:
        """The window was full and some of it has arrived: aioquic may let it grow."""
        self._limited = False
        size = acknowledged * (self._frame_limit + self._overhead)
        sent = self._ring[highest % RING] if self._next - highest <= RING else now
        loss = self.quic._loss
        loss._cc.on_packet_acked(now=now, packet=_record(highest, sent, size))
        loss._cc.bytes_in_flight += size
        if self._allowance > 0:
            self._resize()

    def _sample(self, number: int, delay: int, now: float) -> None:
        """Learn the round-trip time from the acknowledgement of this datagram (RFC 9002 §5)."""
        sent = self._ring[number % RING]
        if sent == NO_DATAGRAM or self._next - number > RING:
            return
        loss = self.quic._loss
        waited = min((delay << self.quic._remote_ack_delay_exponent) / 1e6, loss.max_ack_delay)
        latest = max(now - sent, _SHORTEST_RTT)
        loss._rtt_min = min(loss._rtt_min, latest)
        adjusted = latest - waited if latest >= loss._rtt_min + waited else latest
        loss._rtt_latest = adjusted
        if loss._rtt_initialized:
            loss._rtt_variance += (abs(loss._rtt_smoothed - adjusted) - loss._rtt_variance) / 4
            loss._rtt_smoothed += (adjusted - loss._rtt_smoothed) / 8
        else:
            loss._rtt_initialized = True
            loss._rtt_first_sample_time = now
            loss._rtt_smoothed, loss._rtt_variance = latest, latest / 2
        loss._cc.on_rtt_measurement(now=now, rtt=latest)
        loss._pacer.update_rate(congestion_window=loss.congestion_window, smoothed_rtt=loss._rtt_smoothed)


def _record(number: int, sent: float, size: int) -> QuicSentPacket:
    """What aioquic's congestion control wants to hear of a packet."""
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_time=sent,
        sent_bytes=size,
    )
