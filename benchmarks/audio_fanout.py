"""What one datagram to one listener costs, acknowledgement and all, beside bare ``sendto`` and other QUIC libraries.

    python benchmarks/audio_fanout.py [--json] [--quick] [--rounds N] [METRIC ...]

What each row means is in benchmarks/README.md. Listeners live in other processes and acknowledge every datagram at once, as
Chromium does. A peer that is not installed leaves a note in its row.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from _harness import LinePeer, Options, PeerUnavailable, Row, parse, report

HERE: Final = Path(__file__).parent
BENCH: Final = "audio_fanout"
PEERS: Final = ("aioquic", "qh3")
FLOOR: Final = "sendto"
LISTENERS: Final = 300
"""With everybody: more would be too many for aioquic's ordinary path."""
QUICK_LISTENERS: Final = 200
ROUND_SECONDS: Final = 1.0
QUICK_ROUND_SECONDS: Final = 0.8
QUICK_BUDGET: Final = 12.0
"""Seconds after which no further round is begun: aioquic needs ten times as long as is played when the machine is busy."""
QUICK_ROUNDS: Final = 3
LIVE: Final = (600, 1000)
LIVE_SECONDS: Final = 30.0
QUICK_LIVE_SECONDS: Final = 3.0
SENTINELS: Final = 20
"""Listeners in a process of their own: what they see is late by the server and the kernel, not by a busy process of theirs."""
GROWTH: Final = ((100, 20.0), (300, 20.0), (600, 20.0), (1000, 20.0), (1500, 40.0), (2000, 40.0))
"""Listeners, and the length of a frame in ms."""
GROWTH_SECONDS: Final = 5.0
FRAME_MS: Final = 20.0
PHASE_MS: Final = 5.0
"""A thousand packets at once would be late, and a burst for every switch. Compared with others, all go at once."""
PAUSE_MS: Final = 1.0
"""Listeners let packets gather for so long, so that the server does not pay for waking their process with each."""
METRICS: Final = (
    "datagram_all_in",
    "ack_per_datagram",
    *(f"live_{count}_{what}" for count in LIVE for what in ("cpu", "lost", "delay_p99", "late_p99")),
    "growth",
)


class Played(NamedTuple):
    """One stretch of sound from one server."""

    wall: float
    """Microseconds."""
    cpu: float
    sent: float
    refused: float
    late_p99: float
    """Milliseconds that a packet left after its phase was due."""
    packets_in: float

    @property
    def share(self) -> float:
        """Per cent of a core."""
        return 100 * self.cpu / self.wall

    @property
    def each(self) -> float:
        """Microseconds of CPU per datagram."""
        return self.cpu / max(self.sent, 1.0)


class Heard(NamedTuple):
    """What one process of listeners has received in that time."""

    received: float
    acknowledged: float
    delay_p50: float
    delay_p99: float


