"""A call in flight: one reply slot, filled at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import Abort, RaiseCancelT, Task, reschedule

from wsactors.actors.messages import Exit, Response
from wsactors.actors.process import DEAD, MIXED, PARKED, QUEUED, TASK, TRACED
from wsactors.actors.timers import Entry

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.process import Process

PENDING: Final = 0
ANSWERED: Final = 1
FAILED: Final = 2
TIMED_OUT: Final = 3
"""The deadline passed but the caller has not run yet: an answer that arrives in between still counts (OTP's last look)."""
ABANDONED: Final = 4
"""The caller gave up; an answer now is a no-op."""


class Request(Entry):
    """One call. Handlers see it as ``caller``: give it to ``reply`` to answer later. A process-style actor receives it whole."""

    __slots__ = ("caller", "label", "message", "notify", "process", "state", "task", "value")

    message: Any
    """What was asked."""
    process: Process | None
    """The callee, while the answer is outstanding."""
    caller: Process | None
    task: Task | None
    state: int
    value: Any
    notify: Process | None
    label: Any

    def __init__(self, process: Process | None, message: Any, caller: Process | None) -> None:
        self.process = process
        self.message = message
        self.caller = caller
        self.task = None
        self.state = PENDING
        self.value = None
        self.lane = None
        self.notify = None

    @property
    def pid(self) -> Pid | None:
        """Who asked: the calling actor, or None for a task that is no actor."""
        caller = self.caller
        if caller is None and self.task is not None and self.process is not None:
            # Looked up only when asked for: most callees never do.
            caller = self.caller = self.process.sched.owner_of(self.task)
        return None if caller is None else caller.pid

    @property
    def waiting(self) -> bool:
        """Whether somebody still wants the answer."""
        return self.state == PENDING

    def __repr__(self) -> str:
        return f"<Request from {self.pid or 'a task'}: {('pending', 'answered', 'failed', 'timed out', 'abandoned')[self.state]}>"

    def settle(self, state: int, value: Any) -> bool:
        """Fill the slot and wake the caller; False when nobody waits any more."""
        before = self.state
        if before != PENDING and before != TIMED_OUT:  # noqa: PLR1714 - two compares cost less than a set
            return False
        late = before == TIMED_OUT
        self.state = state
        self.value = value
        lane = self.lane
        if lane is not None:
            self.lane = None
            del lane[self]
        process = self.process
        if process is not None and process.extras is not None:
            self._settled(process, state, value)
        self.process = None
        task = self.task
        if task is not None and not late:
            self.task = None
            reschedule(task)
        elif self.notify is not None:
            self._notify()
        return True

    def fire(self) -> None:
        """The deadline passed."""
        if self.state != PENDING:
            return
        task = self.task
        if task is not None:
            self.state = TIMED_OUT
            self.task = None
            reschedule(task)
        elif self.notify is not None:
            self.settle(FAILED, "timeout")
        else:
            self.state = TIMED_OUT

    def abandon(self) -> None:
        """The caller gives up: drop the deadline and let a late answer vanish."""
        if self.state in (PENDING, TIMED_OUT):
            self.state = ABANDONED
            self._detach()
        self.task = None

    def abort(self, _: RaiseCancelT) -> Abort:
        """The caller's task was cancelled."""
        self.abandon()
        return Abort.SUCCEEDED

    def _settled(self, process: Process, state: int, value: Any) -> None:
        extras = process.extras
        if extras is not None:
            if state == ANSWERED and process.flags & TRACED:
                for trace in extras.tracers:
                    trace("reply", value)
            if extras.outstanding:
                extras.outstanding.pop(self, None)

    def _detach(self) -> None:
        process = self.process
        if process is not None:
            process.sched.timers.cancel(self)
            if process.extras is not None and process.extras.outstanding:
                process.extras.outstanding.pop(self, None)
            self.process = None

    def _notify(self) -> None:
        watcher, self.notify = self.notify, None
        if watcher is not None:
            append_exempt(watcher, Response(self.label, self.state == ANSWERED, self.value))


class Cast:
    """Envelope of a ``cast``."""

    __slots__ = ("message",)

    def __init__(self, message: Any) -> None:
        self.message = message


class Keyed:
    """Envelope of a message that a newer one of the same key replaces (conflation)."""

    __slots__ = ("item", "key")

    def __init__(self, key: Any, item: Any) -> None:
        self.key = key
        self.item = item


class Resume:
    """A coroutine that an inlined ``def handle_call`` returned: the next turn finishes it and answers ``request``."""

    __slots__ = ("coroutine", "request")

    def __init__(self, coroutine: Any, request: Request) -> None:
        self.coroutine = coroutine
        self.request = request


FREE: Final = object()
"""Key of the envelope that marks a message as exempt, in the mailboxes where that makes a difference."""


def append_exempt(process: Process, message: Any) -> bool:
    """Queue what no limit or policy may touch: Down, trapped Exit, timer messages, responses, group changes."""
    if process.flags & DEAD:
        return False
    process.queue(Keyed(FREE, message) if process.kind.special else message)
    if message.__class__ is Exit:
        process.flags |= MIXED
    rouse(process)
    return True


def rouse(process: Process) -> None:
    """Make sure that an actor with something to do gets its turn."""
    flags = process.flags
    if flags & TASK:
        extras = process.extras
        if extras is not None and extras.waiter is not None:
            task, extras.waiter = extras.waiter, None
            reschedule(task)
    elif not flags & PARKED:
        process.flags = flags | QUEUED
        sched = process.sched
        sched.runq.append(process)
        if sched.leader is None:
            sched.wake()
