"""The run queue and what is true of the node's actors right now.

One worker leads: it pops actors and runs their turns. Others are blocked in a handler, or idle. When a handler blocks, its worker
hands the lead to another before it passes the trap on to trio, so a blocked handler costs one task and nobody waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import Task, current_task

from wsactors.actors.timers import Timers

if TYPE_CHECKING:
    from wsactors.actors.pid import Home, Pid
    from wsactors.actors.process import Process

BUDGET: Final = 64
"""Messages (reductions) per turn."""
SLICE: Final = 0.0005
"""Seconds a leader runs turns before trio's other tasks get theirs. The promise is 2 ms plus one handler, and between two turns
of its own a task may see everybody else's twice, for trio shuffles each tick: 2 * (SLICE + BESIDE) and some collecting of
garbage."""
BESIDE: Final = 0.00025
"""Seconds for whatever else works off a long list in the same tick: exits to many, the stop of many, due timers."""
KILL_GRACE: Final = 5.0
"""Seconds an actor may take to unwind after a kill before it is declared dead all the same (and counted as a zombie)."""


class Scheduler:
    """Hot state of one node, shared by every function that sends, calls or runs turns. Owned by the ``Runtime``."""

    __slots__ = (
        "base",
        "current",
        "debug",
        "doom",
        "drained",
        "dropped_dead",
        "dropped_full",
        "epoch",
        "home",
        "idle",
        "inline",
        "inlined",
        "kill_grace",
        "lasting",
        "leader",
        "notices",
        "notifier",
        "nursery",
        "on_crash",
        "on_high_water",
        "owners",
        "pause_at",
        "plain",
        "processes",
        "recent",
        "runq",
        "runtime",
        "serial",
        "slices",
        "spawned",
        "start_worker",
        "timers",
        "turn",
        "workers",
        "zombies",
    )

    def __init__(self, home: Home, *, inline: bool = True, debug: bool = False, kill_grace: float = KILL_GRACE) -> None:
        self.home = home
        self.runq: deque[Process] = deque()
        self.leader: Any = None
        """The worker that leads (or was started to), or None."""
        self.idle: list[Any] = []
        self.workers = 0
        self.current: Process | None = None
        """Whose code runs at this very moment, if it is a handler's or an ``init``'s."""
        self.turn: Process | None = None
        """Whose turn the leader runs."""
        self.inline = inline
        self.inlined = 0
        self.epoch = 0
        """Counts the reaper's rounds: a cheap clock for how long a worker has idled."""
        self.pause_at = 0.0
        self.debug = debug
        self.kill_grace = kill_grace
        self.notices: deque[Any] = deque()
        self.notifier: Process
        self.nursery: trio.Nursery
        self.owners: dict[Task, Process] = {}
        """Tasks that belong to an actor: blocked workers, ``run`` and ``start_soon`` tasks."""
        self.processes: dict[int, Process] = {}
        self.serial = 0
        self.recent: Pid | None = None
        """Whose turn the last full slice ended in: a sample of who uses the loop."""
        self.slices = 0
        """How often a leader has begun a slice of turns."""
        self.spawned = 0
        self.dropped_dead = 0
        self.dropped_full = 0
        self.zombies = 0
        self.lasting = 0
        """Attached mailboxes among ``processes``."""
        self.drained: trio.Event | None = None
        """Set when only attached mailboxes are left."""
        self.timers = Timers()
        self.base: Context = copy_context()
        """Every actor's context starts as a copy of this: the node opener's, never a spawner's."""
        self.plain: Context = self.base.copy()
        """Shared by all inlined ``def handle_call``: what one sets, the next may see, but never the caller."""
        self.runtime: Any = None
        self.start_worker: Callable[[Scheduler], None]
        self.doom: Callable[[Process, Any], None]
        self.on_crash: Callable[[Process], None] | None = None
        self.on_high_water: Callable[[Process, int], None] | None = None

    def wake(self) -> None:
        """Somebody must lead."""
        if self.idle:
            worker = self.idle.pop()
            self.leader = worker
            worker.rouse()
        else:
            self.start_worker(self)

    def progress(self) -> int:
        """A number that grows as the node gets on with its work."""
        return self.slices + self.serial + self.inlined

    def whoami(self) -> Process | None:
        """The actor on whose behalf the calling code runs: a handler's, or of a task inside one of its nurseries."""
        if self.current is not None:
            return self.current
        try:
            task = current_task()
        except RuntimeError:  # no trio here: another thread, or outside trio.run
            return None
        return self.owner_of(task)

    def owner_of(self, task: Task | None) -> Process | None:
        """The actor that ``task``, or a task around it, belongs to."""
        owners = self.owners
        while task is not None:
            owner = owners.get(task)
            if owner is not None:
                return owner
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return None
