"""Tokens and people that are not let in any more, although their tokens have not expired."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Revocations", "read_revocations"]

MOST: Final = 100_000
_FOREVER: Final = float("inf")


@attrs.frozen
class Revocations:
    """What is revoked."""

    tokens: dict[str, float] = attrs.field(factory=dict)
    """Until when (Unix time), by token id (``jti``)."""
    subjects: dict[str, float] = attrs.field(factory=dict)
    """By subject: tokens issued up to that time, and those that do not say when."""

    def cover(self, subject: str, token_id: str, issued: float | None) -> bool:
        """Whether a token with these claims is revoked."""
        if token_id and token_id in self.tokens:
            return True
        before = self.subjects.get(subject) if subject else None
        return before is not None and (issued is None or issued <= before)

    def add_token(self, token_id: str, *, now: float, until: float = _FOREVER) -> None:
        """Revoke one token. It may be forgotten after ``until``, when it has expired by itself.

        Raises:
            ValueError: there are too many; nothing that is revoked is let in again to make room.
        """
        if len(self.tokens) >= MOST:
            for each in [each for each, end in self.tokens.items() if end <= now]:
                del self.tokens[each]
        self._bound(self.tokens, token_id)
        self.tokens[token_id] = until

    def add_subject(self, subject: str, before: float) -> None:
        """Revoke all tokens of a person that were issued up to ``before``. Raises as `add_token`."""
        self._bound(self.subjects, subject)
        self.subjects[subject] = max(before, self.subjects.get(subject, before))

    @staticmethod
    def _bound(entries: dict[str, float], name: str) -> None:
        if not name:
            raise ValueError("nobody in particular cannot be revoked")
        if len(entries) >= MOST and name not in entries:
            raise ValueError(f"{MOST} entries are revoked already; give the list a file, or change the key")


def read_revocations(data: bytes) -> Revocations:
    """A list in a file: lines ``token JTI``, ``subject NAME`` or ``subject NAME UNIX_TIME``, and remarks behind a ``#``.

    Raises:
        ValueError: a line is none of these; says which.

    >>> read_revocations(b"# lost phone\\ntoken 42\\nsubject ada 1700000000\\n").subjects
    {'ada': 1700000000.0}
    """
    found = Revocations()
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    for number, line in enumerate(lines, 1):
        match line.split():
            case []:
                pass
            case [first, *_] if first.startswith("#"):
                pass
            case ["token", token_id]:
                found.add_token(token_id, now=0.0)
            case ["subject", subject]:
                found.add_subject(subject, _FOREVER)
            case ["subject", subject, time] if time.isascii() and time.isdecimal():
                found.add_subject(subject, float(time))
            case _:
                raise ValueError(f"line {number}: expected `token JTI`, `subject NAME` or `subject NAME UNIX_TIME`")
    return found
