"""The runtime's record of one actor. An idle actor is this, its pid, an empty list and the user's object: no task.

Invariant that every fast path leans on: ``flags == 0`` means alive, initialised, idle, nothing queued, nothing pending,
nothing watched by a slow path. Whatever else is true of an actor sets a bit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from contextvars import Context

    import trio

    from wsactors.actors.few import Few
    from wsactors.actors.kind import Kind
    from wsactors.actors.machine_events import Machine
    from wsactors.actors.monitors import MonitorRef
    from wsactors.actors.pid import Pid
    from wsactors.actors.requests import Request
    from wsactors.actors.scheduler import Scheduler
    from wsactors.actors.timers import Timer
    from wsactors.actors.tracing import Tracer
    from wsactors.actors.worker import Worker

QUEUED: Final = 1
"""On the run queue, or in its turn."""
STARTING: Final = 2
"""``init`` has not answered yet: messages wait."""
SUSPENDED: Final = 4
"""By introspection: messages wait."""
SIGNAL: Final = 8
"""Something waits for the next boundary between messages: a doom, a stop or a control request."""
CONTINUE: Final = 16
"""``handle_continue`` is due before any message."""
IDLE: Final = 32
"""An idle time-out is armed."""
TASK: Final = 64
"""Process-style: it has its own task, which reads the mailbox itself."""
LIMITS: Final = 128
"""Its mailbox needs a look at every message: byte limit, conflation or high-water mark."""
TRACED: Final = 256
"""Somebody traces it."""
DEBUG: Final = 512
"""Its node runs in debug mode: messages are checked."""
DYING: Final = 1024
"""No further message will be handled; its tasks are unwinding."""
DEAD: Final = 2048
"""Gone."""
MIXED: Final = 4096
"""Something in its mailbox is not a plain message: a cast, a call, an Exit."""
FRONT: Final = 8192
"""``front`` is not empty."""

ENVELOPED: Final = QUEUED | MIXED
"""All that is to be said of an actor with a cast or a call to handle."""
LONG: Final = QUEUED | FRONT
"""All that is to be said of an actor that works off a long queue of plain messages."""

PARKED: Final = QUEUED | STARTING | SUSPENDED | DYING | DEAD
"""Any of these: a new message must not put the actor on the run queue."""
LASTING: Final = LIMITS | TRACED | DEBUG | TASK
"""Bits that stay over the actor's life and do not mean it has something to do."""


Hook: TypeAlias = Callable[["Pid"], object]
Hooks: TypeAlias = dict[Hashable, Hook] | tuple[Hashable, Hook]
"""One alone is a tuple, which is a quarter of the smallest dict."""

NOTHING: Final[Any] = object()
"""No message."""


