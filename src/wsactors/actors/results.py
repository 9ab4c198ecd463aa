"""What becomes of a handler's return value: the closed result vocabulary, applied."""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

from wsactors.actors.death import halt
from wsactors.actors.messages import Continue, Crash, IdleAfter, Ignore, NoReply, Reply, Stop, Timeout, Unhandled
from wsactors.actors.process import CONTINUE, DEAD, DYING, IDLE, QUEUED, Extras, Process
from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import ANSWERED, Cast, Request, append_exempt, rouse

VOCABULARY: Final = frozenset({NoReply, Reply, Stop, Continue, IdleAfter, Ignore, Unhandled})


def settle(process: Process, request: Request | None, message: Any, result: Any) -> None:
    """Apply ``result``, the return value for ``message`` (``request`` if it was a call)."""
    kind = result.__class__
    extras = process.extras
    if extras is not None and extras.doom is not None:
        # A killed actor answers nobody, even if its handler came to an end: the call fails with the death.
        if request is not None:
            _take(extras, request)
    elif kind not in VOCABULARY:
        if request is not None:
            request.settle(ANSWERED, result)
        elif kind is not NoneType:
            _bad(process, request, result, message)
    else:
        _apply(process, request, message, result)


def _take(extras: Extras, request: Request) -> None:
    """The answer is owed."""
    if request.waiting:
        if extras.outstanding is None:
            extras.outstanding = {}
        extras.outstanding[request] = None


def _apply(process: Process, request: Request | None, message: Any, result: Any) -> None:
    match result:
        case NoReply(then) if request is not None:
            _take(process.more(), request)
            follow(process, then)
        case Reply(value, then) if request is not None:
            if isinstance(then, Stop):
                halt(process, then.reason, request, value, True, message)
            else:
                request.settle(ANSWERED, value)
                follow(process, then)
        case Stop(reason):
            halt(process, reason, request, result.reply if result.has_reply else None, result.has_reply, message)
        case Continue() | IdleAfter() if request is None:
            follow(process, result)
        case Unhandled():
            _unhandled(process, request, message)
        case _:
            _bad(process, request, result, message)


def follow(process: Process, then: Any) -> None:
    """Do what comes after a reply, or after ``init``."""
    match then:
        case None:
            pass
        case Continue(argument):
            extras = process.more()
            extras.argument = argument
            process.flags |= CONTINUE
            rouse(process)
        case IdleAfter(seconds):
            extras = process.more()
            if extras.idle is not None:
                process.sched.timers.cancel(extras.idle)
            extras.idle = process.sched.timers.add(seconds, _idle, (process, seconds))
            process.flags |= IDLE
        case Stop(reason):
            halt(process, reason)
        case _:
            _bad(process, None, then)


def disarm(process: Process) -> None:
    """A message came: the idle time-out is off."""
    process.flags &= ~IDLE
    extras = process.extras
    if extras is not None and extras.idle is not None:
        process.sched.timers.cancel(extras.idle)
        extras.idle = None


def _idle(argument: tuple[Process, float]) -> None:
    process, seconds = argument
    if process.flags & (DEAD | DYING) or process.extras is None:
        return
    process.extras.idle = None
    process.flags &= ~IDLE
    if not len(process) and not process.flags & QUEUED:
        append_exempt(process, Timeout(seconds))


def _unhandled(process: Process, request: Request | None, message: Any) -> None:
    if request is not None:
        halt(process, Crash("unhandled_call", safe_repr(request.message)), request, message=request)
    elif message.__class__ is Cast:
        halt(process, Crash("unhandled_cast", safe_repr(message.message)), message=message)
    # A plain message nobody knows is dropped, as in OTP: anybody may send anything to a pid.


def _bad(process: Process, request: Request | None, result: Any, message: Any = None) -> None:
    halt(process, Crash("bad_return_value", safe_repr(result)), request, message=message)
