"""The children of a static supervisor: its specs in start order, and the processes they have. Knows no policy, starts nothing."""

from __future__ import annotations

import builtins
from collections.abc import Hashable, Iterator
from typing import Any, Literal

import attrs

from wsactors.actors import Pid
from wsactors.supervision.spec import ChildSpec, ChildType

__all__ = ["Child", "ChildCount", "ChildInfo", "ChildStatus", "Children"]

ChildStatus = Literal["running", "restarting", "stopped"]


@attrs.frozen
class ChildInfo:
    """One line of ``which_children``."""

    id: Hashable
    """None under a ``DynamicSupervisor``, where the pid is the id."""
    pid: Pid | None
    """None unless it runs."""
    status: ChildStatus
    """``"stopped"``: the spec is there and no process (it ended normally, was stopped, or its ``init`` chose ``Ignore``)."""
    type: ChildType
    start: builtins.type[Any]  # `type` is a field here


@attrs.frozen
class ChildCount:
    """What ``count_children`` returns."""

    specs: int
    active: int
    """How many have a living process."""
    supervisors: int
    workers: int


@attrs.frozen(eq=False)
class TryAgain:
    """A supervisor's message to itself, so that it serves others between two attempts at a restart."""

    id: Hashable


class Child:
    """One child: its spec, its process if any, and what its restarts need to remember."""

    __slots__ = ("due", "pid", "row", "spec", "started")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: Pid | None = None
        self.due: TryAgain | None = None
        """The message that will (re)try its restart; an older one, still on its way, is not it and means nothing."""
        self.row = -1
        """How many restarts it has had in a row, less one; only counted where there is a back-off."""
        self.started = 0.0
        """When its process started (seconds of the trio clock)."""

    @property
    def status(self) -> ChildStatus:
        """Its state in a word."""
        if self.due is not None:
            return "restarting"
        return "running" if self.pid is not None else "stopped"

    def info(self) -> ChildInfo:
        """Its line of ``which_children``."""
        return ChildInfo(self.spec.id, self.pid, self.status, self.spec.type, self.spec.start)

    def __repr__(self) -> str:
        return f"<Child {self.spec.id!r} {self.status} {self.pid or ''}>"


class Children:
    """Children by id, in start order, and by pid."""

    __slots__ = ("_by_id", "_by_pid")

    def __init__(self) -> None:
        self._by_id: dict[Hashable, Child] = {}
        self._by_pid: dict[Pid, Child] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def ids(self) -> list[Hashable]:
        """All ids, in start order."""
        return list(self._by_id)

    def get(self, child_id: Hashable) -> Child | None:
        """The child of this id."""
        return self._by_id.get(child_id)

    def of_id(self, child_id: Hashable) -> Child:
        """The child of this id, which must be there."""
        return self._by_id[child_id]

    def of_pid(self, pid: Pid) -> Child | None:
        """The child that has this process."""
        return self._by_pid.get(pid)

    def add(self, child: Child) -> None:
        """The last to be started; its id is new."""
        self._by_id[child.spec.id] = child
        if child.pid is not None:
            self._by_pid[child.pid] = child

    def running(self, child: Child, pid: Pid | None, now: float) -> None:
        """It has started (``pid`` None: it declined to run)."""
        self.stopped(child)
        child.pid = pid
        child.started = now
        if pid is not None:
            self._by_pid[pid] = child

    def stopped(self, child: Child) -> None:
        """It has no process, and none is due."""
        if child.pid is not None:
            del self._by_pid[child.pid]
        child.pid = None
        child.due = None

    def restarting(self, child: Child) -> TryAgain:
        """It has no process, and one is due when the message that is returned arrives."""
        self.stopped(child)
        child.due = TryAgain(child.spec.id)
        return child.due

    def remove(self, child: Child) -> None:
        """Forget the spec too."""
        self.stopped(child)
        del self._by_id[child.spec.id]

    def stopped_or_removed(self, child: Child) -> None:
        """It ended for good: a temporary child's spec goes with it (OTP's ``del_child``)."""
        if child.spec.restart == "temporary":
            self.remove(child)
        else:
            self.stopped(child)

    def count(self) -> ChildCount:
        """The numbers of ``count_children``."""
        supervisors = sum(child.spec.type == "supervisor" for child in self)
        active = sum(child.pid is not None and child.pid._process is not None for child in self)
        return ChildCount(len(self), active, supervisors, len(self) - supervisors)
