"""Our side of benchmarks/actors.py: the actors, and one function per kind of round.

Every actor here is a finished one: made by ``node.spawn`` with its handshake, with a mailbox, limits and statistics.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import trio
from _harness import Sample, Stopwatch
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from wsactors.actors import Actor, Caller, Down, Pid, call, send, send_many
from wsactors.actors.introspection import statistics
from wsactors.node.boot import MIDDLE_EVERY, OLD_EVERY
from wsactors.node.settings import NodeSettings
from wsactors.supervision.node import Node


class Tally:
    """Counts what all actors of a round handled; ``finished`` is set by the last one."""

    __slots__ = ("done", "finished", "target")

    def __init__(self) -> None:
        self.done = 0
        self.target = 0
        self.finished = trio.Event()

    def expect(self, target: int) -> None:
        """Begin a round that ends after ``target`` messages."""
        self.done, self.target, self.finished = 0, target, trio.Event()

    def check(self) -> None:
        """The round handled exactly what it should have."""
        if self.done != self.target:
            raise AssertionError(f"{self.done} messages handled, expected {self.target}")


class Counter(Actor):
    """Counts its messages in a tally that all share."""

    async def init(self, tally: Tally) -> None:
        self.tally = tally

    def handle_info(self, message: object) -> None:
        tally = self.tally
        tally.done += 1
        if tally.done == tally.target:
            tally.finished.set()


class AsyncCounter(Counter):
    """The same with an ``async`` handler, which runs in its actor's own context."""

    async def handle_info(self, message: object) -> None:  # type: ignore[override]
        tally = self.tally
        tally.done += 1
        if tally.done == tally.target:
            tally.finished.set()


class Echo(Actor):
    """Replies with the message; a ``def`` handler, so that a call may run inline."""

    def handle_call(self, message: object, caller: Caller) -> object:
        return message


class AsyncEcho(Actor):
    """Replies with the message from an ``async`` handler: always through the mailbox."""

    async def handle_call(self, message: object, caller: Caller) -> object:
        return message


class CallingActor(Actor):
    """Calls another actor in a loop from inside its own handler."""

    async def handle_call(self, message: tuple[Pid, int], caller: Caller) -> object:
        target, count = message
        watch = Stopwatch()
        for number in range(count):
            await call(target, number)
        return watch.sample(count)


# ---------------------------------------------------------------- fan-out


@dataclass(slots=True)
class Fanout:
    """30,000 actors, each tenth monitored; in a round each tenth one has a second message waiting."""

    node: Node
    pids: list[Pid]
    tally: Tally
    rounds: int = 0

    @classmethod
    async def start(cls, node: Node, actor: type[Counter], count: int, monitor: Any) -> Fanout:
        """Spawn the actors; ``monitor`` is the monitor method of whoever watches each tenth of them."""
        tally = Tally()
        pids = [await node.spawn(actor, tally) for _ in range(count)]
        for pid in pids[::10]:
            monitor(pid)
        return cls(node, pids, tally)

    async def by_send_many(self) -> Sample:
        """One round, the messages sent by ``send_many``; milliseconds."""
        waiting = self.pids[5::10]
        tally = self._begin(waiting)
        watch = Stopwatch()
        refused = send_many(waiting, ("tick", 0))
        refused += send_many(self.pids, ("tick", 1))
        await tally.finished.wait()
        return self._end(watch.sample(1000), refused)

    async def by_send(self) -> Sample:
        """One round, the messages sent one by one with ``send``; milliseconds."""
        waiting = self.pids[5::10]
        tally = self._begin(waiting)
        refused = 0
        watch = Stopwatch()
        for pid in waiting:
            refused += not send(pid, ("tick", 0))
        for pid in self.pids:
            refused += not send(pid, ("tick", 1))
        await tally.finished.wait()
        return self._end(watch.sample(1000), refused)

    def verify(self) -> None:
        """Every single actor handled every one of its messages, no more and no fewer."""
        for index, pid in enumerate(self.pids):
            expected = self.rounds * (2 if index % 10 == 5 else 1)
            handled = statistics(pid).handled
            if handled != expected:
                raise AssertionError(f"actor {index} handled {handled} messages, expected {expected}")

    def _begin(self, waiting: Sequence[Pid]) -> Tally:
        self.tally.expect(len(self.pids) + len(waiting))
        self.rounds += 1
        return self.tally

    def _end(self, sample: Sample, refused: int) -> Sample:
        self.tally.check()
        if refused:
            raise AssertionError(f"{refused} messages refused")
        return sample


# ---------------------------------------------------------------- spawn and calls


async def spawn_round(node: Node, count: int) -> Sample:
    """Spawn ``count`` actors with the start handshake, then end them untimed; µs each."""
    tally = Tally()
    watch = Stopwatch()
    pids = [await node.spawn(Counter, tally) for _ in range(count)]
    sample = watch.sample(count)
    await node.exit_many(pids, "kill")
    return sample


async def call_round(target: Pid, count: int) -> Sample:
    """``count`` calls one after another from a plain task; µs each."""
    watch = Stopwatch()
    for number in range(count):
        reply = await call(target, number)
        if reply != number:
            raise AssertionError(f"reply {reply!r} to {number}")
    return watch.sample(count)


