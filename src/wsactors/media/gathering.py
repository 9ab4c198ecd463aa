"""While somebody offers one thing to many, what leaves for them may be gathered, and given to the kernel together.

Whoever does so says it, and says when it is over: `Gathering` is between those who offer and those who send, who know nothing of
each other. Nothing may wait in between: what is gathered leaves before anything else of the node has its turn.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from wsactors.actors import Runtime


class Gathering:
    """Whether somebody offers something to many now. A context manager, which sends what was gathered at its end.

    Example:
        >>> gathering, sent = Gathering(), []
        >>> with gathering:
        ...     gathering.at_end(lambda: sent.append("both"))
        ...     assert gathering.is_on and not sent
        >>> gathering.is_on, sent
        (False, ['both'])
    """

    __slots__ = ("__weakref__", "_ends", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        """Whether to gather. What is sent otherwise leaves at once."""
        self._ends: list[Callable[[], object]] = []

    @classmethod
    def of(cls, node: Runtime) -> Gathering:
        """That of ``node``; made when first asked for."""
        found = _of_nodes.get(node)
        if found is None:
            found = _of_nodes[node] = cls()
        return found

    def at_end(self, send: Callable[[], object]) -> None:
        """Have ``send`` called once, when it is over. It must neither wait nor raise."""
        self._ends.append(send)

    def __enter__(self) -> None:
        self.is_on = True

    def __exit__(self, *_: object) -> None:
        self.is_on = False
        ends, self._ends = self._ends, []
        for send in ends:
            send()


_of_nodes: weakref.WeakKeyDictionary[Runtime, Gathering] = weakref.WeakKeyDictionary()
