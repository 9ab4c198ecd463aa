"""The sessions of a node, read from its process groups: what the gateway lists and joins."""

from __future__ import annotations

from collections.abc import Sequence

from wsactors.actors import Member, Pid, Runtime
from wsactors.errors import NodeClosed, StartError
from wsactors.realtime.sinks import Sink
from wsactors.sessions.listener import Listener, Seat, listeners_of
from wsactors.sessions.messages import SESSIONS, Leave, SessionCard
from wsactors.wire.native import MAX_NAME, Joined, SessionInfo, clip

from .directory import NoSuchSession


class NodeDirectory:
    """Implements `Directory` for the sessions of ``node``."""

    def __init__(self, node: Runtime) -> None:
        self._node = node

    async def sessions(self) -> Sequence[SessionInfo]:
        """One line per session, by name. A session that is just being restarted is missing for that moment."""
        cards = sorted((_card(member) for member in self._node.groups.members(SESSIONS)), key=lambda card: card.name)
        return [
            SessionInfo(
                clip(card.name, MAX_NAME),
                clip(card.title),
                clip(card.kind, 32),
                len(self._node.groups.members(listeners_of(card.name))),
            )
            for card in cards
        ]

    async def join(self, name: str, sink: Sink, owner: Pid, *, history: int = 0) -> NodeMembership:
        """See `Directory.join`."""
        card = next((c for c in map(_card, self._node.groups.members(SESSIONS)) if c.name == name), None)
        if card is None:
            raise NoSuchSession(name)
        seat = Seat(sink, history)
        try:
            listener = await self._node.spawn(Listener, name, seat, owner)
        except (StartError, NodeClosed) as error:
            raise NoSuchSession(name) from error
        return NodeMembership(self._node, listener, seat, Joined(name, card.track, clip(card.title)))


class NodeMembership:
    """A listener actor and its seat."""

    def __init__(self, node: Runtime, listener: Pid, seat: Seat, joined: Joined) -> None:
        self._node = node
        self._listener = listener
        self._seat = seat
        self.joined = joined

    async def wait_ended(self) -> str:
        """Wait for the listener's end, however it comes about."""
        async with self._node.attach() as me:
            await me.monitor(self._listener).wait()
        return self._seat.reason or "the session ended"

    def leave(self) -> None:
        """Nothing is offered from this moment on; the listener ends."""
        self._seat.give_up("left")
        self._node.cast(self._listener, Leave())


def _card(member: Member) -> SessionCard:
    card: SessionCard = member.meta
    return card
