"""A flanger: the sound beside itself a few milliseconds ago, the distance swinging in time with the music.

The comb that feedback would make is cut off after its third tooth and read directly, so that it costs the same at any
delay and cannot run away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.biquad import Past
from wsactors.dsp.effects import Setting
from wsactors.dsp.glide import Crossfade, Gains, Glide, Sound, Stretch, blend
from wsactors.dsp.interpolation import Block

PERIODS = 8
"""Musical lengths in one swing."""
MIN_PERIOD = 4_800
"""Frames of the fastest swing: 0.1 s."""
SHORTEST = 36.0
"""Frames of delay at the near end of the swing."""
WIDEST = 300.0
"""Frames of delay from the near to the far end, at full depth."""
_TEETH = 3
_TEETH_AGO = -np.arange(1.0, _TEETH + 1)
_REACH = _TEETH * int(SHORTEST + WIDEST) + 4
_LEVEL = 0.7


class Flanger:
    """`frames` × 8 is the period of the swing, `depth` its width, `feedback` how sharp the comb is.

    Period and width are faded from the old to the new: if the delay itself glided there, that would be heard as a zip.
    """

    __slots__ = ("_on", "_past", "_sharp", "_swings", "_wet")

    def __init__(self) -> None:
        self._on, self._wet, self._sharp = Glide(0.0), Glide(0.0), Glide(0.0)
        self._swings: Crossfade[tuple[int, float]] = Crossfade((MIN_PERIOD, 0.0))
        self._past = Past(_REACH)

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away."""
        return self._on.settled and self._on.target == 0.0

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames. Where the swing is follows from the frame's number alone."""
        swing = (max(MIN_PERIOD, setting.frames * PERIODS), setting.depth)
        if self.asleep:
            if not setting.on:
                self._past.push(block)
                return block
            self._wet, self._sharp = Glide(setting.wet), Glide(setting.feedback)
            self._swings.jump(swing)
        self._wet.aim(setting.wet)
        self._sharp.aim(setting.feedback)
        self._on.aim(1.0 if setting.on else 0.0)
        self._swings.aim(swing)
        heard = np.concatenate((self._past.last(_REACH), block))
        self._past.push(block)
        out: Block = np.empty_like(block)
        for stretch in self._swings.take(len(block)):
            begin, end = stretch.begin, stretch.end
            out[begin:end] = self._comb(heard[begin : end + _REACH], frame + begin, stretch)
        return out

    def _comb(self, heard: Block, frame: int, stretch: Stretch[tuple[int, float]]) -> Block:
        frames = len(heard) - _REACH
        sharp = self._sharp.factor(frames)
        amount = self._wet.factor(frames) * self._on.factor(frames) * _LEVEL
        comb: Sound = _read(heard, _swing(frame, frames, *stretch.old), sharp)
        if stretch.share is not None:
            comb = blend(comb, _read(heard, _swing(frame, frames, *stretch.new), sharp), stretch.share)
        out: Block = (heard[_REACH:] + comb * amount).astype(np.float32)
        return out


def _swing(frame: int, frames: int, period: int, depth: float) -> Gains:
    """Delays beyond the shortest one: to and fro once in a period, slowing down at both ends."""
    place = ((frame % period + np.arange(frames)) % period) / period
    climb = 1.0 - np.abs(2.0 * place - 1.0)
    out: Gains = (depth * WIDEST * climb * climb * (3.0 - 2.0 * climb))[:, None]
    return out


def _read(heard: Block, swing: Gains, sharp: Gains) -> NDArray[np.float64]:
    """The comb's teeth: the sound one, two and three delays ago, each quieter than the one before by `sharp`.

    Between the frames it is read with cubic Hermite polynomials. A stereo frame is handled as one complex number: half as
    many things to fetch.
    """
    places = np.arange(_REACH, _REACH + len(swing))[:, None] + (SHORTEST + swing) * _TEETH_AGO
    index = places.astype(np.intp)
    f = places - index
    g = 1.0 - f
    stereo = heard.view(np.complex64)[:, 0]
    teeth = stereo.take(index) * (g * (1.0 + f - 1.5 * f * f))
    teeth += stereo.take(index + 1) * (f * (1.0 + g - 1.5 * g * g))
    outer = -0.5 * f * g
    teeth += stereo.take(index - 1) * (outer * g)
    teeth += stereo.take(index + 2) * (outer * (1.0 - g))
    comb = (teeth[:, 2:] * sharp + teeth[:, 1:2]) * sharp + teeth[:, :1]
    out: NDArray[np.float64] = comb.view(np.float64)
    return out
