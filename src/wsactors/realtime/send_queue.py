"""What waits for one connection, bounded in bytes and, for audio, in age. Pure: time comes in as ``now``."""

from __future__ import annotations

from collections import deque
from typing import Final

AUDIO: Final = "audio"
"""The key of audio: it ages out instead of waiting."""
AUDIO_AGE: Final = 0.5
"""Seconds that audio may wait for its socket."""


class SendQueue:
    """What waits for one connection: three lanes and their size. Pure: time comes in as ``now``."""

    __slots__ = ("_age", "_limit", "aged_out", "audio", "latest", "ordered", "peak", "replaced", "size")

    def __init__(self, limit: int, age: float) -> None:
        self._limit = limit
        self._age = age
        self.ordered: deque[bytes] = deque()
        self.latest: dict[object, bytes] = {}
        self.audio: deque[tuple[float, bytes]] = deque()
        self.size = self.peak = self.aged_out = self.replaced = 0

    def add(self, data: bytes, key: object, now: float) -> bool:
        """Keep ``data``; False when it does not fit."""
        if key == AUDIO:
            self.drop_stale(now)
            fits = self._make_room(len(data))
            if fits:
                self.audio.append((now, data))
        elif key is None:
            fits = self._make_room(len(data))
            if fits:
                self.ordered.append(data)
        else:
            before = self.latest.pop(key, None)
            if before is not None:
                self.size -= len(before)
                self.replaced += 1
            fits = self._make_room(len(data))
            if fits:
                self.latest[key] = data
        if fits:
            self.grow(len(data))
        return fits

    def grow(self, size: int) -> None:
        self.size += size
        self.peak = max(self.peak, self.size)

    def drop_stale(self, now: float) -> None:
        """Forget the audio that has waited too long."""
        oldest = now - self._age
        while self.audio and self.audio[0][0] < oldest:
            self._drop_audio()

    def take(self, now: float) -> tuple[bytes, object, float] | None:
        """The next message, its key and when it came: ordered ones first, then the newest by key, then audio."""
        if self.ordered:
            data, key, since = self.ordered.popleft(), None, now
        elif self.latest:
            key = next(iter(self.latest))
            data, since = self.latest.pop(key), now
        else:
            self.drop_stale(now)
            if not self.audio:
                return None
            since, data = self.audio.popleft()
            key = AUDIO
        self.size -= len(data)
        return data, key, since

    def put_back(self, data: bytes, key: object, since: float) -> None:
        """Undo `take`: the kernel took nothing of it."""
        self.size += len(data)
        if key is None:
            self.ordered.appendleft(data)
        elif key == AUDIO:
            self.audio.appendleft((since, data))
        else:
            self.latest[key] = data

    def clear(self) -> None:
        self.ordered.clear()
        self.latest.clear()
        self.audio.clear()
        self.size = 0

    def _make_room(self, size: int) -> bool:
        while self.audio and self.size + size > self._limit:
            self._drop_audio()
        return self.size + size <= self._limit

    def _drop_audio(self) -> None:
        self.size -= len(self.audio.popleft()[1])
        self.aged_out += 1
