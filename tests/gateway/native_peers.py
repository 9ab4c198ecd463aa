"""Clients of the native protocol's topics in memory: messages in, messages out, on a real `Realtime`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from wsactors.actors import ProcessActor
from wsactors.gateway.native_topics import NativeTopics
from wsactors.realtime.channel import Answer, Channel
from wsactors.realtime.identity import JoinRefused
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import RealtimeSupervisor
from wsactors.supervision import Node
from wsactors.wire import native


class Owner(ProcessActor):
    async def run(self) -> None:
        await trio.sleep_forever()


class Guarded(Channel):
    """Refuses some, looks at pushes."""

    async def join(self, params: Any) -> Any:
        if params == "no":
            raise JoinRefused("full moon", "not tonight", {"until": "tomorrow"})
        if params == "odd":
            raise JoinRefused("full moon", "not tonight", object())  # type: ignore[arg-type]
        return {"user": self.user.subject}

    def handle_push(self, event: str, payload: Any) -> Any:
        match event:
            case "crash":
                raise RuntimeError("boom")
            case "whisper":
                self.push("whispered", payload)
                return None
            case "no":
                return Answer("error", {"reason": "no"})
            case _:
                return {"got": payload}


OPTIONS = RealtimeOptions(
    topics=(
        TopicOptions("short:*", history=2),
        TopicOptions("guarded:*", channel=f"{__name__}:Guarded"),
        TopicOptions("private:*", private=True),
        TopicOptions("room:*"),
    )
)


class Peer:
    """The client's end: a sink that decodes whole frames."""

    def __init__(self, realtime: Realtime | None, owner: Any, most: int = 3) -> None:
        self.got: list[Any] = []
        self.topics = NativeTopics(realtime, self, owner, most=most)

    def offer(self, data: bytes, key: object = None) -> bool:
        size = data[1] & 0x7F
        assert data[0] == 0x82
        self.got.append(native.decode_server(data[{126: 4, 127: 10}.get(size, 2) :]))
        return True

    async def ask(self, *messages: Any) -> Any:
        """The first answer, or None."""
        before = len(self.got)
        for message in messages:
            await self.topics.handle(message)
        await trio.testing.wait_all_tasks_blocked()
        return self.got[before] if len(self.got) > before else None

    def of(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.got if isinstance(each, kind)]


@attrs.frozen
class World:
    node: Node
    realtime: Realtime

    async def peer(self, most: int = 3) -> Peer:
        return Peer(self.realtime, await self.node.spawn(Owner), most)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with Node("native") as node:
        await node.spawn(RealtimeSupervisor, OPTIONS, kwargs={"allowed_packages": ("wsactors", __name__)})
        yield World(node, Realtime.of(node))
