"""What stalled listeners cost the others: row ``stalled_reader_p99`` of the gateway.

500 WebSocket listeners hear one session on a real node: gateway, connection actors, listener actors. In every second round a
tenth of them stop reading until the kernel has refused bytes for each, and read on in the middle of the round. The figure is
the 99th percentile of the time between two frames at the other nine tenths, with stalls ÷ without, median of the rounds.

    python benchmarks/gateway_stall.py [--quick] [--json]

The listeners are a process of their own, so that they and the node do not wait for each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any, Final

import attrs
import structlog
import trio

from wsactors.actors import Actor, GroupChange, Pid
from wsactors.gateway import Address, Gateway, GatewayOptions
from wsactors.loadtest import LightListener, gaps, percentile
from wsactors.realtime import AUDIO
from wsactors.sessions.listener import Seat, listeners_of
from wsactors.sessions.messages import SESSIONS, SessionCard
from wsactors.supervision import DynamicSupervisor, Node
from wsactors.wire import native

FRAME_SECONDS: Final = 0.02
FRAME_SAMPLES: Final = 960
FRAME_BYTES: Final = 330
NARROW: Final = 4096
"""SO_RCVBUF of a listener that will stall, so that the kernel's share is the node's own."""


class Room(Actor):
    """A session that plays bytes: encoded once, offered to everybody, on time by the clock."""

    def init(self, name: str) -> None:
        self._seats: dict[Pid, Seat] = {}
        self._sequence = 0
        self.node.groups.join(SESSIONS, self.pid, SessionCard(name, name, "battle", 1))
        _, seated = self.node.groups.monitor(self.pid, listeners_of(name))
        self._seats.update((member.pid, member.meta) for member in seated)
        self._start = trio.current_time()
        self.worst_late = 0.0
        self.send_after(0, self.pid, "frame")

    def handle_info(self, message: Any) -> None:
        match message:
            case "frame":
                frame = native.encode_audio(1, self._sequence, self._sequence * FRAME_SAMPLES, bytes(FRAME_BYTES))
                for seat in self._seats.values():
                    seat.offer(frame, AUDIO)
                self._sequence += 1
                due = self._start + self._sequence * FRAME_SECONDS
                self.send_after(max(0.0, due - trio.current_time()), self.pid, "frame")
            case GroupChange(event="join", members=members):
                self._seats.update((member.pid, member.meta) for member in members)
            case GroupChange(members=members):
                for member in members:
                    self._seats.pop(member.pid, None)

    def handle_call(self, message: Any, caller: Any) -> Any:
        return self._start


@attrs.frozen
class Plan:
    """How much is measured."""

    listeners: int = 500
    stalled: int = 50
    rounds: int = 5
    seconds: float = 6.0


async def node_side(plan: Plan) -> dict[str, Any]:
    """Serve, have the listeners measure, and put both sides' facts together."""
    opened: list[Address] = []
    async with Node("stall") as node:
        options = GatewayOptions(port=0)
        await node.spawn(Gateway, options, kwargs={"on_open": opened.append})
        await node.spawn(DynamicSupervisor, name="battle:room:listeners")
        room = await node.spawn(Room, "room")
        started = await node.call(room, "start")
        command = [sys.executable, __file__, "--listeners", json.dumps({"port": opened[0].port, **attrs.asdict(plan)})]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            result = await converse(process, node, plan, started)
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
    return result


async def converse(process: trio.Process, node: Node, plan: Plan, started: float) -> dict[str, Any]:
    """Answer the listeners' question, "are they all refused?", until they report."""
    assert process.stdin is not None
    assert process.stdout is not None
    received = b""
    peak = 0
    while True:
        while b"\n" not in received:
            received += await process.stdout.receive_some() or b'{"failed": true}\n'
        line, _, received = received.partition(b"\n")
        message = json.loads(line)
        endpoint = next(p.pid for p in node.sched.processes.values() if p.kind.cls.__name__ == "Endpoint")
        sinks = (await node.call(endpoint, "statistics")).sinks
        peak = max([peak, *(sink.buffered_peak for sink in sinks)])
        if message == "refused?":
            refused = sum(sink.aged_out > 0 for sink in sinks)
            await process.stdin.send_all(f"{refused}\n".encode())
            continue
        # Both sides read the same monotonic clock, so an age is a difference.
        oldest = [sink.oldest_audio_sent for sink in sinks]
        return {**message, "buffered_peak": peak, "oldest_sent": max(oldest), "started": started, "plan": plan}


