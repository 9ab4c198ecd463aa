"""What a knob or a fader means: from where it stands to factors for amplitudes. Without numpy, for those who command."""

from __future__ import annotations

import math

SHARP = 0.1
"""The part of the crossfader's way, at the far end, in which a sharp curve takes a side away."""
BOOST = 6.0
"""dB that a band of the equaliser gains with its knob turned up all the way."""
_STEPS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0, 3 / 2, 2.0, 3.0, 4.0)


def db_to_gain(decibels: float) -> float:
    """A factor for an amplitude: ``db_to_gain(-6.02)`` is 0.5."""
    return float(10.0 ** (decibels / 20.0))


def equal_power(position: float) -> tuple[float, float]:
    """Gains of the left and the right strip for a crossfader at −1 (left alone) to +1 (right alone).

    The squares always add up to 1, so two unrelated songs keep their loudness in the middle (0.707 each).
    Values outside are taken as the nearest end, where the other gain is exactly 0.
    """
    if position <= -1.0:
        return 1.0, 0.0
    if position >= 1.0:
        return 0.0, 1.0
    angle = (position + 1.0) * (math.pi / 4)
    return math.cos(angle), math.sin(angle)


def equal_sum(position: float) -> tuple[float, float]:
    """The same, but the gains add up to 1: for two copies of one song, which would get louder at equal power."""
    right = min(1.0, max(0.0, (position + 1.0) / 2))
    return 1.0 - right, right


def sharp(position: float) -> tuple[float, float]:
    """The same, but a side stays whole until the fader is in the last tenth of the way towards the other: to cut."""
    place = min(1.0, max(-1.0, position))
    return min(1.0, (1.0 - place) / (2 * SHARP)), min(1.0, (1.0 + place) / (2 * SHARP))


def fader(position: float) -> float:
    """The gain of a volume fader at 0 to 1: half-way up is −12 dB, all the way up exactly 1, all the way down exactly 0."""
    return position * position


def band(knob: float) -> float:
    """The gain of a knob of the equaliser: −1 is exactly 0, −0.5 is −12 dB, 0 exactly 1, and 1 is +6 dB."""
    return (1.0 + knob) ** 2 if knob <= 0.0 else db_to_gain(BOOST * knob)


def beats(knob: float) -> float:
    """The musical length for a knob at 0 to 1: a sixteenth of a beat to four beats, in steps; 0.5 is three quarters."""
    return _STEPS[min(len(_STEPS) - 1, int(knob * len(_STEPS)))]


def cutoff(sweep: float) -> float:
    """Hz at which the one-knob filter cuts: below 0 of what is above (20 kHz down to 60 Hz), above 0 of what is below
    (20 Hz up to 8 kHz). Even steps of the knob are even musical intervals.
    """
    if sweep < 0.0:
        return float(20_000.0 * (60.0 / 20_000.0) ** -sweep)
    return float(20.0 * (8_000.0 / 20.0) ** sweep)
