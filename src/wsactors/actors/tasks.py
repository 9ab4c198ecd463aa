"""Tasks that belong to an actor: ``start_soon`` and the ``run`` of process-style actors. They end with it, and it with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from trio.lowlevel import current_task

from wsactors.actors.death import deliver_exit, die, doom, finish, task_done
from wsactors.actors.few import added, removed
from wsactors.actors.messages import Crash, Stop
from wsactors.actors.process import DEAD, Extras, Halt, Process
from wsactors.actors.redact import safe_repr


def start_task(
    process: Process, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], *, main: bool = False
) -> None:
    """Start a task of ``process``. ``main``: the actor ends when it returns."""
    extras = process.more()
    scope = trio.CancelScope()
    extras.scopes = added(extras.scopes, scope)
    name = f"{process.pid} {getattr(fn, '__qualname__', fn)}"
    start = partial(process.sched.nursery.start_soon, _run, process, extras, scope, fn, args, main, name=name)
    if main:
        # We are on the starter's task, whose context variables are none of the new actor's.
        context = process.sched.base if extras.context is None else extras.context
        context.copy().run(start)
    else:
        start()


@trio.lowlevel.enable_ki_protection
async def _run(
    process: Process,
    extras: Extras,
    scope: trio.CancelScope,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    main: bool,
) -> None:
    """Total: what ``fn`` raises becomes an exit reason."""
    task = current_task()
    owners = process.sched.owners
    owners[task] = process
    failure: BaseException | None = None
    cancelled = False
    result: Any = None
    try:
        with scope:
            result = await fn(*args)
    except BaseException as exc:
        cancelled, failure = split_cancelled(exc)
        if isinstance(exc, GeneratorExit):
            raise
    finally:
        del owners[task]
        extras.scopes = removed(extras.scopes, scope)
    if process.flags & DEAD:
        return
    if failure is not None and extras.doom is None:
        _fail(process, extras, failure, main)
    elif cancelled and failure is None and extras.doom is None:
        # Not our scope: the node itself is being torn down.
        die(process, "shutdown")
    elif extras.doom is not None:
        task_done(process)
    elif main:
        _returned(process, extras, result)


def _returned(process: Process, extras: Extras, result: Any) -> None:
    """``run`` came to its end, and may have said with which reason."""
    reason: Any = "normal"
    if isinstance(result, Stop) and not result.has_reply:
        reason = result.reason
    elif result is not None:
        reason = Crash("bad_return_value", safe_repr(result))
    if reason != "normal":
        extras.halt = Halt(reason)
    finish(process, reason)


def _fail(process: Process, extras: Extras, failure: BaseException, main: bool) -> None:
    reason = Crash.of(failure)
    if main:
        extras.halt = Halt(reason)
        finish(process, reason)
    elif process.actor.trap_exit:
        deliver_exit(process, process.pid, reason, linked=True)
    else:
        extras.halt = Halt(reason)
        doom(process, reason)
    if not isinstance(failure, Exception | BaseExceptionGroup):
        process.sched.runtime.fatal(failure)


def split_cancelled(exc: BaseException) -> tuple[bool, BaseException | None]:
    """Whether ``Cancelled`` is in an exception (or group), and what is left without it."""
    if isinstance(exc, trio.Cancelled):
        return True, None
    if isinstance(exc, BaseExceptionGroup):
        cancelled, rest = exc.split(trio.Cancelled)
        return cancelled is not None, rest
    return False, exc
