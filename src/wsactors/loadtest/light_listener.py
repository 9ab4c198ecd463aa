"""WebSocket listeners that do next to nothing, so that hundreds fit one core: handshake, join, and a note of each arrival."""

from __future__ import annotations

import base64
import os
import socket
from typing import Final

import trio

from wsactors.client.late import LateGate
from wsactors.wire import native

RATE: Final = 48_000
_HANDSHAKE: Final = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
_MASK: Final = b"\0\0\0\0"  # masking with zeros is masking: a server cannot tell


def client_frame(message: native.ClientMessage) -> bytes:
    """One masked binary frame."""
    data = native.encode(message)
    return bytes((0x82, 0x80 | len(data))) + _MASK + data


class LightListener:
    """One connection to a node, which joins one session and reads as fast as it can, or not at all.

    Args:
        receive_buffer: SO_RCVBUF in bytes; None leaves it to the kernel. A small one makes a stall felt sooner.
    """

    def __init__(self, receive_buffer: int | None = None) -> None:
        self._receive_buffer = receive_buffer
        self.gate = LateGate(rate=RATE)
        """Decides what would be heard."""
        self.arrivals: list[float] = []
        """When frames came, in seconds of trio's clock, since `forget`."""
        self.heard: list[tuple[int, float]] = []
        """Timestamp and arrival of the frames that were not too late, since `forget`."""
        self.skipped = 0
        """Frames that came too late to be heard, since `forget`."""
        self.missed = 0
        """Frames that never came, since `forget`."""
        self._sequence = -1
        self._reading = trio.Event()
        self._reading.set()
        self._data = b""

    def stall(self) -> None:
        """Stop reading."""
        self._reading = trio.Event()

    def resume(self) -> None:
        """Read on."""
        self._reading.set()

    def forget(self) -> None:
        """Begin a new measurement."""
        self.arrivals.clear()
        self.heard.clear()
        self.skipped = self.missed = 0

    async def run(
        self, port: int, session: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Join ``session`` at 127.0.0.1, then receive until cancelled or until the node closes; started with a first frame.

        Raises:
            OSError: Nobody answers there.
        """
        sock = trio.socket.from_stdlib_socket(await trio.to_thread.run_sync(self.connect, port, session))
        with sock:
            while True:
                await self._reading.wait()
                data = await sock.recv(65_536)
                if not data:
                    return
                self.take(data, trio.current_time())
                if self.arrivals and task_status is not trio.TASK_STATUS_IGNORED:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED

    def connect(self, port: int, session: str) -> socket.socket:
        """Join ``session`` at 127.0.0.1, blocking; the connected socket. For those who run their own loop around `take`.

        Raises:
            OSError: Nobody answers there.
        """
        sock = socket.socket()
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.connect(("127.0.0.1", port))
        sock.sendall(_HANDSHAKE.format(key=base64.b64encode(os.urandom(16)).decode()).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        self._data = data.partition(b"\r\n\r\n")[2]
        sock.sendall(client_frame(native.Hello()) + client_frame(native.Join(session)))
        return sock

    def take(self, data: bytes, now: float) -> None:
        """Note the audio frames in ``data``, which came at ``now`` (seconds)."""
        if self._data:
            data = self._data + data
        at, end = 0, len(data)
        while end - at >= 4:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = (data[at + 2] << 8) | data[at + 3], at + 4
            if end - start < size:
                break
            if data[start] == native.AUDIO_KIND:
                self._audio(data, start, now)
            at = start + size
        self._data = data[at:]

    def _audio(self, data: bytes, start: int, now: float) -> None:
        sequence = int.from_bytes(data[start + 6 : start + 10], "big")
        timestamp = int.from_bytes(data[start + 10 : start + 18], "big")
        if 0 <= self._sequence < sequence - 1:
            self.missed += sequence - 1 - self._sequence
        self._sequence = sequence
        self.arrivals.append(now)
        if self.gate.accept(timestamp, now=now):
            self.heard.append((timestamp, now))
        else:
            self.skipped += 1


def gaps(listeners: list[LightListener]) -> list[float]:
    """All times between two arrivals of one listener, in seconds, sorted."""
    return sorted(b - a for each in listeners for a, b in zip(each.arrivals, each.arrivals[1:], strict=False))


def percentile(ordered: list[float], share: float) -> float:
    """The value below which ``share`` of ``ordered`` lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
