"""The truth about a battle: frozen values from which the sound at any timeline frame follows.

A deck's truth is an anchor (this source position, at this timeline frame) and a rate. Where it plays at any other frame
is arithmetic, so a render process that was killed is rebuilt from the truth alone and goes on at the right place, and
a change is a new value, never an edit. Positions are source frames as float64; nothing is accumulated, nothing drifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self, cast

import attrs

from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.dsp.bounds import MAX_RATE

MAX_GAIN = 4.0
"""Largest linear gain of a deck or the master: +12 dB."""
_MAX_POSITION = float(1 << 40)


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")
    return float(value)


def _between(low: float, high: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        _number(attribute.name, value, low, high)

    return check


@attrs.frozen
class DeckState:
    """What one deck plays. Make new ones with the verbs below; each takes the timeline frame at which it happens."""

    song: str | None = None
    """The id of the loaded song; None is an empty deck."""
    frames: int = attrs.field(default=0, validator=_between(0, _MAX_POSITION))
    """How long the loaded song is, in source frames."""
    playing: bool = False
    position: float = attrs.field(default=0.0, validator=_between(-_MAX_POSITION, _MAX_POSITION))
    """The source frame that is at the head at timeline frame `frame`."""
    frame: int = attrs.field(default=0, validator=_between(-_MAX_POSITION * 1024, _MAX_POSITION * 1024))
    """The timeline frame of the anchor."""
    rate: float = attrs.field(default=1.0, validator=_between(-MAX_RATE, MAX_RATE))
    """Source frames per timeline frame; 1.0 is the recorded speed."""
    gain: float = attrs.field(default=1.0, validator=_between(0.0, MAX_GAIN))
    loop: bool = False
    """Whether the whole song repeats without a seam."""

    def position_at(self, frame: int) -> float:
        """The source frame at the head at timeline frame `frame`, not folded by the loop (see `heard_at`)."""
        return self.position + (frame - self.frame) * self.rate if self.playing else self.position

    def heard_at(self, frame: int) -> float:
        """The source frame heard at timeline frame `frame`: `position_at`, folded into the song when it loops."""
        position = self.position_at(frame)
        return position % self.frames if self.loop and self.frames and position >= self.frames else position

    def ends_at(self) -> int | None:
        """The timeline frame at which the song runs out; None if it never does (paused, looping, backwards, empty)."""
        if self.song is None or not self.playing or self.loop or self.rate <= 0:
            return None
        return self.frame + max(0, math.ceil((self.frames - self.position) / self.rate))

    def load(self, frame: int, song: str | None, frames: int, *, loop: bool = False) -> Self:
        """Put a song of `frames` source frames on the deck, at its start and paused; rate and gain stay."""
        return attrs.evolve(
            self, song=song, frames=frames, playing=False, position=0.0, frame=frame, loop=loop and song is not None
        )

    def play(self, frame: int) -> Self:
        """Start, or go on, at `frame`."""
        return self._anchored(frame, playing=self.song is not None)

    def pause(self, frame: int) -> Self:
        """Stop at `frame`, keeping the place."""
        return self._anchored(frame, playing=False)

    def seek(self, frame: int, position: float) -> Self:
        """Jump to source frame `position`; raises `ValueError` outside the song."""
        return attrs.evolve(self, frame=frame, position=_number("position", position, 0.0, float(self.frames)))

    def with_rate(self, frame: int, rate: float) -> Self:
        """Change the speed from `frame` on, without a jump; raises `ValueError` beyond ±4."""
        return self._anchored(frame, rate=rate)

    def with_gain(self, gain: float) -> Self:
        """Change the gain (linear, 0 to 4)."""
        return attrs.evolve(self, gain=gain)

    def _anchored(self, frame: int, **changes: Any) -> Self:
        return attrs.evolve(self, position=self.heard_at(frame), frame=frame, **changes)


@attrs.frozen
class Crossfader:
    """A fader that stays at `position`, glides there, or swings by itself between the ends.

    Where it is at any timeline frame is arithmetic, as for a deck. Gliding, it leaves `start` at frame `origin` and
    reaches `position` `length` frames later. With a `period` it swings: left alone at `origin`, right alone half a
    period later, resting at each end for a while.
    """

    position: float = attrs.field(default=0.0, validator=_between(-1.0, 1.0))
    """−1 is deck a alone, +1 deck b alone. Meaningless while it swings."""
    period: int = attrs.field(default=0, validator=_between(0, 24 * 3600 * SAMPLE_RATE))
    origin: int = attrs.field(default=0, validator=_between(-_MAX_POSITION * 1024, _MAX_POSITION * 1024))
    start: float = attrs.field(default=0.0, validator=_between(-1.0, 1.0))
    length: int = attrs.field(default=0, validator=_between(0, 24 * 3600 * SAMPLE_RATE))

    def at(self, frame: int) -> float:
        """The fader's place at timeline frame `frame`, −1 to +1."""
        if self.period:
            phase = ((frame - self.origin) % self.period) / self.period
            # A cosine stretched beyond the ends and cut there: more than half of the time is spent resting.
            return min(1.0, max(-1.0, -math.cos(2 * math.pi * phase) * 1.6))
        if frame >= self.origin + self.length:
            return self.position
        done = (frame - self.origin) / self.length if frame > self.origin else 0.0
        return self.start + (self.position - self.start) * done

    def moved(self, frame: int, position: float, frames: int = 0) -> Self:
        """This fader, sent to `position` at `frame`, taking `frames` frames to get there from wherever it is then."""
        return attrs.evolve(
            self, position=_number("position", position, -1.0, 1.0), period=0, origin=frame, start=self.at(frame),
            length=frames,
        )  # fmt: skip


