"""What one client of the native protocol does with topics: every request becomes a call of `Realtime`, every answer bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs
import trio

from wsactors.actors import Pid
from wsactors.realtime.history import estimate
from wsactors.realtime.identity import ANONYMOUS, JoinRefused, PublishRefused, Refused, User
from wsactors.realtime.publication import Position
from wsactors.realtime.service import Realtime
from wsactors.realtime.sinks import Sink
from wsactors.wire import native

from .framing import PLAIN, Framing
from .native_outlet import NativeOutlet, error_of, native_format

REPLACE_SECONDS: Final = 5.0
"""In which a member that joins again has left."""
SAVED_BYTES: Final = 64 * 1024
"""What is kept for one client that may come back, an estimate."""
SAVED_TOPIC: Final = 512
"""What a topic that is kept takes beside its params and meta, an estimate in bytes."""
HINT_SECONDS: Final = 1.0
"""Between two hints that the client sends too much."""

TopicRequest: TypeAlias = (
    native.JoinTopic | native.LeaveTopic | native.Push | native.Publish | native.Track | native.Untrack
)


@attrs.frozen
class SavedTopic:
    """A membership as it is kept for a client that comes back: plain values."""

    request: native.JoinTopic
    meta: Mapping[str, native.Plain] | None = None
    """As what it was present."""

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return SAVED_TOPIC + estimate(self.request.params) + estimate(self.meta)


@attrs.define
class _Member:
    channel: Pid
    outlet: NativeOutlet
    meta: Mapping[str, native.Plain] | None = None


class NativeTopics:
    """The memberships of one connection.

    Args:
        realtime: The node's topics; None when it has none.
        sink: The connection's; it is offered whole frames, as ``framing`` makes them.
        owner: The connection's actor: channels end with it at the latest.
        framing: How publications are put on the connection.
        most: How many topics one connection may be a member of.
    """

    __slots__ = ("_format", "_hint_at", "_members", "_most", "_owner", "_pause", "_sink", "realtime", "user")

    def __init__(
        self,
        realtime: Realtime | None,
        sink: Sink,
        owner: Pid,
        framing: Framing = PLAIN,
        *,
        most: int = native.MAX_TOPICS,
    ) -> None:
        self.realtime = realtime
        self._sink = sink
        self._format = native_format(framing)
        self._owner = owner
        self._most = most
        self._pause = self._hint_at = 0.0
        self._members: dict[str, _Member] = {}
        self.user: User = ANONYMOUS

    async def handle(self, message: TopicRequest) -> float:
        """Do what the client asks, and answer. For how many seconds the client should not be read, as it sends too much."""
        self._pause = 0.0
        try:
            match message:
                case native.JoinTopic():
                    await self._join(message)
                case native.LeaveTopic(ref, topic):
                    self._leave(topic, ref)
                case native.Push(topic, event, payload, ref):
                    self._check(self._live().push(self._member(topic).channel, event, payload, ref or None))
                case native.Publish():
                    await self._publish(message)
                case native.Track(topic, meta, ref):
                    member = self._member(topic)
                    member.meta = meta
                    self._check(self._live().track(member.channel, dict(meta), ref=ref or None))
                case native.Untrack(topic, ref):
                    member = self._member(topic)
                    member.meta = None
                    self._check(self._live().untrack(member.channel, ref=ref or None))
        except Refused as refusal:
            self._send(attrs.evolve(error_of(refusal, ref=message.ref, topic=message.topic), after=self._pause))
        return self._pause

    def renew(self, user: User) -> None:
        """The client has shown a new token."""
        self.user = user
        for member in self._members.values():
            self._live().renew(member.channel, user)

    def saved(self) -> dict[str, SavedTopic]:
        """What to keep for a client that comes back: no more than `SAVED_BYTES`, the rest it joins itself."""
        found, room = {}, SAVED_BYTES
        for topic, each in self._members.items():
            saved = SavedTopic(each.outlet.request, each.meta)
            if saved.size <= room:
                room -= saved.size
                found[topic] = saved
        return found

    async def restore(self, saved: Mapping[str, SavedTopic], positions: Mapping[str, native.Position]) -> None:
        """Join again what was saved, from the positions that the client has seen; each is answered as a join with ref 0."""
        for topic, since in positions.items():
            kept = saved.get(topic)
            if kept is None:
                continue
            await self.handle(attrs.evolve(kept.request, ref=0, since=since))
            if kept.meta is not None and topic in self._members:
                await self.handle(native.Track(topic, kept.meta))

    def leave_all(self) -> None:
        """The connection has ended; nothing more is answered."""
        for member in self._members.values():
            member.outlet.is_silent = True
            self._live().leave(member.channel)
        self._members.clear()

    # -- requests --

    async def _join(self, message: native.JoinTopic) -> None:
        realtime, topic = self._live(), message.topic
        await self._replace(topic)
        if len(self._members) >= self._most:
            raise JoinRefused("too_many", f"leave a topic first: {self._most} at a time are allowed")
        outlet = NativeOutlet(self._sink, self._format, message, slow_down=self._slow_down, ended=self._ended)
        since = Position(message.since.epoch, message.since.offset) if message.since is not None else None
        channel = await realtime.join(
            topic,
            outlet,
            owner=self._owner,
            user=self.user,
            params=message.params,
            since=since,
            presence=message.presence,
            private=message.private,
            self_broadcast=message.echo,
        )
        if not outlet.ended.is_set():
            self._members[topic] = _Member(channel, outlet)

    async def _replace(self, topic: str) -> None:
        """Have the present membership end, so that nothing comes twice."""
        member = self._members.pop(topic, None)
        if member is None or member.outlet.ended.is_set():
            return
        member.outlet.is_silent = True
        self._live().leave(member.channel)
        with trio.move_on_after(REPLACE_SECONDS):
            await member.outlet.ended.wait()
            return
        raise JoinRefused("timeout", "The present membership does not end. Try again later.")

    def _leave(self, topic: str, ref: int) -> None:
        member = self._members.pop(topic, None)
        if member is None or member.outlet.ended.is_set():
            self._send(native.TopicLeft(topic, ref))
        else:
            member.outlet.leaving = ref
            self._live().leave(member.channel)

    async def _publish(self, message: native.Publish) -> None:
        """Publish as the client's channel would: where the application looks at what its clients say, it must be a push."""
        realtime, member = self._live(), self._member(message.topic)
        if not realtime.publishes_pushes(message.topic):
            raise PublishRefused("refused", "Clients do not publish on this topic by themselves: send a push.")
        realtime.check_rate(member.channel, estimate(message.payload))
        await realtime.check_publish(self.user, message.topic, private=member.outlet.request.private)
        echo = member.outlet.request.echo if message.echo is None else message.echo
        exclude = None if echo else member.channel
        position = await realtime.publish(message.topic, message.event, message.payload, exclude=exclude, id=message.id)
        if message.ref:
            self._send(native.Published(message.ref, position.epoch, position.offset))

    # -- helpers --

    def _live(self) -> Realtime:
        if self.realtime is None:
            raise JoinRefused("unmatched_topic", "This node has no topics.")
        return self.realtime

    def _member(self, topic: str) -> _Member:
        member = self._members.get(topic)
        if member is None or member.outlet.ended.is_set():
            raise PublishRefused("not_joined", "Join the topic first.")
        return member

    def _check(self, taken: bool) -> None:
        if not taken:
            raise PublishRefused("overloaded", "Too many requests wait on this topic. Wait for answers.")

    def _ended(self, outlet: NativeOutlet) -> bool:
        expires = self._live().permission.expires(self.user)
        if expires is not None and expires <= time.time():
            return False  # the connection is about to end, too: who comes back with a new token is to resume this
        member = self._members.get(outlet.topic)
        if member is not None and member.outlet is outlet:
            del self._members[outlet.topic]
        return True

    def _slow_down(self, seconds: float) -> None:
        self._pause = max(self._pause, seconds)
        now = trio.current_time()
        if now >= self._hint_at:
            self._hint_at = now + HINT_SECONDS
            self._send(native.Hint("slow_down", seconds, 0.0, "More comes than may in the long run."))

    def _send(self, message: native.ServerMessage) -> None:
        self._sink.offer(self._format.framing.alone(native.encode(message)))
