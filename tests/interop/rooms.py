"""A channel for foreign clients: refuses, answers, crashes and shows people as present, as it is asked to."""

from __future__ import annotations

from typing import Any

from wsactors.realtime.channel import Answer, Channel
from wsactors.realtime.identity import JoinRefused


class Room(Channel):
    """Serves the topics ``room:*``."""

    async def join(self, params: Any) -> Any:
        """``{"refuse": CODE}`` is refused; ``{"user": NAME, ...}`` is present under that name."""
        match params:
            case {"refuse": str() as code}:
                raise JoinRefused(code, "You may not enter.")
            case {"user": str() as user}:
                self.track(params, user)
        return {"topic": self.topic}

    def handle_push(self, event: str, payload: Any) -> Any:
        """Some events are for the channel; others are published."""
        match event:
            case "echo":
                return payload
            case "no":
                return Answer("error", {"reason": "not today"})
            case "crash":
                raise RuntimeError("as you wish")
            case "whisper":
                self.push("whispered", payload)
                return {}
            case _:
                return super().handle_push(event, payload)
