"""Resume tokens: with one, a client whose connection broke takes up its place again under another connection.

A token is 192 random bits, good once, and bound to the person it was given to: whoever shows another's token gets nothing, and
that token is void, for it is in wrong hands. Nobody in particular is bound to the token alone. What is kept is the hash of a
token, so that no report shows one. Who resumes must be let in again like anybody else: a token brings a place back, never a
permission.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs

from .identity import AuthRefused, User

__all__ = ["ResumeStore", "Resumed"]

BYTES: Final = 24
"""Of randomness in a token."""
_LONGEST: Final = 64


@attrs.define(eq=False)
class _Place:
    subject: str
    owner: Hashable
    until: float | None = None
    """Monotonic time until which it waits for its client; None: the client is connected."""
    state: Any = attrs.field(default=None, repr=False)
    size: int = 0


@attrs.frozen
class Resumed:
    """A place that was taken up again."""

    state: Any
    """What was parked; None when the old connection still believed to be alive."""
    owner: Hashable
    """Whose it was: if that connection is still there, it must go."""


class ResumeStore:
    """The places that can be taken up again.

    Args:
        seconds: how long a place waits after its connection has ended.
        most: places that wait, all together; the oldest gives way.
        most_per_subject: places of one person; likewise.
        most_bytes: what is parked, all together; likewise.

    >>> store = ResumeStore()
    >>> token = store.issue(User("ada"), owner=1)
    >>> store.park(1, {"topics": ["room:42"]}, now=0.0)
    True
    >>> store.redeem(token, User("ada"), now=5.0).state
    {'topics': ['room:42']}
    """

    def __init__(
        self,
        *,
        seconds: float = 120.0,
        most: int = 100_000,
        most_per_subject: int = 1_000,
        most_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_per_subject = most_per_subject
        self._most_bytes = most_bytes
        self.later: Callable[[float, Callable[[], object]], object] | None = None
        """How to have something done at a monotonic time; without it, what is over is kept until the next call."""
        self._awaits: float | None = None
        self._bytes = 0
        self._places: dict[Hashable, _Place] = {}
        """By the hash of a token, or by whose it is."""
        self._parked: OrderedDict[Hashable, None] = OrderedDict()
        """Oldest first: they all wait equally long."""
        self._of_subject: dict[str, OrderedDict[Hashable, None]] = {}
        self._of_owner: dict[Hashable, Hashable] = {}

    @property
    def seconds(self) -> float:
        """How long a place waits after its connection has ended."""
        return self._seconds

    def issue(self, user: User, owner: Hashable) -> str:
        """A token for ``user``, whose connection is ``owner``; an earlier one of the same connection is void."""
        self.void(owner=owner)
        token = secrets.token_urlsafe(BYTES)
        key = _digest(token)
        self._places[key] = place = _Place(user.subject, owner)
        self._of_owner[owner] = key
        self._bind(key, place)
        return token

    def hold(self, user: User, owner: Hashable) -> None:
        """Keep a place without a token of its own: whoever calls `retake` has seen another proof of whose it is."""
        self.void(owner=owner)
        self._places[owner] = place = _Place(user.subject, owner)
        self._of_owner[owner] = owner
        self._bind(owner, place)

    def rebind(self, owner: Hashable, user: User) -> None:
        """``user`` has logged in on a connection that was nobody's until then."""
        key = self._of_owner.get(owner)
        if key is not None and (place := self._places[key]).subject != user.subject:
            self._unbind(key, place)
            place.subject = user.subject
            self._bind(key, place)

    def park(self, owner: Hashable, state: Any, now: float, *, size: int = 0) -> bool:
        """The connection has ended: keep its place for a while. False: it has none any more.

        ``size``: of ``state`` in bytes, an estimate.
        """
        self.expire(now)
        key = self._of_owner.get(owner)
        if key is None:
            return False
        place = self._places[key]
        self._bytes += size - place.size
        place.until, place.state, place.size = now + self._seconds, state, size
        self._parked[key] = None
        self._parked.move_to_end(key)
        while len(self._parked) > self._most or self._bytes > self._most_bytes:
            self._end(next(iter(self._parked)))
        self._expire_later()
        return True

    def redeem(self, token: str, user: User, now: float) -> Resumed:
        """Take up a place, once.

        Raises:
            AuthRefused: code ``resume``: there is no such place (any more), or it is another's. All sound alike.
        """
        return self._taken(_digest(token), user, now)

    def retake(self, owner: Hashable, user: User, now: float) -> Resumed:
        """Take up, once, what `hold` has kept. Raises as `redeem`."""
        return self._taken(owner, user, now)

    def _taken(self, key: Hashable, user: User, now: float) -> Resumed:
        self.expire(now)
        place = self._end(key)
        if place is None or place.subject != user.subject:
            raise AuthRefused("resume", "There is nothing to resume: begin anew.")
        return Resumed(place.state, place.owner)

    def void(self, *, subject: str = "", owner: Hashable = None) -> int:
        """End the places of a person, or of a connection: after a kick nothing can be resumed. How many there were."""
        keys = set(self._of_subject.get(subject, ())) if subject else set()
        if owner in self._of_owner:
            keys.add(self._of_owner[owner])
        for key in keys:
            self._end(key)
        return len(keys)

    def expire(self, now: float) -> None:
        """End the places whose clients did not come back in time."""
        while self._parked:
            oldest = next(iter(self._parked))
            until = self._places[oldest].until
            if until is None or until > now:
                return
            self._end(oldest)

    def _expire_later(self) -> None:
        """One time is awaited for all: that of the oldest."""
        if self.later is not None and self._awaits is None and self._parked:
            self._awaits = self._places[next(iter(self._parked))].until
            if self._awaits is not None:
                self.later(self._awaits, self._expire_due)

    def _expire_due(self) -> None:
        due, self._awaits = self._awaits, None
        if due is not None:
            self.expire(due)
            self._expire_later()

    def __len__(self) -> int:
        """Places, of clients that are connected and of those that are awaited."""
        return len(self._places)

    def _bind(self, key: Hashable, place: _Place) -> None:
        if place.subject:
            own = self._of_subject.setdefault(place.subject, OrderedDict())
            own[key] = None
            if len(own) > self._most_per_subject:
                self._end(next(iter(own)))

    def _unbind(self, key: Hashable, place: _Place) -> None:
        own = self._of_subject.get(place.subject)
        if own is not None:
            own.pop(key, None)
            if not own:
                del self._of_subject[place.subject]

    def _end(self, key: Hashable) -> _Place | None:
        place = self._places.pop(key, None)
        if place is not None:
            self._unbind(key, place)
            self._parked.pop(key, None)
            self._bytes -= place.size
            del self._of_owner[place.owner]
        return place


def _digest(token: str) -> bytes:
    """What a token is kept as. A hash also makes every comparison one that tells nothing by the time it takes."""
    return hashlib.sha256(token[:_LONGEST].encode("utf-8", "surrogatepass")).digest()
