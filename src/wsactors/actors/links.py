"""Links, monitors and exit signals, from the side of the actor that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsactors.actors.death import deliver_down, deliver_exit, traps
from wsactors.actors.few import added, removed
from wsactors.actors.mailbox import take_first
from wsactors.actors.messages import Exit
from wsactors.actors.monitors import MonitorRef
from wsactors.actors.requests import append_exempt
from wsactors.errors import NoProcess

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.process import Process


def link(process: Process, pid: Pid) -> None:
    """Tie two fates; a second link changes nothing. To a dead pid: an ``Exit(pid, "noproc")`` if it traps, else ``NoProcess``."""
    other = pid._process
    if other is process:
        return
    if other is None:
        if not traps(process):
            raise NoProcess(pid)
        append_exempt(process, Exit(pid, "noproc"))
        return
    mine, its = process.more(), other.more()
    mine.links = added(mine.links, pid)
    its.links = added(its.links, process.pid)


def unlink(process: Process, pid: Pid) -> None:
    """Untie; an Exit already in the mailbox stays there."""
    if process.extras is not None:
        process.extras.links = removed(process.extras.links, pid)
    other = pid._process
    if other is not None and other.extras is not None:
        other.extras.links = removed(other.extras.links, process.pid)


def monitor(process: Process, target: Pid | str, other: Process | None) -> MonitorRef:
    """Watch ``other``, which is what ``target`` resolved to. Nobody there: a Down with ``noproc`` at once."""
    ref = MonitorRef(process, target)
    extras = process.more()
    extras.monitors = added(extras.monitors, ref)
    if other is None:
        deliver_down(ref, target, "noproc")
    else:
        ref._target = other
        watched = other.more()
        watched.watchers = added(watched.watchers, ref)
    return ref


def demonitor(ref: MonitorRef, *, flush: bool = False) -> bool:
    """Give a monitor up; whether its Down was still to come. ``flush`` also removes a Down already in the mailbox."""
    watcher, target = ref._watcher, ref._target
    ref.give_up()
    if watcher is not None:
        if watcher.extras is not None:
            watcher.extras.monitors = removed(watcher.extras.monitors, ref)
        if target is not None and target.extras is not None:
            target.extras.watchers = removed(target.extras.watchers, ref)
        return True
    if flush:
        take_first(ref._owner, ref.owns)
    return False


def send_exit(sender: Pid, target: Pid, reason: Any) -> bool:
    """OTP's ``exit/2``: a signal as if over a link; ``kill`` cannot be trapped. False when nobody is there."""
    process = target._process
    if process is None:
        return False
    deliver_exit(process, sender, reason, linked=False)
    return True
