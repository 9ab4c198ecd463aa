"""What the runtime knows about an actor class, worked out once when the class is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any, Final, Literal

import attrs

DEFAULT_CAPACITY: Final = 10_000
"""Messages a mailbox holds unless its class says otherwise."""

Overflow = Literal["reject", "drop_oldest", "drop_newest", "conflate", "kill"]


def _positive(_: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, got {value}")


@attrs.frozen
class Mailbox:
    """How much a class's mailbox holds, and what happens when more comes. Set it as ``mailbox = Mailbox(...)``.

    * ``reject``: the sender is told (``send`` returns False, ``call`` raises ``MailboxFull``);
    * ``drop_oldest`` / ``drop_newest``: a queued / the new send or cast is dropped and counted, the sender is not told;
    * ``conflate``: a message whose ``key(message)`` equals a queued one's replaces it in place (``None``: no key);
      different keys are bounded by ``capacity`` and then rejected;
    * ``kill``: the actor dies with ``mailbox_overflow``.

    Calls over the limit always raise ``MailboxFull``. Down, trapped Exit and timer messages are exempt: they are bounded by
    what the actor itself asked for.

    >>> class Meter(Actor):                                          # doctest: +SKIP
    ...     mailbox = Mailbox(capacity=64, overflow="conflate", key=lambda m: m[0])
    """

    capacity: int = attrs.field(default=DEFAULT_CAPACITY, validator=_positive)
    overflow: Overflow = attrs.field(
        default="reject", validator=attrs.validators.in_(("reject", "drop_oldest", "drop_newest", "conflate", "kill"))
    )
    max_bytes: int | None = attrs.field(default=None, validator=_positive)
    """Estimated payload bytes (strings and bytes to depth 2, plus 64 per message), on top of ``capacity``."""
    key: Callable[[Any], Hashable] | None = None
    """The conflation key of a message; needed by ``conflate`` and only by it. A message for which it raises, or whose key cannot
    be hashed, has no key: a sender must not fail because of what the receiver made of its message."""
    high_water: int | None = attrs.field(default=None, validator=_positive)
    """Length at which the node's ``on_high_water`` is told, once until the mailbox has drained to half of it."""

    def __attrs_post_init__(self) -> None:
        if (self.overflow == "conflate") != (self.key is not None):
            raise ValueError("overflow='conflate' needs key=, and only it takes one")


class Kind:
    """Facts about one actor class that hot paths read instead of asking the class again."""

    __slots__ = (
        "capacity",
        "cls",
        "has_init",
        "inline",
        "is_task",
        "lasting",
        "settings",
        "skip_abandoned",
        "special",
        "terminates",
    )

    def __init__(self, cls: type, base: type) -> None:
        settings: Mailbox = cls.mailbox  # type: ignore[attr-defined]
        if not isinstance(settings, Mailbox):
            raise TypeError(f"{cls.__qualname__}.mailbox must be a Mailbox(...), got {settings!r}")
        self.cls = cls
        self.settings = settings
        self.capacity = settings.capacity
        self.special = (
            settings.overflow in ("conflate", "drop_oldest")
            or settings.max_bytes is not None
            or settings.high_water is not None
            # Senders put a second message to an actor without looking at its limit.
            or settings.capacity < 2
        )
        """Whether every message needs a look as it comes and goes; exempt ones then travel in an envelope that says so."""
        self.has_init = cls.init is not base.init  # type: ignore[attr-defined]
        self.terminates = cls.terminate is not base.terminate  # type: ignore[attr-defined]
        self.lasting: bool = getattr(cls, "_lasting", False)
        """An attached task's mailbox: not the node's to stop."""
        self.is_task: bool = cls._is_task  # type: ignore[attr-defined]
        self.skip_abandoned: bool = cls.skip_abandoned_calls  # type: ignore[attr-defined]
        handler = cls.handle_call  # type: ignore[attr-defined]
        self.inline = not self.is_task and inspect.isfunction(handler) and not _is_coroutine_function(handler)


def _is_coroutine_function(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def is_async(function: Any) -> bool:
    """Whether calling ``function`` makes a coroutine; cheap, and for wrappers that hide it not certain."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)
