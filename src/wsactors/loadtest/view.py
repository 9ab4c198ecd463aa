"""A run on the terminal, while it goes on and when it is over. Whatever servers say is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from wsactors.loadtest.results import Results
from wsactors.loadtest.scenario import Stages
from wsactors.loadtest.settings import LoadSettings
from wsactors.loadtest.tally import Tally
from wsactors.loadtest.verdict import harness_limits, judge
from wsactors.node.terminal import as_text, visible

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.table import Table

__all__ = ["View", "draw", "summary"]

_LINE_EVERY: Final = 5
"""Seconds between two lines where there is no terminal."""
_REASONS: Final = 6
_ROWS: Final = (
    "users", "joined", "received", "sent", "missed", "failed", "lost", "join p99 ms", "first p99 ms", "audio late p99 ms",
    "latency p50 ms", "latency p99 ms", "latency max ms",
)  # fmt: skip


@attrs.define
class View:
    """Shows a run on ``console``: a table that changes on a terminal, a line now and then elsewhere."""

    settings: LoadSettings
    console: Console
    quiet: bool = False
    _live: Live | None = None
    _shown: int = -_LINE_EVERY

    def __enter__(self) -> Self:
        from rich.live import Live

        if not self.quiet and self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, results: Results, elapsed: float) -> None:
        """The state of things, ``elapsed`` seconds after the start."""
        if self._live is not None:
            self._live.update(draw(self.settings, results, elapsed), refresh=True)
        elif not self.quiet and elapsed >= self._shown + _LINE_EVERY:
            self._shown = int(elapsed)
            self.console.print(as_text(_headline(self.settings, results, elapsed)), soft_wrap=True)


def draw(settings: LoadSettings, results: Results, elapsed: float) -> Group:
    """The live view: a headline, a column for each group, what the harness did, and why connections failed."""
    from rich.console import Group

    lines: list[RenderableType] = [as_text(_headline(settings, results, elapsed), "bold"), _table(results)]
    lines += [as_text(line, "dim") for line in _harness(results)]
    lines += [as_text(line, "yellow") for line in _reasons(results)]
    return Group(*lines)


def _headline(settings: LoadSettings, results: Results, elapsed: float) -> str:
    whole = Stages(tuple(settings.stages.values())).seconds
    row: Mapping[str, Any] = results.last() or {}
    if not row:
        return f"{elapsed:.0f} of {whole:.0f} s"
    heard = row["received"] + row["audio"]
    delay = row["latency"] if row["latency"]["count"] else row["late"]
    return (
        f"{elapsed:.0f} of {whole:.0f} s: {row['joined']} of {row['users']} users joined, {heard} messages per second, "
        f"{row['bytes_in'] / 1e6:.1f} MB/s, p99 {delay['p99'] * 1000:.1f} ms"
    )


def _table(results: Results) -> Table:
    from rich.table import Table

    table = Table("", expand=False)
    for name in results.groups:
        table.add_column(as_text(name), justify="right")
    columns = [tuple(_cells(tally, results, name)) for name, tally in results.groups.items()]
    for index, name in enumerate(_ROWS):
        table.add_row(name, *(as_text(column[index]) for column in columns))
    return table


def _cells(tally: Tally, results: Results, name: str) -> Iterator[str]:
    there, joined = results.present(name)
    yield from (str(there), str(joined), str(tally.received + tally.audio), str(tally.sent), str(tally.missed))
    yield from (str(tally.failures), str(tally.disconnects + tally.drops))
    for histogram in (tally.join, tally.first, tally.late):
        yield f"{histogram.percentile(99) * 1000:.1f}" if histogram.counts else "-"
    for share in (50.0, 99.0, 100.0):
        yield f"{tally.latency.percentile(share) * 1000:.1f}" if tally.latency.counts else "-"


def _harness(results: Results) -> Iterator[str]:
    for number, process in enumerate(results.processes):
        if process.cpu:
            yield (
                f"process {number}: {process.cpu[-1]:.0%} of a core, loop {process.lag.percentile(99) * 1000:.1f} ms late, "
                f"sends {process.send_lag.percentile(99) * 1000:.1f} ms late (p99), {process.memory / 1e6:.0f} MB"
            )


def _reasons(results: Results) -> Iterator[str]:
    for name, tally in results.groups.items():
        for reason, count in sorted(tally.reasons.items(), key=lambda item: -item[1])[:_REASONS]:
            yield f"{name}: {count} × {visible(reason, 120)}"


def summary(settings: LoadSettings, results: Results) -> Group:
    """What is said at the end: the table, the thresholds, and whether to believe any of it."""
    from rich.console import Group

    lines: list[RenderableType] = [_table(results), *(as_text(line, "yellow") for line in _reasons(results))]
    for finding in judge(settings.thresholds, results):
        word, style = ("kept", "green") if finding.kept else ("BROKEN", "bold red")
        lines.append(as_text(f"{word}  {finding}", style))
    limits = harness_limits(settings.harness, results)
    lines += [as_text(f"THE HARNESS WAS THE LIMIT  {limit}", "bold red") for limit in limits]
    return Group(*lines)
