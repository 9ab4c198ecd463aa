"""Sinks: where the bytes for one connection go. Relay and forwarder call `Sink.offer` and nothing else.

A broadcast is encoded once and the same bytes are offered to every connection, so one receiver costs one
``socket.send``: `SocketSink.offer` writes to the non-blocking socket directly, and only what the kernel refuses goes to
that connection's bounded buffer, which is written out when the socket has room again. One task of the whole Trio run
waits for that (`SocketWatch`): a connection costs none, and nothing at all while nothing waits. Nothing else writes to the
socket: responses go through `SocketSink.write`, pongs and closes through `SocketSink.offer` and `SocketSink.finish`.

What becomes of a message that must wait depends on its ``key``:

* `AUDIO`: perishable. It waits at most ``audio_age`` seconds, then it is dropped: late audio is lost audio.
* ``None``: ordered, never dropped. If it does not fit, the connection is given up (`SlowReader`): a gap in an ordered
  stream cannot be mended later. A peer that reads again within `GRACE` seconds is told so, by `SocketSink.farewell`.
* `DROP_OLDEST`: the oldest of these messages make room, and those that stay keep their place among the ordered ones.
* any other key: the newest wins; a waiting message of the same key is replaced.

A message of which the kernel took a part is always finished first, whatever its age.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import trio

from .audio_socket import prepare_audio_socket
from .send_queue import AUDIO, AUDIO_AGE, QueueCounts, SendQueue
from .shortcut_socket import ShortcutSocket
from .sink import BUFFER_BYTES, STALL_TIMEOUT, Sink, SinkClosed, SinkStatistics, SlowReader
from .watch import Deadline, SocketWatch

__all__ = ["BUFFER_BYTES", "Sink", "SinkClosed", "SinkStatistics", "SlowReader", "SocketSink", "prepare_audio_socket"]

GRACE: Final = 2.0
"""Seconds in which the last words to a peer must have left."""


class SocketSink(ShortcutSocket):
    """The bounded, non-blocking way to one connected stream socket. To be made and used on a running Trio loop.

    Args:
        sock: A connected, non-blocking stream socket. The sink owns it and closes it in `close`.
        seal: Turns a message into bytes for the wire at the moment of writing (TLS); must not block. What was sealed is
            sent, so a message can age out only before that.
        limit: Most bytes that wait here at any time; each `write` in progress may add one message beyond it.
        audio_age: Seconds that audio may wait.
        stall_timeout: Seconds without progress after which a peer with ordered bytes waiting is given up.
        clock: Seconds, monotonic; for the age of audio.
    """

    __slots__ = (
        "__weakref__", "_audio_age", "_busy", "_bytes_sent", "_clock", "_closed", "_counts", "_direct", "_end",
        "_is_over", "_kept", "_limit", "_moved_at", "_oldest_audio_sent", "_ordered_in", "_ordered_out", "_partial",
        "_partial_ordered", "_progress", "_queue", "_ready", "_refused", "_seal", "_send", "_sock", "_stall",
        "_stall_timeout", "_would_block", "farewell",
    )  # fmt: skip

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
        super().__init__(sock)
        self._send = sock.send
        self._seal = seal
        self._limit = limit
        self._audio_age = audio_age
        self._stall_timeout = stall_timeout
        self._clock = clock
        self.farewell = b""
        """What a peer is told that is given up because it reads too slowly; whole, as it goes over the wire."""
        self._closed: SinkClosed | None = None
        self._is_over = False
        # Invariants: `_busy` is False only while nothing waits; then, and only then, may `offer` write to the socket.
        # `_ready` says that it may, and that nothing else is to be done: the sink is open and seals nothing.
        self._busy = False
        self._ready = seal is None
        self._queue: SendQueue | None = None
        self._counts: QueueCounts | None = None
        self._partial: memoryview | None = None
        self._partial_ordered = False
        self._ordered_in = self._ordered_out = 0
        self._progress: trio.lowlevel.ParkingLot | None = None
        self._stall: Deadline | None = None
        self._end: Deadline | None = None
        self._moved_at = 0.0
        self._direct = self._kept = self._refused = self._would_block = self._bytes_sent = 0
        self._oldest_audio_sent = 0.0

    def __repr__(self) -> str:
        state = "open" if self._closed is None else type(self._closed).__name__
        return f"<SocketSink {state} fd={self._sock.fileno()} waiting={self._waiting_bytes}>"

    @property
    def closed(self) -> SinkClosed | None:
        """Why the sink takes no more; None while it is open."""
        return self._closed

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._busy

    @property
    def is_over(self) -> bool:
        """Whether the socket is closed."""
        return self._is_over

    def offer(self, data: bytes, key: object = None) -> bool:
        """Send ``data`` now if the kernel takes it, else keep it as ``key`` says. Never raises, never waits."""
        if self._ready:  # the whole way of nearly every message: one call of the kernel
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._lost(error)
                self._refused += 1
                return False
            self._bytes_sent += sent
            if sent == len(data):
                self._direct += 1
                return True
            self._would_block += 1
            taken = self._keep_rest(data, sent, data, key, force=False)
        else:
            taken = self._closed is None and (self._keep(data, key) if self._busy else self._send_now(data, key))
        if not taken:
            self._refused += 1
        return taken

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        """See `wsactors.cluster.Shortcut`."""
        self._bytes_sent += sent
        self._would_block += 1
        self._keep_rest(data, sent, data, key, force=False)

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
            await self._park()
        self._check_open()

    async def wait_closed(self) -> None:
        """Wait until the sink takes no more."""
        await trio.lowlevel.checkpoint()
        while self._closed is None:
            await self._park()

    async def wait_sent(self) -> None:
        """Wait until the kernel has all that was to be sent, or the socket is closed."""
        await trio.lowlevel.checkpoint()
        while self._busy and not self._is_over:
            await self._park()

    def finish(self, farewell: bytes, reason: SinkClosed | None = None, *, grace: float | None = None) -> None:
        """Take no more. Send what waits in order, or of a `SlowReader` only the rest of a message that has begun; then
        ``farewell``. `close` after ``grace`` seconds (default `GRACE`), unless somebody who reads the answer does it earlier.

        Who waits for something to read is woken by `trio.ClosedResourceError`, and may read on.
        """
        if self._closed is not None:
            return
        self._closed = reason or SinkClosed("the connection is closing")
        self._turn(ready=False)
        if self._queue is not None:
            if isinstance(self._closed, SlowReader):
                self._queue.clear()
            else:
                self._queue.keep_ordered()
        if self._busy:
            self._keep(farewell, None, force=True)
        else:
            self._send_now(farewell, None, force=True)
        if not self._is_over:
            self._end = SocketWatch.current().at(trio.current_time() + (GRACE if grace is None else grace), self.close)
            trio.lowlevel.notify_closing(self._sock.fileno())
            self._wake()

    def close(self, reason: SinkClosed | None = None) -> None:
        """Close the socket at once and forget what waits; every `write` in progress ends. May be called again."""
        if self._is_over:
            return
        self._is_over = True
        self._ready = False  # and a closed socket refuses by itself
        self._closed = self._closed or reason or SinkClosed("the connection is closed")
        self._queue = self._partial = None
        for deadline in (self._stall, self._end):
            if deadline is not None:
                deadline.cancel()
        descriptor = self._sock.fileno()
        if descriptor >= 0:
            if self._would_block:
                SocketWatch.current().forget(descriptor)
            trio.lowlevel.notify_closing(descriptor)
        self._sock.close()
        self._wake()

    def statistics(self) -> SinkStatistics:
        """What happened so far."""
        counts = self._counts or QueueCounts()
        return SinkStatistics(
            offered=self._direct + self._kept + self._refused,
            sent_direct=self._direct,
            refused=self._refused,
            aged_out=counts.aged_out,
            dropped=counts.dropped,
            replaced=counts.replaced,
            would_block=self._would_block,
            bytes_sent=self._bytes_sent,
            buffered_bytes=self._waiting_bytes,
            buffered_peak=counts.peak,
            oldest_audio_sent=self._oldest_audio_sent,
        )

    @property
    def _waiting_bytes(self) -> int:
        return (self._queue.size if self._queue is not None else 0) + len(self._partial or b"")

    def _check_open(self) -> None:
        if self._closed is not None:
            raise type(self._closed)(*self._closed.args)

    async def _park(self) -> None:
        if self._progress is None:
            self._progress = trio.lowlevel.ParkingLot()
        await self._progress.park()

    def _wake(self) -> None:
        if self._progress is not None:
            self._progress.unpark_all()

    def _send_now(self, data: bytes, key: object, *, force: bool = False) -> bool:
        """Nothing waits: give ``data`` to the kernel, and keep what it refuses. False when that is not possible."""
        wire = data if self._seal is None else self._sealed(data)
        sent = self._transmit(wire)
        if self._is_over:
            return False
        if sent == len(wire):
            self._direct += 1
            return True
        return self._keep_rest(wire, sent, data, key, force=force)

    def _keep_rest(self, wire: bytes, sent: int, data: bytes, key: object, *, force: bool) -> bool:
        """The kernel took only ``sent`` bytes of ``wire``, which carries ``data``."""
        if not sent and self._seal is None:
            return self._keep(data, key, force=force)
        self._kept += 1
        if key is None:
            self._ordered_in += 1
        self._begin_partial(wire, sent, key)
        return True

    def _keep(self, data: bytes, key: object, *, force: bool = False) -> bool:
        queue = self._queue
        if queue is None:
            self._counts = self._counts or QueueCounts()
            queue = self._queue = SendQueue(self._limit, self._audio_age, self._counts)
        if force:
            queue.force(data)
        elif not queue.add(data, key, self._clock()):
            if key is None:
                self._overflow()
            return False
        self._kept += 1
        if key is None:
            self._ordered_in += 1
        self._wait_for_room()
        return True

    def _overflow(self) -> None:
        slow = SlowReader(f"more than {self._limit} bytes wait for a peer that does not read")
        if self.farewell:
            self.finish(self.farewell, slow)
        else:
            self.close(slow)

    def _flush(self) -> None:
        """The kernel takes bytes again: write until it refuses or nothing waits."""
        now = self._clock()
        before = self._bytes_sent
        while not self._is_over:
            if self._partial is not None:
                rest = self._partial[self._transmit(self._partial) :]
                if rest or self._is_over:
                    self._partial = rest
                    break
                self._partial = None
                self._finished(ordered=self._partial_ordered)
            taken = self._queue.take(now) if self._queue is not None else None
            if taken is None:
                return self._rest()
            if not self._write_out(*taken, now):
                break
        if not self._is_over:
            if self._bytes_sent > before:
                self._moved_at = trio.current_time()
            SocketWatch.current().when_writable(self._sock.fileno(), self._flush)
        return None

    def _write_out(self, data: bytes, key: object, stamp: float, now: float) -> bool:
        """Write one message that has waited; whether the kernel took it all."""
        wire = data if self._seal is None else self._sealed(data)
        sent = self._transmit(wire)
        if self._is_over:
            return False
        if not sent and self._seal is None:
            assert self._queue is not None
            self._queue.put_back(data, key, stamp)
            return False
        if key == AUDIO:
            self._oldest_audio_sent = max(self._oldest_audio_sent, now - stamp)
        if sent < len(wire):
            self._begin_partial(wire, sent, key)
            return False
        self._finished(ordered=key is None)
        return True

    def _rest(self) -> None:
        """Nothing waits any more: keep nothing of what waiting needs."""
        self._busy = False
        self._turn(ready=self._seal is None and self._closed is None)
        self._queue = None
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _sealed(self, data: bytes) -> bytes:
        try:
            return self._seal(data) if self._seal is not None else data
        except OSError as error:  # what TLS raises, too
            self.close(SinkClosed(f"cannot seal: {error}"))
            return b""

    def _transmit(self, wire: bytes | memoryview) -> int:
        """How many bytes the kernel took; 0 also when the peer is gone (then the sink is closed)."""
        try:
            sent = self._send(wire)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(error)
            return 0
        self._bytes_sent += sent
        self._would_block += sent < len(wire)
        return sent

    def _lost(self, error: OSError) -> None:
        self.close(SinkClosed(f"the peer is gone ({error.strerror})"))

    def _begin_partial(self, wire: bytes, sent: int, key: object) -> None:
        self._partial = memoryview(wire)[sent:]
        self._partial_ordered = key is None
        self._wait_for_room()

    def _finished(self, *, ordered: bool) -> None:
        if ordered:
            self._ordered_out += 1
            self._wake()

    def _wait_for_room(self) -> None:
        if not self._busy:
            self._busy = True
            self._turn(ready=False)
            watch = SocketWatch.current()
            watch.when_writable(self._sock.fileno(), self._flush)
            self._moved_at = trio.current_time()
            self._stall = watch.at(self._moved_at + self._stall_timeout, self._check_progress)

    def _check_progress(self) -> None:
        """Called again and again while something waits: give up a peer that has taken nothing for too long."""
        now = trio.current_time()
        until = self._moved_at + self._stall_timeout
        if self._ordered_in == self._ordered_out:
            until = now + self._stall_timeout
        elif until <= now:
            return self.close(SlowReader(f"the peer read nothing for {self._stall_timeout:g} s"))
        self._stall = SocketWatch.current().at(until, self._check_progress)
        return None
