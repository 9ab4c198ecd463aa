"""Text of foreign values for logs, crash reports and tools: short, and without secrets.

Two ways a secret is known. By name: dictionary keys, fields, attributes and message tags whose name says so, and attrs or
dataclass fields with ``metadata={"secret": True}``, show as ``<redacted>``. By shape, inside text: ``token=...``,
``Authorization: ...``, ``Bearer ...``, a JWT, a password in a URL, a private key. A crash report adds a third: what was hidden
by name in the state or the message is also taken out of the exception's text and stack (``secrets_in`` and ``scrub``).

Only known containers are walked; anything else shows as its type, because its ``repr`` is not ours to trust. Nothing here
takes more than linear time: texts come from strangers.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import attrs

from wsactors.actors.pid import Pid

# An author is no secret; an authorization is.
_WORDS: Final = (
    r"token|api[ _-]?key|auth(?!or(?!i))|passw|passphrase|passcode|pwd|cookie|secret|credential|"
    r"(?:private|access|signing)[ _-]?key|jwt|bearer|(?<![a-z])(?:pin|sid)(?![a-z])"
)
SECRET_NAME: Final = re.compile(_WORDS, re.IGNORECASE)
REDACTED: Final = "<redacted>"
DEPTH: Final = 4
ITEMS: Final = 20
NODES: Final = 1_000
"""Values visited per call: what is shown is cut long before."""
LETTERS: Final = 500
"""Characters of one text that are shown."""
SHORTEST: Final = 4
"""Characters a hidden text must have to be looked for in other texts; and these words mean nothing:"""
_COMMON: Final = frozenset({"none", "null", "true", "false", "basic", "bearer"})

_STEMS: Final = (
    *(b"token", b"auth", b"passw", b"passphrase", b"passcode", b"pwd", b"cookie", b"secret", b"credential", b"jwt"),
    *(b"pin", b"sid", b"bearer", b"basic "),
)
_KEYS: Final = tuple(
    stem + gap + b"key" for stem in (b"api", b"private", b"access", b"signing") for gap in (b"", b" ", b"_", b"-")
)
"""Where ``_NAMED`` may match, found without a regular expression: that is ten times as fast."""

# A quote that is never closed (cut text) reaches to the end: every alternative consumes, so a scan stays linear.
_QUOTED: Final = (
    r"""(?:[bBrRuUfF]{0,2}(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z))"""
    # Inside the repr of a repr the quotes themselves are escaped.
    r"""|\\+"(?:[^"\\]|\\(?!"))*(?:\\*"|\Z)|\\+'(?:[^'\\]|\\(?!'))*(?:\\*'|\Z))"""
)
_BARE: Final = r"""(?:(?:bearer|basic|digest|token)[ \t]+)?[^\s&;,'")}\]]+"""
_VALUE: Final = rf"(?:{_QUOTED}|{_BARE})"
_NAMED: Final = re.compile(
    rf"""(?ix)
    # A header that holds secrets to the end of its line.
      ((?:cookie|authorization)\\*['"]?[ \t]*[:=][ \t]*) (?:{_QUOTED}|[^\r\n]+)
    | ((?:bearer|basic)[ \t]+) [\w.~+/=-]{{8,}}
    # `/x/auth.py:12 in check` in a stack names a place, and hides nothing.
    | (?:{_WORDS})(?![\w.-]{{0,100}}\.py:\d{{1,6}}(?:[ ]in[ ]|\r?\n|\Z))[\w.-]{{0,100}}+(?:
        # `token=...` in a URL, `password: str = "..."` in a line of source, `"apikey": "..."` in JSON.
          (\\*['"]?\]?[ \t]*(?:=>|:=|[=!]=|[=:])[ \t]*) {_VALUE} (?:[ \t]*=[ \t]*{_VALUE})?
        # ('token', 'abc') in the repr of a message; bad password 'abc'.
        | (\\*['"][ \t]*,[ \t]*|[ \t]+(?:(?:is|was)[ \t]+)?) {_QUOTED}
        # invalid token abc123def
        | ([ \t]+) (?=[^\s'"]{{0,80}}\d)[^\s'"(){{}}<>,;]{{8,}}
      )
    """
)
_JWT: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?")
_IN_URL: Final = re.compile(r"(?<=://)[^\s/@'\"]{1,500}(?=@)")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,60}-----|\Z)", re.DOTALL)


