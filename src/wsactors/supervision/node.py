"""The node: a runtime with supervision trees, embedded in anybody's Trio program or booted from config by the command line."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

import trio
from trio.lowlevel import cancel_shielded_checkpoint

from wsactors.actors import Down, MonitorRef, Pid
from wsactors.actors.death import deliver_exit, is_ending
from wsactors.actors.runtime import Runtime
from wsactors.actors.scheduler import BESIDE, KILL_GRACE
from wsactors.actors.watchdog import THRESHOLD
from wsactors.errors import NodeFailed
from wsactors.supervision.supervisor import Supervisor
from wsactors.supervision.tree import TreeSpec

if TYPE_CHECKING:
    from wsactors.actors.process import Process

SHUTDOWN_TIMEOUT: Final = 30.0
"""Seconds an ordered stop may take before what is left is killed."""

Phase = Literal["new", "starting", "up", "stopping", "closed"]


class Node(Runtime):
    """An actor node in this process.

    Embedded, it installs no signal handler, configures no logging and touches nothing global; several nodes live side by side
    under different names. Leaving the block stops everything in order: trees last started first, then other actors newest
    first.

    >>> async with Node("demo") as node:                             # doctest: +SKIP
    ...     pid = await node.spawn(Counter, 1, name="counter")
    ...     await call(pid, ("add", 2))

    Args:
        name: shown in pids; must be unique among the live nodes of the process.
        shutdown_timeout: seconds for the ordered stop; what is left then is killed.
        kill_grace: seconds a killed actor's code may take to unwind before it counts as dead all the same.
        inline_calls: whether calls to idle ``def`` handlers run at once. Off only to compare.
        debug: refuse mutable messages and report cycles of calls.
        watchdog: seconds the loop may be held before a thread names the actor that holds it, while it does; None: no such thread.

    Raises (on leaving):
        NodeFailed: a root supervisor gave up; the body was cancelled.
    """

    def __init__(
        self,
        name: str = "node",
        *,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        kill_grace: float = KILL_GRACE,
        inline_calls: bool = True,
        debug: bool = False,
        watchdog: float | None = THRESHOLD,
    ) -> None:
        super().__init__(name, inline_calls=inline_calls, debug=debug, kill_grace=kill_grace, watchdog=watchdog)
        self.shutdown_timeout = shutdown_timeout
        self.trees: dict[str, Pid] = {}
        """Root supervisors by tree name, in start order."""
        self.phase: Phase = "new"
        self._watches: dict[str, MonitorRef] = {}
        self._fallen: set[Pid] = set()
        """Roots that had ended, or begun to, before the ordered stop."""
        self._stopping = trio.Lock()
        self._body = trio.CancelScope()
        self._failure: NodeFailed | None = None
        self.on_fatal = self._on_fatal

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.phase}: {len(self.sched.processes)} actors, {len(self.trees)} trees>"

    async def __aenter__(self) -> Self:
        if self.phase != "new":
            raise RuntimeError("a Node is entered once; make a new one")
        self.phase = "starting"
        await self.open()
        self.watch_roots(self._root_down)
        self.phase = "up"
        self._body.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        with trio.CancelScope(shield=True):
            await self.stop()
        suppressed = self._body.__exit__(kind, exc, trace)
        if self.fatal_error is not None:
            raise self.fatal_error
        if self._failure is not None:
            if exc is None or suppressed:
                raise self._failure
            exc.add_note(f"meanwhile, {self._failure}")
        return suppressed

    async def start_tree(self, tree: TreeSpec, *, name: str | None = None) -> Pid:
        """Start a supervision tree as a root of this node: if its supervisor ever gives up, the node fails.

        Raises:
            StartError: a child did not start; those before it have been stopped again.
            ValueError: a root of that name is running.
        """
        label = name or tree.name
        if label in self.trees:
            raise ValueError(f"a tree named {label!r} is already running on node {self.name!r}")
        pid = await self.keeper.spawn(Supervisor, kwargs=tree.init_arguments())
        self.trees[label] = pid
        self._watches[label] = self.keeper.monitor(pid)
        return pid

    async def stop(self) -> None:
        """The ordered stop. Idempotent; leaving the block does it too, and finishes one that was cancelled."""
        async with self._stopping:
            if self.phase in ("closed", "new"):
                return
            if self.phase != "stopping":
                self.phase = "stopping"
                self._fallen.update(pid for pid in self.trees.values() if is_ending(pid))
            deadline = trio.current_time() + self.shutdown_timeout
            for name in reversed(list(self.trees)):
                await self._stop_root(name, deadline)
            await self._stop_supervisors(deadline)
            await self._stop_others(deadline)
            await self.close()
            self.phase = "closed"

    async def _stop_root(self, name: str, deadline: float) -> None:
        pid, ref = self.trees[name], self._watches[name]
        self.keeper.exit(pid, "shutdown")
        down = await ref.wait(max(0.0, deadline - trio.current_time()))
        if down is None and self.keeper.exit(pid, "kill"):
            down = await ref.wait(self.sched.kill_grace + 1.0)
        if down is not None:
            self._root_down(down)

    async def _stop_supervisors(self, deadline: float) -> None:
        """Supervisors that belong to no tree, newest first: they stop their children in order, and start none again."""
        for process in reversed(list(self.sched.processes.values())):
            if not _supervises(process) or (process.parent is not None and _supervises(process.parent._process)):
                continue
            ref = self.keeper.monitor(process.pid)
            deliver_exit(process, process.parent or self.keeper.pid, "shutdown", linked=False)
            await ref.wait(max(0.0, deadline - trio.current_time()))

    async def _stop_others(self, deadline: float) -> None:
        sched = self.sched
        keeper = self.keeper.pid
        for reason in ("shutdown", "kill"):
            until = perf_counter() + BESIDE
            for process in reversed(list(sched.processes.values())):
                if process.kind.lasting or process.pid._process is None:
                    continue
                sender = process.parent if reason == "shutdown" and process.parent is not None else keeper
                deliver_exit(process, sender, reason, linked=False)
                if perf_counter() > until:
                    await cancel_shielded_checkpoint()
                    until = perf_counter() + BESIDE
            with trio.move_on_at(deadline):
                await self.drain()
                return
            deadline = trio.current_time() + sched.kill_grace + 1.0

    def _root_down(self, down: Down) -> None:
        name = next((name for name, pid in self.trees.items() if pid == down.pid), None)
        if name is None or (self.phase == "stopping" and down.pid not in self._fallen):
            return
        del self.trees[name]
        self._failure = self._failure or NodeFailed(down.reason)
        self._failure.add_note(f"the tree is {name!r} of node {self.name!r}")
        self._body.cancel()

    def _on_fatal(self, _: BaseException) -> None:
        self._body.cancel()


def _supervises(process: Process | None) -> bool:
    return process is not None and getattr(process.kind.cls, "child_type", None) == "supervisor"
