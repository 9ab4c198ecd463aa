"""An actor among foreign clients."""

from __future__ import annotations

from typing import Any

from wsactors.actors import Actor
from wsactors.realtime.publication import Publication
from wsactors.realtime.service import Realtime


class Greeter(Actor):
    """Answers everything that is published on a topic, but for what it says itself."""

    async def init(self, topic: str) -> None:
        """``topic`` is the topic's name."""
        self._realtime = Realtime.of(self.node)
        await self._realtime.subscribe(topic, self.pid)

    async def handle_info(self, message: Any) -> None:
        """Greet whoever speaks."""
        match message:
            case Publication(event="text", payload={"from": str() as name}):
                await self._greet(message.topic, {"hello": name})
            case Publication(event="data", payload=bytes() as data):
                await self._greet(message.topic, {"bytes": len(data)})

    async def _greet(self, topic: str, payload: Any) -> None:
        await self._realtime.publish(topic, "greeting", payload, exclude=self.pid)
