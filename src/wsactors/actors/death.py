"""Exits: recorded by the control lane, declared in one visible step, told to others in small batches.

``die`` has no await in it. After it the pid is dead and its names, groups, tables and sinks are gone; what it owed to others
(failed calls, Exit and Down) sits in a ``Notice`` that the leader works off between turns, a slice at a time. One queue of
notices for the node keeps the order between a death and the deaths it causes, and makes propagation a work-list: chains and
cycles of links of any length use no stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import reschedule

from wsactors.actors.few import count, each, holds, removed, taken_out
from wsactors.actors.last_step import run_hooks
from wsactors.actors.mailbox import detach, fail_requests, taken_calls, unanswered
from wsactors.actors.messages import Crash, Down, Exit
from wsactors.actors.process import (
    DEAD,
    DYING,
    EMPTY,
    QUEUED,
    SIGNAL,
    STARTING,
    SUSPENDED,
    TASK,
    Extras,
    Halt,
    Process,
)
from wsactors.actors.requests import FAILED, Request, append_exempt, rouse

if TYPE_CHECKING:
    from wsactors.actors.monitors import MonitorRef
    from wsactors.actors.pid import Pid
    from wsactors.actors.scheduler import Scheduler

AT_ONCE: Final = 16
"""Queued messages let go, calls failed, timers cancelled within the death step itself; more wait for the notice."""


def doom(process: Process, reason: Any) -> None:
    """The control lane: this actor ends with ``reason`` once its code has unwound. Safe to repeat; only a kill overrules."""
    if process.flags & DEAD:
        return
    sched = process.sched
    extras = process.extras
    if extras is None:
        if process is not sched.current and process is not sched.turn and not process.flags & STARTING:
            die(process, reason)
            return
        extras = process.more()
    if extras.doom is None or reason == "killed":
        extras.doom = reason
    if process is sched.current or process is sched.turn:
        process.flags |= SIGNAL
    elif extras.blocked is None and not process.flags & STARTING and not extras.scopes:
        die(process, extras.doom)
        return
    elif not process.flags & STARTING:
        process.flags |= DYING
    _unwind(process, extras)


def _unwind(process: Process, extras: Extras) -> None:
    """Cancel whatever code of the actor is blocked, and give it ``kill_grace`` seconds."""
    if extras.blocked is not None:
        extras.blocked.cancel()
    if extras.start is not None:
        extras.start.cancel()
    for scope in each(extras.scopes):
        scope.cancel()
    if extras.grace is None:
        sched = process.sched
        extras.grace = sched.timers.add(sched.kill_grace, _lose_patience, process)


def _lose_patience(process: Process) -> None:
    if not process.flags & DEAD:
        process.sched.zombies += 1
        extras = process.more()
        extras.grace = None
        reason = extras.doom if extras.doom is not None else "killed"
        die(process, extras.halt.reason if extras.halt is not None and extras.doom is None else reason)


def halt(
    process: Process,
    reason: Any,
    request: Request | None = None,
    answer: Any = None,
    has_answer: bool = False,
    message: Any = None,
) -> None:
    """An orderly end (Stop, crash, trapped exit): ``terminate`` runs at the next boundary, then the actor ends."""
    if process.flags & (DEAD | DYING):
        if request is not None:
            fail_requests((request,), reason)
        return
    extras = process.more()
    if extras.halt is None:
        extras.halt = Halt(reason, request, answer, has_answer, message)
    elif request is not None:
        fail_requests((request,), reason)
    process.flags = (process.flags | SIGNAL) & ~SUSPENDED
    rouse(process)


def finish(process: Process, reason: Any) -> None:
    """Its handler is done for good: end now, or when its tasks have unwound."""
    extras = process.extras
    if process.flags & DEAD:
        return
    if extras is not None and extras.scopes:
        process.flags |= DYING
        extras.doom = reason
        _unwind(process, extras)
    else:
        die(process, reason)


def task_done(process: Process) -> None:
    """One of the actor's tasks has unwound."""
    extras = process.extras
    if extras is None or process.flags & (DEAD | STARTING) or extras.scopes or extras.blocked is not None:
        return  # or there is more to unwind: a handler, another task, the init on its starter's task
    if extras.doom is not None and process is not process.sched.turn and process is not process.sched.current:
        die(process, extras.doom)


