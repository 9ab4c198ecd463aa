"""Whether a run was a success, and whether it says anything about the server at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.results import Results
from wsactors.loadtest.settings import HarnessSettings, ThresholdSettings
from wsactors.loadtest.tally import Tally

__all__ = ["Finding", "harness_limits", "judge", "shares"]

_AT_LEAST: Final = frozenset({"min_messages", "min_users"})
_SLOW_START: Final = 0.9
"""Share of the users wanted that must be there at the peak."""


@attrs.frozen
class Finding:
    """One threshold and what was measured."""

    name: str
    limit: float
    value: float | None
    """None: there was nothing to measure, which keeps no threshold."""

    @property
    def kept(self) -> bool:
        """Whether the run stayed within it."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.name in _AT_LEAST else self.value <= self.limit

    def __str__(self) -> str:
        value = "nothing" if self.value is None else f"{self.value:.6g}"
        return f"{self.name}: {value}, {'at least' if self.name in _AT_LEAST else 'at most'} {self.limit:g} wanted"


def shares(total: Tally) -> dict[str, float | None]:
    """Loss and failures as shares; None where there was nothing to share."""
    heard = total.received + total.audio
    return {
        "loss": total.missed / (heard + total.missed) if heard or total.missed else None,
        "failed": total.failures / total.attempts if total.attempts else None,
    }


def judge(thresholds: ThresholdSettings, results: Results) -> list[Finding]:
    """What became of each threshold that was set."""
    total = results.total()
    share = shares(total)
    measured: dict[str, float | None] = {
        "latency_p50_ms": _ms(total.latency, 50),
        "latency_p99_ms": _ms(total.latency, 99),
        "latency_max_ms": _ms(total.latency, 100),
        "audio_late_p99_ms": _ms(total.late, 99),
        "join_p99_ms": _ms(total.join, 99),
        "first_message_p99_ms": _ms(total.first, 99),
        "loss_share": share["loss"],
        "failed_share": share["failed"],
        "disconnects": float(total.disconnects),
        "unsent": float(total.unsent),
        "min_messages": float(total.received + total.audio),
        "min_users": float(results.most_joined),
    }
    limits: dict[str, Any] = attrs.asdict(thresholds)
    return [Finding(name, limit, measured[name]) for name, limit in limits.items() if limit is not None]


def _ms(histogram: Histogram, share: float) -> float | None:
    return histogram.percentile(share) * 1000 if histogram.counts else None


def harness_limits(harness: HarnessSettings, results: Results) -> list[str]:
    """Why the numbers are about the harness and not about the server; empty when they are about the server."""
    return [*_process_limits(harness, results), *_user_limits(results)]


def _process_limits(harness: HarnessSettings, results: Results) -> Iterator[str]:
    for number, process in enumerate(results.processes):
        if process.busiest > harness.max_cpu:
            yield f"process {number} used {process.busiest:.0%} of a core: give it fewer users, or more processes"
        lag, late = process.lag.percentile(99), process.send_lag.percentile(99)
        if lag > harness.max_lag:
            yield f"process {number}'s loop ran {lag * 1000:.0f} ms late (99th percentile): what it measured includes that"
        if late > harness.max_lag:
            yield f"process {number} sent messages {late * 1000:.0f} ms too late (99th percentile)"


def _user_limits(results: Results) -> Iterator[str]:
    wanted = max(results.wanted.values(), default=0)
    if results.most_users < _SLOW_START * wanted:
        yield f"{wanted} users were wanted, the harness had {results.most_users} at most"
    crashes = sum(tally.crashes for tally in results.groups.values())
    if crashes:
        yield f"{crashes} users died of an error in the harness"
