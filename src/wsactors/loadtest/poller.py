"""Thousands of sockets watched by one task.

A Trio task per socket costs a wake-up per message, which is several times what receiving and counting it costs. Here one task
waits for an epoll of our own (an epoll is readable when one of its sockets is) and calls each ready socket's handler.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

import trio

__all__ = ["READABLE", "WRITABLE", "Poller"]

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
_BATCH: Final = 256
"""Sockets served before other tasks get a turn: about a millisecond."""
_BUFFER_BYTES: Final = 65_536


class Poller:
    """Calls handlers of ready sockets. A handler gets the events, never waits and never raises."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.buffer = bytearray(_BUFFER_BYTES)
        """What everybody receives into, one after the other."""
        self.received = self.sent = 0
        """Bytes, of all sockets together."""

    def __len__(self) -> int:
        return len(self._handlers)

    def add(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Call ``handler(events)`` when the socket has some of ``events``; errors and hang-ups count always."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events from now on."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget the socket; call this before closing it."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        handlers = self._handlers
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, events in self._epoll.poll(0, _BATCH):
                    handler = handlers.get(descriptor)
                    if handler is not None:  # else an earlier one of this batch closed it
                        handler(events)
        finally:
            self._epoll.close()
