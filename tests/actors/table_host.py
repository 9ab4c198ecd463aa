"""A stand-in for the runtime under the tables: actors are pids in a set, mailboxes are lists, time is a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsactors.actors.pid import Home, Pid, new_pid
from wsactors.actors.table import Table
from wsactors.actors.tables import Tables

HOME = Home("test", 1)


class FakeHost:
    """Implements ``TableHost``."""

    def __init__(self) -> None:
        self.time = 0.0
        self.caller: Pid | None = None
        self.mail: dict[Pid, list[Any]] = {}
        self.full: set[Pid] = set()
        self.debug = False
        self.mourned: set[Pid] = set()
        self._serial = 0
        self.tables = Tables(self)

    def current(self) -> Pid | None:
        return self.caller

    def now(self) -> float:
        return self.time

    def send(self, pid: Pid, message: object) -> bool:
        if pid not in self.mail or pid in self.full:
            return False
        self.mail[pid].append(message)
        return True

    def alive(self, pid: Pid) -> bool:
        return pid in self.mail

    def at_death(self, pid: Pid, call: Callable[[Pid], None]) -> None:
        self.mourned.add(pid)

    def actor(self) -> Pid:
        """A new live actor."""
        self._serial += 1
        pid = new_pid(HOME, self._serial)
        self.mail[pid] = []
        return pid

    @contextmanager
    def as_actor(self, pid: Pid | None) -> Iterator[None]:
        """Run a block on behalf of an actor."""
        before, self.caller = self.caller, pid
        try:
            yield
        finally:
            self.caller = before

    def kill(self, pid: Pid) -> None:
        """What the runtime does in a death step."""
        del self.mail[pid]
        if pid in self.mourned:  # others cost the runtime nothing
            self.tables.owner_died(pid)

    def settle(self) -> None:
        """All the housekeeping that is due."""
        while self.tables.sweep():
            pass


def make(host: FakeHost, kind: Any = "set", **options: Any) -> Table:
    """A table without a name."""
    return host.tables.new(kind=kind, **options)
