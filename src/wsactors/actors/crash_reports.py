"""Crash reports: what is known about an actor that ended badly, as text, logged outside of its death.

The death step only takes references and counts (``note``); a task of the node turns them into text and hands them to a sink,
a slice of a millisecond at a time. A storm is rationed, per class and in all: what is beyond that is counted, and the count
reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from trio.lowlevel import cancel_shielded_checkpoint

from wsactors.actors.introspection import state_of_actor
from wsactors.actors.log import log
from wsactors.actors.messages import Crash, is_normal
from wsactors.actors.process import Process
from wsactors.actors.ration import Ration
from wsactors.actors.redact import safe_repr, safe_text, scrub, secrets_in
from wsactors.actors.statistics import ancestors_of
from wsactors.actors.tracing import opened

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid
    from wsactors.actors.scheduler import Scheduler

LOGGER: Final = "wsactors.crash"
BURST: Final = 20
"""Reports of one class at once; then ``PER_SECOND``. All classes together get five times that."""
PER_SECOND: Final = 2.0
TOGETHER: Final = 5
WAITING: Final = 100
"""Reports not yet written that are kept: each keeps a dead actor's state alive."""
CLASSES: Final = 1_000
"""Classes rationed one by one; the rest share."""
SUMMARY: Final = 1.0
"""Seconds of suppressed crashes that are counted together."""
SLICE: Final = 0.001
TEXT: Final = 1_000
STACK: Final = 4_000


@attrs.frozen
class CrashReport:
    """One crash. Every field is text or a number and may be shown: shortened, and with secrets redacted."""

    node: str
    pid: str
    names: tuple[str, ...]
    cls: str
    phase: str
    """``init``, or which handler it was in: ``call``, ``cast``, ``info``, ``continue``; empty for code of its own tasks."""
    reason: str
    message: str
    """The last message: what it was handling."""
    caller: str
    """Who asked, if that was a call."""
    state: str
    stack: str
    ancestors: tuple[str, ...]
    mailbox: int
    """Messages that were still waiting."""
    handled: int
    """Messages it had handled in its life."""


@attrs.define(eq=False)
class _Fallen:
    """What the death step takes down: references only."""

    pid: Pid
    names: tuple[str, ...]
    cls: type
    actor: Any
    phase: str
    reason: Any
    message: Any
    caller: Pid | None
    ancestors: tuple[Pid, ...]
    mailbox: int
    handled: int


def log_report(report: CrashReport) -> None:
    """The default sink: one ``actor.crashed`` event on the logger ``wsactors.crash``."""
    fields = attrs.asdict(report)
    fields["names"] = " ".join(report.names)
    fields["ancestors"] = " ".join(report.ancestors)
    log(LOGGER, "error", "actor.crashed", **{name: value for name, value in fields.items() if value != ""})


