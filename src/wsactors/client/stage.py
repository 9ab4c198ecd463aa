"""A joined stage or voice session, as the program that takes part in it sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from wsactors.wire.native import QUIETEST, Plain

from .connection import Client
from .errors import ClientError
from .listening import Listening
from .stage_mirror import StageMirror, StagePerson
from .uplink import FRAME, Uplink

PIECE: Final = 32 * 1024
"""Bytes of a file in one message: half of what a node takes that is not told otherwise."""
CLIP_SECONDS: Final = 30.0
"""In which an uploaded clip must be ready."""


async def join_stage(client: Client, session: str) -> Stage:
    """Join a stage or voice session, on this connection and all that follow.

    Raises:
        ClientError: There is none of that name, or this user may not come in.
        Disconnected: The node is gone, and the client does not come back by itself.
    """
    stage = Stage(client, await client.join(session))
    await stage.wait(lambda: stage.mirror.version and stage.you is not None)
    return stage


class Stage:
    """Made by `join_stage`. ``listening`` is what one hears (`wsactors.client.hearing` makes it audible)."""

    def __init__(self, client: Client, listening: Listening) -> None:
        self._client = client
        self._uplink = Uplink()
        self.listening = listening

    def __repr__(self) -> str:
        return f"<Stage {self.listening.joined.session!r} {self.you}>"

    @property
    def mirror(self) -> StageMirror:
        """What the node has told of the session."""
        return self.listening.stage

    @property
    def you(self) -> StagePerson | None:
        """What the node says about this user; None: nothing yet."""
        return self.mirror.you

    @property
    def on_stage(self) -> bool:
        """Whether this user may speak."""
        return self.you is not None and self.you.role >= 2

    async def act(self, action: str, **args: Plain) -> Plain:
        """Do something: ``docs/stage.md`` lists the actions. Raises `ClientError`, `Disconnected`."""
        return await self._client.act(self.listening.joined.session, action, args)

    async def wait(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition``, about what the node tells, holds, or no more is told."""
        await trio.lowlevel.checkpoint()
        while not condition() and self.listening.ended is None:
            await self.listening.told()
            if self.listening.missed:
                await self.refresh()

    async def refresh(self) -> None:
        """Ask for everything anew: something was missed. Raises as `act`."""
        self.listening.missed = False
        state = await self.act("state")
        if isinstance(state, dict):
            self.mirror.take("stage_state", state)

    def speak(self, packet: bytes, *, samples: int = FRAME, level: int = QUIETEST, voice: bool | None = None) -> bool:
        """Send one Opus packet as what this user says; False: there was no connection for it. It may be lost.

        Raises:
            ProtocolError: It is none that can be sent.
        """
        return self._client.send_audio(self._uplink.frame(packet, samples=samples, level=level, voice=voice))

    def pause(self, samples: int) -> None:
        """Say nothing for so many samples: what is silent need not be sent."""
        self._uplink.pause(samples)

    async def upload(self, name: str, data: bytes) -> int:
        """Add a sound file to the soundboard; its number there, once it can be played.

        Raises:
            ClientError: The node does not take it; code ``clip`` when it is no clip.
            Disconnected: The node is gone.
        """
        failed = self.mirror.failed
        clip = 0
        for at in range(0, len(data), PIECE):
            answer = await self.act("upload", name=name, size=len(data), at=at, data=data[at : at + PIECE])
            clip = int(str(answer.get("clip", 0))) if isinstance(answer, dict) else 0
        with trio.move_on_after(CLIP_SECONDS):
            await self.wait(lambda: self._has(clip) or self.mirror.failed > failed)
        if not self._has(clip):
            why = self.mirror.failures[-1] if self.mirror.failed > failed else "it was not ready in time"
            raise ClientError(f"clip: {why}", "clip")
        return clip

    def _has(self, clip: int) -> bool:
        return any(each.get("clip") == clip for each in self.mirror.clips)

    async def leave(self) -> None:
        """Leave for good; role and hand are given up. Raises `Disconnected`."""
        await self._client.leave(self.listening.joined.session)
