"""Turns received audio frames into sound, and sound into a WAV file."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wsactors.media.opus import Decoder
from wsactors.wire.native import FLAG_DISCONTINUITY, AudioFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CONCEALED = 50
"""Frames in a row that are concealed; a longer gap is left out of the recording."""


class Recorder:
    """Decodes the frames of one track in the order they come; what is missing is concealed.

    Raises `wsactors.errors.OpusUnavailable` without libopus.

    Example:
        >>> recorder = Recorder(channels=2)                      # doctest: +SKIP
        >>> async for frame in listening: recorder.add(frame)
        >>> recorder.write_wav(Path("heard.wav"))
    """

    def __init__(self, *, channels: int = 2, rate: int = 48_000) -> None:
        self._decoder = Decoder(channels)
        self._channels = channels
        self._rate = rate
        self._next: int | None = None
        self._pieces: list[NDArray[np.float32]] = []
        self.lost = 0

    def add(self, frame: AudioFrame) -> NDArray[np.float32]:
        """Decode ``frame`` and what was lost before it; returns the sound of both, shape (samples, channels)."""
        missing = 0 if self._next is None else (frame.sequence - self._next) & 0xFFFFFFFF
        if missing > 2**31:  # older than what was heard: too late
            return np.empty((0, self._channels), np.float32)
        if frame.flags & FLAG_DISCONTINUITY:
            self._decoder.reset()
            missing = 0
        copy = next((each.payload for each in frame.copies if each.distance == 1 <= missing), None)
        has_copy = copy is not None
        self.lost += missing - has_copy
        pieces = [self._decoder.decode(None) for _ in range(min(missing - has_copy, MAX_CONCEALED))]
        if copy is not None:
            pieces.append(self._decoder.decode(copy))
        pieces.append(self._decoder.decode(frame.payload))
        self._next = (frame.sequence + 1) & 0xFFFFFFFF
        self._pieces += pieces
        return np.concatenate(pieces)

    @property
    def sound(self) -> NDArray[np.float32]:
        """Everything heard so far, shape (samples, channels), full scale ±1."""
        return np.concatenate(self._pieces) if self._pieces else np.empty((0, self._channels), np.float32)

    def write_wav(self, path: Path) -> None:
        """Write what was heard as 16-bit PCM."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(self._channels)
            file.setsampwidth(struct.calcsize("<h"))
            file.setframerate(self._rate)
            file.writeframes((np.clip(self.sound, -1, 1) * 32_767).astype("<i2").tobytes())