class CrashReports:
    """A node's crash reports. Set ``sink`` to have them elsewhere than in the log."""

    def __init__(self, sched: Scheduler, sink: Callable[[CrashReport], Any] = log_report) -> None:
        self.sink = sink
        self.crashes = 0
        """Since the node opened."""
        self.suppressed = 0
        """Those of them without a report."""
        self.failed = 0
        """Reports that the sink refused by raising."""
        self._sched = sched
        self._waiting: deque[_Fallen] = deque()
        self._rations: dict[Any, Ration] = {}
        self._quiet: dict[str, int] = {}
        self._quiet_until = 0.0
        self._wake = trio.Event()

    def note(self, process: Process) -> None:
        """An actor that was stopped by its own code is in its death step. Takes a few microseconds and runs nobody's code."""
        extras = process.extras
        if extras is None or extras.halt is None or is_normal(extras.halt.reason):
            return
        self.crashes += 1
        now = self._sched.timers.now()
        cls = process.kind.cls
        if len(self._waiting) >= WAITING or not self._may(cls, now):
            self.suppressed += 1
            if not self._quiet:
                self._quiet_until = now + SUMMARY
                self._wake.set()
            name = cls.__qualname__ if cls.__qualname__ in self._quiet or len(self._quiet) < 20 else "others"
            self._quiet[name] = self._quiet.get(name, 0) + 1
            return
        stop = extras.halt
        message = stop.message if stop.message is not None else stop.request
        if message is None:
            message = extras.last
        kind, content = opened(message)
        self._waiting.append(
            _Fallen(
                pid=process.pid,
                names=tuple(extras.names) if extras.names else (),
                cls=cls,
                actor=process.actor,
                phase=stop.phase or ("" if message is None else kind),
                reason=stop.reason,
                message=content,
                caller=None if stop.request is None else stop.request.pid,
                ancestors=ancestors_of(process.parent),
                mailbox=len(process),
                handled=process.handled,
            )
        )
        self._wake.set()

    def _may(self, cls: type, now: float) -> bool:
        rations = self._rations
        own = rations.get(cls)
        if own is None:
            own = (
                rations.get(None)
                if len(rations) >= CLASSES
                else rations.setdefault(cls, Ration(BURST, PER_SECOND, now))
            )
        shared = rations.get("all") or rations.setdefault("all", Ration(BURST * TOGETHER, PER_SECOND * TOGETHER, now))
        return own is not None and own.take(now) and shared.take(now)

    async def run(self) -> None:
        """Write reports, for ever. The node runs it as a task."""
        while True:
            with trio.CancelScope(deadline=self._quiet_until if self._quiet else float("inf")):
                await self._wake.wait()
            self._wake = trio.Event()
            until = perf_counter() + SLICE
            while self._waiting:
                self._tell(self._waiting.popleft())
                if perf_counter() > until:
                    await cancel_shielded_checkpoint()
                    until = perf_counter() + SLICE
            if self._quiet and self._sched.timers.now() >= self._quiet_until:
                self._tell_suppressed()

    def flush(self) -> None:
        """Write what is left: the node closes."""
        while self._waiting:
            self._tell(self._waiting.popleft())
        if self._quiet:
            self._tell_suppressed()

    def _tell(self, fallen: _Fallen) -> None:
        try:
            self.sink(_written(fallen))
        except Exception as broken:  # the program's sink or logging: the node goes on, and says so once
            self.failed += 1
            if self.failed == 1:
                log(LOGGER, "error", "crash_report.not_written", pid=str(fallen.pid), error=type(broken).__qualname__)

    def _tell_suppressed(self) -> None:
        quiet, self._quiet = self._quiet, {}
        classes = ", ".join(f"{name}: {count}" for name, count in sorted(quiet.items(), key=lambda item: -item[1]))
        log(
            LOGGER,
            "error",
            "actor.crashes_suppressed",
            node=self._sched.home.name,
            more=sum(quiet.values()),
            classes=classes,
        )


def _written(fallen: _Fallen) -> CrashReport:
    """The report in words. What state and message hide by name is taken out of all of it."""
    state = {} if fallen.actor is None else state_of_actor(fallen.actor)
    hidden = secrets_in(state, fallen.message)
    reason = fallen.reason
    text = safe_text(str(reason)) if isinstance(reason, Crash) else safe_repr(reason, TEXT)
    stack = safe_text(reason.trace) if isinstance(reason, Crash) else ""
    return CrashReport(
        node=fallen.pid.node,
        pid=str(fallen.pid),
        names=fallen.names,
        cls=f"{fallen.cls.__module__}.{fallen.cls.__qualname__}",
        phase=fallen.phase,
        reason=scrub(text, hidden)[:TEXT],
        message="" if not fallen.phase or fallen.phase == "init" else scrub(safe_repr(fallen.message, TEXT), hidden),
        caller="" if fallen.caller is None else str(fallen.caller),
        state=scrub(safe_repr(state, TEXT), hidden),
        stack=scrub(stack, hidden)[-STACK:],
        ancestors=tuple(map(str, fallen.ancestors)),
        mailbox=fallen.mailbox,
        handled=fallen.handled,
    )
