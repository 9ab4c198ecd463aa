"""The node's side of introspection: the functions of ``introspection`` with this node's names, and what concerns all actors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wsactors.actors import introspection
from wsactors.actors.calls import DEFAULT_TIMEOUT
from wsactors.actors.code_change import CodeChange, code_change
from wsactors.actors.crash_reports import CrashReports
from wsactors.actors.introspection import State, Status
from wsactors.actors.pid import Pid, Target
from wsactors.actors.places import resolve
from wsactors.actors.statistics import Branch, NodeInfo, Processes, ProcessInfo, node_info, process_tree
from wsactors.actors.tracing import TraceEvent, Tracer, log_event
from wsactors.actors.watchdog import Watchdog
from wsactors.errors import NoProcess

if TYPE_CHECKING:
    from wsactors.actors.scheduler import Scheduler


class Inspected:
    """What a ``Runtime`` shows of itself."""

    sched: Scheduler
    crash_reports: CrashReports
    watchdog: Watchdog | None

    def _found(self, target: Target) -> Pid:
        process = resolve(target, self.sched)
        if process is None:
            raise NoProcess(target)
        return process.pid

    def processes(self) -> Processes:
        """Rows of all actors: ``async for row in node.processes()``. Never holds the loop, however many there are."""
        return Processes(self.sched, None if self.watchdog is None else self.watchdog.shares())

    async def tree(self) -> list[Branch]:
        """The live tree: who started whom, supervisors and all; see ``Branch``."""
        return await process_tree(self.processes())

    def info(self) -> NodeInfo:
        """The node in numbers, now."""
        return node_info(self)

    async def get_state(self, target: Target, timeout: float | None = DEFAULT_TIMEOUT) -> State:
        """An actor's attributes, taken between two messages; see ``introspection.get_state``."""
        return await introspection.get_state(self._found(target), timeout)

    async def replace_state(
        self, target: Target, fn: Callable[[State], Mapping[str, Any]], timeout: float | None = DEFAULT_TIMEOUT
    ) -> State:
        """Give an actor the attributes ``fn(state)``; see ``introspection.replace_state``."""
        return await introspection.replace_state(self._found(target), fn, timeout)

    async def suspend(self, target: Target, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Hold an actor still until ``resume``; see ``introspection.suspend``."""
        await introspection.suspend(self._found(target), timeout)

    def resume(self, target: Target) -> bool:
        """Take one ``suspend`` back; whether the actor goes on now."""
        process = resolve(target, self.sched)
        return process is not None and introspection.resume(process.pid)

    def statistics_of(self, target: Target) -> ProcessInfo:
        """The row of one actor. Raises ``NoProcess``."""
        return introspection.statistics(self._found(target))

    def status(self, target: Target) -> Status:
        """Row, state and stack of one actor, redacted, for a tool to show. Raises ``NoProcess``."""
        return introspection.status(self._found(target))

    def trace(self, target: Target, callback: Callable[[TraceEvent], Any] = log_event) -> Tracer:
        """Have ``callback`` told of what an actor does; see ``introspection.trace``."""
        return introspection.trace(self._found(target), callback)

    def untrace(self, target: Target | Tracer) -> None:
        """End one trace, or all of an actor's."""
        if isinstance(target, Tracer):
            target.remove()
        elif (process := resolve(target, self.sched)) is not None:
            introspection.untrace(process.pid)

    async def code_change(
        self, what: type | ModuleType | str, *, extra: object = None, timeout: float | None = DEFAULT_TIMEOUT
    ) -> CodeChange:
        """Reload the module of an actor class and move live actors to the new code; see ``code_change.code_change``."""
        return await code_change(what, self, extra=extra, timeout=timeout)
