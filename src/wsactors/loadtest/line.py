"""One WebSocket connection of a user: connects, shakes hands, receives and sends, all without ever waiting."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Final, Protocol

from wsactors.loadtest.frames import BINARY, CLOSE, PING, PONG, BadFrame, FrameReader, client_frame
from wsactors.loadtest.poller import READABLE, WRITABLE, Poller
from wsactors.loadtest.target import Target

__all__ = ["Hearer", "Line"]

MAX_UNSENT: Final = 1_048_576
"""Bytes that may wait for the kernel to take them; what comes on top is refused, and counted by who sent it."""
_MAX_HEAD: Final = 16_384
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Hearer(Protocol):
    """Who a line belongs to."""

    def opened(self) -> None:
        """The WebSocket is open: speak."""
        ...

    def take(self, opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        """One message, ``data[start:end]``, good during this call only. False: no more, please."""
        ...

    def ended(self, reason: str) -> None:
        """The other side ended it, or it broke. Not called after `Line.cut`."""
        ...


class Line:
    """A connection under way or open.

    Args:
        path: of the WebSocket endpoint, with its query.

    Raises:
        OSError: this machine could not even try (no descriptors, no free port).
    """

    __slots__ = (
        "_head", "_hearer", "_key", "_path", "_poller", "_reader", "_reading", "_rest", "_sock", "_stage", "_target", "_tls",
        "now",
    )  # fmt: skip

    def __init__(self, poller: Poller, target: Target, tls: ssl.SSLContext | None, path: str, hearer: Hearer) -> None:
        self._poller, self._target, self._tls, self._path, self._hearer = poller, target, tls, path, hearer
        self._key = base64.b64encode(os.urandom(16))
        self._head = b""
        self._reader = FrameReader(self._take)
        self._rest = bytearray()
        self._reading = True
        self._stage: Callable[[int], None] = self._connected
        self.now = 0.0
        """When the piece came that is being taken, by the monotonic clock."""
        sock = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock: socket.socket | None = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(target.address)
            if code not in {0, errno.EINPROGRESS}:
                raise OSError(code, os.strerror(code))
            poller.add(sock.fileno(), self._ready, WRITABLE)
        except OSError:
            sock.close()
            raise

    # -- what its owner does --

    def send(self, data: bytes) -> bool:
        """Send, or keep until it can be sent; False: too much is waiting already, or the line has ended."""
        sock = self._sock
        if sock is None or len(self._rest) > MAX_UNSENT:
            return False
        if self._rest:
            self._rest += data
            return True
        try:
            taken = sock.send(data)
        except _LATER:
            taken = 0
        except OSError as error:
            self._end(_words(error))
            return False
        self._poller.sent += len(data)
        if taken < len(data):
            self._rest += memoryview(data)[taken:]
            self._watch()
        return True

    def stall(self) -> None:
        """Stop reading: the other side's bytes pile up in the kernel, then at the other side."""
        self._reading = False
        self._watch()

    def resume(self) -> None:
        """Read on."""
        self._reading = True
        self._watch()

    def cut(self, *, reset: bool = False) -> None:
        """Close it at once; with ``reset`` as a broken network does. Nobody is told."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._poller.remove(sock.fileno())
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    # -- what happens to it --

    def _end(self, reason: str) -> None:
        if self._sock is not None:
            self.cut()
            self._hearer.ended(reason)

    def _watch(self) -> None:
        if self._sock is not None:
            events = (READABLE if self._reading else 0) | (WRITABLE if self._rest else 0)
            self._poller.change(self._sock.fileno(), events)

    def _ready(self, events: int) -> None:
        try:
            self._stage(events)
        except _LATER:
            pass
        except (BadFrame, OSError) as error:
            self._end(_words(error))

    def _connected(self, _: int) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self._tls is None:
            self._shake_hands()
            return
        name = self._target.host
        self._sock = self._tls.wrap_socket(self._sock, server_hostname=name, do_handshake_on_connect=False)
        self._stage = self._encrypt
        self._encrypt(0)

    def _encrypt(self, _: int) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)
        self._poller.change(self._sock.fileno(), READABLE)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantWriteError:
            self._poller.change(self._sock.fileno(), WRITABLE)
            return
        self._shake_hands()

    def _shake_hands(self) -> None:
        self._stage = self._answered
        self._watch()
        self.send(
            f"GET {self._path} HTTP/1.1\r\nHost: {self._target.authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self._key.decode()}\r\n\r\n".encode()
        )

    def _answered(self, events: int) -> None:
        """The answer to the handshake; it may come in pieces, and with the first messages behind it."""
        self._write(events)
        if self._sock is None or not events & ~WRITABLE:
            return
        piece = self._sock.recv(_MAX_HEAD)
        if not piece:
            raise OSError("closed during the handshake")
        self._head, found, behind = (self._head + piece).partition(b"\r\n\r\n")
        if not found:
            if len(self._head) > _MAX_HEAD:
                raise BadFrame("the answer to the handshake is too long")
            return
        self._judge()
        self._stage = self._open
        self._hearer.opened()
        if behind:
            self.now = time.monotonic()
            self._reader.feed(behind, len(behind))

    def _judge(self) -> None:
        status, *lines = self._head.split(b"\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            raise BadFrame(f"refused: {status[9:80].decode('latin-1')}")
        wanted = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if headers.get(b"sec-websocket-accept") != wanted:
            raise BadFrame("the handshake's answer does not fit the question")

    def _open(self, events: int) -> None:
        if self._rest:
            self._write(events)
        if not self._reading or not events & ~WRITABLE:
            return
        buffer = self._poller.buffer
        while self._sock is not None:
            size = self._sock.recv_into(buffer)
            self.now = time.monotonic()
            if not size:
                raise OSError("closed without a goodbye")
            self._poller.received += size
            self._reader.feed(buffer, size)
            if (
                self._tls is None
            ):  # the kernel tells again if there is more; a TLS record inside the library would not show
                return

    def _write(self, events: int) -> None:
        if self._rest and self._sock is not None and events & WRITABLE:
            sent = self._sock.send(self._rest)
            del self._rest[:sent]
            if not self._rest:
                self._watch()

    def _take(self, opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        if opcode <= BINARY:
            return self._hearer.take(opcode, data, start, end) and self._sock is not None
        payload = bytes(memoryview(data)[start:end])
        if opcode == PING:
            self.send(client_frame(payload, PONG))
        elif opcode == CLOSE:
            self.send(client_frame(payload[:2], CLOSE))
            self._end(_goodbye(payload))
        return self._sock is not None


def _goodbye(payload: bytes) -> str:
    if len(payload) < 2:
        return "closed"
    return f"closed: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode('utf-8', 'replace')}".rstrip()


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error)
