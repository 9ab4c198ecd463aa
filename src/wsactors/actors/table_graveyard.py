"""Freeing big containers a little at a time, so that dropping a table of a million rows holds nothing up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_SMALL: Final = 8
"""Containers up to this size are freed at once, with their last reference."""


class Graveyard:
    """Containers on their way out. ``work`` frees a bounded number of items, and runs what was asked to happen along."""

    __slots__ = ("_calls", "_held")

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._calls: list[list[Callable[[], None]]] = []

    def __bool__(self) -> bool:
        return bool(self._held or self._calls)

    def bury(self, containers: list[Any]) -> None:
        """Take dicts, sorted lists and the like that nobody else holds."""
        self._held += [container for container in containers if len(container) > _SMALL]

    def later(self, calls: list[Callable[[], None]]) -> None:
        """Run these, in order, a few at a time."""
        if calls:
            calls.reverse()
            self._calls.append(calls)

    def work(self, limit: int) -> bool:
        """Do up to ``limit`` steps; whether there are more."""
        for _ in range(limit):
            if self._calls:
                calls = self._calls[0]
                calls.pop()()
                if not calls:
                    del self._calls[0]
            elif self._held:
                self._free_one()
            else:
                return False
        return bool(self)

    def _free_one(self) -> None:
        container = self._held[-1]
        value = container.popitem()[1] if isinstance(container, dict) else container.pop()
        if not container:
            self._held.pop()
        if type(value) is dict and len(value) > _SMALL:  # the rows of one key of a bag
            self._held.append(value)
