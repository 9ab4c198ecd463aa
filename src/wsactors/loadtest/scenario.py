"""Who takes part, and when: shapes, and how users are shared out over groups, processes and topics. Pure.

A shape answers `tick` as locust's do: ``(user_count, spawn_rate)``, or None when the run is over. It is asked with the seconds
since the start, so that it needs no clock.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from wsactors.loadtest.settings import GroupSettings, LoadSettings, StageSettings

__all__ = ["Pacer", "Schedule", "Shape", "Sharing", "Stages", "highest_message_rate", "part_of", "topic_of"]


class Shape(Protocol):
    """How many users there are, as time goes by."""

    def tick(self, elapsed: float) -> tuple[int, float] | None:
        """Users wanted ``elapsed`` seconds after the start, and how many may come or go per second; None: it is over."""
        ...


class Stages:
    """A ramp is a stage that ends with another number of users than it began with; a hold one that does not.

    >>> shape = Stages([StageSettings(users=100, seconds=10.0), StageSettings(users=100, seconds=5.0)])
    >>> shape.tick(2.5), shape.tick(12), shape.tick(15)
    ((25, 10.0), (100, 10.0), None)
    """

    def __init__(self, stages: Sequence[StageSettings]) -> None:
        self._stages = tuple(stages)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(stage.seconds for stage in self._stages)

    @property
    def most_users(self) -> int:
        """The highest number of users there ever is."""
        return max(stage.users for stage in self._stages)

    def tick(self, elapsed: float) -> tuple[int, float] | None:
        """See `Shape`."""
        before, began, rate = 0, 0.0, 0.0
        for stage in self._stages:
            change = stage.users - before
            if change or stage.spawn_rate:
                rate = stage.spawn_rate or abs(change) / max(stage.seconds, 0.001)
            into = elapsed - began
            if into < stage.seconds:
                there = min(abs(change), int(rate * into + 1e-9))
                return before + int(math.copysign(there, change)), rate
            before, began = stage.users, began + stage.seconds
        return None


class Sharing:
    """Which group each user belongs to, the first to come first: fixed counts, then the others in turn by weight.

    >>> Sharing({"ear": GroupSettings(weight=2.0), "mouth": GroupSettings(fixed_count=1)}, 100).counts(4)
    {'ear': 3, 'mouth': 1}
    """

    def __init__(self, groups: Mapping[str, GroupSettings], most_users: int) -> None:
        self._members: dict[str, list[int]] = {name: [] for name in groups}
        number = 0
        for name, group in groups.items():
            fixed = range(number, min(number + group.fixed_count, most_users))
            self._members[name].extend(fixed)
            number += len(fixed)
        weights = {name: group.weight for name, group in groups.items() if not group.fixed_count and group.weight}
        # Sainte-Laguë's rule by a heap: the group with the smallest (count + 1/2) / weight is next.
        heap = [(0.5 / weight, name) for name, weight in weights.items()]
        heapq.heapify(heap)
        for each in range(number, most_users) if heap else ():
            quotient, name = heap[0]
            self._members[name].append(each)
            heapq.heapreplace(heap, (quotient + 1 / weights[name], name))

    def counts(self, total: int) -> dict[str, int]:
        """How many of the first ``total`` users each group has: never fewer when the total is higher."""
        return {name: bisect.bisect_left(numbers, total) for name, numbers in self._members.items()}


def part_of(count: int, index: int, processes: int) -> int:
    """How many of ``count`` users process ``index`` has."""
    return (count + processes - 1 - index) // processes


def topic_of(group: GroupSettings, number: int) -> str:
    """What the group's user ``number`` joins."""
    return group.topic.replace("{}", str(number % group.topics))


def highest_message_rate(settings: LoadSettings) -> float:
    """Messages per second that all users together send when there are most of them."""
    most_users = Stages(tuple(settings.stages.values())).most_users
    counts = Sharing(settings.users, most_users).counts(most_users)
    return sum(counts[name] * group.rate for name, group in settings.users.items() if group.behaviour == "chat")


@attrs.define
class Schedule:
    """When a sender's messages are due: message n at ``start + n / rate``, whatever became of those before.

    That is what makes the load open-loop: a server that stalls delays no message's *intended* time, and latencies are
    counted from that, so the stall shows in all messages that it held up and not only in the one that waited.
    """

    start: float
    """Seconds of the clock that `due` is asked with."""
    rate: float
    """Messages per second."""
    sent: int = 0

    def due(self, now: float) -> float | None:
        """The intended time of the next message if it has come; call until None."""
        intended = self.start + self.sent / self.rate
        if intended > now:
            return None
        self.sent += 1
        return intended

    @property
    def next_time(self) -> float:
        """When the next message is due."""
        return self.start + self.sent / self.rate


@attrs.define
class Pacer:
    """Spreads what may happen ``rate`` times per second; 0 = at any time."""

    rate: float
    _free: float = 0.0

    def reserve(self, now: float) -> float:
        """The seconds to wait until the next one may happen; the place is taken."""
        if not self.rate:
            return 0.0
        start = max(now, self._free)
        self._free = start + 1 / self.rate
        return start - now
