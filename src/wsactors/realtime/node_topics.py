"""The topics of one node for whoever is nobody's client: actors that listen, publishers, those who ask about a topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsactors.actors import Pid, Runtime, at_death, not_at_death
from wsactors.cluster import Receiver, Relay
from wsactors.errors import CallExit, CallTimeout, ChildError, StartError
from wsactors.supervision import ChildSpec, start_child
from wsactors.supervision.classes import find_class
from wsactors.wire.plain import Plain

from .channel import Channel
from .history import Gap, HistoryBudget, estimate
from .identity import JoinRefused, PublishRefused
from .idle import IdleTopics
from .options import EVENT_LENGTH, RealtimeOptions, TopicOptions, is_event
from .publication import TO_ACTORS, Metas, Position
from .topic import Topic
from .topic_messages import GetHistory, GetPresence, GetTopic, Publish, TopicInfo

TOPICS = "topics"
"""The registered name of the topics' supervisor."""
FULL = "This node has as many topics as it may have. Try again later."


class NodeTopics:
    """The topics of one node: each is an actor, started when it is needed.

    Args:
        node: where they are.
        options: what they are like.
        relay: what sends out what is published on them.
        allowed_packages: where their channel classes may come from.
    """

    def __init__(
        self, node: Runtime, options: RealtimeOptions, relay: Relay, allowed_packages: tuple[str, ...]
    ) -> None:
        self.node = node
        self.options = options
        self.relay = relay
        self.history_budget = HistoryBudget(options.history_bytes)
        self.idle = IdleTopics()
        self._actors: dict[tuple[str, Pid], Receiver] = {}
        self._allowed_packages = allowed_packages
        self._classes: dict[str, type[Channel]] = {}

    # -- actors --

    async def subscribe(self, topic: str, pid: Pid) -> None:
        """Send an actor of this node every `Publication`, `PresenceDiff` included, as a message, until it dies.

        Should a partition of the relay crash, what it was just sending may be missing: the offset says so, `history` has it.

        Raises:
            JoinRefused: there can be no such topic, or it does not start.
            NoProcess: the actor is dead.
        """
        await self.ensure_topic(topic)
        if (topic, pid) not in self._actors:
            self._listen(topic, pid)

    def _listen(self, topic: str, pid: Pid) -> None:
        """Raises `NoProcess`."""
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

    # -- what topics there are --

    async def ensure_topic(self, topic: str) -> Pid:
        """The topic's actor, started if need be. Raises `JoinRefused`."""
        name = _name(topic)
        if (pid := self.node.whereis(name)) is not None:
            return pid
        options = self.topic_options(topic)
        spec = ChildSpec("topic", Topic, (topic, options), name=name, restart="temporary", shutdown=1.0)
        for _ in range(3):
            try:
                pid = await start_child(self.place_of(TOPICS), spec, timeout=self.options.join_seconds)
            except StartError:  # somebody else starts it, or has started it, or it has ended again
                pid = self.node.whereis(name)
            except ChildError as error:
                full = error.reason == "max_children"
                if full and await self.idle.end_oldest(self.place_of(TOPICS)):
                    continue
                raise JoinRefused(
                    "too_many" if full else "crash", FULL if full else "The topic does not start."
                ) from None
            except CallExit:
                raise JoinRefused("timeout", "the node is overloaded") from None
            if pid is not None:
                return pid
        raise JoinRefused("crash", "The topic does not start. Try again later.")

    def publishes_pushes(self, topic: str) -> bool:
        """Whether the channels of ``topic`` publish whatever their clients push: then a client may as well publish."""
        options = self.options.for_topic(topic)
        return options is not None and self.channel_class(options).publishes_pushes()

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

    def is_private(self, topic: str) -> bool:
        """Whether only those may do anything there whom the policy names."""
        return (options := self.options.for_topic(topic)) is not None and options.private

    def topic_options(self, topic: str) -> TopicOptions:
        """Raises `JoinRefused` when there can be no such topic."""
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

    def place_of(self, name: str) -> Pid | str:
        """Where a supervisor of that name is: looked up once for several messages."""
        return self.node.whereis(name) or name


def _name(topic: str) -> str:
    return f"topic:{topic}"
