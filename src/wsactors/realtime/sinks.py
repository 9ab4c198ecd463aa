"""Sinks: where the bytes for one connection go. Relay and forwarder call `Sink.offer` and nothing else.

A broadcast is encoded once and the same bytes are offered to every connection, so one receiver costs one
``socket.send``: `SocketSink.offer` writes to the non-blocking socket directly, and only what the kernel refuses goes to
that connection's bounded buffer and its one writer task (`SocketSink.run`). Nothing else writes to the socket:
responses, pongs and closes go through `SocketSink.write`.

What becomes of a message that must wait depends on its ``key``:

* `AUDIO`: perishable. It waits at most ``audio_age`` seconds, then it is dropped: late audio is lost audio.
* ``None``: ordered, never dropped. If it does not fit, the connection is given up (`SlowReader`): a gap in an ordered
  stream cannot be mended later.
* any other key: the newest wins; a waiting message of the same key is replaced.

A message of which the kernel took a part is always finished first, whatever its age.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import trio

from .send_queue import AUDIO, AUDIO_AGE, SendQueue

BUFFER_BYTES: Final = 256 * 1024
"""What one connection may keep waiting, in bytes."""
SEND_BUFFER: Final = 16 * 1024
"""SO_SNDBUF of an audio socket; Linux doubles it for its own bookkeeping, which makes the promised 32 KiB."""
UNSENT_BYTES: Final = 4 * 1024
"""TCP_NOTSENT_LOWAT of an audio socket: a quarter of a second at 128 kb/s. On its defaults the kernel takes 4.3 MB
before it says EAGAIN: 259 s of audio."""
STALL_TIMEOUT: Final = 30.0
"""Seconds in which the kernel must take something while ordered bytes wait."""


class Sink(Protocol):
    """Where the bytes for one connection go. Owned by the connection's actor and closed when that dies."""

    def offer(self, data: bytes, key: object = None) -> bool:
        """Hand over one whole message. Never raises, never waits; False when it will not be delivered."""
        ...


class SinkClosed(Exception):
    """The connection behind the sink ended, by either side."""


class SlowReader(SinkClosed):
    """The peer reads too slowly: ordered bytes did not fit its buffer, or waited longer than the stall timeout."""


@attrs.frozen
class SinkStatistics:
    """What became of a sink's messages, counted since it was made; ``buffered_bytes`` is of this moment."""

    offered: int
    sent_direct: int
    """Taken by the kernel whole and at once."""
    refused: int
    """Offers answered with False."""
    aged_out: int
    """Audio dropped because it waited too long, or because the buffer was full."""
    replaced: int
    would_block: int
    """How often the kernel took nothing or only a part."""
    bytes_sent: int
    buffered_bytes: int
    buffered_peak: int
    oldest_audio_sent: float
    """The longest that audio waited here before the kernel took its first byte, in seconds."""


