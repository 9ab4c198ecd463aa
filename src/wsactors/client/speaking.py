"""Speaking in a stage from samples, as a file or a device gives them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
import trio

from wsactors.media.opus import SAMPLE_RATE, Application, Encoder
from wsactors.wire.native import QUIETEST

from .uplink import FRAME, VOICE_LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .stage import Stage

BITRATE: Final = 32_000
HANGOVER: Final = 20
"""Frames of silence that are sent: after as much the node takes it that nobody speaks."""


def level_of(sound: NDArray[np.float32]) -> int:
    """The level of ±1.0 samples in −dBov, as frames have it."""
    power = float(np.mean(np.square(sound))) if sound.size else 0.0
    return QUIETEST if power <= 1e-12 else min(QUIETEST, max(0, round(-10 * math.log10(power))))


def as_voice(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """One channel of ``sound``, which has the shape (samples,) or (samples, channels)."""
    return np.ascontiguousarray(sound if sound.ndim == 1 else sound.mean(axis=1), np.float32).reshape(-1, 1)


def frames_of(sounds: Iterable[NDArray[np.float32]]) -> Iterable[NDArray[np.float32]]:
    """Sound of any lengths, cut into frames; the last one is filled up with silence."""
    rest = np.zeros((0, 1), np.float32)
    for sound in sounds:
        rest = np.concatenate((rest, as_voice(sound)))
        while len(rest) >= FRAME:
            yield np.ascontiguousarray(rest[:FRAME])
            rest = rest[FRAME:]
    if len(rest):
        yield np.concatenate((rest, np.zeros((FRAME - len(rest), 1), np.float32)))


async def say(
    stage: Stage, sounds: Iterable[NDArray[np.float32]], *, bitrate: int = BITRATE, silence: bool = False
) -> int:
    """Speak ``sounds``, float32 at 48 kHz, at the pace of the clock; how many frames were sent.

    ``sounds`` may come from a file, or block by block from a device that does not wait for its samples. Where it has
    been silent for `HANGOVER` frames nothing is sent, unless ``silence`` says so; who decodes hears no difference.
    """
    sent = quiet = 0
    with Encoder(1, application=Application.VOIP, bitrate=bitrate, fec=True) as encoder:
        begun = trio.current_time()
        for number, block in enumerate(frames_of(sounds)):
            await trio.sleep_until(begun + number * FRAME / SAMPLE_RATE)
            level = level_of(block)
            packet = encoder.encode(block)
            quiet = 0 if level <= VOICE_LEVEL else quiet + 1
            if quiet <= HANGOVER or silence:
                sent += stage.speak(packet, level=level)
            else:
                stage.pause(FRAME)
    return sent
