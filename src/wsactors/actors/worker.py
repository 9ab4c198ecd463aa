"""Workers: the tasks that run handlers.

``_lead`` is the hot loop. It handles, without a function call of its own, what nearly every turn is: one plain message, to an actor
with nothing else going on, whose handler does not block. All the rest goes to ``_turn``.
"""

from __future__ import annotations

from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, cancel_shielded_checkpoint, current_task, reschedule, wait_task_rescheduled

from wsactors.actors.death import crash, deliver_notices, die, finish, halt
from wsactors.actors.drive import close_leaks, forward, leaked
from wsactors.actors.mailbox import taken
from wsactors.actors.messages import Crash, Exit
from wsactors.actors.process import (
    CONTINUE,
    DEAD,
    DYING,
    IDLE,
    LIMITS,
    QUEUED,
    SIGNAL,
    SUSPENDED,
    TRACED,
    Process,
)
from wsactors.actors.requests import ANSWERED, Cast, Keyed, Request, Resume
from wsactors.actors.results import disarm, settle
from wsactors.actors.scheduler import BUDGET, SLICE, Scheduler
from wsactors.actors.tasks import split_cancelled
from wsactors.errors import ScopeLeak

if TYPE_CHECKING:
    from contextvars import Context

    from trio.lowlevel import Task

ENVELOPES: Final = frozenset({Cast, Request, Keyed, Resume, Exit})
IDLE_SECONDS: Final = 10.0
"""A worker idle for so long ends: a burst of blocked handlers leaves no crowd behind."""
REAP_AT_ONCE: Final = 50
"""Idle workers ended per step, so that ending thousands never holds the loop."""
NOTHING: Final = object()
SKIP: Final = object()


def start_worker(sched: Scheduler) -> None:
    """Start a worker that leads."""
    worker = Worker(sched)
    sched.leader = worker
    sched.nursery.start_soon(worker.run, name="wsactors worker")


def reap_idle_workers(sched: Scheduler) -> bool:
    """End some workers that have been idle too long; whether there are more such."""
    limit = sched.timers.now() - IDLE_SECONDS
    idle = sched.idle
    count = 0
    # The list is a stack: those at the bottom have been idle longest. One is always kept.
    while count < REAP_AT_ONCE and count < len(idle) - 1 and idle[count].idle_since <= limit:
        count += 1
    for worker in idle[:count]:
        worker.retired = True
        worker.rouse()
    del idle[:count]
    return count == REAP_AT_ONCE


