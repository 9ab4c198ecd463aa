"""Parts of benchmarks/actors.py that need a process of their own: ``idle COUNT`` and ``blocked SECONDS``.

Each prints JSON lines on stdout. Memory is measured in a fresh process, and the blocked handlers' worker pool is given
its time to shrink while other rows are measured.
"""

from __future__ import annotations

import gc
import json
import sys
import time

import trio
from _actors_sides import Counter, Tally
from _harness import resident_bytes

from wsactors.actors import Actor, Pid, send_many
from wsactors.supervision.node import Node

BLOCKED = 10_000
FLOW_ACTORS = 1_000
RATE = 100_000
SHRINK_WITHIN = 30.0


async def idle(count: int) -> None:
    """Resident bytes per actor after spawning, and after each has handled one message."""
    async with Node("bench") as node:
        tally = Tally()
        pids: list[Pid | None] = [None] * count
        await node.spawn(Counter, tally)
        gc.collect()
        before = resident_bytes()
        start = time.perf_counter()
        for index in range(count):
            pids[index] = await node.spawn(Counter, tally)
        spawned = time.perf_counter() - start
        fresh = resident_bytes()
        tally.expect(count)
        send_many([pid for pid in pids if pid is not None], "hello")
        await tally.finished.wait()
        gc.collect()
        lived = resident_bytes()
        answer = {
            "fresh": (fresh - before) / count,
            "lived": (lived - before) / count,
            "spawn_us": spawned * 1e6 / count,
        }
        print(json.dumps(answer), flush=True)
        sys.stdout.flush()


class Blocker(Actor):
    """Its handler waits until the gate opens."""

    async def init(self, gate: trio.Event, tally: Tally) -> None:
        self.gate = gate
        self.tally = tally

    async def handle_info(self, message: object) -> None:
        self.tally.done += 1
        if self.tally.done == self.tally.target:
            self.tally.finished.set()
        await self.gate.wait()


async def flow(pids: list[Pid], tally: Tally, seconds: float) -> tuple[float, list[float]]:
    """Send one message to each pid, paced to `RATE` messages a second; messages handled per second, latencies in ms."""
    period = len(pids) / RATE
    latencies: list[float] = []
    start = trio.current_time()
    due = start
    while due - start < seconds:
        await trio.sleep_until(due)
        tally.expect(len(pids))
        sent = time.perf_counter()
        send_many(pids, ("tick", 1))
        await tally.finished.wait()
        latencies.append((time.perf_counter() - sent) * 1e3)
        tally.check()
        due += period
    return len(latencies) * len(pids) / (trio.current_time() - start), latencies


async def blocked(seconds: float) -> None:
    """10,000 handlers wait at once while messages flow between other actors."""
    async with Node("bench") as node:
        tally, entered, gate = Tally(), Tally(), trio.Event()
        pids = [await node.spawn(Counter, tally) for _ in range(FLOW_ACTORS)]
        blockers = [await node.spawn(Blocker, gate, entered) for _ in range(BLOCKED)]
        rate_free, _ = await flow(pids, tally, seconds)
        before = node.info().workers
        entered.expect(BLOCKED)
        start = time.perf_counter()
        send_many(blockers, "wait")
        await entered.finished.wait()
        all_blocked = time.perf_counter() - start
        cpu, wall = time.process_time(), time.perf_counter()
        rate, latencies = await flow(pids, tally, seconds)
        load = (time.process_time() - cpu) / (time.perf_counter() - wall)
        during = node.info().workers
        gate.set()
        latencies.sort()
        answer = {
            "rate": rate,
            "rate_free": rate_free,
            "p50_ms": latencies[len(latencies) // 2],
            "p99_ms": latencies[len(latencies) * 99 // 100],
            "load": load,
            "blocked_s": all_blocked,
            "before": before,
            "during": during,
        }
        print(json.dumps(answer), flush=True)
        start = time.perf_counter()
        for _ in range(round(SHRINK_WITHIN * 2)):
            await trio.sleep(0.5)
            if node.info().workers <= before + 10:
                break
        after = {"after": node.info().workers, "shrunk_s": time.perf_counter() - start}
        print(json.dumps(after), flush=True)


def main() -> None:
    kind, argument = sys.argv[1], float(sys.argv[2])
    if kind == "idle":
        trio.run(idle, int(argument))
    else:
        trio.run(blocked, argument)


if __name__ == "__main__":
    main()
