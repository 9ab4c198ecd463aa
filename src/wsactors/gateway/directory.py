"""What the gateway asks of the sessions of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from wsactors.errors import NoSuchSession
from wsactors.media.reports import Heard
from wsactors.realtime.identity import ANONYMOUS, User
from wsactors.realtime.sinks import Sink
from wsactors.wire.native import Joined, Plain, SessionInfo

if TYPE_CHECKING:
    from wsactors.actors import Pid

__all__ = ["Directory", "Membership", "NoSuchSession"]


class Membership(Protocol):
    """One connection's place in one session."""

    @property
    def joined(self) -> Joined:
        """What to tell the client."""
        ...

    async def wait_ended(self) -> str:
        """Wait until the session ends this membership; why, in a word for people."""
        ...

    def when_ended(self, tell: Callable[[str], object]) -> None:
        """Have ``tell`` called with that reason when it ends; at once if it has. It must not wait."""
        ...

    def leave(self, *, lost: bool = False) -> None:
        """End it from this side; no offer follows. May be called again, and after it has ended.

        ``lost``: the connection broke; its user may be back in a moment, and would have the place again.
        """
        ...

    @property
    def takes_speech(self) -> bool:
        """Whether people speak in this session, perhaps this one, too."""
        ...

    async def act(self, action: str, args: Mapping[str, Plain]) -> Plain:
        """Do something in the session, such as raising a hand; its answer.

        Raises:
            Refused: The session knows no such thing, or this user may not do it now.
        """
        ...

    def speak(self, data: bytes, now: float) -> None:
        """Take an audio frame of this user. What is none, or may not be said now, is dropped and counted."""
        ...

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        """What this listener has reported of how tracks are heard, of this session or others."""
        ...

    def renew(self, user: User) -> None:
        """The connection's user has shown who it is anew: its rights may be others."""
        ...


class Directory(Protocol):
    """The sessions of a node, as the gateway sees them."""

    async def sessions(self) -> Sequence[SessionInfo]:
        """The sessions that can be joined now."""
        ...

    async def join(
        self,
        name: str,
        sink: Sink,
        owner: Pid,
        *,
        history: int = 0,
        events: bool = True,
        user: User = ANONYMOUS,
        guest: str = "",
        transport: str = "",
    ) -> Membership:
        """Make a listener in session ``name`` that offers everything to ``sink``; it ends with ``owner`` at the latest.

        ``history`` is how many frames of the past it gets at once, for a running start; ``events``, whether it gets what is
        not sound. ``guest`` tells users apart of whom nothing else is known; it is a secret of this connection.
        ``transport`` is what brings the sound there: one of `wsactors.sessions.listener_metrics.TRANSPORTS`.

        Raises:
            NoSuchSession: There is none of that name, or it does not answer.
            Refused: This user may not come in.
        """
        ...
