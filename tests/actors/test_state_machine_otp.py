"""``StateMachine`` against a real ``gen_statem``: the same programs, random and chosen, must give the same log of events.

A program's events carry what the machine is to return for them, so both sides are driven by the same data.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from wsactors.actors import (
    Answer,
    EventTimeout,
    KeepState,
    NamedTimeout,
    NextEvent,
    NextState,
    Postpone,
    RepeatState,
    StateMachine,
    StateTimeout,
    StopAndReply,
    call,
    cast,
    send,
)
from wsactors.supervision.node import Node

RUNNER = Path(__file__).parent / "statem_runner.erl"
LIMIT = 400
STATES = ("a", "b", "c")
EVENT = "timeout"


class Program(StateMachine):
    """The Python twin of ``statem_runner``."""

    enter_actions: dict[str, list[Any]]

    def init(self, first: str, first_actions: list[Any], enter_actions: list[Any]) -> Any:
        self.enter_actions = dict(enter_actions)
        self.seen: dict[str, int] = {}
        self.log: list[str] = []
        return self.begin(first, *map(action, first_actions))

    def handle_event(self, event_type: Any, content: Any, state: Any) -> Any:
        match event_type, content:
            case ("call", caller), "log":
                return StopAndReply("normal", Answer(caller, tuple(self.log)))
            case "enter", old:
                self.log.append(f"{{{state},enter,{old}}}")
                return KeepState(*map(action, self.enter_actions.get(state, [])))
        tag, results = content
        times = self.seen.get(tag, 0)
        self.seen[tag] = times + 1
        long = len(self.log) >= LIMIT
        self.log.append(f"{{{state},{type_text(event_type)},{tag}}}")
        return None if long else result(results[min(times, len(results) - 1)])


class Entering(Program):
    state_enter = True


def type_text(event_type: Any) -> str:
    match event_type:
        case "event_timeout":
            return "timeout"
        case ("timeout", name):
            return f"{{timeout,{name}}}"
        case _:
            return str(event_type)


def result(data: Any) -> Any:
    """The result that ``data`` describes."""
    match data:
        case ("keep", actions):
            return KeepState(*map(action, actions))
        case ("repeat", actions):
            return RepeatState(*map(action, actions))
        case ("next", state, actions):
            return NextState(state, *map(action, actions))
    raise AssertionError(data)


def action(data: Any) -> Any:
    match data:
        case "postpone":
            return Postpone()
        case ("next_event", kind, content):
            return NextEvent(kind, content)
        case ("timeout_of", kind, time, content):
            seconds: Any = (
                {"never": 600.0, "update": "update", "infinity": None}.get(time)
                if isinstance(time, str)
                else time / 1000
            )
            match kind:
                case "state_timeout":
                    return StateTimeout(seconds, content)
                case "timeout":
                    return EventTimeout(seconds, content)
                case (_, name):
                    return NamedTimeout(name, seconds, content)
    raise AssertionError(data)


def term(value: Any) -> str:
    """As Erlang reads it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return "{" + ",".join(map(term, value)) + "}"
        case list():
            return "[" + ",".join(map(term, value)) + "]"
        case _:
            return str(value)


