"""Running a handler's coroutine on a task that is not its own: traps forwarded, contexts kept apart, leaks closed."""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Task

if TYPE_CHECKING:
    from wsactors.actors.process import Process
    from wsactors.actors.scheduler import Scheduler


class Switch:
    """A private trap: go on in this context."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


@types.coroutine
def switch(context: Context) -> Generator[Switch, None, None]:
    """Have the worker's shell run what follows in ``context``."""
    yield Switch(context)


@types.coroutine
def forward(
    sched: Scheduler, process: Process, context: Context, coroutine: Any, trap: Any
) -> Generator[Any, Any, Any]:
    """Pass a blocked handler's traps on to trio, and back whatever trio sends or throws, until it returns.

    While its code runs, the actor is the scheduler's current one; in between nobody is.
    """
    before = sched.current
    run = context.run
    while True:
        sched.current = None
        try:
            value = yield trap
        except GeneratorExit:
            run(coroutine.close)
            raise
        except BaseException as exc:
            sched.current = process
            try:
                trap = run(coroutine.throw, exc)
            except StopIteration as stop:
                sched.current = before
                return stop.value
            except BaseException:
                sched.current = before
                raise
        else:
            sched.current = process
            try:
                trap = run(coroutine.send, value)
            except StopIteration as stop:
                sched.current = before
                return stop.value
            except BaseException:
                sched.current = before
                raise


def leaked(task: Task, status: Any, nurseries: int) -> bool:
    """Whether the code that just ended on ``task`` left a scope or nursery open.

    trio keeps these two facts in private attributes; ``tests/actors/test_drive.py`` fails if a release renames them.
    """
    return task._cancel_status is not status or len(task._child_nurseries) != nurseries


async def close_leaks(task: Task, status: Any, nurseries: int) -> None:
    """Close, innermost first, every scope and nursery opened on ``task`` since ``status`` was its active one.

    Only so can the task serve somebody else, or its owner unwind: an open scope would corrupt the task's scope stack.
    """
    while leaked(task, status, nurseries):
        scope = task._cancel_status._scope
        inner = task._child_nurseries[-1] if len(task._child_nurseries) > nurseries else None
        if inner is not None and inner.cancel_scope is scope:
            scope.cancel()
            error = await inner._nested_child_finished(None)
            scope._close(error)
        else:
            scope._close(None)


class StartGuard:
    """Lets a kill reach an ``init`` that has blocked on its starter's task.

    A cancel scope costs more than a whole spawn, so it is entered only once ``init`` blocks, at the first trap at which
    ``init`` has no scope of its own open. Until then a kill cancels the outermost scope ``init`` opened, and ours comes
    cancelled after it.
    """

    __slots__ = ("_cancelled", "_scope", "_status", "task")

    def __init__(self, task: Task, status: Any) -> None:
        """``status``: the task's active cancel status before ``init`` ran; it may have opened scopes since."""
        self.task = task
        self._status = status
        self._scope: trio.CancelScope | None = None
        self._cancelled = False

    @property
    def innermost(self) -> Any:
        """The cancel status that must be active when ``init`` has closed all its own scopes."""
        return self._status if self._scope is None else self._scope._cancel_status

    def cancel(self) -> None:
        """Unwind the ``init``."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()
            return
        status = self.task._cancel_status
        if status is self._status:
            return
        while status.parent is not None and status.parent is not self._status:
            status = status.parent
        status._scope.cancel()

    def settle(self) -> None:
        """``init`` is about to trap: enter our scope if nothing of its own is in the way."""
        if self._scope is None and self.task._cancel_status is self._status:
            self._scope = trio.CancelScope()
            self._scope.__enter__()
            if self._cancelled:
                self._scope.cancel()

    def close(self, exc: BaseException | None) -> BaseException | None:
        """Leave our scope; what remains of ``exc`` after it has caught its own Cancelled."""
        return exc if self._scope is None else self._scope._close(exc)


@types.coroutine
def guarded(
    guard: StartGuard, sched: Scheduler, process: Process, context: Context, coroutine: Any, trap: Any
) -> Generator[Any, Any, Any]:
    """``forward`` for a blocked ``init``, giving the guard a look at every trap."""
    inner = forward(sched, process, context, coroutine, trap)
    trap = inner.send(None)
    step: Callable[[Any], Any]
    while True:
        guard.settle()
        try:
            value = yield trap
        except BaseException as exc:
            step, argument = inner.throw, exc
        else:
            step, argument = inner.send, value
        try:
            trap = step(argument)
        except StopIteration as stop:
            return stop.value
