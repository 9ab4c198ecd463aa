"""The actor of one connected person in one session, whatever carries the sound to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Down, Pid, Stop, at_death, not_at_death
from wsactors.errors import NoProcess
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.sessions.messages import Leave

LEFT: Final = "left"
ENDED: Final = "the session ended"


class Sink(Protocol):
    """Where a listener's bytes go: `wsactors.realtime.sinks.Sink`."""

    def offer(self, data: bytes, key: object = None) -> bool:
        """Hand over one whole message. Never raises, never waits; False when it will not be delivered."""
        ...


@attrs.frozen
class Way:
    """What brings the sound to a listener."""

    transport: str = ""
    """One of `wsactors.sessions.listener_metrics.TRANSPORTS`."""
    on_sound: Callable[[], object] | None = None
    """Called once, when it has taken the first sound."""


class Seat:
    """A listener's place: its sink, closed for good in the moment it leaves. The metadata of its group membership.

    `history` is how many packets of the past it wants for a running start; `events`, whether it wants more than sound;
    `way`, what brings them there.
    """

    __slots__ = ("_sink", "_tell", "ended", "events", "history", "reason", "started", "tier", "transport")

    def __init__(
        self,
        sink: Sink,
        history: int = 0,
        *,
        events: bool = True,
        way: Way = Way(),
    ) -> None:
        self._sink: Sink | None = sink if way.on_sound is None else _FirstSound(self, sink, way.on_sound)
        self.history = history
        self.events = events
        self.transport = way.transport
        self.started = False
        self.tier = 0
        """At which of the session's bit rates it gets the sound, 0 the best."""
        self.ended = trio.Event()
        self.reason = ""
        self._tell: Callable[[str], object] | None = None

    def when_ended(self, tell: Callable[[str], object]) -> None:
        """Have ``tell`` called with the reason once the seat is given up; at once if it is. It must not wait."""
        if self._sink is None:
            tell(self.reason)
        else:
            self._tell = tell

    def offer(self, data: bytes, key: object = None) -> bool:
        """Offer to the sink; False once the seat is given up."""
        return self._sink is not None and self._sink.offer(data, key)

    def stop_waiting(self) -> None:
        """There is no sound now: when the first comes says nothing about how soon there could be one."""
        if isinstance(self._sink, _FirstSound):
            self._sink = self._sink.sink

    def give_up(self, reason: str) -> None:
        """From now on nothing more is offered. The first reason given counts."""
        if self._sink is not None:
            self._sink = None
            self.reason = reason
            self.ended.set()
            if self._tell is not None:
                self._tell(reason)


class _FirstSound:
    """Stands before the sink of a seat until the first sound has gone through; then it is in nobody's way."""

    __slots__ = ("_on_sound", "_seat", "sink")

    def __init__(self, seat: Seat, sink: Sink, on_sound: Callable[[], object]) -> None:
        self._seat = seat
        self._on_sound = on_sound
        self.sink = sink

    def offer(self, data: bytes, key: object = None) -> bool:
        taken = self.sink.offer(data, key)
        if taken and key == AUDIO:
            self._seat.stop_waiting()
            self._on_sound()
        return taken


# Messages are values, and a sink is none: it waits here under a number, and the number travels to the listener's `init`.
_arriving: Final[dict[int, Seat]] = {}
_numbers: Final = itertools.count(1)


@contextmanager
def reserved(seat: Seat) -> Iterator[int]:
    """Keep a seat for a listener that is started inside the block, under the number that it is started with."""
    number = next(_numbers)
    _arriving[number] = seat
    try:
        yield number
    finally:
        del _arriving[number]


def listeners_of(session: str) -> tuple[str, str]:
    """The process group of a session's listeners."""
    return ("listeners", session)


class Listener(Actor):
    """Sits in one session for `owner`, the connection's actor, and ends with it.

    Its place is its membership of the group `listeners_of`: there the session finds the seat, also a session that has
    just been restarted. In the step in which the listener dies, or its owner, the seat is given up: nothing is offered to
    the sink from then on, whoever still has the seat in its hands.
    """

    trap_exit = True

    def init(self, session: str, seat: int, owner: Pid) -> object:
        """`seat` is the number under which it is `reserved`."""
        taken = _arriving.get(seat)
        if taken is None:
            return Stop("whoever was to sit here has gone")
        self._seat = taken
        self._owner = self.monitor(owner)
        try:
            at_death(owner, self.pid, lambda _: taken.give_up(LEFT))
        except NoProcess:
            return Stop("whoever was to sit here has gone")
        self.at_death("owner", lambda pid: not_at_death(owner, pid))
        self.at_death("seat", lambda _: taken.give_up(ENDED))
        leave = ListenerMetrics.of(self.node).enter(taken.transport)
        self.at_death("metrics", lambda _: leave())
        self.node.groups.join(listeners_of(session), self.pid, taken)
        return None

    def handle_cast(self, message: Any) -> Any:
        match message:
            case Leave():
                return Stop("normal")
            case _:
                return UNHANDLED

    def handle_info(self, message: Any) -> Any:
        match message:
            case Down(ref) if ref is self._owner:
                return Stop("normal")
            case _:
                return UNHANDLED

    def terminate(self, reason: Any) -> None:
        """Give the seat up as what it was: left, or ended from outside."""
        self._seat.give_up(LEFT if reason == "normal" else ENDED)
