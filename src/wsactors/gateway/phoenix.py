"""Phoenix Channels: the server's side of one connection, whatever carries it.

A `PhoenixConversation` is given a client's messages one after the other and writes to a sink, so the same serves WebSockets,
long-polling and tests. It translates: what is joined, refused and published is `Realtime`'s and the channel's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
import trio

from wsactors.realtime.identity import JoinRefused, Refused, User
from wsactors.realtime.outlet import Joined
from wsactors.realtime.service import Realtime
from wsactors.realtime.sinks import Sink
from wsactors.wire import phoenix
from wsactors.wire.errors import ProtocolError
from wsactors.wire.phoenix import Message, Ref
from wsactors.wire.plain import Plain

from .expiry import Expiry
from .phoenix_formats import ChannelsFormat, is_reserved, object_or_bytes

if TYPE_CHECKING:
    from wsactors.actors import Pid

MAX_CHANNELS: Final = 100
"""Channels of one connection: Phoenix's own default (max_channels_per_transport)."""
REPLACE_SECONDS: Final = 5.0
"""In which a channel that is joined again must have ended; it is killed then."""

MOST_REST: Final = 10.0
"""Seconds for which a client is not read at most: phoenix.js takes a connection for dead after 30 without an answer."""
POLICY_VIOLATION: Final = 1008
"""Phoenix's clients come back after every close but 1000: then with a new token, or they are refused."""

_REASONS: Final = {
    "unmatched_topic": "unmatched topic",
    "too_many": "too many channels joined",
    "crash": "join crashed",
}


@attrs.frozen(eq=False)
class Connection:
    """What a conversation knows of its connection."""

    realtime: Realtime
    owner: Pid
    """The connection's actor: channels end with it."""
    user: User
    sink: Sink
    close: Callable[[int, str], object]
    """Ends the connection, with a WebSocket's close code and a reason; does not wait."""
    max_channels: int = MAX_CHANNELS


