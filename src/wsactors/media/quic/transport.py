"""The seam between a QUIC endpoint and what speaks QUIC for one connection, and the loop that sends one frame to many.

A :class:`Transport` is one connection without a socket and without a clock: bytes and ``now`` go in, bytes and events
come out. Backends make them (:class:`Backend`); every backend passes one suite, ``tests/media/quic/test_conformance.py``.

A frame that goes to many listeners is built once (`datagram_frame`) and offered to each (`fan_out`). It goes now or never:
what the congestion window, a connection's state or the kernel refuses is dropped and counted by reason, never queued.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from socket import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import QuicEvent

Address = tuple[str, int] | tuple[str, int, int, int]
"""Where datagrams come from and go to, as `socket.recvfrom` gives it: of four parts for IPv6."""

MAX_DATAGRAM_PAYLOAD: Final = 1_158
"""Most bytes of one DATAGRAM: an audio frame (`wire.audio_frame.MAX_DATAGRAM`) behind a quarter stream id of 8 bytes.

Type and length (3), a header with the longest connection id (1 + 20 + 2, and the tag's 16) make it the 1,200 bytes that
every QUIC path carries (RFC 9000 §14). A larger one would never leave, and keep all others behind it from leaving.
"""
_ONE_BYTE_VARINT: Final = 63


class Drop(StrEnum):
    """Why a datagram was not sent. A closed set: it labels a metric."""

    CLOSED = "closed"
    """The connection is closing or closed."""
    HANDSHAKE = "handshake"
    """The handshake is not confirmed."""
    UNSUPPORTED = "unsupported"
    """The peer takes no datagrams, or none so large."""
    CONGESTED = "congested"
    """What is unacknowledged fills the congestion window."""
    SILENT = "silent"
    """The peer has acknowledged nothing for long; between two probes nothing goes out."""
    UNVALIDATED = "unvalidated"
    """The peer has a new address that is not validated, or its keys are about to change and much waits already."""
    KERNEL = "kernel"
    """The socket's buffer is full, or the kernel knows no way to the address."""


@attrs.frozen
class TransportStatistics:
    """How a connection is. Times in seconds, sizes in bytes; counts since it began."""

    rtt: float
    """Smoothed round-trip time; 0 before the first sample."""
    rtt_variance: float
    bytes_in_flight: int
    congestion_window: int
    datagrams_sent: int
    datagrams_lost: int
    """Not acknowledged though later ones were, or written off after three probe timeouts without any acknowledgement."""
    datagrams_received: int
    packets_received: int
    fast_sent: int
    """Of the datagrams sent, how many took the fast path."""
    fast_received: int
    """Of the packets received, how many took the fast path."""
    probes: int
    drops: dict[Drop, int]

    @property
    def fast_share(self) -> float:
        """Part of the datagrams sent that took the fast path, 0 to 1; 1 when none was sent."""
        return self.fast_sent / self.datagrams_sent if self.datagrams_sent else 1.0


class Transport(Protocol):
    """One QUIC connection, sans-IO. Nothing in it raises because of what a peer sent."""

    @property
    def quic(self) -> Any:
        """What an `H3Connection` is put on: aioquic's connection, or what looks the same from there."""

    @property
    def host_cid(self) -> bytes:
        """Our own connection id now. Others come and go by `ConnectionIdIssued` and `ConnectionIdRetired` events."""

    @property
    def address(self) -> Address:
        """The peer's address now; it changes when the peer moves."""

    @property
    def drops(self) -> dict[Drop, int]:
        """Datagrams not sent, by reason. Live: `fan_out` counts the kernel's refusals here."""

    def receive(self, data: bytes, address: Address, now: float) -> bool:
        """Take what came from the network.

        Whether anything else is to be looked at: False (the common case: an acknowledgement) means that there is no
        event and nothing to transmit on account of it.
        """

    def transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now: handshakes, streams, acknowledgements, probes. Cheap when there is nothing."""

    def timer(self) -> float | None:
        """When `handle_timer` wants to be called; None when never. A stored value: asking costs nothing."""

    def handle_timer(self, now: float) -> None:
        """Let time pass. Early calls are harmless. Then look at `next_event` and `transmit`."""

    def next_event(self) -> QuicEvent | None:
        """The next of aioquic's events, oldest first; None when there is none."""

    def datagram(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """The packet that carries ``frame`` (see `datagram_frame`), or None: dropped and counted, see `drops`.

        What is returned has been sent, as far as the connection knows: give it to the socket.
        """

    def send_datagram_ordinary(self, payload: bytes) -> bool:
        """Queue a datagram with the next `transmit`; False: dropped and counted. Few wait at a time, and only shortly.

        Raises `ValueError` for a payload of more than `MAX_DATAGRAM_PAYLOAD` bytes.
        """

    def next_stream_id(self, *, unidirectional: bool = False) -> int:
        """The id of the next stream that we open."""

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Append to a stream; it opens with the first byte. Unbounded here: ask `unsent` first."""

    def unsent(self, stream_id: int) -> int:
        """Bytes given to a stream and not acknowledged yet; 0 for a stream that is gone."""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Give up sending on a stream."""

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to give up sending on a stream; nothing happens for one that is gone."""

    def request_key_update(self) -> None:
        """Change keys with the next packet."""

    def close(self, error_code: int = 0, reason: str = "", *, transport_error: bool = False) -> None:
        """Close; `transmit` then has the last packet. The code is the application's unless ``transport_error``."""

    def statistics(self) -> TransportStatistics:
        """How the connection is."""


class Backend(Protocol):
    """What makes transports."""

    @property
    def name(self) -> str:
        """``aioquic``, ``fast`` or ``qh3``."""

    def accept(
        self,
        configuration: QuicConfiguration,
        *,
        original_destination_cid: bytes,
        retry_source_cid: bytes | None = None,
    ) -> Transport:
        """The server's end of a new connection; its first datagram is then given to `Transport.receive`."""

    def connect(
        self, configuration: QuicConfiguration, address: Address, now: float, *, max_ack_delay: float = 0.025
    ) -> Transport:
        """The client's end of a new connection; its first packets are then in `Transport.transmit`.

        ``max_ack_delay``: how long it may keep back its acknowledgements, and tells the peer that it may, in seconds.
        A listener that says 0.1 costs its server a sixth of the acknowledgements.
        """


def no_drops() -> dict[Drop, int]:
    """A counter for each reason, at zero."""
    return dict.fromkeys(Drop, 0)


def datagram_frame(payload: bytes) -> bytes:
    """A whole DATAGRAM frame with its length (RFC 9221 §4), to be built once and sent to many.

    With HTTP/3 the payload begins with the quarter stream id (RFC 9297 §2.1), one zero byte for a connection's first
    session. Raises `ValueError` for more than `MAX_DATAGRAM_PAYLOAD` bytes, which no packet would carry.
    """
    length = len(payload)
    if length > MAX_DATAGRAM_PAYLOAD:
        raise ValueError(f"a datagram carries at most {MAX_DATAGRAM_PAYLOAD} bytes, not {length}")
    if length <= _ONE_BYTE_VARINT:
        return b"\x31%c%b" % (length, payload)
    return b"\x31%c%c%b" % (0x40 | length >> 8, length & 0xFF, payload)


def frame_payload(frame: bytes) -> bytes:
    """The payload inside a frame that `datagram_frame` built."""
    return frame[2:] if frame[1] <= _ONE_BYTE_VARINT else frame[3:]


def fan_out(sock: socket, transports: Iterable[Transport], frame: bytes, now: float) -> int:
    """Send one frame to each; the number that the kernel took. ``sock`` does not block.

    The hot loop: per listener one packet is built and one `sendto` called, nothing else.
    """
    sendto = sock.sendto
    sent = 0
    for transport in transports:
        packet = transport.datagram(frame, now)
        if packet is None:
            continue
        data, address = packet
        try:
            sendto(data, address)
        except OSError:
            # Full, unreachable, filtered: to the connection it is a packet lost on the way, to the others nothing.
            transport.drops[Drop.KERNEL] += 1
        else:
            sent += 1
    return sent