@attrs.frozen
class BattleState:
    """Everything the render process has to know to make this battle's sound from any frame on."""

    a: DeckState = attrs.field(factory=DeckState)
    b: DeckState = attrs.field(factory=DeckState)
    crossfader: Crossfader = attrs.field(factory=Crossfader)
    master: float = attrs.field(default=1.0, validator=_between(0.0, MAX_GAIN))

    def songs(self) -> frozenset[str]:
        """The ids of the songs that are needed."""
        return frozenset(deck.song for deck in (self.a, self.b) if deck.song is not None)


def to_wire(state: BattleState) -> list[object]:
    """A list of plain values that `from_wire` turns back into an equal state."""
    return [
        list(attrs.astuple(state.a)),
        list(attrs.astuple(state.b)),
        list(attrs.astuple(state.crossfader)),
        state.master,
    ]


def from_wire(value: object) -> BattleState:
    """The state in a list made by `to_wire`. Raises `ValueError` for anything else, whatever it is."""
    try:
        a, b, crossfader, master = cast("list[list[object]]", value)
        return BattleState(_deck(a), _deck(b), _crossfader(crossfader), cast("float", master))
    except TypeError as error:
        raise ValueError(f"not a battle state: {error}") from None


def _deck(value: list[object]) -> DeckState:
    song, frames, playing, position, frame, rate, gain, loop = value
    if not (song is None or isinstance(song, str)) or type(playing) is not bool or type(loop) is not bool:
        raise ValueError("a deck needs song: str or None, playing: bool, loop: bool")
    if type(frames) is not int or type(frame) is not int:
        raise ValueError("a deck needs frames: int, frame: int")
    return DeckState(song, frames, playing, _float(position), frame, _float(rate), _float(gain), loop)


def _crossfader(value: list[object]) -> Crossfader:
    position, period, origin, start, length = value
    if any(type(each) is not int for each in (period, origin, length)):
        raise ValueError("a crossfader needs period: int, origin: int, length: int")
    return Crossfader(_float(position), cast("int", period), cast("int", origin), _float(start), cast("int", length))


def _float(value: object) -> float:
    if type(value) not in {int, float}:
        raise ValueError(f"expected a number, got {type(value).__name__}")
    return cast("float", value)