class Worker:
    """One task that runs turns: leading, blocked in somebody's handler, or idle."""

    __slots__ = ("idle_since", "retired", "scope", "status", "sched", "task")

    def __init__(self, sched: Scheduler) -> None:
        self.sched = sched
        self.retired = False
        self.idle_since = 0.0
        self.task: Task
        self.scope: trio.CancelScope
        self.status: Any

    def rouse(self) -> None:
        """Wake it from idling."""
        reschedule(self.task)

    async def run(self) -> None:
        """The task's body. Total: whatever an actor does ends in that actor's exit reason."""
        sched = self.sched
        self.task = current_task()
        sched.workers += 1
        try:
            with trio.CancelScope() as self.scope:
                self.status = self.task._cancel_status
                while not self.retired:
                    if sched.leader is self:
                        await self._lead()
                        if sched.leader is self:
                            sched.leader = None
                    elif sched.runq and sched.leader is None:
                        sched.leader = self
                    else:
                        self.idle_since = sched.timers.now()
                        sched.idle.append(self)
                        await wait_task_rescheduled(self._leave_idle)
        finally:
            sched.workers -= 1
            if sched.leader is self:
                sched.leader = None
            if sched.leader is None and sched.runq:
                sched.wake()

    def _leave_idle(self, _: RaiseCancelT) -> Abort:
        self.sched.idle.remove(self)
        return Abort.SUCCEEDED

    async def _lead(self) -> None:
        sched = self.sched
        runq = sched.runq
        popleft = runq.popleft
        push = runq.append
        task, status = self.task, self.status
        until = perf_counter() + SLICE
        while runq and sched.leader is self and not self.retired:
            process = popleft()
            box = process.box
            if process.flags != 1 or len(box) != 1 or process.front or box[0].__class__ in ENVELOPES:
                await self._turn(process)
            else:
                message = box.pop()
                sched.current = sched.turn = process
                context = None
                try:
                    result = process.actor.handle_info(message)
                    if result.__class__ is CoroutineType and process.extras is None:
                        context = sched.base.copy()
                        try:
                            trap = context.run(result.send, None)
                        except StopIteration as stop:
                            result = stop.value
                        else:
                            result = await self._blocked(process, context, result, trap, None)
                        if context != sched.base:
                            self._keep(process, context)
                        if task._cancel_status is not status or task._child_nurseries:
                            raise ScopeLeak("this handler left a cancel scope or nursery open")
                except BaseException as exc:
                    await self._failed(process, exc, None)
                    self._end_turn(process)
                else:
                    process.handled += 1
                    if result is None and process.flags == 1:
                        if box:
                            push(process)
                        else:
                            process.flags = 0
                    else:
                        await self._finish_fast(process, message, result)
            if perf_counter() > until:
                sched.current = sched.turn = None
                if sched.leader is not self:
                    return
                await cancel_shielded_checkpoint()
                until = perf_counter() + SLICE
        sched.current = None
        if sched.leader is self:
            sched.turn = None

    async def _finish_fast(self, process: Process, message: Any, result: Any) -> None:
        """The rest of a fast turn that turned out not to be plain."""
        try:
            if result.__class__ is CoroutineType:
                result = await self._drive(process, result, None)
            settle(process, None, message, result)
        except BaseException as exc:
            await self._failed(process, exc, None)
        self._end_turn(process)

    async def _turn(self, process: Process) -> None:
        """Up to ``BUDGET`` messages of one actor, with everything the fast path leaves out."""
        sched = self.sched
        until = perf_counter() + SLICE
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
        for _ in range(BUDGET):
            if process.flags & (SIGNAL | DEAD | DYING | SUSPENDED) and not await self._boundary(process):
                break
            message = self._next(process)
            if message is NOTHING:
                break
            if message is SKIP:
                continue
            request = message if message.__class__ is Request else None
            try:
                result = self._handle(process, message)
                if result.__class__ is CoroutineType:
                    if message.__class__ is Resume:
                        request = message.request
                    result = await self._drive(process, result, request)
                settle(process, request, message, result)
            except BaseException as exc:
                await self._failed(process, exc, request)
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
        if not front:
            box = process.box
            if not box:
                return NOTHING
            if len(box) > 1:
                front = process.front = box
                process.box = []
                front.reverse()
                extras = process.extras
                if extras is not None and len(front) > extras.high:
                    extras.high = len(front)
            else:
                front = box
        message = front.pop()
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
        if message is process.extras:
            argument, process.extras.argument = process.extras.argument, None
            return actor.handle_continue(argument)
        if kind is Resume:
            return message.coroutine
        return actor.handle_info(message)

    async def _drive(self, process: Process, coroutine: Any, request: Request | None) -> Any:
        """Run a handler's coroutine to its end, on this task."""
        extras = process.extras
        context = self.sched.base.copy() if extras is None or extras.context is None else extras.context
        try:
            trap = context.run(coroutine.send, None)
        except StopIteration as stop:
            return stop.value
        else:
            return await self._blocked(process, context, coroutine, trap, request)
        finally:
            self._keep(process, context)
            if leaked(self.task, self.status, 0):
                await self._mend()

    async def _mend(self) -> None:
        self.retired = True
        await close_leaks(self.task, self.status, 0)
        raise ScopeLeak(
            "this handler left a cancel scope or nursery open; close it in the same handler, or use self.start_soon(fn, *args)"
        )

    def _keep(self, process: Process, context: Context) -> None:
        """Remember a context only if the handler set something in it."""
        if context != self.sched.base and not process.flags & DEAD:
            process.more().context = context

    async def _blocked(
        self, process: Process, context: Context, coroutine: Any, trap: Any, request: Request | None
    ) -> Any:
        """The handler blocks: hand over the lead, then wait with it."""
        sched = self.sched
        extras = process.more()
        extras.blocked = self.scope
        extras.serving = request
        extras.coroutine = coroutine
        extras.since = perf_counter()
        sched.owners[self.task] = process
        if extras.doom is not None:
            self.scope.cancel()
        sched.turn = None
        if sched.leader is self:
            sched.leader = None
            if sched.runq:
                sched.wake()
        try:
            return await forward(sched, process, context, coroutine, trap)
        finally:
            del sched.owners[self.task]
            extras.blocked = extras.serving = extras.coroutine = None

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
                if result.__class__ is CoroutineType:
                    await self._drive(process, result, None)
            except Exception as exc:
                stop.reason = reason = Crash.of(exc)
            except BaseException as exc:
                await self._failed(process, exc, None)
                if process.flags & DEAD:
                    return
        if extras.doom is not None:
            reason = extras.doom
        elif stop.request is not None and stop.has_answer:
            stop.request.settle(ANSWERED, stop.answer)
        finish(process, reason)

    async def _failed(self, process: Process, exc: BaseException, request: Request | None) -> None:
        """A handler ended with an exception: make it the actor's exit, whatever it is."""
        if leaked(self.task, self.status, 0):
            self.retired = True
            await close_leaks(self.task, self.status, 0)
        if isinstance(exc, GeneratorExit):
            raise exc
        extras = process.extras
        cancelled, rest = split_cancelled(exc)
        if process.flags & DEAD:
            return
        if extras is not None and extras.doom is not None:
            finish(process, extras.doom)
        elif rest is not None:
            crash(process, rest, request)
            if not isinstance(rest, Exception | BaseExceptionGroup):
                self.sched.runtime.fatal(rest)
        elif cancelled and self.status.effectively_cancelled:
            die(process, "shutdown")
        else:
            crash(process, exc, request)

    def _end_turn(self, process: Process) -> None:
        """Back on the run queue, or idle."""
        sched = self.sched
        sched.current = None
        if sched.leader is self:
            sched.turn = None
        if self.scope.cancel_called:
            self.retired = True
        flags = process.flags
        if flags & DEAD:
            return
        if flags & (DYING | SIGNAL) and process.extras is not None and process.extras.doom is not None:
            finish(process, process.extras.doom)
            return
        if flags & (DYING | SUSPENDED) and not (flags & SIGNAL and not flags & DYING):
            process.flags = flags & ~QUEUED
        elif process.box or process.front or flags & (CONTINUE | SIGNAL):
            sched.runq.append(process)
        else:
            process.flags = flags & ~QUEUED
