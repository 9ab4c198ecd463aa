"""The static supervisor: a fixed order of children, started first to last, stopped last to first, restarted by strategy.

The rules are OTP's (``supervisor.erl``); :mod:`wsactors.supervision.policy` decides, this actor carries out. What it does
differently: the restart window is exact instead of whole seconds, ``which_children`` lists in start order, and there may be a
``backoff``.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import trio

from wsactors.actors import UNHANDLED, Actor, Crash, Exit, Pid, Stop
from wsactors.errors import Ignored, NameTaken, StartError
from wsactors.supervision import reports, requests
from wsactors.supervision.children import Child, Children, TryAgain
from wsactors.supervision.policy import Action, RestartWindow, affected, ends_supervisor, next_row, on_exit, pause
from wsactors.supervision.reports import report
from wsactors.supervision.spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    Strategy,
    SupervisorOptions,
    check_children,
    wrong_significance,
)
from wsactors.supervision.stopping import stop_child

__all__ = ["Supervisor", "start_process"]

_OK: Final = ("ok", None)


class Supervisor(Actor):
    """Starts its children in order, restarts them as their specs say, and stops them in reverse order.

    >>> tree = await node.spawn(                                                     # doctest: +SKIP
    ...     Supervisor, "rest_for_one", [ChildSpec("store", Store), ChildSpec("rooms", Rooms)], intensity=3)

    or as a class of its own, which may compute its children::

        class Web(Supervisor):
            async def init(self, port: int) -> object:
                return await super().init("one_for_one", [ChildSpec("door", Door, (port,))])

    * It is started only when all its children are. If one fails, those before it are stopped in reverse and the reason is
      ``("shutdown", ("failed_to_start_child", id, why))``.
    * More than ``intensity`` restarts within ``period`` seconds, all children together, a group restart counted once, and it
      stops everything and ends with ``"shutdown"``: its own supervisor then decides.
    * Children stop one after the other, each within its ``shutdown``: at worst a stop takes the sum of them.
    * Ask it things with :func:`start_child`, :func:`which_children` and their like.
    """

    trap_exit = True
    child_type: ClassVar[ChildType] = "supervisor"

    if TYPE_CHECKING:

        async def init(self, *args: Any, **kwargs: Any) -> object:
            """To a type checker any signature, so that a subclass's own is no wrong override."""

    else:

        async def init(
            self,
            strategy: Strategy,
            children: Sequence[ChildSpec] = (),
            intensity: int = 1,
            period: float = 5.0,
            auto_shutdown: AutoShutdown = "never",
            backoff: Backoff | None = None,
        ) -> object:
            """Start all children, in order.

            Raises:
                SpecError: an option or a child spec is wrong (the starter sees a ``StartError`` with this text).
            """
            options = SupervisorOptions(strategy, intensity, period, auto_shutdown, backoff)
            return await self._begin(options, check_children(children, auto_shutdown))

    async def _begin(self, options: SupervisorOptions, specs: Sequence[ChildSpec]) -> Stop | None:
        self._options = options
        self._window = RestartWindow(options.intensity, options.period)
        self._children = Children()
        for spec in specs:
            self._children.add(Child(spec))
        failed = await self._start_all(list(self._children))
        if failed is None:
            return None
        child, why = failed
        await self._stop_all(list(self._children))
        return Stop(("shutdown", ("failed_to_start_child", child.spec.id, why)))

    def child_id(self, pid: Pid) -> Hashable:
        """What it calls the child of this pid, for tools; None if it has none such."""
        children = getattr(self, "_children", None)
        child = None if children is None else children.of_pid(pid)
        return None if child is None else child.spec.id

    async def terminate(self, reason: Any) -> None:
        """Stop all children, last started first."""
        await self._stop_all(list(self._children))

    # --- what it is asked ----------------------------------------------------------------------------------------------

    async def handle_call(self, message: Any, caller: Any) -> Any:
        """The requests of :mod:`wsactors.supervision.requests`."""
        match message:
            case requests.StartChild(spec):
                return await self._add(spec)
            case requests.TerminateChild(child_id):
                return await self._terminate_child(child_id)
            case requests.RestartChild(child_id):
                return await self._restart_child(child_id)
            case requests.DeleteChild(child_id):
                return self._delete_child(child_id)
            case requests.GetChildSpec(child_id):
                child = self._children.get(child_id)
                return ("ok", child.spec) if child is not None else ("error", "not_found")
            case requests.WhichChildren():
                return tuple(child.info() for child in self._children)
            case requests.CountChildren():
                return self._children.count()
            case _:
                return UNHANDLED

    async def _add(self, spec: ChildSpec) -> tuple[str, Any]:
        why = wrong_significance(
            significant=spec.significant, restart=spec.restart, auto_shutdown=self._options.auto_shutdown
        )
        if why is not None:
            return "error", requests.SpecRefused(f"child {spec.id!r}: significant: {why}")
        present = self._children.get(spec.id)
        if present is not None:
            return "error", "already_present" if present.pid is None else ("already_started", present.pid)
        child = Child(spec)
        self._children.add(child)
        failure = await self._start(child)
        if failure is not None:
            self._children.remove(child)
            return "error", failure
        return "ok", child.pid

    async def _terminate_child(self, child_id: Hashable) -> tuple[str, Any]:
        child = self._children.get(child_id)
        if child is None:
            return "error", "not_found"
        await self._stop(child)
        return _OK

    async def _restart_child(self, child_id: Hashable) -> tuple[str, Any]:
        match self._children.get(child_id):
            case None:
                return "error", "not_found"
            case Child(status="stopped") as child:
                failure = await self._start(child)
                return ("ok", child.pid) if failure is None else ("error", failure)
            case child:
                return "error", child.status

    def _delete_child(self, child_id: Hashable) -> tuple[str, Any]:
        match self._children.get(child_id):
            case None:
                return "error", "not_found"
            case Child(status="stopped") as child:
                self._children.remove(child)
                return _OK
            case child:
                return "error", child.status

    # --- what happens to its children ----------------------------------------------------------------------------------

    async def handle_info(self, message: Any) -> Any:
        """A child ended, or a restart is due."""
        match message:
            case Exit(pid, reason):
                child = self._children.of_pid(pid)
                # Anybody else: a child stopped earlier, whose exit was still on its way, or one whose start failed.
                return None if child is None else await self._ended(child, reason)
            case TryAgain(child_id):
                child = self._children.get(child_id)
                return None if child is None or child.due is not message else await self._restart(child)
            case _:
                report(reports.UNEXPECTED_MESSAGE, supervisor=self.pid, message=type(message).__qualname__)
                return None

    async def _ended(self, child: Child, reason: Any) -> Stop | None:
        spec = child.spec
        verdict = on_exit(spec.restart, reason)
        if verdict.report:
            fields = {"child": spec.id, "pid": child.pid, "reason": reason, "restart": spec.restart}
            report(reports.CHILD_TERMINATED, supervisor=self.pid, **fields)
        if verdict.action is Action.RESTART:
            return await self._crashed(child)
        self._children.stopped_or_removed(child)
        others = (other.status != "stopped" for other in self._children if other.spec.significant)
        if ends_supervisor(self._options.auto_shutdown, significant=spec.significant, others_active=others):
            return Stop("shutdown")
        return None

    async def _crashed(self, child: Child) -> Stop | None:
        backoff = self._options.backoff
        if backoff is None:
            return await self._restart(child)
        now = trio.current_time()
        child.row = next_row(backoff, child.row, now - child.started)
        delay = pause(backoff, child.row, random.random())  # noqa: S311 - spreads load, guards nothing
        if self._window.would_refuse(now + delay):
            return self._give_up(child)
        # Those that are restarted with it depend on it: they do not run through the pause.
        await self._stop_group(child)
        self._try_again(child, delay)
        return None

    async def _restart(self, child: Child) -> Stop | None:
        """One restart, of the child or its whole group: counted once, before it is tried."""
        if not self._window.request(trio.current_time()):
            return self._give_up(child)
        group = await self._stop_group(child)
        failed = await self._start_all(group)
        if failed is not None:
            self._retry(failed[0])
        return None

    def _retry(self, child: Child) -> None:
        """Its start failed during a restart. Without a back-off it is tried again at once, but after what waits already."""
        backoff = self._options.backoff
        delay = 0.0
        if backoff is not None:
            child.row = next_row(backoff, child.row, 0.0)
            delay = pause(backoff, child.row, random.random())  # noqa: S311 - as above
        self._try_again(child, delay)

    def _try_again(self, child: Child, delay: float) -> None:
        # A timer, even for no delay: timer messages pass a full mailbox, and a lost one would lose the child.
        self.send_after(delay, self.pid, self._children.restarting(child))

    def _give_up(self, child: Child) -> Stop:
        options = self._options
        fields = {"child": child.spec.id, "intensity": options.intensity, "period": options.period}
        report(reports.GAVE_UP, supervisor=self.pid, **fields)
        self._children.stopped_or_removed(child)
        return Stop("shutdown")

    # --- starting and stopping -----------------------------------------------------------------------------------------

    async def _stop_group(self, child: Child) -> list[Child]:
        """Stop all that restart with ``child``, which has ended; those to start again, in start order."""
        self._children.stopped(child)
        ids = affected(self._options.strategy, self._children.ids(), child.spec.id)
        group = [self._children.of_id(child_id) for child_id in ids]
        await self._stop_all(group)
        return [member for member in group if member.spec.restart != "temporary"]

    async def _start_all(self, group: Sequence[Child]) -> tuple[Child, Any] | None:
        """Start in order; at the first failure the child and why, with those before it left running."""
        for child in group:
            failure = await self._start(child)
            if failure is not None:
                return child, failure.reason
        return None

    async def _stop_all(self, group: Sequence[Child]) -> None:
        for child in reversed(group):
            await self._stop(child)

    async def _start(self, child: Child) -> requests.StartFailed | None:
        spec = child.spec
        try:
            pid = await start_process(self, spec)
        except StartError as error:
            return requests.StartFailed(error.reason)
        if spec.restart == "temporary":
            if pid is None:
                self._children.remove(child)
                return None
            child.spec = spec.without_arguments()
        self._children.running(child, pid, trio.current_time())
        return None

    async def _stop(self, child: Child) -> None:
        if child.pid is not None:
            await stop_child(self, child.pid, child.spec)
        self._children.stopped_or_removed(child)


