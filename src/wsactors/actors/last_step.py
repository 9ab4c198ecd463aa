"""What vanishes together with an actor: plain functions that run in its death step.

The death step has no await in it, so whoever looks afterwards finds the actor dead and what it owned gone, never one without
the other. ``terminate`` cannot promise that: a kill does not call it, and it runs before the death.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from wsactors.actors.log import log
from wsactors.actors.messages import Crash
from wsactors.errors import NoProcess

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.process import Hooks


def at_death(pid: Pid, key: Hashable, callback: Callable[[Pid], object]) -> None:
    """Have ``callback(pid)`` run in the death step of an actor of this process, however it ends.

    For what must not outlive it by a single step: a sink, a descriptor, a seat. A later call with an equal ``key`` replaces the
    callback. It must be quick and must not wait; what it raises is logged, and the death goes on.

    Raises:
        NoProcess: It is dead.
    """
    process = pid._process
    if process is None:
        raise NoProcess(pid)

    extras = process.more()
    hooks = extras.hooks
    if isinstance(hooks, dict):
        hooks[key] = callback
    elif hooks is None:
        extras.hooks = (key, callback)
    elif hooks[0] == key:
        extras.hooks = (hooks[0], callback)
    else:
        extras.hooks = {hooks[0]: hooks[1], key: callback}


def not_at_death(pid: Pid, key: Hashable) -> bool:
    """Take ``at_death`` back; False when there was nothing of that key, or the actor is dead."""
    process = pid._process
    if process is None or process.extras is None:
        return False
    hooks = process.extras.hooks
    if isinstance(hooks, dict):
        return hooks.pop(key, None) is not None
    if hooks is None or hooks[0] != key:
        return False
    process.extras.hooks = None
    return True


def run_hooks(pid: Pid, hooks: Hooks) -> None:
    """Call what was asked for; the rest of the death happens whatever it raises."""
    for callback in hooks.values() if isinstance(hooks, dict) else hooks[1:]:
        try:
            callback(pid)
        except Exception as exc:
            crash = Crash.of(exc)
            log(__name__, "error", "at_death_failed", pid=str(pid), type=crash.type, message=crash.message)
