"""Secrets: values that no log, report, repr or message shows, and the words that give a secret away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["REDACTED", "Secret", "looks_secret", "redact"]

REDACTED = "[redacted]"

# security.md: token, apikey, auth, password, cookie; the rest are their common spellings.
_SECRET_WORDS = re.compile(
    r"token|api_?key|auth(?!or(?!i))|passw|secret|cookie|credential|private_?key|bearer", re.IGNORECASE
)
# `token=...` in a URL's query (Phoenix and Supabase put theirs there) or in prose.
_IN_TEXT = re.compile(
    r"(?i)\b([\w.-]*(?:token|api_?key|passw(?:or)?d|secret|cookie|auth(?!or(?!i)))[\w.-]*['\"]?\s*[=:]\s*['\"]?)((?:bearer\s+)?[^\s&;,'\"]+)"
)
# A cookie header holds secrets to the end of its line.
_COOKIE = re.compile(r"(?i)\b((?:set-)?cookie['\"]?\s*:\s*)[^\r\n'\"]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)([^\s'\",;]{8,})")
_MAX_DEPTH = 6


class Secret:
    """Text that shows itself only when asked by name: ``secret.reveal()``.

    >>> Secret("hunter2")
    Secret([redacted])
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


def looks_secret(key: str) -> bool:
    """Whether a key of this name is one whose value must not be shown."""
    return _SECRET_WORDS.search(key) is not None


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` fit for a log: secrets replaced, in keys, in nested values and in ``token=...`` texts."""
    if depth > _MAX_DEPTH:
        return "..."
    match value:
        case str():
            for pattern in (_COOKIE, _IN_TEXT, _BEARER):
                value = pattern.sub(rf"\1{REDACTED}", value)
            return value
        case Mapping():
            return {
                k: REDACTED if isinstance(k, str) and looks_secret(k) else redact(v, depth + 1)
                for k, v in value.items()
            }
        case list() | tuple():
            return [redact(item, depth + 1) for item in value]
        case Secret():
            return REDACTED
        case _:
            return value
