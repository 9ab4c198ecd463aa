"""The report as one HTML page that loads nothing and runs nothing: styles and plots are in it. Pure.

Names, titles and the reasons that servers gave are other people's words: every text is escaped, and the page's policy forbids
scripts and whatever lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.plots import Plot, draw
from wsactors.loadtest.tally import COUNTERS, HISTOGRAMS
from wsactors.node.terminal import visible

__all__ = ["html_page"]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a202c; --paper: #fff; --line: #cbd5e0; --faint: #718096 }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --paper: #171923; --line: #4a5568; --faint: #a0aec0 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem } h1, p, td:first-child { overflow-wrap: anywhere }
table { border-collapse: collapse; margin: .5rem 0 } th, td { border-bottom: 1px solid var(--line); padding: .2rem .7rem;
  text-align: right; font-variant-numeric: tabular-nums } th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto } svg { width: 100%; max-width: 45rem } .grid { stroke: var(--line); stroke-width: .5 }
.tick, .label { font-size: 11px; fill: var(--faint) } .legend span { margin-right: 1rem } .legend i { display: inline-block;
  width: .8em; height: .8em; margin-right: .3em } .passed { color: #2f855a } .failed, .harness, .interrupted { color: #c53030 }
.none { color: var(--faint) } pre { white-space: pre-wrap }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SAYS: Final = {
    "passed": "Every threshold was kept.",
    "failed": "A threshold was broken.",
    "harness limit": "The harness, not the server, was the limit: the numbers say nothing about the server.",
    "interrupted": "The run was interrupted; what follows is what there was until then.",
}


def html_page(report: Mapping[str, Any]) -> str:
    """The page for what `wsactors.loadtest.report.report` returned."""
    title = _text(report["title"])
    verdict = str(report["outcome"])
    body = [
        f"<h1>{title}</h1>",
        f'<p class="{escape(verdict.split(maxsplit=1)[0])}"><strong>{escape(verdict)}</strong>: {_SAYS[verdict]}</p>',
        _circumstances(report),
        *_remarks(report["harness"]),
        _thresholds(report["thresholds"]),
        "<h2>Over time</h2>",
        *_plots_over_time(report["rows"]),
        "<h2>Durations</h2>",
        _durations(report["total"]),
        "<h3>By percentile</h3>",
        draw(_by_percentile(report["total"])),
        "<h2>Users</h2>",
        _groups(report["groups"]),
        "<h2>Reasons</h2>",
        _reasons(report["groups"]),
        "<h2>The harness itself</h2>",
        _processes(report["harness"]["processes"]),
        "<h2>Settings</h2>",
        *_settings(report["settings"]),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>'
        + "\n".join(body)
        + "</body></html>\n"
    )


def _circumstances(report: Mapping[str, Any]) -> str:
    url, machine = report["settings"]["target"]["url"], report["machine"]
    return f"<p>{_text(report['started'])}, {report['seconds']:.0f} s, {_text(url)}, {_text(machine)}</p>"


def _text(value: object) -> str:
    """Foreign text: no markup, and what cannot be seen (controls, reversed writing) spelled out."""
    return escape(visible(value, 500))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<div class=wide><table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table></div>"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _remarks(harness: Mapping[str, Any]) -> Iterable[str]:
    for limit in harness["limits"]:
        yield f"<p class=harness>The harness was the limit: {_text(limit)}.</p>"
    for note in harness["notes"]:
        yield f"<p>{_text(note)}</p>"


def _thresholds(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<p class=none>No thresholds were set.</p>"
    rows = (
        (each["name"], f"{each['limit']:g}", "nothing" if each["value"] is None else f"{each['value']:.6g}",
         "kept" if each["kept"] else "broken")
        for each in findings
    )  # fmt: skip
    return "<h2>Thresholds</h2>" + _table(("threshold", "limit", "measured", ""), rows)


def _plots_over_time(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    def over_time(*names: str) -> dict[str, list[tuple[float, float]]]:
        return {name: [(row["second"], row[name]) for row in rows] for name in names}

    def measured(kind: str, *shares: str) -> dict[str, list[tuple[float, float]]]:
        return {
            f"{kind} {share}": [(row["second"], row[kind][share] * 1000) for row in rows if row[kind]["count"]]
            for share in shares
        }

    x = "seconds since the start"
    yield "<h3>Users</h3>" + draw(Plot(over_time("wanted", "users", "joined"), x, "users"))
    yield "<h3>Messages per second</h3>" + draw(Plot(over_time("received", "audio", "sent"), x, "per second"))
    for kind in ("latency", "late", "join", "first"):
        lines = measured(kind, "p50", "p99", "max")
        if any(lines.values()):
            yield f"<h3>{escape(kind)}: {escape(HISTOGRAMS[kind])}</h3>" + draw(Plot(lines, x, "ms"))
    troubles = ("failures", "disconnects", "drops", "missed", "unsent")
    yield "<h3>Troubles per second</h3>" + draw(Plot(over_time(*troubles), x, "per second"))


def _by_percentile(total: Mapping[str, Any]) -> Plot:
    series = {}
    for name in HISTOGRAMS:
        histogram = Histogram.unpack(total[name]["buckets"])
        if not histogram.counts:
            continue
        finest = 1 - 1 / histogram.count
        shares = [share for share in (1 - 10 ** (-step / 20) for step in range(121)) if share <= finest]
        values = histogram.percentiles([share * 100 for share in shares])
        series[name] = [(share * 100, value * 1000) for share, value in zip(shares, values, strict=True)]
    return Plot(series, "percentile", "ms", percentiles=True)


def _durations(total: Mapping[str, Any]) -> str:
    columns = ("mean", "p50", "p90", "p99", "p999", "max")
    rows = (
        (f"{name}: {meaning}", total[name]["count"], *(_ms(total[name][column]) for column in columns))
        for name, meaning in HISTOGRAMS.items()
        if total[name]["count"]
    )
    return _table(("ms", "count", *columns), rows)


def _groups(groups: Mapping[str, Mapping[str, Any]]) -> str:
    used = [name for name in COUNTERS if any(group[name] for group in groups.values())]
    rows = ((COUNTERS[name], *(group[name] for group in groups.values())) for name in used)
    return _table(("", *groups), rows)


def _reasons(groups: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(name, reason, count) for name, group in groups.items() for reason, count in group["reasons"].items()]
    if not rows:
        return "<p class=none>No connection failed or was ended by the other side.</p>"
    return _table(("users", "why, in the other side's words", "times"), rows)


def _processes(processes: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        (number, f"{each['busiest']:.0%}", _ms(each["lag"]["p99"]), _ms(each["send_lag"]["p99"]),
         f"{each['memory_bytes'] / 1e6:.0f}")
        for number, each in enumerate(processes)
    )  # fmt: skip
    return _table(("process", "core, 90th percentile", "loop late, p99 ms", "sent late, p99 ms", "memory MB"), rows)


def _settings(settings: Mapping[str, Any], path: str = "") -> Iterable[str]:
    plain = [(key, value) for key, value in settings.items() if not isinstance(value, Mapping)]
    if plain:
        yield (f"<h3>[{_text(path)}]</h3>" if path else "") + _table(("", ""), plain)
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}.{key}".removeprefix("."))
