"""A topic as an actor: it gives publications their order, keeps their history and knows who is present.

It does not send them: the relay does. What it must do in one step is to let somebody in: the answer to the join, what was missed
and the admission to the relay follow each other without a wait, so that nothing is lost or doubled in between.
"""

from __future__ import annotations

import itertools
import secrets
import time
from typing import TYPE_CHECKING, Any

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Crash, Down, Mailbox, MonitorRef, Pid, Stop
from wsactors.actors.log import log
from wsactors.crdt.presence import PresenceSet

from .history import Gap, History
from .options import TopicOptions
from .outlet import Joined
from .publication import Position, PresenceDiff, PresenceState, Publication
from .send_queue import DROP_OLDEST
from .topic_messages import GetHistory, GetPresence, GetTopic, Publish, Subscribe, TopicInfo, Track, Untrack

if TYPE_CHECKING:
    from .service import Realtime

MAILBOX = 50_000
"""Joins and publications that may wait: a topic of 10,000 members loses all of them at once when a node stops."""


@attrs.frozen
class _TellPresence:
    """To itself: the interval is over."""


@attrs.frozen
class _LookIdle:
    """To itself: is anybody still here?"""


class Topic(Actor):
    """One topic of one node. Calls: `Subscribe`, `Publish`, `GetHistory`, `GetPresence`, `GetTopic`; casts: `Publish`, `Track`,
    `Untrack`."""

    mailbox = Mailbox(MAILBOX)

    def init(self, realtime: Realtime, topic: str, options: TopicOptions) -> None:
        """``topic`` is its name."""
        self._realtime = realtime
        self._topic = topic
        self._options = options
        self._history = History(
            secrets.token_urlsafe(6),
            size=options.history,
            seconds=options.history_seconds,
            budget=realtime.history_budget,
        )
        self.at_death("history", lambda _: self._history.clear())
        self._presence = PresenceSet(f"{self.node.name}.{self._history.epoch}")
        self._refs = itertools.count(1)
        self._state: PresenceState | None = None
        self._presence_timer = False
        self._tells_state = False
        """Whether members of an earlier topic of this name are here: what they knew is void, and nobody told them who left."""
        self._members: dict[Pid, MonitorRef] = {}
        self._published = 0
        self._last_used = trio.current_time()
        self._idle_timer = False
        self._look_idle_later()
        realtime.idle.add(self.pid)
        self.at_death("idle", realtime.idle.discard)
        self.at_death("metrics", lambda _: realtime.metrics.count_present(topic, 0))

    def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case Subscribe():
                return self._subscribe(message)
            case Publish():
                return self._publish(message)
            case GetHistory(since, limit):
                now = trio.current_time()
                if since is not None:
                    return self._history.since(since, now, limit)
                self._history.expire(now)
                return Gap(self._history.latest(self._options.history if limit is None else limit), recovered=True)
            case GetPresence():
                return self._presence.state()
            case GetTopic():
                return self._info()
            case _:
                return UNHANDLED

    def handle_cast(self, message: Any) -> Any:
        match message:
            case Publish():
                self._publish(message)
            case Track(channel, key, meta):
                if channel in self._members:
                    # One member has one key, whatever it asks for: else it could fill the topic with names.
                    for other in self._presence.keys_of(channel):
                        if other != key:
                            self._presence.leave(channel, other)
                    self._presence.join(key, channel, meta, f"{self._history.epoch}{next(self._refs):x}")
                    self._tell_presence_later()
            case Untrack(channel):
                if self._presence.leave(channel):
                    self._tell_presence_later()
            case _:
                return UNHANDLED
        return None

    def handle_info(self, message: Any) -> Any:
        match message:
            case Down(pid=Pid() as channel):
                self._members.pop(channel, None)
                if self._presence.leave(channel):
                    self._tell_presence_later()
                if not self._members:
                    self._realtime.idle.add(self.pid)
                    self._last_used = trio.current_time()
                    self._look_idle_later()
            case _TellPresence():
                self._presence_timer = False
                self._tell_presence()
            case _LookIdle():
                return self._look_idle()
            case _:
                return UNHANDLED
        return None

    # -- members --

    def _subscribe(self, message: Subscribe) -> str | None:
        seat = self._realtime.seats.get(message.channel)
        if seat is None or seat.left or seat.refusal is not None:
            return "gone"
        if len(self._members) >= self._options.max_members:
            return "too_many"
        if message.again:
            self._tells_state = True
            self._tell_presence_later()
        else:
            try:
                seat.outlet.joined(self._joined(message))
            except Exception as error:  # the connection's fault, and its alone
                crash = Crash.of(error)
                log(__name__, "error", "join_not_answered", topic=self._topic, type=crash.type, message=crash.message)
                return "crash"
        self._realtime.relay.admit(self._topic, seat.receiver)
        if message.channel not in self._members:
            self._members[message.channel] = self.monitor(message.channel)
            self._realtime.idle.discard(self.pid)
        return None

    def _joined(self, message: Subscribe) -> Joined:
        gap = Gap((), recovered=False)
        if message.since is not None:
            gap = self._history.since(message.since, trio.current_time(), message.limit)
        return Joined(
            topic=self._topic,
            response=message.response,
            channel=message.channel,
            epoch=self._history.epoch,
            offset=self._history.offset,
            recovered=gap.recovered if message.since is not None else None,
            missed=gap.missed,
            presence=self._presence_state() if message.presence and self._options.presence else None,
        )

    # -- publications --

    def _publish(self, message: Publish) -> Position | None:
        if not self._realtime.relay.has_room(self._topic):
            return None
        self._published += 1
        self._realtime.metrics.published += 1
        self._last_used = now = trio.current_time()
        if not self._members:
            self._realtime.idle.add(self.pid)
        kept = self._options.history > 0
        publication = Publication(
            topic=self._topic,
            event=message.event,
            payload=message.payload,
            offset=self._history.offset + 1 if kept else 0,
            epoch=self._history.epoch if kept else "",
            sender=message.sender,
            exclude=message.exclude,
            id=message.id,
            at=time.time(),
            meta=message.meta,
            key=self._key(message.event),
        )
        if kept:
            self._history.add(publication, now, message.size)
        self._realtime.relay.publish(self._topic, publication, message.size)
        return self._history.position

    def _key(self, event: str) -> object:
        match self._options.slow:
            case "disconnect":
                return None
            case "drop_oldest":
                return DROP_OLDEST
            case "latest":
                return (self._topic, event)

    # -- presence --

    def _presence_state(self) -> PresenceState:
        """As of the last diff, so that the next one fits to it; the same object, and bytes, for everybody in between."""
        if self._state is None:
            self._state = PresenceState(self._topic, self._presence.published())
        return self._state

    def _tell_presence_later(self) -> None:
        if not self._presence_timer:
            self._presence_timer = True
            self.send_after(self._options.presence_interval, self.pid, _TellPresence())

    def _tell_presence(self) -> None:
        joins, leaves = self._presence.take_diff()
        self._realtime.metrics.count_present(self._topic, len(self._presence))
        if joins or leaves:
            self._state = None
        if self._tells_state:
            self._tells_state = False
            self._realtime.relay.publish(self._topic, self._presence_state())
        elif joins or leaves:
            self._realtime.relay.publish(self._topic, PresenceDiff(self._topic, joins, leaves))

    # -- life --

    def _look_idle_later(self) -> None:
        if not self._idle_timer:
            self._idle_timer = True
            self.send_after(self._patience(), self.pid, _LookIdle())

    def _patience(self) -> float:
        return max(self._options.linger, self._options.history_seconds if len(self._history) else 0.0)

    def _look_idle(self) -> Stop | None:
        self._idle_timer = False
        if self._members:
            return None
        if trio.current_time() - self._last_used >= self._patience():
            return Stop("normal")
        self._look_idle_later()
        return None

    def _info(self) -> TopicInfo:
        return TopicInfo(
            topic=self._topic,
            members=len(self._members),
            present=len(self._presence),
            position=self._history.position,
            kept=len(self._history),
            published=self._published,
        )
