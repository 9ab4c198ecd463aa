"""The lead process: starts the workers, tells them how many users there should be, and gathers what they report."""

from __future__ import annotations

import random
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import attrs
import trio

from wsactors.dj.child import Child, describe_exit, run_child
from wsactors.loadtest.control import Begin, Done, Finish, Link, LinkClosed, Message, Plan, Quiet, Ready, Report, Want
from wsactors.loadtest.results import Results
from wsactors.loadtest.scenario import Sharing, Stages, part_of
from wsactors.loadtest.settings import LoadSettings, as_document
from wsactors.loadtest.target import Target

__all__ = ["HarnessFault", "HarnessRefused", "lead", "make_room"]

MODULE: Final = "wsactors.loadtest.worker"
_TICK: Final = 0.1
"""Seconds between two looks at the shape."""
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 30.0
_OTHER_FILES: Final = 64


class HarnessRefused(Exception):
    """This machine cannot run so many users; the text says what to change."""


class HarnessFault(Exception):
    """A worker process failed; the text says how."""


def make_room(settings: LoadSettings) -> None:
    """Raise the limit of open files, which workers inherit, to what the users need.

    Raises:
        HarnessRefused: it may not be raised that far.
    """
    users = Stages(tuple(settings.stages.values())).most_users
    needed = part_of(users, 0, settings.harness.processes) * 2 + _OTHER_FILES  # twice: partings overlap with comings
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = part_of(users, 0, settings.harness.processes) + _OTHER_FILES
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < enough:
        raise HarnessRefused(
            f"{users} users in {settings.harness.processes} processes need {enough} open files each, but `ulimit -Hn` is "
            f"{hard}: raise it, or harness.processes"
        )
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@attrs.define
class _Worker:
    index: int
    child: Child
    link: Link
    ready: trio.Event = attrs.field(factory=trio.Event)
    done: trio.Event = attrs.field(factory=trio.Event)

    async def listen(self, results: Results) -> None:
        try:
            while not self.done.is_set():
                match await self.link.receive():
                    case Ready():
                        self.ready.set()
                    case Report() as report:
                        results.add(self.index, report)
                    case Done():
                        self.done.set()
                    case message:
                        raise TypeError(f"the lead process gets no {message}")
        except LinkClosed:
            raise await self._fault() from None

    async def tell(self, message: Message) -> None:
        try:
            await self.link.send(message)
        except LinkClosed:
            raise await self._fault() from None

    async def _fault(self) -> HarnessFault:
        status = await self.child.wait()
        return HarnessFault(f"worker {self.index}: {describe_exit(status)}. {self.child.last_words()}".rstrip(". "))


@asynccontextmanager
async def _worker(index: int) -> AsyncIterator[_Worker]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with run_child(MODULE, [str(theirs.fileno())], [theirs.fileno()]) as child:
            theirs.close()
            ours.setblocking(False)
            yield _Worker(index, child, Link(trio.SocketStream(trio.socket.from_stdlib_socket(ours))))


async def lead(
    settings: LoadSettings,
    target: Target,
    *,
    each_second: Callable[[Results, float], object] = lambda *_: None,
    stop: trio.Event | None = None,
) -> Results:
    """One whole run.

    Args:
        each_second: called with the results so far and the seconds since the start.
        stop: when set, the run ends early, in order; also its last seconds, in which nobody sends.

    Raises:
        HarnessFault: a worker process ended.
    """
    results = Results(settings)
    stop = trio.Event() if stop is None else stop
    fault: HarnessFault | None = None
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(_worker(index)) for index in range(settings.harness.processes)]
        try:
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    nursery.start_soon(worker.listen, results)
                await _begin(workers, settings, target)
                await _Run(settings, workers, results, each_second, stop).drive()
                nursery.cancel_scope.cancel()
        except* HarnessFault as group:
            fault = _first(group)
    if fault is not None:
        raise fault
    results.settle()
    return results


def _first(group: BaseExceptionGroup[HarnessFault]) -> HarnessFault:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, HarnessFault)
    return error


async def _begin(workers: Sequence[_Worker], settings: LoadSettings, target: Target) -> None:
    run = random.getrandbits(32)
    document = as_document(settings)
    for worker in workers:
        await worker.tell(Plan(run, worker.index, document, attrs.asdict(target), random.getrandbits(32)))
    with trio.move_on_after(_START_SECONDS):
        for worker in workers:
            await worker.ready.wait()
        return
    raise HarnessFault(f"the workers did not start within {_START_SECONDS:g} s")


@attrs.define
class _Run:
    settings: LoadSettings
    workers: Sequence[_Worker]
    results: Results
    each_second: Callable[[Results, float], object]
    stop: trio.Event

    async def drive(self) -> None:
        start = time.monotonic() + _TICK
        for worker in self.workers:
            await worker.tell(Begin(start))
        await trio.sleep(_TICK)
        await self._follow_shape(start)
        for worker in self.workers:
            await worker.tell(Quiet())
        with trio.move_on_after(self.settings.harness.drain_seconds):
            await self.stop.wait()
        self.each_second(self.results, time.monotonic() - start)
        for worker in self.workers:
            await worker.tell(Finish())
        with trio.move_on_after(_END_SECONDS):
            for worker in self.workers:
                await worker.done.wait()
            return
        raise HarnessFault(f"the workers did not finish within {_END_SECONDS:g} s")

    async def _follow_shape(self, start: float) -> None:
        shape = Stages(tuple(self.settings.stages.values()))
        sharing = Sharing(self.settings.users, shape.most_users)
        told: dict[str, int] = {}
        shown = 0
        while (tick := shape.tick(elapsed := time.monotonic() - start)) is not None and not self.stop.is_set():
            counts = sharing.counts(tick[0])
            self.results.wanted[int(elapsed)] = tick[0]
            if counts != told:
                told = counts
                await self._want(counts)
            if int(elapsed) > shown:
                shown = int(elapsed)
                self.each_second(self.results, elapsed)
            with trio.move_on_after(_TICK):
                await self.stop.wait()

    async def _want(self, counts: dict[str, int]) -> None:
        processes = len(self.workers)
        for worker in self.workers:
            await worker.tell(Want({name: part_of(count, worker.index, processes) for name, count in counts.items()}))
