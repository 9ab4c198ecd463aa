"""``StateMachine``: OTP's ``gen_statem`` as an actor.

What happens after each event, in this order (OTP's): the state function runs and its answers go out; on a change of state (or
``RepeatState``) the enter call runs; the event is postponed if asked; on a change of state the postponed events come back, oldest
first, before newer ones; inserted events go before all of those; the event time-out is cancelled by every event, the state
time-out by a change of state; new time-outs start, a later one of a kind replacing an earlier one; zero time-outs fire in order
once no replayed or inserted event is left, before the mailbox is looked at.

One event is one turn's message, so a machine that feeds itself events is fair to others and can be killed between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from types import CoroutineType
from typing import Any, ClassVar, Final, NoReturn

from wsactors.actors.actor import Actor, cancel_timer, send_after
from wsactors.actors.kind import is_async
from wsactors.actors.machine_events import Event, Fired, Machine, Plan
from wsactors.actors.machine_results import (
    Action,
    Begin,
    EventType,
    KeepState,
    NextState,
    RepeatState,
    StopAndReply,
)
from wsactors.actors.mailbox import weight
from wsactors.actors.messages import UNHANDLED, Continue, Crash, NoReply, Stop, Unhandled
from wsactors.actors.process import LIMITS
from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import ANSWERED, Request
from wsactors.actors.timers import Timer
from wsactors.errors import BadResult

MORE: Final = Continue()
NO_REPLY: Final = NoReply()
NO_REPLY_YET: Final = NoReply(MORE)
HANDLERS: Final = ("handle_call", "handle_cast", "handle_info", "handle_continue")

Cycle = Generator[Any, Any, Any]
"""One event's work: yields what begins an ``async`` state function, is sent its result, returns the handler's result.

