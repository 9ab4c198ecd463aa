"""When a token that somebody has shown does not hold any more."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from wsactors.realtime.watch import Deadline, SocketWatch


class Expiry:
    """Calls back once, when a token expires. Set again, it forgets the token from before."""

    __slots__ = ("_alarm",)

    def __init__(self) -> None:
        self._alarm: Deadline | None = None

    def set(self, expires: float | None, callback: Callable[[], object]) -> None:
        """``expires`` is Unix time in seconds; None: never."""
        self.cancel()
        if expires is not None:
            left = max(0.0, expires - time.time())
            self._alarm = SocketWatch.current().at(trio.current_time() + left, callback)

    def cancel(self) -> None:
        """Never call back. May be called again."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
