"""Namespaces for clients that test themselves, as the protocol's own test suite expects them, and a few things more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wsactors.wire.plain import Plain

from .socketio_namespace import ConnectRefused, Namespace, on
from .socketio_topics import Topics


class Custom(Namespace):
    """``/custom``: says what the client has said on connecting."""

    authenticates = False
    broadcasts = False

    async def connect(self, auth: Any) -> None:
        """Emit ``auth``."""
        self.emit("auth", auth)


class Main(Custom):
    """``/``: sends back what it is sent."""

    @on("message")
    def message(self, *arguments: Plain) -> None:
        """Emit ``message-back``."""
        self.emit("message-back", *arguments)

    @on("message-with-ack")
    def message_with_ack(self, *arguments: Plain) -> tuple[Plain, ...]:
        """Acknowledge the arguments."""
        return arguments


class Rooms(Namespace):
    """``/rooms``: rooms, refusals, acknowledgements asked of the client, and recovery."""

    authenticates = False
    recovers = True

    async def connect(self, auth: Any) -> None:
        """Refuse whoever says ``{"refuse": ...}``, with what it says."""
        if "refuse" in auth:
            raise ConnectRefused("Not authorized", auth["refuse"])

    @on("join")
    def enter(self, room: str) -> list[Plain]:
        """Enter a room; the answer is a list of all it is in, its own left out."""
        self.join(str(room))
        return [*sorted(self.rooms - {self.sid})]

    @on("leave")
    def go(self, room: str) -> list[Plain]:
        """Leave a room."""
        self.leave(str(room))
        return [*sorted(self.rooms - {self.sid})]

    @on("say")
    async def say(self, rooms: Any, but: Any, event: str, *arguments: Plain) -> str:
        """Emit to rooms or ids, but not to those in others."""
        await self.to(*map(str, rooms)).but(*map(str, but)).emit(str(event), *arguments)
        return "said"

    @on("shout")
    async def shout(self, event: str, *arguments: Plain) -> None:
        """Emit to everyone."""
        await self.everyone.emit(str(event), *arguments)

    @on("volatile")
    def volatile(self, *arguments: Plain) -> None:
        """Emit something that may be lost."""
        self.emit("volatile", *arguments, volatile=True)

    @on("burst")
    def burst(self, count: Any) -> None:
        """Emit many events at once."""
        for number in range(min(int(count), 500)):
            self.emit("burst", number)

    @on("ask")
    async def ask(self, *arguments: Plain) -> list[Plain]:
        """Ask the client, and answer with its answer."""
        return await self.emit_with_ack("asked", *arguments, timeout=5.0)

    @on("leave me")
    def send_away(self, hang_up: Any = False) -> None:
        """End the client's connection to the namespace, or all of it."""
        self.end(hang_up=bool(hang_up))

    @on("crash")
    def crash(self) -> None:
        """Fail."""
        raise RuntimeError("a client of /rooms asked for it")


NAMESPACES: Final[Mapping[str, type[Namespace]]] = {"/": Main, "/custom": Custom, "/rooms": Rooms, "/topics": Topics}
