"""The Pykka side of benchmarks/actors.py: one thread per actor. Commands: ``setup N``, ``fanout``.

Speaks the same line protocol as the Erlang peer (see `_harness.LinePeer`).
"""

from __future__ import annotations

import os
import sys
import threading
import time

import pykka


class Tally:
    """Counts what all actors handled. The lock is the price of real threads; `Counter.handled` is per actor."""

    def __init__(self) -> None:
        self.done = 0
        self.target = 0
        self.lock = threading.Lock()
        self.finished = threading.Event()


class Counter(pykka.ThreadingActor):
    """Counts its messages, and the messages of all in a shared tally."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.handled = 0

    def on_receive(self, message: object) -> None:
        self.handled += 1
        tally = self.tally
        with tally.lock:
            tally.done += 1
            last = tally.done == tally.target
        if last:
            tally.finished.set()


def fanout(actors: list[pykka.ActorRef[Counter]], tally: Tally) -> tuple[int, int]:
    """Wall and CPU time in µs for the same messages as the other sides: every tenth actor gets a second one."""
    waiting = actors[5::10]
    tally.done, tally.target = 0, len(actors) + len(waiting)
    tally.finished.clear()
    cpu, wall = time.process_time(), time.perf_counter()
    for actor in waiting:
        actor.tell(("tick", 0))
    for actor in actors:
        actor.tell(("tick", 1))
    tally.finished.wait()
    return int((time.perf_counter() - wall) * 1e6), int((time.process_time() - cpu) * 1e6)


def main() -> None:
    """Answer commands until stdin closes."""
    threading.stack_size(128 * 1024)
    tally = Tally()
    actors: list[pykka.ActorRef[Counter]] = []
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "setup":
            actors = [Counter.start(tally) for _ in range(int(arguments[0]))]
            print("ok", len(actors), flush=True)
        elif command == "fanout":
            print("ok", *fanout(actors, tally), flush=True)
        else:
            print("error unknown command", flush=True)
    os._exit(0)  # thousands of threads wait in their mailboxes: nothing of theirs is worth joining


main()
