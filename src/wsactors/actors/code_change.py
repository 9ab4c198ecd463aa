"""New code for live actors: reload the module of a class, and move its actors over between two messages.

What happens, in order:

1. The source is read and compiled; if it does not compile, nothing has changed. It is executed in the module, as
   ``importlib.reload`` does; if that raises, the module's names are put back.
2. From now on, starting the old class starts the new one, also for supervisors that hold the old one in their child specs.
3. Each live actor of an old class is held between two messages, its ``__class__`` becomes the new one, its
   ``code_change(old_version, extra)`` is called if the new class has one (``old_version`` is the old class's ``code_version``,
   or None), and it goes on. Messages wait meanwhile; none is lost. If its hook raises, or the new class cannot hold its
   attributes, it goes on with the old class and its old attributes, and the result says so.

Subclasses in the same module are reloaded with it. Those elsewhere get the new base under their feet: their code is still their
own, so their actors move all together, and if one fails, all of that class stay.

A state machine keeps its state, which the new class must have; its hook may return ``NextState(name)`` to rename it.

What this cannot do, as no reload in Python can: a ``run`` of a process-style actor that is in its loop goes on with the old body
(its methods are new from the next call on: keep the loop short). Classes of messages are new objects too: keep them in a module
of their own, or old ones in mailboxes will not match. Names that others imported from the module stay the old ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from time import perf_counter
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint, current_task

from wsactors.actors.actor import Actor, BaseActor
from wsactors.actors.calls import DEFAULT_TIMEOUT
from wsactors.actors.code_loading import descendants, module_of, reload
from wsactors.actors.introspection import (
    at_rest,
    resume,
    set_state_of_actor,
    state_of_actor,
    suspend,
)
from wsactors.actors.kind import Kind
from wsactors.actors.log import log
from wsactors.actors.machine_results import NextState
from wsactors.actors.mailbox import keyed, weight
from wsactors.actors.messages import Crash, Down, Exit, Response, Timeout
from wsactors.actors.pid import Pid
from wsactors.actors.process import DEAD, EMPTY, FRONT, LIMITS, MIXED, TRACED, Process
from wsactors.actors.process_actor import ProcessActor
from wsactors.actors.requests import FREE, Keyed, Resume
from wsactors.actors.state_machine import StateMachine
from wsactors.actors.tracing import emit
from wsactors.errors import CallExit, CodeChangeFailed

if TYPE_CHECKING:
    from wsactors.actors.scheduler import Scheduler

LOGGER: Final = "wsactors.code_change"
AT_ONCE: Final = 1_000
"""Busy actors waited for at the same time."""
SLICE: Final = 0.0005
"""Seconds of actors moved before other tasks get a turn."""
EXEMPT: Final = frozenset({Down, Exit, Response, Timeout})

_running: Final[set[str]] = set()
"""Modules that are being changed: a module is one for the whole process."""


@attrs.frozen
class CodeChange:
    """What a code change did."""

    module: str
    classes: tuple[str, ...]
    """Actor classes with new code."""
    moved: int
    """Actors that have it."""
    failed: dict[Pid, str]
    """Actors that go on with the old code, and why; text without secrets."""
    loops: tuple[Pid, ...]
    """Process-style actors among the moved: their ``run`` goes on with the old body until it returns."""


class _Tally:
    """The result, while it is being made."""

    def __init__(self) -> None:
        self.moved = 0
        self.failed: dict[Pid, str] = {}
        self.loops: list[Pid] = []

    def done(self, process: Process) -> None:
        if process.flags & DEAD:
            return
        self.moved += 1
        if process.kind.is_task:
            self.loops.append(process.pid)
        if process.flags & TRACED:
            emit(process, "code_change", process.kind.cls)

    def refused(self, process: Process, why: BaseException) -> None:
        if not process.flags & DEAD:
            self.failed[process.pid] = str(Crash.of(why))


async def code_change(
    what: type | ModuleType | str, node: Any, *, extra: object = None, timeout: float | None = DEFAULT_TIMEOUT
) -> CodeChange:
    """Reload a module and move the live actors of its classes, on ``node``, to the new code; see the module's docstring.

    Args:
        what: the module, its name, or an actor class defined in it: the module is what is loaded.
        node: whose actors move. Other nodes of the process go on with the old classes until they are asked too.
        extra: handed to every ``code_change`` hook.
        timeout: seconds to wait for an actor's handler to end, and for its hook.

    Raises:
        CodeChangeFailed: there is no source to read, it does not compile, or running it raised. Nothing has changed.
    """
    sched: Scheduler = node.sched
    module = module_of(what)
    if module.__name__ in _running:
        raise CodeChangeFailed(f"{module.__name__} is being changed already; wait for that to end")
    _running.add(module.__name__)
    try:
        successors = reload(module)
        tally = _Tally()
        await _move_all(sched, successors, extra, timeout, tally)
        await _move_elsewhere(sched, successors, extra, timeout, tally)
    finally:
        _running.discard(module.__name__)
    names = tuple(sorted({new.__qualname__ for new in successors.values()}))
    log(LOGGER, "info", "code_change.done", module=module.__name__, moved=tally.moved, failed=len(tally.failed))
    for pid, why in list(tally.failed.items())[:20]:
        log(LOGGER, "error", "code_change.actor_failed", module=module.__name__, pid=str(pid), error=why)
    return CodeChange(module.__name__, names, tally.moved, tally.failed, tuple(tally.loops))


# -- actors of the module's own classes


async def _move_all(
    sched: Scheduler, successors: dict[type, type], extra: object, timeout: float | None, tally: _Tally
) -> None:
    busy: list[tuple[Process, type]] = []
    until = perf_counter() + SLICE
    for process in list(sched.processes.values()):
        new = successors.get(type(process.actor))
        if new is not None and not process.flags & DEAD:
            if _ready(process) and not hasattr(new, "code_change") and not issubclass(new, StateMachine):
                _switch(process, new, tally)
            else:
                busy.append((process, new))
        if perf_counter() > until:
            await cancel_shielded_checkpoint()
            until = perf_counter() + SLICE
    slots = trio.CapacityLimiter(AT_ONCE)
    async with trio.open_nursery() as nursery:
        for process, new in busy:
            await slots.acquire_on_behalf_of(process)
            nursery.start_soon(_move, process, new, extra, timeout, tally, slots)


def _ready(process: Process) -> bool:
    """Between two messages; a call that was inlined and has a coroutine to finish is not."""
    return at_rest(process) and not (process.front and process.front[-1].__class__ is Resume)


def _switch(process: Process, new: type, tally: _Tally) -> None:
    undo = _Undo(process)
    try:
        _become(process, new)
    except Exception as exc:
        undo()
        tally.refused(process, exc)
    else:
        tally.done(process)


async def _move(
    process: Process, new: type, extra: object, timeout: float | None, tally: _Tally, slots: trio.CapacityLimiter
) -> None:
    """Hold one actor still and move it, in a task of its own: its hook must not run as whoever asked for the change."""
    try:
        await _hold(process, timeout)
    except CallExit as exc:
        tally.refused(process, exc)
        slots.release_on_behalf_of(process)
        return
    undo = _Undo(process)
    try:
        old = type(process.actor)
        _become(process, new)
        await _run_hook(process, old, extra, timeout)
    except Exception as exc:
        undo()
        tally.refused(process, exc)
    else:
        tally.done(process)
    finally:
        resume(process.pid)
        slots.release_on_behalf_of(process)


async def _hold(process: Process, timeout: float | None) -> None:
    """Suspend it where no handler is half done."""
    while True:
        await suspend(process.pid, timeout)
        if _ready(process):
            return
        resume(process.pid)


class _Undo:
    """What an actor was."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.cls = type(process.actor)
        self.kind = process.kind
        self.state = state_of_actor(process.actor)

    def __call__(self) -> None:
        process = self.process
        if process.flags & DEAD:
            return
        process.actor.__class__ = self.cls
        set_state_of_actor(process.actor, self.state)
        _rebook(process, self.kind)


