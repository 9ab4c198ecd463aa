"""How a setting is declared: the attrs field that carries its default, its check and its words.

:mod:`wsactors.node.settings` is made of these, and so is the configuration of other programs that use the same loader.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

__all__ = ["BadSetting", "Check", "between", "matches", "section", "setting", "zero_or"]

Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]


class BadSetting(ValueError):
    """One field refused its value; ``key`` is the field's name, the text says what was expected."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def setting(default: Any, doc: str, *, live: bool = False, secret: bool = False, check: Check | None = None) -> Any:
    """One key: its default, its words, whether SIGHUP reads it again, whether it is never shown, what it must hold."""
    metadata = {"doc": doc, "live": live, "secret": secret}
    return attrs.field(default=default, metadata=metadata, validator=check or [], kw_only=True)


def section(factory: Callable[[], Any], doc: str) -> Any:
    """A section of keys, made by ``factory`` when a file does not mention it."""
    return attrs.field(factory=factory, metadata={"doc": doc}, kw_only=True)


def between(low: float, high: float) -> Check:
    """A check: a number within these bounds."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
        if not low <= value <= high:
            raise BadSetting(attribute.name, f"expected a number from {low:.12g} to {high:.12g}, got {value!r}")

    return check


def zero_or(low: float, high: float) -> Check:
    """A check: 0, or a number within these bounds."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
        if value != 0 and not low <= value <= high:
            raise BadSetting(attribute.name, f"expected 0 or a number from {low:.12g} to {high:.12g}, got {value!r}")

    return check


def matches(pattern: str, meaning: str) -> Check:
    """A check: the whole text fits ``pattern``, which ``meaning`` says in words."""
    compiled = re.compile(pattern)

    def check(_: Any, attribute: attrs.Attribute[Any], value: str) -> None:
        if not compiled.fullmatch(value):
            raise BadSetting(attribute.name, f"expected {meaning}, got {value!r}")

    return check
