"""Reads the machine's clock for whoever commands decks: the one place besides the render process that does."""

from __future__ import annotations

import time

from wsactors.dj.timeline import SAMPLE_RATE, frame_at

AHEAD_MS = 80
"""Milliseconds the render process is ahead of the timeline: four packets, so that a late wake-up is never heard."""
LEAD = (AHEAD_MS + 20) * SAMPLE_RATE // 1000
"""Frames from now at which a command can take effect: just beyond what may already be rendered."""


def now() -> int:
    """The timeline frame that is being heard now."""
    return frame_at(time.monotonic_ns())


def soon() -> int:
    """The earliest timeline frame that a command given now can change, to the sample."""
    return now() + LEAD
