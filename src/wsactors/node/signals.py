"""Signals of a node's process, as events.

SIGTERM and the first SIGINT ask for an ordered stop. A second SIGINT ends the process at once, even while something holds the
loop: the signal handler itself counts and ends it. SIGHUP asks for the live settings to be read again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import trio

__all__ = ["Told", "signals"]

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Told:
    """What the process has been told from outside. Belongs to the trio thread."""

    def __init__(self) -> None:
        self.stopping = False
        self.stop_signal = ""
        """The signal that asked for the stop, such as ``SIGTERM``."""
        self._scopes: list[trio.CancelScope] = []
        self._reload = trio.Event()

    def until_stop(self) -> trio.CancelScope:
        """A scope that is cancelled, and so left quietly, when the process is told to stop."""
        scope = trio.CancelScope()
        self._scopes.append(scope)
        if self.stopping:
            scope.cancel()
        return scope

    async def wait_reload(self) -> None:
        """Wait until SIGHUP; several that came meanwhile count as one."""
        await self._reload.wait()
        self._reload = trio.Event()

    def stop(self, name: str) -> None:
        """An ordered stop is wanted."""
        if not self.stopping:
            self.stopping, self.stop_signal = True, name
            for scope in self._scopes:
                scope.cancel()

    def reload(self) -> None:
        """The live settings are to be read again."""
        self._reload.set()


@contextmanager
def signals(exit_now: Callable[[], object] = lambda: os._exit(130)) -> Iterator[Told]:
    """Receive signals while the block runs. ``exit_now`` is called from within a signal handler, at the second SIGINT."""
    told = Told()
    token = trio.lowlevel.current_trio_token()
    interrupts = 0

    def handler(number: int, _: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            exit_now()
        elif number == signal.SIGHUP:
            token.run_sync_soon(told.reload, idempotent=True)
        else:
            token.run_sync_soon(told.stop, signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number in _HANDLED}
    try:
        yield told
    finally:
        for number, old in before.items():
            signal.signal(number, old)
