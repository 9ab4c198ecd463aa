"""Workers: the tasks that run handlers.

``_lead`` is the hot loop. It handles, without a function call of its own, what nearly every turn is: one plain message, to an
actor with nothing else going on, whose handler does not block. All the rest goes to ``_turn``.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from types import CoroutineType
from typing import Any, Final

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from wsactors.actors.drive import Switch
from wsactors.actors.process import EMPTY, ENVELOPED, LONG, NOTHING, Process
from wsactors.actors.results import settle
from wsactors.actors.scheduler import SLICE, Scheduler
from wsactors.actors.turns import Turns, detach

CROWD: Final = 256
"""Actors on the run queue above which the clock is read after every second turn: reading it costs a tenth of a turn, which only a
large fan-out notices. The promised hold (2 ms plus one handler) is then kept for handlers of up to 1.4 ms."""
EPOCH_SECONDS: Final = 5.0
REAP_AFTER: Final = 2
"""Epochs of idling after which a worker ends (10 s): a burst of blocked handlers leaves no crowd behind."""
REAP_AT_ONCE: Final = 50
"""Idle workers ended per step, so that ending thousands never holds the loop."""


def start_worker(sched: Scheduler) -> None:
    """Start a worker that leads."""
    worker = Worker(sched)
    sched.leader = worker
    sched.nursery.start_soon(worker.run, name="wsactors worker")


def reap_idle_workers(sched: Scheduler) -> bool:
    """End some workers that have been idle too long; whether there are more such."""
    limit = sched.epoch - REAP_AFTER
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


class Worker(Turns):
    """One task that runs turns: leading, blocked in somebody's handler, or idle.

    ``_body`` awaits handlers as any code would. ``_shell`` drives ``_body`` and sees each of its traps first, so that it can
    hand over the lead when a handler blocks. That costs nothing as long as handlers do not block: to drive each handler's
    coroutine by hand would cost an exception (``StopIteration``) per message.
    """

    __slots__ = ("idle_since",)

    def __init__(self, sched: Scheduler) -> None:
        super().__init__(sched)
        self.idle_since = 0

    def rouse(self) -> None:
        """Wake it from idling."""
        reschedule(self.task)

    def cancel(self) -> None:
        """Unwind the handler it is blocked in. Its scope stays cancelled, so the worker ends with it."""
        self.retired = True
        self.scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The task's body. Total: whatever an actor does ends in that actor's exit reason."""
        sched = self.sched
        self.task = current_task()
        sched.workers += 1
        try:
            with trio.CancelScope() as self.scope:
                self.status = self.task._cancel_status
                await self._shell(self._body())
        finally:
            sched.workers -= 1
            if sched.leader is self:
                sched.leader = None
            if sched.leader is None and sched.runq:
                sched.wake()

    @types.coroutine
    def _shell(self, body: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Drive ``body``, pass its traps on to trio and what trio sends or throws back to it."""
        sched = self.sched
        step: Callable[[Any], Any] = body.send
        argument: Any = None
        while True:
            try:
                trap = self.context.run(step, argument)
            except StopIteration:
                return
            if trap.__class__ is Switch:
                self.context = trap.context
                step, argument = body.send, None
                continue
            if sched.turn is not None and sched.leader is self:
                self._hand_over(sched.turn, body)
            sched.current = None
            try:
                argument = yield trap
            except GeneratorExit:
                self.context.run(body.close)
                raise
            except BaseException as exc:
                step, argument = body.throw, exc
            else:
                step = body.send
            sched.current = self.blocked

    def _hand_over(self, process: Process, body: Any) -> None:
        """A handler blocks for the first time: let another worker lead."""
        sched = self.sched
        extras = process.more()
        self.blocked = process
        extras.blocked = self
        extras.serving = self.request
        extras.coroutine = body
        extras.since = perf_counter()
        sched.owners[self.task] = process
        if extras.doom is not None:
            self.cancel()
        sched.leader = sched.turn = None
        if sched.runq:
            sched.wake()

    async def _body(self) -> None:
        sched = self.sched
        while not self.retired:
            if sched.leader is self:
                await self._lead()
                if sched.leader is self:
                    sched.leader = None
            elif sched.runq and sched.leader is None:
                sched.leader = self
            else:
                self.idle_since = sched.epoch
                sched.idle.append(self)
                await wait_task_rescheduled(self._leave_idle)

    def _leave_idle(self, _: RaiseCancelT) -> Abort:
        self.sched.idle.remove(self)
        return Abort.SUCCEEDED

    async def _lead(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the hot loop, see the head of this file
        sched = self.sched
        runq = sched.runq
        popleft = runq.popleft
        resume = runq.appendleft  # the same turn goes on
        again: Process | None = None  # who went on with a lone message: not twice, lest it sends to itself for ever
        base = sched.base
        nothing = NOTHING
        task, status = self.task, self.status
        clean = False  # whether the worker's context is known to be as it was: an `async` handler must see only its own actor's
        skip, crowd = False, len(runq) > CROWD
        until = perf_counter() + SLICE
        sched.slices += 1
        while True:
            try:
                process = popleft()
            except IndexError:
                break
            message = process.first
            if process.flags == 1 and message is not nothing:
                process.first = nothing
                sched.current = sched.turn = process
                try:
                    result = process.actor.handle_info(message)
                    process.handled += 1
                    if result is None and process.flags == 1 and task._cancel_status is status:
                        clean = False
                        box = process.box
                        if box:
                            if process is not again and len(box) == 1:
                                process.first = box[0]
                                process.box = EMPTY
                                again = process
                            else:
                                detach(process)
                                process.flags = LONG
                            resume(process)
                        else:
                            process.flags = 0
                        if skip:
                            skip = False
                            continue
                        skip = crowd
                        if perf_counter() < until:
                            continue
                    else:
                        if (
                            type(result) is CoroutineType
                            and (clean or self.context == base)
                            and (process.extras is None or process.extras.context is None)
                        ):
                            result = await result
                            if self.blocked is not None:
                                self._unblock(process)
                            clean = True
                            if self.context != base:
                                await self._keep_context(process)
                            if task._cancel_status is not status or task._child_nurseries:
                                await self._mend()
                            if result is not None:
                                settle(process, None, message, result)
                        else:
                            await self._finish_fast(process, message, result)
                        if process.flags != 1:
                            self._end_turn(process)
                        elif box := process.box:
                            if process is not again and len(box) == 1:
                                process.first = box[0]
                                process.box = EMPTY
                                again = process
                            else:
                                detach(process)
                                process.flags = LONG
                            resume(process)
                        else:
                            process.flags = 0
                        if sched.leader is self:
                            if skip:
                                skip = False
                                continue
                            skip = crowd
                            if perf_counter() < until:
                                continue
                except BaseException as exc:
                    await self._failed(process, exc, None, message)
                    self._end_turn(process)
            elif process.flags == ENVELOPED and message is not nothing:
                await self._single(process, message, until)
                clean = False
                if sched.leader is self:
                    if not runq:
                        break
                    if perf_counter() < until:
                        continue
            elif process.flags == LONG:
                await self._burst(process, until)
            else:
                await self._turn(process, until)
            clean = False
            if sched.leader is not self or self.retired:
                sched.current = None
                return
            if perf_counter() > until:
                sched.current = sched.turn = None
                sched.recent = process.pid
                await cancel_shielded_checkpoint()
                sched.slices += 1
                skip, crowd = False, len(runq) > CROWD
                until = perf_counter() + SLICE
        sched.current = sched.turn = None