def die(process: Process, reason: Any) -> None:
    """The one visible step."""
    sched = process.sched
    pid = process.pid
    extras = process.extras
    if extras is not None and extras.halt is not None and sched.on_crash is not None:
        sched.on_crash(process)
    tracers = extras.tracers if extras is not None else ()
    process.flags = DEAD | (process.flags & QUEUED)
    pid._process = None
    processes = sched.processes
    processes.pop(pid.serial, None)
    if sched.drained is not None and len(processes) <= sched.lasting:
        sched.drained.set()
    queued = len(process)
    mailbox = detach(process) if queued else None
    taken = EMPTY
    if extras is not None:
        taken = taken_calls(process)
        _release(process, extras)
    process.actor = None
    if queued + len(taken) <= AT_ONCE:
        if mailbox is not None:
            fail_requests(filter(None, map(unanswered, mailbox)), reason)
            mailbox = None
        if taken:
            fail_requests(taken, reason)
            taken = EMPTY
    if taken or mailbox is not None or (extras is not None and extras.owing()):
        notices = sched.notices
        notices.append(Notice(sched, pid, reason, mailbox, taken, extras))
        if len(notices) == 1:
            _call_notifier(sched)
    process.extras = None
    for trace in tracers:
        trace("exit", reason)


def _release(process: Process, extras: Extras) -> None:
    sched = process.sched
    release(process, extras)
    for timer_or_none in (extras.idle, extras.grace):
        if timer_or_none is not None:
            sched.timers.cancel(timer_or_none)
    if extras.waiter is not None:
        task, extras.waiter = extras.waiter, None
        reschedule(task)


def release(process: Process, extras: Extras) -> None:
    """Nobody finds it any more, nor hears of it: names, groups, tables, sinks and timers are gone, each in one go and once."""
    if extras.names:
        names, extras.names = extras.names, None
        for name in names:
            process.sched.runtime.registry.forget(name, process.pid)
    if extras.on_death:
        owners, extras.on_death = extras.on_death, None
        for owner_gone in owners.values():
            owner_gone(process.pid)
    if extras.hooks:
        hooks, extras.hooks = extras.hooks, None
        run_hooks(process.pid, hooks)
    # More of them are left to the notice: those of the dead fire without effect.
    if count(extras.timers) <= AT_ONCE:
        timers, extras.timers = extras.timers, None
        for timer in each(timers):
            process.sched.timers.drop(timer)


def _call_notifier(sched: Scheduler) -> None:
    notifier = sched.notifier
    if not notifier.flags & QUEUED:
        notifier.flags |= QUEUED
        sched.runq.append(notifier)
        if sched.leader is None:
            sched.wake()


