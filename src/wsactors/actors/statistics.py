"""What tools see of a node: a row per actor, the tree of who started whom, and the totals.

Everything here reads and nothing is counted for it on a hot path. Rows are made a slice of a millisecond at a time, so that
looking at a hundred thousand actors never holds the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import attrs
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint

from wsactors.actors.few import count
from wsactors.actors.process import DEAD, DYING, QUEUED, STARTING, SUSPENDED, TASK, Extras, Process
from wsactors.actors.redact import safe_repr

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.scheduler import Scheduler

LOOK: Final = 0.0005
"""Seconds of rows made before other tasks get a turn."""
GENERATIONS: Final = 32
"""Ancestors shown at most."""

State = Literal["idle", "queued", "running", "blocked", "suspended", "starting", "dying", "dead"]


@attrs.frozen
class ProcessInfo:
    """One actor at one moment."""

    pid: Pid
    names: tuple[str, ...]
    id: str
    """What its supervisor calls it; empty without one, or where the supervisor knows it by pid alone."""
    cls: str
    """Qualified name of its class."""
    style: Literal["actor", "process", "attached"]
    """Callback-style, process-style, or a mailbox lent to a task that is no actor."""
    supervisor: bool
    state: State
    """``blocked``: inside a handler that awaits something (a process-style actor: anywhere but in ``receive``)."""
    mailbox: int
    """Messages that wait, those already detached for the current turn included."""
    held: int
    """Events a state machine has postponed or inserted."""
    handled: int
    """Messages handled so far: its reductions."""
    high_water: int
    """The longest mailbox a turn has found; counted from the first time the actor needed more than the bare minimum."""
    refused: int
    """Messages its mailbox policy refused or dropped."""
    seconds: float
    """How long its blocked handler has been at it; 0.0 if none is."""
    cpu: float | None
    """Share of the loop's time in the last seconds, 0 to 1, sampled by the watchdog; None without one."""
    trap_exit: bool
    links: int
    monitors: int
    """Monitors it holds on others."""
    monitored_by: int
    tasks: int
    """Tasks of its own: ``run`` and ``start_soon``."""
    timers: int
    parent: Pid | None
    ancestors: tuple[Pid, ...]
    """Who started it, who started that one, and so on; it ends with the first that is dead, or after 32."""

    @property
    def reductions(self) -> int:
        """As OTP counts work; here one message is one reduction."""
        return self.handled


@attrs.frozen
class NodeInfo:
    """A node in numbers, now."""

    name: str
    incarnation: int
    """Which run of that name: microseconds since 1970."""
    actors: int
    attached: int
    """Mailboxes lent to tasks that are no actors; one is the node's own."""
    run_queue: int
    """Actors with something to do."""
    workers: int
    """Tasks that run handlers: leading, blocked or idle."""
    idle_workers: int
    timers: int
    notices: int
    """Deaths whose Exit and Down messages are still being delivered."""
    spawned: int
    """Actors started since the node opened."""
    inlined: int
    """Calls answered without a task switch."""
    dropped_dead: int
    """Messages to actors that were dying."""
    dropped_full: int
    """Messages refused or dropped by mailbox policies."""
    zombies: int
    """Actors declared dead although their code had not unwound within ``kill_grace``."""
    crashes: int
    crash_reports_suppressed: int
    """Crashes beyond the rate at which they are reported."""
    holds: int
    """Times the watchdog saw the loop held too long."""


def state_of(process: Process) -> State:
    """What it is doing, in a word."""
    flags, extras, sched = process.flags, process.extras, process.sched
    if flags & DEAD:
        return "dead"
    if flags & DYING or (extras is not None and extras.halt is not None):
        return "dying"
    if flags & STARTING:
        return "starting"
    if process is sched.current:
        return "running"
    if extras is not None and extras.blocked is not None:
        return "blocked"
    if flags & SUSPENDED:
        return "suspended"
    if process is sched.turn:
        return "running"
    if flags & TASK:
        return "idle" if process.kind.lasting or (extras is not None and extras.waiter is not None) else "blocked"
    return "queued" if flags & QUEUED else "idle"


def describe(
    process: Process, shares: Mapping[int, float] | None = None, known: dict[Pid, tuple[Pid, ...]] | None = None
) -> ProcessInfo:
    """The row of one actor. ``shares``: the watchdog's samples by serial; ``known``: ancestors of pids already looked at."""
    extras, kind = process.extras, process.kind
    state = state_of(process)
    mailbox = len(process)
    return ProcessInfo(
        pid=process.pid,
        names=tuple(extras.names) if extras is not None and extras.names else (),
        id=_child_id(process),
        cls=kind.cls.__qualname__,
        style="attached" if kind.lasting else "process" if kind.is_task else "actor",
        supervisor=is_supervisor(kind.cls),
        state=state,
        mailbox=mailbox,
        held=len(extras.held) if extras is not None and extras.held is not None else 0,
        handled=process.handled,
        high_water=mailbox if extras is None else max(extras.high, mailbox),
        refused=0 if extras is None else extras.refused,
        seconds=_seconds(extras),
        cpu=None if shares is None else shares.get(process.pid.serial, 0.0),
        trap_exit=process.actor is not None and bool(process.actor.trap_exit),
        links=0 if extras is None else count(extras.links),
        monitors=0 if extras is None else count(extras.monitors),
        monitored_by=0 if extras is None else count(extras.watchers),
        tasks=0 if extras is None else count(extras.scopes),
        timers=0 if extras is None else count(extras.timers),
        parent=process.parent,
        ancestors=ancestors_of(process.parent, known),
    )


