"""Between aioquic's path and the fast one: what each knows that the other has to know. `fast_path` has the theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import attrs
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet import push_ack_frame
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.tls import Epoch

from .fast_flight import NO_DATAGRAM, RING, FlightTransport
from .fast_frames import ACK, Acknowledgement
from .guarded_connection import GuardedConnection
from .transport import MAX_DATAGRAM_PAYLOAD, Address, TransportStatistics

BYTE: Final = [bytes((value,)) for value in range(256)]
CID_BYTES: Final = 8
"""Our connection ids must have this length (aioquic's default), so that headers have a fixed form."""
ACK_ROOM: Final = 64
"""Bytes that an acknowledgement may take beside a frame; more only when many packets are missing."""
_CARRIER_LOST: Final = 64
"""An acknowledgement is not watched any more when packets so much later have been acknowledged."""
_NOT: Final = -math.inf
_RETRY: Final = 0.02
"""Seconds until streams that wait for the window are tried again."""


class _ChaCha20Masker:
    """Makes the masks of ChaCha20's header protection, called as an AES encryptor is."""

    __slots__ = ("_mask",)

    def __init__(self, protection: Any) -> None:
        self._mask: Callable[[bytes], bytes] = protection._mask

    def update(self, sample: bytes) -> bytes:
        """The mask for ``sample``."""
        return self._mask(sample)


class BridgeTransport(FlightTransport):
    """A connection that is on aioquic's path or on the fast one, and changes over without either losing track."""

    __slots__ = (
        "_ack_carrier",
        "_ack_carries",
        "_ack_due",
        "_aead",
        "_cid",
        "_entered_at",
        "_expected",
        "_fast_received",
        "_head",
        "_heads",
        "_iv",
        "_key_from",
        "_largest_frame",
        "_next_at_receipt",
        "_opener",
        "_ordinary_deadline",
        "_peer",
        "_ready",
        "_receive_heads",
        "_receive_iv",
        "_receive_masker",
        "_received_at",
        "_run",
        "_sealer",
        "_send_masker",
        "_space",
        "_spin",
        "_tracked",
        "_watched",
    )

    def __init__(self, quic: GuardedConnection) -> None:
        super().__init__(quic)
        self._ready = False
        self._peer: Address = ("", 0)
        self._expected = 0
        """The packet number that comes next from the peer."""
        self._run = 0
        """From here to `_expected` all has been received, and aioquic does not know it yet."""
        self._received_at = _NOT
        """When the fast path received last, as far as aioquic does not know it."""
        self._next_at_receipt = 0
        self._entered_at = 0
        self._ordinary_deadline: float | None = None
        self._ack_due = False
        self._ack_carrier = -1
        """The packet that took the last acknowledgement along; -1 when none is to be watched."""
        self._ack_carries = -1
        self._watched = -1
        """An acknowledgement that reaches down to here has to be looked at more closely."""
        self._tracked = False
        """Whether aioquic has packets of its own in flight."""
        self._key_from = 0
        self._space = QuicPacketSpace()
        self._aead: Any = None
        self._fast_received = 0
        self._spin = 0
        quic.changed = self._leave

    # Between the two paths.

    def transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now."""
        return super().transmit(now) if self.quic.pending or self._outbox else []

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        other = self._ordinary_deadline
        if self._ready and not self.quic.pending and (other is None or other > now):
            try:
                if self._is_told(now):
                    self._deadline = other
                    return
            except Exception as fault:
                self._fail("timer", fault)
        self._leave()
        super().handle_timer(now)
        self._enter()

    def _is_told(self, now: float) -> bool:
        """Send the acknowledgement that is due, unless it went along with a datagram; False when aioquic has to."""
        space = self._space
        if space.ack_at is None:
            return True
        if space.ack_at > now:
            return False
        self._tell_received()
        if len(space.ack_queue) != 1:
            return False  # aioquic now and then pings with it, so that the ranges become fewer
        self._outbox.append((self._packet(self._acknowledgement(now, ACK_ROOM), NO_DATAGRAM), self._peer))
        self._fast_sent -= 1
        return True

    def _receive_slowly(self, data: bytes, address: Address, now: float) -> bool:
        self._leave()
        more = super().receive(data, address, now)
        self._enter()
        return more

    def _transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """Let aioquic send, within what the datagrams in flight leave of the window."""
        self._leave()
        congestion = self.quic._loss._cc
        # Older ones will hardly be acknowledged any more, and must not keep streams waiting.
        flying = self._bytes_in_flight(now - 3 * self.quic._loss.get_probe_timeout())
        congestion.bytes_in_flight += flying
        try:
            packets = super()._transmit(now)
        finally:
            congestion.bytes_in_flight -= flying
        self._enter()
        if flying and self.quic._streams_queue and self._deadline is not None:
            # Acknowledged datagrams make room for streams, and nobody else would tell.
            self._deadline = min(self._deadline, now + _RETRY)
        return packets

    def _leave(self) -> None:
        """Write back into aioquic's connection what has changed since `_enter`."""
        if not self._ready:
            return
        self._ready = False
        self._soft, self._allowance = -1, -RING
        quic = self.quic
        self._fast_sent += self._next - self._entered_at
        quic._packet_number = self._next
        self._space.largest_acked_packet = max(self._space.largest_acked_packet, self._acked)
        self._tell_received()
        quic._spin_bit = self._head[0] & 0x20 != 0
        quic._spin_highest_pn = max(quic._spin_highest_pn, self._expected - 1)
        if self._received_at != _NOT:
            quic._close_at = self._received_at + quic._idle_timeout()
            quic._ack_eliciting_sent_since_receipt = False
            self._received_at = _NOT
        first = self._next_at_receipt
        if not quic._ack_eliciting_sent_since_receipt and 0 < self._next - first <= RING:
            sent = self._ring[first % RING]
            if sent != NO_DATAGRAM:
                quic._close_at = max(quic._close_at or 0.0, sent + quic._idle_timeout())
                quic._ack_eliciting_sent_since_receipt = True

    def _tell_received(self) -> None:
        """Tell aioquic of the run of packets received here."""
        begin, end = self._run, self._expected
        if begin == end:
            return
        space = self._space
        space.ack_queue.add(begin, end)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        window = space.received_packets
        window._received.update(range(max(begin, end - window._size), end))
        # `add` moves the window, and forgets what has fallen out of it.
        window.add(end - 1)
        space.expected_packet_number = max(space.expected_packet_number, end)
        space.largest_received_packet = end - 1
        space.largest_received_time = self._received_at
        self._fast_received += end - begin
        self._run = end

    def _tell_acknowledged(self, acknowledgement: Acknowledgement, now: float) -> bool:
        """Some of it may be aioquic's own packets."""
        quic = self.quic
        space = self._space
        ranges = RangeSet()
        for low, high in acknowledgement.ranges:
            ranges.add(low, high + 1)
        delay = (acknowledgement.delay << quic._remote_ack_delay_exponent) / 1e6
        quic._loss.on_ack_received(ack_rangeset=ranges, ack_delay=delay, now=now, space=space)
        quic.pending = True
        self._tracked = bool(space.sent_packets)
        self._soft, self._allowance = -1, -RING
        return True

    def _enter(self) -> None:
        """Read what aioquic may have changed, and go the fast way if nothing speaks against it."""
        quic = self.quic
        self._take_numbers(quic._packet_number)
        if (
            quic._state is not QuicConnectionState.CONNECTED
            or quic._close_pending
            or not quic._handshake_confirmed
            or not quic._network_paths[0].is_validated
            or quic._quic_logger is not None
            or len(quic.host_cid) != CID_BYTES
        ):
            return
        pair = quic._cryptos[Epoch.ONE_RTT]
        if pair._update_key_requested or not pair.send.is_valid() or not pair.recv.is_valid():
            return
        self._read_keys(pair)
        space = self._space = quic._spaces[Epoch.ONE_RTT]
        self._peer = quic._network_paths[0].addr
        self._run = self._expected = space.largest_received_packet + 1
        self._acked = max(self._acked, space.largest_acked_packet)
        self._next_at_receipt = self._entered_at = self._next
        self._largest_frame = min(quic._remote_max_datagram_frame_size or 0, MAX_DATAGRAM_PAYLOAD + 3)
        self._tracked = bool(space.sent_packets)
        self._skip_at = quic.skip_at
        self._ack_due = space.ack_at is not None
        self._ordinary_deadline = self._deadline
        self._watch()
        self._ready = True

    def _read_keys(self, pair: Any) -> None:
        """Take over the keys, and all that goes into headers."""
        quic = self.quic
        send, receive = pair.send, pair.recv
        if send.aead is not self._aead:
            self._aead = send.aead
            self._key_from = self._next
        self._sealer, self._opener = send.aead._aead, receive.aead._aead
        self._iv, self._receive_iv = send.aead._iv, receive.aead._iv
        # ChaCha20 takes the sample as its nonce; AES in ECB mode is the same function for every sample.
        is_chacha20 = send.hp._is_chacha20
        self._send_masker = _ChaCha20Masker(send.hp) if is_chacha20 else send.hp._encryptor
        self._receive_masker = _ChaCha20Masker(receive.hp) if is_chacha20 else receive.hp._encryptor
        phase = receive.key_phase << 2
        self._cid = quic._peer_cid.cid
        self._overhead = 1 + len(self._cid) + 2 + 16
        heads = [BYTE[0x41 | spin | phase] + self._cid for spin in (0, 0x20)]
        self._spin = (quic._spin_bit != quic._is_client) << 5
        self._heads = heads[::-1] if quic._is_client else heads
        self._head = self._heads[self._spin != 0]
        self._receive_heads = {
            first: BYTE[first] + quic.host_cid
            for first in (0x40 | phase | spin | size for spin in (0, 0x20) for size in (0, 1))
        }

    def _packet(self, payload: bytes, sent: float) -> bytes:
        """Protect ``payload``, whole frames, as the next packet (RFC 9001 §5)."""
        number = self._next
        self._next = number + 1
        self._ring[number & 255] = sent
        low = (number & 0xFFFF).to_bytes(2, "big")
        head = self._head
        sealed = self._sealer.encrypt((self._iv ^ number).to_bytes(12, "big"), payload, head + low)
        mask = self._send_masker.update(sealed[2:18])
        return b"%c%b%c%c%b" % (head[0] ^ mask[0] & 0x1F, self._cid, low[0] ^ mask[1], low[1] ^ mask[2], sealed)

    def _look_closer(self, ranges: list[tuple[int, int]], now: float) -> None:
        low, largest = ranges[0]
        if low > self._acked + 1:
            self._gap(low)
        if self._missing:
            self._settle(ranges, largest, now)
        if self._limited:
            self._grow(largest, largest - self._acked, now)

    def _is_sent(self, ranges: list[tuple[int, int]]) -> bool:
        """Whether all that these ranges acknowledge was sent; and learn whether our own acknowledgement has arrived."""
        lowest, highest = ranges[-1][0], ranges[0][1]
        for number in self.quic.skipped:
            if number >= lowest and any(low <= number <= high for low, high in ranges):
                return False
        carrier = self._ack_carrier
        if 0 <= carrier <= highest:
            is_there = any(low <= carrier <= high for low, high in ranges)
            if is_there:
                # The peer knows what we have received: no need to say it again (RFC 9000 §13.2.4).
                self._space.ack_queue.subtract(0, self._ack_carries + 1)
            if is_there or highest > carrier + _CARRIER_LOST:
                self._ack_carrier = -1
                self._watch()
        return True

    def _watch(self) -> None:
        skipped = self.quic.skipped
        self._watched = max(skipped[-1] if skipped else -1, self._ack_carrier)

    def _want_acknowledgement(self, now: float) -> None:
        """The peer wants to hear from us: with the next datagram, or else by the timer."""
        space = self._space
        if space.ack_at is None:
            space.ack_at = now + self.quic._ack_delay
            if self._deadline is None or space.ack_at < self._deadline:
                self._deadline = space.ack_at
        self._ack_due = True
        self._allowance = -RING
        self._soft = -1

    def _acknowledgement(self, now: float, room: int) -> bytes:
        """An ACK frame of what has been received, of at most ``room`` bytes."""
        self._tell_received()
        space = self._space
        # What came last may have come after the ``now`` of a sweep that has taken a while.
        delay = int(max(0.0, now - (space.largest_received_time or now)) * 1e6) >> self.quic._local_ack_delay_exponent
        buf = Buffer(capacity=room)
        buf.push_uint_var(ACK)
        push_ack_frame(buf, space.ack_queue, delay, room - 1)
        space.ack_at = None
        self._ack_due = False
        return buf.data

    def statistics(self) -> TransportStatistics:
        """How the connection is."""
        sent, received = self._fast_sent, self._fast_received
        if self._ready:
            sent += self._next - self._entered_at
            received += self._expected - self._run
        general = super().statistics()
        return attrs.evolve(
            general,
            bytes_in_flight=general.bytes_in_flight + self._bytes_in_flight(-math.inf),
            datagrams_sent=general.datagrams_sent + sent,
            datagrams_lost=general.datagrams_lost + self._lost,
            packets_received=general.packets_received + received,
            fast_sent=sent,
            fast_received=received,
            probes=general.probes + self._probes,
        )