def _become(process: Process, new: Any) -> None:
    actor = process.actor
    if actor.__class__ is not new:
        actor.__class__ = new
    for name, value in state_of_actor(actor).items():
        # A method of its own that it keeps, as a callback say, would go on as the old one.
        if isinstance(value, MethodType) and value.__self__ is actor:
            object.__setattr__(actor, name, getattr(actor, value.__name__))
    _rebook(process, new._kind)


async def _run_hook(process: Process, old: type, extra: object, timeout: float | None) -> None:
    actor = process.actor
    hook = getattr(actor, "code_change", None)
    result = None
    if hook is not None:
        owners, task = process.sched.owners, current_task()
        owners[task] = process
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                result = hook(getattr(old, "code_version", None), extra)
                if inspect.isawaitable(result):
                    result = await result
        finally:
            del owners[task]
    if isinstance(actor, StateMachine) and not process.flags & DEAD:
        phase = result.state if isinstance(result, NextState) else actor.phase
        actor._check_state(phase)
        actor.phase = phase


def _rebook(process: Process, kind: Kind) -> None:
    """Give it another class's mailbox rules: what is queued is booked as these want it."""
    old, process.kind = process.kind, kind
    extras = process.extras
    if not old.special and not kind.special:
        return
    process.spill()
    process.spill()
    queued = [*reversed(process.front), *process.box]
    extras = process.more()
    free = [message.key is FREE if message.__class__ is Keyed else message.__class__ in EXEMPT for message in queued]
    queued = [message.item if message.__class__ is Keyed else message for message in queued]
    counted = [not exempt and message.__class__ is not Resume for message, exempt in zip(queued, free, strict=True)]
    weights = [weight(message) if count else 0 for message, count in zip(queued, counted, strict=True)]
    if old.settings.max_bytes is not None:
        extras.bytes -= sum(weights)
    if kind.settings.max_bytes is not None:
        extras.bytes += sum(weights)
    extras.keys = None
    process.front = EMPTY
    process.box = [
        message if not kind.special else Keyed(FREE, message) if exempt else keyed(process, message)
        for message, exempt in zip(queued, free, strict=True)
    ]
    process.flags &= ~(FRONT | LIMITS)
    if process.box:
        process.flags |= MIXED
    else:
        process.box = EMPTY
    if kind.special or extras.held is not None:
        process.flags |= LIMITS


