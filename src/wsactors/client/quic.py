"""The native protocol over QUIC: messages on one stream, audio as datagrams. See ``docs/webtransport.md``."""

from __future__ import annotations

import hashlib
import hmac
import math
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import Encoding

from wsactors.media.quic.aioquic_backend import AioquicBackend
from wsactors.media.quic.congestion import LIVE
from wsactors.media.quic.transport import Address, Transport
from wsactors.wire.audio_frame import AUDIO_KINDS
from wsactors.wire.errors import ProtocolError
from wsactors.wire.length_prefix import LengthPrefixed, prefixed

from .carrier import BROKEN, MESSAGE_BYTES, CarrierClosed, Trust
from .errors import Disconnected
from .socket import CLOSE_SECONDS

ALPN: Final = "wsactors"
MAX_ACK_DELAY: Final = 0.1
"""Seconds: who only listens costs its node a sixth of the acknowledgements that way (RFC 9000 §13.2.1 allows it)."""
BACKLOG: Final = 500
"""Audio frames that wait for the reader; then the oldest are dropped."""
BUFFER: Final = 1024 * 1024
"""Bytes of each of the socket's buffers that are asked for."""
UNSENT: Final = 256 * 1024
"""Bytes of messages on their way above which `QuicCarrier.send` waits."""
_MAX_PACKET: Final = 65_535
_IDLE_SECONDS: Final = 30.0
_GRANULARITY: Final = 0.001
"""Seconds between two looks at what time asks for, at the least (RFC 9002 §6.1.2): a timer may be due while there is nothing
to be done yet."""
_REASON_SECONDS: Final = 2.0
"""In which a node that has said its last message should have closed the connection, and said why."""


@asynccontextmanager
async def open_quic(url: str, trust: Trust, *, timeout: float) -> AsyncIterator[QuicCarrier]:
    """Connect to ``quic://HOST:PORT`` for the length of the block.

    Raises:
        Disconnected: nobody answers there in time, or its certificate is not trusted.
        ValueError: ``url`` is no such address.
    """
    parts = urlsplit(url)
    if parts.scheme != "quic" or not parts.hostname or parts.port is None:
        raise ValueError(f"expected quic://HOST:PORT, got {url!r}")
    sock, address = await _socket(parts.hostname, parts.port)
    try:
        configuration = _configuration(parts.hostname, trust)
        transport = AioquicBackend().connect(configuration, address, trio.current_time(), max_ack_delay=MAX_ACK_DELAY)
        carrier = QuicCarrier(transport, sock)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carrier.run)
            try:
                with trio.move_on_after(timeout) as patience:
                    await carrier.opened(trust.certificate_sha256)
                if patience.cancelled_caught:
                    raise Disconnected(f"cannot connect to {url}: no answer within {timeout:g} s", "connection_failed")
                yield carrier
            except CarrierClosed as closed:
                failure = Disconnected(f"cannot connect to {url}: {closed}", "connection_failed")
            except Exception as error:
                failure = error  # raised again below, outside the nursery, so that it does not come in a group
            await carrier.close(0, "")
            nursery.cancel_scope.cancel()
    finally:
        sock.close()
    if failure is not None:
        raise failure


async def _socket(host: str, port: int) -> tuple[socket.socket, Address]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise Disconnected(f"cannot connect to quic://{host}:{port}: {error}", "connection_failed") from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return sock, address  # type: ignore[return-value]  # of these families it is


def _configuration(host: str, trust: Trust) -> QuicConfiguration:
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN],
        congestion_control_algorithm=LIVE,
        is_client=True,
        server_name=host,
        idle_timeout=_IDLE_SECONDS,
        max_datagram_frame_size=_MAX_PACKET,
        max_stream_data=MESSAGE_BYTES,
        max_data=2 * MESSAGE_BYTES,
        cafile=trust.ca_file,
    )
    if trust.certificate_sha256:
        configuration.verify_mode = ssl.CERT_NONE  # it is known by its digest: see QuicCarrier.opened
    return configuration