def prepare_audio_socket(sock: socket.socket) -> None:
    """Make the kernel keep little of what ``sock`` sends and send it at once: audio must not grow old in there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


class SocketSink:
    """The bounded, non-blocking way to one connected stream socket.

    Args:
        sock: A connected, non-blocking stream socket. The sink owns it and closes it in `close`.
        seal: Turns a message into bytes for the wire at the moment of writing (TLS); must not block. What was sealed is
            sent, so a message can age out only before that.
        limit: Most bytes that wait here at any time; each `write` in progress may add one message beyond it.
        audio_age: Seconds that audio may wait.
        stall_timeout: Seconds without progress after which a peer with ordered bytes waiting is given up.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        seal: Callable[[bytes], bytes] | None = None,
        limit: int = BUFFER_BYTES,
        audio_age: float = AUDIO_AGE,
        stall_timeout: float = STALL_TIMEOUT,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._sock = sock
        self._seal = seal
        self._limit = limit
        self._stall_timeout = stall_timeout
        self._clock = clock
        self._closed: SinkClosed | None = None
        self._queue = SendQueue(limit, audio_age)
        self._partial = memoryview(b"")
        self._partial_ordered = False
        # Invariant: `_busy` is False only while nothing waits; then, and only then, may `offer` write to the socket.
        self._busy = False
        self._ordered_in = self._ordered_out = 0
        self._writer = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()
        self._offered = self._sent_direct = self._refused = self._would_block = self._bytes_sent = 0
        self._oldest_audio_sent = 0.0

    def __repr__(self) -> str:
        state = "open" if self._closed is None else type(self._closed).__name__
        return f"<SocketSink {state} fd={self._sock.fileno()} waiting={self._queue.size + len(self._partial)}>"

    @property
    def closed(self) -> SinkClosed | None:
        """Why the sink is closed; None while it is open."""
        return self._closed

    def offer(self, data: bytes, key: object = None) -> bool:
        """Send ``data`` now if the kernel takes it, else keep it as ``key`` says. Never raises, never waits."""
        self._offered += 1
        if self._closed is None and (self._keep(data, key) if self._busy else self._send_now(data, key)):
            return True
        self._refused += 1
        return False

    async def write(self, data: bytes) -> None:
        """Send ``data`` in order and wait until the kernel has it all.

        Raises:
            SlowReader: The peer took nothing for the stall timeout.
            SinkClosed: The connection has ended.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        before = self._ordered_in
        if self._busy:
            self._keep(data, None, force=True)
        else:
            self._send_now(data, None, force=True)
        ticket = self._ordered_in
        while ticket != before and self._ordered_out < ticket:
            self._check_open()
            await self._progress.park()
        self._check_open()

    async def run(self) -> None:
        """Be the one writer: send what waits whenever the kernel takes more. Ends when the sink is closed."""
        while self._closed is None:
            if not self._busy:
                await self._writer.park()
                continue
            with trio.move_on_after(self._stall_timeout) as patience:
                try:
                    await trio.lowlevel.wait_writable(self._sock.fileno())
                except (trio.ClosedResourceError, OSError):
                    self.close()
                    return
            if not patience.cancelled_caught:
                self._flush()
            elif self._ordered_in > self._ordered_out:
                self.close(SlowReader(f"the peer read nothing for {self._stall_timeout:g} s"))

    def close(self, reason: SinkClosed | None = None) -> None:
        """Close the socket at once and forget what waits; every `write` in progress ends. May be called again."""
        if self._closed is not None:
            return
        self._closed = reason or SinkClosed("the connection is closed")
        self._queue.clear()
        self._partial = memoryview(b"")
        trio.lowlevel.notify_closing(self._sock.fileno())
        self._sock.close()
        self._writer.unpark_all()
        self._progress.unpark_all()

    def statistics(self) -> SinkStatistics:
        """What happened so far."""
        queue = self._queue
        return SinkStatistics(
            offered=self._offered,
            sent_direct=self._sent_direct,
            refused=self._refused,
            aged_out=queue.aged_out,
            replaced=queue.replaced,
            would_block=self._would_block,
            bytes_sent=self._bytes_sent,
            buffered_bytes=queue.size + len(self._partial),
            buffered_peak=queue.peak,
            oldest_audio_sent=self._oldest_audio_sent,
        )

    def _check_open(self) -> None:
        if self._closed is not None:
            raise type(self._closed)(*self._closed.args)

    def _send_now(self, data: bytes, key: object, *, force: bool = False) -> bool:
        """Nothing waits: give ``data`` to the kernel, and keep what it refuses. False when that is not possible."""
        wire = data if self._seal is None else self._sealed(data)
        sent = self._transmit(wire)
        if self._closed is not None:
            return False
        if sent == len(wire):
            self._sent_direct += 1
            return True
        if not sent and self._seal is None:
            return self._keep(data, key, force=force)
        if key is None:
            self._ordered_in += 1
        self._begin_partial(wire, sent, key)
        return True

    def _keep(self, data: bytes, key: object, *, force: bool = False) -> bool:
        if force:
            self._queue.ordered.append(data)
            self._queue.grow(len(data))
        elif not self._queue.add(data, key, self._clock()):
            if key is None:
                self.close(SlowReader(f"more than {self._limit} bytes wait for a peer that does not read"))
            return False
        if key is None:
            self._ordered_in += 1
        self._start_writer()
        return True

    def _flush(self) -> None:
        """Write until the kernel refuses or nothing waits."""
        now = self._clock()
        while self._closed is None:
            if self._partial:
                sent = self._transmit(self._partial)
                self._partial = self._partial[sent:]
                if self._partial or self.closed is not None:
                    return
                self._finished(ordered=self._partial_ordered)
            taken = self._queue.take(now)
            if taken is None:
                self._busy = False
                return
            data, key, since = taken
            wire = data if self._seal is None else self._sealed(data)
            sent = self._transmit(wire)
            if self.closed is not None:
                return
            if not sent and self._seal is None:
                self._queue.put_back(data, key, since)
                return
            if key == AUDIO:
                self._oldest_audio_sent = max(self._oldest_audio_sent, now - since)
            if sent < len(wire):
                self._begin_partial(wire, sent, key)
                return
            self._finished(ordered=key is None)

    def _sealed(self, data: bytes) -> bytes:
        try:
            return self._seal(data) if self._seal is not None else data
        except OSError as error:  # what TLS raises, too
            self.close(SinkClosed(f"cannot seal: {error}"))
            return b""

    def _transmit(self, wire: bytes | memoryview) -> int:
        """How many bytes the kernel took; 0 also when the peer is gone (then the sink is closed)."""
        try:
            sent = self._sock.send(wire)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(SinkClosed(f"the peer is gone ({error.strerror})"))
            return 0
        self._bytes_sent += sent
        self._would_block += sent < len(wire)
        return sent

    def _begin_partial(self, wire: bytes, sent: int, key: object) -> None:
        self._partial = memoryview(wire)[sent:]
        self._partial_ordered = key is None
        self._start_writer()

    def _finished(self, *, ordered: bool) -> None:
        if ordered:
            self._ordered_out += 1
            self._progress.unpark_all()

    def _start_writer(self) -> None:
        if not self._busy:
            self._busy = True
            self._writer.unpark_all()
