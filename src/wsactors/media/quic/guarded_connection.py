"""aioquic's connection with what it lacks for peers that cheat: it believes no acknowledgement of what was never sent.

An optimistic acknowledgement makes a sender see an empty window for ever (RFC 9000 §21.4). So packet numbers are skipped
now and then, unpredictably, and who acknowledges a skipped one, or one that is yet to come, is disconnected with
PROTOCOL_VIOLATION. aioquic itself (1.7.2) ignores such numbers.

The queue of DATAGRAM frames is bounded, here, too: aioquic's own grows without end while a peer acknowledges nothing,
and a frame that fits no packet would keep all behind it from leaving.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, pull_ack_frame
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.tls import Epoch, Group

from .bounded import BoundedConnection
from .transport import MAX_DATAGRAM_PAYLOAD, Drop, no_drops

SKIPPED_KEPT: Final = 16
"""Skipped numbers that are remembered; older ones are far below everything in flight."""
SKIP_AFTER: Final = 500
"""A number is skipped after this many packets and up to this many more: at 50 packets/s every 10 to 20 s."""
MAX_WAITING_DATAGRAMS: Final = 16
"""Datagrams that wait for the next `datagrams_to_send`; what comes on top is dropped."""
PROMPT_SECONDS: Final = 4.0
"""When packets are missing twice within so long, a client acknowledges everything at once for as long again: once alone a number
may have been skipped (`SKIP_AFTER`)."""

_MAX_ACK_DELAY: Final = 0x0B
_GROUPS: Final = (Group.X25519, Group.SECP256R1)
"""For which a client offers keys: every server of TLS 1.3 has the second (RFC 8446 §9.1), and takes whichever it likes better."""


class GuardedConnection(BoundedConnection):
    """aioquic's connection, strict about acknowledgements and bounded in its datagrams.

    ``changed`` is called by whatever an application may call that the fast path must know of.
    """

    def __init__(self, *, max_ack_delay: float = 0.025, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pending = True
        """Whether there may be something to send."""
        self.changed: Callable[[], None] = _nothing
        self.skipped: deque[int] = deque(maxlen=SKIPPED_KEPT)
        self.skip_at = SKIP_AFTER
        """The packet number at which the next is skipped."""
        self.drops = no_drops()
        self.datagrams_sent = 0
        self.datagrams_lost = 0
        self._max_ack_delay = max_ack_delay
        if max_ack_delay > 0.025:
            # Half of what is declared: a timer is late at times, and a declared delay that is exceeded costs probes.
            self._ack_delay = max_ack_delay / 2
        self._missing_at = self._prompt_until = -1e9

    def skip_number(self) -> None:
        """Leave one packet number out. Nobody can have received it."""
        number = self._packet_number
        self._packet_number = number + 1
        self.note_skipped(number)

    def note_skipped(self, number: int) -> None:
        """Remember a number that was left out, and draw when the next is."""
        self.skipped.append(number)
        self.skip_at = number + SKIP_AFTER + secrets.randbelow(SKIP_AFTER)

    # What applications and H3Connection call: each leaves something to send.

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Append to a stream."""
        self.pending = True
        super().send_stream_data(stream_id, data, end_stream)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Give up sending on a stream."""
        self.pending = True
        super().reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        self.pending = True
        super().stop_stream(stream_id, error_code)

    def send_ping(self, uid: int) -> None:
        """Ask for an acknowledgement."""
        self.pending = True
        super().send_ping(uid)

    def send_datagram_frame(self, data: bytes) -> None:
        """Queue a datagram with the next `datagrams_to_send`; what would never leave, or wait too long, is dropped."""
        limit = self._remote_max_datagram_frame_size
        if len(data) > MAX_DATAGRAM_PAYLOAD or limit is None or len(data) + 3 > limit:
            self.drops[Drop.UNSUPPORTED] += 1
        elif len(self._datagrams_pending) >= MAX_WAITING_DATAGRAMS:
            self.drops[Drop.CONGESTED] += 1
        else:
            self.pending = True
            super().send_datagram_frame(data)

    def close(
        self, error_code: int = QuicErrorCode.NO_ERROR, frame_type: int | None = None, reason_phrase: str = ""
    ) -> None:
        """Close the connection."""
        super().close(error_code, frame_type, reason_phrase)
        self.pending = True
        self.changed()

    def request_key_update(self) -> None:
        """Change keys with the next packet."""
        super().request_key_update()
        self.pending = True
        self.changed()

    def change_connection_id(self) -> None:
        """Use another of the peer's connection ids."""
        super().change_connection_id()
        self.pending = True
        self.changed()

    # What aioquic does by itself.

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Take a packet. A client acknowledges promptly what comes by a lossy way (RFC 9000 §13.2.1): where acknowledgements get
        lost, too, and were few, its node would take it for silent, and send it no more sound."""
        space = self._spaces.get(Epoch.ONE_RTT) if self._is_client else None
        expected = -1 if space is None else space.largest_received_packet + 1
        super().receive_datagram(data, addr, now)
        if space is None:
            return
        if space.largest_received_packet > expected > 0:
            if now - self._missing_at < PROMPT_SECONDS:
                self._prompt_until = now + PROMPT_SECONDS
            self._missing_at = now
        if now < self._prompt_until and space.ack_at is not None:
            space.ack_at = min(space.ack_at, now)

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        try:
            ranges, _ = pull_ack_frame(buf)
        except ValueError:
            buf.seek(start)  # aioquic says what is wrong with it
        else:
            buf.seek(start)
            if ranges.bounds().stop > self._packet_number or any(number in ranges for number in self.skipped):
                raise QuicConnectionError(
                    error_code=QuicErrorCode.PROTOCOL_VIOLATION,
                    frame_type=frame_type,
                    reason_phrase="Acknowledged a packet that was not sent",
                )
        super()._handle_ack_frame(context, frame_type, buf)

    def _write_datagram_frame(self, builder: QuicPacketBuilder, data: bytes, frame_type: QuicFrameType) -> bool:
        length = len(data)
        buf = builder.start_frame(frame_type, capacity=3 + length, handler=self._on_datagram_delivery)
        buf.push_uint_var(length)
        buf.push_bytes(data)
        self.datagrams_sent += 1
        return True

    def _on_datagram_delivery(self, delivery: QuicDeliveryState) -> None:
        if delivery != QuicDeliveryState.ACKED:
            self.datagrams_lost += 1

    def _serialize_transport_parameters(self) -> bytes:
        encoded = super()._serialize_transport_parameters()
        if self._max_ack_delay == 0.025:
            return encoded
        return _with_ack_delay(encoded, round(self._max_ack_delay * 1000))

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if self._is_client:
            # aioquic makes a key for each group that it knows, and those of the two largest cost as much as all the rest.
            self.tls._supported_groups = list(_GROUPS)


def _with_ack_delay(parameters: bytes, milliseconds: int) -> bytes:
    """Encoded transport parameters (RFC 9000 §18) with another max_ack_delay."""
    buf, kept = Buffer(data=parameters), bytearray()
    while not buf.eof():
        begin = buf.tell()
        name, length = buf.pull_uint_var(), buf.pull_uint_var()
        buf.pull_bytes(length)
        if name != _MAX_ACK_DELAY:
            kept += parameters[begin : buf.tell()]
    value = encode_uint_var(milliseconds)
    return bytes(kept) + bytes((_MAX_ACK_DELAY, len(value))) + value


def _nothing() -> None:
    """Nobody wants to know."""
