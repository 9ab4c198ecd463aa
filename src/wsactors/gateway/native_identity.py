"""Who the client of one native connection is: how it was let in, until when, and how it takes up again what broke off."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from wsactors.actors import Pid
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, User
from wsactors.realtime.service import Realtime
from wsactors.realtime.watch import Deadline, SocketWatch

from .native_topics import SavedTopic

NOTICE_SECONDS: Final = 60.0
"""How long before a token expires the client is told; a third of what is left when that is less."""


@attrs.frozen
class Parked:
    """What is left of a connection that has ended."""

    topics: Mapping[str, SavedTopic]
    guest: str = attrs.field(default="", repr=False)
    """See `Identity.guest`."""


_living: Final[dict[Pid, Callable[[], Parked]]] = {}
"""By connection, what ends it in favour of the one that resumes it. The store of resume tokens keeps values alone."""


class Identity:
    """The user of one connection.

    Args:
        realtime: The node's topics, which know who may come; None: anybody may.
        owner: The connection's actor.
        expiring: Called with the seconds that the token still holds.
        expired: Called when it does not any more.
    """

    __slots__ = ("_alarm", "_expired", "_expiring", "_guest", "_owner", "_realtime", "user")

    def __init__(
        self, realtime: Realtime | None, owner: Pid, *, expiring: Callable[[float], None], expired: Callable[[], None]
    ) -> None:
        self._realtime = realtime
        self._owner = owner
        self._expiring = expiring
        self._expired = expired
        self._alarm: Deadline | None = None
        self._guest = ""
        self.user: User = ANONYMOUS

    @property
    def guest(self) -> str:
        """What tells the user of this connection from others of whom nothing is known; kept when it is resumed. A secret."""
        if not self._guest:
            self._guest = secrets.token_hex(16)
        return self._guest

    @property
    def seconds_left(self) -> float | None:
        """How long the token lets its client stay; None: for ever."""
        expires = None if self._realtime is None else self._realtime.permission.expires(self.user)
        return None if expires is None else max(0.0, expires - time.time())

    async def enter(self, credentials: Credentials) -> None:
        """Let the client in, or raise `AuthRefused`."""
        if self._realtime is not None:
            self._become(await self._realtime.authenticate(credentials))

    async def admit(self, user: User) -> None:
        """Let in ``user``, who has shown a token elsewhere. Raises `AuthRefused` when that holds no more."""
        if self._realtime is not None:
            await self._realtime.permission.stay(user)
        self._become(user)

    async def renew(self, token: str) -> None:
        """Take a new token of the same person, or raise `AuthRefused`. Nobody in particular may become somebody."""
        if self._realtime is None:
            return
        user = await self._realtime.reauthenticate(self.user, token, owner=self._owner)
        self._become(user)
        self._realtime.places.rebind(self._owner, user)

    def issue(self, leave: Callable[[], Mapping[str, SavedTopic]]) -> tuple[str, float]:
        """A token with which this connection can be resumed, and the seconds in which it can after it has broken."""
        if self._realtime is None:
            return "", 0.0
        _living[self._owner] = lambda: Parked(leave(), self._guest)
        return self._realtime.places.issue(self.user, self._owner), self._realtime.places.seconds

    def redeem(self, token: str) -> Mapping[str, SavedTopic] | None:
        """What the connection was a member of that had got ``token``; None: there is nothing to take up."""
        if self._realtime is None:
            return None
        try:
            resumed = self._realtime.places.redeem(token, self.user, trio.current_time())
        except AuthRefused:
            return None
        match resumed.owner, resumed.state:
            case Pid() as owner, None if owner in _living:
                parked = _living[owner]()
            case _, Parked() as parked:
                pass
            case _:
                return None
        self._guest = parked.guest
        return parked.topics

    def park(self, saved: Mapping[str, SavedTopic]) -> None:
        """The connection has ended: keep what it was a member of, until its client comes back."""
        self._set_alarm(None)
        # They belong to who refers to this: a cycle would stay until the garbage collector comes.
        self._expiring = self._expired = _tell_nobody
        if _living.pop(self._owner, None) is None or self._realtime is None:
            return
        if saved or self._guest:
            size = sum(each.size for each in saved.values()) + len(self._guest)
            self._realtime.places.park(self._owner, Parked(saved, self._guest), trio.current_time(), size=size)
        else:
            self._realtime.places.void(owner=self._owner)

    def _become(self, user: User) -> None:
        self.user = user
        left = self.seconds_left
        if left is None:
            self._set_alarm(None)
        else:
            self._set_alarm(self._notice, left - min(NOTICE_SECONDS, left / 3))

    def _notice(self) -> None:
        left = self.seconds_left or 0.0
        self._set_alarm(self._expired, left)
        self._expiring(left)

    def _set_alarm(self, callback: Callable[[], None] | None, seconds: float = 0.0) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if callback is not None:
            self._alarm = SocketWatch.current().at(trio.current_time() + seconds, callback)


def _tell_nobody(_seconds: float = 0.0) -> None:
    """Of a token, once its connection has ended."""
