"""A deck's truth as plain values, for the render process and for recordings. Pure, closed, strict."""

from __future__ import annotations

from typing import Any, cast

import attrs

from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import HOTCUES, MAX_LEGS, DeckState, Leg

_FIELDS = tuple(field.name for field in attrs.fields(DeckState))


def deck_to_wire(deck: DeckState) -> list[object]:
    """A list of plain values that `deck_from_wire` turns back into an equal truth."""
    values: dict[str, object] = {name: getattr(deck, name) for name in _FIELDS}
    values["grid"] = None if deck.grid is None else deck.grid.to_wire()
    values["legs"] = [[leg.frames, leg.begin, leg.end] for leg in deck.legs]
    values["hotcues"] = list(deck.hotcues)
    return list(values.values())


def deck_from_wire(value: object) -> DeckState:
    """The truth in a list made by `deck_to_wire`. Raises `ValueError` for anything else, whatever it is."""
    if not isinstance(value, list | tuple) or len(value) != len(_FIELDS):
        raise ValueError(f"a deck is a list of {len(_FIELDS)} values")
    fields: dict[str, Any] = dict(zip(_FIELDS, value, strict=True))
    if fields["grid"] is not None:
        fields["grid"] = Beatgrid.from_wire(fields["grid"])
    fields["legs"] = tuple(_leg(each) for each in _few(fields["legs"], MAX_LEGS))
    fields["hotcues"] = tuple(_few(fields["hotcues"], HOTCUES))
    return DeckState(**fields)


def _leg(value: object) -> Leg:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("a leg is a list of frames, begin and end")
    return Leg(*cast("list[Any]", value))


def _few(value: object, most: int) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"expected a list of at most {most} values")
    return list(value)
