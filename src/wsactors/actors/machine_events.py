"""The inside of a state machine: its events, those it postponed, its time-outs. Order and cancellation are decided here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from wsactors.actors.machine_results import (
    EVENT_TIMEOUT,
    STATE_TIMEOUT,
    Action,
    Answer,
    EventTimeout,
    EventType,
    NamedTimeout,
    NextEvent,
    Postpone,
    StateTimeout,
    TimeoutAction,
)
from wsactors.actors.requests import ANSWERED, Request
from wsactors.errors import BadResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsactors.actors.timers import Timer

INSERTABLE: Final = frozenset({"cast", "info", "internal"})


class Event:
    """One event. ``weight`` is what it counts towards the mailbox's byte limit while the machine holds it."""

    __slots__ = ("content", "type", "weight")

    def __init__(self, type: EventType, content: Any) -> None:  # noqa: A002 - gen_statem's word
        self.type = type
        self.content = content
        self.weight = 0

    @property
    def abandoned(self) -> bool:
        """Whether it is a call that nobody waits for any more."""
        kind = self.type
        return kind.__class__ is tuple and kind[0] == "call" and not kind[1].waiting

    def __repr__(self) -> str:
        return f"<Event {self.type!r}>"


class Fired:
    """A running time-out, and the message it puts into the mailbox when it fires."""

    __slots__ = ("content", "key", "timer")

    def __init__(self, key: EventType, content: Any) -> None:
        self.key = key
        self.content = content
        self.timer: Timer


class Plan:
    """What one event and the enter call it causes add up to, before any of it is done."""

    __slots__ = ("next_events", "postpone", "repeat", "target", "timeouts")

    def __init__(self, target: Any) -> None:
        self.target = target
        self.repeat = False
        self.postpone = False
        self.next_events: list[Event] = []
        self.timeouts: dict[EventType, TimeoutAction] = {}

    def take(self, actions: tuple[Action, ...], *, entering: bool, postponable: bool) -> None:
        """Note actions in order; answers go out at once. Raises ``BadResult`` for what is no action, or not allowed here."""
        for action in actions:
            match action:
                case Answer(caller, value) if isinstance(caller, Request):
                    caller.settle(ANSWERED, value)
                case Postpone() if postponable:
                    self.postpone = True
                case NextEvent(kind, content) if not entering and _insertable(kind):
                    self.next_events.append(Event(kind, content))
                case StateTimeout() | EventTimeout() | NamedTimeout():
                    # A later one of the same kind replaces an earlier one, and takes its place in the order.
                    self.timeouts.pop(action.key, None)
                    self.timeouts[action.key] = action
                case _:
                    where = " of an enter call" if entering else ""
                    raise BadResult(
                        f"{action!r} is not a possible action{where}: use Answer, Postpone (not for enter calls), "
                        "NextEvent (not in enter calls), StateTimeout, EventTimeout or NamedTimeout"
                    )


def _insertable(kind: Any) -> bool:
    if isinstance(kind, tuple):
        return len(kind) == 2 and kind[0] == "call" and isinstance(kind[1], Request)
    return kind in INSERTABLE


class Machine:
    """The events and time-outs of one state machine. ``len()`` of it is what counts towards the mailbox limit.

    ``queue`` holds replayed and inserted events, all older than the mailbox. Zero time-outs wait in ``zero``, in order: they are
    taken when the queue is empty, before the mailbox.
    """

    __slots__ = ("_cancel", "_refusals", "_set", "postponed", "queue", "skip_abandoned", "timers", "zero")

    def __init__(
        self,
        set_timer: Callable[[float, Fired], Timer],
        cancel: Callable[[Timer], Any],
        skip_abandoned: bool,
    ) -> None:
        self.queue: deque[Event] = deque()
        self.postponed: list[Event] = []
        self.zero: dict[EventType, Any] = {}
        self.timers: dict[EventType, Fired] = {}
        self.skip_abandoned = skip_abandoned
        self._set = set_timer
        self._cancel = cancel
        self._refusals = 0

    def __len__(self) -> int:
        return len(self.queue) + len(self.postponed)

    @property
    def busy(self) -> bool:
        """Whether an event waits that comes before the mailbox."""
        return bool(self.queue or self.zero)

    def pop(self) -> Event | None:
        """The next event that comes before the mailbox."""
        while self.queue:
            event = self.queue.popleft()
            if not (self.skip_abandoned and event.abandoned):
                return event
        if self.zero:
            key = next(iter(self.zero))
            return Event(key, self.zero.pop(key))
        return None

    def fired(self, message: Fired) -> bool:
        """Whether a time-out's message is still meant; a cancelled or restarted one is not."""
        if self.timers.get(message.key) is not message:
            return False
        del self.timers[message.key]
        return True

    def transition(self, event: Event | None, changed: bool, plan: Plan) -> None:
        """Do what a plan says, in gen_statem's order: postpone, replay, insert, cancel and set time-outs."""
        if plan.postpone and event is not None:
            self.postponed.append(event)
        if changed:
            self.queue.extendleft(reversed(self.postponed))
            self.postponed.clear()
            self.cancel(STATE_TIMEOUT)
        self.cancel(EVENT_TIMEOUT)
        self.queue.extendleft(reversed(plan.next_events))
        for key, action in plan.timeouts.items():
            self._start(key, action)

    def _start(self, key: EventType, action: TimeoutAction) -> None:
        seconds = action.seconds
        if seconds == "update":
            if key in self.timers:
                self.timers[key].content = action.content
            else:
                self.zero[key] = action.content
            return
        self.cancel(key)
        if seconds is None:
            return
        if seconds == 0:
            self.zero[key] = action.content
            return
        fired = self.timers[key] = Fired(key, action.content)
        fired.timer = self._set(seconds, fired)

    def cancel(self, key: EventType) -> None:
        """Forget a time-out, whether it runs, has fired into the mailbox or waits as a zero one."""
        fired = self.timers.pop(key, None)
        if fired is not None:
            self._cancel(fired.timer)
        self.zero.pop(key, None)

    def purge(self) -> int:
        """Asked when the mailbox is full: drop calls nobody waits for (looking every so often), and say how much is held."""
        self._refusals += 1
        if self.skip_abandoned and self._refusals * 4 > len(self):
            self._refusals = 0
            self.postponed = [event for event in self.postponed if not event.abandoned]
        return len(self)
