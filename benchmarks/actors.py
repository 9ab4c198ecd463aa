"""The actor runtime beside Erlang/OTP and Pykka: message fan-out, spawn, memory, calls, mass death, blocked handlers.

    python benchmarks/actors.py [--json] [--quick] [--rounds N] [METRIC ...]

What each row means is in benchmarks/README.md. A peer that is not installed leaves a note in its row.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from _actors_sides import (
    COLLECTOR,
    AsyncCounter,
    AsyncEcho,
    BareRoundTrip,
    CallingActor,
    Counter,
    Death,
    Echo,
    Fanout,
    call_round,
    kill_each,
    kill_hub,
    kill_one_of_many_watchers,
    lookup_round,
    spawn_round,
)
from _harness import (
    PEERS,
    LinePeer,
    Options,
    PeerUnavailable,
    Row,
    Sample,
    Side,
    better,
    erlang_peers,
    interleave,
    median,
    parse,
    report,
    resident_bytes,
    spread,
)

from wsactors.supervision.node import Node

FANOUT: Final = 30_000
MASS: Final = 100_000
IDLE: Final = 1_000_000
IDLE_QUICK: Final = 200_000
CALLS: Final = 20_000
ROWS_OF_TABLE: Final = 100_000
LOOKUPS: Final = 100_000
PROCESS, GEN_SERVER = 0, 1
"""Kinds of process on the Erlang side: a bare receive loop, and what users write."""
PYKKA_ACTORS: Final = 3_000
"""Pykka has a thread per actor, and 30,000 threads are more than a usual Linux allows."""
CHILD: Final = Path(__file__).with_name("_actors_children.py")
VARIANTS: Final = {"otp default": ("+P", "2000000"), "otp +S 1": ("+P", "2000000", "+S", "1")}
"""Both ways of running the peer; the better one counts. +P lifts the limit of 262,144 processes for the idle row."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the rows share: the options and the peers that are up."""

    options: Options
    otp: Mapping[str, LinePeer]

    @property
    def calls(self) -> int:
        """Round trips in one round."""
        return CALLS // 4 if self.options.quick else CALLS

    def sides(self, prefix: str, *command: object, divide_by: float = 1.0) -> dict[str, Side]:
        """One side per OTP variant, running ``command`` each round."""
        return {
            f"{prefix} {name}": partial(peer.sample, *command, divide_by=divide_by) for name, peer in self.otp.items()
        }

    def settle(self, row: Row, samples: Mapping[str, list[Sample]], prefixes: Mapping[str, str]) -> Row:
        """Fill ours and the OTP columns (column → prefix of its sides), with the spreads in the note."""
        row.ours = _rounded(median(samples["ours"]))
        row.add(spread("ours", samples["ours"]))
        for column, prefix in prefixes.items():
            name, best = better(samples, [side for side in samples if side.startswith(prefix + " ")])
            row.peers[column] = _rounded(median(best))
            row.add(spread(name, best) if best else f"{column}: Erlang is not installed")
        return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


# ---------------------------------------------------------------- fan-out


async def fanout(bench: Bench, metric: str, actor: type[Counter], pykka: bool) -> Row:
    """One message to each of 30,000 actors, until all are handled."""
    row = Row("actors", metric, "ms")
    otp = {
        **bench.sides("process", "fanout", PROCESS, divide_by=1000),
        **bench.sides("gen_server", "fanout", GEN_SERVER, divide_by=1000),
    }
    for peer in bench.otp.values():
        peer.ask("setup_fanout", FANOUT, PROCESS)
        peer.ask("setup_fanout", FANOUT, GEN_SERVER)
    async with Node("bench") as node, node.attach() as me:
        field = await Fanout.start(node, actor, FANOUT, me.monitor)
        sides: dict[str, Side] = {"ours": field.by_send if actor is AsyncCounter else field.by_send_many, **otp}
        with pykka_peer(pykka) as threads:
            if threads is not None:
                sides["pykka"] = partial(threads.sample, "fanout", divide_by=1000 * PYKKA_ACTORS / FANOUT)
            samples = await interleave(bench.options.rounds, sides)
        field.verify()
        await node.exit_many(field.pids, "kill")
    for peer in bench.otp.values():
        peer.ask("end_fanout", PROCESS)
        peer.ask("end_fanout", GEN_SERVER)
    bench.settle(row, samples, {"otp": "process", "otp_gen_server": "gen_server"})
    if pykka:
        row.peers["pykka"] = _rounded(median(samples.get("pykka", [])))
        row.add(
            f"pykka: {PYKKA_ACTORS:,} threads, times {FANOUT // PYKKA_ACTORS}" if threads else "pykka: not installed"
        )
    row.add("33,000 messages: each tenth actor had a second one waiting, each tenth is monitored; all counted")
    return row.settle()


