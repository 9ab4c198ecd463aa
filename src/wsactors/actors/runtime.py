"""One node's runtime: scheduler, timers, names, groups; everything an embedded ``Node`` opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter, time_ns
from typing import Any

import trio
from trio.lowlevel import cancel_shielded_checkpoint

from wsactors.actors import links, places
from wsactors.actors.calls import DEFAULT_TIMEOUT, RequestId, call, cast, send, send_many, send_request
from wsactors.actors.crash_reports import CrashReports
from wsactors.actors.death import deliver_notices, die, doom
from wsactors.actors.groups import Groups
from wsactors.actors.high_water import HighWater
from wsactors.actors.inspected import Inspected
from wsactors.actors.messages import Down
from wsactors.actors.monitors import MonitorRef
from wsactors.actors.pid import Home, Pid, Target, Via, new_pid
from wsactors.actors.process import EMPTY, LIMITS, NOTHING, QUEUED, STARTING, TASK, Process
from wsactors.actors.process_actor import Attached
from wsactors.actors.registry import Registry, take_name
from wsactors.actors.scheduler import BESIDE, KILL_GRACE, Scheduler
from wsactors.actors.spawn import new_process, spawn
from wsactors.actors.table_runtime import RuntimeTableHost
from wsactors.actors.tables import Tables
from wsactors.actors.tasks import start_task
from wsactors.actors.threads import FromThread
from wsactors.actors.watchdog import THRESHOLD, Watchdog
from wsactors.actors.worker import EPOCH_SECONDS, reap_idle_workers, start_worker
from wsactors.errors import NodeClosed, NoProcess, NotInActor

_last_incarnation = 0


def _incarnation() -> int:
    """Microseconds since 1970, made unique within this process."""
    global _last_incarnation
    _last_incarnation = max(time_ns() // 1_000, _last_incarnation + 1)
    return _last_incarnation


class Runtime(Inspected):
    """The living part of a node. ``Node`` adds supervision trees and the ordered stop."""

    def __init__(
        self,
        name: str,
        *,
        inline_calls: bool = True,
        debug: bool = False,
        kill_grace: float = KILL_GRACE,
        watchdog: float | None = THRESHOLD,
    ) -> None:
        if not name or not isinstance(name, str):
            raise ValueError(f"a node needs a non-empty name, got {name!r}")
        self.sched = Scheduler(Home(name, _incarnation()), inline=inline_calls, debug=debug, kill_grace=kill_grace)
        self.sched.runtime = self
        self.sched.start_worker = start_worker
        self.sched.doom = doom
        self.registry = Registry()
        self.groups = Groups()
        self.tables = Tables(RuntimeTableHost(self.sched))
        self.crash_reports = CrashReports(self.sched)
        self.sched.on_crash = self.crash_reports.note
        self.sched.on_high_water = HighWater(self.sched)
        self.watchdog = None if watchdog is None else Watchdog(self.sched, watchdog)
        self.from_thread = FromThread(self)
        """The only door from another thread."""
        self.closed = True
        self.keeper: Attached
        """Parent of whatever no actor started, and watcher of the root supervisors."""
        self.fatal_error: BaseException | None = None
        self.on_fatal: Callable[[BaseException], None] | None = None
        self._finished = trio.Event()
        self._stop = trio.Event()

    @property
    def name(self) -> str:
        """The node's name, which its pids show."""
        return self.sched.home.name

    # -- life

    async def open(self) -> None:
        """Start the scheduler in a system task: an outer cancellation must not tear actors down before their ordered stop."""
        await trio.lowlevel.checkpoint_if_cancelled()
        places.announce(self.sched)
        self.from_thread.opened()
        sched = self.sched
        sched.timers.now = trio.lowlevel.current_clock().current_time
        notifier = Process()
        notifier.flags = LIMITS  # never taken for an ordinary actor by the fast path
        notifier.box = notifier.front = EMPTY
        notifier.first = NOTHING
        notifier.pid = new_pid(sched.home, 0)
        sched.notifier = notifier
        ready = trio.Event()
        trio.lowlevel.spawn_system_task(self._main, ready, name=f"wsactors node {self.name}", context=sched.base.copy())
        with trio.CancelScope(shield=True):  # a moment; leaving in it would leave a node behind
            await ready.wait()
        if self.watchdog is not None:
            self.watchdog.start()
        self.closed = False
        self.keeper = self._lend(None)

    def _lend(self, name: str | None) -> Attached:
        """A mailbox without an actor."""
        me = Attached()
        process = new_process(self.sched, me, Attached._kind, None)
        me._process = process
        process.flags = (process.flags & ~(STARTING | QUEUED)) | TASK
        if name is not None:
            try:
                self.registry.register(name, process.pid)
            except BaseException:
                die(process, "normal")
                raise
        self.sched.lasting += 1
        return me

    def watch_roots(self, tell: Callable[[Down], None]) -> None:
        """Have the Downs of what the keeper monitors handed to ``tell``."""

        async def watch() -> None:
            while True:
                message = await self.keeper.receive()
                if isinstance(message, Down):
                    tell(message)

        start_task(self.keeper._process, watch, ())

    async def drain(self) -> None:
        """Wait until no actor is left."""
        while len(self.sched.processes) > self.sched.lasting:
            self.sched.drained = trio.Event()
            await self.sched.drained.wait()
        self.sched.drained = None

    async def _main(self, ready: trio.Event) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self.sched.nursery = nursery
                nursery.start_soon(self.sched.timers.run, name="wsactors timers")
                nursery.start_soon(self._reap, name="wsactors reaper")
                nursery.start_soon(self.tables.housekeeping, name="wsactors tables")
                nursery.start_soon(self.crash_reports.run, name="wsactors crash reports")
                ready.set()
                await self._stop.wait()
                nursery.cancel_scope.cancel()
        except BaseException as exc:
            # A bug of the runtime itself (actors' code cannot get here), or trio's own end. Not to become trio's internal error.
            if not isinstance(exc, trio.Cancelled):
                self.fatal(exc)
            else:
                raise
        finally:
            self.closed = True
            places.withdraw(self.sched)
            self._finished.set()

    @trio.lowlevel.enable_ki_protection
    async def _reap(self) -> None:
        while True:
            await trio.sleep(EPOCH_SECONDS)
            self.sched.epoch += 1
            while reap_idle_workers(self.sched):  # noqa: ASYNC110 - work in slices, not a wait for something
                await trio.sleep(0.01)

    async def close(self) -> None:
        """End every task of the runtime. Actors still alive are killed."""
        self.closed = True
        self.sched.lasting = 0
        for process in list(self.sched.processes.values()):
            doom(process, "killed")
        self._stop.set()
        with trio.CancelScope(shield=True), trio.move_on_after(self.sched.kill_grace):
            await self._finished.wait()
        # Only a zombie's code may still hold the nursery open. It has no actor, and the node no name, any more.
        places.withdraw(self.sched)
        self.sched.notifier.flags |= QUEUED  # and no worker to deliver what these deaths owe: that is done here
        for process in list(self.sched.processes.values()):
            die(process, "killed")
        while self.sched.notices:
            deliver_notices(self.sched, perf_counter() + BESIDE)
            await cancel_shielded_checkpoint()
        await self.tables.close()
        self.crash_reports.flush()
        if self.watchdog is not None:
            self.watchdog.stop()

    def fatal(self, exc: BaseException) -> None:
        """Something no actor may swallow (KeyboardInterrupt, SystemExit, a bug of the runtime): the node ends with it."""
        if self.fatal_error is None:
            self.fatal_error = exc
        if self.on_fatal is not None:
            self.on_fatal(exc)

    # -- actors

    async def spawn(
        self,
        cls: type[Any],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | Via | None = None,
        link: bool = False,
        monitor: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Start an actor and wait for its ``init``; see ``Actor.spawn``. ``link`` and ``monitor`` need a calling actor."""
        sched = self.sched
        if self.closed:
            raise NodeClosed(f"node {self.name!r} is not open")
        parent = sched.current
        if parent is None:
            parent = sched.whoami() if link or monitor else self.keeper._process
        return await spawn(sched, parent, cls, args, kwargs, name, link, monitor, timeout)

    def _process(self, target: Target) -> Process | None:
        return places.resolve(target, self.sched)

    def _pid(self, target: Target) -> Target:
        if target.__class__ is str:
            pid = self.registry.whereis(target)
            if pid is not None:
                return pid
            raise NoProcess(target)
        return target

    async def call(self, target: Target, message: Any, timeout: float | None = DEFAULT_TIMEOUT) -> Any:
        """``wsactors.call`` with names of this node."""
        return await call(self._pid(target), message, timeout)

    def send(self, target: Target, message: Any) -> bool:
        """``wsactors.send`` with names of this node."""
        process = self._process(target)
        return process is not None and send(process.pid, message)

    def cast(self, target: Target, message: Any) -> bool:
        """``wsactors.cast`` with names of this node."""
        process = self._process(target)
        return process is not None and cast(process.pid, message)

    def send_many(self, pids: Iterable[Pid], message: Any) -> int:
        """``wsactors.send_many``."""
        return send_many(pids, message)

    def send_request(
        self, target: Target, message: Any, *, timeout: float | None = None, label: Any = None
    ) -> RequestId:
        """``wsactors.send_request`` with names of this node."""
        process = self._process(target)
        return send_request(target if process is None else process.pid, message, timeout=timeout, label=label)

    def exit(self, target: Target, reason: Any) -> bool:
        """Send an exit signal; False when nobody is there. ``kill`` cannot be trapped."""
        process = self._process(target)
        if process is None:
            return False
        sender = self.sched.whoami()
        return links.send_exit((sender or self.keeper._process).pid, process.pid, reason)

    async def exit_many(self, pids: Iterable[Pid], reason: Any) -> int:
        """Send an exit signal to many, a slice of a millisecond at a time; how many there were."""
        sender = self.sched.whoami()
        origin = (sender or self.keeper._process).pid
        count = 0
        until = perf_counter() + BESIDE
        for pid in pids:
            count += links.send_exit(origin, pid, reason)
            if perf_counter() > until:
                await cancel_shielded_checkpoint()
                until = perf_counter() + BESIDE
        return count

    def whereis(self, name: str) -> Pid | None:
        """The live actor registered as ``name``."""
        return self.registry.whereis(name)

    def register(self, name: str | Via, pid: Pid) -> None:
        """Give a live actor a name. Raises ``NameTaken`` or ``NoProcess``."""
        take_name(self.registry, name, pid)

    def unregister(self, name: str) -> None:
        """Forget a name."""
        self.registry.unregister(name)

    def monitor(self, target: Target) -> MonitorRef:
        """Watch ``target`` for the calling actor or attached task's mailbox. Raises ``NotInActor`` elsewhere."""
        watcher = self.sched.whoami()
        if watcher is None:
            raise NotInActor(
                "monitor needs a mailbox for the Down: use `async with node.attach() as me: me.monitor(...)`"
            )
        return links.monitor(
            watcher, target if isinstance(target, Pid | str) else str(target.name), self._process(target)
        )

    @asynccontextmanager
    async def attach(self, name: str | None = None) -> AsyncIterator[Attached]:
        """Lend the current task a mailbox and a pid, for the length of the block. It traps exits.

        >>> async with node.attach() as me:                          # doctest: +SKIP
        ...     ref = me.monitor("counter")
        ...     down = await me.receive(timeout=5)
        """
        if self.closed:
            raise NodeClosed(f"node {self.name!r} is not open")
        me = self._lend(name)
        task = trio.lowlevel.current_task()
        outer = self.sched.owners.get(task)
        self.sched.owners[task] = me._process
        try:
            yield me
        finally:
            if outer is None:
                self.sched.owners.pop(task, None)
            else:
                self.sched.owners[task] = outer
            self.sched.lasting -= 1
            doom(me._process, "normal")

    def find(self, text: str) -> Pid | None:
        """The live actor whose pid prints as ``text`` (``<node.serial>``), or so registered. For tools, not for programs."""
        if (pid := self.registry.whereis(text)) is not None:
            return pid
        serial = text.strip("<>").rpartition(".")[2]
        process = self.sched.processes.get(int(serial)) if serial.isdigit() else None
        return process.pid if process is not None and repr(process.pid) == f"<{text.strip('<>')}>" else None
