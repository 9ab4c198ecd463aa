"""How long a ping and its answer take: rounds of five pings, the slowest and the fastest left out. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

PINGS: Final = 5
"""Pings of one round."""
ROUNDS: Final = 10
"""Rounds that count for `Latency.seconds`."""


def trimmed_mean(samples: list[float]) -> float:
    """The mean without the largest and the smallest.

    Example:
        >>> trimmed_mean([9.0, 1.0, 2.0, 3.0, 100.0])
        4.666666666666667
    """
    middle = sorted(samples)[1:-1] if len(samples) > 2 else samples
    return sum(middle) / len(middle)


class Latency:
    """Gathers the round-trip times of pings that the owner sends when `wants_ping` says so, one after the other."""

    def __init__(self) -> None:
        self.history: deque[float] = deque(maxlen=ROUNDS)
        """The results of the latest rounds, oldest first, in seconds."""
        self.rounds = 0
        """Rounds that were finished."""
        self._samples: list[float] = []
        self._nonce: int | None = None
        self._sent = 0.0
        self._is_measuring = False

    @property
    def seconds(self) -> float | None:
        """The mean of the latest rounds; None before the first."""
        return sum(self.history) / len(self.history) if self.history else None

    @property
    def wants_ping(self) -> bool:
        """Whether the next ping of a round is to be sent now."""
        return self._is_measuring and self._nonce is None

    def start(self) -> None:
        """Begin a round, unless one is going on."""
        if not self._is_measuring:
            self._is_measuring = True
            self._samples.clear()

    def stop(self) -> None:
        """Give up the round: the connection is gone."""
        self._is_measuring, self._nonce = False, None

    def sent(self, nonce: int, now: float) -> None:
        """The ping ``nonce`` was sent ``now``."""
        self._nonce, self._sent = nonce, now

    def answered(self, nonce: int, now: float) -> bool:
        """The answer to ``nonce`` came ``now``; True when that ends a round."""
        if not self._is_measuring or nonce != self._nonce:
            return False
        self._nonce = None
        self._samples.append(now - self._sent)
        if len(self._samples) < PINGS:
            return False
        self.history.append(trimmed_mean(self._samples))
        self._is_measuring = False
        self.rounds += 1
        return True