@contextmanager
def pykka_peer(wanted: bool) -> Iterator[LinePeer | None]:
    """The Pykka program with its actors started; None when not wanted, not installed or short of threads."""
    if not wanted:
        yield None
        return
    peer = LinePeer("pykka", [sys.executable, str(PEERS / "pykka_fanout.py")])
    try:
        peer.ask("setup", PYKKA_ACTORS)
    except PeerUnavailable as reason:
        print(f"pykka dropped out: {reason}", file=sys.stderr)
        yield None
    else:
        yield peer
    finally:
        peer.close()


# ---------------------------------------------------------------- spawn, calls


async def spawn(bench: Bench) -> Row:
    """30,000 actors started one after another, each acknowledged."""
    count = FANOUT // 3 if bench.options.quick else FANOUT
    sides: dict[str, Side] = {}
    async with Node("bench") as node:
        sides["ours"] = partial(spawn_round, node, count)
        sides |= bench.sides("process", "spawn", count, divide_by=count)
        sides |= bench.sides("gen_server", "gen_start", count, divide_by=count)
        samples = await interleave(bench.options.rounds, sides)
    row = bench.settle(Row("actors", "spawn", "µs"), samples, {"otp": "process", "otp_gen_server": "gen_server"})
    row.add(f"{count:,} a round; otp is spawn/3 without a handshake, otp_gen_server waits for init as ours does")
    return row.settle()


async def call_def(bench: Bench) -> Row:
    """Round trips to an idle actor whose handler is a ``def``."""
    async with Node("bench") as node:
        target = await node.spawn(Echo)
        sides: dict[str, Side] = {"ours": partial(call_round, target, bench.calls)}
        sides |= bench.sides("gen_server", "call", bench.calls, divide_by=bench.calls)
        samples = await interleave(bench.options.rounds, sides)
        inside = await node.call(await node.spawn(CallingActor), (target, bench.calls), timeout=60)
    row = bench.settle(Row("actors", "call_def", "µs"), samples, {"otp": "gen_server"})
    row.add(f"from inside an actor {inside.wall:.3g}; otp is gen_server:call/2")
    return row.settle()


async def call_async(bench: Bench) -> Row:
    """Round trips to an idle actor whose handler is ``async``, beside two tasks that wake each other."""
    bare = BareRoundTrip()
    async with Node("bench") as node, trio.open_nursery() as nursery:
        nursery.start_soon(bare.serve)
        target = await node.spawn(AsyncEcho)
        sides: dict[str, Side] = {
            "ours": partial(call_round, target, bench.calls),
            "floor": partial(bare.round, bench.calls),
            **bench.sides("gen_server", "call", bench.calls, divide_by=bench.calls),
        }
        samples = await interleave(bench.options.rounds, sides)
        inside = await node.call(await node.spawn(CallingActor), (target, bench.calls), timeout=60)
        nursery.cancel_scope.cancel()
    row = bench.settle(Row("actors", "call_async", "µs"), samples, {"otp": "gen_server"})
    row.floor = _rounded(median(samples["floor"]))
    row.add(spread("floor", samples["floor"]))
    row.add(f"from inside an actor {inside.wall:.3g}")
    return row.settle(("floor",))


# ---------------------------------------------------------------- memory


async def idle_actor_bytes(bench: Bench) -> Row:
    """Resident memory per idle actor, from a process of its own."""
    row = Row("actors", "idle_actor_bytes", "B")
    count = IDLE_QUICK if bench.options.quick else IDLE
    child = await trio.run_process([sys.executable, str(CHILD), "idle", str(count)], capture_stdout=True)
    answer = json.loads(child.stdout)
    row.ours = round(answer["lived"], 1)
    row.add(f"{count:,} actors, resident, each has handled a message; {answer['fresh']:.0f} before that")
    row.add(f"spawned in {answer['spawn_us']:.3g} µs each")
    for name, peer in bench.otp.items():
        if name != "otp default":
            continue
        before = resident_bytes(peer.pid)
        await trio.to_thread.run_sync(peer.ask, "hold", count)
        row.peers["otp"] = round((resident_bytes(peer.pid) - before) / count, 1)
        await trio.to_thread.run_sync(peer.ask, "release")
    if not bench.otp:
        row.peers["otp"] = None
        row.add("otp: Erlang is not installed")
    return row.settle()


# ---------------------------------------------------------------- tables


