"""What users subclass, and what an actor can do to others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from wsactors.actors import last_step, links
from wsactors.actors.calls import RequestId, send_request
from wsactors.actors.death import doom
from wsactors.actors.few import added, removed
from wsactors.actors.kind import Kind, Mailbox
from wsactors.actors.messages import UNHANDLED, Crash
from wsactors.actors.monitors import MonitorRef
from wsactors.actors.pid import Pid, Target, Via
from wsactors.actors.places import resolve
from wsactors.actors.process import DEAD
from wsactors.actors.registry import take_name
from wsactors.actors.requests import Request, append_exempt
from wsactors.actors.spawn import spawn
from wsactors.actors.tasks import start_task
from wsactors.actors.timers import Timer

if TYPE_CHECKING:
    from wsactors.actors.process import Process
    from wsactors.actors.runtime import Runtime

A = TypeVar("A", bound="BaseActor")


class TimerRef:
    """What ``send_after`` returns."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer | None) -> None:
        self._timer = timer


class BaseActor:
    """What callback-style and process-style actors, and attached tasks, have in common."""

    __slots__ = ("_process",)

    _process: Process
    _kind: ClassVar[Kind]
    _is_task: ClassVar[bool] = False

    trap_exit: bool = False
    """Whether exit signals (other than ``kill``) reach it as ``Exit`` messages. May be set on ``self`` at any time."""
    mailbox: ClassVar[Mailbox] = Mailbox()
    skip_abandoned_calls: ClassVar[bool] = True
    """Whether a call whose caller has given up is dropped unhandled. OTP would handle it; set False for that."""

    @property
    def pid(self) -> Pid:
        """Its own address."""
        return self._process.pid

    @property
    def node(self) -> Runtime:
        """The runtime it lives in."""
        return self._process.sched.runtime  # type: ignore[no-any-return]

    @overload
    async def spawn(
        self,
        cls: type[A],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | Via | None = None,
        link: bool = False,
        monitor: Literal[False] = False,
        timeout: float | None = None,
    ) -> Pid: ...
    @overload
    async def spawn(
        self,
        cls: type[A],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | Via | None = None,
        link: bool = False,
        monitor: Literal[True],
        timeout: float | None = None,
    ) -> tuple[Pid, MonitorRef]: ...
    async def spawn(
        self,
        cls: type[A],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | Via | None = None,
        link: bool = False,
        monitor: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Start a child and wait for its ``init``: its pid, or ``(pid, ref)`` with ``monitor=True``.

        Raises:
            StartError: ``init`` raised or stopped (``.reason``); ``Ignored`` if it declined, ``StartTimeout`` after ``timeout``
                seconds,
                ``NameTaken`` if ``name`` belongs to a live actor. In each case nothing is left behind.
        """
        return await spawn(self._process.sched, self._process, cls, args, kwargs, name, link, monitor, timeout)

    def start_soon(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``await fn(*args)`` in a task of its own, linked to this actor.

        It is cancelled when the actor ends, and if it raises, the actor crashes with that reason (or, trapping exits, gets
        ``Exit(self.pid, reason)``).
        """
        start_task(self._process, fn, args)

    def send_after(self, delay: float, target: Target, message: Any) -> TimerRef:
        """Send ``message`` to ``target`` in ``delay`` seconds. Dropped if this actor ends first."""
        return TimerRef(send_after(self._process, delay, target, message))

    def cancel_timer(self, ref: TimerRef) -> bool:
        """Whether the message was still to come; it will not."""
        return cancel_timer(self._process, ref._timer)

    def link(self, pid: Pid) -> None:
        """Tie this actor's fate to another's, both ways. Raises ``NoProcess`` for a dead pid unless it traps exits."""
        links.link(self._process, pid)

    def unlink(self, pid: Pid) -> None:
        """Untie; an Exit already received stays in the mailbox."""
        links.unlink(self._process, pid)

    def monitor(self, target: Target) -> MonitorRef:
        """Get ``Down(ref, pid, reason)`` when ``target`` ends; at once, with ``noproc``, if nobody is there."""
        named = target if isinstance(target, Pid | str) else str(target.name)
        return links.monitor(self._process, named, resolve(target, self._process.sched))

    def demonitor(self, ref: MonitorRef, flush: bool = False) -> bool:
        """Give a monitor up. ``flush`` also removes its Down if it is already in the mailbox."""
        return links.demonitor(ref, flush=flush)

    def exit(self, target: Pid, reason: Any) -> bool:
        """Send an exit signal: ``kill`` cannot be trapped, ``normal`` is ignored by others that do not trap."""
        return links.send_exit(self._process.pid, target, reason)

    def at_death(self, key: Hashable, callback: Callable[[Pid], object]) -> None:
        """Have ``callback(pid)`` run in this actor's death step, however it ends: what it owns vanishes with it.

        >>> self.at_death("sink", lambda pid: sink.close())                            # doctest: +SKIP

        See ``wsactors.actors.at_death``, which does it for other actors.
        """
        last_step.at_death(self.pid, key, callback)

    def not_at_death(self, key: Hashable) -> bool:
        """Take ``at_death`` back; False when there was nothing of that key."""
        return last_step.not_at_death(self.pid, key)

    def register(self, name: str | Via) -> None:
        """Take a name, of the node or of a registry of your own. Raises ``NameTaken``."""
        take_name(self.node.registry, name, self.pid)

    def send_request(
        self, target: Target, message: Any, *, timeout: float | None = None, notify: bool = False, label: Any = None
    ) -> RequestId:
        """Ask now, collect later; with ``notify=True`` the answer arrives as a ``Response(label, ok, value)`` message."""
        return send_request(target, message, timeout=timeout, notify=self._process if notify else None, label=label)

    def __repr__(self) -> str:
        process = getattr(self, "_process", None)
        return f"<{type(self).__qualname__} {process.pid if process is not None else 'not started'}>"


class Actor(BaseActor):
    """A callback-style actor: an idle one is a small object, without a task.

    Handlers may be ``def`` or ``async def``; one message is handled at a time. ``async def`` handlers run in the actor's own
    context variables; ``def`` handlers share one context, so they should not set any.

    >>> class Counter(Actor):
    ...     async def init(self, start: int = 0) -> None:
    ...         self.count = start
    ...     def handle_call(self, message, caller):
    ...         match message:
    ...             case ("add", int(n)):
    ...                 self.count += n
    ...                 return self.count
    ...             case _:
    ...                 return UNHANDLED
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._kind = Kind(cls, Actor)

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Set up; the starter waits. Returns None, ``Ignore()``, ``Stop(reason)``, ``Continue(x)`` or ``IdleAfter(seconds)``."""
        return None

    def handle_call(self, message: Any, caller: Request) -> Any:
        """Answer a ``call``: the returned value, ``NoReply()``, ``Reply(value, then)`` or ``Stop(reason, reply=...)``."""
        return UNHANDLED

    def handle_cast(self, message: Any) -> Any:
        """Handle a ``cast``. Returns None, ``Stop``, ``Continue`` or ``IdleAfter``."""
        return UNHANDLED

    def handle_info(self, message: Any) -> Any:
        """Handle anything else: plain sends, ``Down``, ``Exit``, timers, ``Timeout``, ``Response``. Unknown ones are dropped."""
        return UNHANDLED

    def handle_continue(self, argument: Any) -> Any:
        """Runs before any queued message after a ``Continue(argument)``."""
        return UNHANDLED

    def terminate(self, reason: Any) -> Any:
        """Clean up: on ``Stop``, on a crash, on a trapped exit of the parent and on the parent's shutdown.

        Not on ``kill``, and not on the exit of others it does not trap.
        """
        return None


Actor._kind = Kind(Actor, Actor)


def send_after(process: Process, delay: float, target: Target, message: Any) -> Timer:
    """A timer owned by ``process``: cancelled in its death step."""
    if not isinstance(target, Pid | str | Via):
        raise TypeError(f"a target is a Pid, a registered name or a Via, got {target!r}")
    extras = process.more()
    timer = process.sched.timers.add(delay, _fire, None)
    timer.argument = (process, timer, target, message)
    extras.timers = added(extras.timers, timer)
    return timer


def _fire(argument: tuple[Process, Timer, Target, Any]) -> None:
    owner, timer, target, message = argument
    if owner.flags & DEAD:
        return
    if owner.extras is not None:
        owner.extras.timers = removed(owner.extras.timers, timer)
    try:
        process = resolve(target, owner.sched)
    except Exception as exc:  # a Via's registry is user code; the timer was its owner's
        doom(owner, Crash.of(exc))
        return
    if process is not None:
        append_exempt(process, message)


def cancel_timer(process: Process, timer: Timer | None) -> bool:
    """Cancel a timer of ``process``."""
    if timer is None or not process.sched.timers.drop(timer):
        return False
    if process.extras is not None:
        process.extras.timers = removed(process.extras.timers, timer)
    return True
