"""Where an Engine.IO session's frames go, whatever carries them: the client's WebSocket, or the queue for its next GET.

Small messages go to the WebSocket's own sink at once. That keeps little, so a large one, and all that comes behind it, waits
here for a task that writes one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from wsactors.cluster import CHANGES
from wsactors.realtime.send_queue import AUDIO, AUDIO_AGE, SendQueue
from wsactors.realtime.sinks import SinkClosed
from wsactors.wire.engineio import reframe3

from .engineio_core import EngineCore
from .engineio_events import TOO_SLOW

if TYPE_CHECKING:
    import socket

    from .engineio_session import EngineSession
    from .ws import WebSocket

LARGE: Final = 64 * 1024
"""Bytes of a message that may be more than a socket takes at once."""
VOLATILE: Final = "volatile"
"""The key of what may be lost: it is sent now, or as good as now, or not at all."""


class EngineSink:
    """See above. A `wsactors.realtime.sinks.Sink`.

    Args:
        core: The session.
        session: Looks soon what has happened.
    """

    __slots__ = ("_backlog", "_core", "_is_pumping", "_limit", "_session", "_ws")

    def __init__(self, core: EngineCore, limit: int, session: EngineSession) -> None:
        self._core = core
        self._limit = limit
        self._session: EngineSession | None = session
        self._ws: WebSocket | None = None
        self._backlog: SendQueue | None = None
        self._is_pumping = False

    def __repr__(self) -> str:
        return f"<EngineSink {'polling' if self._ws is None else self._ws} {'busy' if self.is_busy else 'idle'}>"

    @property
    def is_busy(self) -> bool:
        """Whether something waits here for the WebSocket."""
        return self._backlog is not None

    @property
    def needs_pump(self) -> bool:
        """Whether `pump` must be run."""
        return self._backlog is not None and not self._is_pumping

    def attach(self, ws: WebSocket) -> None:
        """From now on ``ws`` carries everything."""
        self._ws = ws
        CHANGES.count += 1

    def shortcut(self) -> socket.socket | None:
        """See `wsactors.cluster.Shortcut`."""
        ws = self._ws
        return None if ws is None or self._backlog is not None or self._core.version == 3 else ws.sink.shortcut()

    def witness(self) -> None:
        """See `wsactors.cluster.Shortcut`."""

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        """See `wsactors.cluster.Shortcut`."""
        assert self._ws is not None
        self._ws.sink.sent_partly(data, sent, key)

    def offer(self, data: bytes, key: object = None) -> bool:
        """Send whole WebSocket frames of revision 4. Never raises, never waits; False when they will not be delivered."""
        ws = self._ws
        if ws is None:
            return self._keep(data, key)
        if self._core.version == 3:
            data = reframe3(data)
        if self._backlog is None and len(data) <= LARGE:
            if key == VOLATILE:
                return ws.sink.is_idle and ws.sink.offer(data, AUDIO)
            return ws.sink.offer(data, key)
        return self._wait(data, key)

    def close(self, code: int, reason: str = "") -> None:
        """Close the WebSocket behind all that waits for it."""
        if self._ws is None:
            return
        if self._backlog is None or reason == TOO_SLOW:
            self._ws.close(code, reason)

    def end(self) -> None:
        """The session has ended: forget it. May be called again."""
        self._session = None

    def _wake(self) -> None:
        if self._session is not None:
            self._session.look_soon()

    async def pump(self) -> None:
        """Write what waits, until nothing does. Run by the session while `needs_pump`."""
        ws, backlog = self._ws, self._backlog
        if ws is None or backlog is None or self._is_pumping:
            return
        self._is_pumping = True
        try:
            while (taken := backlog.take(trio.current_time())) is not None:
                await ws.sink.write(taken[0])
        except SinkClosed:
            backlog.clear()
        finally:
            self._is_pumping = False
            self._backlog = None
            CHANGES.count += 1
            if self._core.is_closed:
                ws.close()
            self._wake()

    def _keep(self, data: bytes, key: object) -> bool:
        core = self._core
        if key == VOLATILE:
            if not core.can_write:
                return False
            key = AUDIO
        taken = core.send(data, key, trio.current_time())
        self._wake()
        return taken

    def _wait(self, data: bytes, key: object) -> bool:
        if key == VOLATILE:
            return False
        if self._backlog is None:
            self._backlog = SendQueue(self._limit, AUDIO_AGE)
            CHANGES.count += 1
        taken = self._backlog.add(data, key, trio.current_time())
        if not taken and key is None:
            self._core.close(TOO_SLOW, trio.current_time())
        self._wake()
        return taken
