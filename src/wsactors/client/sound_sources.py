"""Sound to speak: from a WAV file, or raw from a device behind a pipe."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import trio

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE: Final = 48_000
_BLOCK: Final = 960
_SAMPLE_BYTES: Final = 2


def read_wav(path: Path) -> Iterator[NDArray[np.float32]]:
    """The sound of a 16-bit WAV file at 48 kHz, 20 ms at a time, shape (samples, channels).

    Raises:
        ValueError: It is none.
        OSError: It cannot be read.
    """
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 - closed below
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is no WAV file: {error}") from None
    with file:
        if file.getframerate() != RATE or file.getsampwidth() != _SAMPLE_BYTES:
            raise ValueError(f"{path}: expected 16 bits at {RATE} Hz; convert it: ffmpeg -i FILE -ar 48000 OUT.wav")
        while data := file.readframes(_BLOCK):
            yield _samples(data).reshape(-1, file.getnchannels())


async def read_raw(file: BinaryIO) -> AsyncIterator[NDArray[np.float32]]:
    """Mono 16-bit little-endian samples at 48 kHz as they come, such as from
    ``arecord -q -t raw -f S16_LE -r 48000 -c 1``. Waits in a thread; a cancelled wait ends with the next samples.
    """
    left = b""
    while data := await trio.to_thread.run_sync(file.read, _BLOCK * _SAMPLE_BYTES, abandon_on_cancel=True):
        data = left + data
        whole = len(data) - len(data) % _SAMPLE_BYTES
        left = data[whole:]
        yield _samples(data[:whole])


def _samples(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
