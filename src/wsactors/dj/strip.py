"""The truth about a mixer: where every knob, switch and fader stands. Frozen values, and their form on the wire.

All of them are positions, as they are printed beside the knob: 0 to 1, or −1 to 1 with 0 in the middle. What they do to
the sound is said by the properties that give gains, and by `wsactors.dsp`. Nothing here glides; `dj.mixer` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self, cast

import attrs

from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.dsp import curves

MAX_TRIM: Final = 4.0
"""Largest linear gain in front of a strip: +12 dB."""
BANDS: Final = ("low", "mid", "high")
EFFECTS: Final = ("echo", "reverb", "flanger", "filter", "crush")
"""The effects of the master, in the order that they have at first."""
CURVES: Final[dict[str, Callable[[float], tuple[float, float]]]] = {
    "smooth": curves.equal_power,
    "linear": curves.equal_sum,
    "sharp": curves.sharp,
}
"""How the crossfader crosses."""
MIN_BEAT: Final = 60.0 * SAMPLE_RATE / 999.0
MAX_BEAT: Final = 60.0 * SAMPLE_RATE / 20.0


def _real(low: float, high: float, default: float) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not float or not low <= value <= high:
            kind = type(instance).__name__.lower()
            raise ValueError(f"{kind}.{attribute.name} must be a number from {low:g} to {high:g}, got {value!r}")

    return attrs.field(default=default, validator=check, converter=_as_float)


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _flag(default: bool = False) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not bool:
            raise ValueError(f"{type(instance).__name__.lower()}.{attribute.name} must be true or false, got {value!r}")

    return attrs.field(default=default, validator=check)


def _knob(default: float) -> Any:
    return _real(0.0, 1.0, default)


def _balance() -> Any:
    return _real(-1.0, 1.0, 0.0)


def _one_of(words: Sequence[str], **arguments: Any) -> Any:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in words:
            kind = type(instance).__name__.lower()
            raise ValueError(f"{kind}.{attribute.name} must be one of {', '.join(words)}, got {value!r}")

    return attrs.field(validator=check, **arguments)


class _Wired:
    """A value whose form on the wire is the list of its fields."""

    __slots__ = ()

    def to_wire(self) -> list[object]:
        """Plain values that `from_wire` turns back into an equal value."""
        return [getattr(self, field.name) for field in attrs.fields(cast("Any", type(self)))]

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """The value in a list made by `to_wire`. Raises `ValueError` for anything else, whatever it is."""
        count = len(attrs.fields(cast("Any", cls)))
        if not isinstance(value, list | tuple) or len(value) != count:
            raise ValueError(f"a {cls.__name__.lower()} is a list of {count} values")
        return cls(*cast("list[Any]", value))


@attrs.frozen
class Strip(_Wired):
    """A channel strip, in the order of its signal: trim, equaliser, filter, (headphones), fader."""

    trim: float = _real(0.0, MAX_TRIM, 1.0)
    """A linear gain, with which songs are made equally loud."""
    low: float = _balance()
    """A band of the equaliser: −1 takes it out, 0 leaves it as it is, 1 is +6 dB. Below 250 Hz."""
    mid: float = _balance()
    """From 250 Hz to 2.5 kHz."""
    high: float = _balance()
    """Above 2.5 kHz."""
    kill_low: bool = _flag()
    """Whether the band is cut off, whatever its knob says."""
    kill_mid: bool = _flag()
    kill_high: bool = _flag()
    sweep: float = _balance()
    """The one-knob filter: below 0 it takes the highs away, above 0 the lows."""
    volume: float = _knob(1.0)
    """The fader."""
    pfl: bool = _flag()
    """Whether the strip is in the headphones of whoever plays it."""

    @property
    def bands(self) -> tuple[float, float, float]:
        """Gains of low, mid and high; 0 where a band is killed."""
        knobs = ((self.low, self.kill_low), (self.mid, self.kill_mid), (self.high, self.kill_high))
        low, mid, high = (0.0 if kill else curves.band(knob) for knob, kill in knobs)
        return low, mid, high

    @property
    def fader(self) -> float:
        """The gain of the fader."""
        return curves.fader(self.volume)

    def with_band(self, band: str, value: float) -> Self:
        """Turn a knob of the equaliser. Raises `ValueError` for anything but low, mid and high."""
        changes: dict[str, Any] = {_band(band): value}
        return attrs.evolve(self, **changes)

    def with_kill(self, band: str, on: bool) -> Self:
        """Cut a band off, or not. Raises `ValueError` for anything but low, mid and high."""
        return attrs.evolve(self, **{f"kill_{_band(band)}": on})


def _band(name: str) -> str:
    if name not in BANDS:
        raise ValueError(f"a band is one of {', '.join(BANDS)}, got {name!r}")
    return name


@attrs.frozen
class Effect(_Wired):
    """One effect of the master. Each has some of the knobs:

    ======= ===================== ================== =================== ======================
    kind    time                  feedback           depth               tone
    ======= ===================== ================== =================== ======================
    echo    delay, in beats       repeats            --                  dark (0) to bright
    reverb  how long it rings     --                 --                  dark (0) to bright
    flanger period × 8, in beats  comb's sharpness   how far it sweeps   --
    filter  --                    --                 --                  as `Strip.sweep`, 0..1
    crush   --                    --                 fewer bits          fewer samples (0) to all
    ======= ===================== ================== =================== ======================
    """

    kind: str = _one_of(EFFECTS)
    on: bool = _flag()
    wet: float = _knob(0.5)
    """0 is the sound as it came, 1 as much of the effect as there is."""
    time: float = _knob(0.5)
    feedback: float = _knob(0.5)
    depth: float = _knob(0.5)
    tone: float = _knob(0.5)

    @property
    def beats(self) -> float:
        """The musical length that `time` stands at."""
        return curves.beats(self.time)


KNOBS: Final = ("wet", "time", "feedback", "depth", "tone")
"""What `Master.tuned` may turn."""


def _check_effects(_instance: object, _attribute: object, value: object) -> None:
    effects = value if isinstance(value, tuple) else ()
    if not all(isinstance(each, Effect) for each in effects) or sorted(e.kind for e in effects) != sorted(EFFECTS):
        raise ValueError(f"a master has each of {', '.join(EFFECTS)} once, in some order")


@attrs.frozen
class Master:
    """What all strips go through: the effects, in their order, the volume, and at last a limiter that is always on."""

    effects: tuple[Effect, ...] = attrs.field(
        factory=lambda: tuple(Effect(kind) for kind in EFFECTS), validator=_check_effects
    )
    volume: float = _knob(1.0)
    beat: float = _real(MIN_BEAT, MAX_BEAT, SAMPLE_RATE / 2)
    """Timeline frames of a beat of the mix, by which effects keep time: 24,000 is 120 beats per minute."""

    @property
    def gain(self) -> float:
        """The gain of the volume knob."""
        return curves.fader(self.volume)

    def effect(self, kind: str) -> Effect:
        """The effect of that kind. Raises `ValueError` when there is none."""
        for each in self.effects:
            if each.kind == kind:
                return each
        raise ValueError(f"an effect is one of {', '.join(EFFECTS)}, got {kind!r}")

    def switched(self, kind: str, on: bool) -> Self:
        """An effect switched on or off."""
        return self._with(attrs.evolve(self.effect(kind), on=on))

    def tuned(self, kind: str, knob: str, value: float) -> Self:
        """A knob of an effect turned. Raises `ValueError` when it has no such knob, or that is beyond 0 to 1."""
        if knob not in KNOBS:
            raise ValueError(f"a knob of an effect is one of {', '.join(KNOBS)}, got {knob!r}")
        changes: dict[str, Any] = {knob: value}
        return self._with(attrs.evolve(self.effect(kind), **changes))

    def ordered(self, kinds: Sequence[str]) -> Self:
        """The effects in that order. Raises `ValueError` unless each is named once."""
        return attrs.evolve(self, effects=tuple(self.effect(kind) for kind in kinds))

    def _with(self, effect: Effect) -> Self:
        return attrs.evolve(self, effects=tuple(effect if e.kind == effect.kind else e for e in self.effects))

    def to_wire(self) -> list[object]:
        """Plain values that `from_wire` turns back into an equal master."""
        return [[each.to_wire() for each in self.effects], self.volume, self.beat]

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """The master in a list made by `to_wire`. Raises `ValueError` for anything else, whatever it is."""
        if not isinstance(value, list | tuple) or len(value) != 3 or not isinstance(value[0], list | tuple):
            raise ValueError("a master is a list of effects, volume and beat")
        if len(value[0]) != len(EFFECTS):
            raise ValueError(f"a master has {len(EFFECTS)} effects, got {len(value[0])}")
        return cls(tuple(Effect.from_wire(each) for each in value[0]), value[1], value[2])


@attrs.frozen
class Phones(_Wired):
    """One DJ's headphones."""

    mix: float = _knob(0.0)
    """0 carries the strips that are on pfl, 1 the mix."""
    volume: float = _knob(1.0)

    @property
    def gains(self) -> tuple[float, float]:
        """Gains of the strips on pfl and of the mix."""
        gain = curves.fader(self.volume)
        return (1.0 - self.mix) * gain, self.mix * gain


@attrs.frozen
class Crossing(_Wired):
    """How the crossfader's position becomes gains."""

    curve: str = _one_of(tuple(CURVES), default="smooth")
    reverse: bool = _flag()
    """Whether the first strip is on the right."""

    def gains(self, position: float) -> tuple[float, float]:
        """Gains of the first and the second strip for a fader at −1 to 1."""
        return CURVES[self.curve](-position if self.reverse else position)
