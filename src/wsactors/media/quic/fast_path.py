"""The fast path: a datagram out and an acknowledgement in, past aioquic's general machinery, on established connections.

Theory of operation. A connection is either *on the fast path* (``_ready``) or not. On it, what changes with every packet
lives in this object: the next packet number, the highest acknowledged one, what has been received. `_leave` writes it
back into aioquic's connection, `_enter` reads it again, with the keys, ids, address and limits, which only aioquic
changes. Every step of aioquic's happens between the two, so that it always finds its own state true, and packet numbers,
keys, migration, path validation, streams, closing and timers stay aioquic's business alone. When a precondition of
`_enter` fails, the connection simply stays on aioquic's path until a later step of aioquic's.

Datagrams sent here are not in aioquic's table of sent packets; a ring of send times stands for them. It gives the
round-trip time, what is in flight (everything above the highest acknowledged number), what was lost, and how old the
oldest unacknowledged datagram is. The congestion window is aioquic's and holds both kinds together. A full window means:
dropped. When it is full and the oldest is older than three probe timeouts, the peer is *silent*: what is in flight is
written off, the window collapses as in persistent congestion (RFC 9002 §7.6), and one datagram per probe timeout goes
out, the freshest sound there is, until any acknowledgement comes. So sound is back within a probe interval and a round
trip after a hole, though nothing but our own packets would make the peer speak.

``_soft`` is the last packet number that may be sent without looking at anything else. It is the one precondition that the
hot loop checks; whatever has to be looked at (not ready, window full, a number to be skipped, an acknowledgement to be
taken along) lowers it.
"""

from __future__ import annotations

from typing import Final

from aioquic.quic.events import DatagramFrameReceived
from cryptography.exceptions import InvalidTag

from .aioquic_backend import AioquicBackend
from .fast_bridge import ACK_ROOM, BYTE, CID_BYTES, BridgeTransport
from .fast_frames import ACK, PING, Acknowledgement, read_frames, read_varint
from .guarded_connection import GuardedConnection
from .transport import MAX_DATAGRAM_PAYLOAD, Address, Drop, Transport

_SHORTEST: Final = 1 + CID_BYTES + 4 + 16
"""Bytes of the shortest packet whose header protection can be removed (RFC 9001 §5.4.2)."""
_KEY_PACKETS: Final = 1 << 22
"""Packets under one key before it is changed: half of what AES-GCM allows (RFC 9001 §6.6), a day of sound."""


