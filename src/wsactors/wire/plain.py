"""Plain values: what may travel between protocols, whatever bytes each of them makes of it.

A value that is plain can be encoded by every codec of this package, so a message that got in through one protocol can
leave through all others. The bounds are those of the narrowest: JavaScript's numbers, UTF-8, a parser's stack.
"""

from __future__ import annotations

import base64
import math
from typing import Final, TypeAlias

from .errors import ProtocolError

MAX_EXACT_INT: Final = 2**53 - 1
"""Largest integer that a JavaScript number holds exactly; integers stay within ± this."""
MAX_DEPTH: Final = 32
"""Most lists and maps around a value."""
BINARY_KEY: Final = "$binary"
"""The only key of the map that stands for bytes where a client takes text alone; its value is their base64."""

Plain: TypeAlias = bool | int | float | str | bytes | list["Plain"] | dict[str, "Plain"] | None


def check_plain(value: object, *, max_depth: int = MAX_DEPTH) -> None:
    """Return if ``value`` is plain.

    Raises:
        ProtocolError: It is not: another type (a tuple, a set, a subclass of a plain type), a map with keys that are not
            texts, an integer beyond ±(2**53 − 1), a number that is not finite, a lone surrogate, or deeper nesting.
    """
    kind = type(value)
    if kind is str:
        _check_text(value)  # type: ignore[arg-type]
    elif kind is dict:
        _check_nesting(max_depth)
        for key, each in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise ProtocolError("a map's keys must be texts")
            _check_text(key)
            check_plain(each, max_depth=max_depth - 1)
    elif kind is list:
        _check_nesting(max_depth)
        for each in value:  # type: ignore[attr-defined]
            check_plain(each, max_depth=max_depth - 1)
    elif kind is int:
        if not -MAX_EXACT_INT <= value <= MAX_EXACT_INT:  # type: ignore[operator]
            raise ProtocolError(f"integers must be within ±{MAX_EXACT_INT}, which a double holds exactly")
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise ProtocolError("numbers must be finite")
    elif not (value is None or kind is bool or kind is bytes):
        raise ProtocolError(
            f"a {kind.__name__} is not plain: only null, booleans, numbers, texts, bytes, lists and maps"
        )


def has_bytes(value: Plain) -> bool:
    """Whether ``value`` is bytes or holds some."""
    if isinstance(value, bytes):
        return True
    if isinstance(value, dict):
        return any(has_bytes(each) for each in value.values())
    return isinstance(value, list) and any(has_bytes(each) for each in value)


def textual(value: Plain) -> Plain:
    """``value`` with every bytes in it replaced by ``{"$binary": "<base64>"}``: what a client gets that takes only text.

    Example:
        >>> textual({"cover": b"abc"})
        {'cover': {'$binary': 'YWJj'}}
    """
    if isinstance(value, bytes):
        return binary_stand_in(value)
    if isinstance(value, dict):
        return {key: textual(each) for key, each in value.items()}
    return [textual(each) for each in value] if isinstance(value, list) else value


def binary_stand_in(data: bytes) -> dict[str, Plain]:
    """The map that stands for ``data`` where there is only text."""
    return {BINARY_KEY: base64.b64encode(data).decode("ascii")}


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ProtocolError("texts must not hold lone surrogates") from None


def _check_nesting(left: int) -> None:
    if left <= 0:
        raise ProtocolError("lists and maps are nested too deep")
