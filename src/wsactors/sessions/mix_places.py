"""How many people of a node's stages may have a mix of their own at a time: each costs a decoder's and an encoder's work."""

from __future__ import annotations

import weakref
from typing import Final

from wsactors.actors import Pid, Runtime

MOST_MIXES: Final = 32
"""Mixes without one's own voice on one node, all its sessions together: a tenth to a quarter of a core."""


class MixPlaces:
    """The places of one node. Whoever has some keeps them.

    Example:
        >>> places = MixPlaces(3)
        >>> places.claim("one", 2), places.claim("two", 2), places.claim("one", 0), places.claim("two", 2)
        (2, 1, 0, 2)
    """

    def __init__(self, most: int = MOST_MIXES) -> None:
        self._most = most
        self._held: dict[Pid | str, int] = {}

    @classmethod
    def of(cls, node: Runtime) -> MixPlaces:
        """Those of ``node``; made when first asked for."""
        found = _of_nodes.get(node)
        if found is None:
            found = _of_nodes[node] = cls()
        return found

    def claim(self, session: Pid | str, wanted: int) -> int:
        """How many of the places that a session wants it has from now on, instead of those that it had."""
        others = sum(count for each, count in self._held.items() if each != session)
        granted = max(0, min(wanted, self._most - others))
        if granted:
            self._held[session] = granted
        else:
            self._held.pop(session, None)
        return granted


_of_nodes: weakref.WeakKeyDictionary[Runtime, MixPlaces] = weakref.WeakKeyDictionary()
