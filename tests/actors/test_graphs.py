"""Random graphs of actors that are linked, monitored, named, grouped, blocked and ended, against a small pure model.

Two ways to run the same steps. *Settled*, the node comes to rest after each step, and every actor's log, reason and property
must be exactly the model's. *In a rush*, nothing rests until the end, and what must hold in any order is checked: every
monitor fires exactly once, messages of a pair stay in order, no Down before an earlier message, Exit before Down, nothing
outlives its pid.

Where the pitfalls of a Trio implementation (design notes on OTP's semantics, §2) are tested:

== =============================================== ==============================================================================
 1 exit reason is not cancellation                 test_death: test_a_kill_overrules_an_exit_under_way
 2 cancellation is level-triggered                 test_death: test_after_a_crash_of_a_blocked_handler_it_can_still_wait,
                                                   test_a_kill_reaches_it
 3 a body may swallow its cancel                   test_death: test_a_handler_that_swallows_the_cancellation_dies_all_the_same,
                                                   TestZombies
 4 an untrapped exit still unwinds `finally`       test_death: test_a_blocked_handler_unwinds_before_the_down
 5 a foreign Cancelled is no crash to restart      test_node: test_outer_cancellation_is_an_ordered_stop_under_a_shield;
                                                   test_death: test_a_foreign_cancelled_is_a_crash_not_a_kill
 6 one leaked exception in a shared nursery        test_turns: test_a_leak_crashes_its_actor_and_nobody_else;
                                                   test_node: test_an_exit_raised_by_an_actor_ends_the_node_with_it
 7 nurseries raise groups                          test_death: test_a_nursery_around_one_error_is_that_error,
                                                   test_an_exception_on_the_way_out_does_not_change_the_reason
 8 the start handshake and a cancelled starter     test_spawn: test_a_starter_cancelled_after_the_handshake_does_not_lose_it,
                                                   test_all_is_in_place_before_init_runs
 9 context variables leak                          test_turns: test_nothing_of_the_starter_or_sender_reaches_the_actor,
                                                   test_what_an_async_handler_sets_stays_its_actors
10 no names for the doomed                         test_names: test_a_dead_or_dying_actor_gets_no_name
11 time-out races                                  test_calls: test_the_last_look, test_a_late_answer_vanishes
12 send never blocks                               test_mailbox: test_the_sender_is_told_and_nothing_is_lost
13 a fast path without checkpoints                 test_turns: test_short_inlined_calls_see_a_cancellation,
                                                   test_inlined_calls_let_others_run
14 receive is atomic with cancellation             test_order: test_cancellation_neither_loses_nor_doubles
15 exit propagation is a work-list                 test_death: test_a_chain_of_ten_thousand_uses_no_stack,
                                                   test_cycles_and_cliques_end_once
16 references and pids never repeat                test_order: test_two_monitors_are_two;
                                                   test_spawn: test_pids_are_never_repeated_not_even_by_a_restarted_node
17 reasons hold no frames                          test_death: test_a_reason_is_text_and_keeps_no_frame_alive
18 `hash()` is salted                              here: test_no_order_hangs_on_a_salted_hash
19 a mass cancel is one synchronous walk           test_death: test_a_hundred_thousand_monitored_deaths_leave_the_loop_free
20 magic time-outs in a kill path                  test_death: test_declared_dead_after_kill_grace;
                                                   test_node: test_the_shield_is_bounded
== =============================================== ==============================================================================
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.actors import Actor, Crash, Down, Exit, MonitorRef, Pid, Stop, send
from wsactors.supervision.node import Node

SLOTS = 6
REASONS = ["normal", "shutdown", "kill", "boom"]


# -- the actors


class Member(Actor):
    """Writes what it gets into a log that outlives it."""

    def init(self, number: int, log: list[Any], trap: bool) -> None:
        self.number = number
        self.log = log
        self.trap_exit = trap
        self.will: tuple[Pid, Any] | None = None
        self.node.tables.new(f"table {number}")

    def handle_info(self, message: Any) -> Any:
        match message:
            case ("block", gate):
                return gate.wait()
            case ("stop", reason):
                return Stop(reason)
            case "crash":
                raise LookupError("crash")
            case _:
                self.log.append(message)
        return None

    async def terminate(self, reason: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.will is not None:
            send(*self.will)


class AsyncMember(Member):
    async def handle_info(self, message: Any) -> Any:
        result = super().handle_info(message)
        return await result if hasattr(result, "__await__") else result


# -- the model: plain data, OTP's rules, no runtime


class Life:
    """One actor in the model."""

    def __init__(self, number: int, trap: bool) -> None:
        self.number = number
        self.trap = trap
        self.alive = True
        self.reason: Any = None
        self.blocked = False
        self.inbox: list[Any] = []
        self.log: list[Any] = []
        self.links: set[Life] = set()
        self.watchers: list[tuple[int, Life]] = []
        self.will: tuple[Life, Any] | None = None


class Model:
    """What must come of each step, once the node rests."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.deaths: list[tuple[Life, Any]] = []

    def message(self, life: Life, message: Any) -> None:
        if life.alive:
            life.inbox.append(message)
            self.run(life)

    def run(self, life: Life) -> None:
        while life.inbox and life.alive and not life.blocked:
            match life.inbox.pop(0):
                case "block":
                    life.blocked = True
                case ("stop", reason):
                    self.end(life, reason)
                case "crash":
                    self.end(life, Crash("LookupError", "crash"))
                case message:
                    life.log.append(message)

    def end(self, life: Life, reason: Any) -> None:
        """An orderly end: the will is read first."""
        if life.will is not None and life.will[0] is not life:
            self.message(*life.will)
        self.die(life, reason)

    def exit(self, life: Life, sender: Life | None, reason: Any, *, linked: bool) -> None:
        if not life.alive:
            return
        if reason == "kill" and not linked:
            self.die(life, "killed")
        elif life.trap:
            self.message(life, ("exit", sender and sender.number, str(reason)))
        elif reason != "normal":
            self.die(life, reason)

    def die(self, life: Life, reason: Any) -> None:
        """Dead at once; others hear of it in the order of the deaths."""
        if not life.alive:
            return
        life.alive, life.reason, life.inbox = False, reason, []
        for other in self.lives:
            other.watchers = [(ref, watcher) for ref, watcher in other.watchers if watcher is not life]
        self.deaths.append((life, reason))
        if len(self.deaths) == 1:
            while self.deaths:
                self.tell(*self.deaths[0])
                self.deaths.pop(0)

    def tell(self, dead: Life, why: Any) -> None:
        links, dead.links = dead.links, set()
        for other in sorted(links, key=lambda life: life.number):
            other.links.discard(dead)
            self.exit(other, dead, why, linked=True)
        watchers, dead.watchers = dead.watchers, []
        for ref, watcher in watchers:
            self.message(watcher, ("down", ref, str(why)))


