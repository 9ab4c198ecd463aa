"""A track made audible: frames in, samples out at the pace of whoever asks for them.

The jitter buffer says what to decode, this decodes it, stretches what is to be shorter or longer, and lets sound begin
and end without a click. One `Playout` is one track at one listener; its native memory is freed with it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from wsactors.errors import OpusError
from wsactors.media.delay import RATE
from wsactors.media.jitter import JitterBuffer
from wsactors.media.opus import Decoder
from wsactors.media.steps import Do, JitterOptions, Step, Stretch
from wsactors.media.stretch import longer, shorter
from wsactors.wire.audio_frame import AudioFrame

if TYPE_CHECKING:
    from wsactors.media.opus import Pcm

_BEFORE: Final = 480
"""Samples that are remembered of what was played, so that short frames can be stretched."""
_FADE: Final = 240
"""Samples in which sound begins and ends: 5 ms."""
_LIKENESS: Final = 0.6
_LESS_DEMANDING: Final = 0.04
"""By so much less alike need two periods be after each attempt that found none: drift does not wait for ever."""


class Playout:
    """Plays one track.

    Example:
        >>> playout = Playout(channels=2)
        >>> playout.put(frame, now)                    # doctest: +SKIP
        >>> sound = playout.pull(480, now)             # float32, shape (480, 2)
    """

    def __init__(self, channels: int = 2, options: JitterOptions = JitterOptions()) -> None:  # noqa: B008 - frozen
        self.buffer = JitterBuffer(options)
        self._decoder = Decoder(channels)
        self._channels = channels
        self._ready: deque[Pcm] = deque()
        self._count = 0
        self._tries = 0
        self._is_silent = True
        self._before: Pcm | None = None

    def put(self, frame: AudioFrame, now: float) -> None:
        """A frame came."""
        self.buffer.put(frame, now)

    def pull(self, samples: int, now: float) -> Pcm:
        """The next ``samples`` of sound, the first of which is heard ``now``; float32, shape (samples, channels)."""
        while self._count < samples:
            ahead = self._count / RATE
            sound = self._render(self.buffer.take(now + ahead, ahead))
            self._ready.append(sound)
            self._count += len(sound)
        found = np.concatenate(self._ready) if len(self._ready) > 1 else self._ready[0]
        self._ready.clear()
        self._count = len(found) - samples
        if self._count:
            self._ready.append(found[samples:])
        return found[:samples]

    @property
    def waiting(self) -> int:
        """Samples that are decoded and not yet pulled."""
        return self._count

    def close(self) -> None:
        """Free the decoder. Nothing can be pulled afterwards."""
        self._decoder.close()

    def _render(self, step: Step) -> Pcm:
        if step.do is Do.SILENCE:
            return self._fall_silent(step.samples)
        if step.fresh:
            self._decoder.reset()
            self._before = None
        sound = self._stretch(self._decode(step), step.stretch)
        if self._is_silent or step.fresh:
            sound[:_FADE] *= _ramp(min(_FADE, len(sound)))
        self._is_silent = False
        self._before = sound[-_BEFORE:]
        return sound

    def _decode(self, step: Step) -> Pcm:
        try:
            if step.do is Do.DECODE:
                return self._decoder.decode(step.packet)
            if step.do is Do.FEC:
                return self._decoder.decode(step.packet, fec=True, lost=step.samples)
        except OpusError:
            self.buffer.statistics.malformed += 1
        return self._decoder.decode(None, lost=step.samples)

    def _fall_silent(self, samples: int) -> Pcm:
        silence = np.zeros((samples, self._channels), np.float32)
        self._before = None
        if not self._is_silent:
            self._is_silent = True
            tail = self._decoder.decode(None, lost=_FADE)[:samples]
            silence[: len(tail)] = tail * _ramp(len(tail))[::-1]
        return silence

    def _stretch(self, sound: Pcm, wanted: Stretch) -> Pcm:
        if wanted is Stretch.NONE:
            return sound
        likeness = max(0.0, _LIKENESS - self._tries * _LESS_DEMANDING)
        change = shorter if wanted is Stretch.SHORTER else longer
        changed = change(sound, likeness, self._before)
        difference = len(changed) - len(sound)
        self._tries = 0 if difference else self._tries + 1
        self.buffer.stretched(difference)
        return changed


def _ramp(samples: int) -> Pcm:
    ramp: Pcm = (np.arange(samples, dtype=np.float32) / np.float32(samples))[:, None]
    return ramp