def is_secret(name: object) -> bool:
    """Whether a key, field or tag of that name holds what must not be shown."""
    if isinstance(name, enum.Enum):
        name = name.name
    if isinstance(name, bytes):
        name = name[:200].decode("latin-1")
    if isinstance(name, tuple):
        return any(is_secret(part) for part in name[:ITEMS])
    return isinstance(name, str) and SECRET_NAME.search(name[:200]) is not None


def safe_text(text: str) -> str:
    """``text`` with ``token=...``, ``Bearer ...`` and their like redacted."""
    if "eyJ" in text:
        text = _JWT.sub(REDACTED, text)
    if "://" in text and "@" in text:
        text = _IN_URL.sub(REDACTED, text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(REDACTED, text)
    low = text.encode("latin-1", "replace").lower()
    stems = [stem for stem in _STEMS if stem in low]
    if b"key" in low:
        stems += [stem for stem in _KEYS if stem in low]
    if not stems:
        return text
    starts = sorted({start for stem in stems for start in _occurrences(low, stem)})
    parts: list[str] = []
    end = 0
    for start in starts:
        if start >= end and (match := _NAMED.match(text, start)) is not None:
            assert match.lastindex is not None
            parts += (text[end : match.end(match.lastindex)], REDACTED)
            end = match.end()
    return "".join((*parts, text[end:])) if parts else text


def _occurrences(text: bytes, stem: bytes) -> Iterator[int]:
    at = text.find(stem)
    while at >= 0:
        yield at
        at = text.find(stem, at + 1)


def safe_repr(value: Any, limit: int = 200) -> str:
    """At most ``limit`` characters of ``value``, secrets redacted. Never raises.

    >>> safe_repr({"user": "ada", "password": "hunter2"})
    "{'user': 'ada', 'password': <redacted>}"
    """
    try:
        text = _Walk(2 * limit).show(value, DEPTH)
    except Exception as broken:  # a hostile container's iteration is user code
        text = f"<unprintable {type(value).__qualname__}: {type(broken).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def secrets_in(*values: Any) -> list[str]:
    """The texts that ``safe_repr`` hides by name in ``values``, longest first, to be taken out of other texts. Never raises."""
    walk = _Walk(0)
    for value in values:
        try:
            walk.show(value, DEPTH)
        except Exception as broken:  # as above; what was found so far counts
            walk.hidden.append(f"<unprintable {type(broken).__name__}>")
    found = {
        text
        for item in walk.hidden
        for text in _texts(item, 3)
        if len(text) >= SHORTEST and text.lower() not in _COMMON
    }
    return sorted(found, key=len, reverse=True)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the given secrets, also where they appear escaped."""
    for secret in secrets:
        for form in {secret, repr(secret)[1:-1]}:
            text = text.replace(form, REDACTED)
    return text


def _texts(item: Any, depth: int) -> Iterator[str]:
    """Strings inside a hidden value."""
    if isinstance(item, str):
        yield item
        yield from (part for part in item[:1_000].split() if part != item)
    elif isinstance(item, bytes | bytearray):
        yield bytes(item[:1_000]).decode("latin-1")
    elif isinstance(item, int) and not isinstance(item, bool) and item.bit_length() < 200:
        yield str(item)
    elif depth and isinstance(item, dict):
        for inner in _some(dict.values(item)):
            yield from _texts(inner, depth - 1)
    elif depth and isinstance(item, list | tuple | set | frozenset | deque):
        for inner in _some(item):
            yield from _texts(inner, depth - 1)


_PLAIN: Final = frozenset({bool, float, complex, type(None), Pid, Decimal, date, datetime, time, timedelta, type(...)})


class _Walk:
    """One walk through a value: bounded in depth, breadth, in all and in letters; remembers what it hid."""

    __slots__ = ("hidden", "left", "room")

    def __init__(self, room: int) -> None:
        self.left = NODES
        self.room = room
        """Letters still worth writing: what is beyond them is cut. The walk goes on for what it hides."""
        self.hidden: list[Any] = []

    def show(self, value: Any, depth: int) -> str:
        kind = type(value)
        self.left -= 1
        if kind in _PLAIN:
            return repr(value)
        if isinstance(value, enum.Enum):
            return f"{kind.__qualname__}.{value.name}"
        if isinstance(value, int):
            return int.__repr__(value) if value.bit_length() < 1_000 else f"<int of {value.bit_length()} bits>"
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, type):
            return value.__qualname__
        if depth == 0 or self.left <= 0:
            return "..."
        return self._container(value, kind, depth)

    def _string(self, value: str) -> str:
        if type(value) is not str and (
            type(value).__repr__ is not str.__repr__ or type(value).__str__ is not str.__str__
        ):
            # A text that shows itself as something else has its reasons.
            self.hidden.append(str.__str__(value))
            return f"<{type(value).__module__}.{type(value).__qualname__}>"
        if self.room <= 0:
            return "..."
        text = str.__getitem__(value, slice(0, LETTERS))
        self.room -= len(text)
        return repr(safe_text(text)) + ("..." if len(value) > LETTERS else "")

    def _container(self, value: Any, kind: type, depth: int) -> str:
        if isinstance(value, dict | MappingProxyType):
            return (
                "{" + ", ".join(self._pair(key, item, depth) for key, item in _some(value.items())) + _rest(value) + "}"
            )
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            named = ((name, is_secret(name), item) for name, item in zip(kind._fields, value, strict=False))
            return f"{kind.__qualname__}({self._fields(named, depth)})"
        if isinstance(value, list | tuple | set | frozenset | deque):
            opening, closing = "[]" if isinstance(value, list | deque) else "()" if isinstance(value, tuple) else "{}"
            inner = self._sequence(value, depth)
            return (
                opening + inner + ("," if isinstance(value, tuple) and len(value) == 1 else "") + _rest(value) + closing
            )
        if attrs.has(kind) and _shows_itself(kind):
            return f"{kind.__qualname__}({self._fields(_marked(value, attrs.fields(kind)), depth)})"
        if dataclasses.is_dataclass(kind) and kind.__dataclass_params__.repr:  # type: ignore[attr-defined]
            return f"{kind.__qualname__}({self._fields(_marked(value, dataclasses.fields(kind)), depth)})"
        return f"<{kind.__module__}.{kind.__qualname__}>"

    def _sequence(self, value: Any, depth: int) -> str:
        ordered = isinstance(value, list | tuple)
        shown, hiding = [], False
        for item in _some(value):
            shown.append(self._hide(item) if hiding else self.show(item, depth - 1))
            # ("token", "abc"), ("set_password", "ada", "abc"): what follows a tag that names a secret is one.
            if ordered and isinstance(item, str) and len(item) <= 30 and is_secret(item):
                hiding = True
        return ", ".join(shown)

    def _pair(self, key: Any, item: Any, depth: int) -> str:
        return f"{self.show(key, 1)}: {self._hide(item) if is_secret(key) else self.show(item, depth - 1)}"

    def _fields(self, fields: Iterable[tuple[str, bool, Any]], depth: int) -> str:
        return ", ".join(
            f"{name}={self._hide(item) if hidden else self.show(item, depth - 1)}"
            for name, hidden, item in _some(fields)
        )

    def _hide(self, item: Any) -> str:
        self.hidden.append(item)
        return REDACTED


_UNSET: Final = "<unset>"


def _shows_itself(kind: type) -> bool:
    """Whether an attrs class has the repr that attrs makes. One with its own, or with none, has its reasons."""
    code = getattr(kind.__repr__, "__code__", None)
    return code is not None and code.co_filename.startswith("<attrs generated")


def _marked(value: Any, fields: Iterable[Any]) -> Iterator[tuple[str, bool, Any]]:
    """Name, whether it is hidden, and value of each field that a repr would show."""
    for field in fields:
        secret = bool(field.metadata.get("secret"))
        if field.repr or secret:
            yield field.name, secret or is_secret(field.name), getattr(value, field.name, _UNSET)


def _some(items: Iterable[Any]) -> Iterator[Any]:
    for index, item in enumerate(items):
        if index == ITEMS:
            return
        yield item


def _rest(value: Any) -> str:
    return f", ... {len(value) - ITEMS} more" if len(value) > ITEMS else ""
