"""A worker process of the harness: a node whose actors are users.

Run as ``python -m wsactors.loadtest.worker PARENT_PID DESCRIPTOR`` by the lead process, which kills it when it ends.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Down, Pid, is_normal
from wsactors.dj.confine import die_with_parent
from wsactors.loadtest.control import Begin, Done, Finish, Link, LinkClosed, Plan, Quiet, Ready, Report, Want
from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.poller import Poller
from wsactors.loadtest.scenario import Pacer
from wsactors.loadtest.settings import LoadSettings
from wsactors.loadtest.tally import Tally
from wsactors.loadtest.target import Target, client_tls
from wsactors.loadtest.users import GO, USERS
from wsactors.loadtest.visit import World
from wsactors.node import strict
from wsactors.supervision.node import Node

_LAG_EVERY: Final = 0.02
_GOODBYES: Final = 0.2
"""Seconds that goodbyes have to reach the other side."""


class Crowd(Actor):
    """Has as many users of each group as it is told: `Want`. The newest go first."""

    def init(self, world: World) -> None:
        self._world = world
        self._users: dict[str, dict[Pid, None]] = {name: {} for name in world.settings.users}
        self._numbers = dict.fromkeys(world.settings.users, 0)

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Want(users):
                for name, count in users.items():
                    await self._reach(name, count)
            case _:
                return UNHANDLED
        return None

    def handle_info(self, message: Any) -> Any:
        match message:
            case Down(_, Pid() as pid, reason):
                for group, users in self._users.items():
                    if pid in users:
                        del users[pid]
                        self._world.tallies[group].crashes += not is_normal(reason)
            case _:
                return UNHANDLED
        return None

    async def _reach(self, name: str, count: int) -> None:
        world, users = self._world, self._users[name]
        behaviour = USERS[world.settings.users[name].behaviour]
        while len(users) < count:
            number = self._numbers[name] * world.settings.harness.processes + world.index
            self._numbers[name] += 1
            pid, _ = await self.spawn(behaviour, world, name, number, monitor=True)
            users[pid] = None
        while len(users) > count:
            self.node.send(users.popitem()[0], GO)


@attrs.define
class Worker:
    """One process' part of a run."""

    link: Link
    world: World
    lag: Histogram = attrs.field(factory=Histogram)
    start: float = 0.0
    _bytes: tuple[int, int] = (0, 0)
    _cpu: float = 0.0
    _reported: float = 0.0

    async def run(self, node: Node) -> None:
        """Until the lead process says that it is over."""
        crowd = await node.spawn(Crowd, self.world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.world.poller.run)
            await self.link.send(Ready())
            while True:
                match await self.link.receive():
                    case Begin(start):
                        self.start, self._cpu, self._reported = start, time.process_time(), start
                        nursery.start_soon(self._measure_lag)
                        nursery.start_soon(self._report_each_second)
                    case Want() as want:
                        node.cast(crowd, want)
                    case Quiet():
                        self.world.quiet = True
                    case Finish():
                        break
                    case message:
                        raise TypeError(f"a worker gets no {message}")
            await self._finish(node, crowd)
            nursery.cancel_scope.cancel()

    async def _finish(self, node: Node, crowd: Pid) -> None:
        report = self._report(int(time.monotonic() - self.start))  # before they go: the gauges tell how many were there
        node.cast(crowd, Want(dict.fromkeys(self.world.settings.users, 0)))
        await trio.sleep(_GOODBYES)
        await self.link.send(report)
        await self.link.send(Done())

    async def _measure_lag(self) -> None:
        while True:
            due = time.monotonic() + _LAG_EVERY
            await trio.sleep(_LAG_EVERY)
            self.lag.record(time.monotonic() - due)

    async def _report_each_second(self) -> None:
        second = 1
        while True:
            await trio.sleep(self.start + second - time.monotonic())
            await self.link.send(self._report(second - 1))
            second = max(second + 1, int(time.monotonic() - self.start) + 1)

    def _report(self, second: int) -> Report:
        world, now, cpu = self.world, time.monotonic(), time.process_time()
        poller = world.poller
        report = Report(
            second=second,
            groups={name: tally.take() for name, tally in world.tallies.items()},
            seconds=now - self._reported,
            cpu=cpu - self._cpu,
            lag=self.lag.take().pack(),
            send_lag=world.send_lag.take().pack(),
            received=poller.received - self._bytes[0],
            sent=poller.sent - self._bytes[1],
            memory=int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        )
        self._bytes, self._cpu, self._reported = (poller.received, poller.sent), cpu, now
        return report


def world_of(plan: Plan) -> World:
    """What the plan says, ready to be lived in."""
    settings = strict.structure(plan.settings, LoadSettings, Path("/"))
    target = Target(**{**plan.target, "address": tuple(plan.target["address"])})
    cap = settings.target.connections_per_second
    return World(
        run=plan.run,
        index=plan.index,
        settings=settings,
        target=target,
        tls=client_tls(settings) if target.tls else None,
        poller=Poller(),
        pacer=Pacer(cap / settings.harness.processes),
        tallies=_tallies(settings),
        chance=random.Random(plan.seed),  # noqa: S311 - spreads users, guards nothing
    )


def _tallies(settings: LoadSettings) -> Mapping[str, Tally]:
    return {name: Tally() for name in settings.users}


async def main(descriptor: int) -> None:
    """Live as a worker on this socket."""
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(False)
        link = Link(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        try:
            plan = await link.receive()
            if not isinstance(plan, Plan):
                raise TypeError(f"a worker's first message is its plan, not {plan}")
            async with Node(f"load-{plan.index}", watchdog=None, shutdown_timeout=5.0) as node:
                await Worker(link, world_of(plan)).run(node)
        except LinkClosed:
            return  # the lead process has ended; so do we


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    # Users are many objects that live long: looking through all of them again and again would be our own lag.
    gc.set_threshold(50_000, 20, 1_000)
    trio.run(main, int(sys.argv[2]))
