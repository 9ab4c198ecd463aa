"""Which node a bare name means: the current actor's, else the only one open in this thread."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from wsactors.actors.pid import Pid, Via
from wsactors.errors import AmbiguousNode, NodeNameTaken

if TYPE_CHECKING:
    from wsactors.actors.process import Process
    from wsactors.actors.scheduler import Scheduler

_open: Final[dict[str, tuple[int, Scheduler]]] = {}


def announce(sched: Scheduler) -> None:
    """A node opens.

    Raises:
        NodeNameTaken: a live node of this process has the name; pids of the two could not be told apart.
    """
    if sched.home.name in _open:
        raise NodeNameTaken(
            f"a node named {sched.home.name!r} is already open in this process; give this one another name"
        )
    _open[sched.home.name] = (get_ident(), sched)


def withdraw(sched: Scheduler) -> None:
    """A node has closed."""
    if sched.home.name in _open and _open[sched.home.name][1] is sched:
        del _open[sched.home.name]


def scheduler_here() -> Scheduler:
    """The node that a bare name is looked up in.

    Raises:
        AmbiguousNode: called by a task that is no actor while no node, or more than one, is open.
    """
    thread = get_ident()
    here = [sched for ident, sched in _open.values() if ident == thread]
    for sched in here:
        if sched.current is not None:
            return sched
    if len(here) == 1:
        return here[0]
    for sched in here:
        if sched.whoami() is not None:
            return sched
    what = "no node is open" if not here else f"{len(here)} nodes are open"
    raise AmbiguousNode(
        f"{what}, so a bare name means nothing here: use node.call, node.send, node.whereis, node.monitor"
    )


def resolve(target: Any, sched: Scheduler | None = None) -> Process | None:
    """The live actor behind a target, or None. A TypeError for what is no target at all is the caller's fault, at once."""
    if target.__class__ is Pid:
        return target._process
    if isinstance(target, str):
        pid = (sched or scheduler_here()).runtime.registry.whereis(target)
    elif isinstance(target, Via):
        pid = target.registry.whereis(target.name)
    else:
        raise TypeError(f"a target is a Pid, a registered name or a Via, got {target!r}")
    return None if pid is None else pid._process
