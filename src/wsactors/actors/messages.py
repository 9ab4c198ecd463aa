"""What the runtime itself puts into a mailbox, and what a handler may return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from wsactors.actors.redact import safe_text
from wsactors.actors.traces import trace_of

if TYPE_CHECKING:
    from wsactors.actors.monitors import MonitorRef
    from wsactors.actors.pid import Pid

TRACE_LIMIT: Final = 4_000
"""Characters of traceback a crash reason keeps: reasons are copied to every monitor, so they hold text, never frames."""


@attrs.frozen
class Down:
    """A monitored actor is gone. ``pid`` is its pid, or the name that was asked for when nobody had it."""

    ref: MonitorRef
    pid: Pid | str
    reason: Any


@attrs.frozen
class Exit:
    """An exit signal that a trapping actor receives as a message."""

    pid: Pid
    reason: Any


@attrs.frozen
class Timeout:
    """No message came for the seconds an ``IdleAfter`` asked for."""

    seconds: float


@attrs.frozen
class Response:
    """The outcome of a ``send_request(..., notify=True)``: ``ok`` and the value, or not ok and the exit reason."""

    label: Any
    ok: bool
    value: Any


@attrs.frozen
class Crash:
    """The exit reason of an actor whose code raised: type, message and shortened trace, as text.

    Equality ignores the trace, so that tests and policies can compare reasons.
    """

    type: str
    message: str
    trace: str = attrs.field(default="", eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    @classmethod
    def of(cls, exc: BaseException) -> Crash:
        """Text of an exception. A group around one single error counts as that error: nurseries wrap even one.

        Secrets that show as such (``token=...``) are redacted here, for reasons travel far.
        """
        leaf = exc
        while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
            leaf = leaf.exceptions[0]
        trace = trace_of(exc)
        if len(trace) > 4 * TRACE_LIMIT:
            trace = trace[: 2 * TRACE_LIMIT] + trace[-2 * TRACE_LIMIT :]
        # Before the final cut, which could part a secret from its name.
        trace = safe_text(trace)
        if len(trace) > TRACE_LIMIT:
            trace = trace[: TRACE_LIMIT // 2] + "\n  ...\n" + trace[-TRACE_LIMIT // 2 :]
        try:
            message = str(leaf)
        except Exception as broken:  # the exception's own __str__ is user code
            message = f"<unprintable: {type(broken).__name__}>"
        return cls(type(leaf).__qualname__, safe_text(message[:1_000]), trace)


class Unhandled:
    """Type of ``UNHANDLED``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNHANDLED"


UNHANDLED: Final = Unhandled()
"""Returned by ``handle_call`` for a message it does not know: the actor crashes with ``unhandled_call``, loudly."""


class Result:
    """Base of the closed result vocabulary of handlers."""

    __slots__ = ()


@attrs.frozen
class NoReply(Result):
    """``handle_call`` answers later, with ``reply(caller, value)``. ``then`` may be ``Continue`` or ``IdleAfter``."""

    then: Result | None = None


@attrs.frozen
class Reply(Result):
    """Answer the call with ``value``, then do ``then`` (``Stop``, ``Continue`` or ``IdleAfter``)."""

    value: Any
    then: Result | None = None


_UNSET: Final = Unhandled()


@attrs.frozen
class Stop(Result):
    """End the actor with ``reason`` after ``terminate``; a pending call is answered with ``reply``, if given, after it."""

    reason: Any = "normal"
    reply: Any = _UNSET

    @property
    def has_reply(self) -> bool:
        return self.reply is not _UNSET


@attrs.frozen
class Continue(Result):
    """Run ``handle_continue(argument)`` before any queued message."""

    argument: Any = None


@attrs.frozen
class IdleAfter(Result):
    """Deliver ``Timeout`` if no message comes for ``seconds``. Any message cancels it; return it again to re-arm."""

    seconds: float


@attrs.frozen
class Ignore(Result):
    """Returned by ``init``: do not start, and do not call it a failure."""


def is_normal(reason: Any) -> bool:
    """Whether a reason counts as an orderly end: ``normal``, ``shutdown`` or ``("shutdown", why)``."""
    return reason in ("normal", "shutdown") or (
        isinstance(reason, tuple) and len(reason) == 2 and reason[0] == "shutdown"
    )


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """Every exception inside nested groups."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from leaves(inner)
    else:
        yield exc
