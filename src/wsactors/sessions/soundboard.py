"""The soundboard's actor: it has clips decoded in confined processes, and mixes those that are played into one track."""

from __future__ import annotations

import math
import mmap
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
import trio

from wsactors.actors import UNHANDLED, Actor
from wsactors.dj.decode import DecodeLimits, decode_song
from wsactors.dj.song import Pcm, new_memory
from wsactors.errors import SongError
from wsactors.media.opus import SAMPLE_RATE, Encoder
from wsactors.sessions.stage_messages import AddClip, BoardSound, BoardUp, Clip, ClipReady, PlayClip
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_sound import PACKET
from wsactors.wire.native import QUIETEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_AT_ONCE: Final = 4
"""Clips that sound at a time; one more takes the place of the oldest."""
MOST_WAITING: Final = 8
"""Files that wait to be decoded."""
BITRATE: Final = 64_000
MEMORY: Final = 512 << 20
"""Bytes of address space of the decoding process."""
CPU_SECONDS: Final = 10
WALL_SECONDS: Final = 20.0
_SECONDS: Final = PACKET / SAMPLE_RATE
_LATE: Final = 0.5
"""Seconds behind the clock after which what should have sounded is left out."""


@attrs.frozen
class _Decoded:
    """To itself."""

    ready: ClipReady


@attrs.define(eq=False)
class _Playing:
    pcm: Pcm
    samples: NDArray[np.int16]
    at: int = 0


class Soundboard(Actor):
    """Casts: `AddClip`, `PlayClip`. The session gets `ClipReady` and `BoardSound`."""

    def init(self, stage: StageOptions = StageOptions()) -> None:  # noqa: B008 - frozen
        self._options = stage
        self._session = stage.part("session")
        self._waiting: deque[AddClip] = deque()
        self._decoding = False
        self._playing: list[_Playing] = []
        self._sounds = False
        self.node.cast(self._session, BoardUp())

    def handle_cast(self, message: Any) -> Any:
        match message:
            case AddClip() if len(self._waiting) >= MOST_WAITING:
                self._tell(_failed(message, "too many files wait: try again in a moment"))
            case AddClip():
                self._waiting.append(message)
                self._decode_next()
            case PlayClip(clip):
                self._play(clip)
            case _:
                return UNHANDLED
        return None

    def handle_info(self, message: Any) -> Any:
        match message:
            case _Decoded(ready):
                self._decoding = False
                self._tell(ready)
                self._decode_next()
            case _:
                return UNHANDLED
        return None

    def _tell(self, message: ClipReady | BoardSound) -> None:
        self.node.cast(self._session, message)

    # -- decoding: one at a time --

    def _decode_next(self) -> None:
        if self._waiting and not self._decoding:
            self._decoding = True
            self.start_soon(self._decode, self._waiting.popleft())

    async def _decode(self, add: AddClip) -> None:
        limits = DecodeLimits(seconds=self._options.board.seconds, memory=MEMORY, cpu=CPU_SECONDS, wall=WALL_SECONDS)
        source = new_memory("clip")
        try:
            _write(source, add.data)
            song, pcm = await decode_song(source, song=str(add.id), title=add.name, limits=limits)
        except SongError as error:
            ready = _failed(add, str(error))
        else:
            ready = ClipReady(add.id, add.by, Clip(add.id, add.name, add.by, song.frames, pcm))
        finally:
            os.close(source)
        self.node.send(self.pid, _Decoded(ready))

    # -- playing --

    def _play(self, clip: Clip) -> None:
        with mmap.mmap(clip.pcm.descriptor, clip.pcm.size, prot=mmap.PROT_READ) as mapped:
            samples = np.frombuffer(mapped.read(), np.int16).reshape(-1, 2)
        if len(self._playing) >= MOST_AT_ONCE:
            del self._playing[0]
        self._playing.append(_Playing(clip.pcm, samples))
        if not self._sounds:
            self._sounds = True
            self.start_soon(self._run)

    async def _run(self) -> None:
        """Mix and send 20 ms after the other, as long as anything is played."""
        with Encoder(2, bitrate=BITRATE) as encoder:
            number = math.ceil(trio.current_time() / _SECONDS)
            starts = True
            while self._playing:
                await trio.sleep_until(number * _SECONDS)
                late = trio.current_time() - number * _SECONDS
                if late > _LATE:
                    number, starts = number + int(late / _SECONDS), True
                block = self._mix()
                sound = BoardSound(number, encoder.encode(block), level_of(block), starts, not self._playing)
                self._tell(sound)
                number, starts = number + 1, False
            self._sounds = False

    def _mix(self) -> NDArray[np.float32]:
        block = np.zeros((PACKET, 2), np.float32)
        for playing in tuple(self._playing):
            piece = playing.samples[playing.at : playing.at + PACKET]
            block[: len(piece)] += piece.astype(np.float32) / 32_768
            playing.at += PACKET
            if playing.at >= len(playing.samples):
                self._playing.remove(playing)
        return np.clip(block, -1.0, 1.0)


def level_of(block: NDArray[np.float32]) -> int:
    """The level of a block in −dBov, as audio frames have it."""
    power = float(np.mean(np.square(block)))
    return QUIETEST if power <= 1e-12 else min(QUIETEST, max(0, round(-10 * math.log10(power))))


def _failed(add: AddClip, error: str) -> ClipReady:
    return ClipReady(add.id, add.by, None, error)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
