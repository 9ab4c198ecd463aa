"""Rules out of the configuration: who may do what on which topics. Pure.

The rules are looked at in order; the first that is for this user and topic and names the action decides. A rule's topics are
names with ``*`` for anything and ``{claim}`` for what the user's token says, so that ``user:{sub}`` is for each person a topic
of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import attrs

from .identity import User

__all__ = ["ACTIONS", "Action", "Pattern", "Rule", "first_word"]

Action = Literal["connect", "join", "publish", "presence_read", "presence_write"]
ACTIONS: Final[tuple[Action, ...]] = ("connect", "join", "publish", "presence_read", "presence_write")

_PART: Final = re.compile(r"\*|\{[^{}*]{1,100}\}|[^*{}]+")


class Pattern:
    """A topic's name with ``*`` for anything, also nothing, and ``{claim}`` for a claim's text.

    >>> Pattern("user:{sub}:*").matches("user:ada:inbox", User("ada"))
    True
    """

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        """Raises ``ValueError`` for braces that name no claim."""
        parts = _PART.findall(text)
        if "".join(parts) != text:
            raise ValueError(f"expected a topic with * and {{claim}} in it, got {text!r}")
        self.text = text
        self._parts: list[str] = parts

    def matches(self, topic: str, user: User) -> bool:
        """Whether ``topic`` is one of these for ``user``. A claim that is missing, empty or no text matches nothing."""
        pieces = [""]
        for part in self._parts:
            if part == "*":
                pieces.append("")
            elif part[0] == "{":
                value = _claim(user, part[1:-1])
                if not isinstance(value, str) or not value:
                    return False
                pieces[-1] += value  # as it is: a star in it is a letter
            else:
                pieces[-1] += part
        return _glob(topic, pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def _glob(text: str, pieces: Sequence[str]) -> bool:
    """Whether ``text`` is the pieces in order with anything in between; takes time linear in it for each piece."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _actions(names: Iterable[Action]) -> frozenset[Action]:
    return frozenset(names)


def _patterns(texts: Iterable[str | Pattern]) -> tuple[Pattern, ...]:
    return tuple(text if isinstance(text, Pattern) else Pattern(text) for text in texts)


@attrs.frozen
class Rule:
    """One rule."""

    topics: tuple[Pattern, ...] = attrs.field(default=("*",), converter=_patterns)
    roles: tuple[str, ...] = ()
    """For users in one of these roles; empty: for all."""
    claims: Mapping[str, str] = attrs.field(factory=dict)
    """For users whose token says this, or holds it in a list."""
    allow: frozenset[Action] = attrs.field(default=(), converter=_actions)
    deny: frozenset[Action] = attrs.field(default=(), converter=_actions)

    def says(self, action: Action, user: User, topic: str) -> bool | None:
        """Whether the action is allowed; None: that is not for this rule to say."""
        named = action in self.deny or action in self.allow
        if not named or (self.roles and user.role not in self.roles):
            return None
        if any(not _holds(_claim(user, name), value) for name, value in self.claims.items()):
            return None
        if action != "connect" and not any(pattern.matches(topic, user) for pattern in self.topics):
            return None
        return action not in self.deny


def first_word(rules: Sequence[Rule], action: Action, user: User, topic: str) -> bool | None:
    """What the first rule says that says anything."""
    for rule in rules:
        word = rule.says(action, user, topic)
        if word is not None:
            return word
    return None


def _claim(user: User, name: str) -> object:
    """A claim of the token; who it is and in which role has these names, whatever the issuer calls it."""
    match name:
        case "sub":
            return user.subject
        case "role":
            return user.role
        case _:
            return user.claims.get(name)


def _holds(claim: object, value: str) -> bool:
    if isinstance(claim, list):
        return any(_text(item) == value for item in claim)
    return _text(claim) == value


def _text(claim: object) -> str | None:
    if isinstance(claim, bool):
        return "true" if claim else "false"
    return str(claim) if isinstance(claim, str | int) else None
