"""The default report of mailboxes that reach their high-water mark: logged, rationed, the rest counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wsactors.actors.log import log
from wsactors.actors.ration import Ration

if TYPE_CHECKING:
    from wsactors.actors.process import Process
    from wsactors.actors.scheduler import Scheduler

LOGGER: Final = "wsactors.mailbox"
BURST: Final = 10
PER_SECOND: Final = 1.0


class HighWater:
    """What a node does at a high-water mark, unless the program sets ``node.sched.on_high_water``. Runs in the sender: cheap."""

    def __init__(self, sched: Scheduler) -> None:
        self._sched = sched
        self._ration = Ration(BURST, PER_SECOND, 0.0)
        self._more = 0

    def __call__(self, process: Process, length: int) -> None:
        """One mailbox has grown to its mark."""
        if not self._ration.take(self._sched.timers.now()):
            self._more += 1
            return
        more, self._more = self._more, 0
        cls, capacity = process.kind.cls.__qualname__, process.kind.capacity
        pid = str(process.pid)
        log(LOGGER, "warning", "mailbox.high_water", pid=pid, cls=cls, length=length, capacity=capacity, more=more)
