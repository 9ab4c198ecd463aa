"""What the judge sees: both decks as they are heard, thirty times a second. Without numpy."""

from __future__ import annotations

import functools
import math
from typing import Final, Literal, Self, TypeAlias

import attrs

from wsactors.dj.analysis.values import Key
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import DeckState
from wsactors.dj.strip import Strip

SILENCE: Final = -120.0
"""dB of nothing."""
Side: TypeAlias = Literal["a", "b"]
# How a song's power is spread over low, mid and high, as the equaliser divides them.
_SHARES = (0.5, 0.35, 0.15)


def decibels(gain: float) -> float:
    """A linear gain in dB, at least `SILENCE`."""
    return max(SILENCE, 20.0 * math.log10(gain)) if gain > 0.0 else SILENCE


@attrs.frozen
class SongFacts:
    """What analysis knows about a song, as far as the judge wants it."""

    key: Key | None = None
    loudness: float | None = None
    """LUFS of the whole song."""


@attrs.frozen
class DeckMoment:
    """One deck at one moment."""

    song: str | None = None
    position: float = 0.0
    """The source frame that is heard."""
    speed: float = 0.0
    """Source frames per timeline frame."""
    grid: Beatgrid | None = None
    keylock: bool = False
    gain: float = 0.0
    """Linear: everything from the song to the mix (gain, trim, fader, crossfader) but the equaliser."""
    bands: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gains of the equaliser: low, mid, high."""
    level: float = 0.0
    """dBFS of the deck's own sound, before its strip; 0 if nobody measured it. A quiet passage is not heard."""

    @classmethod
    def of(cls, deck: DeckState, strip: Strip, side_gain: float, frame: int, level: float = 0.0) -> Self:
        """What a deck's truth says about timeline frame `frame`; `side_gain` is what the crossfader gives it."""
        return cls(
            song=deck.song,
            position=deck.heard_at(frame),
            speed=deck.speed_at(frame),
            grid=deck.grid,
            keylock=deck.lock_from() is not None,
            gain=deck.gain * strip.trim * strip.fader * side_gain,
            bands=strip.bands,
            level=level,
        )

    @functools.cached_property
    def strength(self) -> float:
        """DB by which the song is louder or quieter in the mix than as it was recorded; `SILENCE` if it is not heard."""
        if self.song is None or self.speed == 0.0 or self.level <= -60.0:
            return SILENCE
        power = sum(share * band * band for share, band in zip(_SHARES, self.bands, strict=True))
        return decibels(self.gain * math.sqrt(power))

    @functools.cached_property
    def bass(self) -> float:
        """DB of the low band in the mix, beside that of the recording."""
        return decibels(self.gain * self.bands[0]) if self.strength > SILENCE else SILENCE

    @property
    def tempo(self) -> float | None:
        """Beats per timeline frame; None when it has no grid or does not go forwards."""
        return self.speed / self.grid.beat if self.grid is not None and self.speed > 0.0 else None

    @property
    def semitones(self) -> float:
        """By how much its key is higher than recorded."""
        return 0.0 if self.keylock or self.speed <= 0.0 else 12.0 * math.log2(self.speed)

    def moved(self, frames: float) -> Self:
        """The same deck so many timeline frames later (or earlier), if nobody touches it."""
        return attrs.evolve(self, position=self.position + frames * self.speed)


@attrs.frozen
class Moment:
    """Both decks at one timeline frame, and the mix."""

    frame: int
    a: DeckMoment
    b: DeckMoment
    over: float = 0.0
    """dB by which the mix was above the limiter's ceiling since the moment before; 0 if it was not."""

    def deck(self, side: Side) -> DeckMoment:
        """One of the two."""
        return self.a if side == "a" else self.b

    def mirrored(self) -> Self:
        """The same with the decks exchanged."""
        return attrs.evolve(self, a=self.b, b=self.a)
