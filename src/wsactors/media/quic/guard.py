"""What may come, and how fast, decided before anything is decrypted. Pure: time comes in as ``now``, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

WINDOW_SECONDS: Final = 0.25
MAX_ADDRESSES: Final = 16_384
"""Addresses that are counted at a time; more within one window are turned away."""


class Allowance:
    """``burst`` of something, of which ``rate`` come back every second.

    Example:
        >>> allowance = Allowance(rate=1.0, burst=2.0)
        >>> allowance.take(0.0), allowance.take(0.0), allowance.take(0.5), allowance.take(1.0)
        (True, True, False, True)
    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._since: float | None = None

    def left(self, now: float) -> float:
        """How much there is; below zero after `owe`."""
        if self._since is not None and now > self._since:
            self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        return self._left

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Take ``cost``; False, and nothing taken, if there is less."""
        if self.left(now) < cost:
            return False
        self._left -= cost
        return True

    def owe(self, cost: float, now: float) -> None:
        """Take ``cost`` also when there is less: what was done cannot be undone, but what follows waits for it.

        No more is owed than a burst: who has waited that long may go on.
        """
        self._left = max(-self._burst, self.left(now) - cost)


class PacketGuard:
    """Counts the packets of each address, and says which are too many.

    An address may send ``per_address`` a second, and ``per_connection`` more for each connection that it has: many listeners
    may be behind one address, and each acknowledges what it hears.

    Args:
        per_address: Packets a second of an address without connections.
        per_connection: For each connection of the address.
        connections: How many established connections each address has; read when an address has used up the first number.
    """

    __slots__ = ("_connections", "_counts", "_ends", "_own", "_per_connection", "dropped")

    def __init__(self, *, per_address: float, per_connection: float, connections: Mapping[str, int]) -> None:
        self._own = per_address * WINDOW_SECONDS
        self._per_connection = per_connection * WINDOW_SECONDS
        self._connections = connections
        self._counts: Counter[str] = Counter()
        self._ends = 0.0
        self.dropped = 0
        """Packets turned away so far."""

    def admit(self, address: str, now: float) -> bool:
        """One more packet of ``address``, at ``now``; whether it may be looked at."""
        if now >= self._ends:
            self._counts.clear()
            self._ends = now + WINDOW_SECONDS
        counts = self._counts
        count = counts.get(address)
        if count is None:
            if len(counts) >= MAX_ADDRESSES and not self._connections.get(address):
                self.dropped += 1
                return False
            count = 0
        counts[address] = count = count + 1
        if count <= self._own or count <= self._own + self._per_connection * self._connections.get(address, 0):
            return True
        self.dropped += 1
        return False
