"""What a listener gets, chosen from how it hears: which bit rate, and copies of which frame. Both with hysteresis.

A track is coded once per tier, and each frame once with each kind of copy, however many listeners choose the same.
Pure: reports and ``now`` in, choices out.
"""

from __future__ import annotations

from typing import Final

import attrs

from wsactors.media.forwarder import COPY_DISTANCES

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


@attrs.frozen
class CopyOptions:
    """When a listener gets copies, and of which frames."""

    begin: float = 0.005
    """Share of frames lost from which on there are copies."""
    end: float = 0.002
    """And up to which there are none any more, after `calm` seconds."""
    calm: float = 15.0
    single: float = 1.4
    """Mean length of the losses in a row up to which the copy of the frame before is enough."""
    short: float = 2.0
    """And up to which the one a little farther back is."""


class CopyChooser:
    """How far back the copies reach that one listener gets: 0 for none, else one of `COPY_DISTANCES`."""

    _MEMORY: Final = 0.9

    def __init__(self, options: CopyOptions = CopyOptions()) -> None:
        self._options = options
        self._frames = self._lost = self._runs = 0.0
        self._lossy_at = 0.0
        self.distance = 0

    def hear(self, frames: int, lost: int, runs: int, *, now: float) -> int:
        """The distance after a report: ``lost`` of ``frames``, in ``runs`` runs."""
        if frames <= 0:
            return self.distance
        self._frames = self._frames * self._MEMORY + frames
        self._lost = self._lost * self._MEMORY + lost
        self._runs = self._runs * self._MEMORY + runs
        loss = self._lost / self._frames
        if loss >= self._options.end:
            self._lossy_at = now
        if loss >= self._options.begin:
            # Farther at once, nearer only when it gets quiet: what reaches too far costs delay, too near costs sound.
            self.distance = max(self.distance, self._wanted())
        elif now - self._lossy_at >= self._options.calm:
            self.distance = 0
        return self.distance

    def _wanted(self) -> int:
        near, middle, far = COPY_DISTANCES
        length = self._lost / max(self._runs, 1e-9)
        if length <= self._options.single or self._runs < 2:
            return near
        return middle if length <= self._options.short else far
