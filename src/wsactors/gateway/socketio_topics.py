"""The namespace in which Socket.IO clients meet everybody else: topics, shared with all other protocols and with actors.

Its events are in ``docs/socketio.md``. It decides nothing about permission: `Realtime` and the topics' channels do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from wsactors.actors import Pid
from wsactors.realtime.identity import JoinRefused, Refused, User
from wsactors.realtime.outlet import Joined
from wsactors.realtime.publication import Position
from wsactors.realtime.service import Realtime
from wsactors.wire import socketio as sio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import MAX_EXACT_INT, Plain, check_plain

from .socketio_formats import RoomFormat, TopicFormat
from .socketio_namespace import Namespace
from .socketio_socket import Socket

if TYPE_CHECKING:
    from .socketio import SocketIo

MAX_TOPICS: Final = 100
"""Of one client at a time."""
_EVENTS: Final = frozenset({"subscribe", "unsubscribe", "publish", "track", "untrack", "token"})


class TopicOutlet:
    """The client's end of one topic (a `wsactors.realtime.outlet.Outlet`).

    Args:
        topic: Its name.
        socket: The client.
        number: Of the event that is acknowledged when it has joined.
        namespace: Told when it is over.
    """

    __slots__ = ("_namespace", "_number", "_topic", "channel", "is_silent", "meta", "sink")

    def __init__(self, topic: str, socket: Socket, number: int | None, namespace: Topics) -> None:
        self.sink = socket
        self.channel: Pid | None = None
        self.meta: Mapping[str, Any] | None = None
        """As what the client was last shown to others."""
        self._topic = topic
        self._number = number
        self._namespace = namespace
        self.is_silent = False
        """Set when the client wants to know nothing more."""

    @property
    def format(self) -> RoomFormat:
        """See `Outlet`."""
        return self.sink.format

    def joined(self, joined: Joined) -> None:
        """See `Outlet`."""
        answer: dict[str, Plain] = {
            "status": "ok",
            "response": joined.response,
            "epoch": joined.epoch,
            "offset": joined.offset,
            "missed": len(joined.missed),
        }
        if joined.recovered is not None:
            answer["recovered"] = joined.recovered
        self._acknowledge(self._number, answer)
        for item in (joined.presence, *joined.missed):
            data = item.encode(self.format) if item is not None else None
            if data is not None:
                self.sink.offer(data)

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        """See `Outlet`."""
        self._acknowledge(ref, {"status": status, "response": response})

    def push(self, event: str, payload: Plain) -> None:
        """See `Outlet`."""
        self._offer("message", self._topic, event, payload, {})

    def slow_down(self, seconds: float) -> None:
        """The client sends more than it may in the long run: it is not read for a while."""
        if self.sink.carrier is not None:
            self.sink.carrier.slow_down(seconds)

    def closed(self, reason: str, *, crashed: bool) -> None:
        """See `Outlet`."""
        self._namespace.over(self._topic, self)
        if not self.is_silent:
            self._offer("closed", self._topic, reason, {"crashed": crashed})

    def _offer(self, event: str, *arguments: Plain) -> None:
        frames = self.format.event(event, arguments)
        if frames is not None:
            self.sink.offer(frames)

    def _acknowledge(self, number: int | None, answer: Plain) -> None:
        if number is None:
            return
        try:
            self.sink.send(sio.ACK, [answer], number)
        except ProtocolError:  # a channel has answered with what is not plain
            self.sink.send(sio.ACK, [_error("crash", "The answer cannot be encoded.")], number)


class Topics(Namespace):
    """One client among the topics."""

    recovers: ClassVar[bool] = True
    broadcasts: ClassVar[bool] = False
    counted_by_topics: ClassVar[bool] = True
    wire_format = TopicFormat

    def init(self, app: SocketIo, number: int) -> object:
        """See `Namespace`."""
        self._topics: dict[str, TopicOutlet] = {}
        self._lost_one = False
        """Whether a membership ended while the client was away: then it may not have what it missed there."""
        return super().init(app, number)

    def _is_over(self, pid: Pid) -> None:
        super()._is_over(pid)
        # Its channels end with it; their outlets refer to this actor, and cycles wait for the garbage collector.
        self._topics.clear()

    async def handle_event(self, event: str, arguments: list[Plain], id: int | None) -> None:  # noqa: A002 - the field's name
        """See the events in ``docs/socketio.md``."""
        answer: Plain
        try:
            match event, arguments:
                case "subscribe", [str() as topic, *rest]:
                    answer = await self._subscribe(topic, _options(rest), id)
                case "unsubscribe", [str() as topic]:
                    answer = self._unsubscribe(topic)
                case "publish", [str() as topic, str() as name, *payload] if len(payload) <= 1:
                    answer = self._publish(topic, name, payload[0] if payload else None, id)
                case "track", [str() as topic, *rest]:
                    answer = self._track(topic, _options(rest), id)
                case "untrack", [str() as topic]:
                    answer = self._untrack(topic, id)
                case "token", [str() as token]:
                    answer = await self._renew(token)
                case _ if event in _EVENTS:
                    answer = _error("malformed", f"{event}: expected other arguments.")
                case _:
                    answer = _error("unknown", "There is no such event.")
        except Refused as refused:
            answer = _error(refused.code, refused.message, refused.details)
        if answer is not None and id is not None:
            self.acknowledge(id, answer)

    @classmethod
    def too_fast(cls, event: str, seconds: float) -> tuple[Plain, ...]:
        """See `Namespace`."""
        return (_error("rate", f"You send too fast: try again in {seconds:.1f} seconds."),)

    async def interrupted(self, reason: str) -> None:
        """Nobody shows as present whose connection is gone."""
        for membership in self._topics.values():
            if membership.channel is not None and membership.meta is not None:
                self._realtime.untrack(membership.channel)

    async def may_return(self, user: User) -> bool:
        """Only who may still join all his topics gets what he missed: it cannot be told apart."""
        realtime = self._realtime
        seats = [realtime.seats.get(each.channel) for each in self._topics.values() if each.channel is not None]
        try:
            for seat in seats:
                if seat is not None:
                    await realtime.check_join(user, seat.topic, seat.params, private=seat.private)
        except JoinRefused:
            return False
        return not self._lost_one

    async def recovered(self) -> None:
        """Show it again as it was, by the token that it has now."""
        for membership in self._topics.values():
            if membership.channel is not None:
                self._realtime.renew(membership.channel, self.user)
                if membership.meta is not None:
                    self._realtime.track(membership.channel, membership.meta)

    def over(self, topic: str, outlet: TopicOutlet) -> None:
        """A membership has ended."""
        membership = self._topics.get(topic)
        if membership is outlet:
            del self._topics[topic]
            self._lost_one |= not self.socket.is_attached

    @property
    def _realtime(self) -> Realtime:
        return Realtime.of(self.node)

    async def _subscribe(self, topic: str, options: Mapping[str, Plain], number: int | None) -> Plain:
        if topic in self._topics:
            return _error("subscribed", "You have subscribed to this topic already.")
        if len(self._topics) >= MAX_TOPICS:
            return _error("too_many", f"A client may be in {MAX_TOPICS} topics.")
        since, limit = _position(options.get("since")), _limit(options.get("limit"))
        membership = self._topics[topic] = TopicOutlet(topic, self.socket, number, self)
        try:
            membership.channel = await self._realtime.join(
                topic,
                membership,
                owner=self.pid,
                user=self.user,
                params=options.get("params", {}),
                since=since,
                limit=limit,
                presence=options.get("presence") is not False,
                private=options.get("private") is True,
                self_broadcast=options.get("self") is True,
            )
        except JoinRefused:
            self._topics.pop(topic, None)
            raise
        return None  # the outlet has answered, in its place before what follows

    def _unsubscribe(self, topic: str) -> Plain:
        membership = self._topics.pop(topic, None)
        if membership is not None and membership.channel is not None:
            membership.is_silent = True
            self._realtime.leave(membership.channel)
        return {"status": "ok", "response": {}}

    def _publish(self, topic: str, event: str, payload: Plain, number: int | None) -> Plain:
        channel = self._channel(topic)
        if not self._realtime.push(channel, event, payload, number):
            return _error("overloaded", "Too many messages. Slow down.")
        return None

    def _track(self, topic: str, meta: Mapping[str, Plain], number: int | None) -> Plain:
        check_plain(dict(meta))
        channel = self._channel(topic)
        self._topics[topic].meta = meta
        if not self._realtime.track(channel, meta, ref=number):
            return _error("overloaded", "Too many messages. Slow down.")
        return None

    def _untrack(self, topic: str, number: int | None) -> Plain:
        channel = self._channel(topic)
        self._topics[topic].meta = None
        if not self._realtime.untrack(channel, ref=number):
            return _error("overloaded", "Too many messages. Slow down.")
        return None

    def _channel(self, topic: str) -> Pid:
        membership = self._topics.get(topic)
        if membership is None or membership.channel is None:
            raise JoinRefused("not_subscribed", "Subscribe to the topic first.")
        return membership.channel

    async def _renew(self, token: str) -> Plain:
        """The client has a newer token, for the same person."""
        user = await self._realtime.reauthenticate(self.user, token, owner=self.pid)
        self._app.renewed(self.socket, user)
        for membership in self._topics.values():
            if membership.channel is not None:
                self._realtime.renew(membership.channel, user)
        return {"status": "ok", "response": {}}


def _error(code: str, message: str, details: Plain = None) -> dict[str, Plain]:
    said: dict[str, Plain] = {"status": "error", "code": code, "message": message}
    return said if details is None else {**said, "details": details}


def _options(rest: list[Plain]) -> dict[str, Plain]:
    """The map at the end of an event's arguments, which may be missing."""
    match rest:
        case []:
            return {}
        case [dict() as options]:
            return options
        case _:
            raise Refused("malformed", "Expected a map as the last argument.")


def _position(value: Plain) -> Position | None:
    match value:
        case None:
            return None
        case {"epoch": str() as epoch, "offset": int() as offset} if 0 <= offset <= MAX_EXACT_INT:
            return Position(epoch, offset)
        case _:
            raise Refused("malformed", "since: expected a map with epoch and offset.")


def _limit(value: Plain) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise Refused("malformed", "limit: expected a number.")
