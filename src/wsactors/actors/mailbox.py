"""Putting messages into mailboxes: limits, overflow policies, conflation; and taking chosen ones out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import attrs

from wsactors.actors.messages import Down, Exit, Response, Timeout
from wsactors.actors.pid import Pid
from wsactors.actors.process import DEAD, DEBUG, DYING, LIMITS, QUEUED, Process
from wsactors.actors.requests import FAILED, Cast, Keyed, Request, Resume, rouse
from wsactors.errors import MutableMessage

OVERHEAD: Final = 64
"""Bytes a message counts on top of its payload (an estimate, as every memory figure is)."""
EXEMPT: Final = frozenset({Down, Exit, Timeout, Response, Resume})


def post(process: Process, message: Any) -> bool:
    """Queue a send or cast under the mailbox's policy; False when it was refused or nobody is there. Never blocks."""
    if not process.flags:
        process.box.append(message)
        process.flags = QUEUED
        sched = process.sched
        sched.runq.append(process)
        if sched.leader is None:
            sched.wake()
        return True
    return post_slow(process, message)


def post_slow(process: Process, message: Any) -> bool:
    """``post`` to an actor that is not idle, or that needs a closer look."""
    flags = process.flags
    if flags & (DEAD | DYING):
        process.sched.dropped_dead += 1
        return False
    if flags & DEBUG:
        check_immutable(message)
    if flags & LIMITS and _conflated(process, message):
        return True
    if len(process.box) + len(process.front) >= process.kind.capacity or (flags & LIMITS and _too_heavy(process, message)):
        told = _overflow(process, message)
        if told is not None:
            return told
    if flags & LIMITS:
        message = _account(process, message)
    process.box.append(message)
    rouse(process)
    return True


def _overflow(process: Process, message: Any) -> bool | None:
    """Apply the policy: what the sender is told, or None when room was made."""
    policy = process.kind.settings.overflow
    extras = process.more()
    extras.refused += 1
    process.sched.dropped_full += 1
    if message.__class__ is Request:
        return False
    match policy:
        case "drop_newest":
            return True
        case "drop_oldest":
            dropped = take_first(process, _droppable)
            return None if dropped is not None and not _still_too_heavy(process, message) else False
        case "kill":
            process.sched.doom(process, "mailbox_overflow")
            return False
        case _:
            return False


def _droppable(message: Any) -> bool:
    return message.__class__ not in EXEMPT and message.__class__ is not Request


def _still_too_heavy(process: Process, message: Any) -> bool:
    while process.flags & LIMITS and _too_heavy(process, message):
        if take_first(process, _droppable) is None:
            return True
    return False


def _conflated(process: Process, message: Any) -> bool:
    """Whether a queued message of the same key was replaced."""
    settings = process.kind.settings
    extras = process.more()
    if settings.key is None or message.__class__ is Request:
        return False
    key = settings.key(message.message if message.__class__ is Cast else message)
    envelope = None if key is None or extras.keys is None else extras.keys.get(key)
    if envelope is None:
        return False
    extras.bytes += weight(message) - weight(envelope.item)
    envelope.item = message
    return True


def _too_heavy(process: Process, message: Any) -> bool:
    limit = process.kind.settings.max_bytes
    return limit is not None and process.more().bytes + weight(message) > limit


def _account(process: Process, message: Any) -> Any:
    """Book a message that will be queued; wraps it when it has a conflation key."""
    settings = process.kind.settings
    extras = process.more()
    if settings.max_bytes is not None:
        extras.bytes += weight(message)
    if settings.key is not None and message.__class__ is not Request:
        key = settings.key(message.message if message.__class__ is Cast else message)
        if key is not None:
            message = Keyed(key, message)
            if extras.keys is None:
                extras.keys = {}
            extras.keys[key] = message
    length = len(process) + 1
    mark = settings.high_water
    if mark is not None and length >= mark and not extras.high_told:
        extras.high_told = True
        if process.sched.on_high_water is not None:
            process.sched.on_high_water(process, length)
    return message


