"""The clients of benchmarks/gateway.py: thousands of connections in one process that do nothing but read and count bytes.

    python _gateway_crowd.py DIALECT PORT

Commands, one per line, each answered with ``ok NUMBER...``: ``connect COUNT``; ``join``; ``settle SECONDS`` (read until nothing
has come for so long; the bytes); ``expect BYTES SECONDS`` (read until so many have come and nothing more does; the seconds that
took, and the bytes).
"""

from __future__ import annotations

import base64
import gc
import json
import os
import re
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

SID: Final = b"{sid}"
SESSION: Final = re.compile(rb'"sid":"([^"]+)"')
BATCH: Final = 64
"""Connections that are opened side by side: below every server's backlog."""
STEP_SECONDS: Final = 20.0
LOOK: Final = 0.001
"""Seconds between two looks for what has come, where nothing is answered."""
SILENCE: Final = 0.003
"""Seconds without a byte after which the last has come."""
TOPIC: Final = "bench:room"
DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"


@attrs.frozen
class Step:
    """What a client sends, and what the server's answer contains."""

    send: bytes
    until: bytes


@attrs.frozen
class Dialect:
    """How a client opens a connection and becomes a member of the topic."""

    connect: tuple[Step, ...]
    join: tuple[Step, ...] = ()
    secure: bool = False
    again: bytes = b""
    """The request that follows every delivery (long-poll). `SID` stands for the session, as in a `Step`."""


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """One client frame. Masking with zeros is masking: a server cannot tell."""
    assert len(payload) < 65_536
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE, *size.to_bytes(2, "big")))
    return head + bytes(4) + payload


