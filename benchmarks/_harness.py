"""What every benchmark shares: rows, interleaved rounds, peers behind a pipe, the table and the JSON.

A figure is worth something only beside another one taken in the same minute on the same machine. So the rounds of all
sides are interleaved (ours, peer, ours, peer), a row shows medians, and its note carries the spread and the CPU time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS: Final = Path(__file__).parent / "peers"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class PeerUnavailable(Exception):
    """The peer is not installed here, or it did not do its job. The row says so instead of failing the run."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one side: ``wall`` and ``cpu`` in the unit of its row."""

    wall: float
    cpu: float


Side = Callable[[], Awaitable[Sample]]


@dataclass(slots=True)
class Row:
    """One line of the table. ``ratio`` is ours ÷ the best (smallest) of ``against``, else of floor and peers."""

    bench: str
    metric: str
    unit: str
    ours: float | None = None
    floor: float | None = None
    peers: dict[str, float | None] = field(default_factory=dict)
    ratio: float | None = None
    note: str = ""

    def settle(self, against: Iterable[str] = ()) -> Row:
        """Compute the ratio against the named columns (default: floor and every peer) and name the one that won."""
        columns: dict[str, float | None] = {"floor": self.floor, **self.peers}
        names = tuple(against) or tuple(columns)
        known = {name: value for name in names if (value := columns.get(name))}
        if self.ours is not None and known:
            best = min(known, key=lambda name: known[name])
            self.ratio = round(self.ours / known[best], 3)
            self.add(f"ratio against {best}")
        return self

    def add(self, text: str) -> None:
        """Append a remark to the note."""
        self.note = f"{self.note}; {text}" if self.note else text


@dataclass(frozen=True, slots=True)
class Options:
    """The command line every benchmark understands."""

    rounds: int
    quick: bool
    as_json: bool
    only: tuple[str, ...]


# ---------------------------------------------------------------- measuring


async def interleave(rounds: int, sides: Mapping[str, Side], warm: int = 1) -> dict[str, list[Sample]]:
    """Run every side once per round, in turn, after ``warm`` uncounted rounds.

    A side that raises `PeerUnavailable` drops out: its list stays empty. The collector runs between the sides, not
    inside them, so that nobody pays for another's garbage.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    gone: set[str] = set()
    for turn in range(warm + rounds):
        for name, side in sides.items():
            if name in gone:
                continue
            gc.collect()
            try:
                sample = await side()
            except PeerUnavailable as reason:
                print(f"{name} dropped out: {reason}", file=sys.stderr)
                gone.add(name)
                samples[name] = []
                continue
            if turn >= warm:
                samples[name].append(sample)
    return samples


def median(samples: Sequence[Sample]) -> float | None:
    """The median wall time, None when the side never ran."""
    return statistics.median(s.wall for s in samples) if samples else None


def spread(name: str, samples: Sequence[Sample]) -> str:
    """``ours 9.1..9.8..12 (cpu 9.7, 15 rounds)``: least, median and most of the wall time, median of the CPU time."""
    if not samples:
        return f"{name}: not measured"
    walls = [s.wall for s in samples]
    cpu = statistics.median(s.cpu for s in samples)
    return (
        f"{name} {min(walls):.3g}..{statistics.median(walls):.3g}..{max(walls):.3g} "
        f"(cpu {cpu:.3g}, {len(samples)} rounds)"
    )


def better(samples: Mapping[str, list[Sample]], names: Iterable[str]) -> tuple[str, list[Sample]]:
    """Of several variants of one peer, the one with the smaller median: it counts."""
    measured = [(value, name) for name in names if (value := median(samples.get(name, []))) is not None]
    if not measured:
        return "", []
    name = min(measured)[1]
    return name, samples[name]


class Stopwatch:
    """Wall and CPU time of the code since construction, in microseconds."""

    __slots__ = ("_cpu", "_wall")

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def sample(self, divide_by: float = 1.0) -> Sample:
        """What has passed, in µs divided by ``divide_by`` (1000 for milliseconds, a count for "each")."""
        wall = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        return Sample(wall * 1e6 / divide_by, cpu * 1e6 / divide_by)


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (default: this one), from /proc."""
    statm = Path(f"/proc/{pid if pid is not None else 'self'}/statm").read_text()
    return int(statm.split()[1]) * PAGE


# ---------------------------------------------------------------- peers behind a pipe


