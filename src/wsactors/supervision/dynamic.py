"""The dynamic supervisor: any number of children, started on demand, known by their pids, stopped all at once.

The rules are those of Elixir's ``DynamicSupervisor``: one for one, children are forgotten when they end for good.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import trio

from wsactors.actors import UNHANDLED, Actor, Exit, Pid, Stop
from wsactors.errors import SpecError, StartError
from wsactors.supervision import reports, requests
from wsactors.supervision.children import ChildCount, ChildInfo
from wsactors.supervision.policy import Action, RestartWindow, next_row, on_exit, pause
from wsactors.supervision.reports import report
from wsactors.supervision.spec import Backoff, ChildSpec, ChildType, SupervisorOptions
from wsactors.supervision.stopping import Crowd, stop_child
from wsactors.supervision.supervisor import start_process

__all__ = ["DynamicSupervisor"]

_OK: Final = ("ok", None)
_MAX_SHARED_SPECS: Final = 256


class _Again:
    """The supervisor's message to itself about a child that waits for its restart; ``pid`` is its former pid."""

    __slots__ = ("pid", "row", "spec")

    def __init__(self, pid: Pid, spec: ChildSpec, row: int) -> None:
        self.pid = pid
        self.spec = spec
        self.row = row


class _Extra:
    """Arguments for all children, in an object that tools which show an actor's state do not look into."""

    __slots__ = ("args",)

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args