What begins it and not its coroutine, because the actor may be killed before anybody can await one.
"""


class StateMachine(Actor):
    """An actor whose behaviour is a state. Events arrive at the method named after the state it is in.

    A state function is ``def NAME(self, event_type, content)``, plain or ``async``. Event types are ``("call", caller)``,
    ``"cast"``, ``"info"``, ``"internal"``, ``"state_timeout"``, ``"event_timeout"``, ``("timeout", name)`` and, with
    ``state_enter = True``, ``"enter"``, whose content is the state it comes from. It returns ``NextState(state, *actions)``,
    ``KeepState(*actions)`` (or None), ``RepeatState(*actions)``, ``Stop(reason)``, ``StopAndReply(reason, *answers)`` or
    ``UNHANDLED``. Actions are ``Answer``, ``Postpone``, ``NextEvent``, ``StateTimeout``, ``EventTimeout``, ``NamedTimeout``.

    A class with a method ``handle_event(self, event_type, content, state)`` gets every event there instead, and any value may
    be a state.

    Deviations from OTP: ``UNHANDLED`` drops an ``info`` event, means nothing to do for an enter call, and crashes the machine
    for any other; a postponed call whose caller gave up is dropped (unless ``skip_abandoned_calls = False``); postponed and
    inserted events count towards the mailbox limit, and a machine that exceeds it by its own doing crashes with
    ``postponed_overflow``.

    >>> class Door(StateMachine):
    ...     def init(self, code):
    ...         self.code = code
    ...         return self.begin("locked")
    ...     def locked(self, event_type, content):
    ...         match event_type, content:
    ...             case "cast", ("code", code) if code == self.code:
    ...                 return NextState("open", StateTimeout(10))
    ...             case ("call", _), "walk":
    ...                 return KeepState(Postpone())
    ...             case _:
    ...                 return UNHANDLED
    ...     def open(self, event_type, content):
    ...         match event_type, content:
    ...             case "state_timeout", _:
    ...                 return NextState("locked")
    ...             case ("call", caller), "walk":
    ...                 return KeepState(Answer(caller, "welcome"))
    ...             case _:
    ...                 return UNHANDLED
    """

    __slots__ = ("_machine", "phase")

    _machine: Machine
    phase: Any
    """The state it is in; in an enter call the new one. Change it by returning ``NextState``, never by assignment."""
    _event_mode: ClassVar[bool] = False

    state_enter: ClassVar[bool] = False
    """Whether a state function is told, with an ``"enter"`` event, that its state begins."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._event_mode = hasattr(cls, "handle_event")
        own = [name for name in HANDLERS if getattr(cls, name) is not getattr(StateMachine, name)]
        if own:
            raise TypeError(
                f"{cls.__qualname__} defines {', '.join(own)}; a StateMachine gets everything as events in its state functions"
            )

    @property
    def postponed(self) -> int:
        """How many events it has put off until the state changes."""
        return len(self._inside().postponed)

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Define it, and return ``self.begin(state)``; or ``Ignore()`` or ``Stop(reason)``."""
        raise TypeError(f"{type(self).__qualname__} must define init and return self.begin(state, *actions) from it")

    def begin(self, state: Any, *actions: Action) -> Continue:
        """What ``init`` returns: the first state, and actions done before any message. The enter call runs after ``init``."""
        self._check_state(state)
        return Continue(Begin(state, actions))

    # -- what the runtime calls

    def handle_call(self, message: Any, caller: Request) -> Any:
        return self._run(self._cycle(Event(("call", caller), message), direct_call=True))

    def handle_cast(self, message: Any) -> Any:
        return self._run(self._cycle(Event("cast", message)))

    def handle_info(self, message: Any) -> Any:
        if message.__class__ is not Fired:
            return self._run(self._cycle(Event("info", message)))
        if not self._inside().fired(message):
            return None
        return self._run(self._cycle(Event(message.key, message.content)))

    def handle_continue(self, argument: Any) -> Any:
        if argument.__class__ is Begin:
            return self._run(self._first(argument))
        event = self._machine.pop()
        if event is None:
            self._hold()
            return None
        return self._run(self._cycle(event))

    # -- one event

    def _run(self, cycle: Cycle) -> Any:
        """Run a cycle; without a coroutine of its own unless a state function has one."""
        try:
            begin = cycle.send(None)
        except StopIteration as done:
            return done.value
        return self._await(cycle, begin)

    async def _await(self, cycle: Cycle, begin: Callable[[], Any]) -> Any:
        while True:
            result = await begin()
            try:
                begin = cycle.send(result)
            except StopIteration as done:
                return done.value

    def _first(self, begin: Begin) -> Cycle:
        process = self._process
        self.phase = begin.state
        self._machine = Machine(self._set_timer, self._cancel_timer, process.kind.skip_abandoned)
        plan = Plan(begin.state)
        plan.take(begin.actions, entering=False, postponable=False)
        plan.repeat = True
        return (yield from self._conclude(None, begin.state, plan, False))

    def _cycle(self, event: Event, *, direct_call: bool = False) -> Cycle:
        self._inside()
        if event.weight:
            self._process.more().bytes -= event.weight
            event.weight = 0
        old = self.phase
        plan = Plan(old)
        result = yield from self._invoke(old, event.type, event.content)
        stop = _judge(plan, event, result, entering=False)
        if stop is not None:
            return stop
        return (yield from self._conclude(event, old, plan, direct_call))

    def _conclude(self, event: Event | None, old: Any, plan: Plan, direct_call: bool) -> Cycle:
        """Enter the new state, then do what was planned; the result for the runtime."""
        machine = self._machine
        changed = plan.target != old
        if changed:
            self._check_state(plan.target)
            self.phase = plan.target
        enter = changed or plan.repeat
        while enter and self.state_enter:
            plan.repeat = False
            result = yield from self._invoke(plan.target, "enter", old)
            stop = _judge(plan, ENTER, result, entering=True)
            if stop is not None:
                return stop
            enter = plan.repeat
        machine.transition(event, changed, plan)
        if plan.postpone and event is not None and self._process.kind.settings.max_bytes is not None:
            event.weight = weight(event.content)
            self._process.more().bytes += event.weight
        if len(machine) > self._process.kind.capacity and machine.purge() > self._process.kind.capacity:
            return Stop(
                Crash(
                    "postponed_overflow",
                    f"{len(machine)} events postponed or inserted in state {safe_repr(self.phase)}",
                )
            )
        self._hold()
        if direct_call:
            return NO_REPLY_YET if machine.busy else NO_REPLY
        return MORE if machine.busy else None

    def _invoke(self, state: Any, kind: EventType, content: Any) -> Cycle:
        """Call the state function, now or, if it is ``async``, once there is somebody to await it."""
        function = self.handle_event if self._event_mode else getattr(self, state)  # type: ignore[attr-defined]
        arguments = (kind, content, state) if self._event_mode else (kind, content)
        if is_async(function):
            return (yield partial(function, *arguments))
        result = function(*arguments)
        if type(result) is CoroutineType:
            return (yield lambda: result)
        return result

    def _check_state(self, state: Any) -> None:
        if self._event_mode:
            return
        if not isinstance(state, str) or hasattr(StateMachine, state) or not callable(getattr(type(self), state, None)):
            raise BadResult(
                f"{type(self).__qualname__} has no state function for {state!r}: define `def {state}(self, event_type, content)` "
                "under a name that Actor does not use, or handle_event(self, event_type, content, state)"
            )

    def _inside(self) -> Machine:
        try:
            return self._machine
        except AttributeError:
            raise BadResult(f"{type(self).__qualname__}.init must return self.begin(state, *actions)") from None

    # -- its place in the runtime

    def _hold(self) -> None:
        """Have what the machine holds counted by the mailbox, which also keeps calls from being inlined past it."""
        process = self._process
        if len(self._machine):
            process.more().held = self._machine
            process.flags |= LIMITS
        elif process.extras is not None and process.extras.held is not None:
            process.extras.held = None
            if not process.kind.special:
                process.flags &= ~LIMITS

    def _set_timer(self, seconds: float, message: Fired) -> Timer:
        return send_after(self._process, seconds, self._process.pid, message)

    def _cancel_timer(self, timer: Timer) -> None:
        cancel_timer(self._process, timer)


ENTER: Final = Event("enter", None)


def _judge(plan: Plan, event: Event, result: Any, *, entering: bool) -> Stop | None:
    """Put a state function's result into the plan, or say that the machine stops."""
    match result:
        case None:
            pass
        case KeepState(actions):
            plan.take(actions, entering=entering, postponable=not entering)
        case NextState(state, actions) if not entering or state == plan.target:
            plan.target = state
            plan.take(actions, entering=entering, postponable=not entering)
        case RepeatState(actions):
            plan.repeat = True
            plan.take(actions, entering=entering, postponable=not entering)
        case Stop(reason) if not result.has_reply:
            return result
        case StopAndReply(reason, answers):
            for answer in answers:
                answer.caller.settle(ANSWERED, answer.value)
            return Stop(reason)
        case Unhandled():
            return _unhandled(event)
        case _:
            _bad_result(result, entering)
    return None


def _unhandled(event: Event) -> Stop | None:
    match event.type:
        case "enter" | "info":
            return None
        case ("call", _):
            return Stop(Crash("unhandled_call", safe_repr(event.content)))
        case "cast":
            return Stop(Crash("unhandled_cast", safe_repr(event.content)))
        case kind:
            return Stop(Crash("unhandled_event", safe_repr((kind, event.content))))


def _bad_result(result: Any, entering: bool) -> NoReturn:
    if isinstance(result, NextState):
        raise BadResult(
            "an enter call cannot change the state: it may return KeepState, RepeatState, Stop or StopAndReply"
        )
    if isinstance(result, Stop):
        raise BadResult("a state function stops with an answer by StopAndReply(reason, Answer(caller, value))")
    what = "an enter call" if entering else "a state function"
    raise BadResult(
        f"{what} returned {safe_repr(result)}: use NextState, KeepState, RepeatState, Stop, StopAndReply, UNHANDLED or None"
    )


__all__ = ["UNHANDLED", "StateMachine"]
