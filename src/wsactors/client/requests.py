"""Requests that wait: for a connection, for their topic, for their answer. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import attrs

from wsactors.wire import native


@attrs.define(eq=False)
class Request:
    """One request."""

    key: Hashable
    """What its answer will have: a ref, or a kind and a subject."""
    message: native.ClientMessage
    deadline: float
    resolve: Callable[[Any], None]
    """Called once, with the answer or with an exception."""
    topic: str = ""
    """Held back until this topic is joined; empty: needs none."""
    survives: bool = False
    """Whether it is made again after the connection has broken; otherwise nobody knows then whether it was done."""


class Requests:
    """Every request that has no answer yet."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Request] = {}
        self._unsent: dict[Hashable, Request] = {}
        self._deadlines: list[tuple[float, int, Request]] = []
        self._count = itertools.count()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request, *, is_sent: bool = False) -> None:
        """Wait for an answer."""
        self._waiting[request.key] = request
        if not is_sent:
            self._unsent[request.key] = request
        heapq.heappush(self._deadlines, (request.deadline, next(self._count), request))

    def get(self, key: Hashable) -> Request | None:
        """The request that waits for an answer with ``key``."""
        return self._waiting.get(key)

    def resolve(self, key: Hashable, answer: Any) -> Request | None:
        """Hand over an answer, or an exception; None when nobody waits for it."""
        request = self._waiting.pop(key, None)
        self._unsent.pop(key, None)
        if request is not None:
            request.resolve(answer)
        return request

    def expired(self, now: float) -> list[Request]:
        """Those whose time is over; they wait no more, but have not been resolved."""
        found = []
        while self._deadlines and (self._deadlines[0][0] <= now or self._is_done(self._deadlines[0][2])):
            request = heapq.heappop(self._deadlines)[2]
            if not self._is_done(request):
                del self._waiting[request.key]
                self._unsent.pop(request.key, None)
                found.append(request)
        return found

    def fail(self, error: Exception, *, of: Callable[[Request], bool] = lambda _: True) -> None:
        """Fail all, or some."""
        for request in tuple(self._waiting.values()):
            if of(request):
                self.resolve(request.key, error)

    def lose_connection(self, error: Exception) -> None:
        """Fail what was sent and is not made again by itself."""
        self.fail(error, of=lambda request: request.key not in self._unsent and not request.survives)

    def take_sendable(self, is_joined: Callable[[str], bool]) -> Iterator[Request]:
        """Those to send now, in the order in which they were made; what waits for its topic does not hold up the others."""
        for request in tuple(self._unsent.values()):
            if not request.topic or is_joined(request.topic):
                del self._unsent[request.key]
                yield request

    def holds_track(self, topic: str) -> bool:
        """Whether a change of presence on ``topic`` is yet to be sent."""
        return any(
            each.topic == topic and isinstance(each.message, native.Track | native.Untrack)
            for each in self._unsent.values()
        )

    @property
    def deadline(self) -> float | None:
        """When the first of them expires."""
        while self._deadlines and self._is_done(self._deadlines[0][2]):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _is_done(self, request: Request) -> bool:
        return self._waiting.get(request.key) is not request
