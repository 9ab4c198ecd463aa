"""Starting an actor: everything is in place before ``init`` answers, and nothing is left if it does not."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, current_task

from wsactors.actors import links
from wsactors.actors.death import die, finish, release
from wsactors.actors.drive import StartGuard, close_leaks, guarded, leaked
from wsactors.actors.few import each
from wsactors.actors.kind import Kind
from wsactors.actors.messages import Continue, Crash, IdleAfter, Ignore, Stop
from wsactors.actors.monitors import MonitorRef
from wsactors.actors.pid import Pid, Via
from wsactors.actors.process import CONTINUE, DEAD, DEBUG, EMPTY, LIMITS, NOTHING, SIGNAL, STARTING, TASK, Halt, Process
from wsactors.actors.redact import safe_repr
from wsactors.actors.registry import take_name
from wsactors.actors.requests import rouse
from wsactors.actors.results import follow
from wsactors.actors.tasks import split_cancelled, start_task
from wsactors.errors import Ignored, NodeClosed, NotInActor, ScopeLeak, StartError, StartTimeout

if TYPE_CHECKING:
    from contextvars import Context

    from trio.lowlevel import Task

    from wsactors.actors.scheduler import Scheduler

PAUSE: Final = 0.001
"""Seconds of starts or inlined calls after which their caller lets trio's other tasks run."""


def new_process(sched: Scheduler, actor: Any, kind: Kind, parent: Process | None) -> Process:
    """A live record, in state STARTING."""
    process = Process()
    serial = sched.serial = sched.serial + 1
    pid = Pid()
    pid._home = sched.home
    pid.serial = serial
    pid._process = process
    process.pid = pid
    process.box = process.front = EMPTY
    process.first = NOTHING
    # Messages that come before ``init`` has answered are counted and checked like all others.
    process.flags = STARTING | (LIMITS if kind.special else 0) | (DEBUG if sched.debug else 0)
    process.extras = None
    process.handled = 0
    process.kind = kind
    process.sched = sched
    process.actor = actor
    process.parent = None if parent is None else parent.pid
    sched.processes[serial] = process
    return process