class BareRoundTrip:
    """The floor of a call between tasks: two tasks wake each other through a slot, nothing else; µs each."""

    def __init__(self) -> None:
        self.slot: object = None
        self.server: Task | None = None
        self.client: Task | None = None

    async def serve(self) -> None:
        """Answer for ever; runs in its own task."""
        self.server = current_task()
        while True:
            await wait_task_rescheduled(_abort)
            if self.client is not None:
                reschedule(self.client)

    async def round(self, count: int) -> Sample:
        """``count`` round trips to the serving task."""
        self.client = current_task()
        watch = Stopwatch()
        for number in range(count):
            self.slot = number
            assert self.server is not None
            reschedule(self.server)
            await wait_task_rescheduled(_abort)
        return watch.sample(count)


def _abort(_: RaiseCancelT) -> Abort:
    return Abort.SUCCEEDED


# ---------------------------------------------------------------- tables


async def lookup_round(table: Any, keys: Sequence[str], count: int) -> Sample:
    """``count`` reads by key, of a table or of a dict (both have ``get``); µs each."""
    get = table.get
    watch = Stopwatch()
    found = 0
    for _ in range(count // len(keys)):
        for key in keys:
            found += get(key) is not None
    sample = watch.sample(count)
    if found != count:
        raise AssertionError(f"{found} of {count} rows found")
    return sample


# ---------------------------------------------------------------- mass death


class Watcher(Actor):
    """Monitors many actors and counts their Downs."""

    async def init(self, tally: Tally) -> None:
        self.tally = tally

    async def handle_call(self, message: Sequence[Pid], caller: Caller) -> object:
        for index, pid in enumerate(message):
            self.monitor(pid)
            if not index % 1000:
                await trio.lowlevel.checkpoint()
        return len(message)

    def handle_info(self, message: object) -> None:
        match message:
            case Down():
                self.tally.done += 1
                if self.tally.done == self.tally.target:
                    self.tally.finished.set()


class Hub(Actor):
    """Linked to many actors: they die with it."""

    async def handle_call(self, message: Sequence[Pid], caller: Caller) -> object:
        for index, pid in enumerate(message):
            self.link(pid)
            if not index % 1000:
                await trio.lowlevel.checkpoint()
        return len(message)


@dataclass(slots=True)
class Hold:
    """How long the loop was held: the longest gap between two turns of a task that is always ready, in ms."""

    wall: float = 0.0
    cpu: float = 0.0

    async def tick(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure until cancelled."""
        wall, cpu = time.perf_counter(), time.thread_time()
        task_status.started()
        while True:
            await trio.lowlevel.checkpoint()
            wall_now, cpu_now = time.perf_counter(), time.thread_time()
            self.wall = max(self.wall, (wall_now - wall) * 1e3)
            self.cpu = max(self.cpu, (cpu_now - cpu) * 1e3)
            wall, cpu = wall_now, cpu_now


COLLECTOR = (NodeSettings().gc_threshold, MIDDLE_EVERY, OLD_EVERY)
"""Thresholds of the garbage collector as ``wsactors run`` sets them."""


@contextmanager
def collector_of_a_node() -> Iterator[None]:
    """Collect garbage as in a node that the command line runs: what is there is frozen, the old are hardly ever looked at.

    A collection of the old takes 0.2 s at 100,000 actors, and a library cannot forbid it to the program it is embedded in.
    """
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@asynccontextmanager
async def holding() -> AsyncIterator[Hold]:
    """Measure the hold of the loop by what the block sets off."""
    hold = Hold()
    with collector_of_a_node():
        async with trio.open_nursery() as nursery:
            await nursery.start(hold.tick)
            yield hold
            nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Death:
    """One mass death: longest hold of the loop (ms wall, ms CPU) and seconds until every Down was handled."""

    hold: Sample
    downs: float


async def kill_each(node: Node, count: int) -> Death:
    """``count`` actors, each monitored by one watcher, are killed by one ``exit_many``."""
    tally, watcher, pids = await _watched(node, count)
    async with holding() as hold:
        start = time.perf_counter()
        await node.exit_many(pids, "kill")
        await tally.finished.wait()
        took = time.perf_counter() - start
    await node.exit_many([watcher], "kill")
    return Death(Sample(hold.wall, hold.cpu), took)


async def kill_hub(node: Node, count: int) -> Death:
    """A hub linked to ``count`` actors, each monitored by one watcher, is killed: they all die of the link."""
    tally, watcher, pids = await _watched(node, count)
    hub = await node.spawn(Hub)
    await node.call(hub, pids, timeout=60)
    async with holding() as hold:
        start = time.perf_counter()
        node.exit(hub, "kill")
        await tally.finished.wait()
        took = time.perf_counter() - start
    await node.exit_many([watcher], "kill")
    return Death(Sample(hold.wall, hold.cpu), took)


async def kill_one_of_many_watchers(node: Node, count: int) -> Death:
    """One actor monitored by ``count`` others is killed: each of them gets its Down."""
    tally = Tally()
    tally.expect(count)
    target = await node.spawn(Hub)
    watchers = [await node.spawn(Watcher, tally) for _ in range(count)]
    for watcher in watchers:
        await node.call(watcher, [target], timeout=60)
    async with holding() as hold:
        start = time.perf_counter()
        node.exit(target, "kill")
        await tally.finished.wait()
        took = time.perf_counter() - start
    tally.check()
    await node.exit_many(watchers, "kill")
    return Death(Sample(hold.wall, hold.cpu), took)


async def _watched(node: Node, count: int) -> tuple[Tally, Pid, list[Pid]]:
    tally = Tally()
    tally.expect(count)
    watcher = await node.spawn(Watcher, tally)
    pids = [await node.spawn(Echo) for _ in range(count)]
    await node.call(watcher, pids, timeout=60)
    return tally, watcher, pids
