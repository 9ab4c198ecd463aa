"""Connections by qh3, whose packets are made and read in Rust: the optional extra ``[qh3]``.

What it lacks is added here as far as it can be from outside (see also `qh3_connection`): its datagrams know no congestion
window, so that a peer that acknowledges nothing would be sent to for ever, and one too large for a packet would keep all
others behind it from leaving.
"""

from __future__ import annotations

import math
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from qh3.quic.configuration import QuicConfiguration as Qh3Configuration
from qh3.quic.connection import QuicConnectionError, QuicConnectionState
from qh3.quic.events import ConnectionTerminated

from wsactors.actors.log import log

from .aioquic_backend import MAX_PROBE_INTERVAL
from .congestion import LEAST_WINDOW
from .guarded_connection import MAX_WAITING_DATAGRAMS
from .qh3_connection import Qh3Connection
from .transport import MAX_DATAGRAM_PAYLOAD, Address, Drop, Transport, TransportStatistics, frame_payload, no_drops

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import QuicEvent

_NOWHERE: Final[Address] = ("", 0)
_PACKET_OVERHEAD: Final = 1 + 20 + 4 + 16
_NEVER: Final = -math.inf


class Qh3Transport:
    """A `Transport` on qh3."""

    __slots__ = (
        "_deadline", "_failed", "_outbox", "_probe_at", "_probes", "_probes_in_row", "_queued", "_received", "_sent", "_taken",
        "drops", "quic",
    )  # fmt: skip

    def __init__(self, quic: Qh3Connection) -> None:
        self.quic = quic
        self.drops = no_drops()
        self._deadline: float | None = None
        self._failed = False
        self._outbox: list[tuple[bytes, Address]] = []
        self._queued = 0
        """Datagrams given to qh3 since it was last asked what to send."""
        self._probe_at = _NEVER
        """When a datagram may pass a full window; never: it is not full."""
        self._probes = self._probes_in_row = 0
        self._sent = self._received = self._taken = 0

    @property
    def host_cid(self) -> bytes:
        """Our own connection id now."""
        return self.quic.host_cid

    @property
    def address(self) -> Address:
        """The peer's address now."""
        core = self.quic._core
        found: Address = _NOWHERE if core is None else core.active_path[2]
        return found

    def receive(self, data: bytes, address: Address, now: float) -> bool:
        """Take what came from the network."""
        self._taken += 1
        try:
            self.quic.receive_datagram(data, address, now)
        except Exception as fault:
            self._fail("receive", fault)
        return True

    def transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now."""
        try:
            packets = self.quic.datagrams_to_send(now)
        except Exception as fault:
            self._fail("transmit", fault)
            packets = []
        self._queued = 0
        self._deadline = None if self.quic._state is QuicConnectionState.TERMINATED else self.quic.get_timer()
        if self._outbox:
            packets = self._outbox + packets
            self._outbox = []
        return packets

    def timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        try:
            self.quic.handle_timer(now)
        except Exception as fault:
            self._fail("timer", fault)

    def next_event(self) -> QuicEvent | None:
        """The next event, oldest first."""
        event = self.quic.next_event()
        if event is None:
            return None
        kind = type(event)
        self._received += kind.__name__ == "DatagramFrameReceived"
        found: QuicEvent = getattr(events, kind.__name__)(**event.__dict__)
        return found

    def datagram(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """The packet that carries ``frame``, or None: dropped and counted."""
        reason = self._refusal(len(frame), now)
        if reason is not None:
            self.drops[reason] += 1
            return None
        try:
            self.quic.send_datagram_frame(frame_payload(frame))
        except Exception as fault:
            self._fail("datagram", fault)
            return None
        self._sent += 1
        packets = self.transmit(now)
        if len(packets) > 1:
            self._outbox = packets[:-1]
            self._deadline = now
        return packets[-1] if packets else None

    def send_datagram_ordinary(self, payload: bytes) -> bool:
        """Queue a datagram with the next `transmit`."""
        if len(payload) > MAX_DATAGRAM_PAYLOAD:
            raise ValueError(f"a datagram carries at most {MAX_DATAGRAM_PAYLOAD} bytes, not {len(payload)}")
        # None of qh3's waits for a window: what is queued goes with the next `transmit`, so that few may be.
        reason = self._refusal(len(payload) + 3, _NEVER)
        if reason is None and self._queued >= MAX_WAITING_DATAGRAMS:
            reason = Drop.CONGESTED
        if reason is not None:
            self.drops[reason] += 1
            return False
        self._queued += 1
        self._sent += 1
        self.quic.send_datagram_frame(payload)
        return True

    def next_stream_id(self, *, unidirectional: bool = False) -> int:
        """The id of the next stream that we open."""
        return self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Append to a stream."""
        self.quic.send_stream_data(stream_id, data, end_stream)

    def unsent(self, stream_id: int) -> int:
        """Bytes given to a stream and not sent yet: qh3 does not tell which are acknowledged."""
        return self.quic.get_send_buffer_size(stream_id)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Give up sending on a stream."""
        with suppress(QuicConnectionError):  # it is gone
            self.quic.reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        with suppress(QuicConnectionError):  # it is gone
            self.quic.stop_stream(stream_id, error_code)

    def request_key_update(self) -> None:
        """Change keys with the next packet."""
        self.quic.request_key_update()

    def close(self, error_code: int = 0, reason: str = "", *, transport_error: bool = False) -> None:
        """Close; `transmit` then has the last packet."""
        self.quic.close(error_code, 0 if transport_error else None, reason)

    def statistics(self) -> TransportStatistics:
        """How the connection is."""
        core = self.quic._core
        return TransportStatistics(
            rtt=0.0 if core is None else core.smoothed_rtt or 0.0,
            rtt_variance=0.0,
            bytes_in_flight=0 if core is None else core.bytes_in_flight,
            congestion_window=0 if core is None else core.congestion_window,
            datagrams_sent=self._sent,
            datagrams_lost=0 if core is None else core.loss_total,
            datagrams_received=self._received,
            packets_received=self._taken,
            fast_sent=0,
            fast_received=0,
            probes=self._probes,
            drops=dict(self.drops),
        )

    def _refusal(self, size: int, now: float) -> Drop | None:
        """Why a frame of ``size`` bytes cannot go now."""
        quic = self.quic
        core = quic._core
        if quic._close_event is not None or quic._state is QuicConnectionState.TERMINATED:
            return Drop.CLOSED
        if core is None or not quic._handshake_complete:
            return Drop.HANDSHAKE
        limit = quic._remote_max_datagram_frame_size
        if limit is None or size > limit or size > MAX_DATAGRAM_PAYLOAD + 3:
            return Drop.UNSUPPORTED
        window: int = max(core.congestion_window, LEAST_WINDOW) - core.bytes_in_flight
        if window >= size + _PACKET_OVERHEAD:
            self._probe_at = _NEVER
            self._probes_in_row = 0
            return None
        # qh3 itself would send without end. Where the window stays full, one now and then shows whether the peer is there.
        if self._probe_at == _NEVER:
            self._probe_at = now + MAX_PROBE_INTERVAL
        if now < self._probe_at:
            return Drop.SILENT if self._probes_in_row else Drop.CONGESTED
        self._probe_at = now + MAX_PROBE_INTERVAL
        self._probes += 1
        self._probes_in_row += 1
        return None

    def _fail(self, step: str, fault: Exception) -> None:
        """A fault of qh3's or of ours costs this connection and no other."""
        quic = self.quic
        log(
            __name__, "error", "quic_connection_failed", step=step, traceback="".join(traceback.format_exception(fault))
        )
        if not self._failed:
            self._failed = True
            try:
                quic.close(QuicErrorCode.INTERNAL_ERROR, 0, "internal error")
            except QuicConnectionError:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        if self.quic._state is not QuicConnectionState.TERMINATED:
            self.quic._state = QuicConnectionState.TERMINATED
            self.quic._events.append(ConnectionTerminated(QuicErrorCode.INTERNAL_ERROR, None, "internal error"))


