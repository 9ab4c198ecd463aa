"""What one may ask of a running supervisor: the messages, and the functions that send them.

Each function takes the supervisor's pid, registered name or ``Via``; waits without a limit by default, as OTP does, since a
supervisor may be busy stopping a slow child; and raises :class:`ChildError`, whose ``reason`` is OTP's word, when the
supervisor declines.

>>> pid = await start_child(sup, ChildSpec("room:42", Room, (42,), restart="transient"))       # doctest: +SKIP
>>> await terminate_child(sup, "room:42")                                                      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import attrs

from wsactors.actors import Pid, Target, call
from wsactors.errors import ChildError, SpecError, StartError
from wsactors.supervision.children import ChildCount, ChildInfo
from wsactors.supervision.spec import ChildSpec

__all__ = [
    "CountChildren",
    "DeleteChild",
    "GetChildSpec",
    "RestartChild",
    "StartChild",
    "TerminateChild",
    "WhichChildren",
    "count_children",
    "delete_child",
    "get_child_spec",
    "restart_child",
    "start_child",
    "terminate_child",
    "which_children",
]


@attrs.frozen
class StartChild:
    """Add a child and start it. Answer: ``("ok", pid or None)`` or ``("error", why)``."""

    spec: ChildSpec


@attrs.frozen
class TerminateChild:
    """Stop a child. Answer: ``("ok", None)`` or ``("error", why)``."""

    id: Hashable


@attrs.frozen
class RestartChild:
    """Start a stopped child again. Answer as ``StartChild``."""

    id: Hashable


@attrs.frozen
class DeleteChild:
    """Forget a stopped child. Answer as ``TerminateChild``."""

    id: Hashable


@attrs.frozen
class GetChildSpec:
    """Answer: ``("ok", spec)`` or ``("error", "not_found")``."""

    id: Hashable


@attrs.frozen
class WhichChildren:
    """Answer: a tuple of ``ChildInfo``."""


@attrs.frozen
class CountChildren:
    """Answer: a ``ChildCount``."""


@attrs.frozen
class StartFailed:
    """The ``why`` of a start that was tried and failed."""

    reason: Any


@attrs.frozen
class SpecRefused:
    """The ``why`` of a spec that does not fit this supervisor."""

    text: str


_ADVICE: Final = {
    "not_found": "the supervisor has no child {id!r}; which_children lists those it has",
    "already_present": "child {id!r} is known but stopped: use restart_child, or delete_child first",
    "already_started": "child {id!r} already runs as {pid}",
    "running": "child {id!r} runs: use terminate_child first",
    "restarting": "child {id!r} is being restarted: wait, or use terminate_child to give up on it",
    "max_children": "the supervisor is full (max_children); stop a child first, or shed the work",
    "by_pid_only": "the children of a DynamicSupervisor are known by their pids; {id!r} is none",
    "dynamic": "a DynamicSupervisor keeps no specs of stopped children: use start_child with the spec",
}


async def start_child(supervisor: Target, spec: ChildSpec, *, timeout: float | None = None) -> Pid | None:
    """Add ``spec`` as the last child and start it. None: its ``init`` chose ``Ignore``.

    Raises:
        ChildError: ``already_present`` (a stopped child has the id), ``("already_started", pid)``, ``max_children``.
        StartError: its ``init`` failed; the spec was not added.
        SpecError: it is significant and the supervisor has no ``auto_shutdown``.
    """
    pid: Pid | None = _result(await call(supervisor, StartChild(spec), timeout=timeout), spec.id)
    return pid


async def terminate_child(supervisor: Target, child_id: Hashable, *, timeout: float | None = None) -> None:
    """Stop a child (also one that is being restarted). Its spec stays, unless it is temporary; it is not restarted.

    A ``DynamicSupervisor`` knows its children by pid and forgets them.

    Raises:
        ChildError: ``not_found``.
    """
    _result(await call(supervisor, TerminateChild(child_id), timeout=timeout), child_id)


async def restart_child(supervisor: Target, child_id: Hashable, *, timeout: float | None = None) -> Pid | None:
    """Start a stopped child again; it keeps its place in the order. None: its ``init`` chose ``Ignore``.

    Raises:
        ChildError: ``not_found``, ``running``, ``restarting``.
        StartError: its ``init`` failed; the spec stays.
    """
    pid: Pid | None = _result(await call(supervisor, RestartChild(child_id), timeout=timeout), child_id)
    return pid


async def delete_child(supervisor: Target, child_id: Hashable, *, timeout: float | None = None) -> None:
    """Forget a stopped child.

    Raises:
        ChildError: ``not_found``, ``running``, ``restarting``.
    """
    _result(await call(supervisor, DeleteChild(child_id), timeout=timeout), child_id)


async def get_child_spec(supervisor: Target, child_id: Hashable, *, timeout: float | None = None) -> ChildSpec:
    """The spec of a child, by id (or, under a ``DynamicSupervisor``, pid). A temporary child's has no arguments any more.

    Raises:
        ChildError: ``not_found``.
    """
    spec: ChildSpec = _result(await call(supervisor, GetChildSpec(child_id), timeout=timeout), child_id)
    return spec


async def which_children(supervisor: Target, *, timeout: float | None = None) -> tuple[ChildInfo, ...]:
    """Every child, in start order (OTP: the reverse)."""
    children: tuple[ChildInfo, ...] = await call(supervisor, WhichChildren(), timeout=timeout)
    return children


async def count_children(supervisor: Target, *, timeout: float | None = None) -> ChildCount:
    """How many children there are, of which kind, and how many live."""
    count: ChildCount = await call(supervisor, CountChildren(), timeout=timeout)
    return count


def _result(answer: tuple[str, Any], child_id: Hashable) -> Any:
    match answer:
        case ("ok", value):
            return value
        case (_, StartFailed(reason)):
            raise StartError(reason, child_id)
        case (_, SpecRefused(text)):
            raise SpecError(text)
        case (_, ("already_started", pid)):
            raise ChildError(("already_started", pid), _ADVICE["already_started"].format(id=child_id, pid=pid))
        case (_, why):
            raise ChildError(why, _ADVICE[str(why)].format(id=child_id))
