"""How long sound takes from whoever makes it to whoever hears it, and how long it takes until one hears anything.

    python benchmarks/audio_latency.py [--json] [--quick] [ROW...]

A whole node (``config/audio.toml``), a speaker, listeners with the client's jitter buffer, and a crowd, each a process of
its own, all on QUIC; benchmarks/README.md says what the rows are. Nothing on the way is asked for the time: people note when
they capture, code, get and play a frame, and two listeners inside the node, sinks like all others, when they are offered it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from _audio_stage import self_signed
from _harness import LinePeer, Options, Row, parse, report
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HERE: Final = Path(__file__).parent
BENCH: Final = "audio_latency"
STAGE: Final = "talk"
BATTLE: Final = "demo"
RATE: Final = 48_000
FRAMES_MS: Final = (20, 10)
CROWD: Final = 100
"""Others who listen while the way of a frame is measured."""
END: Final = 0.5
"""Seconds in which what has come last is played."""
EACH: Final = 4
"""Listeners that are measured: as many who came first, and as many who came last."""
SECONDS: Final = 30.0
QUICK_SECONDS: Final = 6.0
SETTLE: Final = 2.0
"""Seconds at the beginning that do not count: jitter buffers begin with more than they need."""
LIVE: Final = 500
QUICK_LIVE: Final = 200
JOINS: Final = 100.0
QUICK_JOINS: Final = 50.0
JOIN_SECONDS: Final = 10.0
QUICK_JOIN_SECONDS: Final = 3.0
CALM_SECONDS: Final = 3.0
"""Nobody comes meanwhile: what the node needs for those who listen."""
WARM_JOINS: Final = 20.0
WARM_SECONDS: Final = 1.0
"""Before that some come who do not count: nobody has joined in those processes yet."""
PAUSE_MS: Final = 1.0
STEPS: Final = ("capture", "code", "session", "send", "network", "buffer", "total")
METRICS: Final = ("frame_20", "frame_10", "battle", "first_audio")


class Said(NamedTuple):
    """A frame at its speaker; µs of the machine's clock."""

    key: float
    begin: float
    captured: float
    coded: float
    sent: float


class Got(NamedTuple):
    """A frame at a listener."""

    listener: float
    key: float
    timestamp: float
    received: float
    left: float


class Noted(NamedTuple):
    """A frame at a listener inside the node."""

    listener: float
    key: float
    at: float


class Joined(NamedTuple):
    """Somebody new; ms since they began, -1: never."""

    connected: float
    joined: float
    received: float
    left: float


class Arena:
    """The node and all around it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        certificate, key = self_signed()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsactors-bench-")))
        (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        secret = folder / "key.pem"
        secret.touch(mode=0o600)
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        settings = (f"quic.cert={folder / 'cert.pem'}", f"quic.key={secret}")
        self.node = self._start("node", "_audio_node.py", *settings)
        self._port = int(self.node.answer()[0])

    def people(self, name: str, session: str, count: int) -> LinePeer:
        """So many people in a process."""
        peer = self._start(name, "_audio_people.py", self._port, self._digest, session)
        peer.answer()
        if count:
            peer.ask("join", count)
        return peer

    def crowd(self) -> LinePeer:
        """A process for many who only listen to the stage."""
        peer = self._start("crowd", "_audio_joined.py", PAUSE_MS, STAGE)
        peer.answer()
        return peer

    def newcomers(self) -> LinePeer:
        """A process for people who come to the stage, hear something and go."""
        peer = self._start("newcomers", "_audio_newcomers.py", PAUSE_MS, self._port, STAGE)
        peer.answer()
        return peer

    def cpu(self) -> float:
        """Milliseconds of the processor that the node has had."""
        return self.node.ask("cpu")[0]

    def fill(self, crowd: LinePeer, count: int) -> None:
        """Let so many join."""
        (joined,) = crowd.ask("join", self._port, count)
        if joined < count:
            raise SystemExit(f"only {joined:.0f} of {count} listeners could join")

    def listen(self) -> None:
        """One more listener inside the node."""
        self.node.ask("listen", STAGE)

    def _start(self, name: str, script: str, *arguments: object) -> LinePeer:
        peer = LinePeer(name, [sys.executable, str(HERE / script), *map(str, arguments)])
        self._stack.callback(peer.close, kill=True)
        return peer


def rank(values: Sequence[float], part: float, digits: int = 2) -> float | None:
    """The value below which ``part`` of all are; None where there is none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], digits) if ordered else None


