"""Topics, channels and publishing on one node: what protocols, sessions and embedding programs use."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from typing import Any

import trio

from wsactors.actors import Pid, Runtime, at_death, not_at_death
from wsactors.cluster import Backbone, LocalExchange, Receiver, Relay
from wsactors.errors import CallExit, CallTimeout, ChildError, StartError
from wsactors.supervision import ChildSpec, start_child
from wsactors.supervision.classes import find_class
from wsactors.wire.plain import Plain

from .channel import Channel, Leave, Push, Renew, SetPresence
from .history import Gap, HistoryBudget, estimate
from .identity import ANONYMOUS, Authenticator, Credentials, JoinRefused, PublishRefused, User
from .idle import IdleTopics
from .metrics import Metrics, RealtimeMetrics, counted
from .options import EVENT_LENGTH, RealtimeOptions, TopicOptions, is_event
from .outlet import Outlet
from .permission import Permission, PermissionOptions
from .publication import TO_ACTORS, Metas, Position
from .resume import ResumeStore
from .seat import Seat
from .topic import Topic
from .topic_messages import GetHistory, GetPresence, GetTopic, Publish, TopicInfo

TOPICS, CHANNELS = "topics", "channels"
_services: weakref.WeakKeyDictionary[Runtime, Realtime] = weakref.WeakKeyDictionary()


class Realtime:
    """The topics of one node. Started by `RealtimeSupervisor`, found by `Realtime.of`.

    >>> realtime = Realtime.of(node)                                                 # doctest: +SKIP
    >>> await realtime.publish("room:42", "chat", {"text": "hello"})                  # doctest: +SKIP
    Position(epoch='x1Yz8A2b', offset=1)
    """

    def __init__(
        self,
        node: Runtime,
        options: RealtimeOptions,
        *,
        authenticator: Authenticator | None = None,
        permission: PermissionOptions = PermissionOptions(),  # noqa: B008 - frozen
        backbone: Backbone | None = None,
        allowed_packages: tuple[str, ...] = ("wsactors",),
    ) -> None:
        self.node = node
        self.options = options
        self.relay = Relay(node, backbone or LocalExchange().join(node.name), options.relay_partitions)
        self.seats: dict[Pid, Seat] = {}  # of the channels that live
        self.arriving: dict[int, Seat] = {}
        """Of those that are being started, by number: messages are values, and a seat is none."""
        self.permission = Permission(node, permission, authenticator)
        self.history_budget = HistoryBudget(options.history_bytes)
        self.idle = IdleTopics()
        self.places = ResumeStore()  # of clients that may take up again what their connection broke off
        self.metrics = RealtimeMetrics(Metrics.of(node), self.seats)
        self._actors: dict[tuple[str, Pid], Receiver] = {}
        self._numbers = itertools.count(1)
        self._allowed_packages = allowed_packages
        self._classes: dict[str, type[Channel]] = {}
        _services[node] = self

    @classmethod
    def of(cls, node: Runtime) -> Realtime:
        """The node's. Raises `LookupError` when it has none: see `start_realtime`."""
        try:
            return _services[node]
        except KeyError:
            raise LookupError(
                "this node has no topics: start a RealtimeSupervisor, or name it in a supervisor file"
            ) from None

    async def authenticate(self, credentials: Credentials) -> User:
        """Whose connection it is. Raises `AuthRefused`."""
        return await self.permission.enter(credentials)

    async def reauthenticate(self, user: User, token: str) -> User:
        """``user``, whose client shows a new token: nobody becomes another by that. Raises `AuthRefused`."""
        return await self.permission.renew(user, token)

    # -- clients --

    @counted
    async def join(
        self,
        topic: str,
        outlet: Outlet,
        *,
        owner: Pid,
        user: User = ANONYMOUS,
        params: Plain = None,
        since: Position | None = None,
        limit: int | None = None,
        presence: bool = True,
        private: bool = False,
        self_broadcast: bool = False,
    ) -> Pid:
        """Make a channel for a client; ``outlet.joined`` has been called when this returns its pid.

        Args:
            outlet: where the client gets everything.
            owner: the connection's actor; the channel ends with it.
            user: whose connection it is.
            params: what the client says on joining.
            since: what it has seen, if it comes back.
            limit: most publications it wants to make up for.
            presence: whether it wants to know who is present.
            private: whether the client says that the topic is private: then the policy must allow it by name.
            self_broadcast: whether it gets what it publishes itself.

        Raises:
            JoinRefused: why not.
        """
        options = self._topic_options(topic)
        seat = Seat(topic, options, outlet, user, owner, params)
        seat.since, seat.limit, seat.self_broadcast = since, limit, self_broadcast
        seat.private = private or options.private
        self.permission.joining(seat)
        try:
            with trio.move_on_after(self.options.join_seconds):
                await self.check_join(user, topic, params, private=seat.private)
                seat.reads_presence = await self.permission.may("presence_read", user, topic, private=seat.private)
                seat.wants_presence = presence and seat.reads_presence
                return await self._joined(seat, self.channel_class(options))
            raise JoinRefused("timeout", "Joining took too long. Try again later.")
        except BaseException:
            self.permission.left(seat)
            raise

    async def _joined(self, seat: Seat, channel: type[Channel]) -> Pid:
        decided = seat.decided
        pid = await self._start_channel(seat, channel)
        try:
            if decided is not None:
                await decided.wait()
        except trio.Cancelled:
            self.node.exit(pid, "kill")  # it may be waiting for anything
            raise
        if seat.refusal is not None:
            raise seat.refusal
        if seat.left:
            raise JoinRefused("crash", "join crashed")
        return pid

    async def _start_channel(self, seat: Seat, channel: type[Channel]) -> Pid:
        number = next(self._numbers)
        self.arriving[number] = seat
        try:
            spec = ChildSpec("channel", channel, (number,), restart="temporary", shutdown=1.0)
            pid = await start_child(self._here(CHANNELS), spec)
        except ChildError as error:
            code = "too_many" if error.reason == "max_children" else "crash"
            raise JoinRefused(code, "This node takes nobody more. Try again later.") from None
        except (StartError, CallExit):
            raise JoinRefused("crash", "join crashed") from None
        finally:
            del self.arriving[number]
        if pid is None:
            raise JoinRefused("crash", "join crashed")
        return pid

    def push(self, channel: Pid, event: str, payload: Plain, ref: Any = None) -> bool:
        """Give a channel what its client sends; False: it is gone, or has too much to do. What is too fast is answered here."""
        try:
            self.check_rate(channel, estimate(payload))
        except PublishRefused as refusal:
            if ref is not None:
                self.seats[channel].outlet.reply(ref, "error", {"reason": refusal.message, "code": refusal.code})
            return True
        return self.node.cast(channel, Push(event, payload, ref))

    def leave(self, channel: Pid, reason: str = "left") -> None:
        """End a channel in order; ``outlet.closed`` follows."""
        self.node.cast(channel, Leave(reason))

    def track(self, channel: Pid, meta: Mapping[str, Any], *, key: str | None = None, ref: Any = None) -> bool:
        """Show a channel's client as present; False as for `push`."""
        return self.node.cast(channel, SetPresence(meta, key, ref))

    def untrack(self, channel: Pid, *, ref: Any = None) -> bool:
        """Show it no more; False as for `push`."""
        return self.node.cast(channel, SetPresence(None, None, ref))

    def renew(self, channel: Pid, user: User) -> None:
        """The client has shown a new token."""
        self.node.cast(channel, Renew(user))

    def kick(self, subject: str, reason: str = "kicked") -> int:
        """End all channels of a user, who can resume none of them, and forget what he may do; how many."""
        self.permission.policy.forget(subject=subject)
        self.places.void(subject=subject)
        if not subject:
            return 0  # nobody in particular: those are many, and strangers to each other
        channels = [pid for pid, seat in self.seats.items() if seat.user.subject == subject]
        for pid in channels:
            self.leave(pid, reason)
        return len(channels)

    # -- actors --

    async def subscribe(self, topic: str, pid: Pid) -> None:
        """Send an actor of this node every `Publication`, `PresenceDiff` included, as a message, until it dies.

        Raises:
            JoinRefused: there can be no such topic, or it does not start.
            NoProcess: the actor is dead.
        """
        await self.ensure_topic(topic)
        if (topic, pid) in self._actors:
            return
        receiver = Receiver(pid, TO_ACTORS, lambda item, _: self.node.send(pid, item))
        at_death(pid, ("topic", topic), lambda _: self.unsubscribe(topic, pid))
        self._actors[topic, pid] = receiver
        self.relay.admit(topic, receiver)

    def unsubscribe(self, topic: str, pid: Pid) -> None:
        """End `subscribe`. May be called again."""
        receiver = self._actors.pop((topic, pid), None)
        if receiver is not None:
            self.relay.remove(topic, receiver)
            not_at_death(pid, ("topic", topic))

    # -- publishers --

    async def publish(
        self,
        topic: str,
        event: str,
        payload: Plain,
        *,
        exclude: Pid | None = None,
        id: str = "",  # noqa: A002 - the field's name
        meta: Mapping[str, Any] | None = None,
    ) -> Position:
        """Publish as nobody's client: from an actor, a service, REST. Returns its place once the topic has taken it.

        Raises:
            PublishRefused: there can be no such topic, the payload is too large, or the topic is overloaded.
        """
        message = self._publish_message(topic, event, payload, exclude, id, meta)
        for _ in range(3):
            pid = await self._ensure_for_publisher(topic)
            try:
                position: Position | None = await self.node.call(pid, message, timeout=self.options.join_seconds)
            except CallTimeout:  # a `CallExit`, too
                break
            except CallExit:
                continue
            if position is not None:
                return position
            break
        raise PublishRefused("overloaded", "The topic is overloaded. Try again later.")

    def publish_nowait(self, topic: str, event: str, payload: Plain, *, exclude: Pid | None = None) -> bool:
        """Publish to a topic that somebody has joined; False when nobody has, or the topic is overloaded."""
        pid = self.node.whereis(_name(topic))
        message = self._publish_message(topic, event, payload, exclude, "", None)
        return pid is not None and self.relay.has_room(topic) and self.node.cast(pid, message)

    async def history(self, topic: str, since: Position | None = None, limit: int | None = None) -> Gap:
        """What was published since a position, or the newest ``limit``. A topic that nobody uses has no history."""
        found = await self._ask(topic, GetHistory(since, limit))
        return found if isinstance(found, Gap) else Gap((), recovered=since is None)

    async def presence(self, topic: str) -> Metas:
        """Who is present."""
        return await self._ask(topic, GetPresence()) or {}

    async def topic(self, topic: str) -> TopicInfo | None:
        """How a topic is doing; None: nobody uses it."""
        found: TopicInfo | None = await self._ask(topic, GetTopic())
        return found

    def topics(self) -> list[str]:
        """The topics that are in use, in no order."""
        prefix = _name("")
        return [name[len(prefix) :] for name in self.node.registry.names if name.startswith(prefix)]

    # -- permission --

    async def check_join(self, user: User, topic: str, params: Plain, *, private: bool) -> None:
        """Raises `JoinRefused` when ``user`` may not join."""
        await self.permission.check_join(user, topic, params, private=private or self._is_private(topic))

    async def check_publish(self, user: User, topic: str, *, private: bool = False) -> None:
        """Raises `PublishRefused` when ``user`` may not publish. ``private``: the client says that the topic is."""
        await self.permission.check("publish", user, topic, private=private or self._is_private(topic))

    def check_rate(self, channel: Pid, size: int) -> None:
        """Count a message of ``size`` bytes that a channel's client sends; a client that can be slowed down, is.

        Raises:
            PublishRefused: too many have come; this one is not to be handled.
        """
        seat = self.seats.get(channel)
        if seat is not None:
            self.permission.check_rate(seat, size)

    def publishes_pushes(self, topic: str) -> bool:
        """Whether the channels of ``topic`` publish whatever their clients push: then a client may as well publish."""
        options = self.options.for_topic(topic)
        return options is not None and self.channel_class(options).publishes_pushes()

    # -- for channels --

    async def ensure_topic(self, topic: str) -> Pid:
        """The topic's actor, started if need be. Raises `JoinRefused`."""
        name = _name(topic)
        if (pid := self.node.whereis(name)) is not None:
            return pid
        options = self._topic_options(topic)
        spec = ChildSpec("topic", Topic, (topic, options), name=name, restart="temporary", shutdown=1.0)
        for _ in range(3):
            try:
                pid = await start_child(self._here(TOPICS), spec, timeout=self.options.join_seconds)
            except StartError:  # somebody else starts it, or has started it, or it has ended again
                pid = self.node.whereis(name)
            except ChildError as error:
                full = error.reason == "max_children"
                if full and await self.idle.end_oldest(self._here(TOPICS)):
                    continue
                raise JoinRefused("too_many" if full else "crash", "too many topics") from None
            except CallExit:
                raise JoinRefused("timeout", "the node is overloaded") from None
            if pid is not None:
                return pid
        raise JoinRefused("crash", "The topic does not start. Try again later.")

    def vacate(self, channel: Pid, *, tell: bool = True) -> None:
        """In a death step, the channel's or its connection's: the seat is nobody's any more."""
        seat = self.seats.pop(channel, None)
        if seat is None:
            return
        seat.left = True
        self.permission.left(seat)
        seat.leave(self.relay)
        if seat.decided is not None:
            seat.joined()  # it never was: whoever waits sees that it has left
        elif tell and seat.refusal is None:
            seat.outlet.closed(seat.reason, crashed=seat.crashed)

    # -- inside --

    def _publish_message(
        self, topic: str, event: str, payload: Plain, exclude: Pid | None, id_: str, meta: Mapping[str, Any] | None
    ) -> Publish:
        if self.options.for_topic(topic) is None:
            raise PublishRefused("unmatched_topic", "There is no such topic.")
        if not is_event(event):
            raise PublishRefused("too_large", f"an event's name is text of at most {EVENT_LENGTH} bytes")
        if (size := estimate(payload)) > self.options.payload_bytes:
            raise PublishRefused("too_large", f"a message may have {self.options.payload_bytes} bytes")
        return Publish(event, payload, exclude=exclude, size=size, id=id_, meta=meta)

    async def _ensure_for_publisher(self, topic: str) -> Pid:
        try:
            return await self.ensure_topic(topic)
        except JoinRefused as refusal:
            raise PublishRefused("overloaded", refusal.message) from None

    async def _ask(self, topic: str, question: object) -> Any:
        if (pid := self.node.whereis(_name(topic))) is None:
            return None
        try:
            return await self.node.call(pid, question, timeout=self.options.join_seconds)
        except CallExit:
            return None

    def _is_private(self, topic: str) -> bool:
        return (options := self.options.for_topic(topic)) is not None and options.private

    def _topic_options(self, topic: str) -> TopicOptions:
        if (options := self.options.for_topic(topic)) is None:
            raise JoinRefused("unmatched_topic", "There is no such topic.")
        return options

    def channel_class(self, options: TopicOptions) -> type[Channel]:
        """Raises `ClassNotFoundError` (a `ValueError`)."""
        if (found := self._classes.get(options.channel)) is None:
            found = find_class(options.channel, self._allowed_packages)
            if not issubclass(found, Channel):
                raise ValueError(f"{options.channel} is no channel: it must be a subclass of Channel")
            self._classes[options.channel] = found
        return found

    def _here(self, name: str) -> Pid | str:
        return self.node.whereis(name) or name


def _name(topic: str) -> str:
    return f"topic:{topic}"
