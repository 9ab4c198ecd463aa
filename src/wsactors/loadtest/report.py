"""The report of a run as plain data: what the JSON file holds and the page shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from wsactors.loadtest.results import ProcessResult, Results
from wsactors.loadtest.settings import LoadSettings
from wsactors.loadtest.tally import COUNTERS, HISTOGRAMS, Tally
from wsactors.loadtest.verdict import Finding, harness_limits, judge, shares
from wsactors.node.secret import redact

__all__ = ["FORMAT", "Facts", "Outcome", "outcome", "report"]

FORMAT: Final = "wsactors-load-report/1"

Outcome = Literal["passed", "failed", "harness limit", "interrupted"]


@attrs.frozen
class Facts:
    """What a report says besides what was measured."""

    started: str
    """Date and time, ISO 8601."""
    seconds: float
    """How long the run took."""
    machine: str
    """What it ran on."""
    busy: float
    """Share of the whole machine's processor time that was used meanwhile, by whomever."""
    shared: bool
    """Whether the server ran on the same machine."""
    interrupted: bool = False


def outcome(settings: LoadSettings, results: Results, facts: Facts) -> Outcome:
    """What the run comes to."""
    if facts.interrupted:
        return "interrupted"
    if harness_limits(settings.harness, results) and not settings.harness.accept_limit:
        return "harness limit"
    return "passed" if all(finding.kept for finding in judge(settings.thresholds, results)) else "failed"


def report(settings: LoadSettings, results: Results, facts: Facts) -> dict[str, Any]:
    """Everything, ready for JSON. Times are in seconds unless a name says otherwise; secrets are left out."""
    total = results.total()
    return {
        "format": FORMAT,
        "title": settings.report.title,
        "outcome": outcome(settings, results, facts),
        "started": facts.started,
        "seconds": facts.seconds,
        "machine": facts.machine,
        "thresholds": [_finding(each) for each in judge(settings.thresholds, results)],
        "harness": {
            "limits": harness_limits(settings.harness, results),
            "notes": notes(facts),
            "processes": [_process(each) for each in results.processes],
        },
        "most_joined": results.most_joined,
        "shares": shares(total),
        "total": _tally(total),
        "groups": {name: _tally(tally) for name, tally in results.groups.items()},
        "rows": list(results.walk()),
        "settings": plain_settings(settings),
    }


def notes(facts: Facts) -> Sequence[str]:
    """What a reader should know before believing the numbers."""
    if not facts.shared:
        return []
    told = f"The server ran on the same machine; all its processors together were busy {facts.busy:.0%} of the time"
    more = ", so harness and server took time from each other." if facts.busy > 0.9 else "."
    return [told + more]


def plain_settings(value: Any) -> Any:
    """Settings as plain data, secrets redacted."""
    if attrs.has(type(value)):
        return {field.name: plain_settings(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {key: plain_settings(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(value if isinstance(value, str) else str(value))


def _finding(finding: Finding) -> dict[str, Any]:
    return {"name": finding.name, "limit": finding.limit, "value": finding.value, "kept": finding.kept}


def _process(process: ProcessResult) -> dict[str, Any]:
    return {
        "busiest": process.busiest,
        "lag": dict(process.lag.summary()),
        "send_lag": dict(process.send_lag.summary()),
        "memory_bytes": process.memory,
    }


def _tally(tally: Tally) -> dict[str, Any]:
    counted: dict[str, Any] = {name: getattr(tally, name) for name in COUNTERS}
    for name in HISTOGRAMS:
        histogram = getattr(tally, name)
        counted[name] = {**histogram.summary(), "buckets": histogram.pack()}
    counted["reasons"] = dict(sorted(tally.reasons.items(), key=lambda item: -item[1]))
    return counted
