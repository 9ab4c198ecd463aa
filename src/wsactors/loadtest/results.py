"""What a run has shown so far: rows by second, totals by group, and how the harness itself fared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from wsactors.loadtest.control import Report
from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.settings import LoadSettings
from wsactors.loadtest.tally import COUNTERS, GAUGES, HISTOGRAMS, Tally

__all__ = ["ProcessResult", "Results"]

_SETTLED: Final = 5
"""Seconds after which no more reports about a second are expected."""


@attrs.define
class ProcessResult:
    """How one process of the harness fared."""

    cpu: list[float] = attrs.field(factory=list)
    """Share of a core, second by second."""
    lag: Histogram = attrs.field(factory=Histogram)
    """Delays of its loop."""
    send_lag: Histogram = attrs.field(factory=Histogram)
    """How much too late it sent messages."""
    memory: int = 0
    """Most resident bytes."""

    @property
    def busiest(self) -> float:
        """The share of a core that it exceeded in one of ten seconds."""
        ordered = sorted(self.cpu)
        return ordered[int(0.9 * (len(ordered) - 1))] if ordered else 0.0


class Results:
    """Adds up what the workers report.

    Groups that stall on purpose count in their own row only: what they miss is what they were made to miss.
    """

    def __init__(self, settings: LoadSettings) -> None:
        self._present: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in settings.users}
        self._counted = {name for name, group in settings.users.items() if group.behaviour != "stall"}
        self.groups = {name: Tally() for name in settings.users}
        """Sums of the whole run; `present` has the gauges."""
        self.processes = [ProcessResult() for _ in range(settings.harness.processes)]
        self.rows: dict[int, dict[str, Any]] = {}
        """What was counted in each second, summed up; percentiles of what was measured in it."""
        self._open: dict[int, Tally] = {}
        self._open_bytes: dict[int, tuple[int, int]] = {}
        self.most_joined = 0
        self.most_users = 0
        self.wanted: dict[int, int] = {}
        """How many users the shape wanted in each second."""

    def add(self, worker: int, report: Report) -> None:
        """Take in one worker's second."""
        process = self.processes[worker]
        process.cpu.append(report.cpu / max(report.seconds, 0.001))
        process.lag.add(Histogram.unpack(report.lag))
        process.send_lag.add(Histogram.unpack(report.send_lag))
        process.memory = max(process.memory, report.memory)
        row = self._open.setdefault(report.second, Tally())
        received, sent = self._open_bytes.get(report.second, (0, 0))
        self._open_bytes[report.second] = (received + report.received, sent + report.sent)
        for name, taken in report.groups.items():
            self.groups[name].put(taken)
            self._present[name][worker] = (taken["users"], taken["joined"])
            if name in self._counted:
                row.put(taken)
            else:
                for gauge in GAUGES:  # they are there all the same
                    setattr(row, gauge, getattr(row, gauge) + taken[gauge])
        self.most_joined = max(self.most_joined, row.joined)
        self.most_users = max(self.most_users, row.users)
        for second in [second for second in self._open if second < report.second - _SETTLED]:
            self._settle(second)

    def settle(self) -> None:
        """No more reports will come."""
        for second in list(self._open):
            self._settle(second)

    def _settle(self, second: int) -> None:
        self.rows[second] = self._row(second)
        del self._open[second]

    def _row(self, second: int) -> dict[str, Any]:
        tally = self._open[second]
        row: dict[str, Any] = {"second": second, "wanted": self._wanted_in(second)}
        row.update({name: getattr(tally, name) for name in (*GAUGES, *COUNTERS)})
        row["bytes_in"], row["bytes_out"] = self._open_bytes[second]
        for name in HISTOGRAMS:
            row[name] = dict(getattr(tally, name).summary())
        return row

    def _wanted_in(self, second: int) -> int:
        known = [each for each in self.wanted if each <= second]
        return self.wanted[max(known)] if known else 0

    def walk(self) -> Iterator[dict[str, Any]]:
        """Every second's row, in order."""
        for second in sorted({*self.rows, *self._open}):
            yield self.rows.get(second) or self._row(second)

    def present(self, group: str) -> tuple[int, int]:
        """Users of a group that are there and that are joined, as last reported."""
        counts = self._present[group].values()
        return sum(users for users, _ in counts), sum(joined for _, joined in counts)

    def last(self) -> Mapping[str, Any] | None:
        """The newest row that every process has probably reported for; None at the start."""
        seconds = sorted({*self.rows, *self._open})
        if not seconds:
            return None
        second = seconds[-2] if len(seconds) > 1 else seconds[-1]
        return self.rows.get(second) or self._row(second)

    def total(self) -> Tally:
        """All groups together, but for those that stall."""
        total = Tally()
        for name in self._counted:
            total.add(self.groups[name])
        return total
