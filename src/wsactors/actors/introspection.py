"""OTP's ``sys``: look into a live actor, replace its state, hold it still, trace it.

What needs the actor between two messages travels in the control lane: it goes past a full mailbox, waits for a handler that
runs or is blocked, and is done at once if none is. A process-style actor is between two messages while it waits in ``receive``.

Secrets: a ``State`` and a ``TraceEvent`` hold the values themselves, for the program; whatever prints, logs or formats one gets
text with secrets redacted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import MemberDescriptorType
from typing import Any, Final

import attrs
import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from wsactors.actors.calls import DEFAULT_TIMEOUT
from wsactors.actors.pid import Pid, Target
from wsactors.actors.places import resolve
from wsactors.actors.process import CONTINUE, SIGNAL, STARTING, SUSPENDED, TASK, TRACED, Process
from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import rouse
from wsactors.actors.stacks import stack_of
from wsactors.actors.statistics import ProcessInfo, describe
from wsactors.actors.tracing import TraceEvent, Tracer, add_tracer, emit, log_event
from wsactors.errors import CallingSelf, CallTimeout, NoProcess

STATE_TEXT: Final = 2_000
"""Characters of a state that tools show."""


class State(Mapping[str, Any]):
    """An actor's attributes at one moment: a shallow copy, to be read by name. Printing it redacts secrets.

    >>> (await get_state(pid))["count"]                              # doctest: +SKIP
    3
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"State({safe_repr(self._values, STATE_TEXT)})"


@attrs.frozen
class Status:
    """What a tool shows of one actor: taken now, even in the middle of a handler. Texts, secrets redacted."""

    info: ProcessInfo
    state: str
    stack: tuple[str, ...]
    """Where its blocked handler and its tasks wait: ``file:line in function``, innermost last."""


def state_of_actor(actor: Any) -> dict[str, Any]:
    """An actor's attributes, those in slots included."""
    values: dict[str, Any] = {}
    for cls in reversed(type(actor).__mro__):
        for name, member in vars(cls).items():
            if isinstance(member, MemberDescriptorType) and name != "_process":
                try:
                    values[name] = member.__get__(actor)
                except AttributeError:
                    continue  # a slot that was never set
    values.update(getattr(actor, "__dict__", ()))
    return values


def set_state_of_actor(actor: Any, new: Mapping[str, Any]) -> None:
    """Make ``new`` the attributes of ``actor``; all of them, or none if one cannot be set."""
    old = state_of_actor(actor)
    try:
        _assign(actor, old, new)
    except BaseException:
        _assign(actor, state_of_actor(actor), old)
        raise


