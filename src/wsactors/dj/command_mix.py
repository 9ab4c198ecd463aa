"""Commands to a deck's strip, to what both DJs share, and to one's own headphones."""

from __future__ import annotations

from typing import ClassVar

import attrs

from wsactors.wire.native_schema import boolean, message_field, one_of

from .command_fields import (
    BALANCE,
    BAND,
    CURVES,
    EFFECTS,
    KNOB,
    PARAMETERS,
    DeckCommand,
    MixCommand,
    PrivateCommand,
    order,
    real,
)

# -- a deck's strip ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Gain(DeckCommand):
    """How loud the song comes in."""

    KIND: ClassVar[str] = "gain"
    value: float = message_field(real(0.0, 4.0))
    """Linear; 1 leaves it as the song's loudness says."""


@attrs.frozen
class Volume(DeckCommand):
    """Move the channel's fader."""

    KIND: ClassVar[str] = "volume"
    value: float = message_field(KNOB)


@attrs.frozen
class Eq(DeckCommand):
    """Turn a knob of the equaliser."""

    KIND: ClassVar[str] = "eq"
    band: str = message_field(BAND)
    value: float = message_field(BALANCE)
    """-1 takes the band out, 0 leaves it as it is, 1 is the most there is of it."""


@attrs.frozen
class Kill(DeckCommand):
    """Whether a band is cut off, whatever its knob says."""

    KIND: ClassVar[str] = "kill"
    band: str = message_field(BAND)
    on: bool = message_field(boolean)


@attrs.frozen
class Sweep(DeckCommand):
    """Turn the filter's one knob."""

    KIND: ClassVar[str] = "sweep"
    value: float = message_field(BALANCE)
    """Below 0 it takes the highs away, above 0 the lows."""


@attrs.frozen
class Pfl(DeckCommand):
    """Whether the deck is in the headphones of whoever plays it."""

    KIND: ClassVar[str] = "pfl"
    on: bool = message_field(boolean)


# -- the mix -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class MoveCrossfader(MixCommand):
    """Move the crossfader."""

    KIND: ClassVar[str] = "crossfader"
    position: float = message_field(BALANCE)
    """-1 is deck a alone, 1 deck b alone."""


@attrs.frozen
class CrossfaderCurve(MixCommand):
    """How the crossfader crosses."""

    KIND: ClassVar[str] = "crossfader_curve"
    curve: str = message_field(one_of(*CURVES))


@attrs.frozen
class ReverseCrossfader(MixCommand):
    """Whether deck a is on the right."""

    KIND: ClassVar[str] = "reverse_crossfader"
    on: bool = message_field(boolean)


@attrs.frozen
class MasterVolume(MixCommand):
    """How loud the mix is."""

    KIND: ClassVar[str] = "master_volume"
    value: float = message_field(KNOB)


@attrs.frozen
class SwitchEffect(MixCommand):
    """Whether an effect is in the mix."""

    KIND: ClassVar[str] = "switch_effect"
    effect: str = message_field(one_of(*EFFECTS))
    on: bool = message_field(boolean)


@attrs.frozen
class TuneEffect(MixCommand):
    """Turn a knob of an effect."""

    KIND: ClassVar[str] = "tune_effect"
    effect: str = message_field(one_of(*EFFECTS))
    parameter: str = message_field(one_of(*PARAMETERS))
    value: float = message_field(KNOB)


@attrs.frozen
class OrderEffects(MixCommand):
    """Which effect comes after which."""

    KIND: ClassVar[str] = "order_effects"
    effects: tuple[str, ...] = message_field(order)


# -- headphones --------------------------------------------------------------------------------------------------------


@attrs.frozen
class CueMix(PrivateCommand):
    """What one's headphones carry: 0 the decks that are on pfl, 1 the mix."""

    KIND: ClassVar[str] = "cue_mix"
    value: float = message_field(KNOB)


@attrs.frozen
class CueVolume(PrivateCommand):
    """How loud one's headphones are."""

    KIND: ClassVar[str] = "cue_volume"
    value: float = message_field(KNOB)