def pair(metric: str, values: Sequence[float], note: str = "", digits: int = 2) -> list[Row]:
    """Median and 99th percentile of milliseconds."""
    parts = (("p50", 0.5), ("p99", 0.99))
    return [Row(BENCH, f"{metric}_{name}", "ms", rank(values, part, digits), note=note) for name, part in parts]


def load() -> str:
    """How busy the machine was."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


# -- the way of a frame ------------------------------------------------------------------------------------------------


def way(frame_ms: int, seconds: float, people: Sequence[LinePeer], node: LinePeer) -> list[Row]:
    """A stretch of speech in frames of this length."""
    speaker, first, last = people
    node.ask("heard")
    speaker.tell("speak", frame_ms, seconds)
    last.tell("hear", seconds + END)
    heard = [Got(*row) for row in _rows(first.ask("hear", seconds + END), 5)]
    heard_last = [Got(*row) for row in _rows(last.answer(), 5)]
    said = {row.key: row for row in (Said(*row) for row in _rows(speaker.answer(), 5))}
    begun = min(row.begin for row in said.values()) + SETTLE * 1e6
    said = {key: row for key, row in said.items() if row.begin >= begun}
    ears: tuple[dict[float, float], dict[float, float]] = ({}, {})
    for row in (Noted(*row) for row in _rows(node.ask("heard"), 3)):
        ears[int(row.listener)][row.key] = row.at
    steps: dict[str, list[float]] = {step: [] for step in STEPS}
    for got in heard:
        if got.key in said and got.left > 0 and got.key in ears[1]:
            _add(steps, said[got.key], (ears[0][got.key], ears[1][got.key]), got)
    lasts = [(got.left - said[got.key].begin) / 1e3 for got in heard_last if got.key in said and got.left > 0]
    return _way_rows(f"frame_{frame_ms}", steps, lasts, len(said))


def _add(steps: dict[str, list[float]], said: Said, offered: tuple[float, float], got: Got) -> None:
    times = (said.begin, said.captured, said.coded, *offered, got.received, got.left)
    for step, before, after in zip(STEPS, times, times[1:], strict=False):
        steps[step].append((after - before) / 1e3)
    steps["total"].append((got.left - said.begin) / 1e3)


def _way_rows(metric: str, steps: dict[str, list[float]], lasts: list[float], frames: int) -> list[Row]:
    played = len(steps["total"])
    note = f"{frames} frames, {EACH} listeners, {frames * EACH - played} never played; {CROWD} others listen; {load()}"
    rows = [row for step, values in steps.items() for row in pair(f"{metric}_{step}", values)]
    rows += pair(f"{metric}_last", lasts, f"those who came last; {frames * EACH - len(lasts)} never played")
    for row in rows:
        if row.metric == f"{metric}_total_p99":
            row.add(note)
    return rows


def battle(seconds: float, listeners: LinePeer) -> list[Row]:
    """Rendered sound: a frame is made for the moment that its timestamp says, on the clock of the machine."""
    heard = [Got(*row) for row in _rows(listeners.ask("hear", seconds), 5)]
    begun = min((got.received for got in heard), default=0.0) + SETTLE * 1e6
    ended = max((got.received for got in heard), default=0.0) - END * 1e6
    heard = [got for got in heard if begun <= got.received <= ended]
    played = [(got.left - got.timestamp / RATE * 1e6) / 1e3 for got in heard if got.left > 0]
    note = f"frames of 20 ms, {EACH} listeners, {len(heard) - len(played)} of {len(heard)} never played; {load()}"
    return pair("battle_total", played, note)


def _rows(values: list[float], width: int) -> list[list[float]]:
    return [values[at : at + width] for at in range(0, len(values), width)]


# -- the first sound ---------------------------------------------------------------------------------------------------


def first_audio(options: Options, arena: Arena, speaker: LinePeer, crowd: LinePeer) -> list[Row]:
    """People who come while others listen."""
    rate, seconds = (QUICK_JOINS, QUICK_JOIN_SECONDS) if options.quick else (JOINS, JOIN_SECONDS)
    arena.fill(crowd, (QUICK_LIVE if options.quick else LIVE) - CROWD)
    people = arena.newcomers()
    speaker.tell("speak", 20, WARM_SECONDS + CALM_SECONDS + seconds + 6.0)
    people.ask("come", WARM_JOINS, WARM_SECONDS)
    time.sleep(1.0)
    crowd.ask("count")
    calm = _busy(arena, lambda: time.sleep(CALM_SECONDS))
    heard = crowd.ask("count")[0]
    told: list[float] = []
    busy = _busy(arena, lambda: told.extend(people.ask("come", rate, seconds)))
    received, fewest, present = crowd.ask("count")
    speaker.answer()
    joins = [Joined(*row) for row in _rows(told[1:], 4)]
    came = [join for join in joins if join.left >= 0]
    stages = ", ".join(
        f"{name} {rank([getattr(join, name) for join in came], 0.5):.0f}"
        for name in ("connected", "joined", "received")
    )
    note = f"{rate:.0f} joins/s for {seconds:.0f} s while {present:.0f} listen; medians: {stages} ms; {load()}"
    rows = pair("first_audio", [join.left for join in came], note, 1)
    failed = Row(BENCH, "first_audio_failed", "joins", len(joins) - len(came), note=f"of {len(joins)}")
    failed.add(f"the others got {received / max(present, 1):.0f} frames each, the least {fewest:.0f}")
    return [*rows, failed, _cost(calm, busy, received / max(heard, 1), len(joins), told[0])]


def _busy(arena: Arena, do: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the processor that the node needs while ``do`` is done, and of the clock."""
    cpu, began = arena.cpu(), time.monotonic()
    do()
    return arena.cpu() - cpu, (time.monotonic() - began) * 1e3


