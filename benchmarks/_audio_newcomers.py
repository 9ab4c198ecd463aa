"""People who come to a session while others listen, each until they hear something: as lean as a load can be.

    python benchmarks/_audio_newcomers.py PORT SESSION

It answers each line on stdin with one line:

    come RATE SECONDS    ok CPU_MS (CONNECTED JOINED RECEIVED LEFT)...

So many a second begin, whether those before them are done or not. CPU_MS is what each has cost this process; the rest are ms
since each should have begun, -1: never. They are listeners as in `_audio_joined`: real handshakes, hellos and joins. Each has
the client's jitter buffer, which decides when a sample is played; nothing is decoded. The first one has left when a device that
asks for 10 ms at a time, and has no latency of its own, plays it. Then they go.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from typing import Final

from _audio_joined import Member, Session

from wsactors.media.delay import RATE
from wsactors.media.jitter import BLOCK, JitterBuffer
from wsactors.media.quic.guarded_connection import GuardedConnection
from wsactors.media.steps import Do
from wsactors.wire.audio_frame import decode_audio

LONGEST: Final = 5.0
"""Seconds after which somebody who has heard nothing gives up."""


class Newcomer(Member):
    """Comes, hears something, and goes."""

    __slots__ = ("_ahead", "_buffer", "_track", "begun", "next_block", "row")

    def __init__(self, quic: GuardedConnection, sock: socket.socket, session: str) -> None:
        super().__init__(quic, sock, session)
        self.begun = self.next_block = 0.0
        """When it should have begun; when its device asks for more."""
        self.row = [-1.0] * 4
        self._buffer = JitterBuffer()
        self._track = 0
        self._ahead = 0
        """Samples of the next block that are silent, as is known already."""

    @property
    def has_heard(self) -> bool:
        """Whether it has nothing more to wait for."""
        return self.row[3] >= 0

    def flush(self, now: float) -> None:
        """As any member; when something came is noted."""
        super().flush(now)
        if self.row[0] < 0 and self.quic._handshake_complete:
            self.row[0] = now - self.begun
        if self.row[1] < 0 and self.established:
            self.row[1] = now - self.begun
            self.next_block = now

    def pull(self) -> None:
        """The device asks for a block: is there anything in it?"""
        while self._ahead < BLOCK:
            ahead = self._ahead / RATE
            step = self._buffer.take(self.next_block + ahead, ahead)
            if step.do is not Do.SILENCE:
                # Never before it was there: a device would have to wait for what was made late.
                self.row[3] = max(self.next_block + ahead, time.monotonic()) - self.begun
                return
            self._ahead += step.samples
        self._ahead -= BLOCK
        self.next_block += BLOCK / RATE

    def _note(self, data: bytes, now: float) -> None:
        frame = decode_audio(data)
        if self.row[2] < 0:
            self.row[2], self._track = now - self.begun, frame.track
        if frame.track == self._track:
            self._buffer.put(frame, now)


class Newcomers(Session):
    """All of this process."""

    def __init__(self, pause: float, port: int, session: str) -> None:
        super().__init__(pause, session)
        self._port = port
        self._present: list[Newcomer] = []
        self._rows: list[list[float]] = []

    def _answer(self, line: list[str]) -> str:
        match line:
            case ["come", rate, seconds]:
                return self._let_come(float(rate), float(seconds))
        return super()._answer(line)

    def _let_come(self, rate: float, seconds: float) -> str:
        cpu, begun = time.process_time(), time.monotonic() + 0.01
        count, self._rows = round(rate * seconds), []
        while len(self._rows) < count or self._present:
            due = begun + len(self._rows) / rate
            while len(self._rows) < count and due <= time.monotonic():
                self._begin(due)
                due = begun + len(self._rows) / rate
            blocks = (each.next_block for each in self._present if each.established)
            soonest = min((due if len(self._rows) < count else math.inf, *blocks))
            self._turn(max(0.0, soonest - time.monotonic()))
            self._look_after(time.monotonic())
        spent = (time.process_time() - cpu) * 1e3 / count
        told = (value if value < 0 else value * 1e3 for row in self._rows for value in row)
        return " ".join(f"{value:.3f}" for value in (spent, *told))

    def _begin(self, due: float) -> None:
        newcomer = self._come(self._port)
        assert isinstance(newcomer, Newcomer)  # see `_member`
        newcomer.begun = due
        self._rows.append(newcomer.row)
        self._present.append(newcomer)

    def _look_after(self, now: float) -> None:
        """Everybody's device; and who has heard something, or waited too long, goes."""
        for each in tuple(self._present):
            while each.established and not each.has_heard and each.next_block <= now:
                each.pull()
            if each.has_heard or each.is_over or now - each.begun > LONGEST:
                self._present.remove(each)
                self._forget(each)

    def _member(self, quic: GuardedConnection, sock: socket.socket) -> Newcomer:
        return Newcomer(quic, sock, self._session)


if __name__ == "__main__":
    Newcomers(float(sys.argv[1]) / 1e3, int(sys.argv[2]), sys.argv[3]).serve()
