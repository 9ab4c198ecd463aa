"""Listeners in a process of their own: they shake hands as anybody, then acknowledge every datagram at once, as Chromium does.

    python benchmarks/_audio_crowd.py [PAUSE_MS]

It answers each line on stdin with one line:

    join PORT NUMBER     ok ESTABLISHED
    count                ok RECEIVED ACKNOWLEDGEMENTS DELAY_P50_MS DELAY_P99_MS (since the last time)
    port                 ok PORT (of a socket that throws away what it gets)

Thousands of aioquic's clients would need many cores for themselves, so what a listener does per datagram takes a short way
here: it is decrypted and checked, its time of arrival is noted, and an acknowledgement of one range goes out. Whatever
else comes is aioquic's. As Chromium does, every twentieth acknowledgement carries a PING.

On a loop, the sender pays for waking the receiver: PAUSE_MS lets what comes gather for as long, so that one wake-up is paid for
many packets, as when listeners are on other machines. Who measures delays does not pause.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from typing import Final

from _audio_stage import ALPN, STAMP, udp
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, HandshakeCompleted
from cryptography.exceptions import InvalidTag

from wsactors.media.quic.fast_flight import NO_DATAGRAM
from wsactors.media.quic.fast_path import FastTransport
from wsactors.media.quic.guarded_connection import GuardedConnection

PING_EVERY: Final = 20
LISTENERS_PER_SOCKET: Final = 50
AT_A_TIME: Final = 200
"""Handshakes under way at once."""
_TENDED: Final = 0.05


class Listener(FastTransport):
    """One listener."""

    __slots__ = ("acknowledged", "established", "heard", "sock", "unpinged")

    def __init__(self, quic: GuardedConnection, sock: socket.socket) -> None:
        super().__init__(quic)
        self.sock = sock
        self.established = False
        self.heard: list[float] = []
        self.acknowledged = 0
        self.unpinged = 0

    def take(self, data: bytes, address: tuple[str, int], now: float) -> None:
        """What has come from the server."""
        if not self._ready or data[0] & 0x80 or not self._hear(data, now):
            self.receive(data, address, now)
            self.flush(now)
            if self._ready and self._ack_due:
                self._answer(self._expected - 1, now)

    def flush(self, now: float) -> None:
        """Events and packets of the ordinary way."""
        while (event := self.next_event()) is not None:
            if isinstance(event, DatagramFrameReceived):
                self._note(event.data, now)
            elif isinstance(event, HandshakeCompleted):
                self.established = True
        for packet, address in self.transmit(now):
            self.sock.sendto(packet, address)

    def _hear(self, data: bytes, now: float) -> bool:
        """The short way of a packet with one datagram and nothing else, that follows the last one."""
        mask = self._receive_masker.update(data[13:29])
        first = data[0] ^ mask[0] & 0x1F
        head = self._receive_heads.get(first)
        number = self._expected
        if head is None or not first & 1 or (data[9] ^ mask[1]) << 8 | data[10] ^ mask[2] != number & 0xFFFF:
            return False
        tail = (number & 0xFFFF).to_bytes(2, "big")
        try:
            payload = self._opener.decrypt((self._receive_iv ^ number).to_bytes(12, "big"), data[11:], head + tail)
        except InvalidTag:
            return False
        begin = 2 if payload[1] < 0x40 else 3
        if payload[0] != 0x31 or (begin == 2 and len(payload) != 2 + payload[1]):
            return False
        self._expected = number + 1
        self._received_at = now
        self._next_at_receipt = self._next
        if first & 0x20 != self._spin:
            self._spin ^= 0x20
            self._head = self._heads[self._spin >> 5]
        self._note(payload[begin:], now)
        self._answer(number, now)
        return True

    def _answer(self, number: int, now: float) -> None:
        """Acknowledge at once."""
        ranges = self._space.ack_queue
        begin = self._run
        if len(ranges):
            begin = ranges[-1].start if len(ranges) == 1 and ranges[-1].stop == begin else -1
        if begin >= 0:
            payload = b"\x02" + _varint(number) + b"\x01\x00" + _varint(number - begin)
        else:
            payload = self._acknowledgement(now, 64)
        self.unpinged += 1
        if self.unpinged >= PING_EVERY:
            self.unpinged = 0
            payload += b"\x01"
            self._ack_carrier, self._ack_carries = self._next, number
            self._tell_received()
            self._watch()
        self._space.ack_at = None
        self._ack_due = False
        self.acknowledged += 1
        self.sock.sendto(self._packet(payload, NO_DATAGRAM), self._peer)

    def _note(self, data: bytes, now: float) -> None:
        self.heard.append(now - STAMP.unpack_from(data)[1])


def _varint(value: int) -> bytes:
    if value < 0x40:
        return bytes((value,))
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    return (value | 0x80000000).to_bytes(4, "big")


class Crowd:
    """All listeners of this process, on a few sockets."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._by_cid: dict[bytes, Listener] = {}
        self._listeners: list[Listener] = []
        self._tended = 0.0

    def serve(self) -> None:
        """Until stdin ends."""
        print("ok 0", flush=True)
        while True:
            if self._turn():
                line = sys.stdin.readline().split()
                if not line:
                    return
                print("ok", self._answer(line), flush=True)

    def _turn(self, wait: float = _TENDED) -> bool:
        """Wait for so many seconds at most, and read what has come; whether there is a command."""
        is_command = False
        for key, _ in self._selector.select(min(wait, _TENDED)):
            if key.fileobj is sys.stdin:
                is_command = True
            else:
                self._read(key.fileobj)  # type: ignore[arg-type]
        now = time.monotonic()
        if now - self._tended > _TENDED:
            self._tended = now
            self._tend(now)
        time.sleep(self._pause)
        return is_command

    def _read(self, sock: socket.socket) -> None:
        while True:
            try:
                data, address = sock.recvfrom(2048)
            except BlockingIOError:
                return
            listener = self._by_cid.get(data[6:14] if data[0] & 0x80 else data[1:9])
            if listener is not None:
                listener.take(data, address, time.monotonic())

    def _tend(self, now: float) -> None:
        for listener in self._listeners:
            due = listener.timer()
            if due is not None and due <= now:
                listener.handle_timer(now)
                listener.flush(now)

    def _answer(self, line: list[str]) -> str:
        match line:
            case ["join", port, number]:
                return str(self._join(int(port), int(number)))
            case ["port"]:
                sock = udp()
                self._selector.register(sock, selectors.EVENT_READ)
                return str(sock.getsockname()[1])
            case ["count"]:
                return self._count()
        raise ValueError(f"no such command: {line}")

    def _join(self, port: int, number: int) -> int:
        """Handshakes, a few at a time."""
        waiting: list[Listener] = []
        joined = 0
        deadline = time.monotonic() + 120
        sock = udp()
        for index in range(number):
            if index % LISTENERS_PER_SOCKET == 0:
                sock = udp()
                self._selector.register(sock, selectors.EVENT_READ)
            waiting.append(self._connect(("127.0.0.1", port), sock))
            while len(waiting) >= AT_A_TIME or (index == number - 1 and waiting):
                self._turn()
                joined += sum(each.established for each in waiting)
                waiting = [each for each in waiting if not each.established]
                if time.monotonic() > deadline:
                    return joined
        return joined

    def _connect(self, address: tuple[str, int], sock: socket.socket) -> Listener:
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=[ALPN], max_datagram_frame_size=65536, verify_mode=0, idle_timeout=60.0
        )
        quic = GuardedConnection(configuration=configuration)
        now = time.monotonic()
        quic.connect(address, now)
        listener = Listener(quic, sock)
        self._listeners.append(listener)
        self._by_cid[quic.host_cid] = listener
        listener.flush(now)
        return listener

    def _count(self) -> str:
        delays: list[float] = []
        acknowledged = 0
        for listener in self._listeners:
            delays += listener.heard
            listener.heard = []
            acknowledged += listener.acknowledged
            listener.acknowledged = 0
        delays.sort()
        middle, worst = (delays[int(len(delays) * part)] * 1e3 if delays else 0.0 for part in (0.5, 0.99))
        return f"{len(delays)} {acknowledged} {middle:.3f} {worst:.3f}"


if __name__ == "__main__":
    Crowd(float(sys.argv[1]) / 1e3 if len(sys.argv) > 1 else 0.0).serve()