class Notice:
    """What a death still owes: calls to fail, links and watchers to tell, monitors to give up. Order: calls, Exit, Down.

    ``mailbox`` is what was queued, ``taken`` the calls it had taken.
    """

    __slots__ = ("_steps", "_timers", "pid", "reason")

    def __init__(
        self,
        sched: Scheduler,
        pid: Pid,
        reason: Any,
        mailbox: Iterator[Any] | None,
        taken: list[Request],
        extras: Extras | None,
    ) -> None:
        self._timers = sched.timers
        self.pid = pid
        self.reason = reason
        self._steps = self._run(mailbox, taken, extras)

    def step(self) -> bool:
        """Deliver one; False when there was nothing left."""
        return next(self._steps, False)

    def _run(self, mailbox: Iterator[Any] | None, taken: list[Request], extras: Extras | None) -> Iterator[bool]:
        for message in mailbox or ():
            request = unanswered(message)
            if request is not None:
                request.settle(FAILED, self.reason)
            yield True
        for request in taken:
            request.settle(FAILED, self.reason)
            yield True
        if extras is None:
            return
        # Each is dropped once told: to free 100,000 references in one step would hold the loop for milliseconds.
        links, watchers, monitors, timers = extras.links, extras.watchers, extras.monitors, extras.timers
        for linked in taken_out(links):
            process = linked._process
            # The other side may have unlinked since the death: from then on the link has no effect.
            if process is not None and process.extras is not None and holds(process.extras.links, self.pid):
                unlink_one(process, self.pid)
                deliver_exit(process, self.pid, self.reason, linked=True)
            yield True
        for ref in taken_out(watchers):
            deliver_down(ref, self.pid, self.reason)
            yield True
        for ref in taken_out(monitors):
            target = ref._target
            ref.give_up()
            if target is not None and target.extras is not None:
                target.extras.watchers = removed(target.extras.watchers, ref)
            yield True
        for timer in taken_out(timers):
            self._timers.drop(timer)
            yield True


def deliver_notices(sched: Scheduler, until: float) -> None:
    """Work notices off until ``until`` (``perf_counter`` seconds)."""
    notices = sched.notices
    while notices:
        step = notices[0].step
        while step():
            if perf_counter() > until:
                return
        notices.popleft()


def deliver_down(ref: MonitorRef, pid: Pid | str, reason: Any) -> None:
    """Fire a monitor, unless it was given up meanwhile."""
    watcher = ref._watcher
    if watcher is None:
        return
    ref._watcher = ref._target = None
    if watcher.extras is not None:
        watcher.extras.monitors = removed(watcher.extras.monitors, ref)
    down = Down(ref, pid if ref.target.__class__ is not str else ref.target, reason)
    if ref._task is not None:
        task, ref._task = ref._task, None
        ref._down = down
        reschedule(task)
    else:
        append_exempt(watcher, down)


def deliver_exit(process: Process, sender: Pid, reason: Any, *, linked: bool) -> None:
    """An exit signal arrives. ``linked``: it comes over a link, where ``kill`` has no special power."""
    if process.flags & DEAD:
        return
    if reason == "kill" and not linked:
        doom(process, "killed")
    elif traps(process) or (sender is process.parent and process.kind.terminates and reason != "normal"):
        if process.flags & SUSPENDED and sender is process.parent:
            _end_suspended(process, sender, reason)
        else:
            append_exempt(process, Exit(sender, reason))
    elif reason == "normal" and sender is not process.pid:
        return
    else:
        doom(process, reason)


def _end_suspended(process: Process, sender: Pid, reason: Any) -> None:
    """Its parent's exit reaches a suspended actor past the messages that wait, as in OTP's ``sys``: it ends, in order."""
    if process.flags & TASK:
        # Only its own code can end it in order: let that go on.
        process.flags &= ~SUSPENDED
        append_exempt(process, Exit(sender, reason))
    else:
        halt(process, reason)


def is_ending(pid: Pid) -> bool:
    """Whether an actor is dead, or its end is decided."""
    process = pid._process
    if process is None:
        return True
    extras = process.extras
    return extras is not None and (extras.doom is not None or extras.halt is not None)


def traps(process: Process) -> bool:
    """Whether exit signals reach it as messages."""
    return bool(process.actor.trap_exit)


def unlink_one(process: Process, pid: Pid) -> None:
    """Remove one side of a link."""
    if process.extras is not None:
        process.extras.links = removed(process.extras.links, pid)


def crash(process: Process, exc: BaseException, request: Request | None = None, message: Any = None) -> None:
    """A handler raised, of ``message``."""
    halt(process, Crash.of(exc), request, message=message)