# -- subclasses in other modules


async def _move_elsewhere(
    sched: Scheduler, successors: dict[type, type], extra: object, timeout: float | None, tally: _Tally
) -> None:
    foreign = [
        cls for cls in descendants(BaseActor) if cls not in successors and any(b in successors for b in cls.__bases__)
    ]
    for cls in foreign:
        family = [cls, *descendants(cls)]
        members = [process for process in list(sched.processes.values()) if type(process.actor) in family]
        held: list[Process] = []
        try:
            await _rebase(cls, family, successors, members, held, extra, timeout)
        except Exception as exc:
            for process in members:
                tally.refused(process, exc)
        else:
            for process in members:
                tally.done(process)
        finally:
            for process in held:
                resume(process.pid)


async def _rebase(
    cls: type,
    family: list[type],
    successors: dict[type, type],
    members: list[Process],
    held: list[Process],
    extra: object,
    timeout: float | None,
) -> None:
    """Put new bases under ``cls``, with all actors of its family held still; all move, or none."""

    async def hold(process: Process) -> None:
        try:
            await _hold(process, timeout)
            held.append(process)
        except CallExit as exc:
            if not process.flags & DEAD:
                failures.append(exc)

    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        for process in members:
            nursery.start_soon(hold, process)
    if failures:
        raise failures[0]
    bases = cls.__bases__
    kinds = {member: member._kind for member in family}  # type: ignore[attr-defined]
    undo = [_Undo(process) for process in held]
    old = next(base for base in bases if base in successors)
    try:
        cls.__bases__ = tuple(successors.get(base, base) for base in bases)
        for member in family:
            member._kind = Kind(member, ProcessActor if issubclass(member, ProcessActor) else Actor)  # type: ignore[attr-defined]
        for process in held:
            _become(process, type(process.actor))
            await _in_a_task(_run_hook, process, old, extra, timeout)
    except BaseException:
        cls.__bases__ = bases
        for member, kind in kinds.items():
            member._kind = kind  # type: ignore[attr-defined]
        for restore in undo:
            restore()
        raise


async def _in_a_task(fn: Callable[..., Any], *args: Any) -> None:
    """Run it in a task that is nobody's, and let its exception out as it is."""
    failure: list[Exception] = []

    async def run() -> None:
        try:
            await fn(*args)
        except Exception as exc:
            failure.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
    if failure:
        raise failure[0]
