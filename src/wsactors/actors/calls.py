"""``send``, ``cast``, ``call`` and their kin: what everybody uses to talk to an actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from trio import BusyResourceError
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from wsactors.actors.death import crash, finish
from wsactors.actors.drive import close_leaks
from wsactors.actors.mailbox import post, post_slow
from wsactors.actors.pid import Pid, Target
from wsactors.actors.places import resolve
from wsactors.actors.process import (
    CONTINUE,
    DEAD,
    DEBUG,
    DYING,
    EMPTY,
    FRONT,
    MIXED,
    QUEUED,
    SIGNAL,
    SUSPENDED,
    Process,
)
from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import ABANDONED, ANSWERED, FAILED, TIMED_OUT, Cast, Request, Resume
from wsactors.actors.results import VOCABULARY, settle
from wsactors.actors.spawn import PAUSE
from wsactors.errors import CallExit, CallingSelf, CallTimeout, MailboxFull, NoProcess, ScopeLeak

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from wsactors.actors.scheduler import Scheduler

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds a call waits unless told otherwise, as in OTP."""


@enable_ki_protection
def send(target: Target, message: Any) -> bool:
    """Queue ``message`` for ``handle_info``. Never blocks, never raises for a full or dead target: False, and counted."""
    process = target._process if type(target) is Pid else resolve(target)
    if process is None:
        return False
    if not process.flags:
        process.first = message
        process.flags = 1
        sched = process.sched
        sched.runq.append(process)
        if sched.leader is None:
            sched.wake()
        return True
    if process.flags == 1 and process.box is EMPTY:
        process.box = [message]
        return True
    return post_slow(process, message)


@enable_ki_protection
def cast(target: Target, message: Any) -> bool:
    """Queue ``message`` for ``handle_cast``; otherwise as ``send``."""
    process = target._process if type(target) is Pid else resolve(target)
    return process is not None and post(process, Cast(message))


@enable_ki_protection
def send_many(pids: Iterable[Target], message: Any) -> int:
    """Send one message to many actors; returns how many refused it or were dead.

    About a third faster than a loop of ``send``: for fan-out to thousands.
    """
    refused = 0
    sched: Scheduler | None = None
    append: Callable[[Process], None] = _no_queue
    try:
        for pid in pids:
            process = pid._process if type(pid) is Pid else resolve(pid)
            if process is None:
                refused += 1
            elif not process.flags:
                process.first = message
                process.flags = 1
                if process.sched is not sched:
                    if sched is not None and sched.leader is None:
                        sched.wake()
                    sched = process.sched
                    append = sched.runq.append
                append(process)
            elif process.flags == 1 and process.box is EMPTY:
                process.box = [message]
            elif not post_slow(process, message):
                refused += 1
    finally:
        # Also when an entry was no target: those before it have their message and need their turn.
        if sched is not None and sched.leader is None and sched.runq:
            sched.wake()
    return refused


def _no_queue(process: Process) -> None:
    raise AssertionError(f"{process} has no scheduler")


