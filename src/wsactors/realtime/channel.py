"""A channel: one client's membership of one topic, an actor. Users subclass it to say what their clients may do and say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from wsactors.actors import (
    UNHANDLED,
    Actor,
    Continue,
    Down,
    Ignore,
    MonitorRef,
    Pid,
    Stop,
    TimerRef,
    at_death,
    is_normal,
    not_at_death,
)
from wsactors.errors import CallExit, CallTimeout, NoProcess
from wsactors.wire.plain import Plain

from .channel_messages import Answer, Leave, Push, Renew, SetPresence
from .history import estimate
from .identity import AuthRefused, JoinRefused, PublishRefused, Refused, User
from .limits import Coalescer
from .options import EVENT_LENGTH, is_event
from .outlet import STOPPED
from .topic_messages import Publish, Subscribe, Track, Untrack

if TYPE_CHECKING:
    from .seat import Seat
    from .service import Realtime

__all__ = ["Answer", "Channel"]

_TRIES = 3


@attrs.frozen
class _Recheck:
    """To itself: may the client stay?"""


@attrs.frozen
class _ShowPresence:
    """To itself: what the client said of itself may be passed on now."""


class Channel(Actor):
    """One client's membership of one topic. As it is: every push is published to the others, and answered with "ok".

    Subclass it, and name the class in the options of the topics it serves:

    >>> class Room(Channel):                                                          # doctest: +SKIP
    ...     async def join(self, params):
    ...         if self.user.anonymous:
    ...             raise JoinRefused("unauthorized", "Log in to enter a room.")
    ...         return {"motd": "Welcome"}
    ...
    ...     def handle_push(self, event, payload):
    ...         match event:
    ...             case "shout":
    ...                 self.broadcast("shout", payload)
    ...                 return {}
    ...             case _:
    ...                 return Answer("error", {"reason": "unknown event"})

    A channel that crashes ends its client's membership, and nothing else: the client is told, and may join again.
    """

    topic: str
    """The topic's name."""
    user: User
    """Whose connection it is. A new token may change it."""
    _tracked: Track | None
    _topic_ref: MonitorRef | None
    _coming: Coalescer[SetPresence] | None
    """Changes of presence that came faster than they are passed on."""
    _recheck: TimerRef | None
    _answers_push = False
    """Whether what it publishes now is its client's doing."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name in ("init", "handle_continue", "handle_cast", "handle_info", "terminate"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} would replace what lets clients in and out; a channel has join, handle_push, "
                    "handle_message and handle_call"
                )

    # -- for subclasses --

    async def join(self, params: Plain) -> Plain:
        """Decide whether the client may enter; what is returned is its answer. Raises `JoinRefused`."""
        return {}

    @classmethod
    def publishes_pushes(cls) -> bool:
        """Whether whatever clients push is published, so that they may as well publish without a channel, as by REST."""
        return cls.handle_push is Channel.handle_push

    @classmethod
    def lets_everybody_in(cls) -> bool:
        """Whether it leaves all of that decision to the policy, so that who may join may as well read without joining."""
        return cls.join is Channel.join

    def handle_push(self, event: str, payload: Plain) -> Any:
        """Take what the client sends; may be ``async``.

        Returns a plain value (answered "ok"), an `Answer`, or None: no answer.
        """
        self.broadcast(event, payload)
        return {}

    def handle_message(self, message: Any) -> Any:
        """Take what other actors send here. May be ``async``; returns None or `Stop`. What it is not made for is dropped."""

    def broadcast(self, event: str, payload: Plain, *, to_self: bool = False) -> None:
        """Publish to the topic. The client itself gets it if it asked for its own, or with ``to_self``.

        Raises:
            PublishRefused: too large, the topic is overloaded, or too many of its clients' pushes are published.
        """
        if not is_event(event):
            raise PublishRefused("too_large", f"an event's name is text of at most {EVENT_LENGTH} bytes")
        size = estimate(payload)
        if size > self._realtime.options.payload_bytes:
            raise PublishRefused("too_large", f"a message may have {self._realtime.options.payload_bytes} bytes")
        exclude = None if to_self or self._seat.self_broadcast else self.pid
        if self._answers_push and not self.publishes_pushes():  # else it was counted when it came
            self._realtime.permission.check_publication("", self.topic)
        message = Publish(event, payload, sender=self.pid, exclude=exclude, size=size)
        if not self._realtime.relay.has_room(self.topic) or not self.node.cast(self._topic_pid, message):
            raise PublishRefused("overloaded", "The topic is overloaded. Try again later.")

    def push(self, event: str, payload: Plain) -> None:
        """Send something to this client alone."""
        self._seat.outlet.push(event, payload)

    def track(self, meta: Mapping[str, Any], key: str | None = None) -> None:
        """Show the client as present under ``key`` (default: its user's name, else one of its own); again: an update.

        Raises:
            PublishRefused: the metadata is too large.
        """
        if not self._seat.options.presence:
            return
        self._check_meta(meta)
        self._tracked = Track(self.pid, key or self.user.subject or self._seat.id, meta)
        if self._topic_ref is not None:  # else it is still joining, and shown when it is in
            self.node.cast(self._topic_pid, self._tracked)

    def _check_meta(self, meta: Mapping[str, Any]) -> None:
        most = self._seat.options.presence_bytes
        if estimate(dict(meta)) > most:
            raise PublishRefused("too_large", f"presence metadata may have {most} bytes")

    def untrack(self) -> None:
        """Show it no more."""
        self._tracked = None
        if self._topic_ref is not None:
            self.node.cast(self._topic_pid, Untrack(self.pid))

    # -- the actor --

    def init(self, realtime: Realtime, number: int) -> object:
        """``number`` is that of the `Seat` that waits for it. Joining goes on afterwards: no start waits for another."""
        seat = realtime.arriving.get(number)
        if seat is None or seat.left or seat.refusal is not None:
            return Ignore()  # whoever was to sit here has gone, which is nobody's failure
        self._realtime, self._seat, self.topic, self.user = realtime, seat, seat.topic, seat.user
        self._tracked = self._topic_ref = self._coming = self._recheck = None
        try:
            self._take(seat)
        except NoProcess:
            return Ignore()
        return Continue("join")

    async def handle_continue(self, message: Any) -> Any:
        """Join."""
        seat = self._seat
        try:
            response = await self.join(seat.params)
            await self._subscribe(response, again=False)
        except JoinRefused as refusal:
            seat.refuse(seat.refusal or refusal)  # whom a kick has overtaken
            return Stop("normal")
        seat.joined()
        if self._tracked is not None:
            self.node.cast(self._topic_pid, self._tracked)
        self._recheck_later()
        return None

    def _take(self, seat: Seat) -> None:
        """Sit down: from now on the seat ends with this actor, and this actor with its connection."""
        pid, realtime = self.pid, self._realtime
        seat.take(pid)
        realtime.seats[pid] = seat
        self.at_death("seat", self._is_over)
        at_death(seat.owner, pid, self._owner_is_gone)
        self._owner_ref = self.monitor(seat.owner)

    # Methods: a function made for each would be kept for each.

    def _owner_is_gone(self, _: Pid) -> None:
        self._realtime.vacate(self.pid, tell=False)

    def _is_over(self, pid: Pid) -> None:
        not_at_death(self._seat.owner, pid)
        self._realtime.vacate(pid)

    async def _subscribe(self, response: Plain, *, again: bool) -> None:
        seat = self._seat
        for _ in range(_TRIES):
            self._topic_pid: Pid = await self._realtime.ensure_topic(self.topic)
            subscribe = Subscribe(self.pid, response, seat.since, seat.limit, seat.wants_presence, again)
            try:
                refusal: str | None = await self.node.call(
                    self._topic_pid, subscribe, timeout=self._realtime.options.join_seconds
                )
            except CallTimeout:  # a `CallExit`, too
                raise JoinRefused("timeout", "The topic is overloaded. Try again later.") from None
            except CallExit:
                continue  # it ended in this moment, for nobody was there: the next one will not
            if refusal is not None:
                raise JoinRefused(refusal, "The topic takes nobody more." if refusal == "too_many" else "It failed.")
            self._topic_ref = self.monitor(self._topic_pid)
            return
        raise JoinRefused("crash", "The topic does not start.")

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Push(event, payload, ref):
                await self._pushed(event, payload, ref)
            case SetPresence():
                await self._set_presence(message)
            case Leave(reason):
                self._seat.end(reason, crashed=False)
                return Stop("normal")
            case Renew(user):
                return await self._renewed(user)
            case _:
                return UNHANDLED
        return None

    async def handle_info(self, message: Any) -> Any:
        match message:
            case Down(ref) if ref is self._owner_ref:
                self._seat.end("left", crashed=False)
                return Stop("normal")
            case Down(ref) if ref is self._topic_ref:
                try:
                    await self._subscribe(None, again=True)
                except JoinRefused as refusal:
                    self._seat.end(refusal.message, crashed=False)
                    return Stop("normal")
                if self._tracked is not None:
                    self.node.cast(self._topic_pid, self._tracked)
            case _Recheck():
                return await self._stay()
            case _ShowPresence():
                self._show_presence()
            case _:
                answer = self.handle_message(message)
                return await answer if inspect.isawaitable(answer) else answer
        return None

    def terminate(self, reason: Any) -> None:
        """Leave word of how it ended."""
        if is_normal(reason):
            self._seat.end("closed" if reason == "normal" else STOPPED, crashed=False)
        else:
            self._seat.end("it has crashed", crashed=True)

    async def _pushed(self, event: str, payload: Plain, ref: Any) -> None:
        self._answers_push = True
        try:
            await self._realtime.check_publish(self.user, self.topic, private=self._seat.private)
            answer = self.handle_push(event, payload)
            if inspect.isawaitable(answer):
                answer = await answer
        except Refused as refusal:
            answer = _refusal(refusal)
        finally:
            self._answers_push = False
        self._reply(ref, answer)

    async def _set_presence(self, message: SetPresence) -> None:
        """What the client says of itself. It is answered at once; of what comes too fast the newest is shown."""
        answer = Answer("ok", {})
        try:
            if message.meta is not None:
                self._check_meta(message.meta)
                if message.key is not None and not is_event(message.key):
                    raise PublishRefused("too_large", f"a presence key is text of at most {EVENT_LENGTH} bytes")
                await self._realtime.permission.check(
                    "presence_write", self.user, self.topic, private=self._seat.private
                )
        except Refused as refusal:
            self._reply(message.ref, _refusal(refusal))
            return
        self._reply(message.ref, answer)
        if self._coming is None:
            self._coming = Coalescer(self._realtime.permission.options.limits.presence_interval)
        wait = self._coming.put(message, trio.current_time())
        if wait == 0:
            self._show_presence()
        elif wait is not None:
            self.send_after(wait, self.pid, _ShowPresence())

    def _show_presence(self) -> None:
        message = self._coming.take(trio.current_time()) if self._coming is not None else None
        if message is None:
            return
        if message.meta is None:
            self.untrack()
        else:
            permission = self._realtime.permission
            self.track(message.meta, permission.presence_key(self.user, message.key, self._seat.id))

    # -- whether the client may stay --

    def _recheck_later(self) -> None:
        if self._recheck is not None:
            self.cancel_timer(self._recheck)
        seconds = self._realtime.permission.recheck_seconds(self.user)
        self._recheck = None if seconds is None else self.send_after(seconds, self.pid, _Recheck())

    async def _renewed(self, user: User) -> Stop | None:
        """The client has a new token: what it says may not be enough for this topic."""
        seat = self._seat
        seat.becoming = user.subject
        try:
            await self._realtime.check_join(user, self.topic, seat.params, private=seat.private)
        except JoinRefused as refusal:
            seat.end(refusal.message, crashed=False)
            return Stop("normal")
        finally:
            seat.becoming = ""
        self.user = seat.user = user
        self._recheck_later()
        return None

    async def _stay(self) -> Stop | None:
        try:
            await self._realtime.permission.stay(self.user)
        except AuthRefused as refusal:
            self._seat.end(refusal.message, crashed=False)
            return Stop("normal")
        self._recheck_later()
        return None

    def _reply(self, ref: Any, answer: Any) -> None:
        if ref is None or answer is None or self._seat.left:
            return
        if isinstance(answer, Answer):
            self._seat.outlet.reply(ref, answer.status, answer.response)
        else:
            self._seat.outlet.reply(ref, "ok", answer)


def _refusal(refusal: Refused) -> Answer:
    return Answer("error", {"reason": refusal.message, "code": refusal.code})
