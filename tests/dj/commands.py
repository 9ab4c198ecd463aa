"""What a DJ may say, for tests: every kind of command, with values that it may have."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from wsactors.dj import command as dj


def _real(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "deck": st.sampled_from(dj.DECKS),
    "song": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    "number": st.integers(1, 8),
    "pressed": st.booleans(),
    "on": st.booleans(),
    "position": _real(0, 1),
    "beats": _real(1 / 32, 1),
    "seconds": _real(0.05, 8),
    "percent": st.sampled_from(dj.PITCH_PERCENTS),
    "speed": _real(-4, 4),
    "amount": _real(-1, 1),
    "by": st.sampled_from(dj.GRID_FACTORS),
    "value": _real(0, 1),
    "band": st.sampled_from(dj.BANDS),
    "curve": st.sampled_from(dj.CURVES),
    "effect": st.sampled_from(dj.EFFECTS),
    "parameter": st.sampled_from(dj.PARAMETERS),
    "effects": st.permutations(dj.EFFECTS).map(tuple),
}
_OF_KIND: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "scratch": {"speed": st.none() | _real(-4, 4)},
    "pitch": {"value": _real(-1, 1)},
    "crossfader": {"position": _real(-1, 1)},
    "seek": {"position": _real(0, 2**40)},
}


def _commands_of(kind: str) -> st.SearchStrategy[Any]:
    cls = dj.COMMANDS[kind]
    values = _VALUES | _OF_KIND.get(kind, {})
    return st.builds(cls, **{field.name: values[field.name] for field in attrs.fields(cls)})


commands: st.SearchStrategy[dj.Command] = st.one_of([_commands_of(kind) for kind in dj.COMMANDS])
