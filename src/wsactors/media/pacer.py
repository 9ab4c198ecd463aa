"""Spreads what goes to many listeners over a few phases, so that no burst fills a queue and no loop runs too long.

Each listener has a phase; a frame goes to those of phase 0 at once, to those of the next one a step later, and so on,
within less than a frame's time. What has become too old meanwhile is dropped, never sent late. Pure: ``now`` in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")


@attrs.frozen
class PacerOptions:
    """How to spread."""

    phases: int = 4
    step: float = 0.005
    """Seconds from one phase to the next."""
    oldest: float = 0.06
    """Seconds after its time in which a frame is still worth sending."""
    fill: int = 1
    """Members that a phase has before the next one is begun: few listeners need not wait for each other."""
    capacity: int = 1_024
    """Most frames that wait for one phase; the oldest go."""


class Pacer(Generic[Item]):
    """The phases of one session's listeners.

    Example:
        >>> pacer = Pacer[bytes]()
        >>> pacer.place("ann")
        0
        >>> pacer.put(b"frame", now=1.0)
        >>> list(pacer.due(1.0)), pacer.deadline
        ([(0, b'frame')], 1.005)
    """

    def __init__(self, options: PacerOptions = PacerOptions()) -> None:
        if min(options.phases, options.capacity, options.fill) < 1 or options.step < 0:
            raise ValueError("a pacer has at least one phase, room for one frame and one member, and no negative step")
        self._options = options
        self._waiting: list[deque[tuple[float, Item]]] = [deque() for _ in range(options.phases)]
        self._members: list[dict[Hashable, None]] = [{} for _ in range(options.phases)]
        self._phase: dict[Hashable, int] = {}
        self.dropped = 0
        """Frames, once per phase, that were too old or too many."""

    def place(self, key: Hashable) -> int:
        """The phase of ``key``, which from now on is a member: the first with room, else the one with the fewest."""
        phase = self._phase.get(key)
        if phase is None:
            phase = min(
                range(len(self._members)), key=lambda each: max(self._options.fill - 1, len(self._members[each]))
            )
            self._phase[key] = phase
            self._members[phase][key] = None
        return phase

    def leave(self, key: Hashable) -> None:
        """``key`` is no member any more."""
        phase = self._phase.pop(key, None)
        if phase is not None:
            del self._members[phase][key]

    def members(self, phase: int) -> tuple[Hashable, ...]:
        """Who is in ``phase``."""
        return tuple(self._members[phase])

    def put(self, item: Item, now: float, phases: Iterable[int] | None = None) -> None:
        """Something is to go to everybody; ``phases``: to these alone, as nobody is in the others."""
        for phase in range(len(self._waiting)) if phases is None else phases:
            waiting = self._waiting[phase]
            if len(waiting) >= self._options.capacity:
                waiting.popleft()
                self.dropped += 1
            waiting.append((now + phase * self._options.step, item))

    def due(self, now: float) -> Iterator[tuple[int, Item]]:
        """What is to go to which phase, in the order of its time; it is then done."""
        while (phase := self._next()) is not None and self._waiting[phase][0][0] <= now:
            at, item = self._waiting[phase].popleft()
            if now - at > self._options.oldest:
                self.dropped += 1
            else:
                yield phase, item

    @property
    def deadline(self) -> float | None:
        """When something is due next; None: nothing waits."""
        phase = self._next()
        return None if phase is None else self._waiting[phase][0][0]

    def _next(self) -> int | None:
        found = [(waiting[0][0], phase) for phase, waiting in enumerate(self._waiting) if waiting]
        return min(found)[1] if found else None