# The inlined path has no function call of its own beyond the handler's: each would cost a tenth of the round trip.
@enable_ki_protection
async def call(  # noqa: C901, PLR0912
    target: Target, message: Any, timeout: float | None = DEFAULT_TIMEOUT
) -> Any:
    """Ask an actor and wait for its answer, at most ``timeout`` seconds (None: for ever).

    A plain ``def handle_call`` of an idle actor runs at once, without a task switch; nothing else about it differs.

    >>> await call(pid, ("add", 2), timeout=5)                       # doctest: +SKIP
    3

    Raises:
        CallTimeout: no answer in time; a late one is dropped.
        NoProcess: nobody is there. CallExit: it died before it answered; ``.reason`` says of what.
        CallingSelf: an actor called itself.
        MailboxFull: the target's mailbox refused the request.
    """
    task = current_task()
    status = task._cancel_status
    if status.effectively_cancelled:
        await checkpoint_if_cancelled()
    process = target._process if type(target) is Pid else resolve(target)
    if process is None:
        raise NoProcess(target)
    sched = process.sched
    before = sched.current
    caller = sched.owners.get(task) if before is None else before
    request = Request(process, message, caller)
    if not process.flags and process.kind.inline and sched.inline:
        process.flags = 1
        sched.current = process
        try:
            result = sched.plain.run(process.actor.handle_call, message, request)
        except BaseException as exc:
            sched.current = before
            await _inline_failed(process, exc, request, task, status)
        else:
            sched.current = before
            process.handled += 1
            if task._cancel_status is not status:
                await _inline_failed(process, ScopeLeak("this handler left a cancel scope open"), request, task, status)
            elif type(result) not in VOCABULARY and type(result) is not CoroutineType and process.flags == 1:
                request.state = ANSWERED
                if process.box or process.flags != 1:
                    _requeue(process)
                else:
                    process.flags = 0
                sched.inlined += 1
                if perf_counter() > sched.pause_at or not sched.inlined & 255:
                    await cancel_shielded_checkpoint()
                    sched.pause_at = perf_counter() + PAUSE
                if before is not None and before.flags & (SIGNAL | DYING):
                    await checkpoint()  # the callee has ended its caller
                return result
            else:
                _finish_inline(process, request, message, result)
    else:
        enqueue(process, request, target)
    if request.state == 0:
        request.task = task
        if timeout is not None:
            sched.timers.schedule(timeout, request)
        if caller is not None and caller.flags & DEBUG:
            await _wait_watched(request, caller, process)
        else:
            await wait_task_rescheduled(request.abort)
    return request.value if request.state == ANSWERED else outcome(request, target)


async def _wait_watched(request: Request, caller: Process, callee: Process) -> None:
    """Debug mode: wait so that cycles of calls can be seen."""
    caller.more().calling = callee
    try:
        await wait_task_rescheduled(request.abort)
    finally:
        if caller.extras is not None:
            caller.extras.calling = None


def enqueue(process: Process, request: Request, target: Any, *, waits: bool = True) -> None:
    """Put a request into the mailbox, or raise why not."""
    extras = process.extras
    if request.caller is None and extras is not None and (extras.blocked is not None or extras.scopes):
        # Only an actor whose code is waiting somewhere can be calling itself from a task that is not its turn.
        request.caller = process.sched.whoami()
    if process is request.caller:
        raise CallingSelf(target)
    if process.flags & (DEAD | DYING):
        raise NoProcess(target)
    if waits and process.flags & DEBUG and request.caller is not None:
        _check_cycle(request.caller, process)
    if not post(process, request):
        if process.flags & (DEAD | DYING):
            raise NoProcess(target)
        raise MailboxFull(
            f"the mailbox of {process.pid} is full ({len(process)} messages): slow down, retry later or shed"
        )


def outcome(request: Request, target: Any) -> Any:
    """The answer, or the exception that stands for its absence."""
    state = request.state
    if state == ANSWERED:
        return request.value
    if state == TIMED_OUT:
        request.abandon()
        raise CallTimeout(target)
    if state == ABANDONED:
        raise CallTimeout(target)
    assert state == FAILED
    if request.value == "noproc":
        raise NoProcess(target)
    if request.value == "timeout":
        raise CallTimeout(target)
    raise CallExit(request.value, target)


async def _inline_failed(process: Process, exc: BaseException, request: Request, task: Task, status: Any) -> None:
    """An inlined handler raised, or left a scope open on its caller's task."""
    if task._cancel_status is not status:
        await close_leaks(task, status, len(task._child_nurseries))
    _inline_crash(process, exc, request)


def _inline_crash(process: Process, exc: BaseException, request: Request) -> None:
    if process.flags & DEAD:
        return
    crash(process, exc, request)
    _requeue(process)
    if not isinstance(exc, Exception):
        process.sched.runtime.fatal(exc)


def _finish_inline(process: Process, request: Request, message: Any, result: Any) -> None:
    """An inlined handler did more than answer: do it, or leave it to a turn."""
    if process.flags & DEAD:
        return
    if type(result) is CoroutineType:
        process.handled -= 1  # counted when the coroutine has ended
        if process.front:
            process.front.append(Resume(result, request))
        else:
            process.front = [Resume(result, request)]
        process.flags |= FRONT | MIXED
    else:
        settle(process, request, message, result)
    _requeue(process)