class DynamicSupervisor(Actor):
    """Starts children when asked to (:func:`start_child`), restarts each by itself, and stops them all in parallel.

    >>> rooms = await node.spawn(DynamicSupervisor, max_children=10_000, name="rooms")        # doctest: +SKIP
    >>> pid = await start_child("rooms", ChildSpec("room", Room, (42,), restart="transient"))  # doctest: +SKIP
    >>> await terminate_child("rooms", pid)                                                   # doctest: +SKIP

    The spec's ``id`` is a label for reports; many children may share it. ``terminate_child`` takes the pid. A child that ended
    for good is forgotten, so there is no ``restart_child`` or ``delete_child``.
    """

    trap_exit = True
    child_type: ClassVar[ChildType] = "supervisor"

    async def init(
        self,
        max_children: int | None = None,
        intensity: int = 3,
        period: float = 5.0,
        extra_args: Sequence[Any] = (),
        backoff: Backoff | None = None,
    ) -> object:
        """Start with no children.

        ``max_children``: more than that are refused (``ChildError`` ``max_children``); None is no limit. ``extra_args`` come
        before each child's own. ``intensity`` and ``period`` (seconds) as for ``Supervisor``, for all children together.
        """
        if max_children is not None and (isinstance(max_children, bool) or max_children < 0):
            raise SpecError(f"max_children: expected 0 or more, or None, got {max_children!r}")
        self._options = SupervisorOptions("one_for_one", intensity, period, "never", backoff)
        self._window = RestartWindow(intensity, period)
        self._max_children = max_children
        self._extra = _Extra(tuple(extra_args))
        self._children: dict[Pid, ChildSpec] = {}
        self._due: dict[Pid, _Again] = {}
        self._rows: dict[Pid, tuple[int, float]] = {}
        """With a back-off: each restarted child's row and start time."""
        self._shared: dict[tuple[Any, ...], ChildSpec] = {}
        return None

    async def terminate(self, reason: Any) -> None:
        """Stop all children in parallel, each within its own ``shutdown``."""
        await Crowd(self).stop(self._take_all())

    def _take_all(self) -> Iterator[tuple[Pid, ChildSpec]]:
        """Forgets each child as it hands it out: 100,000 entries let go at once would hold the loop."""
        while self._children:
            yield self._children.popitem()

    # --- what it is asked ----------------------------------------------------------------------------------------------

    async def handle_call(self, message: Any, caller: Any) -> Any:
        """The requests of :mod:`wsactors.supervision.requests`."""
        match message:
            case requests.StartChild(spec):
                return await self._add(spec)
            case requests.TerminateChild(child_id):
                return await self._terminate_child(child_id)
            case requests.GetChildSpec(child_id):
                known = self._spec_of(child_id)
                return ("ok", known) if known is not None else ("error", "not_found")
            case requests.WhichChildren():
                running = [
                    ChildInfo(None, pid, "running", spec.type, spec.start) for pid, spec in self._children.items()
                ]
                due = [ChildInfo(None, None, "restarting", a.spec.type, a.spec.start) for a in self._due.values()]
                return (*running, *due)
            case requests.CountChildren():
                return self._count()
            case requests.RestartChild() | requests.DeleteChild():
                return "error", "dynamic"
            case _:
                return UNHANDLED

    def _spec_of(self, pid: Any) -> ChildSpec | None:
        again = self._due.get(pid)
        return self._children.get(pid) if again is None else again.spec

    def _count(self) -> ChildCount:
        specs = (*self._children.values(), *(again.spec for again in self._due.values()))
        supervisors = sum(spec.type == "supervisor" for spec in specs)
        return ChildCount(len(specs), len(self._children), supervisors, len(specs) - supervisors)

    async def _add(self, spec: ChildSpec) -> tuple[str, Any]:
        if spec.significant:
            return "error", requests.SpecRefused(
                "a DynamicSupervisor has no auto_shutdown, so no child can be significant"
            )
        if self._max_children is not None and len(self._children) + len(self._due) >= self._max_children:
            return "error", "max_children"
        try:
            pid = await start_process(self, spec, self._extra.args, asked=True)
        except StartError as error:
            return "error", requests.StartFailed(error.reason)
        if pid is not None:
            self._keep(pid, spec)
        return "ok", pid

    def _keep(self, pid: Pid, spec: ChildSpec) -> None:
        if spec.restart == "temporary":
            # Never started again: all that is kept is how to stop it, and equal ways are kept once for all children.
            key = (spec.id, spec.start, spec.shutdown, spec.type)
            if len(self._shared) >= _MAX_SHARED_SPECS:
                self._shared.clear()
            spec = self._shared.setdefault(key, spec.without_arguments())
        self._children[pid] = spec

    async def _terminate_child(self, pid: Any) -> tuple[str, Any]:
        if not isinstance(pid, Pid):
            return "error", "by_pid_only"
        if self._due.pop(pid, None) is not None:
            return _OK
        spec = self._children.get(pid)
        if spec is None:
            return "error", "not_found"
        await stop_child(self, pid, spec)
        self._forget(pid)
        return _OK

    def _forget(self, pid: Pid) -> None:
        del self._children[pid]
        self._rows.pop(pid, None)

    # --- what happens to its children ----------------------------------------------------------------------------------

    async def handle_info(self, message: Any) -> Any:
        """A child ended, or a restart is due."""
        match message:
            case Exit(pid, reason):
                spec = self._children.get(pid)
                return None if spec is None else await self._ended(pid, spec, reason)
            case _Again():
                return await self._restart(message) if self._due.get(message.pid) is message else None
            case _:
                report(reports.UNEXPECTED_MESSAGE, supervisor=self.pid, message=type(message).__qualname__)
                return None

    async def _ended(self, pid: Pid, spec: ChildSpec, reason: Any) -> Stop | None:
        verdict = on_exit(spec.restart, reason)
        if verdict.report:
            fields = {"child": spec.id, "pid": pid, "reason": reason, "restart": spec.restart}
            report(reports.CHILD_TERMINATED, supervisor=self.pid, **fields)
        row, started = self._rows.get(pid, (-1, 0.0))
        self._forget(pid)
        if verdict.action is not Action.RESTART:
            return None
        backoff = self._options.backoff
        if backoff is None:
            return await self._restart(_Again(pid, spec, row))
        now = trio.current_time()
        row = next_row(backoff, row, now - started if started else 0.0)
        delay = pause(backoff, row, random.random())  # noqa: S311 - spreads load, guards nothing
        again = _Again(pid, spec, row)
        if self._window.would_refuse(now + delay):
            return self._give_up(again)
        self._later(again, delay)
        return None

    async def _restart(self, again: _Again) -> Stop | None:
        self._due.pop(again.pid, None)
        if not self._window.request(trio.current_time()):
            return self._give_up(again)
        try:
            pid = await start_process(self, again.spec, self._extra.args)
        except StartError:
            self._retry(again)
            return None
        if pid is not None:
            self._keep(pid, again.spec)
            if self._options.backoff is not None:
                self._rows[pid] = (again.row, trio.current_time())
        return None

    def _retry(self, again: _Again) -> None:
        backoff = self._options.backoff
        delay, row = 0.0, again.row
        if backoff is not None:
            row = next_row(backoff, row, 0.0)
            delay = pause(backoff, row, random.random())  # noqa: S311 - as above
        self._later(_Again(again.pid, again.spec, row), delay)

    def _later(self, again: _Again, delay: float) -> None:
        # A timer, even for no delay: timer messages pass a full mailbox, and a lost one would lose the child.
        self._due[again.pid] = again
        self.send_after(delay, self.pid, again)

    def _give_up(self, again: _Again) -> Stop:
        options = self._options
        fields = {"child": again.spec.id, "intensity": options.intensity, "period": options.period}
        report(reports.GAVE_UP, supervisor=self.pid, **fields)
        return Stop("shutdown")
