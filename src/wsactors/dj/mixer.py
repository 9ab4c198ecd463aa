"""What the mixer does to the sound: channel strips, the master with its effects, and a private bus for each DJ's headphones.

All of it takes blocks of any size, together with the truth that is in force in them (`dj.strip`), and glides to where that
truth points. The output for a block follows from the blocks before it and their truths; how the stream is cut, between
changes, makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from wsactors.dj.strip import Effect, Master, Phones, Strip
from wsactors.dsp.effects import Insert, Setting
from wsactors.dsp.effects.crush import Crush
from wsactors.dsp.effects.echo import Echo
from wsactors.dsp.effects.filter import Filter
from wsactors.dsp.effects.flanger import Flanger
from wsactors.dsp.effects.reverb import Reverb
from wsactors.dsp.eq import Isolator
from wsactors.dsp.glide import GLIDE, Gains, Glide, blend
from wsactors.dsp.interpolation import Block
from wsactors.dsp.limiter import Limiter
from wsactors.dsp.sweep import Sweep

PLUG_INS: dict[str, type[Insert]] = {
    "echo": Echo,
    "reverb": Reverb,
    "flanger": Flanger,
    "filter": Filter,
    "crush": Crush,
}
"""What makes the sound of each kind of effect."""


@attrs.frozen
class Sent:
    """What a channel strip sends on."""

    mix: Block
    """To the master."""
    pfl: Block | None
    """To the headphones; None when the strip is not on pfl."""


class Channel:
    """One channel strip: trim, equaliser, filter, pfl, fader.

    >>> channel = Channel()
    >>> sent = channel.process(deck_block, Strip(volume=0.8), side=0.7)
    """

    __slots__ = ("_eq", "_fader", "_pfl", "_sweep", "_trim")

    def __init__(self) -> None:
        self._trim, self._fader, self._pfl = Glide(1.0), Glide(1.0), Glide(0.0)
        self._eq = Isolator()
        self._sweep = Sweep()

    def process(self, block: Block, strip: Strip, side: float = 1.0) -> Sent:
        """The next frames, shape (frames, 2); `side` is what the crossfader leaves of this channel, 0 to 1."""
        self._trim.aim(strip.trim)
        self._fader.aim(strip.fader * side)
        self._pfl.aim(1.0 if strip.pfl else 0.0)
        sound = self._eq.process(_times(block, self._trim), *strip.bands)
        sound = self._sweep.process(sound, strip.sweep)
        heard = None if self._pfl.settled and not self._pfl.target else _times(sound, self._pfl)
        return Sent(_times(sound, self._fader), heard)


class _Rack:
    """The effects in their order.

    When effects that are heard change places, the whole rack is left out for a moment, because none can be in two places
    at once: 10 ms to the dry sound, 10 ms back.
    """

    __slots__ = ("_leaving", "_order", "_plug_ins", "_share")

    def __init__(self) -> None:
        self._plug_ins = {kind: plug_in() for kind, plug_in in PLUG_INS.items()}
        self._order: tuple[str, ...] = tuple(PLUG_INS)
        self._share = Glide(1.0)
        self._leaving = 0

    def process(self, block: Block, effects: tuple[Effect, ...], beat: float, frame: int) -> Block:
        order = tuple(effect.kind for effect in effects)
        settings = {effect.kind: _setting(effect, beat) for effect in effects}
        pieces: list[Block] = []
        at = 0
        while at < len(block):
            if order != self._order and not self._leaving:
                self._leave(order, settings)
            length = min(len(block) - at, self._leaving or len(block))
            pieces.append(self._through(block[at : at + length], settings, frame + at))
            at += length
            self._leaving -= min(length, self._leaving)
            if not self._leaving and not self._share.target:
                self._order = order
                self._share.aim(1.0)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _leave(self, order: tuple[str, ...], settings: dict[str, Setting]) -> None:
        heard = {kind for kind, plug_in in self._plug_ins.items() if settings[kind].on or not plug_in.asleep}
        if [kind for kind in order if kind in heard] == [kind for kind in self._order if kind in heard]:
            self._order = order
        else:
            self._share.aim(0.0)
            self._leaving = GLIDE

    def _through(self, block: Block, settings: dict[str, Setting], frame: int) -> Block:
        share = self._share.take(len(block))
        out = block
        for kind in self._order:
            out = self._plug_ins[kind].process(out, settings[kind], frame)
            if share is not None:
                # What an effect is fed with fades, too: an echo would repeat a cut.
                out = blend(block, out, share).astype(np.float32)
        return out


class MasterBus:
    """What all strips are summed into: effects, volume, and the limiter that nothing can get past.

    >>> master = MasterBus()
    >>> mixed = master.process(sum_of_strips, Master(volume=0.9), frame)
    """

    __slots__ = ("_limiter", "_rack", "_volume")

    def __init__(self) -> None:
        self._rack = _Rack()
        self._volume = Glide(1.0)
        self._limiter = Limiter()

    @property
    def delay(self) -> int:
        """Frames by which `Mixed.out` lags the input."""
        return self._limiter.delay

    @property
    def reduction(self) -> float:
        """How much the limiter is taking away: 0.5 is half the amplitude."""
        return self._limiter.reduction

    def process(self, block: Block, master: Master, frame: int) -> Mixed:
        """The next frames, shape (frames, 2), of which `frame` is the timeline's number of the first."""
        self._volume.aim(master.gain)
        mix = _times(self._rack.process(block, master.effects, master.beat, frame), self._volume)
        return Mixed(self._limiter.process(mix), mix)


@attrs.frozen
class Mixed:
    """A block of the master's output."""

    out: Block
    """At most -1 dBTP; lags by `MasterBus.delay`."""
    mix: Block
    """The same before the limiter and without the lag: what headphones are mixed from."""


class CueBus:
    """One DJ's headphones: the strips on pfl and the mix, in the proportion that this DJ wants, limited like the mix."""

    __slots__ = ("_limiter", "_mix", "_pfl")

    def __init__(self) -> None:
        self._pfl, self._mix = Glide(1.0), Glide(0.0)
        self._limiter = Limiter()

    def process(self, pfl: Sequence[Block | None], mix: Block, phones: Phones) -> Block:
        """The next frames. `pfl` are what this DJ's strips sent, `mix` what the master's limiter was given.

        The output lags by as much as the master's, so both can be changed over without a jump.
        """
        pfl_gain, mix_gain = phones.gains
        self._pfl.aim(pfl_gain)
        self._mix.aim(mix_gain)
        out: Block = _times(mix, self._mix)
        heard = [each for each in pfl if each is not None]
        share = self._pfl.factor(len(mix))
        for each in heard:
            out = (out + each * share).astype(np.float32)
        return self._limiter.process(out)


def _setting(effect: Effect, beat: float) -> Setting:
    frames = round(effect.beats * beat)
    return Setting(effect.on, effect.wet, frames, effect.time, effect.feedback, effect.depth, effect.tone)


def _times(block: Block, glide: Glide) -> Block:
    """The block, louder or quieter; the very block while the gain rests at 1."""
    gains: Gains | None = glide.take(len(block))
    if gains is not None:
        return (block * gains).astype(np.float32)
    if glide.target == 1.0:
        return block
    # Rounded as a glide's end is, so that it does not matter in which block it ended.
    return (block * glide.factor(len(block))).astype(np.float32)
