"""Text of foreign values for logs, crash reports and tools: short, and without secrets.

Dictionary keys, attrs fields and attributes whose name says secret, and attrs fields with ``metadata={"secret": True}``, show as
``<redacted>``. Only known containers are walked; anything else shows as its type, because its ``repr`` is not ours to trust.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from wsactors.actors.pid import Pid

# An author is no secret; an authorization is.
_WORDS: Final = r"token|api_?key|auth(?!or(?!i))|passw|passphrase|cookie|secret|credential|private_?key|jwt|bearer"
SECRET_NAME: Final = re.compile(_WORDS, re.IGNORECASE)
REDACTED: Final = "<redacted>"
DEPTH: Final = 4
ITEMS: Final = 20
_IN_TEXT: Final = (
    # A cookie header holds secrets to the end of its line.
    re.compile(r"(?i)\b((?:set-)?cookie['\"]?\s*:\s*)[^\r\n'\"]+"),
    # `token=...` in a URL, `password: ...` in prose, `"apikey": "..."` in JSON, `Authorization: Bearer ...` in a header.
    re.compile(rf"(?i)\b([\w.-]*(?:{_WORDS})[\w.-]*['\"]?\s*[=:]\s*['\"]?)(?:(?:bearer|basic)\s+)?[^\s&;,'\")}}\]]+"),
    re.compile(r"(?i)\b(bearer\s+)[^\s&;,'\")}\]]{8,}"),
)


def is_secret(name: object) -> bool:
    """Whether a key or field of that name holds what must not be shown."""
    return isinstance(name, str) and SECRET_NAME.search(name) is not None


def safe_text(text: str) -> str:
    """``text`` with ``token=...``, ``Bearer ...`` and their like redacted."""
    for pattern in _IN_TEXT:
        text = pattern.sub(rf"\1{REDACTED}", text)
    return text


def safe_repr(value: Any, limit: int = 200) -> str:
    """At most ``limit`` characters of ``value``, secrets redacted. Never raises.

    >>> safe_repr({"user": "ada", "password": "hunter2"})
    "{'user': 'ada', 'password': <redacted>}"
    """
    try:
        text = _show(value, DEPTH)
    except Exception as broken:  # a hostile container's iteration is user code
        text = f"<unprintable {type(value).__qualname__}: {type(broken).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _show(value: Any, depth: int) -> str:
    if value is None or isinstance(value, bool | int | float | complex | Pid):
        return repr(value)
    if isinstance(value, str):
        return repr(safe_text(value[:1_000]))
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return "{" + ", ".join(_pair(key, item, depth) for key, item in _some(value.items())) + _rest(value) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        opening, closing = {"list": "[]", "tuple": "()"}.get(type(value).__name__, ("{}"))
        inner = _sequence(value, depth)
        return opening + inner + ("," if isinstance(value, tuple) and len(value) == 1 else "") + _rest(value) + closing
    if attrs.has(value.__class__):
        return _show_attrs(value, depth)
    if isinstance(value, type):
        return value.__qualname__
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _sequence(value: Any, depth: int) -> str:
    items = list(_some(value))
    # ("token", "abc"): a tagged pair, as messages are written.
    if len(items) == 2 and is_secret(items[0]) and isinstance(items[0], str) and len(items[0]) < 30:
        return f"{items[0]!r}, {REDACTED}"
    return ", ".join(_show(item, depth - 1) for item in items)


def _pair(key: Any, item: Any, depth: int) -> str:
    return f"{_show(key, 1)}: {REDACTED if is_secret(key) else _show(item, depth - 1)}"


def _show_attrs(value: Any, depth: int) -> str:
    shown = []
    for field in attrs.fields(value.__class__):
        if not field.repr and "secret" not in field.metadata:
            continue
        hidden = field.metadata.get("secret") or is_secret(field.name)
        shown.append(f"{field.name}={REDACTED if hidden else _show(getattr(value, field.name), depth - 1)}")
    return f"{type(value).__qualname__}({', '.join(shown)})"


def _some(items: Any) -> Any:
    for index, item in enumerate(items):
        if index == ITEMS:
            return
        yield item


def _rest(value: Any) -> str:
    return f", ... {len(value) - ITEMS} more" if len(value) > ITEMS else ""
