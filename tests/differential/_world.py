"""The wsactors side of the differential tests: the same small cast of processes as in erlang/process_facts.erl.

A scenario is an async function that takes a `World` and is named like its Erlang twin. It leaves facts: terms without pids,
references or traces, written as Erlang writes them, so that two lists of facts compare as text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from wsactors.actors import Actor, Crash, Down, Exit, MonitorRef, Pid, ProcessActor, Stop, Timeout, call, send
from wsactors.errors import CallExit, NameTaken
from wsactors.supervision.node import Node

T = TypeVar("T")
Scenario = Callable[["World"], Awaitable[None]]


class boom(Exception):
    """What a scenario's code raises where its twin says ``error(boom)``."""


class World:
    """One scenario's facts, the names of its processes, and ``me``, the process that plays it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.me: Main
        self.facts: list[str] = []
        self.names: dict[Any, str] = {}

    # ------------------------------------------------------------ facts

    def fact(self, fact: Any) -> None:
        """Note one fact."""
        self.facts.append(term(fact))

    def who(self, thing: T, name: str) -> T:
        """Give a pid or a reference the name it has in the facts; returns the thing."""
        self.names[thing] = name
        return thing

    def name(self, thing: Any) -> str:
        return self.names.get(thing, thing if isinstance(thing, str) else "someone")

    def message(self, message: Any) -> Any:
        """The term for a received message."""
        match message:
            case Down(ref, str(name), why):
                return "down", self.name(ref), ("name", name), reason(why)
            case Down(ref, pid, why):
                return "down", self.name(ref), self.name(pid), reason(why)
            case Exit(pid, why):
                return "exit", self.name(pid), reason(why)
            case Timeout():
                return "timeout"
            case _:
                return message

    async def saw(self) -> None:
        """Note the next message."""
        try:
            self.fact(self.message(await self.me.receive(timeout=5)))
        except trio.TooSlowError:
            self.fact("nothing")

    async def quiet(self) -> None:
        """Note that no message comes."""
        try:
            self.fact(self.message(await self.me.receive(timeout=0.03)))
        except trio.TooSlowError:
            self.fact("quiet")

    async def caught(self, function: Callable[[], Any]) -> tuple[str, Any]:
        """``{value, V}`` or ``{raised, Reason}`` of a function, which may be async."""
        try:
            value = function()
            if isinstance(value, Awaitable):
                value = await value
        except (CallExit, NameTaken) as error:
            return "raised", reason(error.reason)
        return "value", value

    # ------------------------------------------------------------ processes

    async def start(self, name: str, trap: bool = False) -> Pid:
        """An obedient process."""
        pid: Pid = await self.node.spawn(Obedient, self, trap)
        return self.who(pid, name)

    async def ask(self, pid: Pid, function: Callable[[Obedient], Any] = lambda _: None) -> Any:
        """Run a function inside an obedient process and wait for its value."""
        answer: list[Any] = []
        done = trio.Event()

        async def run(actor: Obedient) -> None:
            value = function(actor)
            answer.append(await value if isinstance(value, Awaitable) else value)
            done.set()

        send(pid, ("do", run))
        await done.wait()
        return answer[0]

    async def gone(self, pid: Pid) -> Any:
        """Wait for a death, by a monitor that leaves no trace; its reason."""
        down = await self.me.monitor(pid).wait(timeout=5)
        assert down is not None
        return down.reason

    async def dead(self, name: str) -> Pid:
        """The pid of a process that has ended."""
        pid = await self.start(name)
        send(pid, "return")
        await self.gone(pid)
        return pid

    def watch(self, target: Pid | str, name: str = "ref") -> MonitorRef:
        """Monitor from ``me``."""
        return self.who(self.me.monitor(target), name)

    def alive(self, pid: Pid) -> None:
        """Note whether a process lives."""
        self.fact(("alive", self.name(pid), self.lives(pid)))

    def lives(self, pid: Pid) -> bool:
        """Whether the node still knows the pid."""
        return pid.serial in self.node.sched.processes

    # ------------------------------------------------------------ servers

    async def server(self, **script: Any) -> Pid:
        """A server with the handlers of ``script``."""
        pid: Pid = await self.node.spawn(Server, self, script)
        return self.who(pid, "server")

    async def call(self, target: Any, message: Any, timeout: float = 5) -> None:
        """Call from ``me`` and note the outcome."""
        self.fact(("called", await self.caught(lambda: call(target, message, timeout=timeout))))


class Obedient(Actor):
    """Ends when told so; ``do`` runs a function inside it."""

    async def init(self, world: World, trap: bool) -> None:
        self.world = world
        self.trap_exit = trap

    async def handle_info(self, message: Any) -> Any:
        match message:
            case ("exit", why):
                return Stop(why)
            case ("do", function):
                await function(self)
            case Exit(pid, why):
                self.world.fact(("trapped", self.world.name(pid), reason(why)))
            case "crash":
                raise boom
            case "return":
                return Stop("normal")
        return None


class Main(ProcessActor):
    """``me``: plays a scenario."""

    async def init(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        world.me = self
        world.who(self.pid, "me")

    async def run(self) -> None:
        await self.scenario(self.world)


class Server(Actor):
    """Its handlers are the functions of its script; each takes the actor first."""

    async def init(self, world: World, script: dict[str, Any]) -> object:
        self.world = world
        self.script = script
        self.kept: Any = None
        result = script["init"](self) if "init" in script else None
        return await result if isinstance(result, Awaitable) else result

    def handle_call(self, message: Any, caller: Any) -> Any:
        return self.script["call"](self, message, caller)

    def handle_cast(self, message: Any) -> Any:
        return self.script["cast"](self, message)

    def handle_info(self, message: Any) -> Any:
        return self.script["info"](self, message)

    def handle_continue(self, argument: Any) -> Any:
        return self.script["continue"](self, argument)

    async def terminate(self, why: Any) -> None:
        if "terminate" in self.script:
            self.script["terminate"](self, why)


def note(what: str) -> Callable[[Server, Any], None]:
    """A handler that notes its message as ``{what, Message}``."""

    def handle(actor: Server, message: Any) -> None:
        actor.world.fact((what, actor.world.message(message)))

    return handle


def note_reason(actor: Server, why: Any) -> None:
    """A ``terminate`` that notes its reason."""
    actor.world.fact(("terminate", reason(why)))


def echo(_: Server, message: Any, __: Any) -> Any:
    """Answer ``{got, Message}``."""
    return ("got", message)


def ok(*_: Any) -> str:
    """Answer any call with ``ok``."""
    return "ok"


def trapping(actor: Server) -> None:
    """An ``init`` that traps exits."""
    actor.trap_exit = True


def raising(*_: Any) -> None:
    """A handler that crashes."""
    raise boom


def reason(why: Any) -> Any:
    """The term for an exit reason: a crash keeps its class only."""
    match why:
        case Crash(type="bad_return_value"):
            return "bad_return_value"
        case Crash():
            return "crash", why.type
        case _:
            return why


def term(value: Any) -> str:
    """A value as Erlang writes it: strings are atoms."""
    match value:
        case None:
            return "undefined"
        case bool():
            return str(value).lower()
        case tuple():
            return "{" + ",".join(map(term, value)) + "}"
        case _:
            return str(value)


async def play(scenario: Scenario) -> str:
    """Run one scenario on a fresh node; its facts as one list, written as Erlang writes it."""
    async with Node("differential") as node:
        world = World(node)
        async with node.attach() as audience:
            _, ref = await audience.spawn(Main, world, scenario, monitor=True)
            down = await ref.wait(timeout=20)
        if down is None:
            world.fact("case_hangs")
        elif down.reason != "normal":
            world.fact(("case_failed", str(down.reason) + getattr(down.reason, "trace", "")))
    return "[" + ",".join(world.facts) + "]"