class QuicCarrier:
    """A `wsactors.client.carrier.Carrier`.

    Args:
        transport: The client's end.
        sock: Non-blocking; whoever made it closes it.
    """

    def __init__(self, transport: Transport, sock: socket.socket) -> None:
        self.transport = transport
        self._sock = sock
        self._messages: deque[bytes] = deque()
        self._audio: deque[bytes] = deque(maxlen=BACKLOG)
        self._reader = LengthPrefixed(MESSAGE_BYTES)
        self._stream = -1
        self._is_open = trio.Event()
        self._certificate = b""
        self._end: Exception | None = None
        self._ends_at = math.inf
        self._arrived = trio.lowlevel.ParkingLot()
        self._acknowledged = trio.lowlevel.ParkingLot()
        self._timer_changed = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Read, write and keep time until the connection is gone."""
        self._settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while self._end is None:
                try:
                    data, address = self._sock.recvfrom(_MAX_PACKET)
                except BlockingIOError:
                    self._settle()
                    await trio.lowlevel.wait_readable(self._sock)
                except OSError as error:  # what ICMP says: nobody is there, for now
                    if not self._is_open.is_set():
                        self._finish(CarrierClosed(BROKEN, f"nobody is there ({error.strerror})"))
                else:
                    self.transport.receive(data, address, trio.current_time())
            nursery.cancel_scope.cancel()

    async def opened(self, certificate_sha256: bytes) -> None:
        """Wait for the handshake. Raises `CarrierClosed` when it fails, or the certificate is another than expected."""
        await self._is_open.wait()
        if self._end is not None:
            raise self._end
        if certificate_sha256 and not hmac.compare_digest(self._certificate, certificate_sha256):
            raise CarrierClosed(BROKEN, f"its certificate's SHA-256 is {self._certificate.hex()}, not the expected one")
        self._stream = self.transport.next_stream_id()

    async def receive(self) -> bytes:
        """See `wsactors.client.carrier.Carrier.receive`. Messages come before audio that has waited."""
        await trio.lowlevel.checkpoint()
        while not (waiting := self._messages or self._audio):
            if self._end is not None:
                raise self._end
            await self._arrived.park()
        return waiting.popleft()

    async def send(self, data: bytes) -> None:
        """See `wsactors.client.carrier.Carrier.send`: audio goes as a datagram, now or never."""
        await trio.lowlevel.checkpoint()
        if self._end is not None:
            raise self._end
        if data[0] in AUDIO_KINDS:
            self.transport.send_datagram_ordinary(data)
        else:
            self.transport.send_stream_data(self._stream, prefixed(data))
        self._settle()
        await self._drained(UNSENT)

    async def close(self, code: int, reason: str) -> None:
        """See `wsactors.client.carrier.Carrier.close`."""
        if self._end is None:
            with trio.move_on_after(CLOSE_SECONDS):
                await self._drained(0)
            self.transport.close(code, reason)
            self._send()

    # -- inside --

    async def _drained(self, most: int) -> None:
        while self._stream >= 0 and self._end is None and self.transport.unsent(self._stream) > most:
            await self._acknowledged.park()

    def _settle(self) -> None:
        """After anything was done with the transport."""
        while (event := self.transport.next_event()) is not None:
            self._take(event)
        self._send()
        self._acknowledged.unpark_all()
        self._timer_changed.unpark_all()

    def _send(self) -> None:
        for data, address in self.transport.transmit(trio.current_time()):
            try:
                self._sock.sendto(data, address)
            except OSError:  # full, or no way there: QUIC sends again what matters
                continue

    def _take(self, event: events.QuicEvent) -> None:
        match event:
            case events.DatagramFrameReceived(data=data):
                if data:
                    self._audio.append(data)
                    self._arrived.unpark()
            case events.StreamDataReceived(stream_id=stream_id, data=data, end_stream=ended):
                if stream_id == self._stream:
                    self._read(data, ended=ended)
            case events.HandshakeCompleted():
                certificate = self.transport.quic.tls._peer_certificate
                self._certificate = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
                self._is_open.set()
            case events.ConnectionTerminated():
                is_said = event.frame_type is None  # by the application at the other end
                reason = event.reason_phrase or f"QUIC error {event.error_code:#x}"
                self._finish(CarrierClosed(event.error_code if is_said else BROKEN, f"the connection ended: {reason}"))
            case _:
                pass  # what keys and connection ids do is the transport's

    def _read(self, data: bytes, *, ended: bool) -> None:
        try:
            self._messages.extend(self._reader.feed(data))
        except ProtocolError as error:
            self._finish(error)
        if ended and self._ends_at == math.inf:
            self._ends_at = trio.current_time() + _REASON_SECONDS
        self._arrived.unpark()

    def _finish(self, end: Exception) -> None:
        if self._end is None:
            self._end = end
            self._is_open.set()
            self._arrived.unpark_all()
            self._acknowledged.unpark_all()

    async def _keep_time(self) -> None:
        earliest = -math.inf
        while True:
            timer = self.transport.timer()
            due = self._ends_at if timer is None else min(timer, self._ends_at)
            with trio.move_on_at(max(due, earliest)) as scope:
                await self._timer_changed.park()
            if scope.cancelled_caught:
                now = trio.current_time()
                earliest = now + _GRANULARITY
                if now >= self._ends_at:
                    self._finish(CarrierClosed(BROKEN, "the node ended the stream"))
                    return
                self.transport.handle_timer(now)
                self._settle()
