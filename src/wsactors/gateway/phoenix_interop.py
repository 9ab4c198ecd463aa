"""A channel for clients that test themselves: everybody is present, and every push comes back."""

from __future__ import annotations

from typing import Any

from wsactors.realtime.channel import Channel
from wsactors.wire.plain import Plain


class Room(Channel):
    """``room:*`` of ``config/interop.toml``."""

    async def join(self, params: Plain) -> Plain:
        """Let everybody in, present with what they say of themselves."""
        meta: dict[str, Any] = dict(params) if isinstance(params, dict) else {}
        key = meta.get("user") or meta.get("name")
        self.track(meta, key if isinstance(key, str) else None)
        return {}

    @classmethod
    def publishes_pushes(cls) -> bool:
        """What is pushed here is published."""
        return True

    def handle_push(self, event: str, payload: Plain) -> Plain:
        """Publish to the others, and answer with what was pushed."""
        self.broadcast(event, payload)
        return payload
