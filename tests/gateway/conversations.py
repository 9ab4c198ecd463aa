"""Conversations of Phoenix and Supabase clients in memory: a real `Realtime`, and a client that is a list of what it got."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from wsactors.actors import Pid, ProcessActor
from wsactors.gateway.phoenix import Connection, PhoenixConversation
from wsactors.gateway.phoenix_formats import phoenix_format, supabase_format
from wsactors.gateway.supabase import SupabaseConversation
from wsactors.realtime.channel import Answer, Channel
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, JoinRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import RealtimeSupervisor
from wsactors.supervision import Node
from wsactors.wire import phoenix, supabase
from wsactors.wire.json_door import dumps, loads
from wsactors.wire.phoenix import V2, Message, Version
from wsactors.wire.plain import Plain

ME = f"{__name__}:"


class MarkedFraming:
    """Instead of a WebSocket frame one letter: text or binary."""

    def text(self, data: bytes) -> bytes:
        return b"T" + data

    def binary(self, data: bytes) -> bytes:
        return b"B" + data

    def alone(self, data: bytes) -> bytes:
        return self.binary(data)


MARKED = MarkedFraming()


class Owner(ProcessActor):
    async def run(self) -> None:
        await trio.sleep_forever()


class Room(Channel):
    """A room with manners."""

    async def join(self, params: Any) -> Any:
        match params:
            case {"refuse": str() as code}:
                raise JoinRefused(code, "No.", {"detail": 1})
            case {"crash": True}:
                raise RuntimeError("boom")
            case {"track": dict() as meta, "key": str() as key}:
                self.track(meta, key)
        return {"welcome": params}

    def handle_push(self, event: str, payload: Any) -> Any:
        match event:
            case "crash":
                raise RuntimeError("boom")
            case "no":
                return Answer("error", {"reason": "no"})
            case "bytes":
                return b"\x00\xff"
            case "whisper":
                self.push("whispered", payload)
                return {}
            case "nan":
                return {"a": float("nan")}
            case "silent":
                return None
            case _:
                return super().handle_push(event, payload)


class Stubborn(Channel):
    """Does not end when it is told to."""

    async def handle_push(self, event: str, payload: Any) -> Any:
        await trio.sleep(1000)


OPTIONS = RealtimeOptions(
    topics=(
        TopicOptions("plain:*"),
        TopicOptions("private:*", private=True),
        TopicOptions("stubborn:*", channel=ME + "Stubborn"),
        TopicOptions("room:*", channel=ME + "Room", history=50),
    )
)


class Names:
    """An authenticator of tests: a token is its bearer's name."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        token = credentials.token
        if token in {"expired", "signature", "malformed", "claims", "forbidden"}:
            raise AuthRefused(token, "not you")
        if token == "weak":
            return User(subject="ada", role="authenticated", claims={"weak": True})
        if token.startswith("brief:"):
            return User(subject="ada", role="authenticated", expires=time.time() + float(token[6:]))
        return User(subject=token, role="authenticated") if token else ANONYMOUS


@asynccontextmanager
async def realtime_node(options: RealtimeOptions = OPTIONS, **more: Any) -> AsyncIterator[Realtime]:
    """A node with topics."""
    async with Node("conversations", debug=True) as node:
        more |= {"allowed_packages": ("wsactors", __name__.partition(".")[0]), "authenticator": Names()}
        await node.spawn(RealtimeSupervisor, options, kwargs=more)
        yield Realtime.of(node)


class Talker:
    """A client without a socket."""

    supabase = False

    def __init__(self, realtime: Realtime, owner: Pid, version: Version, user: User, max_channels: int) -> None:
        self.version: Version = version
        self.frames: list[bytes] = []
        self.owner = owner
        self.closed: list[tuple[int, str]] = []
        self.connection = Connection(realtime, owner, user, self, self._close, max_channels)
        self.conversation: PhoenixConversation = self.converse()
        self._ref = 0

    def converse(self) -> PhoenixConversation:
        return PhoenixConversation(self.connection, phoenix_format(self.version, MARKED))

    @classmethod
    async def of(
        cls, realtime: Realtime, *, version: Version = V2, user: User = ANONYMOUS, max_channels: int = 100
    ) -> Any:
        owner = await realtime.node.spawn(Owner)
        return cls(realtime, owner, version, user, max_channels)

    def offer(self, data: bytes, key: object = None) -> bool:
        self.frames.append(data)
        return True

    def _close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    @property
    def got(self) -> list[Any]:
        """Everything it got, and forget it: texts parsed, binary messages as bytes."""
        frames, self.frames = self.frames, []
        return [frame[1:] if frame[:1] == b"B" else loads(frame[1:]) for frame in frames]

    async def tell(self, data: str | bytes) -> None:
        """Send ``data`` and wait until nothing happens any more."""
        await self.conversation.receive(data)
        await trio.testing.wait_all_tasks_blocked()

    async def say(self, topic: str, event: str, payload: Plain, *, ref: Any = "r", join_ref: Any = "j") -> list[Any]:
        """Send one message; everything that came back."""
        encode = supabase.encode_client if self.supabase else phoenix.encode_client
        frame = encode(Message(join_ref, ref, topic, event, payload), self.version)
        await self.tell(frame.data if frame.binary else frame.data.decode())
        return self.got

    async def join(self, topic: str, payload: Plain = None, *, join_ref: Any = "j") -> list[Any]:
        return await self.say(topic, "phx_join", {} if payload is None else payload, ref=join_ref, join_ref=join_ref)


class SupabaseTalker(Talker):
    """A Supabase client without a socket."""

    supabase = True

    def converse(self) -> PhoenixConversation:
        return SupabaseConversation(self.connection, supabase_format(self.version, MARKED), Credentials())

    async def enter(self, name: str, *, token: str | None = None, join_ref: Any = "j", **config: Any) -> list[Any]:
        payload: dict[str, Plain] = {"config": config}
        if token is not None:
            payload["access_token"] = token
        return await self.join(f"realtime:{name}", payload, join_ref=join_ref)


def replied(topic: str, response: Any, *, status: str = "ok", ref: Any = "r", join_ref: Any = "j") -> list[Any]:
    """A reply as version 2 writes it."""
    return [join_ref, ref, topic, "phx_reply", {"status": status, "response": response}]


def parsed(value: Plain) -> Plain:
    """``value`` after a way through JSON."""
    return loads(dumps(value))
