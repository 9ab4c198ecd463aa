"""A crowd as in `_audio_crowd`, whose listeners have joined a session of a node by the native protocol on QUIC.

    python benchmarks/_audio_joined.py PAUSE_MS SESSION

It answers each line on stdin with one line:

    join PORT NUMBER     ok JOINED
    leave NUMBER         ok LEFT       (those who have been there longest)
    count                ok RECEIVED FEWEST LISTENERS       (frames since the last time: all, by the one with the fewest)

Each says hello and joins as anybody does, says a word every few seconds, and then only hears.
"""

from __future__ import annotations

import random
import selectors
import socket
import sys
import time
from typing import Final

from _audio_crowd import AT_A_TIME, LISTENERS_PER_SOCKET, Crowd, Listener
from _audio_stage import ALPN, udp
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, HandshakeCompleted, StreamDataReceived

from wsactors.media.quic.guarded_connection import GuardedConnection
from wsactors.wire import native
from wsactors.wire.length_prefix import LengthPrefixed, prefixed

WORD_SECONDS: Final = 8.0
"""Sooner than a node asks who is silent whether they are still there."""
PATIENCE_SECONDS: Final = 10.0
"""After which somebody who has not come in begins anew."""
JOIN_SECONDS: Final = 110.0
"""In which all must have joined."""


class Member(Listener):
    """One listener."""

    __slots__ = ("born", "count", "is_over", "reader", "session", "stream", "talks_at")

    def __init__(self, quic: GuardedConnection, sock: socket.socket, session: str) -> None:
        super().__init__(quic, sock)
        self.session = session
        self.stream = quic.get_next_available_stream_id()
        self.reader: LengthPrefixed | None = LengthPrefixed(1 << 20)
        self.count = 0
        self.is_over = False
        self.talks_at = 0.0
        self.born = time.monotonic()

    def flush(self, now: float) -> None:
        """Events and packets of the ordinary way."""
        while (event := self.next_event()) is not None:
            match event:
                case DatagramFrameReceived(data=data):
                    self._note(data, now)
                case StreamDataReceived(data=data):
                    self._read(data)
                case HandshakeCompleted():
                    self._say(native.Hello(native.VERSIONS, "crowd"))
                    self._say(native.Join(self.session))
                    self.talks_at = now + WORD_SECONDS * random.random()
                case ConnectionTerminated():
                    self.is_over = True
        for packet, address in self.transmit(now):
            self.sock.sendto(packet, address)

    def talk(self, now: float) -> None:
        """Say a word when it is time."""
        if self.established and now >= self.talks_at:
            self.talks_at = now + WORD_SECONDS
            self._say(native.Ping(0))
            self.flush(now)

    def leave(self, now: float) -> None:
        """Go, and say so."""
        self.close(0, "")
        self.flush(now)

    def _say(self, message: native.ClientMessage) -> None:
        self.send_stream_data(self.stream, prefixed(native.encode(message)))

    def _read(self, data: bytes) -> None:
        if self.reader is not None:
            for message in self.reader.feed(data):
                if isinstance(native.decode_server(message), native.Joined):
                    self.established = True
                    self.reader = None  # what else is said is taken, and not looked at
                    return

    def _note(self, data: bytes, now: float) -> None:
        self.count += 1


class Session(Crowd):
    """All listeners of this process."""

    def __init__(self, pause: float, session: str) -> None:
        super().__init__(pause)
        self._session = session
        self._sock = udp()
        self._room = 0
        """Listeners that the newest socket still takes."""
        self._configuration = QuicConfiguration(
            is_client=True, alpn_protocols=[ALPN], max_datagram_frame_size=65536, verify_mode=0, idle_timeout=60.0
        )

    def _answer(self, line: list[str]) -> str:
        match line:
            case ["leave", number]:
                return str(self._leave(int(number)))
        return super()._answer(line)

    def _join(self, port: int, number: int) -> int:
        """Let so many join; who is sent away, as the node or this process was too busy, tries again."""
        waiting: list[Member] = []
        joined, deadline = 0, time.monotonic() + JOIN_SECONDS
        while joined < number and time.monotonic() < deadline:
            while len(waiting) < min(AT_A_TIME, number - joined):
                waiting.append(self._come(port))
            self._turn()
            oldest = time.monotonic() - PATIENCE_SECONDS
            for each in waiting:
                joined += each.established
                if not each.established and (each.is_over or each.born < oldest):
                    self._forget(each)
            waiting = [each for each in waiting if not each.established and not each.is_over]
        return joined

    def _come(self, port: int) -> Member:
        if self._room == 0:
            self._sock, self._room = udp(), LISTENERS_PER_SOCKET
            self._selector.register(self._sock, selectors.EVENT_READ)
        self._room -= 1
        return self._connect(("127.0.0.1", port), self._sock)

    def _forget(self, member: Member) -> None:
        member.leave(time.monotonic())
        member.is_over = True
        self._listeners.remove(member)
        self._by_cid.pop(member.quic.host_cid, None)
        member.quic.dispose()

    def _connect(self, address: tuple[str, int], sock: socket.socket) -> Member:
        quic = GuardedConnection(configuration=self._configuration)
        quic.connect(address, time.monotonic())
        member = self._member(quic, sock)
        self._listeners.append(member)
        self._by_cid[quic.host_cid] = member
        member.flush(time.monotonic())
        return member

    def _member(self, quic: GuardedConnection, sock: socket.socket) -> Member:
        return Member(quic, sock, self._session)

    def _tend(self, now: float) -> None:
        super()._tend(now)
        for member in self._members():
            member.talk(now)

    def _members(self) -> list[Member]:
        return [each for each in self._listeners if isinstance(each, Member)]

    def _count(self) -> str:
        counts = [each.count for each in self._members()]
        present = sum(not each.is_over for each in self._members())
        for each in self._members():
            each.count = 0
        return f"{sum(counts)} {min(counts, default=0)} {present}"

    def _leave(self, number: int) -> int:
        gone = self._members()[:number]
        for member in gone:
            self._forget(member)
        return len(gone)


if __name__ == "__main__":
    Session(float(sys.argv[1]) / 1e3, sys.argv[2]).serve()
