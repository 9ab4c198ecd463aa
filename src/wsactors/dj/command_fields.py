"""What commands are made of: the closed sets of words, the checks of their fields, who a command is about."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from wsactors.wire.native_schema import Check, integer, message_field, one_of, refuse, tuple_of

DECKS: Final = ("a", "b")
BANDS: Final = ("low", "mid", "high")
CURVES: Final = ("smooth", "linear", "sharp")
"""How the crossfader crosses: at equal power, at equal sum, or as a switch near each end."""
EFFECTS: Final = ("echo", "reverb", "flanger", "filter", "crush")
PARAMETERS: Final = ("wet", "time", "feedback", "depth", "tone")
"""Knobs of effects; each effect has some of them."""
GRID_FACTORS: Final = ("double", "halve", "three_halves", "two_thirds")
PITCH_PERCENTS: Final = (8, 16, 50)
MAX_SONG_ID: Final = 128
"""Longest id of a song, in characters."""
MAX_SOURCE_FRAME: Final = float(1 << 40)


def real(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``, as a float; an integer will do, True is none."""

    def check(value: Any, path: str) -> float:
        if type(value) not in {int, float} or not low <= value <= high:
            raise refuse(path, f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def percent(value: Any, path: str) -> int:
    """A range of the pitch fader."""
    if type(value) is not int or value not in PITCH_PERCENTS:
        raise refuse(path, f"one of {', '.join(map(str, PITCH_PERCENTS))}")
    return value


def order(value: Any, path: str) -> tuple[str, ...]:
    """All effects, in some order."""
    names: tuple[str, ...] = tuple_of(one_of(*EFFECTS), len(EFFECTS))(value, path)
    if sorted(names) != sorted(EFFECTS):
        raise refuse(path, f"each of {', '.join(EFFECTS)}, once")
    return names


KNOB = real(0.0, 1.0)
BALANCE = real(-1.0, 1.0)
SPEED = real(-4.0, 4.0)
BEATS = real(1 / 32, 32.0)
NUMBER = integer(1, 8)
BAND = one_of(*BANDS)


@attrs.frozen
class DeckCommand:
    """What is said to one deck."""

    KIND: ClassVar[str]
    deck: str = message_field(one_of(*DECKS))
    """``"a"`` or ``"b"``."""


@attrs.frozen
class MixCommand:
    """What is said to what both DJs share: the crossfader, the effects, the master."""

    KIND: ClassVar[str]


@attrs.frozen
class PrivateCommand:
    """What is said to one's own headphones."""

    KIND: ClassVar[str]
