"""What was heard, as files: written while it is heard, so that an hour needs no more memory than a second."""

from __future__ import annotations

import wave
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from wsactors.media.opus import Encoder
from wsactors.wire.ogg import OggOpusStream

if TYPE_CHECKING:
    from wsactors.media.opus import Pcm

RATE: Final = 48_000
_FRAME: Final = 960
_HEADER_PAGES: Final = 2
_SERIAL: Final = 1


class SoundFile(ABC):
    """A file that sound is appended to; a ``with`` block finishes it."""

    @abstractmethod
    def write(self, sound: Pcm) -> None:
        """Append float32 of shape (samples, channels), ±1. Raises `OSError`."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file. May be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WavFile(SoundFile):
    """16-bit PCM at 48 kHz."""

    def __init__(self, path: Path, *, channels: int = 2) -> None:
        self._file = wave.open(str(path), "wb")  # noqa: SIM115 - closed by `close`
        self._file.setnchannels(channels)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE)

    def write(self, sound: Pcm) -> None:
        """See `SoundFile.write`."""
        self._file.writeframesraw((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())

    def close(self) -> None:
        """See `SoundFile.close`."""
        self._file.close()


class OggFile(SoundFile):
    """Ogg Opus, encoded as it comes.

    Args:
        bitrate: Bits per second.
    """

    def __init__(self, path: Path, *, channels: int = 2, bitrate: int = 128_000) -> None:
        self._encoder = Encoder(channels, bitrate=bitrate)
        self._stream = OggOpusStream(serial=_SERIAL, channels=channels, pre_skip=self._encoder.lookahead)
        self._file = path.open("wb")
        self._file.write(self._stream.headers())
        self._rest: Pcm = np.empty((0, channels), np.float32)
        self._frames = 0

    def write(self, sound: Pcm) -> None:
        """See `SoundFile.write`."""
        self._rest = np.concatenate((self._rest, sound))
        while len(self._rest) >= _FRAME:
            self._add(self._rest[:_FRAME], _FRAME)
            self._rest = self._rest[_FRAME:]

    def close(self) -> None:
        """See `SoundFile.close`."""
        if self._file.closed:
            return
        # What was put in comes out later by the encoder's look-ahead (RFC 7845 §4.2): the end is there, or some silence.
        samples = min(_FRAME, len(self._rest) + self._encoder.lookahead)
        whole = np.concatenate((self._rest, np.zeros((_FRAME - len(self._rest), self._rest.shape[1]), np.float32)))
        self._add(whole, samples, last=True)
        self._file.close()
        self._encoder.close()

    def _add(self, sound: Pcm, samples: int, *, last: bool = False) -> None:
        packet = self._encoder.encode(np.ascontiguousarray(sound))
        granule = self._frames * _FRAME + samples
        sequence = self._frames + _HEADER_PAGES
        self._file.write(self._stream.page([packet], sequence=sequence, granule=granule, last=last))
        self._frames += 1