async def start_process(
    supervisor: Actor, spec: ChildSpec, first: tuple[Any, ...] = (), *, asked: bool = False
) -> Pid | None:
    """Start what ``spec`` says, linked to ``supervisor``, with the arguments ``first`` before its own. None: it declined.

    ``asked``: somebody waits for the answer. That another was faster and has the name is then an answer, and no failure.

    Raises:
        StartError: it did not start. That is reported here, so that the reason is seen even if the caller tries again.
    """
    try:
        pid = await _spawn(supervisor, spec, first)
    except Ignored:
        return None
    except StartError as error:
        event = reports.CHILD_NAME_TAKEN if asked and isinstance(error, NameTaken) else reports.CHILD_START_FAILED
        report(event, supervisor=supervisor.pid, child=spec.id, reason=error.reason)
        raise
    report(reports.CHILD_STARTED, supervisor=supervisor.pid, child=spec.id, pid=pid)
    return pid


async def _spawn(supervisor: Actor, spec: ChildSpec, first: tuple[Any, ...]) -> Pid:
    try:
        pid: Pid = await supervisor.spawn(spec.start, *first, *spec.args, kwargs=spec.kwargs, name=spec.name, link=True)
    except TypeError as error:
        # No Actor, or arguments where there is no init: the child's fault, and no reason for its supervisor to crash.
        raise StartError(Crash.of(error), spec.id) from error
    return pid
