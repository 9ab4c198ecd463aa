"""One topic as its member sees it: what has been seen, what was missed, what waits to be read. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from wsactors.wire import native

from .errors import Overflowed
from .presence import PresenceMirror

BUFFER: Final = 1_000
"""Messages that wait for a reader that does not keep up."""
MOST_OWN: Final = 1_000
"""Own publications that are remembered, lest they come back as missed."""

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "latest", "fail"]
"""What becomes of a message for which a reader's buffer has no room: the oldest goes; it goes itself; of each event only the
newest ever waits; or reading ends with `Overflowed`."""


@attrs.frozen
class TopicMessage:
    """What came on a topic."""

    event: str
    payload: native.Plain
    offset: int = 0
    """Its place in the topic's history; 0: it is not kept there."""
    epoch: str = ""
    id: str = ""
    at: float = 0.0
    """When it was published, Unix time in seconds."""
    direct: bool = False
    """Whether it was for this member alone."""
    after_gap: bool = False
    """Whether messages before it are lost for good: fetch the present state some other way."""


@attrs.define(eq=False)
class Membership:
    """What a client knows of one topic that it wants to be a member of."""

    topic: str
    params: native.Plain = None
    wants_presence: bool = True
    echo: bool = False
    private: bool = False
    limit: int = BUFFER
    overflow: Overflow = "drop_oldest"
    since: native.Position | None = None
    """Everything up to here has been seen."""
    phase: Literal["wanted", "joining", "joined", "ended"] = "wanted"
    ref: int = 0
    """Of the join that waits for its answer."""
    joined_at: float = 0.0
    again_at: float | None = None
    """When a join that failed is tried again."""
    meta: Mapping[str, native.Plain] | None = None
    """As what the client wants to be present; None: not at all."""
    tracked: Mapping[str, native.Plain] | None = None
    """As what the node shows it."""
    presence: PresenceMirror = attrs.field(factory=PresenceMirror)
    response: native.Plain = None
    recovered: bool | None = None
    gaps: int = 0
    """How often messages were lost for good."""
    dropped: int = 0
    """Messages that the reader was too slow for."""
    received: int = 0
    error: Exception | None = None
    """Why there will be no more; None also when the client has left."""
    buffer: deque[TopicMessage] = attrs.field(factory=deque)
    _own: set[int] = attrs.field(factory=set)
    _target: native.Position | None = None
    _missed: int = 0
    _after_gap: bool = False

    def join(self, ref: int) -> native.JoinTopic:
        """The request to be made a member, again if need be."""
        self.phase, self.ref, self.again_at = "joining", ref, None
        return native.JoinTopic(ref, self.topic, self.params, self.since, self.wants_presence, self.echo, self.private)

    def take_joined(self, joined: native.TopicJoined) -> None:
        """The node says yes."""
        self.phase, self.ref, self.again_at = "joined", 0, None
        self.response, self.recovered = joined.response, joined.recovered
        if joined.recovered is False:
            self._lose()
        self._target, self._missed = native.Position(joined.epoch, joined.offset), joined.missed
        if not self._missed:
            self._see(self._target)

    def take_message(self, message: native.Message) -> None:
        """Something was published."""
        is_own = message.offset in self._own and self.since is not None and self.since.epoch == message.epoch
        if self._missed:
            self._missed -= 1
            if self._missed == 0 and self._target is not None:
                self._see(self._target)
            elif self.recovered:
                self._see(native.Position(message.epoch, message.offset))
        elif message.offset:
            if self.since is not None and message.epoch != self.since.epoch:
                self._lose()  # the topic was restarted, and its history with it
            self._see(native.Position(message.epoch, message.offset))
        if not is_own:
            self._keep(
                TopicMessage(
                    message.event,
                    message.payload,
                    message.offset,
                    message.epoch,
                    message.id,
                    message.at,
                    after_gap=self._after_gap,
                )
            )

    def take_push(self, push: native.Push) -> None:
        """The channel says something to this member alone."""
        self._keep(TopicMessage(push.event, push.payload, direct=True, after_gap=self._after_gap))

    def take_published(self, published: native.Published, *, echo: bool) -> None:
        """An own publication has its place: not to be delivered again as missed."""
        if not echo and published.offset and len(self._own) < MOST_OWN:
            self._own.add(published.offset)

    def lose_connection(self) -> None:
        """What the node knew of this member is gone, unless it is resumed."""
        if self.phase in {"joining", "joined"}:
            self.phase = "wanted"
        self.ref = 0
        self.presence.is_known = False

    def end(self, error: Exception | None) -> None:
        """No more will come; what waits can still be read."""
        self.phase, self.error, self.again_at = "ended", error, None
        self.presence.clear()

    def _see(self, position: native.Position) -> None:
        before = self.since
        if before is not None and before.epoch == position.epoch:
            position = native.Position(position.epoch, max(before.offset, position.offset))
            if self._own:
                self._own = {offset for offset in self._own if offset > position.offset}
        elif before is not None:
            self._own = set()
        self.since = position

    def _lose(self) -> None:
        self.gaps += 1
        self._after_gap = True

    def _keep(self, message: TopicMessage) -> None:
        self.received += 1
        self._after_gap = False
        if self.overflow == "latest":
            kept = [each for each in self.buffer if each.event != message.event]
            self.dropped += len(self.buffer) - len(kept)
            self.buffer = deque(kept)
        if len(self.buffer) >= self.limit:
            self.dropped += 1
            if self.overflow == "drop_newest":
                return
            if self.overflow == "fail":
                self.end(Overflowed(f"{self.limit} messages of {self.topic!r} wait to be read, and more came"))
                return
            self.buffer.popleft()
        self.buffer.append(message)
