"""Monitor references."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, RaiseCancelT, current_task, reschedule, wait_task_rescheduled

from wsactors.actors.mailbox import take_first
from wsactors.actors.messages import Down

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.process import Process

_serials = count(1)
"""Global, so that no two references of one process ever repeat."""


class MonitorRef:
    """What ``monitor`` returns; the ``ref`` of its ``Down``. A monitor fires exactly once, at most once if given up."""

    __slots__ = ("_down", "_owner", "_target", "_task", "_watcher", "serial", "target")

    def __init__(self, watcher: Process, target: Pid | str) -> None:
        self.serial = next(_serials)
        self.target = target
        """The pid or name that was asked for."""
        self._owner = watcher
        self._watcher: Process | None = watcher
        self._target: Process | None = None
        self._task: Any = None
        self._down: Down | None = None

    @property
    def active(self) -> bool:
        """Whether a Down is still to come."""
        return self._watcher is not None

    def give_up(self) -> None:
        """No Down will come any more; whoever waits for it learns so."""
        self._watcher = self._target = None
        if self._task is not None:
            task, self._task = self._task, None
            reschedule(task)

    def owns(self, message: Any) -> bool:
        """Whether ``message`` is this monitor's Down."""
        return message.__class__ is Down and message.ref is self

    def __repr__(self) -> str:
        return f"<MonitorRef {self.serial} on {self.target}>"

    async def wait(self, timeout: float | None = None) -> Down | None:
        """Wait for this monitor's Down and take it, also out of the mailbox; None after ``timeout`` seconds.

        One task at a time. After ``demonitor`` it returns None at once, unless the Down is already in the mailbox.
        """
        if timeout is None:
            return await self._wait()
        with trio.move_on_after(timeout):
            return await self._wait()
        return self._down

    async def _wait(self) -> Down | None:
        if self._watcher is None:
            await trio.lowlevel.checkpoint()
            if self._down is None:
                self._down = take_first(self._owner, self.owns)
            return self._down
        if self._task is not None:
            raise trio.BusyResourceError("another task already waits for this monitor")
        self._task = current_task()

        def abort(_: RaiseCancelT) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        return self._down
