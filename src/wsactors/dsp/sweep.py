"""The filter with one knob: to the left it takes the highs away, to the right the lows, in the middle it is not there.

24 dB per octave with a little resonance. While the knob is turned, the sound goes over from one filter to the next in
`GLIDE` frames; a filter that comes in has heard the last 85 ms before anybody hears it.
"""

from __future__ import annotations

import math

import numpy as np

from wsactors.dsp.biquad import SAMPLE_RATE, Chain, Past, Section, highpass, lowpass
from wsactors.dsp.curves import cutoff
from wsactors.dsp.glide import Crossfade, Sound, blend
from wsactors.dsp.interpolation import Block

_PAST = 4_096
_QUALITIES = (0.54, 1.6)
_FORGETS = 16.0


def sections(position: float) -> tuple[Section, ...]:
    """The filter for a knob at −1 to 1; none in the middle."""
    if position == 0.0:
        return ()
    design = lowpass if position < 0.0 else highpass
    return tuple(design(cutoff(position), quality) for quality in _QUALITIES)


class _Filter:
    """One position of the knob. Two recursions, not one: at 20 Hz a fourth order would lose too many digits."""

    __slots__ = ("_chains",)

    def __init__(self, position: float, past: Past) -> None:
        self._chains = [Chain([section]) for section in sections(position)]
        if self._chains:
            forgets = _FORGETS * _QUALITIES[-1] / (math.pi * cutoff(position)) * SAMPLE_RATE
            self.process(past.last(math.ceil(forgets)))

    def process(self, block: Block) -> Sound:
        out: Sound = block
        for chain in self._chains:
            out = chain.process(out)
        return out


class Sweep:
    """The filter for a stereo stream."""

    __slots__ = ("_fade", "_filters", "_past")

    def __init__(self) -> None:
        self._fade: Crossfade[float] = Crossfade(0.0)
        self._filters: dict[float, _Filter] = {}
        self._past = Past(_PAST)

    def process(self, block: Block, position: float) -> Block:
        """The next frames, shape (frames, 2), with the knob on its way to `position`, −1 to 1."""
        self._fade.aim(position)
        if position == 0.0 and self._fade.settled:
            self._filters = {}
            self._past.push(block)
            return block
        out: Block = np.empty_like(block)
        for stretch in self._fade.take(len(block)):
            piece = block[stretch.begin : stretch.end]
            heard = {stretch.old, stretch.new}
            self._filters = {p: self._filters.get(p) or _Filter(p, self._past) for p in sorted(heard)}
            sound = self._filters[stretch.old].process(piece)
            if stretch.share is not None:
                sound = blend(sound, self._filters[stretch.new].process(piece), stretch.share)
            out[stretch.begin : stretch.end] = sound
            self._past.push(piece)
        return out
