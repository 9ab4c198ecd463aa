"""An actor in the middle of a topic: it repeats what it hears, and says whom it has seen."""

from __future__ import annotations

from typing import Any

from wsactors.actors import Actor
from wsactors.realtime.publication import PresenceDiff, Publication
from wsactors.realtime.service import Realtime


class Crier(Actor):
    """Publishes ``echo of EVENT`` with whom it has heard and who is present, as often as somebody speaks."""

    async def init(self, topic: str) -> None:
        """``topic`` is the topic's name."""
        self._realtime = Realtime.of(self.node)
        self._present: dict[str, str] = {}
        await self._realtime.subscribe(topic, self.pid)

    async def handle_info(self, message: Any) -> None:
        """Somebody speaks, comes or goes."""
        match message:
            case Publication(topic=topic, event=event, payload={"from": str() as name}):
                payload: Any = {"heard": name, "present": sorted(self._present.values())}
                await self._realtime.publish(topic, f"echo of {event}", payload, exclude=self.pid)
            case PresenceDiff(joins=joins, leaves=leaves):
                for meta in (meta for metas in leaves.values() for meta in metas):
                    self._present.pop(meta["phx_ref"], None)
                for meta in (meta for metas in joins.values() for meta in metas):
                    self._present[meta["phx_ref"]] = meta["user"]