class ChannelOutlet:
    """The receiving end of one channel; what Phoenix's and Supabase's have in common."""

    __slots__ = (
        "_ref",
        "_watcher",
        "channel",
        "conversation",
        "format",
        "has_ended",
        "is_leaving",
        "join_ref",
        "sink",
        "topic",
    )

    def __init__(self, conversation: PhoenixConversation, message: Message) -> None:
        self.conversation = conversation
        self.topic = message.topic
        """As the client calls it."""
        self.join_ref = message.ref if message.join_ref is None else message.join_ref
        self.format = conversation.format
        self.sink = conversation.connection.sink
        self.channel: Pid | None = None
        self.is_leaving = False
        self.has_ended = False
        self._watcher: trio.Event | None = None
        self._ref = message.ref

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.topic} {self.join_ref}>"

    def joined(self, joined: Joined) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self.channel = joined.channel
        self.reply(self._ref, "ok", joined.response)
        if joined.presence is not None:
            self._offer(joined.presence.encode(self.format))
        for publication in joined.missed:
            self._offer(publication.encode(self.format))

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        response = {} if response is None else object_or_bytes(response)
        self._send(phoenix.REPLY_EVENT, {"status": status, "response": response}, ref=ref)

    def push(self, event: str, payload: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self._send(event, object_or_bytes(payload))

    def closed(self, reason: str, *, crashed: bool) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self.conversation.forget(self)
        self.has_ended = True
        if self._watcher is not None:
            self._watcher.set()
        if crashed:
            self._send(phoenix.ERROR, {"reason": "channel_crash"}, ref=self.join_ref)
        else:
            self._send(phoenix.CLOSE, {}, ref=self.join_ref)

    async def wait_ended(self) -> None:
        """Wait for `closed`, for one alone; at most `REPLACE_SECONDS`."""
        if not self.has_ended:
            self._watcher = trio.Event()
            with trio.move_on_after(REPLACE_SECONDS):
                await self._watcher.wait()

    def slow_down(self, seconds: float) -> None:
        """Its client sends more than it may in the long run."""
        self.conversation.slow_down(seconds)

    def _send(self, event: str, payload: Plain, *, ref: Ref = None) -> None:
        message = Message(self.join_ref, ref, self.topic, event, payload)
        try:
            data = self.format.message(message)
        except ProtocolError as error:
            # The channel's own fault, but nobody may wait for its answer for ever.
            data = self.format.message(attrs.evolve(message, payload=_not_plain(event, str(error))))
        self.sink.offer(data)

    def _offer(self, data: bytes | None) -> None:
        if data is not None:
            self.sink.offer(data)


def _not_plain(event: str, reason: str) -> Plain:
    response: dict[str, Plain] = {"reason": f"the answer cannot be encoded ({reason})"}
    return {"status": "error", "response": response} if event == phoenix.REPLY_EVENT else response


class PhoenixConversation:
    """One client's channels on one connection. Its messages are taken one at a time."""

    __slots__ = ("_channels", "_expiry", "_rest", "connection", "format")

    outlet: ClassVar[type[ChannelOutlet]] = ChannelOutlet

    def __init__(self, connection: Connection, wire_format: ChannelsFormat) -> None:
        self.connection = connection
        self.format = wire_format
        self._channels: dict[str, ChannelOutlet] = {}
        self._rest = 0.0
        self._expiry = Expiry()
        self.mind_expiry()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {self.connection.user.subject or 'somebody'}: {len(self._channels)} channels>"
        )

    def mind_expiry(self) -> None:
        """End the connection when the token expires that opened it."""
        close = self.connection.close
        expires = self.connection.realtime.permission.expires(self.connection.user)
        self._expiry.set(expires, lambda: close(POLICY_VIOLATION, "your token has expired"))

    def end(self) -> None:
        """The connection has ended; its channels end with its actor. May be called again."""
        self._expiry.cancel()
        self._channels.clear()  # they refer to this: no cycle is left for the garbage collector

    async def receive(self, data: str | bytes) -> None:
        """Take one message, and some time if its client sends too fast. Raises `ProtocolError` when it is none."""
        await self.handle(self.format.decode(data))
        await self.rest()

    async def handle(self, message: Message) -> None:
        """Take one message that has been decoded."""
        outlet = self._channels.get(message.topic)
        match message.topic, message.event:
            case phoenix.SOCKET_TOPIC, phoenix.HEARTBEAT:
                self.reply(attrs.evolve(message, join_ref=None), "ok", {})
            case _, phoenix.JOIN:
                if outlet is not None:
                    await self._replace(outlet)
                await self._enter(message)
            case _, phoenix.LEAVE if outlet is None:
                self.reply(message, "ok", {})
            case _ if outlet is None:
                # The server may have ended the channel while this was on its way.
                self.reply(attrs.evolve(message, join_ref=None), "error", {"reason": "unmatched topic"})
            case _ if outlet.is_leaving or _is_stale(message, outlet):
                pass
            case _, phoenix.LEAVE:
                outlet.is_leaving = True
                self.reply(attrs.evolve(message, join_ref=outlet.join_ref), "ok", {})
                self.leave(outlet)
            case _:
                await self.pushed(outlet, message)

    async def join(self, outlet: ChannelOutlet, message: Message) -> None:
        """Let `Realtime` decide about a join. Raises `JoinRefused`."""
        connection = self.connection
        await connection.realtime.join(
            message.topic, outlet, owner=connection.owner, user=connection.user, params=message.payload
        )

    async def pushed(self, outlet: ChannelOutlet, message: Message) -> None:
        """Give a channel what its client says."""
        if is_reserved(message.event):
            outlet.reply(message.ref, "error", {"reason": "reserved event"})
        else:
            self.push(outlet, message.event, message.payload, message.ref)

    def push(self, outlet: ChannelOutlet, event: str, payload: Plain, ref: Ref) -> None:
        """Hand ``payload`` to the channel of ``outlet``; too many are answered with an error."""
        assert outlet.channel is not None
        if not self.connection.realtime.push(outlet.channel, event, payload, ref) and ref is not None:
            outlet.reply(ref, "error", {"reason": "too many messages"})

    def leave(self, outlet: ChannelOutlet, reason: str = "left") -> None:
        """End the channel of ``outlet`` in order; that it has ended is told when it has."""
        outlet.is_leaving = True
        if outlet.channel is not None:
            self.connection.realtime.leave(outlet.channel, reason)

    def refuse(self, refusal: JoinRefused, message: Message) -> None:
        """Tell the client that it is not let in."""
        self.reply(message, "error", self.refusal(refusal, message))

    def refusal(self, refusal: JoinRefused, message: Message) -> Plain:
        """What the client of a refused join is told."""
        response: dict[str, Plain] = {}
        if isinstance(refusal.details, dict):
            response |= refusal.details
        return response | {"reason": _REASONS.get(refusal.code, refusal.code), "message": refusal.message}

    def reply(self, message: Message, status: str, response: Plain) -> None:
        """Answer ``message`` in the connection's own name."""
        payload: dict[str, Plain] = {"status": status, "response": response}
        answer = Message(message.join_ref, message.ref, message.topic, phoenix.REPLY_EVENT, payload)
        self.connection.sink.offer(self.format.message(answer))

    def slow_down(self, seconds: float) -> None:
        """The client sends too fast: it will not be read for a while, which slows it down without a word."""
        self._rest = max(self._rest, seconds)

    async def rest(self) -> None:
        """Wait as long as the client is to be slowed down."""
        seconds, self._rest = self._rest, 0.0
        if seconds > 0:
            await trio.sleep(min(seconds, MOST_REST))

    def outlets(self) -> list[ChannelOutlet]:
        """Of the channels that are joined, or being joined or left."""
        return list(self._channels.values())

    def forget(self, outlet: ChannelOutlet) -> None:
        """``outlet`` has ended."""
        if self._channels.get(outlet.topic) is outlet:
            del self._channels[outlet.topic]

    async def _enter(self, message: Message) -> None:
        outlet = self.outlet(self, message)
        try:
            if len(self._channels) >= self.connection.max_channels:
                raise JoinRefused("too_many", f"leave a channel first: {self.connection.max_channels} are allowed")
            self._channels[message.topic] = outlet
            await self.join(outlet, message)
        except Refused as refusal:
            self.forget(outlet)
            if outlet.channel is None:
                self.refuse(_as_join(refusal), message)
            # else it was let in and has ended since, which the client has been told in this order
        except BaseException:
            self.forget(outlet)
            raise

    async def _replace(self, outlet: ChannelOutlet) -> None:
        """End a channel whose topic is joined again, and wait for it: two would both get everything."""
        realtime, channel = self.connection.realtime, outlet.channel
        self.leave(outlet, "joined again")
        await outlet.wait_ended()
        if not outlet.has_ended and channel is not None:
            realtime.node.exit(channel, "kill")
            await outlet.wait_ended()  # nobody is told if the connection itself ends in this moment


def _is_stale(message: Message, outlet: ChannelOutlet) -> bool:
    """Whether ``message`` belongs to an earlier join. One that names no join belongs to the present one."""
    return message.join_ref is not None and str(message.join_ref) != str(outlet.join_ref)


def _as_join(refusal: Refused) -> JoinRefused:
    if isinstance(refusal, JoinRefused):
        return refusal
    return JoinRefused(refusal.code, refusal.message, refusal.details)
