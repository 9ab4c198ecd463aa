"""What one client of the native protocol does with sessions: it joins them, hears them, acts in them, speaks in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from wsactors.media.reports import Heard
from wsactors.realtime.identity import Refused, User
from wsactors.realtime.limits import Bucket, Rate
from wsactors.realtime.sinks import Sink
from wsactors.wire import native

from .directory import Membership, NoSuchSession
from .native_outlet import error_of

if TYPE_CHECKING:
    from wsactors.actors import Pid

    from .port import Port

RUNNING_START: Final = 8
"""Frames of the past that a join begins with: what a jitter buffer fills itself with first."""
REQUESTS: Final = Rate(per_second=20.0, burst=60.0)
"""Joins and acts of one connection. Who asks faster is read more slowly, and refused in the end."""


class NativeSessions:
    """The memberships of one connection.

    Args:
        sink: The connection's; it is offered encoded messages and audio frames.
        port: Whose sessions can be joined.
        owner: The connection's actor: listeners end with it at the latest.
        on_join: Called before the first session is joined.
        transport: What carries it all.
    """

    __slots__ = ("_members", "_on_join", "_owner", "_port", "_requests", "_sink", "_transport", "version")

    def __init__(self, sink: Sink, port: Port, owner: Pid, on_join: Callable[[], None], transport: str) -> None:
        self._sink = sink
        self._port = port
        self._owner = owner
        self._on_join = on_join
        self._transport = transport
        self._members: dict[str, Membership] = {}
        self._requests: Bucket | None = None  # most connections ask for nothing here
        self.version = native.VERSION

    async def join(self, name: str, user: User, guest: str) -> float:
        """Join, and answer. For how many seconds the client should not be read, as it asks too much."""
        present = self._members.get(name)
        if present is not None:
            self._send(present.joined)
            return 0.0
        try:
            wait = self._pay()
            most = self._port.options.limits.sessions_per_connection
            if len(self._members) >= most:
                raise Refused("too_many", f"leave a session first: {most} at a time are allowed")
            if not self._members:
                self._on_join()
            membership = await self._port.directory.join(
                name,
                self._sink,
                self._owner,
                history=RUNNING_START,
                user=user,
                guest=guest,
                transport=self._transport,
            )
        except NoSuchSession:
            self._send(native.Error("no_session", "There is no such session now. Ask for the list again.", name))
            return 0.0
        except Refused as refusal:
            return self._refuse(refusal, session=name)
        self._members[name] = membership
        self._send(membership.joined)
        membership.when_ended(partial(self._ended, name, membership))
        return wait

    def leave(self, name: str) -> None:
        """Leave for good, and answer."""
        membership = self._members.pop(name, None)
        if membership is not None:
            membership.leave()
        self._send(native.Left(name))

    async def act(self, act: native.Act) -> float:
        """Do in a session what the client asks for, and answer. Seconds as in `join`."""
        try:
            wait = self._pay()
            membership = self._members.get(act.session)
            if membership is None:
                raise Refused("not_joined", "Join the session first.")
            self._send(native.Reply(act.ref, "ok", await membership.act(act.action, act.args)))
        except Refused as refusal:
            return self._refuse(refusal, session=act.session, ref=act.ref)
        return wait

    def speak(self, data: bytes) -> bool:
        """Take an audio frame of the client, for the session that it has joined last of those in which people speak.

        What it may not say is dropped there, and counted. False: it is in no such session.
        """
        for membership in reversed(self._members.values()):
            if membership.takes_speech:
                membership.speak(data, trio.current_time())
                return True
        return False

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        """The client has reported."""
        for membership in self._members.values():
            membership.hear(heard, now)

    def renew(self, user: User) -> None:
        """The client has shown a new token: its rights may be others."""
        for membership in self._members.values():
            membership.renew(user)

    def end(self) -> None:
        """The client is gone, or will be; it may come back."""
        while self._members:
            self._members.popitem()[1].leave(lost=True)

    def _pay(self) -> float:
        now = trio.current_time()
        if self._requests is None:
            self._requests = Bucket(REQUESTS, now)
        verdict = self._requests.take(now)
        if not verdict.taken:
            raise _TooFast(verdict.wait)
        return verdict.wait

    def _refuse(self, refusal: Refused, *, session: str, ref: int = 0) -> float:
        after = refusal.after if isinstance(refusal, _TooFast) else 0.0
        self._send(attrs.evolve(error_of(refusal, ref=ref), session=session))
        return after

    def _ended(self, name: str, membership: Membership, reason: str) -> None:
        if self._members.get(name) is membership:
            del self._members[name]
            self._send(native.Left(name, native.clip(reason)))

    def _send(self, message: native.ServerMessage) -> None:
        self._sink.offer(native.encode(message, self.version))


class _TooFast(Refused):
    def __init__(self, after: float) -> None:
        super().__init__("rate", "Too many requests. Wait a moment.")
        self.after = after
