"""Tables inside a runtime: how they learn who calls, what time it is and who died."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsactors.actors.calls import send
from wsactors.actors.requests import append_exempt
from wsactors.actors.table_spec import TableTransfer

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.scheduler import Scheduler


class RuntimeTableHost:
    """The ``TableHost`` of one node."""

    def __init__(self, sched: Scheduler) -> None:
        self._sched = sched

    @property
    def debug(self) -> bool:
        """Whether the node runs in debug mode."""
        return self._sched.debug

    def current(self) -> Pid | None:
        """The actor whose handler, task or attached block runs."""
        process = self._sched.whoami()
        return None if process is None else process.pid

    def now(self) -> float:
        """Seconds of the node's clock, which timers use too."""
        return self._sched.timers.now()

    def send(self, pid: Pid, message: object) -> bool:
        """Into the mailbox: a change under its policy, a table in any case, for it comes once and is owed."""
        process = pid._process
        if process is None:
            return False
        if message.__class__ is TableTransfer:
            append_exempt(process, message)
            return True
        return send(pid, message)

    def alive(self, pid: Pid) -> bool:
        """Whether its death step is still to come."""
        return pid._process is not None

    def at_death(self, pid: Pid, call: Callable[[Pid], None]) -> None:
        """Have ``call(pid)`` run in its death step."""
        process = pid._process
        if process is not None:
            extras = process.more()
            if extras.on_death is None:
                extras.on_death = OrderedDict()
            extras.on_death[call] = call
