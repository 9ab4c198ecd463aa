"""Putting messages into mailboxes: limits, overflow policies, conflation; and taking chosen ones out again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import attrs

from wsactors.actors.pid import Pid
from wsactors.actors.process import DEAD, DEBUG, DYING, EMPTY, LIMITS, MIXED, QUEUED, Process
from wsactors.actors.requests import FAILED, FREE, Cast, Keyed, Request, Resume, rouse
from wsactors.errors import MutableMessage

OVERHEAD: Final = 64
"""Bytes a message counts on top of its payload (an estimate, as every memory figure is)."""


def post(process: Process, envelope: Cast | Request) -> bool:
    """Queue a cast or call under the mailbox's policy; False when it was refused or nobody is there. Never blocks."""
    if not process.flags:
        process.first = envelope
        process.flags = QUEUED | MIXED
        sched = process.sched
        sched.runq.append(process)
        if sched.leader is None:
            sched.wake()
        return True
    if not post_slow(process, envelope):
        return False
    process.flags |= MIXED
    return True


def post_slow(process: Process, message: Any) -> bool:
    """``post`` to an actor that is not idle, or that needs a closer look."""
    flags = process.flags
    if flags & (DEAD | DYING):
        process.sched.dropped_dead += 1
        return False
    if flags & DEBUG:
        check_immutable(message)
    if flags & LIMITS and (envelope := _queued_with_same_key(process, message)) is not None:
        return _replace(process, envelope, message)
    if len(process) >= process.kind.capacity or (
        flags & LIMITS and (_crowded(process) or _too_heavy(process, message))
    ):
        told = _overflow(process, message)
        if told is not None:
            return told
    if flags & LIMITS:
        message = _account(process, message)
    process.queue(message)
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
            return None if _drop_oldest(process, message) else False
        case "kill":
            process.sched.doom(process, "mailbox_overflow")
            return False
        case _:
            return False


def _drop_oldest(process: Process, message: Any) -> bool:
    """Drop queued sends and casts, oldest first, to make room for ``message``; False if there is no room to be made.

    Exempt messages may have filled the mailbox beyond its capacity: then one dropped still lets one in, and it grows no further.
    """
    limit = process.kind.settings.max_bytes
    if limit is not None and weight(message) > limit:
        return False
    if _crowded(process) and not _drop_one(process):
        return False
    while _too_heavy(process, message):
        if not _drop_one(process):
            return False
    return True


def _drop_one(process: Process) -> bool:
    process.spill()
    front, box = process.front, process.box
    for index in range(len(front) - 1, -1, -1):
        if _droppable(front[index]):
            taken(process, front.pop(index))
            return True
    for index, queued in enumerate(box):
        if _droppable(queued):
            taken(process, box.pop(index))
            return True
    return False


def _droppable(queued: Any) -> bool:
    kind = queued.__class__
    return kind is not Request and kind is not Resume and not (kind is Keyed and queued.key is FREE)


def _key(process: Process, message: Any) -> Any:
    """The conflation key of a message, or None."""
    key = process.kind.settings.key
    if key is None or message.__class__ is Request:
        return None
    try:
        value = key(message.message if message.__class__ is Cast else message)
        hash(value)
    except Exception:  # the receiver's function, run in its senders: no reason to fail one of them
        return None
    return value


def _queued_with_same_key(process: Process, message: Any) -> Keyed | None:
    keys = process.more().keys
    if not keys or (key := _key(process, message)) is None:
        return None
    return keys.get(key)


def _replace(process: Process, envelope: Keyed, message: Any) -> bool:
    """Conflate: the newer message takes the older one's place, if its bytes fit."""
    limit = process.kind.settings.max_bytes
    if limit is not None:
        extras = process.more()
        grown = extras.bytes + weight(message) - weight(envelope.item)
        if grown > limit:
            extras.refused += 1
            process.sched.dropped_full += 1
            return False
        extras.bytes = grown
    envelope.item = message
    return True


