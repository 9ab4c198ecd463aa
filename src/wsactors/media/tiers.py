"""Which bit rate a listener gets, chosen from how it hears, with hysteresis. A track is coded once per tier.

Pure: shares and ``now`` in, choices out.
"""

from __future__ import annotations

from typing import Final

import attrs

TIERS: Final = (128_000, 64_000, 32_000, 16_000)
"""Bits per second, best first."""


@attrs.frozen
class TierOptions:
    """When a listener moves from tier to tier."""

    bad: float = 0.10
    """Share of frames lost in one report after which it goes down at once."""
    poor: float = 0.04
    """The same for two reports in a row."""
    good: float = 0.01
    """What it may lose at most, to go up again."""
    wait: float = 10.0
    """Seconds for which it must be good."""
    longest_wait: float = 120.0
    """The wait doubles up to this each time that going up was a mistake."""


class TierChooser:
    """Which of ``count`` tiers one listener gets: 0 is the best.

    Example:
        >>> chooser = TierChooser(4)
        >>> chooser.hear(0.2, now=1.0)
        1
    """

    def __init__(self, count: int = len(TIERS), options: TierOptions = TierOptions()) -> None:
        self._options = options
        self._count = count
        self._wait = options.wait
        self._poor = 0
        self._good_since: float | None = None
        self._went_up: float | None = None
        self.tier = 0

    def hear(self, loss: float, *, now: float) -> int:
        """The tier after a report of ``loss``, 0 to 1: lost on the way or not sent for want of room, before copies."""
        options = self._options
        self._poor = self._poor + 1 if loss >= options.poor else 0
        if loss > options.good:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        if (loss >= options.bad or self._poor >= 2) and self.tier < self._count - 1:
            self._go_down(now)
        elif self.tier > 0 and self._good_since is not None and now - self._good_since >= self._wait:
            self.tier -= 1
            self._good_since = self._went_up = now
        return self.tier

    def _go_down(self, now: float) -> None:
        self.tier += 1
        self._poor = 0
        if self._went_up is not None and now - self._went_up < self._options.wait:
            self._wait = min(self._options.longest_wait, self._wait * 2)
        else:
            self._wait = max(self._options.wait, self._wait / 2)
        self._went_up = None
