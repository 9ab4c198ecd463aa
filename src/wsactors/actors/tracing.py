"""Tracing one actor: what it receives, what it answers, how it ends, told to a callback as it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import attrs

from wsactors.actors.log import log
from wsactors.actors.pid import Pid
from wsactors.actors.process import DEAD, TRACED, Extras, Process
from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import Cast, Request, Resume

LOGGER: Final = "wsactors.trace"

Event = Literal["receive", "reply", "suspend", "resume", "replace_state", "code_change", "exit"]
Kind = Literal["call", "cast", "info", "continue", ""]


@attrs.frozen(repr=False)
class TraceEvent:
    """One thing a traced actor did. ``content`` is the value itself; the event prints with secrets redacted.

    ========================  ====================================================================
    event                     content
    ========================  ====================================================================
    ``receive``               the message, before its handler runs; ``kind`` says which handler
    ``reply``                 the answer to a call, now or deferred
    ``suspend``, ``resume``   None
    ``replace_state``         None
    ``code_change``           the class it has now
    ``exit``                  the exit reason
    ========================  ====================================================================
    """

    pid: Pid
    event: Event
    kind: Kind
    content: Any

    def __repr__(self) -> str:
        kind = f" {self.kind}" if self.kind else ""
        return f"<TraceEvent {self.pid} {self.event}{kind}: {safe_repr(self.content, 500)}>"


class Tracer:
    """One callback on one actor. It never hurts the actor: if the callback raises, it is removed and that is logged."""

    __slots__ = ("_process", "callback")

    def __init__(self, process: Process, callback: Callable[[TraceEvent], Any]) -> None:
        self._process = process
        self.callback = callback

    def __call__(self, event: Event, content: Any) -> None:
        """Tell the callback; the runtime calls this."""
        kind: Kind = ""
        if event == "receive":
            kind, content = opened(content)
        try:
            self.callback(TraceEvent(self._process.pid, event, kind, content))
        except Exception as broken:
            self.remove()
            log(LOGGER, "error", "trace.callback_failed", pid=str(self._process.pid), error=type(broken).__qualname__)

    @property
    def active(self) -> bool:
        """Whether it still traces."""
        extras = self._process.extras
        return extras is not None and self in extras.tracers

    def remove(self) -> None:
        """Stop tracing. Removing it again does nothing."""
        extras = self._process.extras
        if extras is None:
            return
        extras.tracers = tuple(tracer for tracer in extras.tracers if tracer is not self)
        if not extras.tracers:
            self._process.flags &= ~TRACED


def opened(message: Any) -> tuple[Kind, Any]:
    """Which handler an envelope is for, and what is in it."""
    match message:
        case Request():
            return "call", message.message
        case Cast():
            return "cast", message.message
        case Resume():
            return "call", message.request.message
        case Extras():
            return "continue", message.argument
        case _:
            return "info", message


def add_tracer(process: Process, callback: Callable[[TraceEvent], Any]) -> Tracer:
    """Have ``callback`` told of everything from now on."""
    tracer = Tracer(process, callback)
    if not process.flags & DEAD:
        extras = process.more()
        extras.tracers = (*extras.tracers, tracer)
        process.flags |= TRACED
    return tracer


def emit(process: Process, event: Event, content: Any = None) -> None:
    """Tell the tracers of an actor that has any."""
    extras = process.extras
    if extras is not None:
        for tracer in extras.tracers:
            tracer(event, content)


def log_event(event: TraceEvent) -> None:
    """The default callback: one line of log per event."""
    log(
        LOGGER,
        "info",
        f"trace.{event.event}",
        pid=str(event.pid),
        kind=event.kind,
        content=safe_repr(event.content, 500),
    )
