"""Actors that tell what happens to them, and a way to know when a supervisor has come to rest."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

import structlog
import trio

from wsactors.actors import Actor, Ignore, Pid, Stop, cast
from wsactors.errors import CallExit
from wsactors.supervision import ChildSpec, Supervisor, which_children
from wsactors.supervision.children import ChildInfo

PATIENCE: Final = 60.0


class World:
    """What happened, in order; and what the next starts of an actor shall do (``plans``: ok, fail, ignore)."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.plans: dict[str, deque[str]] = defaultdict(deque)
        self.born: list[tuple[str, float]] = []
        self._birth = trio.Event()

    def bear(self, name: str) -> None:
        self.born.append((name, trio.current_time()))
        self._birth.set()
        self._birth = trio.Event()

    async def next_birth(self) -> float:
        """When the next actor has started (seconds of the trio clock)."""
        await self._birth.wait()
        return self.born[-1][1]

    def say(self, text: str) -> None:
        self.events.append(text)

    def take(self) -> list[str]:
        """The events since the last look."""
        events, self.events = self.events, []
        return events

    def spec(self, label: str, /, *args: Any, cls: type[Actor] | None = None, **options: Any) -> ChildSpec:
        return ChildSpec(label, cls or Worker, (self, label, *args), **options)

    def specs(self, names: str, **options: Any) -> list[ChildSpec]:
        return [self.spec(name, **options) for name in names]


class Worker(Actor):
    """Traps exits, so that every end is told; ends when it is cast ``("exit", reason)``."""

    trap_exit = True

    def init(self, world: World, name: str) -> Any:
        self.world, self.label = world, name
        plan = world.plans[name]
        outcome = plan.popleft() if plan else "ok"
        world.say(f"{ {'ok': 'start'}.get(outcome, outcome) } {name}".strip())
        if outcome == "fail":
            return Stop("broken")
        if outcome == "ignore":
            return Ignore()
        world.bear(name)
        return None

    def handle_cast(self, message: Any) -> Any:
        match message:
            case ("exit", reason):
                return Stop(reason)
            case "unlink":
                assert self._process.parent is not None
                self.unlink(self._process.parent)
        return None

    def terminate(self, reason: Any) -> Any:
        self.world.say(f"stop {self.label} {text(reason)}")


class Stubborn(Worker):
    """Does not stop when it is told to."""

    async def terminate(self, reason: Any) -> None:
        self.world.say(f"stop {self.label} {text(reason)}")
        await trio.sleep_forever()


class Slow(Worker):
    """Takes a second to stop."""

    async def terminate(self, reason: Any) -> None:
        await trio.sleep(1.0)
        self.world.say(f"stop {self.label} {text(reason)}")


class Loud(Supervisor):
    """A supervisor that tells of its own start and end."""

    async def init(self, world: World, name: str, *args: Any, **options: Any) -> Any:
        self.world, self.label = world, name
        world.say(f"start {name}")
        return await super().init(*args, **options)

    async def terminate(self, reason: Any) -> None:
        await super().terminate(reason)
        self.world.say(f"stop {self.label} {text(reason)}")


def text(reason: Any) -> str:
    """An exit reason the way the OTP oracle prints it."""
    match reason:
        case ("shutdown", ("failed_to_start_child", child_id, why)):
            return f"failed_to_start_child {child_id} {text(why)}"
        case ("shutdown", why):
            return f"shutdown:{text(why)}"
        case _:
            return str(reason)


def alive(pid: Pid | None) -> bool:
    return pid is not None and pid._process is not None


async def children(sup: Pid) -> dict[Hashable, ChildInfo]:
    """``which_children`` by id; empty when the supervisor is gone."""
    try:
        return {info.id: info for info in await which_children(sup)}
    except CallExit:
        return {}


class Patience:
    """Let everybody else run, again and again, for at most ``PATIENCE`` seconds of real time (virtual time does not pass)."""

    def __init__(self) -> None:
        self.deadline = perf_counter() + PATIENCE

    async def turn(self) -> None:
        assert perf_counter() < self.deadline, f"what this test waits for did not happen within {PATIENCE} s"
        await trio.lowlevel.checkpoint()


async def pid_of(sup: Pid, child_id: Hashable) -> Pid:
    pid = (await children(sup))[child_id].pid
    assert pid is not None
    return pid


async def crash(sup: Pid, child_id: Hashable, reason: Any = "boom") -> None:
    """End a child and wait until its supervisor has dealt with that."""
    old = await pid_of(sup, child_id)
    cast(old, ("exit", reason))
    await settled(sup, old)


async def settled(sup: Pid, old: Pid) -> None:
    """Until ``old`` is no child any more and no restart is due, or the supervisor is gone."""
    patience = Patience()
    while any(info.pid == old or info.status == "restarting" for info in (await children(sup)).values()):
        await patience.turn()


async def gone(*pids: Pid) -> None:
    """Until all are dead."""
    patience = Patience()
    while any(alive(pid) for pid in pids):
        await patience.turn()


async def restarting(sup: Pid, child_id: Hashable) -> None:
    """Until a restart of the child is due."""
    patience = Patience()
    while (await children(sup))[child_id].status != "restarting":
        await patience.turn()


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged by supervisors inside the block."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


def events_of(entries: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """The entries of these events (``supervisor.`` is left out of the names)."""
    return [entry for entry in entries if entry["event"] in {f"supervisor.{name}" for name in names}]