def _requeue(process: Process) -> None:
    """After an inlined handler: back to idle, or to the run queue."""
    flags = process.flags
    if flags & DEAD:
        return
    if flags & SIGNAL and process.extras is not None and process.extras.doom is not None:
        finish(process, process.extras.doom)
        return
    if (len(process) or flags & (CONTINUE | SIGNAL)) and not (flags & SUSPENDED and not flags & SIGNAL):
        sched = process.sched
        sched.runq.append(process)
        if sched.leader is None:
            sched.wake()
    else:
        process.flags = flags & ~QUEUED


def _check_cycle(caller: Process, callee: Process) -> None:
    """Debug mode: refuse a call that would wait for a chain of calls that waits for the caller."""
    chain = [caller.pid, callee.pid]
    waiting: Process | None = callee
    while waiting is not None and waiting.extras is not None and (waiting := waiting.extras.calling) is not None:
        chain.append(waiting.pid)
        if waiting is caller:
            raise CallingSelf(f"a cycle of calls: {' -> '.join(map(repr, chain))}")
        if len(chain) > 100:
            return


@enable_ki_protection
def reply(caller: Request, value: Any) -> bool:
    """Answer a call taken earlier with ``NoReply()``; False when nobody waits any more (a no-op)."""
    return caller.settle(ANSWERED, value)


class RequestId:
    """A call whose answer is collected later: ``await request.wait()``. Made by ``send_request``."""

    __slots__ = ("_request", "_sched", "label", "target")

    def __init__(self, request: Request, sched: Scheduler | None, target: Any, label: Any) -> None:
        self._request = request
        self._sched = sched
        self.target = target
        self.label = label

    def __repr__(self) -> str:
        label = "" if self.label is None else f" {safe_repr(self.label, 60)}"
        return f"<RequestId{label} to {self.target}: {'done' if self.done else 'pending'}>"

    @property
    def done(self) -> bool:
        """Whether ``wait`` would return (or raise) at once."""
        return not self._request.waiting

    async def wait(self, timeout: float | None = None) -> Any:
        """The answer. Raises like ``call``, but a time-out here leaves the request open: wait again, or ``abandon``."""
        request = self._request
        await checkpoint_if_cancelled()
        if request.waiting:
            if request.task is not None:
                raise BusyResourceError("another task already waits for this answer")
            request.task = current_task()
            timer = None
            if timeout is not None and self._sched is not None:
                timer = self._sched.timers.add(timeout, _stop_waiting, request)
            try:
                await wait_task_rescheduled(self._leave)
            finally:
                if timer is not None and self._sched is not None:
                    self._sched.timers.cancel(timer)
            if request.waiting:
                raise CallTimeout(self.target)
        return outcome(request, self.target)

    def _leave(self, _: RaiseCancelT) -> Abort:
        self._request.task = None
        return Abort.SUCCEEDED

    def abandon(self) -> None:
        """Give up: a late answer is dropped."""
        self._request.abandon()


def _stop_waiting(request: Request) -> None:
    task, request.task = request.task, None
    if task is not None and request.waiting:
        reschedule(task)


@enable_ki_protection
def send_request(
    target: Target,
    message: Any,
    *,
    timeout: float | None = None,
    notify: Process | None = None,
    label: Any = None,
) -> RequestId:
    """Ask now, collect the answer later. Never blocks; a dead or full target shows when the answer is collected.

    ``timeout`` seconds bound the whole request. ``Actor.send_request(..., notify=True)`` has the answer delivered as a
    ``Response(label, ok, value)`` message instead.
    """
    process = resolve(target)
    if process is None:
        request = Request(None, message, notify)
        request.notify, request.label = notify, label
        request.settle(FAILED, "noproc")
        return RequestId(request, None, target, label)
    sched = process.sched
    request = Request(process, message, notify or sched.whoami())
    request.notify, request.label = notify, label
    try:
        enqueue(process, request, target, waits=False)
    except (MailboxFull, NoProcess) as refused:
        request.settle(FAILED, "noproc" if isinstance(refused, NoProcess) else "mailbox_full")
    else:
        if timeout is not None:
            sched.timers.schedule(timeout, request)
    return RequestId(request, sched, target, label)