def _cost(calm: tuple[float, float], busy: tuple[float, float], more: float, joins: int, newcomer: float) -> Row:
    """What the node needs while people come, for each of them, without what it needs for ``more`` times the sound as before."""
    share = calm[0] / calm[1]
    row = Row(BENCH, "join_cpu", "ms", round((busy[0] - calm[0] * more) / joins, 2))
    row.add("of the node's processor for one who comes, hears the first sound and goes")
    row.add(f"the node is busy for {share:.0%} of a core when nobody comes, for {busy[0] / busy[1]:.0%} while they do")
    row.add(f"a newcomer needs {newcomer:.1f} ms of its own process")
    return row


def run(options: Options) -> list[Row]:
    """The rows asked for."""
    wanted = options.only or METRICS
    seconds = QUICK_SECONDS if options.quick else SECONDS
    rows: list[Row] = []
    with ExitStack() as stack:
        arena = Arena(stack)
        speaker = arena.people("speaker", STAGE, 1)
        arena.listen()
        first = arena.people("first listeners", STAGE, EACH)
        arena.listen()
        crowd = arena.crowd()
        arena.fill(crowd, CROWD)
        last = arena.people("last listeners", STAGE, EACH)
        for frame_ms in FRAMES_MS:
            if f"frame_{frame_ms}" in wanted:
                rows += way(frame_ms, seconds, (speaker, first, last), arena.node)
        if "battle" in wanted:
            rows += battle(seconds, arena.people("battle listeners", BATTLE, EACH))
        if "first_audio" in wanted:
            rows += first_audio(options, arena, speaker, crowd)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    options = parse(argv, "How long sound takes to whoever hears it.", METRICS)
    report(run(options), options.as_json)


if __name__ == "__main__":
    main()