class LinePeer:
    """A program that stays up and runs one round per line on its stdin, so that its start is never counted.

    It answers each line with one line: ``ok NUMBER...`` or ``error TEXT``.
    """

    def __init__(self, name: str, argv: Sequence[str], answer_within: float = 120.0) -> None:
        self.name = name
        self._answer_within = answer_within
        self._buffer = b""
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self._process.pid

    def ask(self, *command: object) -> list[float]:
        """Send one command, block until its answer.

        Raises `PeerUnavailable` when the peer ends, refuses or does not answer within the limit.
        """
        self.tell(*command)
        return self.answer(command[0])

    def tell(self, *command: object) -> None:
        """Send one command; `answer` waits for what it says to it."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(" ".join(map(str, command)).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise PeerUnavailable(f"{self.name} ended") from None

    def answer(self, to: object = "being started") -> list[float]:
        """Block until its next answer. Raises as `ask` does."""
        status, *values = self._line().split()
        if status != "ok":
            raise PeerUnavailable(f"{self.name} answered {' '.join([status, *values])!r} to {to!r}")
        return [float(value) for value in values]

    async def sample(self, *command: object, divide_by: float = 1.0) -> Sample:
        """One round (its answer begins with wall and CPU time in µs) while our own loop sleeps."""
        wall, cpu, *_ = await trio.to_thread.run_sync(lambda: self.ask(*command))
        return Sample(wall / divide_by, cpu / divide_by)

    def close(self, *, kill: bool = False) -> None:
        """End the peer: by closing its stdin, after 5 s by killing it; or by killing it at once."""
        if kill:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _line(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + self._answer_within
        while b"\n" not in self._buffer:
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise PeerUnavailable(f"{self.name} gave no answer within {self._answer_within:.0f} s")
            data = os.read(stdout.fileno(), 65536)
            if not data:
                raise PeerUnavailable(f"{self.name} ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode() or "error empty"


@contextmanager
def erlang_peers(module: str, variants: Mapping[str, Sequence[str]]) -> Iterator[dict[str, LinePeer]]:
    """Compile ``peers/MODULE.erl`` once in a temporary directory and start one VM per variant (name → emulator flags).

    Yields an empty dict where Erlang is not installed (Debian: ``apt install erlang-base``).
    """
    if shutil.which("erlc") is None or shutil.which("erl") is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="wsactors-bench-") as directory:
        subprocess.run(["erlc", "-o", directory, str(PEERS / f"{module}.erl")], check=True, timeout=120)
        command = ("-noshell", "-noinput", "-pa", directory, "-s", module, "main")
        peers: dict[str, LinePeer] = {}
        try:
            for name, flags in variants.items():
                peers[name] = LinePeer(name, ["erl", *flags, *(c for c in command if c != "-noinput")])
            yield peers
        finally:
            for peer in peers.values():
                peer.close()


# ---------------------------------------------------------------- command line and output


def parse(argv: Sequence[str] | None, description: str, metrics: Sequence[str], rounds: int = 15) -> Options:
    """The common command line: ``--json --quick --rounds N`` and the metrics to run (default: all)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("metric", nargs="*", help=f"run only these rows: {' '.join(metrics)}")
    parser.add_argument("--json", action="store_true", help="print one JSON list of rows instead of the table")
    parser.add_argument(
        "--quick", action="store_true", help="finish in under 50 s; what is smaller says so in its note"
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds behind each median (default {rounds})")
    chosen = parser.parse_args(argv)
    unknown = sorted(set(chosen.metric) - set(metrics))
    if unknown:
        parser.error(f"unknown row {', '.join(unknown)}; there are: {' '.join(metrics)}")
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    return Options(chosen.rounds, chosen.quick, chosen.json, tuple(chosen.metric))


def report(rows: Sequence[Row], as_json: bool) -> None:
    """Print the rows on stdout: one JSON list, or a table with the notes below it."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    peers = sorted({name for row in rows for name in row.peers})
    head = ["metric", "unit", "ours", "floor", *peers, "ratio"]
    body = [
        [row.metric, row.unit, *map(_cell, (row.ours, row.floor, *(row.peers.get(p) for p in peers), row.ratio))]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    for line in (head, *body):
        first = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        print("  ".join([*first, *(cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True))]))
    print()
    for row in rows:
        if row.note:
            print(f"{row.metric}: {row.note}")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