def taken(process: Process, message: Any) -> Any:
    """Undo the booking of a message that leaves a mailbox with LIMITS; unwraps a keyed one."""
    extras = process.more()
    settings = process.kind.settings
    if message.__class__ is Keyed:
        if extras.keys is not None:
            extras.keys.pop(message.key, None)
        message = message.item
    if settings.max_bytes is not None and message.__class__ not in EXEMPT:
        extras.bytes -= weight(message)
    if extras.high_told and settings.high_water is not None and len(process) * 2 <= settings.high_water:
        extras.high_told = False
    return message


def weight(message: Any) -> int:
    """Estimated bytes of a message: its strings and bytes to depth 2, plus a constant."""
    if message.__class__ is Cast or message.__class__ is Request:
        message = message.message
    return OVERHEAD + _payload(message, 2)


def _payload(value: Any, depth: int) -> int:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return len(value)
    if depth == 0:
        return 0
    inner: Iterable[Any] = ()
    if isinstance(value, tuple | list | set | frozenset):
        inner = value
    elif isinstance(value, dict):
        inner = (*value.keys(), *value.values())
    elif attrs.has(value.__class__):
        inner = (getattr(value, field.name) for field in attrs.fields(value.__class__))
    return sum(_payload(item, depth - 1) for item in inner)


def take_first(process: Process, wanted: Callable[[Any], bool], default: Any = None) -> Any:
    """Remove and return the oldest queued message that ``wanted`` accepts (envelopes included), or ``default``."""
    front = process.front
    for index in range(len(front) - 1, -1, -1):
        if wanted(_inside(front[index])):
            message = front.pop(index)
            return taken(process, message) if process.flags & LIMITS else message
    box = process.box
    for index, queued in enumerate(box):
        if wanted(_inside(queued)):
            message = box.pop(index)
            return taken(process, message) if process.flags & LIMITS else message
    return default


def take_all(process: Process, wanted: Callable[[Any], bool]) -> list[Any]:
    """Remove and return every queued message that ``wanted`` accepts, oldest first: one pass, where ``take_first`` would need many."""
    chosen = [message for message in (*reversed(process.front), *process.box) if wanted(_inside(message))]
    if chosen:
        if process.front:
            process.front = [message for message in process.front if not wanted(_inside(message))]
        process.box = [message for message in process.box if not wanted(_inside(message))]
        if process.flags & LIMITS:
            return [taken(process, message) for message in chosen]
    return chosen


def _inside(message: Any) -> Any:
    return message.item if message.__class__ is Keyed else message


def pending_requests(process: Process) -> list[Request]:
    """Every call that would be left unanswered if the actor died now."""
    requests = [message for message in reversed(process.front) if message.__class__ is Request]
    requests += [message for message in process.box if message.__class__ is Request]
    requests += [message.request for message in (*process.front, *process.box) if message.__class__ is Resume]
    extras = process.extras
    if extras is not None:
        if extras.serving is not None:
            requests.append(extras.serving)
        if extras.outstanding:
            requests.extend(extras.outstanding)
        if extras.halt is not None and extras.halt.request is not None:
            requests.append(extras.halt.request)
    return requests


def fail_requests(requests: Iterable[Request], reason: Any) -> None:
    """Tell every caller that no answer will come."""
    for request in requests:
        request.settle(FAILED, reason)


_SCALARS: Final = (str, bytes, int, float, complex, bool, type(None), Pid, Decimal, Fraction)


def check_immutable(message: Any) -> None:
    """Debug mode: raise ``MutableMessage`` for anything the sender could still change."""
    if message.__class__ is Cast or message.__class__ is Request:
        message = message.message
    stack = [message]
    while stack:
        value = stack.pop()
        if isinstance(value, tuple | frozenset):
            stack.extend(value)
        elif isinstance(value, _SCALARS) or isinstance(value, type) or callable(value):
            continue
        elif attrs.has(value.__class__) and _is_frozen(value.__class__):
            stack.extend(getattr(value, field.name) for field in attrs.fields(value.__class__))
        elif value.__class__.__module__.startswith("wsactors.actors."):
            continue
        else:
            raise MutableMessage(f"{type(value).__qualname__} inside {type(message).__qualname__} {_short(message)} can be changed")


def _is_frozen(cls: type) -> bool:
    return cls.__setattr__ is not object.__setattr__ and "frozen" in cls.__setattr__.__qualname__


def _short(message: Any) -> str:
    text = repr(message)
    return text if len(text) <= 80 else text[:77] + "..."
