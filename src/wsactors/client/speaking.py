"""Speaking in a stage from samples, as a file or a device gives them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import trio

from wsactors.media.opus import SAMPLE_RATE, Application, Encoder
from wsactors.wire.native import QUIETEST

from .uplink import FRAME, VOICE_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .stage import Stage

    Sounds: TypeAlias = Iterable[NDArray[np.float32]] | AsyncIterable[NDArray[np.float32]]

BITRATE: Final = 32_000
BEHIND: Final = 0.5
"""Seconds that a source may be behind before what follows is not hurried any more."""
HANGOVER: Final = 20
"""Frames of silence that are sent: after as much the node takes it that nobody speaks."""


def level_of(sound: NDArray[np.float32]) -> int:
    """The level of ±1.0 samples in −dBov, as frames have it."""
    power = float(np.mean(np.square(sound))) if sound.size else 0.0
    return QUIETEST if power <= 1e-12 else min(QUIETEST, max(0, round(-10 * math.log10(power))))


def as_voice(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """One channel of ``sound``, which has the shape (samples,) or (samples, channels)."""
    return np.ascontiguousarray(sound if sound.ndim == 1 else sound.mean(axis=1), np.float32).reshape(-1, 1)


class Framer:
    """Sound of any lengths, cut into frames."""

    def __init__(self) -> None:
        self._rest = np.zeros((0, 1), np.float32)

    def feed(self, sound: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """The frames that are whole now."""
        whole = np.concatenate((self._rest, as_voice(sound)))
        end = len(whole) - len(whole) % FRAME
        self._rest = whole[end:]
        for at in range(0, end, FRAME):
            yield np.ascontiguousarray(whole[at : at + FRAME])

    def rest(self) -> Iterator[NDArray[np.float32]]:
        """What is left, filled up with silence."""
        if len(self._rest):
            yield np.concatenate((self._rest, np.zeros((FRAME - len(self._rest), 1), np.float32)))
            self._rest = self._rest[:0]


async def say(stage: Stage, sounds: Sounds, *, bitrate: int = BITRATE, silence: bool = False) -> int:
    """Speak ``sounds``, float32 at 48 kHz, no faster than it takes to say them; how many frames were sent.

    They may come from a file, or, asynchronously, from a device. Where it has been silent for `HANGOVER` frames nothing
    is sent, unless ``silence`` says so; who decodes hears no difference.
    """
    with Encoder(1, application=Application.VOIP, bitrate=bitrate, fec=True) as encoder:
        speaker = _Speaker(stage, encoder, silence)
        framer = Framer()
        async for sound in _each(sounds):
            for block in framer.feed(sound):
                await speaker.say(block)
        for block in framer.rest():
            await speaker.say(block)
    return speaker.sent


class _Speaker:
    def __init__(self, stage: Stage, encoder: Encoder, silence: bool) -> None:
        self._stage = stage
        self._encoder = encoder
        self._silence = silence
        self._next: float | None = None
        self._quiet = 0
        self.sent = 0

    async def say(self, block: NDArray[np.float32]) -> None:
        now = trio.current_time()
        self._next = now if self._next is None or now - self._next > BEHIND else self._next
        await trio.sleep_until(self._next)
        self._next += FRAME / SAMPLE_RATE
        level = level_of(block)
        packet = self._encoder.encode(block)
        self._quiet = 0 if level <= VOICE_LEVEL else self._quiet + 1
        if self._quiet <= HANGOVER or self._silence:
            self.sent += self._stage.speak(packet, level=level)
        else:
            self._stage.pause(FRAME)


async def _each(sounds: Sounds) -> AsyncIterator[NDArray[np.float32]]:
    if isinstance(sounds, AsyncIterable):
        async for sound in sounds:
            yield sound
    else:
        for sound in sounds:
            yield sound