def _assign(actor: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in old.keys() - new.keys():
        object.__delattr__(actor, name)
    for name, value in new.items():
        object.__setattr__(actor, name, value)


# -- reaching an actor between two messages


def at_rest(process: Process) -> bool:
    """Whether none of its handlers has begun and not ended: the moment between two messages."""
    sched, extras, flags = process.sched, process.extras, process.flags
    if flags & STARTING or process is sched.current or process is sched.turn:
        return False
    if flags & TASK:
        return process.kind.lasting or (extras is not None and extras.waiter is not None)
    return extras is None or extras.blocked is None


async def at_boundary(process: Process, action: Callable[[Process], Any], timeout: float | None) -> Any:
    """Run ``action(process)`` between two messages; its result.

    Raises:
        CallTimeout: a handler held the actor all the time; ``action`` will not run.
        NoProcess: it died first. CallingSelf: its own handler asked. Or what ``action`` raises.
    """
    await checkpoint_if_cancelled()
    if process.pid._process is None:
        raise NoProcess(process.pid)
    if at_rest(process):
        try:
            return action(process)
        finally:
            await cancel_shielded_checkpoint()
    sched = process.sched
    if process is sched.current or (process.flags & TASK and sched.whoami() is process):
        raise CallingSelf(process.pid)
    return await Errand(process, action).wait(timeout)


_NOT_DONE: Final = object()


class Errand:
    """Something to be done in the control lane, and the task that waits for it."""

    __slots__ = ("_action", "_error", "_process", "_task", "_value")

    def __init__(self, process: Process, action: Callable[[Process], Any]) -> None:
        self._process = process
        self._action: Callable[[Process], Any] | None = action
        self._value: Any = _NOT_DONE
        self._error: Exception | None = None
        self._task: Any = None

    async def wait(self, timeout: float | None) -> Any:
        """Put it into the control lane, and wait until it is done."""
        process = self._process
        extras = process.more()
        if extras.control is None:
            extras.control = deque()
        extras.control.append(self)
        if extras.on_death is None:
            extras.on_death = OrderedDict()
        extras.on_death[self] = self._died
        process.flags |= SIGNAL
        self._task = current_task()
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await wait_task_rescheduled(self._abort)
        if self._error is not None:
            raise self._error
        if self._value is _NOT_DONE:
            raise CallTimeout(process.pid)
        return self._value

    def __call__(self) -> None:
        """The boundary has come."""
        if self._action is None:
            return
        try:
            self._value = self._action(self._process)
        except Exception as exc:  # the asker's function failed: the asker gets it, the actor goes on
            self._error = exc
        self._over()

    def _died(self, _: Pid) -> None:
        self._error = NoProcess(self._process.pid)
        self._over()

    def _abort(self, _: RaiseCancelT) -> Abort:
        self._task = None
        self._over()
        extras = self._process.extras
        if extras is not None and extras.control:
            # A tool that asks again and again must not fill the lane of an actor that never comes to a boundary.
            extras.control.remove(self)
        return Abort.SUCCEEDED

    def _over(self) -> None:
        self._action = None
        extras = self._process.extras
        if extras is not None and extras.on_death is not None:
            extras.on_death.pop(self, None)
        if self._task is not None:
            task, self._task = self._task, None
            reschedule(task)


def live(target: Target) -> Process:
    """The actor behind a target.

    Raises:
        NoProcess: there is none.
    """
    process = resolve(target)
    if process is None:
        raise NoProcess(target)
    return process


# -- what users call


async def get_state(target: Target, timeout: float | None = DEFAULT_TIMEOUT) -> State:
    """An actor's attributes, taken between two messages, also while its mailbox is full.

    The copy is shallow: do not change what is in it; ``replace_state`` is for that.

    Raises:
        CallTimeout: a handler ran or was blocked for all of ``timeout`` seconds. (``status`` does not wait.)
        NoProcess: nobody is there. CallingSelf: an actor asked about itself.
    """
    state: State = await at_boundary(live(target), lambda process: State(state_of_actor(process.actor)), timeout)
    return state


async def replace_state(
    target: Target, fn: Callable[[State], Mapping[str, Any]], timeout: float | None = DEFAULT_TIMEOUT
) -> State:
    """Give an actor the attributes that ``fn(state)`` returns, between two messages; what it has then.

    An attribute that is not in the result is deleted. If ``fn`` raises, the actor is as before and the exception comes out here.

    >>> await replace_state(pid, lambda state: {**state, "count": 0})          # doctest: +SKIP
    """

    def replace(process: Process) -> State:
        if process.kind.lasting:
            raise TypeError(f"{process.pid} is a mailbox lent to a task: it has no state to replace")
        set_state_of_actor(process.actor, fn(State(state_of_actor(process.actor))))
        if process.flags & TRACED:
            emit(process, "replace_state")
        return State(state_of_actor(process.actor))

    state: State = await at_boundary(live(target), replace, timeout)
    return state


async def suspend(target: Target, timeout: float | None = DEFAULT_TIMEOUT) -> None:
    """Hold an actor still: when this returns, no handler of it runs, and messages wait until ``resume``.

    Suspends are counted: as many resumes end them (as ``erlang:suspend_process`` does; ``sys:suspend`` does not count), so that
    two tools do not undo each other's. Kill, untrapped exits and the functions of this module work meanwhile; its parent's exit
    ends it at once; its timers fire and wait in the mailbox. A process-style actor is held in ``receive``; its other tasks go on.
    Prefer ``suspended``, which cannot forget to resume.

    Raises:
        CallTimeout: a handler ran or was blocked for all of ``timeout`` seconds; it is not suspended.
        TypeError: the mailbox is lent to a task, which cannot be held still. And as ``get_state``.
    """
    await at_boundary(live(target), _suspend, timeout)


def _suspend(process: Process) -> None:
    if process.kind.lasting:
        raise TypeError(f"{process.pid} is a mailbox lent to a task, which cannot be suspended")
    process.more().suspends += 1
    process.flags |= SUSPENDED
    if process.flags & TRACED:
        emit(process, "suspend")


def resume(target: Target) -> bool:
    """Take one ``suspend`` back; whether the actor goes on now. One that is not suspended, or dead, is left as it is."""
    process = resolve(target)
    if process is None:
        return False
    extras = process.extras
    if not process.flags & SUSPENDED or extras is None:
        return False
    extras.suspends -= 1
    if extras.suspends > 0:
        return False
    extras.suspends = 0
    process.flags &= ~SUSPENDED
    if process.flags & TRACED:
        emit(process, "resume")
    if len(process) or process.flags & (CONTINUE | SIGNAL):
        rouse(process)
    return True


@asynccontextmanager
async def suspended(target: Target, timeout: float | None = DEFAULT_TIMEOUT) -> AsyncIterator[Pid]:
    """Hold an actor still for the length of the block.

    >>> async with suspended(pid):                                   # doctest: +SKIP
    ...     before = await get_state(pid)
    """
    pid = live(target).pid
    await suspend(pid, timeout)
    try:
        yield pid
    finally:
        resume(pid)


def statistics(target: Target) -> ProcessInfo:
    """The row of one actor: mailbox, messages handled, what it is doing. Does not wait for it. Raises ``NoProcess``."""
    process = live(target)
    process.more()  # from now on its longest mailbox is remembered
    watchdog = process.sched.runtime.watchdog
    return describe(process, None if watchdog is None else watchdog.shares())


def status(target: Target) -> Status:
    """Row, state and stack of one actor for a tool to show, taken now and not between messages. Raises ``NoProcess``."""
    process = live(target)
    return Status(statistics(target), safe_repr(state_of_actor(process.actor), STATE_TEXT), stack_of(process))


def trace(target: Target, callback: Callable[[TraceEvent], Any] = log_event) -> Tracer:
    """Have ``callback`` told of what an actor receives, answers and ends with, until ``untrace`` or its end; by default, logged.

    It runs inside the actor's turn: keep it short. If it raises it is removed and that is logged. A traced actor's calls are not
    inlined; nothing else about it changes. Several traces of one actor do not know of each other. Raises ``NoProcess``.
    """
    return add_tracer(live(target), callback)


def untrace(target: Target | Tracer) -> None:
    """End one trace, or all of an actor's."""
    if isinstance(target, Tracer):
        target.remove()
        return
    process = resolve(target)
    if process is not None and process.extras is not None:
        for tracer in process.extras.tracers:
            tracer.remove()
