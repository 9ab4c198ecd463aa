"""A joined session, as the program that listens sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import trio

from wsactors.wire import native

from .late import LateGate
from .stage_mirror import STAGE_EVENTS, StageMirror

BACKLOG_FRAMES: Final = 250
"""Frames kept for a reader that does not keep up: five seconds; then the oldest are dropped."""


class Listening:
    """One joined session: an asynchronous iterator over its audio frames, without those that came too late."""

    def __init__(self, joined: native.Joined) -> None:
        self.joined = joined
        """What the node said about the track."""
        self.gate = LateGate(rate=joined.rate)
        self.ended: str | None = None
        """Why no more frames will come; None while they may."""
        self.received = self.dropped = 0
        self.state: Mapping[str, native.Plain] = {}
        """What is played: the newest ``"state"`` event's payload (``docs/protocol.md``); empty until the node has told."""
        self.on_frame: Callable[[native.AudioFrame, float], object] | None = None
        """Is given every frame as it comes, late ones too, with the time; then none waits to be iterated. See `hand_to`."""
        self.stage = StageMirror()
        """Who is there and what is going on, when it is a stage or a voice session."""
        self.missed = False
        """Whether news of that were missed, so that the action ``state`` should be asked for all of it."""
        self._told = trio.Event()
        self._frames: deque[native.AudioFrame] = deque()
        self._arrived = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Listening {self.joined.session!r} received={self.received} late={self.gate.late}>"

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> native.AudioFrame:
        await trio.lowlevel.checkpoint()
        while not self._frames:
            if self.ended is not None:
                raise StopAsyncIteration
            await self._arrived.park()
        return self._frames.popleft()

    def feed(self, frame: native.AudioFrame, now: float) -> None:
        """Take a frame from the connection."""
        self.received += 1
        if self.on_frame is not None:
            self.on_frame(frame, now)
            return
        if frame.flags & native.FLAG_DISCONTINUITY:
            self.gate.reset()
        if not self.gate.accept(frame.timestamp, now=now):
            return
        if len(self._frames) >= BACKLOG_FRAMES:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(frame)
        self._arrived.unpark(count=1)

    def hand_to(self, on_frame: Callable[[native.AudioFrame, float], object], now: float) -> None:
        """Give ``on_frame`` the frames that wait, with which one begins to hear at once, and from now on every frame."""
        self.on_frame = on_frame
        while self._frames:
            on_frame(self._frames.popleft(), now)

    async def next_state(self) -> Mapping[str, native.Plain]:
        """Wait for the next ``"state"`` event; its payload. The latest one, once no more will come."""
        state = self.state
        await trio.lowlevel.checkpoint()
        while self.state is state and self.ended is None:
            await self._told.wait()
        return self.state

    async def told(self) -> None:
        """Wait for the next event of the session, or until no more will come."""
        told = self._told  # of now: the next may come while this waits for its turn
        if self.ended is None:
            await told.wait()
        else:
            await trio.lowlevel.checkpoint()

    def tell(self, event: native.Event) -> None:
        """Take an event of the session from the connection."""
        if event.name == "state":
            self.state = event.payload
        elif event.name in STAGE_EVENTS:
            follows = self.stage.take(event.name, event.payload)
            self.missed = event.name != "stage_state" and (self.missed or not follows)
        else:
            return
        self._told.set()
        self._told = trio.Event()

    def rejoin(self, joined: native.Joined) -> None:
        """The session is heard again, on another connection."""
        self.joined = joined
        self.gate.reset()

    def end(self, reason: str) -> None:
        """No more frames come; those that wait can still be read."""
        if self.ended is None:
            self.ended = reason
            self._arrived.unpark_all()
            self._told.set()
