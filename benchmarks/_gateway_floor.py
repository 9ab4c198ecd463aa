"""The least that a delivery can cost: one ``socket.send`` of bytes that are ready, per receiver. No loop, no library.

    python _gateway_floor.py KIND      (raw, tls, deflate, sse or poll)

Each kind is the floor of one kind of connection: what is sealed or answered per receiver is here, too, and nothing else. Says
``ok PORT``, then answers ``broadcast COUNT PAUSE-SECONDS TEXT`` with ``ok`` when all has been handed over.
"""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import ssl
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server adds to the client's key (RFC 6455 §1.3)."""
_SSE_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """One short WebSocket frame."""
    assert len(payload) < 65_536
    size = bytes((len(payload),)) if len(payload) < 126 else bytes((126, *len(payload).to_bytes(2, "big")))
    return bytes((first,)) + size + payload


def deflated(text: bytes) -> bytes:
    """One frame of permessage-deflate without context takeover (RFC 7692 §7.2.1)."""
    squeeze = zlib.compressobj(wbits=-15)
    return frame((squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4], 0xC1)


def event(text: bytes) -> bytes:
    """One server-sent event in a chunk of its own."""
    body = b"event: message\ndata: " + text + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(text: bytes) -> bytes:
    """One whole answer to a poll."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)


ENCODE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "raw": frame,
    "tls": frame,
    "deflate": deflated,
    "sse": event,
    "poll": answer,
}


def read_head(sock: socket.socket) -> bytes:
    """One request head; empty when the peer has left."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = sock.recv(4096)
        if not more:
            return b""
        head += more
    return head


def opening(kind: str, head: bytes) -> bytes:
    """What a connection begins with."""
    if kind == "sse":
        return _SSE_HEAD
    if kind == "poll":
        return b""
    key = next(
        line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    extension = (
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n" if kind == "deflate" else b""
    )
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extension + b"\r\n"
    )


class Sealed:
    """One TLS connection over memory, as any server does it that must not block."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    def open(self) -> None:
        """Handshake, then the WebSocket's; blocking."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._exchange()
        head = b""
        while b"\r\n\r\n" not in head:
            try:
                head += self._tls.read(4096)
            except ssl.SSLWantReadError:
                self._exchange()
        self.send(opening("tls", head))

    def send(self, data: bytes) -> int:
        """Seal and send. How many bytes of ``data`` are gone: all."""
        self._tls.write(data)
        sealed = self._out.read()
        assert self.sock.send(sealed) == len(sealed)
        return len(data)

    def _exchange(self) -> None:
        if self._out.pending:
            self.sock.sendall(self._out.read())
        self._in.write(self.sock.recv(65_536))


class Floor:
    """A listening socket, its connections, and the loop."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._context = _context() if kind == "tls" else None
        self._receivers: list[socket.socket | Sealed] = []
        self._polls = select.epoll()
        self._by_descriptor: dict[int, socket.socket] = {}
        self._waiting: list[socket.socket] = []

    def run(self) -> None:
        """Serve until stdin closes."""
        self._polls.register(self._listener, select.EPOLLIN)
        self._polls.register(0, select.EPOLLIN)
        print("ok", self._listener.getsockname()[1], flush=True)
        while True:
            for descriptor, _ in self._polls.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor:
                    self._asked(self._by_descriptor[descriptor])
                elif line := sys.stdin.readline():
                    _, count, pause, text = line.split()
                    self._broadcast(int(count), float(pause), text.encode())
                    print("ok", flush=True)
                else:
                    return

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receiver: socket.socket | Sealed = sock
        if self._context is not None:
            receiver = Sealed(sock, self._context)
            receiver.open()
        elif self._kind == "poll":
            self._by_descriptor[sock.fileno()] = sock
            self._polls.register(sock, select.EPOLLIN)
        else:
            sock.sendall(opening(self._kind, read_head(sock)))
        sock.setblocking(False)
        self._receivers.append(receiver)

    def _asked(self, sock: socket.socket) -> None:
        """A poll has come: one whole request in one segment, as from every client of a benchmark."""
        if sock.recv(4096):
            self._waiting.append(sock)
        else:
            self._polls.unregister(sock)
            sock.close()

    def _gather(self) -> None:
        while len(self._waiting) < len(self._by_descriptor):
            for descriptor, _ in self._polls.poll():
                if descriptor in self._by_descriptor:
                    self._asked(self._by_descriptor[descriptor])

    def _broadcast(self, count: int, pause: float, text: bytes) -> None:
        for turn in range(count):
            if turn:
                time.sleep(pause)
            if self._kind == "poll":
                self._gather()
            data = ENCODE[self._kind](text)
            size = len(data)
            receivers, self._waiting = (self._waiting, []) if self._kind == "poll" else (self._receivers, [])
            for receiver in receivers:
                if receiver.send(data) != size:
                    sys.exit("the kernel refused: the clients do not keep up, and nothing was measured")


def _context() -> ssl.SSLContext:
    from wsactors.gateway.tls import make_certificate  # the others do without, and start the faster

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="wsactors-bench-") as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(make_certificate(["localhost"]))
        context.load_cert_chain(path)
    return context


if __name__ == "__main__":
    Floor(sys.argv[1]).run()
