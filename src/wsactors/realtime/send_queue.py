"""What waits for one connection, bounded in bytes and, for audio, in age. Pure: time comes in as ``now``."""

from __future__ import annotations

from collections import deque
from typing import Final

AUDIO: Final = "audio"
"""The key of audio: it ages out instead of waiting."""
DROP_OLDEST: Final = "drop oldest"
"""The key of what may be lost: when the buffer is full, the oldest of it makes room."""
AUDIO_AGE: Final = 0.5
"""Seconds that audio may wait for its socket."""


class QueueCounts:
    """What became of messages that had to wait."""

    __slots__ = ("aged_out", "dropped", "peak", "replaced")

    def __init__(self) -> None:
        self.aged_out = self.dropped = self.peak = self.replaced = 0


class SendQueue:
    """What waits for one connection: four lanes and their size. Pure: time comes in as ``now``.

    Ordered messages and those that may be dropped keep their order among each other; of a pair of messages in different
    other lanes, either may come first.

    Args:
        limit: Most bytes that wait; but a larger message may, alone.
        age: Seconds that audio may wait.
        counts: Where to count on from.
    """

    __slots__ = ("_age", "_limit", "_serial", "audio", "counts", "droppable", "latest", "ordered", "size")

    def __init__(self, limit: int, age: float, counts: QueueCounts | None = None) -> None:
        self._limit = limit
        self._age = age
        self._serial = 0
        self.counts = QueueCounts() if counts is None else counts
        self.ordered: deque[tuple[int, bytes]] = deque()
        self.droppable: deque[tuple[int, bytes]] = deque()
        self.latest: dict[object, bytes] = {}
        self.audio: deque[tuple[float, bytes]] = deque()
        self.size = 0

    def add(self, data: bytes, key: object, now: float) -> bool:
        """Keep ``data``; False when it does not fit."""
        size = len(data)
        if key is None:
            fits = self._make_room(size)
            if fits:
                self.force(data)
            return fits
        if key == AUDIO:
            self.drop_stale(now)
            fits = self._drop_audio_for(size)
            if fits:
                self.audio.append((now, data))
        elif key == DROP_OLDEST:
            fits = self._make_room(size)
            if fits:
                self._serial += 1
                self.droppable.append((self._serial, data))
        else:
            before = self.latest.pop(key, None)
            if before is not None:
                self.size -= len(before)
                self.counts.replaced += 1
            fits = self._make_room(size)
            if fits:
                self.latest[key] = data
        if fits:
            self._grow(size)
        return fits

    def force(self, data: bytes) -> None:
        """Keep ``data`` as an ordered message, whether it fits or not."""
        self._serial += 1
        self.ordered.append((self._serial, data))
        self._grow(len(data))

    def drop_stale(self, now: float) -> None:
        """Forget the audio that has waited too long."""
        oldest = now - self._age
        while self.audio and self.audio[0][0] < oldest:
            self._drop_audio()

    def take(self, now: float) -> tuple[bytes, object, float] | None:
        """The next message, its key and a stamp for `put_back`: ordered and droppable ones first, then the newest by key,
        then audio. Of audio the stamp is when it came."""
        ordered, droppable = self.ordered, self.droppable
        stamp: float
        key: object
        if droppable and (not ordered or droppable[0][0] < ordered[0][0]):
            stamp, data = droppable.popleft()
            key = DROP_OLDEST
        elif ordered:
            stamp, data = ordered.popleft()
            key = None
        elif self.latest:
            key = next(iter(self.latest))
            stamp, data = now, self.latest.pop(key)
        else:
            self.drop_stale(now)
            if not self.audio:
                return None
            stamp, data = self.audio.popleft()
            key = AUDIO
        self.size -= len(data)
        return data, key, stamp

    def put_back(self, data: bytes, key: object, stamp: float) -> None:
        """Undo `take`: the kernel took nothing of it."""
        self.size += len(data)
        if key is None:
            self.ordered.appendleft((int(stamp), data))
        elif key == AUDIO:
            self.audio.appendleft((stamp, data))
        elif key == DROP_OLDEST:
            self.droppable.appendleft((int(stamp), data))
        else:
            self.latest[key] = data

    def keep_ordered(self) -> None:
        """Forget all but what was promised to arrive."""
        self.droppable.clear()
        self.latest.clear()
        self.audio.clear()
        self.size = sum(len(data) for _, data in self.ordered)

    def clear(self) -> None:
        """Forget everything."""
        self.ordered.clear()
        self.keep_ordered()

    def _grow(self, size: int) -> None:
        self.size += size
        self.counts.peak = max(self.counts.peak, self.size)

    def _make_room(self, size: int) -> bool:
        """Whether ``size`` more bytes fit, once what may be lost was: audio first, it is worth least."""
        if not self._drop_audio_for(size) and size <= self._limit:
            while self.droppable and self.size + size > self._limit:
                self.size -= len(self.droppable.popleft()[1])
                self.counts.dropped += 1
        return self.size + size <= self._limit or not self.size

    def _drop_audio_for(self, size: int) -> bool:
        while self.audio and self.size + size > self._limit:
            self._drop_audio()
        return self.size + size <= self._limit

    def _drop_audio(self) -> None:
        self.size -= len(self.audio.popleft()[1])
        self.counts.aged_out += 1
