"""One task for all sockets of a Trio run: it waits until those that refused bytes take some again, and minds deadlines.

A task per connection that only waits would cost several KiB each, and a switch of tasks whenever a socket has room. Here
waiting costs an entry of one epoll set, and nothing while a connection has nothing waiting. The task starts by itself with
the first who asks, and ends with the run.
"""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable
from typing import Final

import trio

from wsactors.actors.log import log

_AT_ONCE: Final = 32
"""Sockets served before other tasks run: a flush costs some 20 µs, and the loop is not held for much over a millisecond."""
_WORTH_SWEEPING: Final = 256
_ONCE: Final = select.EPOLLOUT | select.EPOLLONESHOT


class Deadline:
    """A moment at which something is to be done, until it is `cancel`-led."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """It is not to be done. May be called again, and afterwards."""
        self._callback = None

    @property
    def is_pending(self) -> bool:
        """Whether it is still to be done."""
        return self._callback is not None

    def run(self) -> None:
        """Do it, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class SocketWatch:
    """The one that waits; see `current`. Linux only, as it is made of epoll."""

    __slots__ = ("_deadlines", "_known", "_numbers", "_poll", "_scope", "_sweep_beyond", "_waiting")

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._known: set[int] = set()
        self._waiting: dict[int, Callable[[], object]] = {}
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._sweep_beyond = _WORTH_SWEEPING
        self._numbers = itertools.count()
        self._scope: trio.CancelScope | None = None

    def __len__(self) -> int:
        """How many deadlines are kept, also of those that were cancelled."""
        return len(self._deadlines)

    @staticmethod
    def current() -> SocketWatch:
        """That of this Trio run. Call it on the loop.

        Raises:
            RuntimeError: Trio does not run here.
        """
        try:
            return _current.get()
        except LookupError:
            watch = SocketWatch()
            _current.set(watch)
            trio.lowlevel.spawn_system_task(watch._run, name="wsactors socket watch")
            return watch

    def when_writable(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call ``callback``, once, when the kernel takes bytes again, or will never. It must not wait."""
        self._waiting[descriptor] = callback
        if descriptor in self._known:
            self._poll.modify(descriptor, _ONCE)
        else:
            self._poll.register(descriptor, _ONCE)
            self._known.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Take `when_writable` back; to be called before a descriptor is closed that has ever been waited for."""
        self._waiting.pop(descriptor, None)
        if descriptor in self._known:
            self._known.remove(descriptor)
            self._poll.unregister(descriptor)

    def at(self, when: float, callback: Callable[[], object]) -> Deadline:
        """Call ``callback`` at ``when``, by Trio's clock, unless that is cancelled. It must not wait."""
        deadline = Deadline(callback)
        heapq.heappush(self._deadlines, (when, next(self._numbers), deadline))
        if self._scope is not None and when < self._scope.deadline:
            self._scope.deadline = when
        if len(self._deadlines) > self._sweep_beyond:
            self._sweep()
        return deadline

    def _sweep(self) -> None:
        """Most deadlines are cancelled long before they come: do not keep them all that long.

        Looking at all of them once they have doubled costs each a constant.
        """
        kept = [entry for entry in self._deadlines if entry[2].is_pending]
        heapq.heapify(kept)
        self._deadlines = kept
        self._sweep_beyond = max(2 * len(kept), _WORTH_SWEEPING)

    async def _run(self) -> None:
        try:
            while True:
                when = self._deadlines[0][0] if self._deadlines else float("inf")
                with trio.CancelScope(deadline=when) as self._scope:
                    await trio.lowlevel.wait_readable(self._poll.fileno())
                self._scope = None
                for descriptor, _ in self._poll.poll(0, _AT_ONCE):
                    if (callback := self._waiting.pop(descriptor, None)) is not None:
                        _guarded(callback)
                self._run_due()
        finally:
            self._poll.close()

    def _run_due(self) -> None:
        now = trio.current_time()
        for _ in range(_AT_ONCE):
            if not self._deadlines or self._deadlines[0][0] > now:
                return
            _guarded(heapq.heappop(self._deadlines)[2].run)


def _guarded(callback: Callable[[], object]) -> None:
    """A system task that raises ends the whole run: what one connection does wrong ends here."""
    try:
        callback()
    except Exception as error:
        log(__name__, "error", "socket_callback_failed", type=type(error).__name__, message=str(error))


_current: Final[trio.lowlevel.RunVar[SocketWatch]] = trio.lowlevel.RunVar("wsactors socket watch")
