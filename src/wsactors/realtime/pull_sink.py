"""A sink that a task drains itself, for transports that push back: an HTTP response."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .send_queue import AUDIO, AUDIO_AGE, SendQueue
from .sinks import BUFFER_BYTES, SinkClosed, SinkStatistics


class PullSink:
    """A bounded sink that a task drains itself with `receive`, for transports that push back (an HTTP response).

    Args:
        limit: Most bytes that wait.
        audio_age: Seconds that audio may wait.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        limit: int = BUFFER_BYTES,
        audio_age: float = AUDIO_AGE,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._queue = SendQueue(limit, audio_age)
        self._clock = clock
        self._closed = self._finished = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._offered = self._refused = self._bytes_taken = 0
        self._oldest_audio_sent = 0.0

    def offer(self, data: bytes, key: object = None) -> bool:
        """Keep ``data`` for `receive`, as ``key`` says. Ordered bytes that do not fit close the sink."""
        self._offered += 1
        if self._closed or self._finished or not self._queue.add(data, key, self._clock()):
            self._refused += 1
            if key is None:
                self.close()
            return False
        self._arrived.unpark_all()
        return True

    async def receive(self) -> bytes:
        """The next message: ordered ones first, then audio that is not too old.

        Raises:
            SinkClosed: The sink is closed, or finished and empty.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed:
            now = self._clock()
            taken = self._queue.take(now)
            if taken is not None:
                data, key, since = taken
                self._bytes_taken += len(data)
                if key == AUDIO:
                    self._oldest_audio_sent = max(self._oldest_audio_sent, now - since)
                return data
            if self._finished:
                break
            await self._arrived.park()
        raise SinkClosed("the stream has ended")

    def finish(self) -> None:
        """Refuse from now on; `receive` still hands out what waits."""
        self._finished = True
        self._arrived.unpark_all()

    def close(self) -> None:
        """Refuse from now on and forget what waits; `receive` raises. May be called again."""
        self._closed = True
        self._queue.clear()
        self._arrived.unpark_all()

    def statistics(self) -> SinkStatistics:
        """What happened so far."""
        return SinkStatistics(
            offered=self._offered,
            sent_direct=0,
            refused=self._refused,
            aged_out=self._queue.counts.aged_out,
            replaced=self._queue.counts.replaced,
            dropped=self._queue.counts.dropped,
            would_block=0,
            bytes_sent=self._bytes_taken,
            buffered_bytes=self._queue.size,
            buffered_peak=self._queue.counts.peak,
            oldest_audio_sent=self._oldest_audio_sent,
        )