def upgrade(path: str, *headers: str) -> Step:
    """A WebSocket handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *headers,
    ]
    return Step("\r\n".join([*lines, "", ""]).encode(), b"\r\n\r\n")


def our_native(*headers: str, secure: bool = False) -> Dialect:
    """The native protocol: hello, then a member of the topic."""
    from wsactors.wire import native  # the others do without, and start the faster

    hello = Step(masked(native.encode(native.Hello()), 2), b"welcome")
    join = Step(masked(native.encode(native.JoinTopic(1, TOPIC, presence=False)), 2), b"topic_joined")
    return Dialect((upgrade("/ws", *headers), hello), (join,), secure=secure)


def our_phoenix() -> Dialect:
    """Phoenix Channels, vsn 2.0.0."""
    join = Step(masked(json.dumps(["1", "1", TOPIC, "phx_join", {}]).encode()), b"phx_reply")
    return Dialect((upgrade("/socket/websocket?vsn=2.0.0"),), (join,))


SUBSCRIBE: Final = b"420" + json.dumps(["subscribe", TOPIC, {"presence": False}]).encode()


def socketio(*join: Step) -> Dialect:
    """Socket.IO on WebSocket alone; a peer puts everybody into its room."""
    opened = Step(upgrade("/socket.io/?EIO=4&transport=websocket").send, b'0{"sid"')
    return Dialect((opened, Step(masked(b"40"), b'40{"sid"')), join)


def our_poll() -> Dialect:
    """Socket.IO on long-polling."""
    path = b"/socket.io/?EIO=4&transport=polling"
    poll = b"GET %b&sid=%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (path, SID)

    def post(packet: bytes) -> Step:
        head = b"POST %b&sid=%b HTTP/1.1\r\nHost: 127.0.0.1\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b"
        return Step(head % (path, SID, len(packet), packet), b"ok")

    opened = Step(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path, b'0{"sid"')
    connect = (opened, post(b"40"), Step(poll, b'40{"sid"'))
    return Dialect(connect, (post(SUBSCRIBE), Step(poll, b"430[")), again=poll)


def our_sse() -> Dialect:
    """Server-sent events."""
    return Dialect(
        (), (Step(f"GET /api/topics/{TOPIC}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), b"event: joined"),)
    )


DIALECTS: Final[dict[str, Callable[[], Dialect]]] = {
    "websocket": lambda: Dialect((upgrade("/"),)),
    "websocket_tls": lambda: Dialect((upgrade("/"),), secure=True),
    "websocket_deflate": lambda: Dialect((upgrade("/", DEFLATE),)),
    "sse": lambda: Dialect((Step(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n\r\n"),)),
    "poll": lambda: Dialect((), again=b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    "socketio": socketio,
    "our_socketio": partial(socketio, Step(masked(SUBSCRIBE), b"430[")),
    "our_poll": our_poll,
    "our_sse": our_sse,
    "native": our_native,
    "native_tls": partial(our_native, secure=True),
    "native_deflate": partial(our_native, DEFLATE),
    "phoenix": our_phoenix,
}


class Crowd:
    """All connections of one dialect under one epoll."""

    def __init__(self, dialect: Dialect, port: int) -> None:
        self._dialect = dialect
        self._port = port
        self._opened = 0
        self._fresh: dict[socket.socket, bytes] = {}
        """Connections that have not joined, and their session, if they have one."""
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._again: dict[int, bytes] = {}
        self._buffer = bytearray(65_536)
        self._secure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._secure.check_hostname, self._secure.verify_mode = False, ssl.CERT_NONE

    def connect(self, count: int) -> None:
        """Open so many more."""
        while count > 0:
            most = 1 if self._dialect.secure else BATCH  # a TLS handshake needs both sides at once
            batch = dict.fromkeys((self._open() for _ in range(min(most, count))), b"")
            _walk(batch, self._dialect.connect)
            self._fresh |= batch
            count -= len(batch)

    def join(self) -> None:
        """Make members of all that have been opened since the last time."""
        fresh = tuple(self._fresh.items())
        for start in range(0, len(fresh), BATCH):
            _walk(dict(fresh[start : start + BATCH]), self._dialect.join)
        for sock, session in fresh:
            # What is counted is what is on the wire, so nobody needs to open what was sealed.
            raw = socket.socket(fileno=sock.detach())
            raw.setblocking(False)
            self._sockets[raw.fileno()] = raw
            self._receive[raw.fileno()] = raw.recv_into
            self._poll.register(raw, select.EPOLLIN)
            if self._dialect.again:
                self._again[raw.fileno()] = again = self._dialect.again.replace(SID, session)
                raw.send(again)
        self._fresh.clear()

    def settle(self, quiet: float) -> int:
        """Read until nothing has come for ``quiet`` seconds; the bytes."""
        total = 0
        while events := self._poll.poll(quiet):
            total += self._take(events)
        return total

    def expect(self, size: int, within: float) -> tuple[float, int]:
        """Read until ``size`` bytes have come, and then nothing for a moment, or the time is up.

        Returns how long that took from the first byte, without the silence, and the bytes.
        """
        total, deadline = 0, time.monotonic() + within
        began = 0.0
        # In life receivers are other machines. Here the kernel would charge the sender for waking this process, and a sender that
        # lets it fall asleep more often, more often: so it is not woken but looks from time to time.
        pause = 0.0 if self._again else LOOK
        while total < size and (left := deadline - time.monotonic()) > 0:
            if pause:
                time.sleep(pause)
            if events := self._poll.poll(0 if pause else left):
                began = began or time.monotonic()
                total += self._take(events)
        seconds = time.monotonic() - began
        return seconds, total + self.settle(SILENCE)

    def _take(self, events: list[tuple[int, int]]) -> int:
        total, buffer, receive, again = 0, self._buffer, self._receive, self._again
        for descriptor, _ in events:
            size = receive[descriptor](buffer)
            if not size:
                sys.exit(f"the server closed a connection of {len(self._sockets)}")
            total += size
            if again:
                self._sockets[descriptor].send(again[descriptor])
        return total

    def _open(self) -> socket.socket:
        # From many addresses: what one address may do is not what is measured.
        source = f"127.0.0.{1 + self._opened % 200}"
        self._opened += 1
        sock = socket.create_connection(("127.0.0.1", self._port), STEP_SECONDS, (source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._secure.wrap_socket(sock) if self._dialect.secure else sock


def _walk(batch: dict[socket.socket, bytes], steps: tuple[Step, ...]) -> None:
    """Take all of ``batch`` through ``steps``, side by side. What comes in the same read as a step's end is forgotten."""
    for step in steps:
        for sock, session in batch.items():
            sock.sendall(step.send.replace(SID, session))
        for sock, session in batch.items():
            data = b""
            while step.until not in data:
                more = sock.recv(65_536)
                if not more:
                    sys.exit(f"the server closed the connection after {data!r}; expected {step.until!r}")
                data += more
            if data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
                sys.exit(f"the server refused: {data!r}")
            if not session and (found := SESSION.search(data)):
                batch[sock] = found[1]


def main() -> None:
    """Answer commands until stdin closes."""
    gc.disable()
    crowd = Crowd(DIALECTS[sys.argv[1]](), int(sys.argv[2]))
    for line in sys.stdin:
        command, *arguments = line.split()
        answer: tuple[float, ...] = ()
        if command == "connect":
            crowd.connect(int(arguments[0]))
        elif command == "join":
            crowd.join()
        elif command == "settle":
            answer = (crowd.settle(float(arguments[0])),)
        elif command == "expect":
            answer = crowd.expect(int(arguments[0]), float(arguments[1]))
        print("ok", *answer, flush=True)


if __name__ == "__main__":
    main()