class Random:
    """Programs without real time: time-outs are zero, never, cancelled or updated."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tags = 0

    def program(self) -> Any:
        enter = [(state, self.actions(1, entering=True)) for state in STATES] if self.random.random() < 0.7 else []
        events = [(self.random.choice(("cast", "info")), self.content(3)) for _ in range(self.random.randint(3, 10))]
        return bool(self.random.getrandbits(1)), "a", self.actions(1, first=True), enter, events

    def content(self, depth: int) -> Any:
        self.tags += 1
        tag = f"t{self.tags}"
        return tag, [self.result(depth) for _ in range(self.random.randint(1, 2))]

    def result(self, depth: int) -> Any:
        actions = self.actions(depth)
        match self.random.randrange(10):
            case 0:
                return "repeat", actions
            case 1 | 2 | 3 | 4:
                return "next", self.random.choice(STATES), actions
            case _:
                return "keep", actions

    def actions(self, depth: int, *, entering: bool = False, first: bool = False) -> list[Any]:
        if depth == 0:
            return []
        return [self.action(depth, entering, first) for _ in range(self.random.choice((0, 0, 1, 1, 2, 3)))]

    def action(self, depth: int, entering: bool, first: bool) -> Any:
        if not entering and not first and self.random.random() < 0.3:
            return "postpone"
        if not entering and self.random.random() < 0.3:
            return "next_event", self.random.choice(("internal", "cast", "info")), self.content(depth - 1)
        kind = self.random.choice(("state_timeout", "timeout", ("timeout", "x"), ("timeout", "y")))
        time = self.random.choice((0, 0, 0, "never", "never", "infinity", "update"))
        return "timeout_of", kind, time, self.content(depth - 1)


def keep(*actions: Any) -> Any:
    return "keep", list(actions)


def go(state: str, *actions: Any) -> Any:
    return "next", state, list(actions)


def event(tag: str, *results: Any) -> Any:
    return "cast", (tag, list(results) or [keep()])


def after(kind: Any, milliseconds: int | str, tag: str, *results: Any) -> Any:
    return "timeout_of", kind, milliseconds, (tag, list(results) or [keep()])


def inserted(tag: str, *results: Any) -> Any:
    return "next_event", "internal", (tag, list(results) or [keep()])


STATE = "state_timeout"
X = ("timeout", "x")
CHOSEN = {
    "postponed come back in order and before newer ones": (
        False, "a", [], [],
        [event("p1", keep("postpone"), keep()), event("p2", keep("postpone"), keep()), event("go", go("b")), event("new")],
    ),
    "inserted events come before postponed ones": (
        False, "a", [], [],
        [event("p", keep("postpone"), keep()), event("go", go("b", inserted("i1"), inserted("i2"))), event("new")],
    ),
    "the same state is no change": (
        True, "a", [], [("a", [after(STATE, "never", "st")])],
        [event("p", keep("postpone"), keep()), event("same", go("a")), event("repeat", ("repeat", [])), event("go", go("b"))],
    ),
    "postpone and change in one result replays at once": (
        False, "a", [], [], [event("p", go("b", "postpone"), keep()), event("new")],
    ),
    "a state change cancels a running state time-out, not a named one": (
        False, "a", [], [],
        [event("set", keep(after(STATE, 30, "st"), after(X, 60, "x"))), event("go", go("b")), ("wait", 150)],
    ),
    "keeping the state does not cancel its time-out": (
        False, "a", [], [], [event("set", keep(after(STATE, 40, "st"))), event("keep"), ("wait", 120)],
    ),
    "any event cancels the event time-out": (
        False, "a", [], [], [event("set", keep(after(EVENT, 40, "et"))), event("keep"), ("wait", 120)],
    ),
    "an undisturbed event time-out fires": (
        False, "a", [], [], [event("set", keep(after(EVENT, 20, "et"))), ("wait", 120), event("later")],
    ),
    "a time-out of another kind cancels the event time-out": (
        False, "a", [], [], [event("set", keep(after(EVENT, 80, "et"), after(X, 20, "x"))), ("wait", 200)],
    ),
    "a named time-out is restarted by name": (
        False, "a", [], [],
        [event("set", keep(after(X, 40, "first"))), event("again", keep(after(X, 80, "second"))), ("wait", 200)],
    ),
    "an updated time-out keeps its time": (
        False, "a", [], [],
        [event("set", keep(after(X, 40, "first"))), event("again", keep(after(X, "update", "second"))), ("wait", 150)],
    ),
    "zero time-outs in order, before what is in the mailbox": (
        False, "a", [], [],
        [event("set", keep(after(X, 0, "x"), after(STATE, 0, "st"), after(("timeout", "y"), 0, "y"))), event("new")],
    ),
    "an earlier zero time-out cancels a zero event time-out": (
        False, "a", [], [], [event("set", keep(after(X, 0, "x"), after(EVENT, 0, "et"))), ("wait", 30)],
    ),
    "a zero state time-out dies with the state": (
        False, "a", [], [], [event("set", keep(after(X, 0, "x", go("b")), after(STATE, 0, "st"))), event("new")],
    ),
    "of two time-outs of one kind the later counts": (
        False, "a", [], [], [event("set", keep(after(X, 0, "x1"), after(STATE, 0, "st"), after(X, 0, "x2"))), event("new")],
    ),
    "the enter call's time-out belongs to the new state": (
        True, "a", [], [("b", [after(STATE, 20, "st")])], [event("go", go("b")), ("wait", 100)],
    ),
    "actions of init come before any event": (
        True, "a", [inserted("first"), after(X, 0, "zero")], [], [event("new")],
    ),
    "a postponed time-out comes back": (
        False, "a", [], [], [event("set", keep(after(X, 0, "x", keep("postpone"), keep()))), event("go", go("b"))],
    ),
}  # fmt: skip


async def play(program: Any) -> str:
    enter, first, first_actions, enter_actions, events = program
    async with Node("statem") as node:
        pid = await node.spawn(Entering if enter else Program, first, first_actions, enter_actions)
        for kind, content in events:
            if kind == "wait":
                await trio.sleep(content / 1000)
            else:
                (cast if kind == "cast" else send)(pid, content)
        log: tuple[str, ...] = await call(pid, "log")
    return "[" + ",".join(log) + "]"


def otp(programs: list[Any], folder: Path) -> list[str]:
    """The logs of the real gen_statem."""
    if shutil.which("erlc") is None or shutil.which("erl") is None:
        pytest.skip("Erlang/OTP is not installed (Debian: apt install erlang-base): no gen_statem to compare with")
    (folder / "programs").write_text("".join(f"{term(program)}.\n" for program in programs))
    subprocess.run(["erlc", "-o", folder, RUNNER], check=True, timeout=60)
    command: list[str | Path] = ["erl", "-noshell", "-pa", folder, "-run", "statem_runner", "main", folder / "programs"]
    run = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    return [line.removesuffix(".") for line in run.stdout.splitlines()]


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    logs = otp(list(CHOSEN.values()), tmp_path_factory.mktemp("statem"))
    return dict(zip(CHOSEN, logs, strict=True))


@pytest.mark.erlang
@pytest.mark.parametrize("name", CHOSEN)
async def test_a_chosen_program_gives_gen_statems_log(name: str, facts: dict[str, str], autojump_clock: Any) -> None:
    assert await play(CHOSEN[name]) == facts[name]


@pytest.mark.erlang
async def test_random_programs_give_gen_statems_logs(tmp_path: Path, autojump_clock: Any) -> None:
    programs = [Random(seed).program() for seed in range(400)]
    logs = otp(programs, tmp_path)
    assert len(logs) == len(programs)
    for seed, (program, log) in enumerate(zip(programs, logs, strict=True)):
        assert await play(program) == log, f"seed {seed}: {program}"