class FastTransport(BridgeTransport):
    """A `Transport` that goes past aioquic where it can, and by aioquic where it cannot.

    What seals, opens and masks are objects of cryptography's whose methods are called, rather than bound methods that are kept:
    an object less to be fetched into the caches, each of four times for every packet and its acknowledgement.
    """

    __slots__ = ()

    # Out.

    def datagram(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """The packet that carries ``frame``, or None: dropped and counted."""
        number = self._next
        if number > self._soft or len(frame) > self._frame_limit:
            return self._datagram_slowly(frame, now)
        # As `_packet`, which everything else calls: a call costs a twentieth of what this does.
        self._next = number + 1
        self._ring[number & 255] = now
        low = (number & 0xFFFF).to_bytes(2, "big")
        head, sealer, masker = self._head, self._sealer, self._send_masker
        sealed = sealer.encrypt((self._iv ^ number).to_bytes(12, "big"), frame, head + low)
        mask = masker.update(sealed[2:18])
        return (
            b"%c%b%c%c%b" % (head[0] ^ mask[0] & 0x1F, self._cid, low[0] ^ mask[1], low[1] ^ mask[2], sealed),
            self._peer,
        )

    def _datagram_slowly(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """Look at everything that the short way leaves out."""
        if not self._ready:
            return super().datagram(frame, now)
        try:
            return self._datagram_looked_at(frame, now)
        except Exception as fault:
            self._fail("datagram", fault)
            self.quic.drops[Drop.CLOSED] += 1
            return None

    def _datagram_looked_at(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        size = len(frame)
        if size > self._largest_frame:
            self.quic.drops[Drop.UNSUPPORTED] += 1
            return None
        if self._next >= self._skip_at:
            self._skip()
            self._watch()
            if self._next - self._key_from > _KEY_PACKETS:
                self.quic.request_key_update()
                return super().datagram(frame, now)
        reason = self._held_back(size, now)
        if reason is not None:
            self.quic.drops[reason] += 1
            return None
        return self._packet(self._take_along(frame, now) if self._ack_due else frame, now), self._peer

    def _take_along(self, frame: bytes, now: float) -> bytes:
        """Put the acknowledgement that is due before the frame, when both fit."""
        room = MAX_DATAGRAM_PAYLOAD + 3 - len(frame)
        if room < ACK_ROOM:
            return frame
        acknowledgement = self._acknowledgement(now, room)
        self._ack_carrier, self._ack_carries = self._next, self._space.largest_received_packet
        self._watch()
        return acknowledgement + frame

    # In.

    def receive(self, data: bytes, address: Address, now: float) -> bool:
        """Take what came. Other keys or addresses, late packets, long numbers and the like are aioquic's."""
        if not self._ready or len(data) < _SHORTEST or data[0] & 0xC0 != 0x40 or address != self._peer:
            return self._receive_slowly(data, address, now)
        masker, opener = self._receive_masker, self._opener
        mask = masker.update(data[13:29])
        first = data[0] ^ mask[0] & 0x1F
        head = self._receive_heads.get(first)
        if head is None:
            return self._receive_slowly(data, address, now)
        expected = self._expected
        if first & 1:
            number = expected + (((data[9] ^ mask[1]) << 8 | data[10] ^ mask[2]) - expected & 0xFFFF)
            late = number - expected > 0x7FFF
            tail, begin = (number & 0xFFFF).to_bytes(2, "big"), 11
        else:
            number = expected + ((data[9] ^ mask[1]) - expected & 0xFF)
            late = number - expected > 0x7F
            tail, begin = BYTE[number & 0xFF], 10
        if late:
            return self._receive_slowly(data, address, now)
        try:
            payload = opener.decrypt((self._receive_iv ^ number).to_bytes(12, "big"), data[begin:], head + tail)
            more = self._payload(payload, now)
        except InvalidTag:
            return self._receive_slowly(data, address, now)
        except Exception as fault:
            self._fail("receive", fault)
            return True
        if more is None:
            return self._receive_slowly(data, address, now)
        if number != expected:
            self._tell_received()
            self._run = number
        self._expected = number + 1
        self._received_at = now
        self._next_at_receipt = self._next
        if first & 0x20 != self._spin:
            self._spin ^= 0x20  # a server turns it with its peer, a client against it (RFC 9000 §17.4)
            self._head = self._heads[self._spin >> 5]
        return more

    def _payload(self, payload: bytes, now: float) -> bool | None:
        """Take what a packet holds; None when aioquic has to. An acknowledgement of one range is read here."""
        try:
            kind, largest = payload[0], payload[1]
            at = 2
            if largest > 0x3F:
                if largest < 0x80:
                    largest, at = (largest & 0x3F) << 8 | payload[2], 3
                else:
                    largest, at = read_varint(payload, 1)
            delay = payload[at]
            at += 1
            if delay > 0x3F:
                delay, at = read_varint(payload, at - 1)
            count, length = payload[at], payload[at + 1]
            at += 2
            if length > 0x3F:
                length, at = read_varint(payload, at - 1)
        except IndexError:
            return self._frames(payload, now)
        low = largest - length
        eliciting = at + 1 == len(payload) and payload[at] == PING
        if kind != ACK or count or (at != len(payload) and not eliciting) or low < 0 or largest >= self._next:
            return self._frames(payload, now)
        if low <= self._watched and not self._is_sent([(low, largest)]):
            return None
        if largest > self._acked:
            if low > self._acked + 1 or self._missing or self._limited:
                self._look_closer([(low, largest)], now)
            if largest & 15 == 0:
                self._sample(largest, delay, now)
            self._acked = largest
            soft = largest + self._allowance
            self._soft = soft if soft < self._skip_at else self._skip_at - 1
        if eliciting or self._tracked:
            return self._rest(Acknowledgement(delay, [(low, largest)]), eliciting, now)
        return False

    def _rest(self, acknowledgement: Acknowledgement, eliciting: bool, now: float) -> bool:
        """What one acknowledgement in twenty has besides: a wish to be acknowledged, or news of aioquic's own packets."""
        if eliciting:
            self._want_acknowledgement(now)
        return self._tracked and self._tell_acknowledged(acknowledgement, now)

    def _frames(self, payload: bytes, now: float) -> bool | None:
        """Take what a packet holds besides the usual; None when aioquic has to."""
        frames = read_frames(payload) if payload else None
        if frames is None:
            return None
        quic = self.quic
        acknowledgement = frames.acknowledgement
        if acknowledgement is not None and (
            acknowledgement.ranges[0][1] >= self._next or not self._is_sent(acknowledgement.ranges)
        ):
            return None  # of what was not sent: aioquic's path closes the connection for it
        limit = quic.configuration.max_datagram_frame_size or 0
        if any(len(data) + 9 > limit for data in frames.datagrams):
            return None
        more = acknowledgement is not None and self._acknowledged(acknowledgement, now)
        for data in frames.datagrams:
            self._events.append(DatagramFrameReceived(data))
            more = True
        self._received += len(frames.datagrams)
        if frames.is_eliciting:
            self._want_acknowledgement(now)
        return more

    def _acknowledged(self, acknowledgement: Acknowledgement, now: float) -> bool:
        """Take an acknowledgement that is not of the usual shape."""
        low, largest = acknowledgement.ranges[0]
        if largest > self._acked:
            if low > self._acked + 1 or self._missing or self._limited:
                self._look_closer(acknowledgement.ranges, now)
            if largest & 15 == 0:
                self._sample(largest, acknowledgement.delay, now)
            self._acked = largest
            self._soften()
        return self._tracked and self._tell_acknowledged(acknowledgement, now)


class FastBackend(AioquicBackend):
    """Makes connections that take the fast path whenever they can."""

    name = "fast"

    def _wrap(self, quic: GuardedConnection) -> Transport:
        return FastTransport(quic)
