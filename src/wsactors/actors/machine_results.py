"""What a state function may return: the closed vocabulary of ``StateMachine``, OTP's ``gen_statem`` results and actions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Literal

import attrs

from wsactors.actors.messages import Result
from wsactors.actors.requests import Request

STATE_TIMEOUT: Final = "state_timeout"
EVENT_TIMEOUT: Final = "event_timeout"

EventType = Literal["cast", "info", "internal", "enter", "state_timeout", "event_timeout"] | tuple[str, Any]
"""``("call", caller)`` and ``("timeout", name)`` are pairs; the others plain words."""

Seconds = float | Literal["update"] | None
"""A delay; 0 fires before any message that is still in the mailbox; None cancels; ``"update"`` changes only the content."""


class Action:
    """Base of what a result may ask for besides the state change."""

    __slots__ = ()


def _seconds(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None or value == "update":
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{attribute.name} must be a number of seconds >= 0, None (cancel) or 'update', got {value!r}")


@attrs.frozen
class Postpone(Action):
    """Keep the current event and deliver it again after the next change of state, before newer ones."""


@attrs.frozen
class Answer(Action):
    """Answer a call: ``caller`` is the one of its ``("call", caller)`` event, now or any time later."""

    caller: Request
    value: Any


@attrs.frozen
class NextEvent(Action):
    """Insert an event before everything already queued. Several keep their order."""

    type: EventType
    content: Any = None


@attrs.frozen
class StateTimeout(Action):
    """A ``state_timeout`` event in ``seconds``, unless the state changes before."""

    seconds: Seconds = attrs.field(validator=_seconds)
    content: Any = None

    @property
    def key(self) -> EventType:
        return STATE_TIMEOUT


@attrs.frozen
class EventTimeout(Action):
    """An ``event_timeout`` event if no event of any kind comes for ``seconds``."""

    seconds: Seconds = attrs.field(validator=_seconds)
    content: Any = None

    @property
    def key(self) -> EventType:
        return EVENT_TIMEOUT


@attrs.frozen
class NamedTimeout(Action):
    """A ``("timeout", name)`` event in ``seconds``, whatever happens meanwhile, unless cancelled or restarted by name."""

    name: Hashable
    seconds: Seconds = attrs.field(validator=_seconds)
    content: Any = None

    @property
    def key(self) -> EventType:
        return ("timeout", self.name)


TimeoutAction = StateTimeout | EventTimeout | NamedTimeout


@attrs.frozen(init=False)
class NextState(Result):
    """Go to ``state``. If that is the state it is in, nothing is replayed, entered or cancelled."""

    state: Any
    actions: tuple[Action, ...]

    def __init__(self, state: Any, *actions: Action) -> None:
        self.__attrs_init__(state, actions)


@attrs.frozen(init=False)
class KeepState(Result):
    """Stay. Returning None means the same without actions."""

    actions: tuple[Action, ...]

    def __init__(self, *actions: Action) -> None:
        self.__attrs_init__(actions)


@attrs.frozen(init=False)
class RepeatState(Result):
    """Stay, but make the enter call again."""

    actions: tuple[Action, ...]

    def __init__(self, *actions: Action) -> None:
        self.__attrs_init__(actions)


@attrs.frozen(init=False)
class StopAndReply(Result):
    """Give these answers, then end with ``reason`` (``terminate`` runs after the answers)."""

    reason: Any
    answers: tuple[Answer, ...]

    def __init__(self, reason: Any, *answers: Answer) -> None:
        self.__attrs_init__(reason, answers)


@attrs.frozen
class Begin:
    """What ``StateMachine.begin`` hands from ``init`` to the machine's first step."""

    state: Any
    actions: tuple[Action, ...]