def _too_heavy(process: Process, message: Any) -> bool:
    limit = process.kind.settings.max_bytes
    return limit is not None and process.more().bytes + weight(message) > limit


def _crowded(process: Process) -> bool:
    """Whether the messages, with what a state machine holds back, leave no room for one more."""
    queued, capacity, held = len(process), process.kind.capacity, process.more().held
    if queued >= capacity or held is None:
        return queued >= capacity
    return queued + len(held) >= capacity and queued + held.purge() >= capacity


def _account(process: Process, message: Any) -> Any:
    """Book a message that will be queued; wraps it when it has a conflation key."""
    settings = process.kind.settings
    extras = process.more()
    if settings.max_bytes is not None:
        extras.bytes += weight(message)
    message = keyed(process, message)
    length = len(process) + 1
    mark = settings.high_water
    if mark is not None and length >= mark and not extras.high_told:
        extras.high_told = True
        if process.sched.on_high_water is not None:
            process.sched.on_high_water(process, length)
    return message


def keyed(process: Process, message: Any) -> Any:
    """``message`` in the envelope that a newer one of its key finds, if it has a key."""
    key = _key(process, message)
    if key is None:
        return message
    extras = process.more()
    if extras.keys is None:
        extras.keys = {}
    envelope = extras.keys[key] = Keyed(key, message)
    return envelope


def taken(process: Process, message: Any) -> Any:
    """Undo the booking of a message that leaves a mailbox with LIMITS; unwraps a keyed one."""
    extras = process.more()
    settings = process.kind.settings
    exempt = message.__class__ is Resume
    if message.__class__ is Keyed:
        exempt = message.key is FREE
        if not exempt and extras.keys is not None:
            extras.keys.pop(message.key, None)
        message = message.item
    if settings.max_bytes is not None and not exempt:
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
    process.spill()
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
    """Remove and return, in one pass, every queued message that ``wanted`` accepts, oldest first."""
    process.spill()
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


def detach(process: Process) -> Iterator[Any]:
    """The death step: empty the mailbox; what was in it comes out oldest first, and is let go one by one."""
    process.spill()
    box, front = process.box, process.front
    process.box = process.front = EMPTY
    return _let_go(box, front)


def _let_go(box: list[Any], front: list[Any]) -> Iterator[Any]:
    while front:
        yield front.pop()
    box.reverse()
    while box:
        yield box.pop()


def unanswered(message: Any) -> Request | None:
    """The call in a mailbox that now nobody takes. Closes a coroutine that never runs."""
    if message.__class__ is Request:
        return message
    if message.__class__ is Resume:
        message.coroutine.close()
        return message.request
    return None


def taken_calls(process: Process) -> list[Request]:
    """The death step: the calls that an actor has taken and will not answer any more."""
    requests: list[Request] = []
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
    """Debug mode: raise ``MutableMessage`` for anything the sender could still change.

    A class that says ``__is_value__ = True`` promises that nobody changes what its instances hold once they are sent.
    """
    if message.__class__ is Cast or message.__class__ is Request:
        message = message.message
    stack = [message]
    while stack:
        value = stack.pop()
        if isinstance(value, tuple | frozenset):
            stack.extend(value)
        elif isinstance(value, (*_SCALARS, type)) or callable(value) or getattr(value, "__is_value__", False):
            continue
        elif attrs.has(value.__class__) and _is_frozen(value.__class__):
            stack.extend(getattr(value, field.name) for field in attrs.fields(value.__class__))
        elif value.__class__.__module__.startswith("wsactors.actors."):
            continue
        else:
            raise MutableMessage(
                f"{type(value).__qualname__} inside {type(message).__qualname__} {_short(message)} can be changed"
            )


def _is_frozen(cls: type) -> bool:
    return "frozen" in cls.__setattr__.__qualname__


def _short(message: Any) -> str:
    text = repr(message)
    return text if len(text) <= 80 else text[:77] + "..."
