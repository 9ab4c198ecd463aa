"""JSON as it may come in, and as it goes out: strict at the door, so that nothing inside meets a value it cannot encode.

Python's own parser takes NaN, lone surrogates, integers of any size and repeated keys, and runs out of stack on brackets.
Here each of these is refused, at the speed of the C parser: what is checked over the whole text is a regular expression
or a count, and the dear checks run only on a text in which their kind of trouble can be.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from .errors import ProtocolError
from .plain import MAX_DEPTH, MAX_EXACT_INT, Plain, binary_stand_in

MAX_NUMBER: Final = 128
"""Longest number, in characters: the longest that a double is ever printed with is 24."""

# Fifteen digits without an exponent are always an exact, finite number.
_DOUBTFUL_NUMBER: Final = re.compile(r"[0-9]{16}|[0-9][eE]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
# A string, closed or not: a search that failed on the unclosed ones would begin again at each quote in them.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS: Final = {ord("{"): "[", ord("}"): "]"}
_NO_BRACKET: Final = re.compile(r"[^][]+")


def loads(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> Plain:
    """The value that the JSON text ``data`` says.

    Raises:
        ProtocolError: It is not JSON (RFC 8259) in UTF-8, or holds what is legal there and refused here: a key twice in
            one map, an integer beyond ±(2**53 − 1), a number too large for a double, a lone surrogate, nesting deeper
            than ``max_depth``. Nothing else is ever raised.

    Example:
        >>> loads(b'{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
    """
    text = _text(data)
    _check_depth(text, max_depth)
    decoder = _CAREFUL if _DOUBTFUL_NUMBER.search(text) else _QUICK
    try:
        value: Plain = decoder.decode(text)
    except ProtocolError:
        raise
    except json.JSONDecodeError as error:
        raise ProtocolError(f"not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):
        # The second cannot happen while `_check_depth` is right, unless the caller's own stack was nearly used up.
        raise ProtocolError("not JSON that is accepted here") from None
    if _SURROGATE_ESCAPE.search(text):
        try:
            _ENCODER.encode(value).encode()
        except UnicodeEncodeError:
            raise ProtocolError("JSON: a lone surrogate") from None
    return value


def dumps(value: Plain) -> bytes:
    """``value`` as compact JSON in UTF-8; bytes become ``{"$binary": "<base64>"}``.

    Raises:
        ProtocolError: ``value`` is not plain; here the caller is at fault.

    Example:
        >>> dumps({"a": [1, b"abc"]})
        b'{"a":[1,{"$binary":"YWJj"}]}'
    """
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not plain, so not JSON: {error}") from None


def _text(data: bytes | str) -> str:
    try:
        if isinstance(data, str):
            if not data.isascii():
                data.encode()
            return data
        return data.decode()
    except UnicodeError:
        raise ProtocolError("JSON: not UTF-8") from None


def _check_depth(text: str, max_depth: int) -> None:
    """Refuse nesting deeper than ``max_depth`` before the parser, which recurses, meets it."""
    if text.count("[") + text.count("{") <= max_depth:
        return
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text).translate(_BRACKETS))
    for _ in range(max_depth):
        if not brackets:
            return
        # One pass removes the innermost pairs and no others, since it does not look again at what it joined.
        brackets = brackets.replace("[]", "")
    if brackets:
        raise ProtocolError(f"JSON: nested deeper than {max_depth}, or brackets that do not match")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ProtocolError("JSON: a key appears twice in one map")
    return record


def _integer(literal: str) -> int:
    if len(literal) > MAX_NUMBER or not -MAX_EXACT_INT <= (number := int(literal)) <= MAX_EXACT_INT:
        raise ProtocolError(f"JSON: integers must be within ±{MAX_EXACT_INT}, which a double holds exactly")
    return number


def _real(literal: str) -> float:
    if len(literal) > MAX_NUMBER or not math.isfinite(number := float(literal)):
        raise ProtocolError("JSON: a number is too large for a double, or too long")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ProtocolError(f"JSON: {name} is not a number in JSON")


def _stand_in(value: object) -> dict[str, Plain]:
    if type(value) is bytes:
        return binary_stand_in(value)
    raise TypeError(f"a {type(value).__name__}")


_QUICK: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_CAREFUL: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_real
)
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_stand_in
)