@trio.lowlevel.enable_ki_protection
async def spawn(
    sched: Scheduler,
    parent: Process | None,
    cls: type[Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    name: str | Via | None = None,
    link: bool = False,
    monitor: bool = False,
    timeout: float | None = None,
) -> Any:
    """Start ``cls`` and wait for its ``init``; see ``Node.spawn``."""
    task = current_task()
    if task._cancel_status.effectively_cancelled:
        await checkpoint_if_cancelled()
    try:
        kind = cls._kind
    except AttributeError:
        raise TypeError(f"spawn needs an Actor class, got {cls!r}; subclass wsactors.Actor") from None
    if sched.runtime.closed:
        raise NodeClosed(f"node {sched.home.name!r} is not open")
    process = new_process(sched, kind.cls(), kind, parent)
    process.actor._process = process
    ref = _prepare(process, parent, name, link, monitor) if name is not None or link or monitor else None
    if timeout is not None:
        with trio.move_on_after(timeout) as scope:
            await _initialise(sched, process, args, kwargs, task)
        if scope.cancel_called:
            # Also an init that swallowed its cancellation and answered is too late.
            _withdraw(process, "killed")
            raise StartTimeout(cls.__qualname__)
    elif kind.has_init:
        await _initialise(sched, process, args, kwargs, task)
    elif args or kwargs:
        die(process, "normal")
        raise TypeError(f"{cls.__qualname__} has no init, so it takes no arguments")
    else:
        _started(sched, process)
    if perf_counter() > sched.pause_at:
        await cancel_shielded_checkpoint()
        sched.pause_at = perf_counter() + PAUSE
    return (process.pid, ref) if monitor else process.pid


def _prepare(
    process: Process, parent: Process | None, name: str | Via | None, link: bool, monitor: bool
) -> MonitorRef | None:
    """Name, link and monitor, before ``init`` runs; undone by ``_withdraw``."""
    if (link or monitor) and parent is None:
        die(process, "normal")
        raise NotInActor("link= and monitor= need an actor to link to: call self.spawn, or use node.attach()")
    if name is not None:
        try:
            take_name(process.sched.runtime.registry, name, process.pid)
        except BaseException:
            die(process, "normal")
            raise
    if parent is not None and link:
        links.link(parent, process.pid)
    return links.monitor(parent, process.pid, process) if parent is not None and monitor else None


def _withdraw(process: Process, reason: Any) -> None:
    """``init`` failed: die without a word to the starter, who gets the exception instead.

    Its tasks may take a while to unwind, and until then it lives; but its name is free, and the next start finds nothing of it.
    """
    extras = process.extras
    parent = process.parent
    if extras is not None:
        if parent is not None:
            links.unlink(process, parent)
        for ref in [ref for ref in each(extras.watchers) if ref._owner.pid is parent]:
            links.demonitor(ref, flush=True)
        if extras.scopes:
            release(process, extras)
    if isinstance(reason, Crash):
        process.more().halt = Halt(reason, phase="init")
    process.flags &= ~STARTING
    finish(process, reason)


async def _initialise(
    sched: Scheduler, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, task: Task
) -> None:
    """Run ``init`` on the starter's task: without a task switch if it does not block."""
    before = sched.current
    sched.current = process
    status, nurseries = task._cancel_status, len(task._child_nurseries)
    try:
        result = process.actor.init(*args, **kwargs) if kwargs else process.actor.init(*args)
        if type(result) is CoroutineType:
            context = sched.base.copy()
            try:
                trap = context.run(result.send, None)
            except StopIteration as stop:
                result = stop.value
            else:
                result = await _init_blocked(sched, process, context, result, trap, StartGuard(task, status), nurseries)
            if context != sched.base:
                process.more().context = context
        if task._cancel_status is not status:
            raise ScopeLeak(
                "init left a cancel scope or nursery open; close it in init, or use self.start_soon(fn, *args)"
            )
    except BaseException as exc:
        sched.current = before
        if task._cancel_status is not status:
            await close_leaks(task, status, nurseries)
        _init_failed(process, exc)
    sched.current = before
    if result is not None:
        _init_result(process, result)
    _started(sched, process)


async def _init_blocked(
    sched: Scheduler, process: Process, context: Context, coroutine: Any, trap: Any, guard: StartGuard, nurseries: int
) -> Any:
    task = guard.task
    extras = process.more()
    extras.start = guard
    extras.coroutine = coroutine
    extras.since = perf_counter()
    if extras.doom is not None:
        guard.cancel()
    error: BaseException | None = None
    result: Any = None
    try:
        result = await guarded(guard, sched, process, context, coroutine, trap)
    except BaseException as exc:
        error = exc
    extras.start = extras.coroutine = None
    if leaked(task, guard.innermost, nurseries):
        await close_leaks(task, guard.innermost, nurseries)
        error = error or ScopeLeak("init left a cancel scope or nursery open; use self.start_soon(fn, *args)")
    error = guard.close(error)
    if error is not None:
        raise error
    return result


def _init_failed(process: Process, exc: BaseException) -> NoReturn:
    extras = process.extras
    rest = split_cancelled(exc)[1]
    name = process.kind.cls.__qualname__
    if process.flags & DEAD:
        raise StartError("killed", name) from None
    if extras is not None and extras.doom is not None:
        reason = extras.doom
    elif rest is None:
        # The starter itself was cancelled before the handshake: it neither owns nor loses the child.
        _withdraw(process, "killed")
        raise exc
    else:
        reason = Crash.of(rest)
    _withdraw(process, reason)
    if rest is not None and not isinstance(rest, Exception):
        raise exc
    raise StartError(reason, name) from rest


def _init_result(process: Process, result: Any) -> None:
    name = process.kind.cls.__qualname__
    match result:
        case Ignore():
            _withdraw(process, "normal")
            raise Ignored(name)
        case Stop(reason):
            _withdraw(process, reason)
            raise StartError(reason, name)
        case Continue() | IdleAfter() if not process.kind.is_task:
            follow(process, result)
        case _:
            reason = Crash("bad_return_value", safe_repr(result))
            _withdraw(process, reason)
            raise StartError(reason, name)


def _started(sched: Scheduler, process: Process) -> None:
    """``init`` answered: open for business."""
    extras = process.extras
    flags = process.flags & ~STARTING
    if (extras is not None and extras.doom is not None) or flags & DEAD:
        reason = "killed" if extras is None else extras.doom
        _withdraw(process, reason)
        raise StartError(reason, process.kind.cls.__qualname__)
    kind = process.kind
    sched.spawned += 1
    process.flags = flags
    if kind.is_task:
        process.flags |= TASK
        start_task(process, process.actor.run, (), main=True)
    elif len(process) or flags & (SIGNAL | CONTINUE):
        rouse(process)
