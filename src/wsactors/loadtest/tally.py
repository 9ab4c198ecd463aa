"""What one process of the harness counts and measures, by group of users. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wsactors.loadtest.histogram import Histogram

__all__ = ["COUNTERS", "GAUGES", "HISTOGRAMS", "Tally", "add_reasons"]

COUNTERS: Final[Mapping[str, str]] = {
    "attempts": "connections tried",
    "joins": "joins",
    "failures": "connections or joins that failed",
    "disconnects": "connections that the other side ended or that broke",
    "reconnects": "joins after such an end",
    "drops": "memberships that the other side ended, on a connection that stayed",
    "partings": "connections that users ended",
    "stalls": "times that users stopped reading",
    "sent": "messages sent",
    "unsent": "messages that were due and could not be sent",
    "received": "messages received",
    "audio": "audio frames received",
    "missed": "messages and frames that never came, by gaps in sequences",
    "repeated": "messages and frames that came twice or too late",
    "other": "other messages received",
    "crashes": "users that died of an error in the harness",
}
"""What is counted, and what it means."""
GAUGES: Final[Mapping[str, str]] = {"users": "users", "joined": "users that are joined"}
HISTOGRAMS: Final[Mapping[str, str]] = {
    "latency": "from when a message should have been sent to its arrival",
    "late": "how much later than its time an audio frame came, the soonest of its connection being on time",
    "join": "from connecting to having joined",
    "first": "from connecting to the first message or frame",
}
"""What is measured, in seconds."""
MAX_REASONS: Final = 50
"""Different reasons that are counted each on its own; they are the other side's words, so there could be any number."""
_MAX_LETTERS: Final = 120


class Tally:
    """Counters, gauges and histograms of one group."""

    __slots__ = (*COUNTERS, *GAUGES, *HISTOGRAMS, "reasons")

    attempts: int
    joins: int
    failures: int
    disconnects: int
    reconnects: int
    drops: int
    partings: int
    stalls: int
    sent: int
    unsent: int
    received: int
    audio: int
    missed: int
    repeated: int
    other: int
    crashes: int
    users: int
    joined: int
    latency: Histogram
    late: Histogram
    join: Histogram
    first: Histogram

    def __init__(self) -> None:
        for name in (*COUNTERS, *GAUGES):
            setattr(self, name, 0)
        for name in HISTOGRAMS:
            setattr(self, name, Histogram())
        self.reasons: dict[str, int] = {}
        """Why connections failed, ended or were refused, in the other side's words: shown to people, never obeyed."""

    def because(self, reason: str) -> None:
        """Count a reason."""
        add_reasons(self.reasons, {reason[:_MAX_LETTERS]: 1})

    def take(self) -> dict[str, Any]:
        """What came together since the last call, as plain data; gauges as they are now."""
        taken: dict[str, Any] = {}
        for name in COUNTERS:
            taken[name] = getattr(self, name)
            setattr(self, name, 0)
        for name in GAUGES:
            taken[name] = getattr(self, name)
        for name in HISTOGRAMS:
            histogram: Histogram = getattr(self, name)
            taken[name] = histogram.take().pack()
        taken["reasons"], self.reasons = self.reasons, {}
        return taken

    def put(self, taken: Mapping[str, Any]) -> None:
        """Add what another tally's `take` gave; its gauges, too."""
        for name in (*COUNTERS, *GAUGES):
            setattr(self, name, getattr(self, name) + taken[name])
        for name in HISTOGRAMS:
            histogram: Histogram = getattr(self, name)
            histogram.add(Histogram.unpack(taken[name]))
        add_reasons(self.reasons, taken["reasons"])

    def add(self, other: Tally) -> None:
        """Add what another tally holds."""
        for name in (*COUNTERS, *GAUGES):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))
        add_reasons(self.reasons, other.reasons)


def add_reasons(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add up reasons, at most `MAX_REASONS` different ones."""
    for reason, count in more.items():
        name = reason if reason in counts or len(counts) < MAX_REASONS else "(others)"
        counts[name] = counts.get(name, 0) + count
