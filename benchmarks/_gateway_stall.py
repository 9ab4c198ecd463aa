"""What stalled listeners cost the others: row ``stalled_reader_p99`` of the gateway.

500 WebSocket listeners hear one session on a real node: gateway, connection actors, listener actors. In every second round a
tenth of them stop reading until the kernel has refused bytes for each, and read on in the middle of the round. The figure is
the 99th percentile of the time between two frames at the other nine tenths, with stalls ÷ without, median of the rounds.

    python benchmarks/_gateway_stall.py [--quick] [--json]

The listeners are a process of their own, so that they and the node do not wait for each other.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
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
REFUSED_SECONDS: Final = 10.0
"""In which the kernel must have refused bytes for all who do not read."""
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
            more = await process.stdout.receive_some()
            if not more:
                sys.exit("the listeners failed; they have said why above")
            received += more
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


class Crowd:
    """All listeners of the other process under one epoll: a task each would cost more than what is measured."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.narrow = [LightListener(NARROW) for _ in range(plan.stalled)]
        self.others = [LightListener() for _ in range(plan.listeners - plan.stalled)]
        self._poll = select.epoll()
        self._by_descriptor: dict[int, tuple[socket.socket, LightListener]] = {}
        for listener in (*self.narrow, *self.others):
            sock = listener.connect(port, "room")
            sock.setblocking(False)
            self._by_descriptor[sock.fileno()] = sock, listener
            self._poll.register(sock, select.EPOLLIN)
        self._narrow_descriptors = [fd for fd, (_, each) in self._by_descriptor.items() if each in self.narrow]

    def read(self, seconds: float) -> None:
        """Receive for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for descriptor, _ in self._poll.poll(end - now):
                sock, listener = self._by_descriptor[descriptor]
                try:
                    data = sock.recv(65_536)
                except BlockingIOError:
                    continue
                if not data:
                    sys.exit("the node closed a connection")
                listener.take(data, time.monotonic())

    def stall(self) -> None:
        """The narrow listeners stop reading."""
        for descriptor in self._narrow_descriptors:
            self._poll.unregister(descriptor)

    def resume(self) -> None:
        """They read on."""
        for descriptor in self._narrow_descriptors:
            self._by_descriptor[descriptor][1].forget()
            self._poll.register(descriptor, select.EPOLLIN)

    def measure(self) -> float:
        """The 99th percentile of the time between two frames at the others since the last time, in seconds."""
        found = percentile(gaps(self.others), 0.99)
        for listener in self.others:
            listener.arrivals.clear()
        return found


def listener_side(arguments: dict[str, Any]) -> None:
    """Run in a process of its own: connect everybody, measure round by round, print one line of JSON."""
    port, plan = arguments.pop("port"), Plan(**arguments)
    gc.disable()
    crowd = Crowd(port, plan)
    calm, stalled, heard, left_out = [], [], [], 0
    crowd.read(1)
    crowd.measure()
    for _ in range(plan.rounds):
        crowd.read(plan.seconds)
        calm.append(crowd.measure())
        crowd.stall()
        crowd.read(plan.seconds / 2)
        wait_until_refused(crowd, plan)
        crowd.resume()
        crowd.read(plan.seconds / 2)
        stalled.append(crowd.measure())
        heard += [moment for each in crowd.narrow for moment in each.heard]
        left_out += sum(each.skipped + each.missed for each in crowd.narrow)
    lost = sum(each.missed + each.skipped for each in crowd.others)
    report = {"calm": calm, "stalled": stalled, "heard": oldest(heard), "left_out": left_out, "others_lost": lost}
    print(json.dumps(report), flush=True)


def oldest(heard: list[tuple[int, float]]) -> float:
    """How much longer than the fastest frame the slowest one took, in seconds."""
    ways = [now - timestamp * FRAME_SECONDS / FRAME_SAMPLES for timestamp, now in heard]
    return max(ways) - min(ways)


def wait_until_refused(crowd: Crowd, plan: Plan) -> None:
    """Go on until the kernel has refused bytes for each stalled listener, as the node says."""
    deadline = time.monotonic() + REFUSED_SECONDS
    while time.monotonic() < deadline:
        print('"refused?"', flush=True)
        crowd.read(0.05)
        if int(sys.stdin.readline()) >= plan.stalled:
            return
    sys.exit("the stalled listeners were never refused")


def row(result: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's row."""
    ratios = sorted(s / c for s, c in zip(result["stalled"], result["calm"], strict=True))
    plan: Plan = result["plan"]
    note = (
        f"{plan.listeners} listeners, {plan.stalled} of them stalled until refused; {plan.rounds} interleaved rounds of "
        f"{plan.seconds:g} s; ratios {ratios[0]:.3f} to {ratios[-1]:.3f}; resumed listeners heard nothing older than "
        f"{result['heard'] * 1000:.0f} ms and left out {result['left_out']} frames; others lost "
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
        listener_side(json.loads(arguments.listeners))
        return
    structlog.configure(  # standard output is for rows
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    began = time.perf_counter()
    found = row(
        trio.run(node_side, Plan(listeners=200, stalled=20, rounds=2, seconds=1.5) if arguments.quick else Plan())
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
