"""One connection by aioquic's ordinary path: the plain, slow and complete way, and the base of the fast one.

Measured: 29 to 34 µs per datagram sent and 38 to 45 µs per acknowledgement received, nearly all of it interpreter work.
`fast_path` takes the two common cases, a datagram out and an acknowledgement in, past it.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, QuicConnectionState
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from wsactors.actors.log import log

from .guarded_connection import GuardedConnection
from .transport import (
    MAX_DATAGRAM_PAYLOAD,
    Address,
    Drop,
    Transport,
    TransportStatistics,
    frame_payload,
)

MAX_PROBE_INTERVAL: Final = 0.5
"""Seconds between two probes of a silent peer at most, unless its own probe timeout is longer.

RFC 9002 §6.2.1 doubles the interval each time, without end. For live sound that is too long: after a hole of 10 s sound
has to be back within 1 s. Two small packets a second, until the idle timeout, congest nothing.
"""
ACK_DELAY: Final = 0.05
"""Seconds that a server says it may keep an acknowledgement back: timers are looked at every 25 ms, and most acknowledgements go
along with the next datagram instead of in a packet of their own."""
MAX_WAIT: Final = 0.06
"""Seconds that a datagram waits for the pacer of the ordinary path. Later it is late sound, and dropped."""
_NOWHERE: Final[Address] = ("", 0)
_PACKET_OVERHEAD: Final = 1 + 20 + 2 + 16


class AioquicTransport:
    """A `Transport` on aioquic's ordinary path."""

    __slots__ = (
        "_deadline",
        "_events",
        "_failed",
        "_first_waiting",
        "_outbox",
        "_packets_received",
        "_received",
        "quic",
    )

    def __init__(self, quic: GuardedConnection) -> None:
        self.quic = quic
        self._deadline: float | None = None
        self._failed = False
        self._first_waiting: float | None = None
        self._outbox: list[tuple[bytes, Address]] = []
        self._packets_received = 0
        self._events = quic._events
        self._received = 0

    @property
    def host_cid(self) -> bytes:
        """Our own connection id now."""
        return self.quic.host_cid

    @property
    def address(self) -> Address:
        """The peer's address now."""
        paths = self.quic._network_paths
        return paths[0].addr if paths else _NOWHERE

    @property
    def drops(self) -> dict[Drop, int]:
        """Datagrams not sent, by reason."""
        return self.quic.drops

    def receive(self, data: bytes, address: Address, now: float) -> bool:
        """Take what came from the network."""
        self._packets_received += 1
        self.quic.pending = True
        try:
            self.quic.receive_datagram(data, address, now)
        except Exception as fault:
            self._fail("receive", fault)
        return True

    def transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now."""
        packets = self._transmit(now) if self.quic.pending else []
        if self._outbox:
            packets = self._outbox + packets
            self._outbox = []
        return packets

    def timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        quic = self.quic
        if quic._close_at is None:
            return
        try:
            quic.handle_timer(now)
        except Exception as fault:
            self._fail("timer", fault)
        quic.pending = True

    def next_event(self) -> QuicEvent | None:
        """The next event, oldest first."""
        return self._events.popleft() if self._events else None

    def datagram(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """The packet that carries ``frame``, or None: dropped and counted."""
        reason = self._refusal(len(frame))
        if reason is not None:
            self.quic.drops[reason] += 1
            return None
        quic = self.quic
        before = quic.datagrams_sent
        quic._datagrams_pending.append(frame_payload(frame))
        packets = self._transmit(now)
        if quic.datagrams_sent == before:
            quic._datagrams_pending.clear()
            quic.drops[Drop.CONGESTED] += 1
        elif packets:
            self._outbox += packets[:-1]
            return packets[-1]
        self._outbox += packets
        return None

    def send_datagram_ordinary(self, payload: bytes) -> bool:
        """Queue a datagram with the next `transmit`."""
        if len(payload) > MAX_DATAGRAM_PAYLOAD:
            raise ValueError(f"a datagram carries at most {MAX_DATAGRAM_PAYLOAD} bytes, not {len(payload)}")
        waiting = len(self.quic._datagrams_pending)
        self.quic.send_datagram_frame(payload)
        return len(self.quic._datagrams_pending) > waiting

    def next_stream_id(self, *, unidirectional: bool = False) -> int:
        """The id of the next stream that we open."""
        return self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Append to a stream."""
        self.quic.send_stream_data(stream_id, data, end_stream)

    def unsent(self, stream_id: int) -> int:
        """Bytes given to a stream and not acknowledged yet."""
        stream = self.quic._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Give up sending on a stream."""
        self.quic.reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        if stream_id in self.quic._streams:
            self.quic.stop_stream(stream_id, error_code)

    def request_key_update(self) -> None:
        """Change keys with the next packet."""
        self.quic.request_key_update()

    def close(self, error_code: int = 0, reason: str = "", *, transport_error: bool = False) -> None:
        """Close; `transmit` then has the last packet."""
        self.quic.close(error_code, QuicFrameType.PADDING if transport_error else None, reason)

    def statistics(self) -> TransportStatistics:
        """How the connection is."""
        quic = self.quic
        loss = quic._loss
        return TransportStatistics(
            rtt=loss._rtt_smoothed,
            rtt_variance=loss._rtt_variance,
            bytes_in_flight=loss.bytes_in_flight,
            congestion_window=loss.congestion_window,
            datagrams_sent=quic.datagrams_sent,
            datagrams_lost=quic.datagrams_lost,
            datagrams_received=self._received,
            packets_received=self._packets_received,
            fast_sent=0,
            fast_received=0,
            probes=loss._pto_count,
            drops=dict(quic.drops),
        )

    def _refusal(self, size: int) -> Drop | None:
        """Why the ordinary path cannot take a frame of ``size`` bytes now."""
        quic = self.quic
        if quic._state in END_STATES or quic._close_pending:
            return Drop.CLOSED
        if not quic._handshake_complete or quic._state is not QuicConnectionState.CONNECTED:
            return Drop.HANDSHAKE
        limit = quic._remote_max_datagram_frame_size
        if limit is None or size > limit or size > MAX_DATAGRAM_PAYLOAD + 3:
            return Drop.UNSUPPORTED
        path = quic._network_paths[0]
        if not path.is_validated and not path.can_send(size + _PACKET_OVERHEAD):
            return Drop.UNVALIDATED
        if quic._loss.congestion_window - quic._loss.bytes_in_flight < size + _PACKET_OVERHEAD:
            return Drop.SILENT if quic._loss._pto_count else Drop.CONGESTED
        return None

    def _transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """Let aioquic build what it has to send; what of the datagrams has waited too long is dropped first."""
        quic = self.quic
        quic.pending = False
        if not quic._network_paths:
            return []
        # What came last may have come after ``now`` was read: an acknowledgement cannot be of the future.
        now = max(now, *(space.largest_received_time or now for space in quic._spaces.values()))
        if quic._packet_number >= quic.skip_at and quic._handshake_confirmed:
            quic.skip_number()
        try:
            packets = quic.datagrams_to_send(now)
        except Exception as fault:
            self._fail("transmit", fault)
            packets = []
        self._drop_late(now)
        self._schedule(now)
        return packets

    def _drop_late(self, now: float) -> None:
        """Keep what waits for the pacer for `MAX_WAIT`, no longer."""
        waiting = self.quic._datagrams_pending
        if not waiting:
            self._first_waiting = None
        elif self._first_waiting is None:
            self._first_waiting = now
        elif now - self._first_waiting > MAX_WAIT:
            self.quic.drops[Drop.CONGESTED] += len(waiting)
            waiting.clear()
            self._first_waiting = None

    def _schedule(self, now: float) -> None:
        """Work out when time matters next."""
        quic = self.quic
        if quic._close_at is None:
            self._deadline = None
            return
        loss = quic._loss
        if loss._pto_count and quic._handshake_confirmed:
            timeout = loss.get_probe_timeout()
            while loss._pto_count and timeout * 2**loss._pto_count > max(MAX_PROBE_INTERVAL, timeout):
                loss._pto_count -= 1
        self._deadline = quic.get_timer()
        if self._outbox:
            self._deadline = now

    def _fail(self, step: str, fault: Exception) -> None:
        """A fault of aioquic's or of ours costs this connection and no other: closed, and if that fails, too, ended."""
        quic = self.quic
        log(
            __name__, "error", "quic_connection_failed", step=step, traceback="".join(traceback.format_exception(fault))
        )
        if not self._failed:
            self._failed = True
            # If that fails, too, for the same reason perhaps, the next fault ends it.
            with suppress(Exception):
                quic.close(QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING, "internal error")
        elif quic._state is not QuicConnectionState.TERMINATED:
            quic._events.append(ConnectionTerminated(QuicErrorCode.INTERNAL_ERROR, None, "internal error"))
            quic._state = QuicConnectionState.TERMINATED
            quic._close_at = None


class AioquicBackend:
    """Makes connections that take aioquic's ordinary path throughout."""

    name: str = "aioquic"

    def accept(
        self,
        configuration: QuicConfiguration,
        *,
        original_destination_cid: bytes,
        retry_source_cid: bytes | None = None,
    ) -> Transport:
        """The server's end of a new connection."""
        quic = GuardedConnection(
            max_ack_delay=ACK_DELAY,
            configuration=configuration,
            original_destination_connection_id=original_destination_cid,
            retry_source_connection_id=retry_source_cid,
        )
        return self._wrap(quic)

    def connect(
        self, configuration: QuicConfiguration, address: Address, now: float, *, max_ack_delay: float = 0.025
    ) -> Transport:
        """The client's end of a new connection."""
        quic = GuardedConnection(configuration=configuration, max_ack_delay=max_ack_delay)
        quic.connect(address, now)
        return self._wrap(quic)

    def _wrap(self, quic: GuardedConnection) -> Transport:
        return AioquicTransport(quic)
