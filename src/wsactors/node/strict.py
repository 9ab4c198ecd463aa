"""Turns parsed TOML into attrs classes without guessing: cattrs, closed and strict, with findings a person can act on.

cattrs alone would read ``"80"`` as 80, ``"no"`` as true and a text as a list of letters; the hooks here take a value
only if it already is what the class says.
"""

from __future__ import annotations

import difflib
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from wsactors.node.secret import Secret
from wsactors.node.settings import BadSetting

__all__ = ["Mismatch", "keys_of", "kind_of", "kinds", "listed", "structure", "unknown_key", "without_none"]

T = TypeVar("T")
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
    Secret: "text in quotes",
}


class Mismatch(Exception):
    """A document does not fit a class; ``findings`` are (dotted key, what was expected and found)."""

    def __init__(self, findings: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message in findings))
        self.findings = findings


def structure(document: Mapping[str, Any], kind: type[T], base: Path) -> T:
    """Make a ``kind`` out of ``document``; relative paths in it start at ``base``.

    Raises:
        Mismatch: naming everything that does not fit, not only the first.
    """
    try:
        return _converter(base).structure(document, kind)
    except Exception as error:
        findings = sorted(_explain(error, kind, ""))
        if not findings:
            raise
        raise Mismatch(findings) from error


def without_none(kind: Any) -> Any:
    """``X`` for ``X | None``, anything else as it is."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (plain,) = (item for item in typing.get_args(kind) if item is not types.NoneType)
        return plain
    return kind


def kinds(kind: type) -> dict[str, Any]:
    """The type of each field of an attrs class."""
    return typing.get_type_hints(kind)


def keys_of(kind: Any) -> list[str]:
    """The keys a section of this class may hold."""
    if not attrs.has(kind):
        return []
    names = []
    for field in attrs.fields(kind):
        names.append(field.name)
        if field.metadata.get("secret"):
            names.append(f"{field.name}_file")
    return names


def kind_of(kind: Any, key: str) -> Any:
    """The type of what lies under ``key`` in a ``kind``; None if there is no such key."""
    if _origin(kind) is Mapping:
        return typing.get_args(kind)[1]
    if not attrs.has(kind):
        return None
    hints = kinds(kind)
    if key in hints:
        return hints[key]
    secret = key.removesuffix("_file")
    return Path if f"{secret}_file" == key and key in keys_of(kind) else None


def _origin(kind: Any) -> Any:
    origin = typing.get_origin(kind)
    return Mapping if origin is typing.get_origin(Mapping[str, str]) else origin


def unknown_key(key: str, kind: Any) -> str:
    """Says that ``key`` is not known here, and what is."""
    known = keys_of(kind)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"unknown key {key!r}; did you mean {close[0]!r}?"
    if not known:
        return f"unknown key {key!r}; there is nothing below this setting"
    return f"unknown key {key!r}; expected one of: {', '.join(known)}"


def listed(kind: Any) -> str:
    """The keys of a section, for a sentence."""
    return ", ".join(keys_of(kind)) or "NAME, then its keys"


def _converter(base: Path) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(
        Path, lambda value, _: Path(os.path.normpath(base / Path(_exactly(value, Path)).expanduser()))
    )
    converter.register_structure_hook(Secret, lambda value, _: Secret(_exactly(value, Secret)))
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _one_of)
    converter.register_structure_hook_func(
        lambda kind: _origin(kind) is tuple, lambda value, kind: _list_of(converter, value, kind)
    )
    converter.register_structure_hook_func(
        lambda kind: without_none(kind) is not kind, lambda value, kind: _maybe(converter, value, kind)
    )
    converter.register_structure_hook_factory(attrs.has, lambda kind: _section(converter, kind))
    converter.register_structure_hook_func(
        lambda kind: _origin(kind) in {Mapping, dict},
        lambda value, kind: _named(converter, value, kind),
    )
    return converter


def _exactly(value: Any, kind: Any) -> Any:
    wanted = str if kind in {Path, Secret} else kind
    if type(value) is wanted:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ValueError(f"expected {_WORDS[kind]}, got {_found(value, secret=kind is Secret)}")


def _found(value: Any, *, secret: bool = False) -> str:
    match value:
        case Mapping():
            return "a section"
        case list():
            return "a list"
        case _ if secret:
            return type(value).__name__
        case bool():
            return "true" if value else "false"
        case _:
            return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."


def _maybe(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    plain = without_none(kind)
    # TOML has no null: an empty text is how a file says "nothing here".
    return None if value is None or (value == "" and plain is not str) else converter.structure(value, plain)


def _one_of(value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind)
    if value in allowed and type(value) in {type(item) for item in allowed}:
        return value
    close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"expected one of {', '.join(repr(item) for item in allowed)}, got {_found(value)}{hint}")


def _list_of(converter: cattrs.Converter, value: Any, kind: Any) -> tuple[Any, ...]:
    item_kind = typing.get_args(kind)[0]
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of {_WORDS.get(item_kind, 'values')}, got {_found(value)}")
    items = []
    for index, item in enumerate(value):
        try:
            items.append(converter.structure(item, item_kind))
        except ValueError as error:
            raise BadSetting(str(index), str(error)) from error
    return tuple(items)


def _section(converter: cattrs.Converter, kind: Any) -> Callable[[Any, Any], Any]:
    inner = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a section, got {_found(value)}")
        return inner(value, kind)

    return hook


def _named(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    item_kind = typing.get_args(kind)[1]
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a section with one section per name in it, got {_found(value)}")
    made: dict[str, Any] = {}
    failed: list[tuple[str, str]] = []
    for name, item in value.items():
        try:
            made[name] = converter.structure(item, item_kind)
        except Exception as error:  # gathered and raised below, all names together
            failed.extend(_explain(error, item_kind, f"{name}."))
    if failed:
        raise Mismatch(failed)
    return made


def _explain(error: BaseException, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """Walk cattrs' exception groups down to single findings with their dotted keys."""
    match error:
        case Mismatch():
            yield from ((f"{path}{key}", message) for key, message in error.findings)
        case BadSetting():
            yield f"{path}{error.key}", str(error)
        case ForbiddenExtraKeysError():
            yield from ((f"{path}{key}", unknown_key(key, error.cl)) for key in error.extra_fields)
        case ClassValidationError():
            noted, bare = error.group_exceptions()
            for inner, note in noted:
                yield from _explain(inner, note.type, f"{path}{note.name}.")
            for inner in bare:
                yield from _explain(inner, kind, path)
        case IterableValidationError():
            for inner, index_note in error.group_exceptions()[0]:
                yield from _explain(inner, index_note.type, f"{path}{index_note.index}.")
        case _:
            yield path.removesuffix("."), str(error)
