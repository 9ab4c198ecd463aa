"""A DJ's equaliser: three bands that can be taken out altogether, and that add up to the whole.

Linkwitz-Riley crossovers of the fourth order (S. Linkwitz, "Active Crossover Networks for Noncoincident Drivers", 1976):
a band falls by 24 dB per octave beyond its edge, and all bands together have the level of the input at every frequency,
with phases turned. At 0 dB in all bands the equaliser is not there: the very samples pass.
"""

from __future__ import annotations

import numpy as np

from wsactors.dsp.biquad import Chain, Past, Samples, allpass, highpass, lowpass
from wsactors.dsp.glide import Glide, blend
from wsactors.dsp.interpolation import Block

LOW = 250.0
"""Hz between the low and the mid band."""
HIGH = 2_500.0
"""Hz between the mid and the high band."""
_PAST = 960
_WHOLE = (allpass(LOW), allpass(HIGH))
_LOW = (lowpass(LOW), lowpass(LOW), allpass(HIGH))
_MID = (highpass(LOW), highpass(LOW), lowpass(HIGH), lowpass(HIGH))


class Isolator:
    """Three bands of a stereo stream. Gains are linear: 0 kills a band, exactly 1 in all three is a bypass."""

    __slots__ = ("_bands", "_chains", "_past", "_wet")

    def __init__(self) -> None:
        self._bands = [Glide(1.0), Glide(1.0), Glide(1.0)]
        self._wet = Glide(0.0)
        self._chains: tuple[Chain, Chain, Chain] | None = None
        # In 20 ms the filters have forgotten what was before: the lowest pole falls by 190 dB.
        self._past = Past(_PAST)

    def process(self, block: Block, low: float, mid: float, high: float) -> Block:
        """The next frames, shape (frames, 2), with the bands on their way to these gains."""
        for glide, gain in zip(self._bands, (low, mid, high), strict=True):
            glide.aim(gain)
        self._wet.aim(0.0 if low == mid == high == 1.0 else 1.0)
        if self._chains is None:
            if self._wet.settled and self._wet.target == 0.0:
                self._past.push(block)
                return block
            self._chains = (Chain(_WHOLE), Chain(_LOW), Chain(_MID))
            for chain in self._chains:
                chain.process(self._past.last(_PAST))
        out = self._mixed(block, self._chains)
        self._past.push(block)
        if self._wet.settled and self._wet.target == 0.0:
            self._chains = None
        return out

    def _mixed(self, block: Block, chains: tuple[Chain, Chain, Chain]) -> Block:
        frames = len(block)
        low, mid, high = (glide.factor(frames) for glide in self._bands)
        wet = self._wet.take(frames)
        whole_chain, low_chain, mid_chain = chains
        # The high band is what the others leave: high·(whole − low − mid) + low·low + mid·mid, sorted by filter.
        out: Samples = whole_chain.process(block) * high
        out += low_chain.process(block) * (low - high)
        out += mid_chain.process(block) * (mid - high)
        return (out if wet is None else blend(block, out, wet)).astype(np.float32)
