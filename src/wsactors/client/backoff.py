"""When to try again. Pure: randomness comes in.

Exponential back-off with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): whoever
lost the same node comes back spread over the whole pause, not in waves at its end.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Retry:
    """How a client comes back to a node."""

    first: float = 0.25
    """The longest pause before the first attempt, in seconds; it doubles with each further one."""
    longest: float = 8.0
    """Pauses grow no further, in seconds."""
    attempts: int | None = 40
    """After so many failures in a row it gives up; None: never."""
    stable: float = 5.0
    """Seconds that a connection must have lasted for the count to begin anew: a node that welcomes everybody and then
    fails must not be asked without pause."""


class Backoff:
    """Counts failures and says how long to wait.

    Args:
        retry: The rules.
        random: Gives a number from 0 to 1.

    Example:
        >>> backoff = Backoff(Retry(attempts=3), random=lambda: 1.0)
        >>> backoff.failed(), backoff.failed(), backoff.failed()
        (0.25, 0.5, None)
    """

    def __init__(self, retry: Retry, random: Callable[[], float]) -> None:
        self._retry = retry
        self._random = random
        self.failures = 0

    def failed(self) -> float | None:
        """Seconds to wait before the next attempt; None: give up."""
        self.failures += 1
        if self._retry.attempts is not None and self.failures >= self._retry.attempts:
            return None
        return self._random() * min(self._retry.longest, self._retry.first * 2.0 ** min(self.failures - 1, 60))

    def lasted(self, seconds: float) -> None:
        """A connection that was greeted has ended after ``seconds``."""
        if seconds >= self._retry.stable:
            self.failures = 0
