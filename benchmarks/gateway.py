"""What one delivered message and one idle connection cost the gateway, beside a raw ``socket.send`` and other servers.

    python benchmarks/gateway.py [--json] [--quick] [--rounds N] [METRIC ...]

What each row means is in benchmarks/README.md. A peer that is not installed leaves a note in its row.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _gateway_arena import Arena, Contender
from _harness import PEERS, Options, PeerUnavailable, Row, parse, report

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
MODULES: Final = HERE.parent / "tests" / "interop" / "js"
"""Where the JavaScript peers are installed (scripts/npm.sh)."""
PYTHON: Final = sys.executable
FEW: Final = 1_000
MANY: Final = 4_000
QUICK: Final = {FEW: 1_000, MANY: 2_000}
"""How many they are with --quick."""
QUICK_ROUNDS: Final = 9
QUICK_SECONDS: Final = 0.08
"""Of a round: some four messages to a thousand members, or to each of two thousand two."""
QUICK_SELDOM: Final = 3
"""With --quick only our WebSockets in clear and their floor take part in every round; the others in one of so many."""
QUICK_LEFT_OUT: Final = ("longpoll",)
QUICK_OTHERS: Final = 250
"""And how many of each kind of connection that has a floor of its own."""
AT_A_TIME: Final = 4
"""Servers that are started, or get their clients, side by side."""

OURS: Final = ("native", "phoenix", "socketio")
"""The WebSocket protocols in clear."""


def floor(kind: str, dialect: str = "websocket") -> Contender:
    """The raw loop for one kind of connection."""
    return Contender((PYTHON, str(HERE / "_gateway_floor.py"), kind), dialect, polls=kind == "poll")


def ours(dialect: str, *settings: str, polls: bool = False) -> Contender:
    """A real node, whose clients speak ``dialect``."""
    return Contender((PYTHON, str(HERE / "_gateway_node.py"), *settings), dialect, polls)


def python_peer(script: str, dialect: str, needs: str) -> Contender:
    """A peer in Python, unless it is not installed."""
    if importlib.util.find_spec(needs) is None:
        raise PeerUnavailable(f"{needs} is not installed")
    return Contender((PYTHON, str(PEERS / script)), dialect)


def node_peer(script: str, dialect: str) -> Contender:
    """A peer on Node.js, unless that or its packages are not installed."""
    node = shutil.which("node")
    if node is None or not (MODULES / "node_modules").is_dir():
        raise PeerUnavailable("Node.js or its packages are not installed (scripts/npm.sh)")
    return Contender((node, str(PEERS / script), str(MODULES)), dialect)


CLEAR: Final[dict[str, Callable[[], Contender]]] = {
    "floor": partial(floor, "raw"),
    "native": partial(ours, "native"),
    "phoenix": partial(ours, "phoenix"),
    "socketio": partial(ours, "our_socketio", "gateway.socketio.recovery_seconds=0"),
    "node_ws": partial(node_peer, "node_ws.mjs", "websocket"),
    "socketio_node": partial(node_peer, "socketio_node.mjs", "socketio"),
    "websockets": partial(python_peer, "websockets_broadcast.py", "websocket", "websockets"),
    "python_socketio": partial(python_peer, "python_socketio.py", "socketio", "socketio"),
    "trio_websocket": partial(python_peer, "trio_websocket_loop.py", "websocket", "trio_websocket"),
}
PEER_NAMES: Final = [name for name in CLEAR if name not in {"floor", *OURS}]
OTHERS: Final[dict[str, tuple[Callable[[], Contender], Callable[[], Contender]]]] = {
    "tls": (partial(ours, "native_tls", "gateway.tls.mode=on"), partial(floor, "tls", "websocket_tls")),
    "deflate": (
        partial(ours, "native_deflate", "gateway.deflate=true"),
        partial(floor, "deflate", "websocket_deflate"),
    ),
    "socketio_recovery": (partial(ours, "our_socketio"), partial(floor, "raw")),
    "sse": (partial(ours, "our_sse"), partial(floor, "sse", "sse")),
    "longpoll": (partial(ours, "our_poll", polls=True), partial(floor, "poll", "poll")),
}
"""Kinds of connection that have a floor of their own: ours and that."""
METRICS: Final = [
    *(f"delivery_{members}{suffix}" for members in (FEW, MANY) for suffix in ("", *(f"_{each}" for each in OURS))),
    *(f"delivery_{FEW}_{kind}" for kind in OTHERS),
    "idle_connection_kib",
    "stalled_reader_p99",
]


class Field:
    """The arenas that are measured side by side, and why others are not."""

    def __init__(self) -> None:
        self.arenas: dict[str, Arena] = {}
        self.missing: dict[str, str] = {}

    def enter(self, contenders: Mapping[str, Callable[[], Contender]]) -> None:
        """Start all of them."""
        crowd = (PYTHON, str(HERE / "_gateway_crowd.py"))

        def start(name: str) -> None:
            self.arenas[name] = Arena(name, contenders[name](), crowd)
            self.arenas[name].warm_up()

        self._each(contenders, start)
        self.arenas = {name: self.arenas[name] for name in contenders if name in self.arenas}

    def grow(self, members: int, names: Iterable[str]) -> None:
        """Let these servers have so many members."""
        self._each(names, lambda name: self.arenas[name].grow(members))

    def measure(self, rounds: int, seconds: float, names: Sequence[str], seldom: int = 1) -> None:
        """Rounds of these, in turn, of about so many seconds each, after one that does not count."""
        for turn in range(rounds + 1):
            for name in names:
                if name not in self.arenas or (turn % seldom and name not in {"floor", *OURS}):
                    continue
                arena = self.arenas[name]
                try:
                    arena.measure(seconds)
                except PeerUnavailable as reason:
                    self._drop(name, reason)
                if not turn:
                    arena.rounds[arena.members].clear()

    def close(self) -> None:
        """End all processes, together: the kernel takes a while to let go of thousands of sockets."""
        with ThreadPoolExecutor(len(self.arenas) or 1) as pool:
            for _ in pool.map(Arena.close, self.arenas.values()):
                pass

    def _each(self, names: Iterable[str], do: Callable[[str], None]) -> None:
        """Some at a time: much of it is waiting until nothing is on its way."""

        def attempt(name: str) -> None:
            try:
                do(name)
            except PeerUnavailable as reason:
                self._drop(name, reason)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for _ in pool.map(attempt, [name for name in names if name not in self.missing]):
                pass

    def _drop(self, name: str, reason: PeerUnavailable) -> None:
        print(f"{name} dropped out: {reason}", file=sys.stderr)
        self.missing[name] = str(reason)
        arena = self.arenas.pop(name, None)
        if arena is not None:
            arena.close()


@contextmanager
def field(contenders: Mapping[str, Callable[[], Contender]]) -> Iterator[Field]:
    """The contenders while the block runs."""
    entered = Field()
    try:
        entered.enter(contenders)
        yield entered
    finally:
        entered.close()


# ---------------------------------------------------------------- rows


def spread(name: str, rounds: Sequence[float]) -> str:
    """``ours 4.1..4.4..4.9 (15 rounds)``: least, median and most."""
    return f"{name} {min(rounds):.3g}..{statistics.median(rounds):.3g}..{max(rounds):.3g} ({len(rounds)} rounds)"


def rounded(value: float | None) -> float | None:
    """Four digits."""
    return None if value is None else float(f"{value:.4g}")


def delivery(metric: str, entered: Field, members: int, mine: Sequence[str], least: str, peers: Sequence[str]) -> Row:
    """CPU time per delivered message: the slowest of ``mine``, the floor ``least``, and peers."""
    row = Row("gateway", metric, "µs")
    arenas = entered.arenas
    medians = {
        name: value for name in (*mine, least, *peers) if (value := _median(arenas.get(name), members)) is not None
    }
    slowest = max((name for name in mine if name in medians), key=lambda name: medians[name], default=None)
    if slowest is not None:
        row.ours = rounded(medians[slowest])
        if len(mine) > 1:
            row.add(f"ours is {slowest}, the slowest of {', '.join(mine)}")
    row.floor = rounded(medians.get(least))
    if not metric.startswith(f"delivery_{members}"):
        row.add(f"{members:,} members")
    for name in peers:
        row.peers[name] = rounded(medians.get(name))
    for name in (least, *mine, *peers):
        if name in medians:
            row.add(spread(name, arenas[name].rounds[members]))
        else:
            row.add(f"{name}: {entered.missing.get(name, 'not measured with --quick')}")
    return row.settle(("floor",))


def _median(arena: Arena | None, members: int) -> float | None:
    return None if arena is None else arena.median(members)


def idle(entered: Field, last: int) -> Row:
    """Resident memory per connection that has joined a topic."""
    row = Row("gateway", "idle_connection_kib", "KiB")
    arenas = entered.arenas
    mine = {name: arenas[name].idle_kib[last] for name in OURS if name in arenas and last in arenas[name].idle_kib}
    if mine:
        most = max(mine, key=lambda name: mine[name])
        row.ours = rounded(mine[most])
        row.add(f"ours is {most}, the largest of {', '.join(OURS)}")
    row.floor = rounded(arenas["floor"].idle_kib.get(last)) if "floor" in arenas else None
    for name in PEER_NAMES:
        row.peers[name] = rounded(arenas[name].idle_kib.get(last)) if name in arenas else None
    for name in ("floor", *OURS, *PEER_NAMES):
        if name in arenas:
            sizes = ", ".join(f"{kib:.1f} at {members:,}" for members, kib in arenas[name].idle_kib.items())
            only = f"; only connected {arenas[name].connected_kib:.1f}" if name in OURS else ""
            row.add(f"{name} {sizes}{only}")
        else:
            row.add(f"{name}: {entered.missing.get(name, 'not measured')}")
    return row.settle(PEER_NAMES)


def contenders(wanted: set[str], kinds: Sequence[str]) -> dict[str, Callable[[], Contender]]:
    """Who is needed for these rows, and these kinds of connection beside."""
    others = {kind: OTHERS[kind] for kind in kinds}
    needs_clear = wanted - {f"delivery_{FEW}_{kind}" for kind in OTHERS} - {"stalled_reader_p99"}
    found = dict(CLEAR) if needs_clear else {}
    for kind, (mine, least) in others.items():
        found[kind] = mine
        found[f"{kind} floor"] = least
    return found


def delivery_rows(options: Options, wanted: set[str]) -> list[Row]:
    """Everything that is measured on many connections."""
    few, many = (QUICK[FEW], QUICK[MANY]) if options.quick else (FEW, MANY)
    most_others = QUICK_OTHERS if options.quick else FEW
    rounds, seconds = (min(options.rounds, QUICK_ROUNDS), QUICK_SECONDS) if options.quick else (options.rounds, 0.3)
    seldom, left_out = (QUICK_SELDOM, QUICK_LEFT_OUT) if options.quick else (1, ())
    kinds = [kind for kind in OTHERS if f"delivery_{FEW}_{kind}" in wanted and kind not in left_out]
    rows = [Row("gateway", f"delivery_{FEW}_{kind}", "µs", note="not measured with --quick") for kind in left_out]
    with field(contenders(wanted, kinds)) as entered:
        others = [name for kind in kinds for name in (kind, f"{kind} floor")]
        clear = [name for name in CLEAR if name in entered.arenas]
        entered.grow(few, clear)
        entered.grow(most_others, others)
        entered.measure(rounds, seconds, [*clear, *others], seldom)
        for kind in kinds:
            floor_name = f"{kind} floor"
            rows.append(delivery(f"delivery_{FEW}_{kind}", entered, most_others, (kind,), floor_name, ()))
        if clear:
            rows += protocol_rows(entered, FEW, few)
            idle_at = few
            if any(name.startswith(f"delivery_{MANY}") for name in wanted):
                grown = [name for name in clear if not options.quick or name in {"floor", *OURS}]
                entered.grow(many, grown)
                entered.measure(rounds, seconds, grown)
                rows += protocol_rows(entered, MANY, many)
                idle_at = few if options.quick else many
            rows.append(idle(entered, idle_at))
    return rows


def protocol_rows(entered: Field, called: int, members: int) -> list[Row]:
    """All of our WebSocket protocols in clear: together, beside the peers, and each."""
    together = delivery(f"delivery_{called}", entered, members, OURS, "floor", PEER_NAMES)
    return [together, *(delivery(f"delivery_{called}_{name}", entered, members, (name,), "floor", ()) for name in OURS)]


def stalled_row(options: Options) -> Row:
    """What stalled readers cost the others; a program of its own, for it needs the loop of its node."""
    command = [PYTHON, str(HERE / "_gateway_stall.py"), "--json", *(["--quick"] if options.quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return Row("gateway", "stalled_reader_p99", "ratio", note="not measured; what failed is said above")
    return Row(**json.loads(done.stdout)[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parse(argv, (__doc__ or "").splitlines()[0], METRICS)
    chosen = {name for name in METRICS if not options.only or name in options.only}
    rows = delivery_rows(options, chosen) if chosen != {"stalled_reader_p99"} else []
    if "stalled_reader_p99" in chosen:
        rows.append(stalled_row(options))
    report(
        sorted((row for row in rows if row.metric in chosen), key=lambda row: METRICS.index(row.metric)),
        options.as_json,
    )


if __name__ == "__main__":
    main()
