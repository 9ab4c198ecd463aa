"""Which connections an endpoint has: by their ids, and counted by whom they belong to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .transport import no_drops

if TYPE_CHECKING:
    from .connection import Connection
    from .transport import TransportStatistics


class Roster:
    """The connections of one endpoint.

    Args:
        most: How many there may be.
        most_of_one: How many of them may belong to one address.
    """

    __slots__ = ("_begun", "_most", "_most_of_one", "by_cid", "connections", "half_open", "peers", "unvalidated")

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self.by_cid: dict[bytes, Connection] = {}
        self.connections: dict[Connection, None] = {}
        """Those that are alive, new ones, too."""
        self.peers: Counter[str] = Counter()
        """Established connections by whom they belong to."""
        self._begun: Counter[str] = Counter()
        self.half_open = self.unvalidated = 0
        """Handshakes under way; those of them whose addresses are not validated."""

    def has_room(self, peer: str) -> bool:
        """Whether ``peer`` may have one more."""
        return len(self.connections) < self._most and self._begun[peer] < self._most_of_one

    def add(self, connection: Connection, *cids: bytes) -> None:
        """A connection begins, which is known by ``cids``."""
        self.connections[connection] = None
        self._begun[connection.peer] += 1
        self.half_open += 1
        self.unvalidated += not connection.is_validated
        for cid in cids:
            self.name(connection, cid)

    def name(self, connection: Connection, cid: bytes) -> None:
        """``connection`` is known by ``cid``, too. A client that chooses another's id does not get its packets."""
        if self.by_cid.setdefault(cid, connection) is connection:
            connection.cids.add(cid)

    def retire(self, connection: Connection, cid: bytes) -> None:
        """``connection`` is not known by ``cid`` any more."""
        if cid in connection.cids:
            connection.cids.remove(cid)
            del self.by_cid[cid]

    def establish(self, connection: Connection) -> None:
        """Its handshake is done."""
        connection.is_established = True
        self.half_open -= 1
        self.unvalidated -= not connection.is_validated
        self.peers[connection.peer] += 1

    def remove(self, connection: Connection) -> None:
        """It has ended."""
        for cid in connection.cids:
            del self.by_cid[cid]
        connection.cids.clear()
        del self.connections[connection]
        _less(self._begun, connection.peer)
        if connection.is_established:
            _less(self.peers, connection.peer)
        else:
            self.half_open -= 1
            self.unvalidated -= not connection.is_validated


class Past:
    """What connections have sent and dropped that have ended."""

    __slots__ = ("drops", "fast", "sent")

    def __init__(self) -> None:
        self.drops = no_drops()
        self.sent = self.fast = 0

    def add(self, last: TransportStatistics) -> None:
        """One more has ended."""
        self.sent += last.datagrams_sent
        self.fast += last.fast_sent
        for reason, count in last.drops.items():
            self.drops[reason] += count


def _less(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