async def listener_side(arguments: dict[str, Any]) -> None:
    """Run in a process of its own: connect everybody, measure round by round, print one line of JSON."""
    port, plan = arguments.pop("port"), Plan(**arguments)
    narrow = [LightListener(NARROW) for _ in range(plan.stalled)]
    others = [LightListener() for _ in range(plan.listeners - plan.stalled)]
    async with trio.open_nursery() as nursery:
        for listener in (*narrow, *others):
            await nursery.start(listener.run, port, "room")
        calm, stalled, ages, skipped = [], [], [], 0
        for _ in range(plan.rounds):
            calm.append(await measure(others, plan.seconds))
            for listener in narrow:
                listener.stall()
            async with trio.open_nursery() as round_:
                round_.start_soon(resume_when_refused, narrow, plan)
                stalled.append(await measure(others, plan.seconds))
            await trio.sleep(1)
            ages += [(timestamp, now) for each in narrow for timestamp, now in each.heard]
            skipped += sum(each.skipped + each.missed for each in narrow)
        nursery.cancel_scope.cancel()
    # The clocks' common origin: the frame that took the shortest way.
    origin = min(now - timestamp / native_rate() for timestamp, now in ages)
    worst = max(now - timestamp / native_rate() - origin for timestamp, now in ages)
    lost = sum(each.missed + each.skipped for each in others)
    report = {"calm": calm, "stalled": stalled, "oldest_heard": worst, "left_out": skipped, "others_lost": lost}
    print(json.dumps(report), flush=True)


def native_rate() -> int:
    """Samples per second of the timestamps."""
    return round(FRAME_SAMPLES / FRAME_SECONDS)


async def measure(listeners: list[LightListener], seconds: float) -> float:
    """The 99th percentile of the time between two frames, in seconds."""
    for listener in listeners:
        listener.arrivals.clear()
    await trio.sleep(seconds)
    return percentile(gaps(listeners), 0.99)


async def resume_when_refused(narrow: list[LightListener], plan: Plan) -> None:
    """Wait until the kernel has refused bytes for each stalled listener, then let them read on."""
    deadline = trio.current_time() + plan.seconds * 0.8
    await trio.sleep(plan.seconds * 0.4)
    while trio.current_time() < deadline:
        print('"refused?"', flush=True)
        line = await trio.to_thread.run_sync(sys.stdin.readline)
        if int(line) >= plan.stalled:
            break
        await trio.sleep(0.1)
    else:
        sys.exit("the stalled listeners were never refused")
    for listener in narrow:
        listener.forget()
        listener.resume()


def row(result: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's row."""
    ratios = sorted(s / c for s, c in zip(result["stalled"], result["calm"], strict=True))
    plan: Plan = result["plan"]
    note = (
        f"{plan.listeners} listeners, {plan.stalled} of them stalled until refused; {plan.rounds} interleaved rounds of "
        f"{plan.seconds:g} s; ratios {ratios[0]:.3f} to {ratios[-1]:.3f}; resumed listeners heard nothing older than "
        f"{result['oldest_heard'] * 1000:.0f} ms and left out {result['left_out']} frames; others lost "
        f"{result['others_lost']}; at most {result['buffered_peak']} bytes waited for one listener, "
        f"{result['oldest_sent'] * 1000:.0f} ms at most"
    )
    return {
        "bench": "gateway",
        "metric": "stalled_reader_p99",
        "unit": "ratio",
        "ours": round(statistics.median(result["stalled"]) * 1000, 3),
        "floor": round(statistics.median(result["calm"]) * 1000, 3),
        "peers": {},
        "ratio": round(statistics.median(ratios), 3),
        "note": note,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON list of rows")
    parser.add_argument("--quick", action="store_true", help="fewer listeners and rounds; under 50 s")
    parser.add_argument("--listeners", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listeners:
        trio.run(listener_side, json.loads(arguments.listeners))
        return
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for rows
    began = time.perf_counter()
    found = row(
        trio.run(node_side, Plan(listeners=200, stalled=20, rounds=2, seconds=5) if arguments.quick else Plan())
    )
    if arguments.json:
        print(json.dumps([found]))
        return
    print(
        f"{found['bench']} {found['metric']}: {found['ratio']} ({found['ours']} ms with, {found['floor']} ms without stalls)"
    )
    print(f"  {found['note']}\n  took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
