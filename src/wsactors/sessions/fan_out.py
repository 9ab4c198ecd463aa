"""Sound on its way from a session to its listeners: spread over phases within a packet's time.

A thousand listeners served at once would hold the loop for as long as a thousand system calls take, and hand the network a
burst. So each listener beyond the first hundred has a phase: it gets everything a few milliseconds after the first, always
as many, and in the same order. Whatever else the node does goes on in between.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final, Generic, TypeVar

import attrs
import trio

from wsactors.actors import Actor
from wsactors.media.gathering import Gathering
from wsactors.media.pacer import Pacer, PacerOptions
from wsactors.realtime.send_queue import AUDIO_AGE
from wsactors.sessions.listener import Seat
from wsactors.sessions.listener_metrics import ListenerMetrics

PHASES: Final = PacerOptions(phases=8, step=0.002, fill=100, oldest=AUDIO_AGE)
"""A hundred sinks take a millisecond or two. The last phase has ended before the next packet of 20 ms comes."""
HOLD_SECONDS: Final = 0.001
"""For which sinks are served at most before others of the node have their turn."""
_LOOK: Final = 64
"""Sinks served between two looks at the clock, and together: what leaves for them as datagrams does so with one system call."""
BREATH: Final = 64
"""Sinks that are told news between two looks at the rest of the node: about a millisecond."""

S = TypeVar("S", bound=Seat)
T = TypeVar("T")


@attrs.frozen
class Turn:
    """To the session actor itself: the next phase is due."""


@attrs.frozen
class _Sent(Generic[S, T]):
    at: float
    to: tuple[tuple[S, ...], ...]
    """By phase, as it was then: who has come since has had it already, or does not get it."""
    item: T


class FanOut(Generic[S, T]):
    """The listeners of one session, and what is on its way to them.

    Args:
        actor: The session; it gets a `Turn` whenever it is to call `serve`.
        offer: Offers one item to one listener; must not wait.
    """

    def __init__(self, actor: Actor, offer: Callable[[S, T], object], options: PacerOptions = PHASES) -> None:
        self._actor = actor
        self._offer = offer
        self._options = options
        self._pacer: Pacer[_Sent[S, T]] = Pacer(options)
        self._phases: tuple[tuple[S, ...], ...] | None = None
        self._used: tuple[int, ...] = ()
        self._metrics = ListenerMetrics.of(actor.node)
        self._gathering = Gathering.of(actor.node)
        self._has_timer = False

    def enter(self, seat: S) -> None:
        """A listener has come; it gets what is put from now on."""
        self._pacer.place(seat)
        self._phases = None

    def leave(self, seat: S) -> None:
        """A listener has gone. May be called without need."""
        self._pacer.leave(seat)
        self._phases = None

    async def put(self, item: T) -> None:
        """Offer ``item`` to everybody, beginning now."""
        now = trio.current_time()
        if self._phases is None:
            members = (self._pacer.members(phase) for phase in range(self._options.phases))
            self._phases = tuple(members)  # type: ignore[arg-type]  # they are what `enter` has placed
            self._used = tuple(phase for phase, seats in enumerate(self._phases) if seats)
        self._pacer.put(_Sent(now, self._phases, item), now, self._used)
        await self._serve()

    async def turn(self) -> None:
        """A `Turn` has come: go on."""
        self._has_timer = False
        await self._serve()

    async def _serve(self) -> None:
        dropped, began = self._pacer.dropped, perf_counter()
        for phase, sent in self._pacer.due(now := trio.current_time()):
            self._metrics.late.observe(now - sent.at - phase * self._options.step)
            seats = sent.to[phase]
            for at in range(0, len(seats), _LOOK):
                if perf_counter() - began > HOLD_SECONDS:
                    await trio.lowlevel.checkpoint()
                    began = perf_counter()
                with self._gathering:
                    for seat in seats[at : at + _LOOK]:
                        self._offer(seat, sent.item)
        self._metrics.too_late += self._pacer.dropped - dropped
        deadline = self._pacer.deadline
        if deadline is not None and not self._has_timer:
            self._has_timer = True
            self._actor.send_after(max(0.0, deadline - trio.current_time()), self._actor.pid, Turn())
