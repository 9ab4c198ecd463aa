"""Supabase Realtime: the server's side of one connection, on top of Phoenix's.

A client's topic ``realtime:NAME`` is the topic NAME here, and that of a private channel ``private:NAME``, unless NAME is
private by itself: a private and a public channel of one name have nothing to do with each other. What a client broadcasts is
published as it is, so that clients of all protocols hear each other; what anybody publishes reaches Supabase's clients as a
broadcast.
"""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from wsactors.actors.log import log
from wsactors.realtime.identity import AuthRefused, Credentials, JoinRefused, User
from wsactors.realtime.outlet import Joined
from wsactors.realtime.publication import Position
from wsactors.wire import supabase
from wsactors.wire.errors import ProtocolError
from wsactors.wire.phoenix import Message, Ref
from wsactors.wire.plain import Plain
from wsactors.wire.supabase_payloads import Join, Replay, parse_broadcast, parse_join, parse_presence

from .phoenix import ChannelOutlet, Connection, PhoenixConversation
from .phoenix_formats import REALTIME_PREFIX, SupabaseFormat
from .ws import TRY_AGAIN_LATER

KEY_PREFIX: Final = "sb_"
"""What the project keys begin with that are not tokens: they are nobody's, and renew nothing."""

AUTH_STATUS: Final = {"missing": 401, "malformed": 401, "expired": 401, "revoked": 401, "signature": 401, "claims": 401,
                      "forbidden": 403}  # fmt: skip
AUTH_TEXTS: Final = {
    "missing": "API key is missing",
    "malformed": "The token provided is not a valid JWT",
    "expired": "Token has expired",
    "revoked": "Token has been revoked",
    "signature": "Failed to validate JWT signature",
    "claims": "Fields `role` and `exp` are required in JWT",
    "forbidden": "You may not connect here",
}
_AUTH_CODES: Final = {
    "malformed": "MalformedJWT",
    "signature": "JwtSignatureError",
}
_JOIN_TEXTS: Final = {
    "too_many": "ChannelRateLimitReached: Too many channels",
    "rate": "ClientJoinRateLimitReached: Too many joins per second",
    "draining": "RealtimeRestarting: Realtime is restarting, please standby",
    "private_only": "PrivateOnly: This project only allows private channels",
    "replay": "UnableToReplayMessages: Replay params are not valid",
    "replay_public": "UnableToReplayMessages: Replay is not allowed for public channels",
    "no_topic": "TopicNameRequired: You must provide a topic name",
}
_NO_POSTGRES: Final = "Postgres changes are not available: this server has no database. Broadcast and presence are."
_NO_REPLICATION: Final = "Replication is not available: this server has no database"


def auth_error(refusal: AuthRefused) -> tuple[int, str]:
    """Status and text of a connection that is refused."""
    return AUTH_STATUS.get(refusal.code, 500), AUTH_TEXTS.get(refusal.code, "Error connecting to Realtime")


