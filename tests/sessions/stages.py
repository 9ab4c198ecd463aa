"""People of a stage for tests: each a sink that remembers what it hears, and keeps the state as a page would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from wsactors.actors import Attached
from wsactors.realtime.identity import ANONYMOUS, User
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.directory import SessionDirectory, open_stage
from wsactors.sessions.member import StageMembership
from wsactors.sessions.stage_messages import GetStage, StageStatus
from wsactors.sessions.stage_options import StageOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire.native import FLAG_VOICE, AudioFrame, Event, decode_audio, decode_server, encode_audio

SUPERVISORS = Path(__file__).parents[2] / "supervisors"
DEADLINE = 30.0
PACKET = b"\xfc" + bytes(40)
"""Looks like 20 ms of Opus."""


def user(subject: str, role: str = "authenticated", **claims: Any) -> User:
    return User(subject, role, claims)


def voice(sequence: int, *, level: int = 20, flags: int = FLAG_VOICE, payload: bytes = PACKET) -> bytes:
    """An uplink frame of somebody who speaks."""
    return encode_audio(0, sequence, sequence * 960, payload, level=level, flags=flags)


class Guest:
    """Somebody in a stage."""

    def __init__(self) -> None:
        self.member: StageMembership
        self.frames: list[AudioFrame] = []
        self.events: list[Event] = []
        self.sizes: list[int] = []
        self.state: dict[str, Any] = {}
        self.people: dict[int, dict[str, Any]] = {}
        self.you: dict[str, Any] = {}
        self.levels: dict[int, int] = {}
        self.missed = False
        self._sequence = 0
        self._changed = trio.Event()

    def offer(self, data: bytes, key: object = None) -> bool:
        if key == AUDIO:
            self.frames.append(decode_audio(data))
        else:
            event = decode_server(data)
            assert isinstance(event, Event)
            assert key == (event.name, event.session)
            self.sizes.append(len(data))
            self.events.append(event)
            self.take(event.name, dict(event.payload))
        self._changed.set()
        self._changed = trio.Event()
        return True

    def take(self, name: str, payload: dict[str, Any]) -> None:
        """What ``docs/stage.md`` says that a client does with an event."""
        if name == "stage_state":
            self.people = {each["id"]: each for each in payload.pop("people")}
            self.state = payload
        elif name == "stage_you":
            self.you = payload
        elif name == "stage_change":
            self.missed = self.missed or payload.pop("from") != self.state["version"]
            self.people.update((each["id"], each) for each in payload.pop("people", ()))
            for gone in payload.pop("gone", ()):
                del self.people[gone]
            self.levels.update(payload.pop("levels", ()))
            self.state.update(payload)
        elif name == "stage_clips":
            self.state["clips"] = payload["clips"]
        elif name == "stage_clip_failed":
            self.state["failed"] = payload["error"]

    async def until(self, condition: Callable[[], Any], seconds: float = DEADLINE) -> Any:
        with trio.fail_after(seconds):
            while not (result := condition()):
                await self._changed.wait()
        return result

    async def act(self, action: str, **args: Any) -> Any:
        return await self.member.act(action, args)

    def say(self, count: int = 1, **how: Any) -> None:
        """Send that many frames."""
        for _ in range(count):
            self.member.speak(voice(self._sequence, **how), trio.current_time())
            self._sequence += 1

    @property
    def id(self) -> int:
        return int(self.you["id"])

    @property
    def role(self) -> int:
        return int(self.you["role"])

    def sees(self, who: Guest, fact: str) -> bool:
        """What this one has been told of somebody."""
        return bool(self.people.get(who.id, {}).get(fact))

    def heard(self, track: int) -> list[AudioFrame]:
        return [frame for frame in self.frames if frame.track == track]


@attrs.frozen
class Hall:
    node: Node
    directory: SessionDirectory
    owner: Attached

    async def open(self, name: str = "talk", *, opener: User = ANONYMOUS, **options: Any) -> StageOptions:
        stage = StageOptions(name, **options)
        await open_stage(self.node, stage, load_tree(SUPERVISORS / "stage.toml", ["wsactors"]), opener=opener)
        return stage

    async def join(
        self, name: str = "talk", who: User = ANONYMOUS, *, guest: str = "", sink: Any = None, owner: Any = None
    ) -> Guest:
        found = sink or Guest()
        member = await self.directory.join(name, found, owner or self.owner.pid, user=who, guest=guest)
        assert isinstance(member, StageMembership)
        found.member = member
        await found.until(lambda: found.you)
        return found

    async def status(self, stage: StageOptions) -> StageStatus:
        status: StageStatus = await self.node.call(stage.part("session"), GetStage())
        return status


@asynccontextmanager
async def open_hall() -> AsyncIterator[Hall]:
    async with Node("hall", debug=True) as node:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        async with node.attach() as owner:
            yield Hall(node, SessionDirectory(node), owner)
