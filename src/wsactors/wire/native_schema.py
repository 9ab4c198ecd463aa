"""How the native protocol's control messages are described, checked, packed and unpacked.

A message is a frozen attrs class: `message_field` gives each field its check and the version it came with. From that one
description follow what an encoder writes and what a decoder takes, in every version. Checks are called with the value
and its path in the message, and return the value or raise a `ProtocolError` that names the path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgpack

from .errors import ProtocolError
from .plain import MAX_EXACT_INT, check_plain

MAX_CONTROL_BYTES: Final = 16 * 1024
"""Largest control message without a payload of the application, in bytes."""
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message of all, in bytes; a node is usually configured for less."""
MAX_EVENT_DEPTH: Final = 4
"""How deep the payload of a session's event may nest."""
MAX_NAME: Final = 128
"""Longest session name, in characters."""
MAX_CONTAINERS: Final = 20_000
"""Most lists and maps in one message. An empty list is one byte on the wire and sixty in memory."""

Check: TypeAlias = Callable[[Any, str], Any]


# -- field checks: (value, path) -> value, or ProtocolError ---------------------------------------------------------


def refuse(path: str, expected: str) -> ProtocolError:
    """The error for a field at ``path``."""
    return ProtocolError(f"{path}: expected {expected}")


def integer(low: int, high: int) -> Check:
    """An integer from ``low`` to ``high``; True is none."""

    def check(value: Any, path: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refuse(path, f"an integer from {low} to {high}")
        return value

    return check


def text(limit: int, *, empty: bool = True) -> Check:
    """A text of at most ``limit`` characters."""
    low = 0 if empty else 1

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or not low <= len(value) <= limit:
            raise refuse(path, f"a text of {low} to {limit} characters")
        return value

    return check


def one_of(*words: str) -> Check:
    """One of a closed set of words."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise refuse(path, f"one of {', '.join(words)}")
        return value

    return check


def boolean(value: Any, path: str) -> bool:
    """True or False, nothing like it."""
    if not isinstance(value, bool):
        raise refuse(path, "true or false")
    return value


def seconds(value: Any, path: str) -> float:
    """A duration: finite, at least 0; an integer will do."""
    if type(value) not in {int, float} or not 0 <= value <= MAX_EXACT_INT:
        raise refuse(path, "seconds, at least 0")
    return float(value)


def optional(item: Check) -> Check:
    """What ``item`` takes, or nothing."""

    def check(value: Any, path: str) -> Any:
        return None if value is None else item(value, path)

    return check


def tuple_of(item: Check, limit: int) -> Check:
    """A list of at most ``limit``, each of which ``item`` takes."""

    def check(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > limit:
            raise refuse(path, f"a list of at most {limit}")
        return tuple(item(each, f"{path}[{index}]") for index, each in enumerate(value))

    return check


def map_of(key: Check, item: Check, limit: int) -> Check:
    """A map of at most ``limit`` entries with keys that ``key`` takes and values that ``item`` takes."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > limit:
            raise refuse(path, f"a map of at most {limit}")
        return {key(name, path): item(each, f"{path}.{name}") for name, each in value.items()}

    return check


def record_of(cls: type[Any]) -> Check:
    """An attrs class of message fields inside a message; on the wire a map."""

    def check(value: Any, path: str) -> Any:
        return value if isinstance(value, cls) else build(cls, value, path)

    return check


def payload(value: Any, path: str) -> Any:
    """Any plain value: what an application sends."""
    try:
        check_plain(value)
    except ProtocolError as error:
        raise ProtocolError(f"{path}: {error}") from None
    return value


def payload_map(value: Any, path: str) -> Any:
    """A map of plain values."""
    if not isinstance(value, dict):
        raise refuse(path, "a map")
    return payload(value, path)


def event_payload(value: Any, path: str) -> dict[str, Any]:
    """A small map of plain values, of which tuples become lists: what a session tells."""
    if not isinstance(value, dict):
        raise refuse(path, "a map")
    plain: dict[str, Any] = _event_value(value, path)
    return plain


def _event_value(value: Any, path: str, depth: int = MAX_EVENT_DEPTH) -> Any:
    match value:
        case None | bool() | str() | bytes():
            return value
        case int():
            if abs(value) > MAX_EXACT_INT:
                raise refuse(path, "an integer that a double holds exactly")
            return value
        case float():
            if not math.isfinite(value):
                raise refuse(path, "a finite number")
            return value
        case list() | tuple() if depth:
            return [_event_value(each, f"{path}[{index}]", depth - 1) for index, each in enumerate(value)]
        case dict() if depth:
            return {
                _event_key(key, path): _event_value(each, f"{path}.{key}", depth - 1) for key, each in value.items()
            }
        case list() | tuple() | dict():
            raise refuse(path, f"at most {MAX_EVENT_DEPTH} levels of nesting")
    raise refuse(path, "plain data")


def _event_key(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise refuse(path, f"keys that are texts of at most {MAX_NAME} characters")
    return value


# -- fields -----------------------------------------------------------------------------------------------------------


def message_field(check: Check, default: Any = attrs.NOTHING, *, since: int = 1, secret: bool = False) -> Any:
    """A field that came with version ``since``. Fields that came later than 1 are left out when they have the default.

    What is ``secret`` is never shown.
    """
    return attrs.field(default=default, repr=not secret, metadata={"check": check, "since": since, "secret": secret})


@attrs.frozen
class _Field:
    name: str
    check: Check
    required: bool
    since: int
    default: Any

    def is_left_out(self, value: Any) -> bool:
        return self.since > 1 and type(value) is type(self.default) and value == self.default


def _fields(cls: type[Any], version: int) -> Mapping[str, _Field]:
    known = _known_fields.get((cls, version))
    if known is None:
        known = _known_fields[cls, version] = _find_fields(cls, version)
    return known


def _find_fields(cls: type[Any], version: int) -> Mapping[str, _Field]:
    found = {}
    for field in attrs.fields(cls):
        since = field.metadata["since"]
        if since <= version:
            default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
            required = field.default is attrs.NOTHING
            found[field.name] = _Field(field.name, field.metadata["check"], required, since, default)
    return found


_known_fields: Final[dict[tuple[type[Any], int], Mapping[str, _Field]]] = {}


# -- to bytes and back ------------------------------------------------------------------------------------------------


def body_of(message: Any, version: int) -> dict[str, Any]:
    """The map that ``message`` becomes in ``version``, checked. Raises `ProtocolError`."""
    body: dict[str, Any] = {"t": message.KIND}
    for name, field in _fields(type(message), version).items():
        value = getattr(message, name)
        if not field.is_left_out(value):
            body[name] = field.check(value, f"{message.KIND}.{name}")
    return body


def pack(body: dict[str, Any]) -> bytes:
    """The msgpack bytes of ``body``. Raises `ProtocolError` for a text that UTF-8 cannot carry."""
    try:
        packed: bytes = msgpack.packb(body, default=_pack_record)
    except UnicodeEncodeError:
        raise refuse(str(body["t"]), "texts that UTF-8 can carry") from None
    return packed


def _pack_record(value: object) -> object:
    if attrs.has(type(value)):
        fields = _fields(type(value), 255)
        return {name: each for name, field in fields.items() if not field.is_left_out(each := getattr(value, name))}
    raise TypeError(f"cannot send a {type(value).__name__}")


def build(cls: type[Any], body: Any, path: str, version: int = 255) -> Any:
    """A ``cls`` from the map ``body``. Raises `ProtocolError` that names the field."""
    if not isinstance(body, dict):
        raise refuse(path, "a map")
    fields = _fields(cls, version)
    if not body.keys() <= fields.keys():
        raise ProtocolError(f"{path}: unknown field; it has {', '.join(fields) or 'none'}")
    values = {}
    for name, field in fields.items():
        if name in body:
            values[name] = field.check(body[name], f"{path}.{name}")
        elif field.required:
            raise ProtocolError(f"{path}.{name}: missing")
    return cls(**values)


class _Containers:
    """Counts what is being unpacked, so that a small message cannot become a large heap."""

    def __init__(self) -> None:
        self.left = MAX_CONTAINERS

    def take_list(self, value: list[Any]) -> list[Any]:
        self._count()
        return value

    def take_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._count()
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ProtocolError("a key appears twice in one map")
        return found

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ProtocolError(f"more than {MAX_CONTAINERS} lists and maps in one message")


def _no_extension(_code: int, _data: bytes) -> object:
    raise ProtocolError("msgpack extension types are not part of the protocol")


def unpack(data: bytes) -> dict[str, Any]:
    """The map in ``data``, nothing after it. Raises `ProtocolError`, nothing else, whatever the bytes are."""
    if not data or not 0x80 <= data[0] <= 0x8F:
        raise ProtocolError("expected a msgpack map of at most 15 entries")
    counted = _Containers()
    try:
        body: dict[str, Any] = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=counted.take_map,
            list_hook=counted.take_list if len(data) > MAX_CONTAINERS else None,
            ext_hook=_no_extension,
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        raise ProtocolError("not one well-formed msgpack value") from None
    return body
