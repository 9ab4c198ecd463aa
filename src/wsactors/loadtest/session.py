"""One run from the command line: signals, the view, the circumstances, the files."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from wsactors.loadtest.lead import HarnessFault, lead
from wsactors.loadtest.page import html_page
from wsactors.loadtest.report import Facts, report
from wsactors.loadtest.results import Results
from wsactors.loadtest.settings import LoadSettings, ReportSettings
from wsactors.loadtest.target import Target
from wsactors.loadtest.view import View, summary

__all__ = ["run", "write_files"]


def run(settings: LoadSettings, target: Target, *, quiet: bool = False) -> dict[str, Any]:
    """Run, show, and return the report.

    Raises:
        HarnessFault: a process of the harness failed.
        KeyboardInterrupt: interrupted twice.
    """
    from rich.console import Console

    console = Console()
    started, begin, before = datetime.now(UTC), time.monotonic(), _processor_times()
    with View(settings, console, quiet=quiet) as view:
        results, interrupted = trio.run(_run, settings, target, view)
    console.print(summary(settings, results))
    facts = Facts(
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begin,
        machine=f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
        busy=_busy(before, _processor_times()),
        shared=target.loopback,
        interrupted=interrupted,
    )
    return report(settings, results, facts)


async def _run(settings: LoadSettings, target: Target, view: View) -> tuple[Results, bool]:
    """The run, ended early by a first SIGINT or SIGTERM and given up by a second one."""
    stop = trio.Event()
    results: Results | None = None
    fault: HarnessFault | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                    stop.set()

            nursery.start_soon(obey)
            try:
                results = await lead(settings, target, each_second=view.show, stop=stop)
            except HarnessFault as error:
                fault = error  # raised again outside the nursery, so that it does not come in a group
            nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
    if results is None:
        raise KeyboardInterrupt
    return results, stop.is_set()


def write_files(settings: ReportSettings, contents: Mapping[str, Any]) -> Iterator[Path]:
    """Write the files that are asked for; each path when it is written.

    Raises:
        OSError: one could not be written.
    """
    if settings.json:
        path = Path(settings.json)
        path.write_text(json.dumps(contents, allow_nan=False) + "\n")
        yield path
    if settings.html:
        path = Path(settings.html)
        path.write_text(html_page(contents))
        yield path


def _processor_times() -> tuple[int, int]:
    """Busy and all clock ticks of all processors since the machine started (proc(5), /proc/stat)."""
    with Path("/proc/stat").open() as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _busy(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(1, after[1] - before[1])