class Process:
    """One actor to the runtime.

    Its mailbox, oldest first: ``front`` (reversed; what a long turn has detached), ``first``, ``box``. A message to an idle
    actor goes into ``first``: one slot, where a list would be allocated and freed for each.
    """

    __slots__ = ("actor", "box", "extras", "first", "flags", "front", "handled", "kind", "parent", "pid", "sched")

    actor: Any
    box: list[Any]
    extras: Extras | None
    flags: int
    first: Any
    front: list[Any]
    handled: int
    kind: Kind
    parent: Pid | None
    pid: Pid
    sched: Scheduler

    def more(self) -> Extras:
        """The rarely needed part, made on first use."""
        extras = self.extras
        if extras is None:
            extras = self.extras = Extras()
        return extras

    def __len__(self) -> int:
        return len(self.box) + len(self.front) + (self.first is not NOTHING)

    def queue(self, message: Any) -> None:
        """Append to the mailbox; no policy, no waking."""
        if self.box is EMPTY:
            self.box = [message]
        else:
            self.box.append(message)

    def spill(self) -> None:
        """Move ``first`` to where it stands in the order, so that ``front`` and ``box`` are all there is."""
        if self.first is not NOTHING:
            self.box = [self.first, *self.box]
            self.first = NOTHING

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.kind.cls.__qualname__} flags={self.flags:#x} queued={len(self)}>"


EMPTY: Final[list[Any]] = []
"""The ``front`` and ``box`` of every actor that has none. Never appended to: ``Process.queue`` makes a list when needed."""


class Halt:
    """A stop on its way: the reason, and the call it answers after ``terminate``."""

    __slots__ = ("answer", "has_answer", "message", "phase", "reason", "request")

    def __init__(
        self,
        reason: Any,
        request: Request | None = None,
        answer: Any = None,
        has_answer: bool = False,
        message: Any = None,
        phase: str = "",
    ) -> None:
        self.reason = reason
        self.request = request
        self.answer = answer
        self.has_answer = has_answer
        self.message = message
        """What it was handling, for the crash report."""
        self.phase = phase
        """What it was at, where that was no message: ``init``."""


class Extras:
    """What most actors never need: made on first use, so that an idle actor does not pay for it."""

    __slots__ = (
        "argument",
        "blocked",
        "bytes",
        "calling",
        "context",
        "control",
        "coroutine",
        "doom",
        "grace",
        "halt",
        "held",
        "high",
        "high_told",
        "hooks",
        "idle",
        "keys",
        "last",
        "links",
        "monitors",
        "names",
        "on_death",
        "outstanding",
        "refused",
        "scopes",
        "serving",
        "since",
        "start",
        "suspends",
        "tasks",
        "timers",
        "tracers",
        "waiter",
        "watchers",
    )

    def __init__(self) -> None:  # noqa: PLR0915 - a statement per field
        self.argument: Any = None
        """Of the pending ``handle_continue``."""
        self.blocked: Worker | None = None
        """The worker that its blocked handler occupies."""
        self.bytes = 0
        self.calling: Process | None = None
        """Debug mode: whom its handler waits for in a call."""
        self.context: Context | None = None
        """Its own context, once a handler has set a context variable."""
        self.control: deque[Callable[[], None]] | None = None
        """Introspection requests for the next boundary."""
        self.coroutine: Any = None
        """Of the blocked handler, for stack reports."""
        self.doom: Any = None
        """Exit reason recorded by the control lane. Reasons live here, never in a Cancelled."""
        self.grace: Timer | None = None
        self.halt: Halt | None = None
        self.held: Machine | None = None
        """Of a state machine: events it has postponed or inserted, which count towards the mailbox limit."""
        self.high = 0
        self.high_told = False
        self.hooks: Hooks | None = None
        """What users have asked to be called in the death step, by their keys."""
        self.idle: Timer | None = None
        self.keys: dict[Any, Any] | None = None
        """Conflation: key to the queued envelope."""
        self.last: Any = None
        """What a process-style actor received last, for its crash report."""
        self.links: Few[Pid] = None
        self.monitors: Few[MonitorRef] = None
        """Held by this actor."""
        self.names: dict[str, None] | None = None
        self.on_death: OrderedDict[Any, Callable[[Pid], None]] | None = None
        """Owners of things that must vanish in the death step: groups, tables."""
        self.outstanding: dict[Request, None] | None = None
        """Calls it has taken and will answer later."""
        self.refused = 0
        self.scopes: Few[trio.CancelScope] = None
        """Of its tasks (``start_soon`` and ``run``)."""
        self.serving: Request | None = None
        """The call its blocked handler is answering."""
        self.since = 0.0
        """When the blocked handler began (``perf_counter`` seconds)."""
        self.start: Any = None
        """Guard of a blocked ``init``."""
        self.suspends = 0
        """How many ``suspend`` are still to be taken back."""
        self.tasks = 0
        self.timers: Few[Timer] = None
        self.tracers: tuple[Tracer, ...] = ()
        self.waiter: Any = None
        """Task that waits in ``receive``."""
        self.watchers: Few[MonitorRef] = None
        """Monitors of others on this actor."""

    def owing(self) -> bool:
        """Whether a death owes something to others, or has too much to let go of at once."""
        return bool(self.links or self.watchers or self.monitors or self.timers)
