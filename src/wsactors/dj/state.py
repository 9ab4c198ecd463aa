"""The truth about a battle: frozen values from which the sound at any timeline frame follows.

Two decks (`wsactors.dj.deck`), where the mixer's knobs and faders stand (`wsactors.dj.strip`), and a crossfader that may
be on its way. A render process that was killed is rebuilt from this alone and goes on at the right place, and a change
is a new value, never an edit.
"""

from __future__ import annotations

import math
from typing import Self

import attrs

from wsactors.dj.deck import MAX_FRAME, MAX_GAIN, DeckState, between, number
from wsactors.dj.deck_wire import deck_from_wire, deck_to_wire
from wsactors.dj.strip import Crossing, Master, Phones, Strip
from wsactors.dj.timeline import SAMPLE_RATE

__all__ = ["MAX_GAIN", "BattleState", "Crossfader", "DeckState", "from_wire", "to_wire"]


@attrs.frozen
class Crossfader:
    """A fader that stays at `position`, glides there, or swings by itself between the ends.

    Where it is at any timeline frame is arithmetic, as for a deck. Gliding, it leaves `start` at frame `origin` and
    reaches `position` `length` frames later. With a `period` it swings: left alone at `origin`, right alone half a
    period later, resting at each end for a while.
    """

    position: float = attrs.field(default=0.0, validator=between(-1.0, 1.0))
    """−1 is deck a alone, +1 deck b alone. Meaningless while it swings."""
    period: int = attrs.field(default=0, validator=between(0, 24 * 3600 * SAMPLE_RATE))
    origin: int = attrs.field(default=0, validator=between(-float(MAX_FRAME), float(MAX_FRAME)))
    start: float = attrs.field(default=0.0, validator=between(-1.0, 1.0))
    length: int = attrs.field(default=0, validator=between(0, 24 * 3600 * SAMPLE_RATE))

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
            self, position=number("position", position, -1.0, 1.0), period=0, origin=frame, start=self.at(frame),
            length=frames,
        )  # fmt: skip


@attrs.frozen
class BattleState:
    """Everything the render process has to know to make this battle's sound from any frame on."""

    a: DeckState = attrs.field(factory=DeckState)
    b: DeckState = attrs.field(factory=DeckState)
    crossfader: Crossfader = attrs.field(factory=Crossfader)
    master: float = attrs.field(default=1.0, validator=between(0.0, MAX_GAIN))
    """A gain in front of the master's effects."""
    strip_a: Strip = attrs.field(factory=Strip)
    strip_b: Strip = attrs.field(factory=Strip)
    crossing: Crossing = attrs.field(factory=Crossing)
    """How the crossfader crosses."""
    bus: Master = attrs.field(factory=Master)
    """Effects and volume of the whole mix."""
    phones_a: Phones = attrs.field(factory=Phones)
    phones_b: Phones = attrs.field(factory=Phones)
    """The headphones of deck a's DJ and of deck b's."""

    def songs(self) -> frozenset[str]:
        """The ids of the songs that are needed."""
        return frozenset(deck.song for deck in (self.a, self.b) if deck.song is not None)


def to_wire(state: BattleState) -> list[object]:
    """A list of plain values that `from_wire` turns back into an equal state."""
    return [
        deck_to_wire(state.a),
        deck_to_wire(state.b),
        list(attrs.astuple(state.crossfader)),
        state.master,
        state.strip_a.to_wire(),
        state.strip_b.to_wire(),
        state.crossing.to_wire(),
        state.bus.to_wire(),
        state.phones_a.to_wire(),
        state.phones_b.to_wire(),
    ]


def from_wire(value: object) -> BattleState:
    """The state in a list made by `to_wire`. Raises `ValueError` for anything else, whatever it is."""
    if not isinstance(value, list | tuple) or len(value) != len(attrs.fields(BattleState)):
        raise ValueError(f"a battle state is a list of {len(attrs.fields(BattleState))} values")
    a, b, crossfader, master, strip_a, strip_b, crossing, bus, phones_a, phones_b = value
    return BattleState(
        deck_from_wire(a),
        deck_from_wire(b),
        _crossfader(crossfader),
        number("master", master, 0.0, MAX_GAIN),
        Strip.from_wire(strip_a),
        Strip.from_wire(strip_b),
        Crossing.from_wire(crossing),
        Master.from_wire(bus),
        Phones.from_wire(phones_a),
        Phones.from_wire(phones_b),
    )


def _crossfader(value: object) -> Crossfader:
    if not isinstance(value, list | tuple) or len(value) != len(attrs.fields(Crossfader)):
        raise ValueError("a crossfader is a list of position, period, origin, start and length")
    position, period, origin, start, length = value
    if any(type(each) is not int for each in (period, origin, length)):
        raise ValueError("a crossfader needs period: int, origin: int, length: int")
    return Crossfader(
        number("position", position, -1.0, 1.0), period, origin, number("start", start, -1.0, 1.0), length
    )
