"""The part of a client's core that is about being a member: of sessions and topics, over all connections."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, Literal

import attrs

from wsactors.wire import native

from .backoff import Backoff, Retry
from .errors import ClientError
from .membership import Membership
from .requests import Request, Requests

REJOIN: Final = Retry(first=0.5, longest=10.0, attempts=None)
"""How joins are tried again that failed for a passing reason."""
PASSING: Final = frozenset({"timeout", "crash", "rate", "overloaded", "internal", "no_session"})


@attrs.frozen
class TopicChanged:
    """Something can be read on a topic, or it has ended."""

    membership: Membership


@attrs.define(eq=False)
class _Session:
    name: str
    backoff: Backoff
    phase: Literal["wanted", "joining", "joined"] = "wanted"
    again_at: float | None = None


class MemberCore:
    """Keeps what a client wants to be a member of, and makes it so on every new connection."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random
        self.phase: Literal["offline", "greeting", "online", "ended"] = "offline"
        self.version = native.VERSION
        self.requests = Requests()
        self.topics: dict[str, Membership] = {}
        self.outgoing: deque[bytes] = deque()
        self.events: deque[Any] = deque()
        self._sessions: dict[str, _Session] = {}
        self._refs = itertools.count(1)
        self._paused_until = 0.0
        self._rejoins: dict[str, Backoff] = {}

    def take_outgoing(self) -> list[bytes]:
        """Messages to send, each in a binary WebSocket message."""
        found = list(self.outgoing)
        self.outgoing.clear()
        return found

    def take_events(self) -> list[Any]:
        """What has happened, oldest first."""
        found = list(self.events)
        self.events.clear()
        return found

    def next_ref(self) -> int:
        """For a request."""
        return next(self._refs) & 0xFFFF_FFFF or next(self._refs)

    def ask(
        self,
        key: Hashable,
        message: native.ClientMessage,
        *,
        now: float,
        timeout: float,
        resolve: Callable[[Any], None],
        topic: str = "",
    ) -> None:
        """Make a request; ``resolve`` gets the answer, or an exception. ``topic``: not before that is joined."""
        self.requests.add(Request(key, message, now + timeout, resolve, topic))
        self.flush(now)

    def tell(self, message: native.Push | native.Publish) -> None:
        """Send something on a topic that wants no answer. Raises `ClientError` when that is not joined now."""
        if self.phase != "online" or not self._is_joined(message.topic):
            raise ClientError(f"not_joined: {message.topic!r} is not joined at the moment", "not_joined")
        self._send(message)

    # -- sessions --

    def join_session(self, name: str, *, now: float, timeout: float, resolve: Callable[[Any], None]) -> None:
        """Hear a session, on this connection and all that follow."""
        self._sessions[name] = _Session(name, Backoff(REJOIN, self.random))
        key = ("joined", name)
        self.requests.add(Request(key, native.Join(name), now + timeout, resolve, survives=True), is_sent=True)
        self.flush(now)

    def leave_session(self, name: str, *, now: float, timeout: float, resolve: Callable[[Any], None]) -> None:
        """Hear it no more."""
        self._sessions.pop(name, None)
        self.ask(("left", name), native.Leave(name), now=now, timeout=timeout, resolve=resolve)

    # -- topics --

    def join_topic(self, membership: Membership, *, now: float, timeout: float, resolve: Callable[[Any], None]) -> None:
        """Be a member of a topic, on this connection and all that follow."""
        topic = membership.topic
        self.topics[topic] = membership
        self._rejoins[topic] = Backoff(REJOIN, self.random)
        placeholder = native.JoinTopic(0, topic)
        request = Request(("topic_joined", topic), placeholder, now + timeout, resolve, survives=True)
        self.requests.add(request, is_sent=True)
        self.flush(now)

    def leave_topic(self, topic: str, *, now: float, timeout: float, resolve: Callable[[Any], None]) -> None:
        """Be a member no more. Requests that wait for the topic fail."""
        ref = self.next_ref()
        self.end_topic(topic, None)
        self.ask(ref, native.LeaveTopic(ref, topic), now=now, timeout=timeout, resolve=resolve)

    def track(
        self,
        topic: str,
        meta: dict[str, native.Plain] | None,
        *,
        now: float,
        timeout: float,
        resolve: Callable[[Any], None],
    ) -> None:
        """Be present on a topic with ``meta``, also after coming back; None: be present no more."""
        membership = self.topics[topic]
        membership.meta = meta
        ref = self.next_ref()
        message = native.Track(topic, meta, ref) if meta is not None else native.Untrack(topic, ref)
        self.ask(ref, message, now=now, timeout=timeout, resolve=resolve, topic=topic)

    def positions(self, limit: int) -> dict[str, native.Position]:
        """What has been seen of each topic, for a hello; not more than about ``limit`` bytes."""
        found: dict[str, native.Position] = {}
        for topic, membership in self.topics.items():
            if membership.since is not None and membership.phase != "ended":
                limit -= len(topic.encode()) + len(membership.since.epoch.encode()) + 32
                if limit < 0 or len(found) == native.MAX_TOPICS:
                    break
                found[topic] = membership.since
        return found

    # -- what the node says --

    def take(self, message: Any, now: float) -> None:
        """Anything that concerns a session or a topic."""
        match message:
            case native.Joined():
                self._take_session_joined(message)
            case native.Left(name):
                self.events.append(message)
                if self.requests.resolve(("left", name), message) is None:
                    self._sessions.pop(name, None)
            case native.TopicJoined():
                self._take_topic_joined(message, now)
            case native.TopicLeft():
                self._take_topic_left(message, now)
            case native.Reply():
                self._take_reply(message)
            case native.Published(ref):
                request = self.requests.resolve(ref, message)
                if request is not None and isinstance(request.message, native.Publish):
                    self._take_published(request.message, message)
            case native.Authenticated(ref):
                self.requests.resolve(ref, message)
            case _:
                self._take_topic_item(message)

    def take_error(self, error: native.Error, now: float) -> bool:
        """An error that belongs to a request or a join; False: to none that is known."""
        said = ClientError(f"{error.code}: {error.message}", error.code, after=error.after, details=error.details)
        if error.ref and self.requests.resolve(error.ref, said) is not None:
            return True
        membership = self.topics.get(error.topic)
        if membership is not None and membership.phase == "joining" and error.ref == membership.ref:
            self._join_failed(membership, error, said, now)
            return True
        session = self._sessions.get(error.session)
        if session is not None and session.phase == "joining":
            if self.requests.resolve(("joined", session.name), said) is not None or error.code not in PASSING:
                del self._sessions[session.name]
            else:
                session.phase, session.again_at = "wanted", now + (session.backoff.failed() or 0.0)
            return True
        return False

    # -- connections --

    def restored(self, topics: Iterable[str]) -> None:
        """These the node joins again by itself."""
        for topic in topics:
            membership = self.topics.get(topic)
            if membership is not None:
                membership.phase, membership.ref = "joining", 0

    def lose_connection(self, error: Exception) -> None:
        """What was sent and not answered may have been done or not."""
        self.requests.lose_connection(error)
        self._paused_until = 0.0
        for membership in self.topics.values():
            membership.lose_connection()
            self.events.append(TopicChanged(membership))
        for session in self._sessions.values():
            session.phase, session.again_at = "wanted", None

    def give_up(self, error: Exception) -> None:
        """There will be no other connection."""
        self.requests.fail(error)
        for topic in tuple(self.topics):
            self.end_topic(topic, error)
        self._sessions.clear()

    def end_topic(self, topic: str, error: Exception | None) -> None:
        """No more of a topic."""
        membership = self.topics.pop(topic, None)
        self._rejoins.pop(topic, None)
        if membership is not None:
            membership.end(error)
            self.events.append(TopicChanged(membership))
            gone = error or ClientError(f"not_joined: {topic!r} was left", "not_joined")
            self.requests.fail(gone, of=lambda request: request.topic == topic)
            self.requests.resolve(("topic_joined", topic), gone)

    def expire(self, request: Request) -> None:
        """A request has had no answer in time."""
        match request.key:
            case ("topic_joined", str(topic)):
                self.end_topic(topic, None)
                if self.phase == "online":
                    self._send(native.LeaveTopic(self.next_ref(), topic))
            case ("joined", str(session)):
                self._sessions.pop(session, None)
        request.resolve(ClientError(f"no answer to {request.message.KIND} in time", "no_answer"))

    def pause(self, until: float) -> None:
        """Send no requests before ``until``."""
        self._paused_until = max(self._paused_until, until)

    @property
    def next_flush(self) -> float | None:
        """When something that waits can be sent; None: when something else happens."""
        if self._paused_until:
            return self._paused_until
        found = [each.again_at for each in self.topics.values() if each.again_at is not None]
        found += [each.again_at for each in self._sessions.values() if each.again_at is not None]
        return min(found, default=None)

    def flush(self, now: float) -> None:
        """Send whatever may be sent now."""
        if self.phase != "online" or now < self._paused_until:
            return
        self._paused_until = 0.0
        for session in self._sessions.values():
            if session.phase == "wanted" and (session.again_at is None or session.again_at <= now):
                session.phase, session.again_at = "joining", None
                self._send(native.Join(session.name))
        for membership in tuple(self.topics.values()):
            if membership.phase == "wanted" and (membership.again_at is None or membership.again_at <= now):
                self._join_topic(membership)
        for request in self.requests.take_sendable(self._is_joined):
            self._send(request.message)

    # -- inside --

    def _is_joined(self, topic: str) -> bool:
        membership = self.topics.get(topic)
        return membership is not None and membership.phase == "joined"

    def _join_topic(self, membership: Membership) -> None:
        if self.version < 2:
            error = ClientError(f"version: this node speaks version {self.version}, which knows no topics", "version")
            self.end_topic(membership.topic, error)
        else:
            self._send(membership.join(self.next_ref()))

    def _join_failed(self, membership: Membership, error: native.Error, said: ClientError, now: float) -> None:
        topic = membership.topic
        if ("topic_joined", topic) in self.requests or error.code not in PASSING:
            self.end_topic(topic, said)
        else:
            membership.phase = "wanted"
            membership.again_at = now + max(error.after, self._rejoins[topic].failed() or 0.0)

    def _take_session_joined(self, joined: native.Joined) -> None:
        session = self._sessions.get(joined.session)
        if session is not None:
            session.phase, session.backoff.failures = "joined", 0
        self.events.append(joined)
        self.requests.resolve(("joined", joined.session), joined)

    def _take_topic_joined(self, joined: native.TopicJoined, now: float) -> None:
        membership = self.topics.get(joined.topic)
        if membership is None or membership.phase != "joining" or joined.ref != membership.ref:
            return
        if joined.ref:
            membership.tracked = None
        membership.take_joined(joined)
        membership.joined_at = now
        self.events.append(TopicChanged(membership))
        self.requests.resolve(("topic_joined", joined.topic), membership)
        meta = membership.meta
        if meta is not None and meta != membership.tracked and not self.requests.holds_track(joined.topic):
            self._send(native.Track(joined.topic, meta))
            membership.tracked = meta
        self.flush(now)

    def _take_topic_left(self, left: native.TopicLeft, now: float) -> None:
        if left.ref:
            self.requests.resolve(left.ref, left)
            return
        membership = self.topics.get(left.topic)
        if membership is None or membership.phase != "joined":
            return
        if left.code != "crash":
            self.end_topic(left.topic, ClientError(f"{left.code}: {left.reason}", left.code))
            return
        backoff = self._rejoins[left.topic]
        backoff.lasted(now - membership.joined_at)
        membership.lose_connection()
        membership.again_at = now + (backoff.failed() or 0.0)
        self.events.append(TopicChanged(membership))

    def _take_reply(self, reply: native.Reply) -> None:
        said = ClientError(f"refused: {reply.response!r}", "push", details=reply.response)
        request = self.requests.resolve(reply.ref, reply.response if reply.status == "ok" else said)
        if request is not None and request.topic in self.topics and reply.status == "ok":
            match request.message:
                case native.Track(meta=meta):
                    self.topics[request.topic].tracked = meta
                case native.Untrack():
                    self.topics[request.topic].tracked = None

    def _take_published(self, publish: native.Publish, published: native.Published) -> None:
        membership = self.topics.get(publish.topic)
        if membership is not None:
            membership.take_published(published, echo=membership.echo if publish.echo is None else publish.echo)

    def _take_topic_item(self, message: Any) -> None:
        membership = self.topics.get(message.topic)
        if membership is None or membership.phase != "joined":
            return
        match message:
            case native.Message():
                membership.take_message(message)
            case native.Push():
                membership.take_push(message)
            case native.PresenceState(_, state):
                membership.presence.take_state(state)
            case native.PresenceDiff(_, joins, leaves):
                membership.presence.take_diff(joins, leaves)
        self.events.append(TopicChanged(membership))
        if membership.error is not None:  # its reader was too slow, and wanted to be told
            self.end_topic(message.topic, membership.error)
            self._send(native.LeaveTopic(self.next_ref(), message.topic))

    def _send(self, message: native.ClientMessage) -> None:
        self.outgoing.append(native.encode(message, self.version))
