"""Secrets: settings that no log, report, repr or message shows, and copies of values with every secret replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wsactors.actors.redact import REDACTED, is_secret, safe_text

__all__ = ["REDACTED", "Secret", "redact"]

_MAX_DEPTH: Final = 6


class Secret:
    """Text that shows itself only when asked by name: ``secret.reveal()``.

    >>> Secret("hunter2")
    Secret(<redacted>)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; call this only where it is used."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret does not travel")


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` fit for a log: secrets replaced, in keys, in nested values and in ``token=...`` texts."""
    if depth > _MAX_DEPTH:
        return "..."
    match value:
        case str():
            return safe_text(value)
        case Mapping():
            return {key: REDACTED if is_secret(key) else redact(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [redact(item, depth + 1) for item in value]
        case Secret():
            return REDACTED
        case _:
            return value