class SupabaseOutlet(ChannelOutlet):
    """The receiving end of one channel of a Supabase client."""

    __slots__ = ("asked", "name", "node_topic", "replay", "token", "tracked", "user")

    format: SupabaseFormat

    def __init__(self, conversation: PhoenixConversation, message: Message) -> None:
        super().__init__(conversation, message)
        self.name = self.node_topic = message.topic.removeprefix(REALTIME_PREFIX)
        """As the client calls it and as the node does, who differ if the channel is private: see `enter_private`."""
        self.asked = Join()
        self.user = conversation.connection.user
        self.token: str | None = None
        self.replay: Replay | None = None
        self.tracked: dict[str, Plain] | None = None

    def enter_private(self, topic: str) -> None:
        """The channel is private: its topic is ``topic``, which the client goes on calling by its own name."""
        if topic != self.name:
            self.node_topic = topic
            self.format = self.format.of_private()

    def joined(self, joined: Joined) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self.channel = joined.channel
        changes: list[Plain] = [{**each, "id": number} for number, each in enumerate(self.asked.postgres_changes, 1)]
        self.reply(self._ref, "ok", {"postgres_changes": changes})
        if joined.presence is not None:
            self._offer(joined.presence.encode(self.format))
        for publication in joined.missed:
            if self.replay is not None and publication.at * 1000 >= self.replay.since:
                self._offer(self.format.publication(publication, replayed=True))
        if changes:
            self.system("postgres_changes", "error", _NO_POSTGRES)
        if self.asked.replication_ready:
            self.system("system", "error", _NO_REPLICATION)

    def closed(self, reason: str, *, crashed: bool) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        if not crashed and not self.is_leaving:
            self.system("system", "error", reason)
        super().closed(reason, crashed=crashed)

    def reply(self, ref: Ref, status: str, response: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        if status == "error":
            self.tracked = None  # it may have been the presence: then the same again is worth a try
        super().reply(ref, status, response)

    def push(self, event: str, payload: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`: clients know broadcasts only."""
        self._send(supabase.BROADCAST_EVENT, supabase.broadcast_payload(event, payload))

    def system(self, extension: str, status: str, text: str) -> None:
        """Tell the client something about the channel."""
        self._send("system", supabase.system_payload(extension, status, text, self.name))


class SupabaseConversation(PhoenixConversation):
    """One Supabase client's channels on one connection.

    Args:
        connection: its connection.
        wire_format: how it is written.
        credentials: what it showed on connecting: a channel with a token of its own is somebody else's.
    """

    __slots__ = ("_credentials",)

    outlet: ClassVar[type[ChannelOutlet]] = SupabaseOutlet

    def __init__(self, connection: Connection, wire_format: SupabaseFormat, credentials: Credentials) -> None:
        super().__init__(connection, wire_format)
        self._credentials = credentials

    def mind_expiry(self) -> None:
        """Only channels end when a token expires: each may have one of its own, and may get a new one."""

    async def receive(self, data: str | bytes) -> None:
        """Take one message. What is none is dropped: clients are not disconnected for it."""
        try:
            message = self.format.decode(data)
        except ProtocolError as error:
            log(__name__, "debug", "malformed_message", reason=str(error))
            return
        await self.handle(message)
        await self.rest()

    # -- joining --

    async def join(self, outlet: ChannelOutlet, message: Message) -> None:
        """Let `Realtime` decide about a join. Raises `JoinRefused`."""
        assert isinstance(outlet, SupabaseOutlet)
        if not message.topic.startswith(REALTIME_PREFIX):
            raise JoinRefused("unmatched_topic", "Topics begin with realtime:")
        if not outlet.name:
            raise JoinRefused("no_topic", "You must provide a topic name")
        outlet.asked = asked = parse_join(message.payload)
        if asked.problems:
            log(__name__, "info", "malformed_join", topic=outlet.name, problems="; ".join(asked.problems))
        if asked.bad_replay:
            raise JoinRefused("replay", "Replay params are not valid")
        if asked.replay is not None and not asked.private:
            raise JoinRefused("replay_public", "Replay is not allowed for public channels")
        if asked.access_token is not None and not asked.access_token.startswith(KEY_PREFIX):
            outlet.token = asked.access_token
            outlet.user = await self._user_of(asked.access_token)
        connection = self.connection
        private_name = connection.realtime.options.private_name(outlet.name)
        if asked.private:
            outlet.enter_private(private_name)
        elif private_name == outlet.name:
            raise JoinRefused("private_only", "This topic is private")
        since = await self._replay_from(outlet) if asked.replay is not None else None
        await connection.realtime.join(
            outlet.node_topic,
            outlet,
            owner=connection.owner,
            user=outlet.user,
            params=_without_tokens(message.payload),
            since=since,
            presence=asked.presence_enabled,
            private=asked.private,
            self_broadcast=asked.self_broadcast,
        )

    async def _user_of(self, token: str) -> User:
        connection = self.connection
        connection.realtime.permission.showing(connection.owner, connection.user)
        return await connection.realtime.authenticate(attrs.evolve(self._credentials, token=token))

    async def _replay_from(self, outlet: SupabaseOutlet) -> Position | None:
        """The position whose missed publications are those to replay. Raises `JoinRefused` if they may not be read."""
        realtime, replay = self.connection.realtime, outlet.asked.replay
        assert replay is not None
        await realtime.check_join(outlet.user, outlet.node_topic, None, private=True)
        gap = await realtime.history(outlet.node_topic, None, replay.limit)
        wanted = [each for each in gap.missed if each.at * 1000 >= replay.since]
        outlet.replay = replay
        return Position(wanted[0].epoch, wanted[0].offset - 1) if wanted else None

    def refuse(self, refusal: JoinRefused, message: Message) -> None:
        """Tell the client that it is not let in; who joins too fast is disconnected, too, so that it backs off."""
        super().refuse(refusal, message)
        if refusal.code == "rate":
            self.connection.close(TRY_AGAIN_LATER, "too many joins per second")

    def refusal(self, refusal: JoinRefused, message: Message) -> Plain:
        """What the client of a refused join is told: ``Code: text``."""
        name = message.topic.removeprefix(REALTIME_PREFIX)
        code = refusal.code
        if code == "unmatched_topic":
            return {"reason": "unmatched topic"}
        if code == "unauthorized":
            return {"reason": f"Unauthorized: You do not have permissions to read from this Channel topic: {name}"}
        if code in AUTH_TEXTS:
            return {"reason": f"{_AUTH_CODES.get(code, 'InvalidJWTToken')}: {AUTH_TEXTS[code]}"}
        reason: dict[str, Plain] = {"reason": _JOIN_TEXTS.get(code, f"UnknownErrorOnChannel: {refusal.message}")}
        # The text is Supabase's own, and does not say whose limit it is.
        return reason | {"message": refusal.message} if code in {"too_many", "rate"} else reason

    # -- messages --

    async def pushed(self, outlet: ChannelOutlet, message: Message) -> None:
        """Take what the client of ``outlet`` says."""
        assert isinstance(outlet, SupabaseOutlet)
        match message.event:
            case supabase.BROADCAST_EVENT:
                self._broadcast(outlet, message)
            case "presence":
                self._presence(outlet, message.payload, message.ref)
            case "access_token":
                await self._renew(outlet, message.payload)
            case _:
                log(__name__, "debug", "unexpected_event", topic=outlet.name)

    def _broadcast(self, outlet: SupabaseOutlet, message: Message) -> None:
        ref = message.ref if outlet.asked.ack else None
        try:
            broadcast = parse_broadcast(message.payload)
        except ProtocolError as error:
            if ref is not None:
                outlet.reply(ref, "error", {"reason": str(error)})
            return
        self.push(outlet, broadcast.event, broadcast.payload, ref)

    def _presence(self, outlet: SupabaseOutlet, payload: Plain, ref: Ref) -> None:
        realtime, channel = self.connection.realtime, outlet.channel
        assert channel is not None
        try:
            meta = parse_presence(payload)
        except ProtocolError as error:
            outlet.reply(ref, "error", {"reason": str(error)})
            return
        if meta is not None and meta == outlet.tracked:
            outlet.reply(ref, "ok", {})
            return
        outlet.tracked = meta
        if meta is None:
            taken = realtime.untrack(channel, ref=ref)
        else:
            if (seat := realtime.seats.get(channel)) is not None:
                seat.show_presence(realtime.relay)  # who shows itself sees the others
            taken = realtime.track(channel, meta, key=outlet.asked.presence_key or None, ref=ref)
        if not taken:
            outlet.reply(ref, "error", {"reason": "too many messages"})

    async def _renew(self, outlet: SupabaseOutlet, payload: Plain) -> None:
        """The client shows a new token. Project keys, nothing and the token from before change nothing."""
        token = payload.get("access_token") if isinstance(payload, dict) else None
        if not isinstance(token, str) or token.startswith(KEY_PREFIX) or token == outlet.token:
            return
        realtime = self.connection.realtime
        try:
            if outlet.token is None:  # so far the connection's own key stood for it
                user = await self._user_of(token)
            else:
                user = await realtime.reauthenticate(outlet.user, token, owner=self.connection.owner)
            await realtime.check_join(user, outlet.node_topic, None, private=outlet.asked.private)
        except AuthRefused as refusal:
            if refusal.code == "rate":  # it was not looked at: the one from before still holds
                outlet.system("system", "error", refusal.message)
            else:
                text = refusal.message if refusal.code == "forbidden" else AUTH_TEXTS.get(refusal.code)
                self._dismiss(outlet, text or "The token cannot be checked now")
        except JoinRefused:
            self._dismiss(outlet, f"You no longer have permission to read from this Channel topic: {outlet.name}")
        else:
            outlet.token, outlet.user = token, user
            if outlet.channel is not None:
                realtime.renew(outlet.channel, user)

    def _dismiss(self, outlet: SupabaseOutlet, text: str) -> None:
        outlet.system("system", "error", text)
        self.leave(outlet, text)


def _without_tokens(payload: Plain) -> Plain:
    if not isinstance(payload, dict):
        return payload
    return {key: value for key, value in payload.items() if key not in {"access_token", "user_token"}}
