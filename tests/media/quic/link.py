"""Two real QUIC connections and a link between them, in memory and in virtual time.

The link loses, delays, reorders and swallows what the test wants; the client's address is the test's to change. Nothing
here knows a backend: what is tested is a `Transport`, the other end aioquic's own client (or another `Transport`).
"""

from __future__ import annotations

import datetime as dt
import functools
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived, QuicEvent, StreamDataReceived
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wsactors.media.quic.transport import Backend, Transport, datagram_frame

SERVER = ("127.0.0.1", 4433)
CLIENT = ("127.0.0.1", 5555)
ALPN = "wsactors"


@functools.cache
def certificate() -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=10))
        .sign(key, hashes.SHA256())
    )
    return made, key


def server_configuration(**changes: Any) -> QuicConfiguration:
    made, key = certificate()
    settings: dict[str, Any] = {
        "alpn_protocols": [ALPN],
        "is_client": False,
        "max_datagram_frame_size": 65536,
        "idle_timeout": 30.0,
    }
    return QuicConfiguration(certificate=made, private_key=key, **(settings | changes))


def client_configuration(**changes: Any) -> QuicConfiguration:
    settings: dict[str, Any] = {
        "alpn_protocols": [ALPN],
        "is_client": True,
        "max_datagram_frame_size": 65536,
        "verify_mode": 0,
    }
    return QuicConfiguration(**(settings | {"idle_timeout": 30.0} | changes))


@dataclass(order=True)
class _Packet:
    at: float
    serial: int
    data: bytes = field(compare=False)
    source: tuple[str, int] = field(compare=False)
    target: tuple[str, int] = field(compare=False)


class Link:
    """A server's `Transport`, a client, and the way between them."""

    def __init__(
        self,
        backend: Backend,
        *,
        server: QuicConfiguration | None = None,
        client: QuicConfiguration | None = None,
        delay: float = 0.005,
        seed: int = 1,
        make_client: Callable[[QuicConfiguration], Any] | None = None,
    ) -> None:
        self.now = 1000.0
        self.delay = delay
        self.random = Random(seed)
        self.lose: Callable[[bytes, bool], bool] = lambda data, downwards: False
        """Whether a packet is lost; the second argument: from the server to the client."""
        self.jitter = 0.0
        self.client_address = CLIENT
        self._packets: list[_Packet] = []
        self._serials = itertools.count()
        self.events: list[QuicEvent] = []
        self.heard: list[tuple[float, bytes]] = []
        """Datagrams that the client has received, and when."""
        self.streams: dict[int, bytes] = {}
        """What the client has received on streams."""
        self.client_events: list[QuicEvent] = []
        self.packets_down = 0
        self.client = (make_client or (lambda c: QuicConnection(configuration=c)))(client or client_configuration())
        self.client.connect(SERVER, self.now)
        self.server: Transport = backend.accept(
            server or server_configuration(), original_destination_cid=self.client.original_destination_connection_id
        )
        self._send_up()

    # One step after another.

    def run(self, seconds: float) -> None:
        """Let time pass; the server's timers are looked at every 5 ms, as an endpoint's sweep does."""
        end = self.now + seconds
        sweep = self.now
        while True:
            timer = self.client.get_timer()
            steps = [
                end,
                sweep,
                *([self._packets[0].at] if self._packets else []),
                *([timer] if timer is not None else []),
            ]
            self.now = max(self.now, min(steps))
            while self._packets and self._packets[0].at <= self.now:
                self._arrive(heapq.heappop(self._packets))
            if timer is not None and timer <= self.now:
                self.client.handle_timer(self.now)
                self._send_up()
            if sweep <= self.now:
                sweep += 0.005
                self._sweep()
            if self.now >= end:
                return

    def handshake(self) -> None:
        """Until both sides have confirmed it, and what follows it has been exchanged."""
        self.run(1.0)

    def play(self, frames: int, *, payload: Callable[[int], bytes], first: int = 0, interval: float = 0.02) -> int:
        """Offer one datagram per interval; the number that went out."""
        sent = 0
        for index in range(first, first + frames):
            sent += self.offer(payload(index))
            self.run(interval)
        return sent

    def offer(self, payload: bytes) -> bool:
        packet = self.server.datagram(datagram_frame(payload), self.now)
        if packet is not None:
            self._down(*packet)
        return packet is not None

    def flush(self) -> None:
        """Send what either side has to send now."""
        self._send_down()
        self._send_up()

    # Inside.

    def _sweep(self) -> None:
        timer = self.server.timer()
        if timer is not None and timer <= self.now:
            self.server.handle_timer(self.now)
        self._send_down()

    def _arrive(self, packet: _Packet) -> None:
        if packet.target == SERVER:
            if self.server.receive(packet.data, packet.source, self.now):
                self._send_down()
        elif packet.target == self.client_address:
            self.client.receive_datagram(packet.data, SERVER, self.now)
            self._send_up()

    def _send_down(self) -> None:
        while (event := self.server.next_event()) is not None:
            self.events.append(event)
        for data, address in self.server.transmit(self.now):
            self._down(data, address)

    def _down(self, data: bytes, address: Any) -> None:
        self.packets_down += 1
        if not self.lose(data, True):
            self._carry(data, SERVER, address)

    def _send_up(self) -> None:
        while (event := self.client.next_event()) is not None:
            self.client_events.append(event)
            if isinstance(event, DatagramFrameReceived):
                self.heard.append((self.now, event.data))
            elif isinstance(event, StreamDataReceived):
                self.streams[event.stream_id] = self.streams.get(event.stream_id, b"") + event.data
        for data, _ in self.client.datagrams_to_send(self.now):
            if not self.lose(data, False):
                self._carry(data, self.client_address, SERVER)

    def _carry(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        at = self.now + self.delay + self.random.random() * self.jitter
        heapq.heappush(self._packets, _Packet(at, next(self._serials), data, source, target))
