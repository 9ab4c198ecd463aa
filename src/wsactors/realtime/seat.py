"""One client's place in one topic."""

from __future__ import annotations

import secrets

import trio

from wsactors.actors import Pid
from wsactors.cluster import Receiver, Relay
from wsactors.wire.plain import Plain

from .identity import JoinRefused, User
from .options import TopicOptions
from .outlet import Outlet
from .publication import Position, presence_alone, without_presence


class Seat:
    """One client's place in one topic, until its channel has ended."""

    __slots__ = (
        "_id",
        "address",
        "becoming",
        "channel",
        "counted",
        "crashed",
        "decided",
        "left",
        "limit",
        "options",
        "outlet",
        "owner",
        "params",
        "presence_receiver",
        "private",
        "reads_presence",
        "reason",
        "receiver",
        "refusal",
        "self_broadcast",
        "since",
        "topic",
        "user",
        "wants_presence",
    )

    def __init__(
        self, topic: str, options: TopicOptions, outlet: Outlet, user: User, owner: Pid, params: Plain
    ) -> None:
        self.topic = topic
        self.options = options
        self.outlet = outlet
        self.user = user
        self.owner = owner
        self.params = params
        self._id = ""
        self.since: Position | None = None
        self.limit: int | None = None
        self.wants_presence = True
        self.self_broadcast = False
        self.private = options.private
        self.reads_presence = True
        """Whether it may see who is present, wanted or not."""
        self.counted = False
        """Whether it counts among the topics of its connection, and the channels of ``address``."""
        self.address = user.address
        """Where it is counted: a new token may come by another connection, from somewhere else."""
        self.becoming = ""
        """The subject of a new token, while it is decided whether that is good enough."""
        self.channel: Pid | None = None
        self.receiver: Receiver
        self.presence_receiver: Receiver | None = None
        """Of one that has asked for presence after it had joined: so nothing else is lost or doubled."""
        self.decided: trio.Event | None = trio.Event()
        """While the client waits for the answer."""
        self.refusal: JoinRefused | None = None
        self.left = False
        self.crashed = True
        self.reason = "it was killed"

    @property
    def is_in(self) -> bool:
        """Whether it gets what is published."""
        return self.channel is not None and self.receiver.partition >= 0

    def belongs_to(self, subject: str) -> bool:
        """Whether it is ``subject``'s, or about to be."""
        return subject in {self.user.subject, self.becoming}

    @property
    def id(self) -> str:
        """Its presence key, if nobody gives it one. Made when somebody asks: most clients only listen."""
        if not self._id:
            self._id = secrets.token_urlsafe(16)
        return self._id

    def take(self, channel: Pid) -> None:
        """``channel`` sits down."""
        self.channel = channel
        wire_format = self.outlet.format if self.wants_presence else without_presence(self.outlet.format)
        sink = self.outlet.sink
        self.receiver = Receiver(channel, wire_format, sink.offer, sink)

    def show_presence(self, relay: Relay) -> None:
        """From now on tell the client, who is in, who comes and goes, if it may see that. May be called again."""
        if self.channel is None or self.wants_presence or not self.reads_presence:
            return
        self.wants_presence = True
        sink = self.outlet.sink
        self.presence_receiver = Receiver(self.channel, presence_alone(self.outlet.format), sink.offer, sink)
        relay.admit(self.topic, self.presence_receiver)

    def leave(self, relay: Relay) -> None:
        """Give the client nothing more that is published."""
        relay.remove(self.topic, self.receiver)
        if self.presence_receiver is not None:
            relay.remove(self.topic, self.presence_receiver)

    def joined(self) -> None:
        """The client is in."""
        if self.decided is not None:
            self.decided.set()
            self.decided = None

    def refuse(self, refusal: JoinRefused) -> None:
        """The client is not let in."""
        self.refusal = refusal
        self.end(refusal.message, crashed=False)
        self.joined()

    def end(self, reason: str, *, crashed: bool) -> None:
        """Leave word of how the channel ends; the first word counts."""
        if self.reason == "it was killed":
            self.reason, self.crashed = reason, crashed
