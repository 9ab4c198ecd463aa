"""Turns: what a worker does with one actor, beyond the one plain message that its hot loop handles itself."""

from __future__ import annotations

from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import trio

from wsactors.actors.death import crash, deliver_notices, die, finish, halt
from wsactors.actors.drive import close_leaks, leaked, switch
from wsactors.actors.mailbox import taken
from wsactors.actors.messages import Crash, Exit
from wsactors.actors.process import (
    CONTINUE,
    DEAD,
    DYING,
    EMPTY,
    ENVELOPED,
    FRONT,
    IDLE,
    LIMITS,
    LONG,
    MIXED,
    NOTHING,
    QUEUED,
    SIGNAL,
    SUSPENDED,
    TRACED,
    Extras,
    Process,
)
from wsactors.actors.requests import ANSWERED, PENDING, Cast, Request, Resume
from wsactors.actors.results import VOCABULARY, disarm, settle
from wsactors.actors.scheduler import BUDGET, Scheduler
from wsactors.actors.tasks import split_cancelled
from wsactors.errors import ScopeLeak

if TYPE_CHECKING:
    from trio.lowlevel import Task

SKIP: Final = object()


class Turns:
    """The half of a worker that knows what to do with an actor; the other half, ``Worker``, knows when."""

    __slots__ = ("blocked", "context", "request", "retired", "sched", "scope", "status", "task")

    def __init__(self, sched: Scheduler) -> None:
        self.sched = sched
        self.retired = False
        self.blocked: Process | None = None
        """Whose handler it is blocked in."""
        self.request: Request | None = None
        """The call that the running handler answers."""
        self.context = sched.base.copy()
        self.task: Task
        self.scope: trio.CancelScope
        self.status: Any

    def _unblock(self, process: Process) -> None:
        """The handler that had blocked has ended."""
        self.blocked = None
        self.sched.owners.pop(self.task, None)
        extras = process.extras
        if extras is not None:
            extras.blocked = extras.serving = extras.coroutine = None

    async def _finish_fast(self, process: Process, message: Any, result: Any) -> None:
        """The rest of a turn that began as a plain one."""
        if type(result) is CoroutineType:
            result = await self._drive(process, result, None)
        elif self.task._cancel_status is not self.status:
            await self._mend()
        if result is not None:
            settle(process, None, message, result)

    async def _single(self, process: Process, message: Any, until: float) -> None:  # noqa: C901, PLR0912 - hot: every helper is a call per message
        """One cast or call, to an actor with nothing else going on; if more have come, the turn goes on with them."""
        sched = self.sched
        process.first = NOTHING
        sched.current = sched.turn = process
        request = None
        try:
            if type(message) is Cast:
                result = process.actor.handle_cast(message.message)
            elif type(message) is Request and message.state == PENDING:
                request = message
                result = process.actor.handle_call(message.message, message)
            else:
                process.first = message
                await self._turn(process, 0.0)
                return
            if type(result) is CoroutineType:
                if self.context == sched.base and (process.extras is None or process.extras.context is None):
                    self.request = request
                    result = await result
                    self.request = None
                    if self.blocked is not None:
                        self._unblock(process)
                    if self.context != sched.base:
                        await self._keep_context(process)
                else:
                    result = await self._drive(process, result, request)
            if self.task._cancel_status is not self.status or self.task._child_nurseries:
                await self._mend()
            if request is not None and type(result) not in VOCABULARY and process.flags == ENVELOPED:
                request.settle(ANSWERED, result)
            elif result is not None or request is not None:
                settle(process, request, message, result)
        except BaseException as exc:
            await self._failed(process, exc, request, message)
        process.handled += 1
        if process.flags == ENVELOPED and not process.box:
            process.flags = 0
            sched.current = None
            if sched.leader is self:
                sched.turn = None
        elif process.box and sched.leader is self and not self.retired and perf_counter() < until:
            await self._turn(process, until, BUDGET - 1)
        else:
            self._end_turn(process)

    async def _burst(self, process: Process, until: float) -> None:
        """Several plain messages in one go, until budget or slice is used up or one of them needs more than its handler."""
        sched = self.sched
        sched.current = sched.turn = process
        message = None
        try:
            handle = process.actor.handle_info
            for _ in range(BUDGET - 1):  # one may have been handled before
                # Looked up each time: a handler may take messages out of the mailbox (a flush).
                front = process.front
                if not front:
                    break
                message = front.pop()
                result = handle(message)
                process.handled += 1
                if self.task._cancel_status is not self.status:
                    await self._mend()
                if result is not None:
                    await self._finish_fast(process, message, result)
                    if sched.leader is not self or self.retired:
                        break
                    sched.current = process
                if process.flags != LONG or perf_counter() > until:
                    break
        except BaseException as exc:
            await self._failed(process, exc, None, message)
        self._end_turn(process)

    async def _turn(self, process: Process, until: float, budget: int = BUDGET) -> None:
        """Up to ``budget`` messages of one actor, with everything the fast path leaves out."""
        sched = self.sched
        if process is sched.notifier:
            # Nobody's turn: a notice may doom the actor whose turn was the last.
            sched.current = sched.turn = None
            deliver_notices(sched, until)
            if sched.notices:
                sched.runq.append(process)
            else:
                process.flags &= ~QUEUED
            return
        sched.current = sched.turn = process
        for _ in range(budget):
            if process.flags & (SIGNAL | DEAD | DYING | SUSPENDED) and not await self._boundary(process):
                break
            message = self._next(process)
            if message is NOTHING:
                break
            if message is SKIP:
                continue
            kind = message.__class__
            request = message if kind is Request else message.request if kind is Resume else None
            try:
                result = self._handle(process, message)
                if type(result) is CoroutineType:
                    result = await self._drive(process, result, request)
                elif self.task._cancel_status is not self.status:
                    await self._mend()
                if result is not None or request is not None:
                    settle(process, request, message, result)
            except BaseException as exc:
                await self._failed(process, exc, request, message)
            process.handled += 1
            if sched.leader is not self or self.retired or perf_counter() > until:
                break
        self._end_turn(process)

    def _next(self, process: Process) -> Any:
        """What the actor handles next: its continuation, else the oldest message."""
        flags = process.flags
        if flags & CONTINUE:
            process.flags = flags & ~CONTINUE
            return process.more()
        front = process.front
        if front:
            message = front.pop()
        elif (message := process.first) is not NOTHING:
            process.first = NOTHING
        elif not process.box:
            return NOTHING
        else:
            message = detach(process).pop()
        if flags & IDLE:
            disarm(process)
        if flags & LIMITS:
            message = taken(process, message)
        if message.__class__ is Request:
            if not message.waiting and process.kind.skip_abandoned:
                return SKIP
        elif message.__class__ is Exit and message.pid is process.parent:
            halt(process, message.reason)
            return SKIP
        return message

    def _handle(self, process: Process, message: Any) -> Any:
        """Call the handler that ``message`` is for."""
        actor = process.actor
        if process.flags & TRACED:
            for trace in process.more().tracers:
                trace("receive", message)
        kind = message.__class__
        if kind is Request:
            return actor.handle_call(message.message, message)
        if kind is Cast:
            return actor.handle_cast(message.message)
        if kind is Extras:
            argument, message.argument = message.argument, None
            return actor.handle_continue(argument)
        if kind is Resume:
            return message.coroutine
        return actor.handle_info(message)

    async def _drive(self, process: Process, coroutine: Any, request: Request | None) -> Any:
        """Await a handler's coroutine in the actor's own context."""
        extras = process.extras
        base = self.sched.base
        if extras is not None and extras.context is not None:
            await switch(extras.context)
        elif self.context != base:
            await switch(base.copy())
        self.request = request
        try:
            result = await coroutine
        finally:
            self.request = None
            if self.blocked is not None:
                self._unblock(process)
            if self.context != base:
                await self._keep_context(process)
        # After an exception the leak is closed too, by _failed, but the exception is what the actor dies of.
        if leaked(self.task, self.status, 0):
            await self._mend()
        return result

    async def _keep_context(self, process: Process) -> None:
        """The handler has set context variables: they stay the actor's, and the worker goes on without them."""
        if not process.flags & DEAD:
            process.more().context = self.context
        await switch(self.sched.base.copy())

    async def _close_leaks(self, process: Process) -> None:
        """After an exception: the task as it was before the handler."""
        if leaked(self.task, self.status, 0):
            self.retired = True
            # This may block, and then the worker is the actor's once more.
            await close_leaks(self.task, self.status, 0)
        self.request = None
        if self.blocked is not None:
            self._unblock(process)

    async def _mend(self) -> None:
        self.retired = True
        await close_leaks(self.task, self.status, 0)
        raise ScopeLeak(
            "this handler left a cancel scope or nursery open; close it in the same handler, or use self.start_soon(fn, *args)"
        )

    async def _boundary(self, process: Process) -> bool:
        """What waits between two messages; whether the actor may go on to the next."""
        extras = process.extras
        if process.flags & DEAD or extras is None:
            return not process.flags & (DEAD | DYING | SUSPENDED)
        if extras.control:
            while extras.control:
                extras.control.popleft()()
        if extras.doom is not None:
            finish(process, extras.doom)
            return False
        if extras.halt is not None and not process.flags & DYING:
            await self._terminate(process)
            return False
        process.flags &= ~SIGNAL
        return not process.flags & (DEAD | DYING | SUSPENDED)

    async def _terminate(self, process: Process) -> None:
        """Run ``terminate``, answer the call that asked for the stop, and end."""
        extras = process.more()
        stop = extras.halt
        assert stop is not None
        reason = stop.reason
        process.flags &= ~SIGNAL
        if process.kind.terminates:
            try:
                result = process.actor.terminate(reason)
                if type(result) is CoroutineType:
                    await self._drive(process, result, None)
                elif self.task._cancel_status is not self.status:
                    await self._mend()
            except Exception as exc:
                await self._close_leaks(process)
                stop.reason = reason = Crash.of(exc)
            except BaseException as exc:
                await self._failed(process, exc, None, None)
                if process.flags & DEAD:
                    return
        if extras.doom is not None:
            reason = extras.doom
        elif stop.request is not None and stop.has_answer:
            stop.request.settle(ANSWERED, stop.answer)
        finish(process, reason)

    async def _failed(self, process: Process, exc: BaseException, request: Request | None, message: Any) -> None:
        """A handler ended with an exception: make it the actor's exit, whatever it is."""
        if isinstance(exc, GeneratorExit):
            raise exc
        await self._close_leaks(process)
        extras = process.extras
        cancelled, rest = split_cancelled(exc)
        if process.flags & DEAD:
            return
        doomed = extras is not None and extras.doom is not None
        if request is not None and (doomed or rest is None):
            # The death step has to tell this caller.
            process.more().serving = request
        if extras is not None and extras.doom is not None:
            finish(process, extras.doom)
        elif rest is not None:
            crash(process, rest, request, message)
            if not isinstance(rest, Exception | BaseExceptionGroup):
                self.sched.runtime.fatal(rest)
        elif cancelled and self.status.effectively_cancelled:
            die(process, "shutdown")
        else:
            crash(process, exc, request, message)

    def _end_turn(self, process: Process) -> None:
        """Back on the run queue, or idle."""
        sched = self.sched
        sched.current = None
        if sched.leader is self:
            sched.turn = None
        flags = process.flags & ~FRONT
        if flags & DEAD:
            return
        if process.front:
            flags |= FRONT
        elif process.box and process.first is NOTHING:
            process.flags = flags
            refill(process)
            flags = process.flags
        if flags & (DYING | SIGNAL) and process.extras is not None and process.extras.doom is not None:
            finish(process, process.extras.doom)
            return
        if flags & (DYING | SUSPENDED) and not (flags & SIGNAL and not flags & DYING):
            process.flags = flags & ~QUEUED
        elif len(process) or flags & (CONTINUE | SIGNAL):
            process.flags = flags
            sched.runq.append(process)
        else:
            process.flags = flags & ~(QUEUED | MIXED)


def refill(process: Process) -> None:
    """``first`` has been handled and there is more: the next one, or the lot if it is a lot."""
    box = process.box
    if len(box) > BUDGET:
        detach(process)
        process.flags |= FRONT
    else:
        process.first = box.pop(0)
        if not box:
            process.box = EMPTY


def detach(process: Process) -> list[Any]:
    """Take ``box`` for handling, as ``front``. ``first`` must be empty."""
    front = process.front = process.box
    process.box = EMPTY
    front.reverse()
    extras = process.extras
    if extras is not None and len(front) > extras.high:
        extras.high = len(front)
    return front
