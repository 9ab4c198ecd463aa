"""The sink of a QUIC connection: sound leaves as datagrams, now or never; everything else on one reliable stream, in order.

A listener that joins by QUIC is offered the same bytes as one on a WebSocket. Sound becomes a DATAGRAM frame, built once for
all listeners that are offered it one after the other; whatever keeps it from leaving at once makes it late, so it is dropped
and counted. Other messages wait, bounded, while the peer has not acknowledged what was sent before: what QUIC keeps for
sending again has no bound of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from wsactors.media.copies import FrameCopies
from wsactors.media.quic.connection import Connection
from wsactors.media.quic.transport import datagram_frame, frame_payload
from wsactors.media.reports import Heard
from wsactors.realtime.send_queue import AUDIO, AUDIO_AGE, QueueCounts, SendQueue
from wsactors.realtime.sink import BUFFER_BYTES, STALL_TIMEOUT, SinkClosed, SinkStatistics, SlowReader
from wsactors.wire.audio_frame import MAX_DATAGRAM
from wsactors.wire.native import Probe, ReceiverReport, encode

from .framing import BY_LENGTH

IN_FLIGHT: Final = 64 * 1024
"""Bytes that a stream may have sent without an acknowledgement; what is more waits here, where it can be bounded."""


class SharedDatagrams:
    """Puts the DATAGRAM frame around a message once, for all who get that message one after the other."""

    __slots__ = ("_frame", "_message", "_prefix")

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._message = self._frame = b""

    def frame(self, message: bytes) -> bytes:
        """The frame of ``message``; the same bytes object as before if it is the message from before."""
        if message is not self._message:
            self._message, self._frame = message, datagram_frame(self._prefix + message)
        return self._frame


@lru_cache(maxsize=64)
def shared_datagrams(prefix: bytes) -> SharedDatagrams:
    """The one for connections whose datagrams begin with ``prefix``. Nearly all of one kind begin alike."""
    return SharedDatagrams(prefix)


class ControlStream:
    """A bounded, reliable stream; a `Sink` of whole messages with their lengths.

    Args:
        connection: What carries it.
        limit: Most bytes that wait here.
        stall_seconds: How long the peer may acknowledge nothing while something waits.
    """

    __slots__ = ("_connection", "_counts", "_limit", "_moved_at", "_queue", "_stall", "bytes_sent", "closed", "id",
                 "offered", "refused")  # fmt: skip

    def __init__(
        self, connection: Connection, *, limit: int = BUFFER_BYTES, stall_seconds: float = STALL_TIMEOUT
    ) -> None:
        self._connection = connection
        self._limit = limit
        self._stall = stall_seconds
        self._counts = QueueCounts()
        self._queue: SendQueue | None = None
        self._moved_at = 0.0
        self.id: int | None = None
        """Of the stream, once the peer has opened it; nothing leaves before."""
        self.closed: SinkClosed | None = None
        self.offered = self.refused = self.bytes_sent = 0

    @property
    def waiting(self) -> int:
        """Bytes that wait here."""
        return 0 if self._queue is None else self._queue.size

    @property
    def is_flushed(self) -> bool:
        """Whether the peer has acknowledged everything."""
        return self._queue is None and (self.id is None or not self._connection.transport.unsent(self.id))

    @property
    def counts(self) -> QueueCounts:
        """What became of messages that had to wait."""
        return self._counts

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`."""
        self.offered += 1
        if self.closed is not None:
            self.refused += 1
            return False
        if self._queue is None and self._has_room():
            self._write(data)
            return True
        queue = self._queue
        if queue is None:
            queue = self._queue = SendQueue(self._limit, AUDIO_AGE, self._counts)
            self._moved_at = self._connection.hub.clock()
            self._connection.await_progress()
        if queue.add(data, key, self._connection.hub.clock()):
            return True
        self.refused += 1
        if key is None:
            self.give_up(SlowReader(f"more than {self._limit} bytes wait for a peer that acknowledges nothing"))
        return False

    def progress(self) -> bool:
        """Send what may be sent now; whether something still waits."""
        queue = self._queue
        if queue is None or self.closed is not None:
            return False
        now = self._connection.hub.clock()
        while self._has_room():
            taken = queue.take(now)
            if taken is None:
                self._queue = None
                return False
            self._write(taken[0])
            self._moved_at = now
        if now - self._moved_at > self._stall:
            self.give_up(SlowReader(f"the peer acknowledged nothing for {self._stall:g} s"))
        return self._queue is not None

    def give_up(self, reason: SinkClosed) -> None:
        """Take no more, and forget what waits."""
        if self.closed is None:
            self.closed = reason
            self._queue = None

    def finish(self) -> None:
        """Take no more; what waits is still sent."""
        self.closed = self.closed or SinkClosed("the connection is closing")
        queue, self._queue = self._queue, None
        while self.id is not None and queue is not None and queue.ordered:
            self._write(queue.ordered.popleft()[1])

    def _has_room(self) -> bool:
        return self.id is not None and self._connection.transport.unsent(self.id) < IN_FLIGHT

    def _write(self, data: bytes) -> None:
        assert self.id is not None
        self._connection.transport.send_stream_data(self.id, data)
        self._connection.flush()
        self.bytes_sent += len(data)


