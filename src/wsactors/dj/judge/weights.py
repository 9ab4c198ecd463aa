"""What counts how much, and what is close enough: the judge's settings, as one checked value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

PARTS: Final = ("beat", "phrase", "level", "harmony", "clipping", "smoothness")
"""What is scored, in the order in which it is told."""


def _weight(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) not in {int, float} or not 0.0 <= value <= 1000.0:  # type: ignore[operator]
        raise ValueError(f"the weight of {attribute.name} must be a number from 0 to 1000, got {value!r}")


def _amount(low: float, high: float) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) not in {int, float} or not low <= value <= high:  # type: ignore[operator]
            raise ValueError(f"{attribute.name} must be a number from {low:g} to {high:g}, got {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Weights:
    """Weights are relative to each other; one of 0 is not scored at all. Raises `ValueError` for impossible values."""

    beat: float = attrs.field(default=30.0, validator=_weight)
    phrase: float = attrs.field(default=15.0, validator=_weight)
    level: float = attrs.field(default=20.0, validator=_weight)
    harmony: float = attrs.field(default=10.0, validator=_weight)
    clipping: float = attrs.field(default=10.0, validator=_weight)
    smoothness: float = attrs.field(default=15.0, validator=_weight)
    half_beat_ms: float = attrs.field(default=25.0, validator=_amount(1.0, 500.0))
    """Milliseconds between the beats for which the beat-match is worth half."""
    half_level_db: float = attrs.field(default=4.0, validator=_amount(0.1, 60.0))
    """dB between the songs' levels for which the levels are worth half."""
    phrase_bars: int = attrs.field(default=8, validator=_amount(1, 64))
    """Bars of a phrase."""

    def __attrs_post_init__(self) -> None:
        if type(self.phrase_bars) is not int:
            raise ValueError(f"phrase_bars must be a whole number, got {self.phrase_bars!r}")
        if not any(self.of(part) for part in PARTS):
            raise ValueError(f"at least one of {', '.join(PARTS)} needs a weight above 0")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """The weights in a table of a configuration. Raises `ValueError` for names that do not exist, too."""
        known = [field.name for field in attrs.fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"the judge has no setting {name!r}; there are {', '.join(known)}")
        return cls(**values)

    def of(self, part: str) -> float:
        """The weight of one of `PARTS`."""
        return float(getattr(self, part))
