"""Emptying a port before the node stops: nobody new, and everybody who is here told when to come back, a batch at a time.

If all clients of a node came back in the same second, the next node would fall over: so batches are told one after the other,
and each client gets a moment of its own to reconnect at. Each protocol says it in its own way (`Guest.say_goodbye`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import attrs
import trio

from wsactors.actors import Exit, ProcessActor, Request, Stop, reply
from wsactors.actors.log import log

from .options import DrainOptions

_AT_ONCE: Final = 32
"""Clients told before other tasks run: a goodbye is a ``send`` or two, so half a millisecond."""
_SPREAD: Final = 0.6
"""The part of all the time in which the last batch must have been told."""
_SOONEST: Final = 0.2
"""Nobody is asked to come back before this part of the longest wait: the next node needs a moment, too."""


class Guest(Protocol):
    """One who is told before the node stops: a connection, or a session that lasts over several of them."""

    def say_goodbye(self, seconds: float, /) -> None:
        """Tell the client to come back in ``seconds``, and end. Must not wait; may be called again."""
        ...


@attrs.frozen
class DrainStatistics:
    """How far it has come."""

    is_on: bool
    """Whether it has begun."""
    told: int
    """Guests told, since the port was made."""
    guests: int
    """Those who are here now."""
    cut: int
    """Those whose connection had to be cut when the time was over."""


class Drain:
    """The guests of one port, and how they are sent away.

    Args:
        options: How long it may take, and how large the batches are.
        chance: A number from 0 to 1.
    """

    def __init__(self, options: DrainOptions, chance: Callable[[], float] = random.random) -> None:
        self._options = options
        self._chance = chance
        self._guests: set[Guest] = set()
        self._is_on = False
        self._told = self._cut = 0
        self._gone = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Drain {'on' if self._is_on else 'off'}, {len(self._guests)} guests>"

    @property
    def is_on(self) -> bool:
        """Whether the port is being emptied."""
        return self._is_on

    def statistics(self) -> DrainStatistics:
        """How far it has come."""
        return DrainStatistics(self._is_on, self._told, len(self._guests), self._cut)

    def enter(self, guest: Guest) -> None:
        """Count ``guest`` in, to be told; at once if all others are being told."""
        self._guests.add(guest)
        if self._is_on:
            self._tell(guest)

    def leave(self, guest: Guest) -> None:
        """Count ``guest`` out. May be called without need."""
        self._guests.discard(guest)
        if not self._guests:
            self._gone.unpark_all()

    @contextmanager
    def hosting(self, guest: Guest) -> Iterator[None]:
        """`enter`, and `leave` at the end."""
        self.enter(guest)
        try:
            yield
        finally:
            self.leave(guest)

    def reset(self) -> None:
        """The port is open again."""
        self._is_on = False

    async def run(self) -> DrainStatistics:
        """Tell everybody, and wait until they have left, for at most ``options.seconds`` in all."""
        self._is_on = True
        with trio.move_on_after(self._options.seconds):
            await self._tell_all()
            while self._guests:
                await self._gone.park()
        self._cut += len(self._guests)
        return self.statistics()

    async def _tell_all(self) -> None:
        options = self._options
        here = list(self._guests)
        batches = math.ceil(len(here) / options.batch)
        pause = min(options.pause, options.seconds * _SPREAD / max(1, batches))
        for number, guest in enumerate(here, 1):
            if guest in self._guests:
                self._tell(guest)
            if number < len(here) and not number % options.batch:
                await trio.sleep(pause)
            elif not number % _AT_ONCE:
                await trio.lowlevel.checkpoint()

    def _tell(self, guest: Guest) -> None:
        self._told += 1
        longest = self._options.reconnect_seconds
        try:
            guest.say_goodbye(longest * (_SOONEST + (1 - _SOONEST) * self._chance()))
        except Exception as error:  # one guest's fault keeps nobody else from being told
            log(__name__, "error", "goodbye_failed", type=type(error).__name__, message=str(error))


class Drainer(ProcessActor):
    """Empties a port when it is stopped in order: after those that accept, before the connections.

    Calls: ``"statistics"`` (`DrainStatistics`).
    """

    trap_exit = True

    def init(self, drain: Drain) -> None:
        """The port is open."""
        drain.reset()
        self._drain = drain

    async def run(self) -> Stop:
        """Wait to be stopped, then empty the port."""
        reason: object = None
        while reason is None:
            match await self.receive():
                case Request(message="statistics") as request:
                    reply(request, self._drain.statistics())
                case Exit(reason=reason):
                    pass
        guests = self._drain.statistics().guests
        if guests and reason == "shutdown":
            log(__name__, "info", "draining", guests=guests)
            done = await self._drain.run()
            log(__name__, "info", "drained", guests=guests, cut=done.guests)
        return Stop(reason)