# -- the real thing


class World:
    """The same steps on a node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pids: list[Pid] = []
        self.actors: list[Member] = []
        self.logs: list[list[Any]] = []
        self.gates: dict[int, trio.Event] = {}
        self.refs: list[tuple[MonitorRef, int, int]] = []
        self.given_up: set[int] = set()
        self.sinks: set[int] = set()
        self.sequence = 0

    def alive(self, number: int) -> bool:
        return self.pids[number]._process is not None

    async def spawn(self, trap: bool) -> None:
        number = len(self.pids)
        log: list[Any] = []
        cls = AsyncMember if number % 2 else Member
        pid: Pid = await self.node.spawn(cls, number, log, trap, name=f"member {number}")
        assert pid._process is not None
        self.pids.append(pid)
        self.logs.append(log)
        self.actors.append(pid._process.actor)
        self.node.groups.join("members", pid, number)
        self.node.groups.join(("own", number), pid)
        self.sinks.add(number)
        pid._process.more().on_death["sink"] = lambda _: self.sinks.discard(number)  # type: ignore[index]
        self.actors[number].send_after(1_000, pid, "never")

    def text(self, entry: Any) -> Any:
        """A log entry in the model's words."""
        numbers = {pid: number for number, pid in enumerate(self.pids)}
        match entry:
            case Exit(pid, reason):
                return "exit", numbers.get(pid), str(reason)
            case Down(ref, _, reason):
                return "down", next(i for i, (known, _, _) in enumerate(self.refs) if known is ref), str(reason)
            case _:
                return entry

    def nothing_outlives_its_pid(self) -> None:
        node = self.node
        living = {number for number in range(len(self.pids)) if self.alive(number)}
        assert {name for name in node.registry.names if name.startswith("member")} == {f"member {n}" for n in living}
        assert {member.meta for member in node.groups.members("members")} == living
        assert {group[1] for group in node.groups.names() if group != "members"} == living
        assert {table.name for table in node.tables} == {f"table {n}" for n in living}
        assert self.sinks == living
        assert set(node.groups._of) == {self.pids[number] for number in living}

    def release_all(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self.gates.clear()


SLOT = st.sampled_from(range(SLOTS))
PAIR = st.sampled_from([(first, second) for first in range(SLOTS) for second in range(SLOTS) if first != second])
STEP = st.one_of(
    st.tuples(st.just("spawn"), st.booleans()),
    *[st.tuples(st.just(kind), PAIR) for kind in ("link", "link", "monitor", "monitor", "message", "message")],
    st.tuples(st.sampled_from(["unlink", "demonitor", "will"]), PAIR),
    st.tuples(st.sampled_from(["block", "release", "crash"]), SLOT),
    st.tuples(st.just("stop"), SLOT, st.sampled_from(REASONS)),
    st.tuples(st.just("exit"), PAIR, st.sampled_from(REASONS)),
)
STEPS = st.lists(STEP, min_size=20, max_size=60)


async def step(world: World, model: Model, action: Any, *, settled: bool) -> None:
    """One step on both sides. The model is only asked when the node rests after each step."""
    lives = model.lives
    match action:
        case ("spawn", trap):
            await world.spawn(trap)
            lives.append(Life(len(lives), trap))
            return
    # Slots count from the newest actor.
    numbers = [len(world.pids) - 1 - slot for slot in (action[1] if isinstance(action[1], tuple) else action[1:2])]
    if not all(world.alive(number) and not world.pids[number]._process.flags & 1024 for number in numbers):
        return
    first, second = numbers[0], numbers[-1]
    match action:
        case ("link", _):
            world.actors[first].link(world.pids[second])
            lives[first].links.add(lives[second])
            lives[second].links.add(lives[first])
        case ("unlink", _):
            world.actors[first].unlink(world.pids[second])
            lives[first].links.discard(lives[second])
            lives[second].links.discard(lives[first])
        case ("monitor", _):
            lives[second].watchers.append((len(world.refs), lives[first]))
            world.refs.append((world.actors[first].monitor(world.pids[second]), first, second))
        case ("demonitor", _):
            for index, (ref, watcher, target) in enumerate(world.refs):
                if (watcher, target) == (first, second) and index not in world.given_up:
                    world.actors[first].demonitor(ref, flush=True)
                    world.given_up.add(index)
                    lives[second].watchers = [entry for entry in lives[second].watchers if entry[0] != index]
                    break
        case ("will", _):
            world.sequence += 1
            message = ("message", first, world.sequence)
            world.actors[first].will = (world.pids[second], message)
            lives[first].will = (lives[second], message)
        case ("message", _):
            world.sequence += 1
            message = ("message", first, world.sequence)
            # A will is read at the end, so it must not be older than what is said after it was made.
            if world.actors[first].will is not None and world.actors[first].will[0] is world.pids[second]:
                world.actors[first].will = lives[first].will = None
            assert send(world.pids[second], message)
            model.message(lives[second], message) if settled else None
        case ("block", _) if first not in world.gates:
            world.gates[first] = trio.Event()
            assert send(world.pids[first], ("block", world.gates[first]))
            model.message(lives[first], "block") if settled else None
        case ("release", _) if first in world.gates:
            world.gates.pop(first).set()
            lives[first].blocked = False
            model.run(lives[first]) if settled else None
        case ("crash", _):
            assert send(world.pids[first], "crash")
            model.message(lives[first], "crash") if settled else None
        case ("stop", _, reason):
            assert send(world.pids[first], ("stop", reason))
            model.message(lives[first], ("stop", reason)) if settled else None
        case ("exit", _, reason):
            world.actors[first].exit(world.pids[second], reason)
            model.exit(lives[second], lives[first], reason, linked=False) if settled else None


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_settled_after_each_step_the_node_is_the_model(steps: list[Any]) -> None:
    trio.run(play_settled, steps)


async def play_settled(steps: list[Any]) -> None:
    model = Model()
    async with Node("graphs", shutdown_timeout=0.1) as node:
        world = World(node)
        for number in range(SLOTS):
            await step(world, model, ("spawn", number % 3 == 0), settled=True)
        for action in steps:
            await step(world, model, action, settled=True)
            await trio.testing.wait_all_tasks_blocked()
            compare(world, model)
        for number, gate in world.gates.items():
            gate.set()
            model.lives[number].blocked = False
            model.run(model.lives[number])
            await trio.testing.wait_all_tasks_blocked()
            compare(world, model)


def compare(world: World, model: Model) -> None:
    for life in model.lives:
        assert world.alive(life.number) == life.alive, (
            f"member {life.number} should {'live' if life.alive else 'be dead'}"
        )
        # Between different senders no order is promised (which of two links is told first, say); per sender it is.
        seen, expected = by_sender(world, map(world.text, world.logs[life.number])), by_sender(world, life.log)
        if life.alive:
            assert seen == expected
        else:
            # A signal overtakes what is in the mailbox, so the last of it may be missing.
            for pair, entries in seen.items():
                assert (
                    set(entries) <= set(expected[pair])
                    if pair[1] == "down"
                    else expected[pair][: len(entries)] == entries
                )
    world.nothing_outlives_its_pid()


def by_sender(world: World, log: Iterable[Any]) -> dict[Any, list[Any]]:
    pairs: dict[Any, list[Any]] = {}
    for entry in log:
        sender = world.refs[entry[1]][2] if entry[0] == "down" else entry[1]
        kind = "down" if entry[0] == "down" else "rest"
        pairs.setdefault((sender, kind), []).append(entry)
    return {pair: sorted(entries) if pair[1] == "down" else entries for pair, entries in pairs.items()}


@settings(deadline=None, max_examples=300)
@given(STEPS, st.integers(0, 3))
def test_in_a_rush_what_must_hold_holds(steps: list[Any], breath: int) -> None:
    trio.run(play_rush, steps, breath)


async def play_rush(steps: list[Any], breath: int) -> None:
    """``breath``: after how many steps the node gets one round of the loop (0: never)."""
    async with Node("graphs", shutdown_timeout=0.1) as node:
        world, model = World(node), Model()
        for number in range(SLOTS):
            await step(world, model, ("spawn", number % 3 != 0), settled=False)
        for index, action in enumerate(steps):
            await step(world, model, action, settled=False)
            if breath and index % breath == 0:
                await trio.lowlevel.checkpoint()
        world.release_all()
        await trio.testing.wait_all_tasks_blocked()
        watching = {i for i, (_, watcher, _) in enumerate(world.refs) if world.alive(watcher)}
        for number in range(len(world.pids)):
            # Those that are watched go; those that watch stay, to tell.
            if any(target == number for _, _, target in world.refs) and not any(
                watcher == number for _, watcher, _ in world.refs
            ):
                node.exit(world.pids[number], "kill")
        await trio.testing.wait_all_tasks_blocked()
        for number, log in enumerate(world.logs):
            check_order(world, number, log)
        check_monitors(world, watching)
        world.nothing_outlives_its_pid()
    world.nothing_outlives_its_pid()


def check_monitors(world: World, watching: set[int]) -> None:
    """Each fires exactly once if its target is dead and its watcher was there to see it, and never otherwise."""
    fired: Counter[int] = Counter(
        world.text(entry)[1] for log in world.logs for entry in log if isinstance(entry, Down)
    )
    for index, (ref, watcher, target) in enumerate(world.refs):
        assert fired[index] <= 1
        if index in world.given_up:
            assert not ref.active
        elif index in watching and world.alive(watcher):
            assert fired[index] == (not world.alive(target)), f"monitor {index} of {target} by {watcher}"
            assert ref.active == world.alive(target)


def check_order(world: World, receiver: int, log: list[Any]) -> None:
    """Per-pair FIFO, no Down before an earlier message, Exit before Down."""
    last: dict[int, int] = {}
    gone: set[int] = set()
    for entry in map(world.text, log):
        match entry:
            case ("message", sender, sequence):
                assert sender not in gone, f"{receiver} heard from {sender} after its Down"
                assert sequence > last.get(sender, 0)
                last[sender] = sequence
            case ("exit", sender, _):
                assert sender not in gone
            case ("down", index, _):
                gone.add(world.refs[index][2])


# -- the pitfalls


def test_every_pitfall_has_its_test() -> None:
    """The table above names tests that exist."""
    assert __doc__ is not None
    rows = re.findall(r"^ ?\d+ .*$", __doc__, re.MULTILINE)
    assert [int(row.split()[0]) for row in rows] == list(range(1, 21))
    tests = Path(__file__).parent
    module = "test_graphs"
    missing = []
    table = __doc__[__doc__.index("== ===") :]
    for word in re.findall(r"(test_\w+)(:?)|(Test\w+)|\b(here):", table):
        name, colon, group, here = word
        if colon:
            module = name
        elif here:
            module = "test_graphs"
        else:
            text = (tests / f"{module}.py").read_text()
            if not re.search(rf"(def|class) {name or group}\b", text):
                missing.append((module, name or group))
    assert missing == []


def test_no_order_hangs_on_a_salted_hash() -> None:
    """The same program under three hash seeds gives the same trace, group listings and names included."""
    program = """
import trio
from wsactors.actors import Actor
from wsactors.supervision.node import Node

class Idle(Actor):
    trap_exit = True
    def init(self, logs): logs.append([]); self.log = logs[-1]
    def handle_info(self, message): self.log.append((type(message).__name__, repr(message.pid)))

async def main():
    logs = []
    async with Node("salt") as node:
        pids = [await node.spawn(Idle, logs, name=f"idle {n}") for n in range(20)]
        for n, pid in enumerate(pids):
            for group in ("red", "green", "blue"):
                node.groups.join(group, pid, str(n))
            actor = pid._process.actor
            for other in pids[:n]:
                actor.link(other)
                actor.monitor(other)
        for pid in pids[::3]:
            node.exit(pid, "kill")
        await trio.testing.wait_all_tasks_blocked()
        print(logs, node.groups.names(), [m.meta for m in node.groups.members("red")], list(node.registry.names))

import trio.testing
trio.run(main)
"""
    root = Path(__file__).parents[2]
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(root / "src"), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in (1, 2, 3)
    ]
    assert len(runs[0]) > 1_000
    assert runs[0] == runs[1] == runs[2]
