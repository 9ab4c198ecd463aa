"""How payloads of the ``/battle`` protocol are described: frozen classes whose fields are camelCase on the wire.

A field has a check, as in `wsactors.wire.native_schema`; a payload with a field too many, one too few, or one of another kind
is a `ProtocolError` that names it. Fields with the default None are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .errors import ProtocolError
from .native_schema import Check, one_of, refuse, text
from .plain import Plain

LARGEST: Final = 1e15
"""Largest number: milliseconds of thirty thousand years, frames of six hundred."""

identity = text(128, empty=False)
words = text(1_024)
deck = one_of("A", "B")


def number(low: float = -LARGEST, high: float = LARGEST) -> Check:
    """A finite number from ``low`` to ``high``, as it is: JavaScript knows one kind."""

    def check(value: Any, path: str) -> Any:
        if type(value) not in {int, float} or not low <= value <= high:
            raise refuse(path, f"a number from {low:g} to {high:g}")
        return value

    return check


def numbers(limit: int, low: float = -LARGEST, high: float = LARGEST, *, exactly: bool = False) -> Check:
    """A list of at most (or ``exactly``) ``limit`` numbers."""
    return listing(number(low, high), limit, exactly=exactly)


def listing(item: Check, limit: int, *, exactly: bool = False) -> Check:
    """A list of at most (or ``exactly``) ``limit``, each of which ``item`` takes."""

    def check(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > limit or (exactly and len(value) < limit):
            raise refuse(path, f"a list of {'' if exactly else 'at most '}{limit}")
        return tuple(item(each, f"{path}[{index}]") for index, each in enumerate(value))

    return check


def record(cls: type[Any]) -> Check:
    """A class of fields inside another; on the wire a map."""

    def check(value: Any, path: str) -> Any:
        return value if isinstance(value, cls) else from_payload(cls, value, path)

    return check


def both(item: Check) -> Check:
    """A map with a value for deck A and one for deck B."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or set(value) != {"A", "B"}:
            raise refuse(path, "a map of A and B")
        return {name: item(value[name], f"{path}.{name}") for name in ("A", "B")}

    return check


def table(limit: int) -> Check:
    """A map of at most ``limit`` names to numbers."""
    value_check = number()

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > limit:
            raise refuse(path, f"a map of at most {limit} numbers")
        return {identity(name, path): value_check(each, f"{path}.{name}") for name, each in value.items()}

    return check


def camel(name: str) -> str:
    """The name on the wire.

    >>> camel("is_playing")
    'isPlaying'
    """
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _names(cls: type[Any]) -> Mapping[str, attrs.Attribute[Any]]:
    known = _known.get(cls)
    if known is None:
        known = _known[cls] = {camel(field.name): field for field in attrs.fields(cls)}
    return known


_known: Final[dict[type[Any], Mapping[str, attrs.Attribute[Any]]]] = {}


def to_payload(message: Any, path: str) -> dict[str, Plain]:
    """The map of a message, checked. Raises `ProtocolError`; here the caller is at fault."""
    payload = {}
    for name, field in _names(type(message)).items():
        value = getattr(message, field.name)
        if value is not None or field.default is not None:
            payload[name] = _plain(field.metadata["check"](value, f"{path}.{name}"), f"{path}.{name}")
    return payload


def _plain(value: Any, path: str) -> Plain:
    if isinstance(value, tuple):
        return [_plain(each, path) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each, path) for name, each in value.items()}
    plain: Plain = to_payload(value, path) if attrs.has(type(value)) else value
    return plain


def from_payload(cls: type[Any], payload: Any, path: str) -> Any:
    """The message in a map. Raises `ProtocolError`, nothing else, whatever it is."""
    if not isinstance(payload, dict):
        raise refuse(path, "a map")
    names = _names(cls)
    if not payload.keys() <= names.keys():
        raise ProtocolError(f"{path}: unknown field; it has {', '.join(names)}")
    values = {}
    for name, field in names.items():
        if payload.get(name) is not None or (name in payload and field.default is not None):
            values[field.name] = field.metadata["check"](payload[name], f"{path}.{name}")
        elif field.default is attrs.NOTHING:
            raise ProtocolError(f"{path}.{name}: missing")
    return cls(**values)
