"""Topics that nobody is in: they are kept for those who come back, and make room when a node may have no more topics."""

from __future__ import annotations

import contextlib
from collections import OrderedDict

from wsactors.actors import Pid
from wsactors.errors import CallExit, ChildError
from wsactors.supervision import terminate_child

__all__ = ["IdleTopics"]


class IdleTopics:
    """The topics of one node that nobody is in. Strangers can make as many as there may be; they cannot keep others out by it."""

    def __init__(self) -> None:
        self._pids: OrderedDict[Pid, None] = OrderedDict()
        """The one first that was not used for longest."""

    def add(self, topic: Pid) -> None:
        """Nobody is in ``topic``, but it was used in this moment."""
        self._pids[topic] = None
        self._pids.move_to_end(topic)

    def discard(self, topic: Pid) -> None:
        """Somebody is in it, or it has ended. May be called again."""
        self._pids.pop(topic, None)

    async def end_oldest(self, supervisor: Pid | str) -> bool:
        """End the one that was not used for longest; False when somebody is in each of them."""
        if not self._pids:
            return False
        topic, _ = self._pids.popitem(last=False)
        with contextlib.suppress(ChildError, CallExit):  # it may have ended by itself
            await terminate_child(supervisor, topic)
        return True

    def __len__(self) -> int:
        return len(self._pids)
