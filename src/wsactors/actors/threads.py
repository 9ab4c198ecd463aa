"""``node.from_thread``: the only door into a node for code that runs in another thread.

Everything else of the runtime belongs to the thread that runs Trio and has no locks. Here a request crosses over by Trio's token,
runs there as one short job, and its answer comes back; the calling thread waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from wsactors.actors.calls import DEFAULT_TIMEOUT
from wsactors.actors.pid import Pid, Target
from wsactors.errors import NodeClosed

if TYPE_CHECKING:
    from wsactors.actors.runtime import Runtime

T = TypeVar("T")


class FromThread:
    """A node's functions for threads that do not run Trio: made by ``trio.to_thread``, by ``threading``, by another loop.

    Each blocks its thread until the node has done the work. Called in Trio's own thread they raise ``RuntimeError`` at once
    instead of waiting for themselves for ever: there, use the node.

    >>> def on_midi(message):                                        # doctest: +SKIP
    ...     node.from_thread.cast("deck", message)

    Every function raises ``NodeClosed`` when the node is not open.
    """

    __slots__ = ("_runtime", "_token")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._token: trio.lowlevel.TrioToken | None = None

    def opened(self) -> None:
        """The node opens, in this thread's loop."""
        self._token = trio.lowlevel.current_trio_token()

    def call(self, target: Target, message: Any, timeout: float | None = DEFAULT_TIMEOUT) -> Any:
        """``node.call``: waits for the answer, at most ``timeout`` seconds; raises as it does."""
        return self.run(self._runtime.call, target, message, timeout)

    def cast(self, target: Target, message: Any) -> bool:
        """``node.cast``; whether it was queued."""
        return self.run_sync(self._runtime.cast, target, message)

    def send(self, target: Target, message: Any) -> bool:
        """``node.send``; whether it was queued."""
        return self.run_sync(self._runtime.send, target, message)

    def send_many(self, pids: Iterable[Pid], message: Any) -> int:
        """``node.send_many``: one crossing for any number of receivers. Returns how many refused it or were dead."""
        return self.run_sync(self._runtime.send_many, list(pids), message)

    def exit(self, target: Target, reason: Any) -> bool:
        """``node.exit``; whether anybody was there."""
        return self.run_sync(self._runtime.exit, target, reason)

    def whereis(self, name: str) -> Pid | None:
        """``node.whereis``."""
        return self.run_sync(self._runtime.whereis, name)

    def spawn(
        self,
        cls: type[Any],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Pid:
        """``node.spawn``: waits for ``init``; raises as it does."""

        async def start() -> Pid:
            pid: Pid = await self._runtime.spawn(cls, *args, kwargs=kwargs, name=name, timeout=timeout)
            return pid

        return self.run(start)

    def run(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run ``await fn(*args)`` in the node's loop and wait for it. It is cancelled if the loop ends first."""
        token = self._open_token()
        try:
            return trio.from_thread.run(self._while_open, fn, *args, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled) as ended:
            raise self._closed() from ended

    def run_sync(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn(*args)`` in the node's loop and wait for it. It must not block."""
        token = self._open_token()
        try:
            return trio.from_thread.run_sync(self._sync_while_open, fn, *args, trio_token=token)
        except trio.RunFinishedError as ended:
            raise self._closed() from ended

    async def _while_open(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        if self._runtime.closed:
            raise self._closed()
        return await fn(*args)

    def _sync_while_open(self, fn: Callable[..., T], *args: Any) -> T:
        if self._runtime.closed:
            raise self._closed()
        return fn(*args)

    def _open_token(self) -> trio.lowlevel.TrioToken:
        if self._token is None:
            raise self._closed()
        return self._token

    def _closed(self) -> NodeClosed:
        return NodeClosed(f"node {self._runtime.name!r} is not open")
