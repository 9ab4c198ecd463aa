"""Checks the ``args`` of a supervisor file against the annotated signature of ``init``, before anything starts.

A file can give text, numbers, true and false, lists and tables; from them come whatever cattrs can build: the same plain
types, ``Path``, enums, ``Literal`` words, unions, lists, tuples, sets, mappings, attrs classes and dataclasses. Nothing is
guessed: ``"3"`` is no number, ``1`` is not true, and an unknown key of a table is an error. Messages name types and keys,
never a value: an argument may be a secret.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from wsactors.supervision.spec import did_you_mean

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["MisfitError", "bind_arguments", "converter", "kind_of"]

_WORDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "text (a path)",
    type(None): "nothing",
    dt.datetime: "a date and time",
    dt.date: "a date",
    dt.time: "a time",
}
_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
    (dt.datetime, "a date and time"),
    (dt.date, "a date"),
    (dt.time, "a time"),
)


class MisfitError(ValueError):
    """A value of the file does not fit its type; ``faults`` are pairs of a key path, relative to the value, and a text."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in self.faults))


def kind_of(value: object) -> str:
    """What a value read from TOML is, in words."""
    return next((word for kind, word in _KINDS if isinstance(value, kind)), type(value).__name__)


def bind_arguments(cls: type[Any], given: Mapping[str, Any], structure: Converter | None) -> dict[str, Any]:
    """``given`` turned into keyword arguments of ``cls.init``. ``structure`` may be None if nothing is given.

    Raises:
        MisfitError: a name that ``init`` has not, one that it needs and did not get, or a value of the wrong type; all of them.
    """
    signature = inspect.signature(cls.init)
    parameters = list(signature.parameters.values())[1:]  # without self
    named = {p.name: p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}}
    catch_all = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
    where = f"{cls.__qualname__}.init"
    faults: list[tuple[str, str]] = []
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given:
            faults.append((f".{name}", f"missing; {where} needs it{_typed(parameter)}"))
    faults += [
        ("", f"{where} takes {p.name!r} by position only, which a file cannot give")
        for p in parameters
        if p.kind is p.POSITIONAL_ONLY and p.default is p.empty
    ]
    hints = _hints(cls) if given else {}
    bound: dict[str, Any] = {}
    for name, value in given.items():
        target = named.get(name, catch_all)
        if target is None:
            expected = ", ".join(named) or "no arguments"
            faults.append((f".{name}", f"unknown argument of {where}; it takes {expected}.{did_you_mean(name, named)}"))
        elif target.name not in hints:
            faults.append(
                (f".{name}", f"{where} does not annotate {target.name!r}, so no file can set it; annotate it")
            )
        elif structure is not None:
            try:
                bound[name] = structure.structure(value, hints[target.name])
            except Exception as error:
                faults += [(f".{name}{path}", text) for path, text in explain(error, hints[target.name])]
    if faults:
        raise MisfitError(faults)
    return bound


def _typed(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    return f" ({parameter.annotation if isinstance(parameter.annotation, str) else _word(parameter.annotation)})"


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.init)
    except Exception as error:
        text = f"the annotations of {cls.__qualname__}.init cannot be evaluated: {type(error).__name__}: {error}"
        raise MisfitError([("", text)]) from error


def explain(error: BaseException, kind: Any) -> Iterator[tuple[str, str]]:
    """Key path and text of everything that went wrong while building a ``kind``."""
    from cattrs.errors import (
        AttributeValidationNote,
        BaseValidationError,
        ForbiddenExtraKeysError,
        StructureHandlerNotFoundError,
    )

    if isinstance(error, MisfitError):
        yield from error.faults
    elif isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            notes = getattr(inner, "__notes__", ())
            note = next((note for note in notes if isinstance(note, AttributeValidationNote)), None)
            path = f".{note.name}" if note else ""
            for rest, text in explain(inner, note.type if note else kind):
                yield path + rest, text
    elif isinstance(error, ForbiddenExtraKeysError):
        known = _field_names(error.cl)
        for key in sorted(error.extra_fields):
            yield f".{key}", f"unknown key; expected {', '.join(known)}.{did_you_mean(key, known)}"
    elif isinstance(error, KeyError):
        yield "", f"missing; expected {_word(kind)}"
    elif isinstance(error, StructureHandlerNotFoundError):
        yield "", f"is a {_word(kind)}, which a file cannot give"
    else:
        yield "", f"{type(error).__name__}: {error}"


def _field_names(kind: Any) -> list[str]:
    if attrs.has(kind):
        return [field.alias or field.name for field in attrs.fields(kind) if field.init]
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _word(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(kind))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_word(arm) for arm in typing.get_args(kind))
    return str(getattr(kind, "__name__", kind)) if origin is None else str(kind).replace("typing.", "")


def _wrong(value: object, kind: Any) -> MisfitError:
    return MisfitError([("", f"expected {_word(kind)}, got {kind_of(value)}")])