class Qh3Backend:
    """Makes connections by qh3."""

    name: str = "qh3"

    def __init__(self) -> None:
        self._given: QuicConfiguration | None = None
        self._made: Qh3Configuration | None = None

    def accept(
        self,
        configuration: QuicConfiguration,
        *,
        original_destination_cid: bytes,
        retry_source_cid: bytes | None = None,
    ) -> Transport:
        """The server's end of a new connection."""
        quic = Qh3Connection(
            configuration=self._converted(configuration),
            original_destination_connection_id=original_destination_cid,
            retry_source_connection_id=retry_source_cid,
        )
        return Qh3Transport(quic)

    def connect(
        self, configuration: QuicConfiguration, address: Address, now: float, *, max_ack_delay: float = 0.025
    ) -> Transport:
        """The client's end of a new connection. qh3 acknowledges within 25 ms whatever ``max_ack_delay`` says."""
        quic = Qh3Connection(configuration=self._converted(configuration))
        quic.connect(address, now)
        return Qh3Transport(quic)

    def _converted(self, given: QuicConfiguration) -> Qh3Configuration:
        """Aioquic's configuration as qh3's; made once for all connections with the same certificate."""
        if self._made is None or self._given is not given:
            self._given, self._made = given, convert(given)
        return self._made


def convert(given: QuicConfiguration) -> Qh3Configuration:
    """qh3's configuration for aioquic's."""
    made = Qh3Configuration(
        **{
            name: getattr(given, name)
            for name in (
                "alpn_protocols", "cadata", "cafile", "capath", "connection_id_length", "idle_timeout", "initial_rtt",
                "is_client", "max_data", "max_datagram_frame_size", "max_datagram_size", "max_stream_data", "server_name",
                "verify_mode",
            )
        }
    )  # fmt: skip
    made.probe_datagram_size = False
    if given.certificate is not None:
        chain = [given.certificate, *given.certificate_chain]
        key: Any = given.private_key
        made.load_cert_chain(
            b"".join(each.public_bytes(Encoding.PEM) for each in chain),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
    return made
