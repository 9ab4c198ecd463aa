"""The total order of table keys, after Erlang's term order, and what "equal" means for keys and rows.

The order is ``number < None < False < True < str < bytes < Pid < tuple``. Numbers compare by value whatever their
type, strings by code point, pids by node, incarnation and serial, tuples **first by length** and then element by
element, as in Erlang. Erlang's atoms follow the numbers; ``None`` and the booleans, which would be atoms there, stand
in that place here. A bool is never a number: ``True`` and ``1`` are two keys in every kind of table. NaN has no place
in an order and is refused. ``-0.0`` is the same key as ``0.0`` (as in Erlang before OTP 27).

Two notions of equality exist, as in Erlang:

* *exact* (``=:=``): equal value **and** equal type, inside tuples too. The keys of ``set``, ``bag`` and
``duplicate_bag``
  tables, patterns and ``delete_object`` use it: ``1`` and ``1.0`` differ.
* *ordered* (``==``): numbers are equal by value. The keys of ``ordered_set`` use it: ``1`` and ``1.0`` are one key.

Python's dictionaries know only the second, and confuse ``True`` with ``1`` on top. So a table stores *encoded* keys:
a float (where it must be exact) becomes ``(float, 1.0)`` and a bool ``(bool, True)``. Types are no legal keys, so
these pairs collide with nothing, and a key of strings, ints, bytes and pids needs no encoding at all.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, Final

from wsactors.actors.pid import Pid
from wsactors.errors import BadKey

MAX_DEPTH: Final = 16
"""Tuples nested deeper than this are no keys: comparing them recurses."""

EXACT_PLAIN: Final[frozenset[type]] = frozenset({str, int, bytes, NoneType, Pid})
"""Types whose values need no encoding where keys are exact."""

ORDERED_PLAIN: Final[frozenset[type]] = EXACT_PLAIN | {float}
"""Types whose values need no encoding where ``1 == 1.0``."""

Token = tuple[Any, ...]
"""A key in a form that Python's own tuple comparison puts in term order. Its last element is the encoded key."""