def _child_id(process: Process) -> str:
    parent = None if process.parent is None else process.parent._process
    if parent is None or not is_supervisor(parent.kind.cls):
        return ""
    known = getattr(parent.actor, "child_id", None)
    child = None if known is None else known(process.pid)
    return "" if child is None else child if isinstance(child, str) else safe_repr(child, 60)


def _seconds(extras: Extras | None) -> float:
    """Since its blocked handler (or ``init``) began."""
    if extras is None or (extras.blocked is None and extras.start is None):
        return 0.0
    return perf_counter() - extras.since


def is_supervisor(cls: type) -> bool:
    """Whether a class says, with OTP's word, that it supervises."""
    return getattr(cls, "child_type", None) == "supervisor"


def ancestors_of(parent: Pid | None, known: dict[Pid, tuple[Pid, ...]] | None = None) -> tuple[Pid, ...]:
    """``parent`` and who started it, as far as they live."""
    if parent is None:
        return ()
    if known is not None and parent in known:
        return known[parent]
    found: list[Pid] = []
    pid: Pid | None = parent
    while pid is not None and len(found) < GENERATIONS:
        found.append(pid)
        process = pid._process
        pid = None if process is None else process.parent
    line = tuple(found)
    if known is not None:
        known[parent] = line
    return line


class Processes:
    """Rows of all actors, to be walked with ``async for``; those that die meanwhile are left out, new ones too.

    Reading all of them takes a few microseconds per actor, in slices between which everything else runs.

    >>> busy = [row async for row in node.processes() if row.mailbox > 100]     # doctest: +SKIP
    """

    def __init__(self, sched: Scheduler, shares: Mapping[int, float] | None = None) -> None:
        self._sched = sched
        self._shares = shares
        self._known: dict[Pid, tuple[Pid, ...]] = {}
        self._rest: Iterator[Process] | None = None
        self._until = 0.0

    def __len__(self) -> int:
        """How many there are now."""
        return len(self._sched.processes)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ProcessInfo:
        now = perf_counter()
        if self._rest is None:
            await checkpoint()
            self._rest = iter(list(self._sched.processes.values()))
            self._until = perf_counter() + LOOK
        elif now > self._until:
            await checkpoint()
            self._until = perf_counter() + LOOK
        for process in self._rest:
            if not process.flags & DEAD:
                return describe(process, self._shares, self._known)
        raise StopAsyncIteration


@attrs.define(eq=False)
class Branch:
    """An actor and those it started, in start order."""

    info: ProcessInfo
    children: list[Branch] = attrs.field(factory=list, repr=False)

    @property
    def supervisors(self) -> list[Branch]:
        """The children that are supervisors: the branches of the supervision tree."""
        return [child for child in self.children if child.info.supervisor]

    def walk(self) -> Iterator[tuple[int, Branch]]:
        """This branch and all below it, depth first, with their depth."""
        stack = [(0, self)]
        while stack:
            depth, branch = stack.pop()
            yield depth, branch
            stack.extend((depth + 1, child) for child in reversed(branch.children))


async def process_tree(rows: Processes) -> list[Branch]:
    """The live tree: roots are actors whose starter is dead or none. Made in slices, like the rows."""
    branches: dict[Pid, Branch] = {}
    async for row in rows:
        branches[row.pid] = Branch(row)
    roots: list[Branch] = []
    until = perf_counter() + LOOK
    for branch in branches.values():
        above = None if branch.info.parent is None else branches.get(branch.info.parent)
        (roots if above is None else above.children).append(branch)
        if perf_counter() > until:
            await cancel_shielded_checkpoint()
            until = perf_counter() + LOOK
    return roots


def node_info(runtime: Any) -> NodeInfo:
    """The totals of one ``Runtime``."""
    sched = runtime.sched
    return NodeInfo(
        name=sched.home.name,
        incarnation=sched.home.incarnation,
        actors=len(sched.processes) - sched.lasting,
        attached=sched.lasting,
        run_queue=len(sched.runq),
        workers=sched.workers,
        idle_workers=len(sched.idle),
        timers=len(sched.timers),
        notices=len(sched.notices),
        spawned=sched.spawned,
        inlined=sched.inlined,
        dropped_dead=sched.dropped_dead,
        dropped_full=sched.dropped_full,
        zombies=sched.zombies,
        crashes=runtime.crash_reports.crashes,
        crash_reports_suppressed=runtime.crash_reports.suppressed,
        holds=0 if runtime.watchdog is None else runtime.watchdog.holds,
    )