# --- the converter -----------------------------------------------------------------------------------------------------


def converter(extra: Mapping[Any, Callable[[Any, Any], Any]]) -> Converter:
    """A strict cattrs converter; ``extra`` are structure hooks for types that only the caller can build.

    Raises:
        ImportError: cattrs is not installed.
    """
    try:
        from cattrs import Converter
    except ImportError as error:
        raise ImportError("args in a supervisor file need cattrs: pip install 'wsactors[cli]'") from error
    made = Converter(forbid_extra_keys=True, detailed_validation=True)
    plain: tuple[Any, ...] = (bool, str, int, type(None), dt.datetime, dt.date, dt.time)
    for kind in plain:
        made.register_structure_hook(kind, _exactly)
    made.register_structure_hook(float, lambda value, kind: float(_exactly(value, kind)))
    made.register_structure_hook(Path, lambda value, _: Path(_exactly(value, str)))
    made.register_structure_hook_func(_is_anything, lambda value, _: value)
    made.register_structure_hook_func(_is_literal, _literal)
    made.register_structure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), _enum)
    for predicate, hook in _containers(made):
        made.register_structure_hook_func(predicate, hook)
    made.register_structure_hook_factory(_is_record, lambda kind: _record_hook(kind, made))
    for kind, hook in extra.items():
        made.register_structure_hook(kind, hook)
    return made


def _is_anything(kind: Any) -> bool:
    return kind is Any or kind is object


def _is_literal(kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    return origin is typing.Literal


def _exactly(value: Any, kind: Any) -> Any:
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise _wrong(value, kind)
    return value


def _literal(value: Any, kind: Any) -> Any:
    choices = typing.get_args(kind)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    raise MisfitError([("", f"expected {_word(kind)}.{did_you_mean(value, map(str, choices))}")])


def _enum(value: Any, kind: Any) -> Any:
    choices = {str(member.value): member for member in kind}
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    raise MisfitError([("", f"expected one of {', '.join(choices)}.{did_you_mean(value, choices)}")])


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def _record_hook(kind: Any, made: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn

    build = make_dict_structure_fn(
        kind, made, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, _cattrs_use_alias=True
    )

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise MisfitError([("", f"expected a table ({kind.__name__}), got {kind_of(value)}")])
        return build(value, kind)

    return structure


def _containers(made: Converter) -> Iterator[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]]:
    """Lists, tables and unions, checked for their shape first: left to itself, cattrs makes a list of a text's letters."""

    def series(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise MisfitError([("", f"expected a list, got {kind_of(value)}")])
        origin = typing.get_origin(kind) or kind
        arms = typing.get_args(kind) or (Any, ...)
        if origin is tuple and arms[-1] is not Ellipsis:
            if len(value) != len(arms):
                raise MisfitError([("", f"expected a list of {len(arms)}, got {len(value)}")])
        else:
            arms = (arms[0],) * len(value)
        built = _all_of(made, [(f"[{i}]", item, arm) for i, (item, arm) in enumerate(zip(value, arms, strict=True))])
        return _MAKERS[origin](built)

    def mapping(value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise MisfitError([("", f"expected a table, got {kind_of(value)}")])
        key_kind, value_kind = typing.get_args(kind) or (str, Any)
        keys = _all_of(made, [(f".{key}", key, key_kind) for key in value])
        values = _all_of(made, [(f".{key}", item, value_kind) for key, item in value.items()])
        return dict(zip(keys, values, strict=True))

    def union(value: Any, kind: Any) -> Any:
        misfits = []
        for arm in typing.get_args(kind):
            try:
                return made.structure(value, arm)
            except Exception as error:
                misfits.append(list(explain(error, arm)))
        # Where only one alternative could have been meant (a table, a list), its own complaint helps more than all of them.
        deep = [found for found in misfits if any(path for path, _ in found)]
        raise MisfitError(deep[0]) if len(deep) == 1 else _wrong(value, kind)

    yield lambda kind: (typing.get_origin(kind) or kind) in _MAKERS, series
    yield lambda kind: (typing.get_origin(kind) or kind) in _MAPPINGS, mapping
    yield lambda kind: typing.get_origin(kind) in {typing.Union, types.UnionType}, union


def _all_of(made: Converter, items: Iterable[tuple[str, Any, Any]]) -> list[Any]:
    """Build every (path, value, type); all misfits are reported together."""
    results: list[Any] = []
    faults: list[tuple[str, str]] = []
    for path, value, kind in items:
        try:
            results.append(made.structure(value, kind))
        except Exception as error:
            faults += [(path + rest, text) for rest, text in explain(error, kind)]
    if faults:
        raise MisfitError(faults)
    return results


_MAKERS: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Iterable: tuple,
    collections.abc.Collection: tuple,
    collections.abc.Set: frozenset,
    collections.abc.MutableSequence: list,
}
_MAPPINGS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})