async def table_lookup(bench: Bench) -> Row:
    """Reading one row of a table by its key, beside a dict."""
    plain = {f"user:{number}": (f"user:{number}", number) for number in range(ROWS_OF_TABLE)}
    keys = list(plain)[:: ROWS_OF_TABLE // 1000]
    async with Node("bench") as node:
        hashed, ordered = node.tables.new(), node.tables.new(kind="ordered_set")
        for table in (hashed, ordered):
            table.insert(list(plain.values()))
        sides: dict[str, Side] = {
            "ours": partial(lookup_round, hashed, keys, LOOKUPS),
            "floor": partial(lookup_round, plain, keys, LOOKUPS),
            "ordered_set": partial(lookup_round, ordered, keys, LOOKUPS),
        }
        samples = await interleave(bench.options.rounds, sides)
    row = bench.settle(Row("actors", "table_lookup", "µs"), samples, {})
    row.floor = _rounded(median(samples["floor"]))
    row.add(spread("floor", samples["floor"]))
    row.add(spread("ordered_set", samples["ordered_set"]))
    row.add(f"table.get(key) of {ROWS_OF_TABLE:,} rows; floor is dict.get in the same loop")
    return row.settle(("floor",))


# ---------------------------------------------------------------- mass death


async def kill_loop_hold(bench: Bench) -> Row:
    """How long the loop is held while 100,000 monitored actors die."""
    row = Row("actors", "kill_100000_loop_hold", "ms")
    rounds = min(bench.options.rounds, 2) if bench.options.quick else bench.options.rounds
    shapes: dict[str, Callable[[Node, int], Awaitable[Death]]] = {
        "exit_many": kill_each,
        "hub of links": kill_hub,
        "one target, 100,000 watchers": kill_one_of_many_watchers,
    }
    deaths: dict[str, list[Death]] = {name: [] for name in shapes}
    otp: list[float] = []
    for _ in range(rounds):
        for name, shape in shapes.items():
            async with Node("bench") as node:
                deaths[name].append(await shape(node, MASS))
        if (peer := bench.otp.get("otp +S 1")) is not None:
            otp.append((await peer.sample("kill", MASS, divide_by=1e6)).wall)
    row.ours = _rounded(max(_hold(deaths[name]) for name in ("exit_many", "hub of links")))
    for name, all_of in deaths.items():
        row.add(
            f"{name}: {spread('hold', [death.hold for death in all_of])}, every Down handled after "
            f"{statistics.median(d.downs for d in all_of):.2f} s (worst {max(d.downs for d in all_of):.2f})"
        )
    if otp:
        row.add(f"otp kills as many and counts the DOWNs in {statistics.median(otp):.2f} s")
    row.add("ours is the worse of exit_many and hub; hold = longest gap between turns of an always ready task")
    row.add(f"collector as in a node: thresholds {COLLECTOR}, frozen")
    return row


def _hold(deaths: Sequence[Death]) -> float:
    return statistics.median(death.hold.wall for death in deaths)


# ---------------------------------------------------------------- blocked handlers


@contextmanager
def blocked_child(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """The process with 10,000 blocked handlers; it outlives its row so that its pool has time to shrink."""
    seconds = "1" if bench.options.quick else "5"
    child = subprocess.Popen([sys.executable, str(CHILD), "blocked", seconds], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def blocked_first(child: subprocess.Popen[str]) -> Row:
    """What was measured while the handlers were blocked."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("the child with the blocked handlers ended without a result; its error is above")
    answer = json.loads(line)
    row = Row("actors", "blocked_10000", "msg/s", ours=round(answer["rate"]))
    row.floor = round(answer["rate_free"])
    row.add("messages handled a second by 1,000 other actors, paced to 100,000; floor: the same with nothing blocked")
    row.add(
        f"1,000 at a time are handled in {answer['p50_ms']:.2g} ms (p99 {answer['p99_ms']:.2g}), "
        f"{answer['load']:.0%} of a core; all blocked after {answer['blocked_s']:.2f} s"
    )
    row.add(f"workers {answer['before']} before, {answer['during']} while blocked")
    row.ratio = round(answer["rate"] / answer["rate_free"], 3)
    return row


def blocked_rest(child: subprocess.Popen[str], row: Row) -> None:
    """How far the pool shrank afterwards."""
    assert child.stdout is not None
    answer = json.loads(child.stdout.readline())
    row.add(f"{answer['after']} workers {answer['shrunk_s']:.0f} s after the last handler ended")


# ---------------------------------------------------------------- run

ROWS: Final[dict[str, Callable[[Bench], Awaitable[Row]]]] = {
    "fanout_30000": partial(fanout, metric="fanout_30000", actor=Counter, pykka=True),
    "fanout_30000_async": partial(fanout, metric="fanout_30000_async", actor=AsyncCounter, pykka=False),
    "spawn": spawn,
    "call_def": call_def,
    "call_async": call_async,
    "kill_100000_loop_hold": kill_loop_hold,
    "idle_actor_bytes": idle_actor_bytes,
    "table_lookup": table_lookup,
}
BLOCKED: Final = "blocked_10000"


def measure(bench: Bench, names: Sequence[str]) -> list[Row]:
    """The chosen rows. The blocked handlers come first, alone; their pool shrinks while the others are measured."""
    if BLOCKED not in names:
        return [trio.run(ROWS[name], bench) for name in names]
    with blocked_child(bench) as child:
        blocked = blocked_first(child)
        rows = [trio.run(ROWS[name], bench) for name in names if name != BLOCKED]
        blocked_rest(child, blocked)
    return [*rows, blocked]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    names = [*ROWS, BLOCKED]
    options = parse(argv, (__doc__ or "").splitlines()[0], names)
    chosen = [name for name in names if not options.only or name in options.only]
    with erlang_peers("actors_peer", VARIANTS) as otp:
        rows = measure(Bench(options, otp), chosen)
    report(rows, options.as_json)


if __name__ == "__main__":
    main()