class DatagramSink:
    """A connection's sink for messages and audio frames of the native protocol.

    Args:
        connection: What carries them.
        stream: For all that is not sound.
        prefix: With what each datagram begins.
    """

    __slots__ = ("_connection", "_datagrams", "_prefix", "audio_sent", "bytes_sent", "copies", "dropped", "stream")

    def __init__(self, connection: Connection, stream: ControlStream, prefix: bytes = b"") -> None:
        self._connection = connection
        self._prefix = prefix
        self._datagrams = shared_datagrams(prefix)
        self.stream = stream
        self.copies: FrameCopies | None = None
        """Of earlier frames, for a listener that reports."""
        self.audio_sent = self.dropped = self.bytes_sent = 0

    def __repr__(self) -> str:
        return f"<DatagramSink {'open' if self.closed is None else type(self.closed).__name__}>"

    @property
    def closed(self) -> SinkClosed | None:
        """Why it takes no more; None while it is open."""
        return self.stream.closed

    @property
    def rtt(self) -> float | None:
        """Seconds to the listener and back; None: not measured."""
        return None if self.copies is None else self.copies.rtt

    def hear(self, report: ReceiverReport, now: float) -> list[Heard]:
        """The listener tells how it hears, and what that says: who loses frames gets copies, and the way is measured."""
        if self.copies is None:
            self.copies = FrameCopies()
        heard = self.copies.hear(report, now, dropped=self.dropped)
        probe = self.copies.probe(now)
        if probe is not None:
            self.offer(encode(probe), Probe)
        return heard

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `Sink.offer`. Sound that cannot leave at once is dropped."""
        if key != AUDIO:
            return self.stream.offer(BY_LENGTH.alone(data), key)
        if self.copies is not None:
            data = self.copies.add(data)
        fits = self.stream.closed is None and len(data) <= MAX_DATAGRAM
        if fits and self._connection.send_datagram(self._datagrams.frame(data), self):
            self.audio_sent += 1
            self.bytes_sent += len(data)
            return True
        self.dropped += 1
        return False

    def refused(self, frame: bytes) -> None:
        """See `wsactors.media.quic.outgoing.Offerer`: what counted as sent was not."""
        self.audio_sent -= 1
        self.bytes_sent -= len(frame_payload(frame)) - len(self._prefix)
        self.dropped += 1

    def statistics(self) -> SinkStatistics:
        """What happened so far; sound that was dropped counts as aged out."""
        stream, counts = self.stream, self.stream.counts
        return SinkStatistics(
            offered=stream.offered + self.audio_sent + self.dropped,
            sent_direct=self.audio_sent,
            refused=stream.refused,
            aged_out=self.dropped + counts.aged_out,
            dropped=counts.dropped,
            replaced=counts.replaced,
            would_block=self.dropped,
            bytes_sent=stream.bytes_sent + self.bytes_sent,
            buffered_bytes=stream.waiting,
            buffered_peak=counts.peak,
            oldest_audio_sent=0.0,
        )