class Bound:
    """Type of ``LOWEST`` and ``HIGHEST``: no keys, but ends of ranges, also inside a tuple."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name  # a copy is the same object


LOWEST: Final = Bound("LOWEST")
"""Comes before every key. ``("room", LOWEST)`` comes before every pair that starts with ``"room"``."""

HIGHEST: Final = Bound("HIGHEST")
"""Comes after every key. ``("room", HIGHEST)`` comes after every pair that starts with ``"room"``."""

_NUMBER, _NONE, _BOOL, _STR, _BYTES, _PID, _TUPLE = range(7)
_LAST_CHARACTER: Final = chr(0x10FFFF)
_BELOW: Final[Token] = (-1,)
_ABOVE: Final[Token] = (99,)


def exact_key(key: Any, depth: int = 0) -> Any:
    """The dictionary key of ``key`` in a table whose keys are exact. Raises ``BadKey`` for what cannot be a key."""
    kind = type(key)
    if kind in EXACT_PLAIN:
        return key
    if kind is tuple:
        for element in key:
            if type(element) not in EXACT_PLAIN:
                break
        else:
            return key
        _check_depth(key, depth)
        return tuple([exact_key(element, depth + 1) for element in key])
    if kind is float:
        return (float, _number(key))
    if kind is bool:
        return (bool, key)
    raise _refusal(key)


def ordered_key(key: Any, depth: int = 0) -> Any:
    """The dictionary key of ``key`` in an ``ordered_set``. Raises ``BadKey`` for what cannot be a key."""
    kind = type(key)
    if kind in EXACT_PLAIN:
        return key
    if kind is tuple:
        for element in key:
            if type(element) not in EXACT_PLAIN:
                break
        else:
            return key
        _check_depth(key, depth)
        return tuple([ordered_key(element, depth + 1) for element in key])
    if kind is float:
        return _number(key)
    if kind is bool:
        return (bool, key)
    raise _refusal(key)


def order_token(key: Any) -> Token:
    """The token of an encoded ordered key: sorting tokens sorts the keys."""
    kind = type(key)
    if kind is int or kind is float:
        return (_NUMBER, key)
    if kind is str:
        return (_STR, key)
    if kind is bytes:
        return (_BYTES, key)
    if kind is tuple:
        if len(key) == 2 and key[0] is bool:
            return (_BOOL, key[1], key)
        return (_TUPLE, len(key), *map(order_token, key), key)
    if kind is Pid:
        return (_PID, key.node, key.incarnation, key.serial, key)
    return (_NONE, key)


def bound_token(bound: Any, depth: int = 0) -> Token:
    """The token of one end of a range: a key, ``LOWEST``, ``HIGHEST``, or a tuple with these inside."""
    if bound is LOWEST:
        return _BELOW
    if bound is HIGHEST:
        return _ABOVE
    if type(bound) is tuple and _has_sentinel(bound):
        _check_depth(bound, depth)
        # No key at the end: the sentinel decides every comparison before it would be reached.
        return (_TUPLE, len(bound), *[bound_token(element, depth + 1) for element in bound])
    return order_token(ordered_key(bound))


def tuples_from(length: int, bound_elements: list[Token]) -> tuple[Token, Token]:
    """Tokens just below and just above all tuples of ``length`` that start with the elements of these tokens.

    ``bound_elements`` must be shorter than ``length``.
    """
    start = (_TUPLE, length, *bound_elements)
    return (*start, _BELOW), (*start, _ABOVE)


def tuple_length(token: Token) -> int | None:
    """The length of the tuple a token stands for; None for other keys."""
    return token[1] if token[0] == _TUPLE else None


def compare(a: Any, b: Any) -> int:
    """-1, 0 or 1 as key ``a`` comes before, equals (``1 == 1.0``) or comes after key ``b``. Raises ``BadKey``.

    >>> compare("zz", (0,)), compare((9,), (0, 0)), compare(1, 1.0), compare(True, 1)
    (-1, -1, 0, 1)
    """
    left, right = order_token(ordered_key(a)), order_token(ordered_key(b))
    return (left > right) - (left < right)


def exactly_equal(a: Any, b: Any) -> bool:
    """Erlang's ``=:=``: equal in value and type, inside tuples too. In other containers Python's ``==`` decides."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all(map(exactly_equal, a, b))
    return bool(a == b)


def text_range(prefix: str | bytes) -> tuple[Token, Token]:
    """Tokens at and just beyond all strings (or bytes) that start with ``prefix``: they lie side by side."""
    if isinstance(prefix, str):
        head = prefix.rstrip(_LAST_CHARACTER)
        return (_STR, prefix), (_STR, head[:-1] + chr(ord(head[-1]) + 1)) if head else (_STR + 1,)
    body = prefix.rstrip(b"\xff")
    return (_BYTES, prefix), (_BYTES, body[:-1] + bytes([body[-1] + 1])) if body else (_BYTES + 1,)


def _has_sentinel(bound: tuple[Any, ...], depth: int = 0) -> bool:
    _check_depth(bound, depth)
    return any(type(e) is Bound or (type(e) is tuple and _has_sentinel(e, depth + 1)) for e in bound)


def _number(key: float) -> float:
    if math.isnan(key):
        raise BadKey("NaN cannot be a table key: it equals nothing, not even itself")
    return key


def _check_depth(key: tuple[Any, ...], depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise BadKey(f"a key may nest tuples at most {MAX_DEPTH} deep")


def _refusal(key: Any) -> BadKey:
    if isinstance(key, Bound):
        return BadKey(f"{key!r} is an end of a range, not a key: only range() and subscribe() know it")
    return BadKey(
        f"a table key is None, a bool, int, float, str, bytes, Pid or a tuple of these, not {type(key).__qualname__}: "
        "for an enum take its .value, for a NamedTuple tuple(key)"
    )