class Server:
    """A contender and how many listen to it."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.peer = LinePeer(kind, [sys.executable, str(HERE / "_audio_stage.py"), kind])
        stack.callback(self.peer.close, kill=True)
        self.port = int(self.peer.answer()[0])

    def join(self, crowd: LinePeer, count: int) -> None:
        """Let the crowd join. Raises `PeerUnavailable` when not all arrive."""
        (joined,) = crowd.ask("join", self.port, count)
        if joined < count:
            raise PeerUnavailable(f"only {joined:.0f} of {count} listeners could join {self.peer.name}")

    def play(self, count: int, seconds: float, frame_ms: float = FRAME_MS, phase_ms: float = PHASE_MS) -> Played:
        """Play to the first ``count`` for a while."""
        return Played(*self.peer.ask("play", count, seconds, frame_ms, round(frame_ms / phase_ms)))


def crowd_of(stack: ExitStack, pause_ms: float = PAUSE_MS) -> LinePeer:
    """A process for listeners."""
    peer = LinePeer("crowd", [sys.executable, str(HERE / "_audio_crowd.py"), str(pause_ms)])
    stack.callback(peer.close, kill=True)
    peer.answer()
    return peer


def beside(options: Options) -> list[Row]:
    """Ours, the libraries and the floor in turn, to as many listeners each."""
    count = QUICK_LISTENERS if options.quick else LISTENERS
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    played: dict[str, list[Played]] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        crowd = crowd_of(stack)
        servers: dict[str, Server] = {}
        for kind in (FLOOR, "fast", *PEERS):
            try:
                server = Server(kind, stack)
                if kind == FLOOR:
                    server.peer.ask("target", int(crowd.ask("port")[0]), count)
                else:
                    server.join(crowd, count)
                servers[kind] = server
            except PeerUnavailable as unavailable:
                if kind not in PEERS:
                    raise
                missing[kind] = str(unavailable)
        begun = time.monotonic()
        for turn in range(rounds + 1):
            if options.quick and turn > 1 and time.monotonic() - begun > QUICK_BUDGET:
                break
            for kind, server in servers.items():
                found = server.play(count, QUICK_ROUND_SECONDS if options.quick else ROUND_SECONDS, phase_ms=FRAME_MS)
                if turn:  # the first round warms up
                    played.setdefault(kind, []).append(found)
    note = f"{count} listeners, 120 bytes every 20 ms, CPU time of the server's process; medians of {len(played[FLOOR])} rounds"
    rows = [_each(played, note), _acknowledgements(played, note)]
    for row in rows:
        for kind, reason in missing.items():
            row.add(f"{kind} not measured: {reason}")
    return rows


def _each(played: dict[str, list[Played]], note: str) -> Row:
    middle = {kind: statistics.median(each.each for each in found) for kind, found in played.items()}
    peers = {kind: round(middle[kind], 2) if kind in middle else None for kind in PEERS}
    row = Row(
        BENCH, "datagram_all_in", "us", round(middle["fast"], 2), floor=round(middle[FLOOR], 2), peers=peers, note=note
    )
    least = min(each.each for each in played["fast"])
    row.add(f"ours at best {least:.1f}")
    return row.settle(("aioquic",) if peers["aioquic"] else ())


def _acknowledgements(played: dict[str, list[Played]], note: str) -> Row:
    share = {
        kind: round(sum(each.packets_in for each in found) / sum(each.sent for each in found), 3)
        for kind, found in played.items()
        if kind != FLOOR
    }
    peers = {kind: share.get(kind) for kind in PEERS}
    return Row(BENCH, "ack_per_datagram", "ratio", share["fast"], peers=peers, note=note)


def live(options: Options) -> list[Row]:
    """Ours alone, to a thousand."""
    seconds = QUICK_LIVE_SECONDS if options.quick else LIVE_SECONDS
    rows: list[Row] = []
    with ExitStack() as stack:
        sentinels, crowd, server = crowd_of(stack, 0.0), crowd_of(stack), Server("fast", stack)
        # First come those who measure: they are among the first whatever the number of listeners.
        server.join(sentinels, SENTINELS)
        server.join(crowd, max(LIVE) - SENTINELS)
        for count in LIVE:
            if any(name.startswith(f"live_{count}") for name in options.only or METRICS):
                rows += _live(count, server, (sentinels, crowd), seconds)
        if not options.quick and (not options.only or "growth" in options.only):
            server.join(crowd, GROWTH[-1][0] - max(LIVE))
            rows += [_growth(count, frame, server, (sentinels, crowd)) for count, frame in GROWTH]
    return rows


def _listen(
    server: Server, crowds: Sequence[LinePeer], count: int, seconds: float, frame: float
) -> tuple[Played, list[Heard]]:
    for crowd in crowds:
        crowd.ask("count")
    played = server.play(count, seconds, frame)
    return played, [Heard(*crowd.ask("count")) for crowd in crowds]


def _live(count: int, server: Server, crowds: Sequence[LinePeer], seconds: float) -> list[Row]:
    server.play(count, 1.0)
    played, heard = _listen(server, crowds, count, seconds, FRAME_MS)
    offered = round(seconds * 1e3 / FRAME_MS) * count
    lost = offered - sum(each.received for each in heard)
    acknowledged = sum(each.acknowledged for each in heard) / max(offered, 1)
    seen = heard[0]
    took = played.wall / 1e6
    note = (
        f"{seconds:.0f} s of 50 datagrams/s each, played in {took:.1f} s; {played.each:.1f} us each; "
        f"{acknowledged:.3f} acknowledgements per datagram; {played.refused:.0f} not sent"
    )
    values = {
        "cpu": ("%", round(played.share, 1)),
        "lost": ("datagrams", lost),
        "delay_p99": ("ms", round(seen.delay_p99, 2)),
        "late_p99": ("ms", round(played.late_p99, 2)),
    }
    rows = [Row(BENCH, f"live_{count}_{what}", unit, value, note=note) for what, (unit, value) in values.items()]
    rows[2].add(f"seen by {SENTINELS} listeners in their own process, median {seen.delay_p50:.2f} ms")
    return rows


def _growth(count: int, frame: float, server: Server, crowds: Sequence[LinePeer]) -> Row:
    played, heard = _listen(server, crowds, count, GROWTH_SECONDS, frame)
    lost = round(GROWTH_SECONDS * 1e3 / frame) * count - sum(each.received for each in heard)
    note = f"frames of {frame:.0f} ms; {played.each:.1f} us each; {lost:.0f} lost; late p99 {played.late_p99:.1f} ms"
    return Row(BENCH, f"growth_{count}_cpu", "%", round(played.share, 1), note=note)


def run(options: Options) -> list[Row]:
    """The rows asked for."""
    wanted = options.only or METRICS
    rows: list[Row] = []
    if {"datagram_all_in", "ack_per_datagram"} & set(wanted):
        rows += beside(options)
    if any(name.startswith(("live", "growth")) for name in wanted):
        rows += live(options)
    names = set(wanted)
    return [row for row in rows if row.metric in names or (row.metric.startswith("growth") and "growth" in names)]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    options = parse(argv, "What a datagram costs on its way to many.", METRICS)
    report(run(options), options.as_json)


if __name__ == "__main__":
    main()
