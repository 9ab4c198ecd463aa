"""Tickets: what a client that cannot show a token on its way in shows instead, once, within a minute.

A page opens a WebTransport session with an address and nothing else; a token in that address would last for as long as the
token does, wherever addresses are written down. So whoever has shown a token by REST gets a ticket: 192 random bits, good
for one session of one page origin, once. What is kept is its hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final

import attrs

from wsactors.realtime.identity import User

SECONDS: Final = 60.0
"""How long a ticket is good."""
MOST: Final = 16_384
"""Tickets that wait to be shown; the oldest give way."""
_BYTES: Final = 24
_LONGEST: Final = 64


@attrs.frozen
class Ticket:
    """What a ticket lets its bearer do."""

    user: User
    session: str
    """The one session that may be joined."""
    origin: str
    """Of the page that asked for it; empty: it was no page, and none may show it."""
    until: float
    """On the clock of whoever keeps it, in seconds."""


class Tickets:
    """The tickets that wait to be shown.

    Example:
        >>> tickets = Tickets()
        >>> text = tickets.issue(User("ada"), "demo", "https://radio.example", now=0.0)
        >>> tickets.redeem(text, "https://radio.example", now=59.0).session
        'demo'
        >>> tickets.redeem(text, "https://radio.example", now=59.0) is None
        True
    """

    def __init__(self, *, seconds: float = SECONDS, most: int = MOST) -> None:
        self.seconds = seconds
        self._most = most
        self._waiting: OrderedDict[bytes, Ticket] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Tickets {len(self._waiting)}>"

    def issue(self, user: User, session: str, origin: str, now: float) -> str:
        """A ticket for ``user``, from ``now`` on."""
        text = secrets.token_urlsafe(_BYTES)
        self._forget(now)
        self._waiting[_digest(text)] = Ticket(user, session, origin.lower(), now + self.seconds)
        if len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
        return text

    def redeem(self, text: str, origin: str, now: float) -> Ticket | None:
        """What ``text`` is good for; None: nothing. It is void from here on, also when a page of another origin shows it."""
        if len(text) > _LONGEST:
            return None
        ticket = self._waiting.pop(_digest(text), None)
        if ticket is None or ticket.until < now or ticket.origin != origin.lower():
            return None
        return ticket

    def _forget(self, now: float) -> None:
        """Let go of those that have expired: all wait equally long, so they stand in front."""
        while self._waiting and next(iter(self._waiting.values())).until < now:
            self._waiting.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
