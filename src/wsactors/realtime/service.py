"""Topics, channels and publishing on one node: what protocols, sessions and embedding programs use."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Mapping
from typing import Any

import trio

from wsactors.actors import Pid, Runtime
from wsactors.cluster import Backbone, LocalExchange, Receiver, Relay
from wsactors.errors import CallExit, ChildError, NoProcess, StartError
from wsactors.supervision import ChildSpec, start_child
from wsactors.wire.plain import Plain

from .channel import Channel
from .channel_messages import Leave, Push, Renew, SetPresence
from .history import estimate
from .identity import ANONYMOUS, Authenticator, Credentials, JoinRefused, PublishRefused, User
from .metrics import Metrics, RealtimeMetrics, counted
from .node_topics import NodeTopics
from .options import RealtimeOptions
from .outlet import Outlet
from .permission import Permission, PermissionOptions
from .publication import Position
from .resume import ResumeStore
from .seat import Seat

CHANNELS = "channels"
"""The registered name of the channels' supervisor."""
_services: weakref.WeakKeyDictionary[Runtime, Realtime] = weakref.WeakKeyDictionary()


class Realtime(NodeTopics):
    """The topics of one node and their clients. Started by `RealtimeSupervisor`, found by `Realtime.of`.

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
        backbone = backbone or LocalExchange().join(node.name)
        relay = Relay(node, backbone, options.relay_partitions, missed=self._missed)
        super().__init__(node, options, relay, allowed_packages)
        self.seats: dict[Pid, Seat] = {}  # of the channels that live
        self.arriving: dict[int, Seat] = {}
        """Of clients that are joining, by number: messages are values, and a seat is none."""
        self.permission = Permission(node, permission, authenticator)
        self.places = ResumeStore()  # of clients that may take up again what their connection broke off
        self.metrics = RealtimeMetrics(Metrics.of(node), self.seats)
        self._numbers = itertools.count(1)
        former = _services.get(node)
        _services[node] = self
        if former is not None:
            self._take_over(former)

    def _take_over(self, former: Realtime) -> None:
        """The topics are started again: actors go on listening, and whoever had a room of the former ones has to come anew."""
        for topic, pid in former._actors:
            with contextlib.suppress(NoProcess):
                self._listen(topic, pid)
        for receiver in former.relay.receivers():
            if receiver.missed is not None:
                receiver.missed()

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

    async def reauthenticate(self, user: User, token: str, *, owner: Pid | None = None) -> User:
        """``user``, whose client shows a new token: nobody becomes another by that.

        ``owner``: the connection's actor, whose tokens are counted; None: they are not.

        Raises:
            AuthRefused: it is not good enough, or too many are shown (code ``rate``).
        """
        if owner is not None:
            self.permission.showing(owner, user)
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
            JoinRefused: why not. The connection is ended, too, if these are not the node's topics any more.
        """
        if _services.get(self.node) is not self:
            # The topics were started again, and these are those from before: whoever has them comes back to the new ones.
            self.node.exit(owner, "shutdown")
            raise JoinRefused("crash", "The topics were started again: connect again.")
        options = self.topic_options(topic)
        seat = Seat(topic, options, outlet, user, owner, params)
        seat.since, seat.limit, seat.self_broadcast = since, limit, self_broadcast
        seat.private = private or options.private
        self.permission.joining(seat)
        number = next(self._numbers)
        self.arriving[number] = seat
        try:
            with trio.move_on_after(self.options.join_seconds):
                await self.check_join(user, topic, params, private=seat.private)
                seat.reads_presence = await self.permission.may("presence_read", user, topic, private=seat.private)
                seat.wants_presence = presence and seat.reads_presence
                return await self._joined(seat, number, self.channel_class(options))
            if seat.is_in and seat.channel is not None:
                return seat.channel  # in the last moment
            self._withdraw(seat)
            raise JoinRefused("timeout", "Joining took too long. Try again later.")
        except BaseException as error:
            if isinstance(error, trio.Cancelled):
                self._withdraw(seat)
            self.permission.left(seat)
            raise
        finally:
            del self.arriving[number]

    async def _joined(self, seat: Seat, number: int, channel: type[Channel]) -> Pid:
        decided = seat.decided
        pid = await self._start_channel(number, channel)
        if pid is None:  # a kick was faster, or the connection has ended
            raise seat.refusal or JoinRefused("crash", "join crashed")
        if decided is not None:
            await decided.wait()
        if seat.refusal is not None:
            raise seat.refusal
        return pid  # it may have ended since, which the outlet was told

    def _withdraw(self, seat: Seat) -> None:
        """Nobody waits for the seat any more: its channel, which may wait for anything, or not have begun, lets nobody in."""
        if not seat.is_in:
            seat.refusal = seat.refusal or JoinRefused("timeout", "You have given up.")
        if seat.channel is not None:
            self.node.exit(seat.channel, "kill")

    async def _start_channel(self, number: int, channel: type[Channel]) -> Pid | None:
        try:
            spec = ChildSpec("channel", channel, (number,), restart="temporary", shutdown=1.0)
            return await start_child(self.place_of(CHANNELS), spec)
        except ChildError as error:
            if error.reason != "max_children":
                raise JoinRefused("crash", "The channel does not start. Try again later.") from None
            most = self.options.max_channels
            raise JoinRefused(
                "too_many", f"This node has {most} channels and takes no more. Try again later."
            ) from None
        except (StartError, CallExit):
            return None

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
        """Show a channel's client as present; False as for `push`. It counts as a message, but is never refused as too fast."""
        self._count(channel, estimate(dict(meta)))
        return self.node.cast(channel, SetPresence(meta, key, ref))

    def untrack(self, channel: Pid, *, ref: Any = None) -> bool:
        """Show it no more; False and counted as for `track`."""
        self._count(channel, 0)
        return self.node.cast(channel, SetPresence(None, None, ref))

    def renew(self, channel: Pid, user: User) -> None:
        """The client has shown a new token."""
        seat = self.seats.get(channel)
        if self.node.cast(channel, Renew(user)) and seat is not None:
            seat.becoming = user.subject  # a kick that comes before the channel has looked meets it, too

    def kick(self, subject: str, reason: str = "kicked") -> int:
        """End all channels of a user, who can resume none of them, and forget what he may do; how many.

        Who is just joining is not let in.
        """
        self.permission.policy.forget(subject=subject)
        self.places.void(subject=subject)
        if not subject:
            return 0  # nobody in particular: those are many, and strangers to each other
        seats = dict.fromkeys([*self.arriving.values(), *self.seats.values()])
        kicked = [seat for seat in seats if seat.belongs_to(subject)]
        for seat in kicked:
            if seat.channel is not None and seat.is_in:
                self.leave(seat.channel, reason)
            else:  # whoever would let it in asks for this in the same step
                seat.refusal = JoinRefused("unauthorized", f"You are not let in any more: {reason}.")
        return len(kicked)

    # -- permission --

    async def check_join(self, user: User, topic: str, params: Plain, *, private: bool) -> None:
        """Raises `JoinRefused` when ``user`` may not join."""
        await self.permission.check_join(user, topic, params, private=private or self.is_private(topic))

    async def check_publish(self, user: User, topic: str, *, private: bool = False) -> None:
        """Raises `PublishRefused` when ``user`` may not publish. ``private``: the client says that the topic is."""
        await self.permission.check("publish", user, topic, private=private or self.is_private(topic))

    def check_publication(self, user: User, topic: str) -> None:
        """Count a message that ``user`` publishes without a channel. Raises `PublishRefused` when too many have come."""
        self.permission.check_publication(user.address, topic)

    def check_rate(self, channel: Pid, size: int) -> None:
        """Count a message of ``size`` bytes that a channel's client sends; a client that can be slowed down, is.

        Raises:
            PublishRefused: too many have come; this one is not to be handled.
        """
        seat = self.seats.get(channel)
        if seat is not None:
            publishes = self.channel_class(seat.options).publishes_pushes()
            self.permission.check_rate(seat, size, publishes=publishes)

    def _count(self, channel: Pid, size: int) -> None:
        seat = self.seats.get(channel)
        if seat is not None:
            self.permission.count(seat, size)

    # -- for channels --

    def vacate(self, channel: Pid, *, tell: bool = True) -> None:
        """In a death step, the channel's or its connection's: the seat is nobody's any more."""
        seat = self.seats.pop(channel, None)
        if seat is None:
            return
        seat.left = True
        self.permission.left(seat)
        seat.leave(self.relay)
        if seat.decided is not None and not seat.is_in:
            seat.refuse(seat.refusal or JoinRefused("crash", "join crashed"))  # it never was
            return
        seat.joined()
        if tell and seat.refusal is None:
            seat.outlet.closed(seat.reason, crashed=seat.crashed)

    def _missed(self, topic: str, receiver: Receiver) -> None:
        """A client may not have got something. Its channel ends as if it had crashed: so it joins again, from its last place."""
        if receiver.missed is not None:
            receiver.missed()
        seat = self.seats.get(receiver.member) if isinstance(receiver.member, Pid) else None
        if seat is None or seat.channel is None:
            return  # an actor sees it by the offset
        seat.leave(self.relay)  # now: what follows would hide that something is missing
        seat.end("a message may be missing", crashed=True)
        if not self.node.cast(seat.channel, Leave()):
            self.node.exit(seat.channel, "kill")
