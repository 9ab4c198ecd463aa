"""Registered names and ``Via``: one live holder per name, gone in the step in which it dies."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of
from wsactors.actors import Actor, Down, NameRegistry, Pid, Registry, Via, call, cast, send
from wsactors.errors import NameTaken, NoProcess, StartError
from wsactors.supervision.node import Node


class Echo(Actor):
    def init(self) -> None:
        self.seen: list[Any] = []

    def handle_call(self, message: Any, caller: Any) -> Any:
        return message

    def handle_cast(self, message: Any) -> None:
        self.seen.append(message)

    handle_info = handle_cast


async def test_a_name_works_wherever_a_pid_does(node: Node) -> None:
    pid = await node.spawn(Echo, name="echo")

    assert node.whereis("echo") is pid
    assert await call("echo", 1) == 1
    assert send("echo", 2)
    assert cast("echo", 3)
    async with node.attach() as me:
        ref = me.monitor("echo")
        node.exit("echo", "kill")
        assert await down_of(ref) == Down(ref, "echo", "killed")


async def test_a_name_is_free_before_the_down_arrives(node: Node) -> None:
    pid = await node.spawn(Echo, name="echo")
    async with node.attach() as me:
        ref = me.monitor(pid)
        node.exit(pid, "kill")
        await down_of(ref)
        assert node.whereis("echo") is None
        await node.spawn(Echo, name="echo")


async def test_a_taken_name(node: Node) -> None:
    holder: Pid = await node.spawn(Echo, name="echo")
    other = await node.spawn(Echo)
    before = len(node.sched.processes)
    with pytest.raises(NameTaken) as taken:
        await node.spawn(Echo, name="echo")
    assert taken.value.pid is holder
    assert taken.value.reason == ("already_started", holder)
    assert len(node.sched.processes) == before
    with pytest.raises(NameTaken):
        node.register("echo", other)
    node.register("echo", holder)
    node.register("alias", holder)
    assert node.whereis("alias") is holder
    node.unregister("echo")
    node.register("echo", other)
    node.exit(holder, "kill")
    await trio.testing.wait_all_tasks_blocked()
    assert node.whereis("echo") is other
    assert node.whereis("alias") is None


async def test_a_dead_or_dying_actor_gets_no_name(node: Node) -> None:
    pid = await node.spawn(Echo)
    node.exit(pid, "kill")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(NoProcess):
        node.register("late", pid)

    class Slow(Actor):
        async def handle_info(self, message: Any) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with pytest.raises(NoProcess):
                    self.register("too late")
                seen.append("refused")

    seen: list[str] = []
    pid = await node.spawn(Slow)
    send(pid, "go")
    await trio.testing.wait_all_tasks_blocked()
    node.exit(pid, "kill")
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["refused"]
    assert node.whereis("too late") is None


@pytest.mark.parametrize("name", ["", 7, None])
async def test_a_name_is_text(node: Node, name: Any) -> None:
    pid = await node.spawn(Echo)
    with pytest.raises(TypeError, match="non-empty str"):
        node.register(name, pid)


class Modulo:
    """A registry of a user's own: any integer, one of three actors."""

    def __init__(self, pids: list[Pid]) -> None:
        self.pids = pids

    def whereis(self, name: Any) -> Pid | None:
        return self.pids[name % 3] if isinstance(name, int) else None

    def register(self, name: Any, pid: Pid) -> None:
        raise NameTaken(name, self.whereis(name))

    def unregister(self, name: Any) -> None: ...


async def test_via_resolves_at_the_moment_of_the_send(node: Node) -> None:
    registry = Modulo([await node.spawn(Echo) for _ in range(3)])
    assert isinstance(registry, NameRegistry)
    assert isinstance(node.registry, NameRegistry)
    assert await call(Via(registry, 4), "hi") == "hi"
    assert cast(Via(registry, 4), "one")
    assert registry.pids[1]._process is not None
    await trio.testing.wait_all_tasks_blocked()
    assert registry.pids[1]._process.actor.seen == ["one"]

    old = registry.pids[1]
    registry.pids[1] = await node.spawn(Echo)
    node.exit(old, "kill")
    assert await call(Via(registry, 4), "still") == "still"
    assert not send(Via(registry, "nobody"), "x")
    with pytest.raises(NoProcess):
        await call(Via(registry, "nobody"), "x")
    async with node.attach() as me:
        ref = me.monitor(Via(registry, 4))
        node.exit(registry.pids[1], "kill")
        assert (await down_of(ref)).reason == "killed"
        assert (await down_of(me.monitor(Via(registry, "nobody")))).reason == "noproc"


async def test_a_registry_of_ones_own_loses_the_dead_too(node: Node) -> None:
    registry = Registry()
    pid = await node.spawn(Echo)
    registry.register("echo", pid)
    assert await call(Via(registry, "echo"), 1) == 1
    node.exit(pid, "kill")
    await trio.testing.wait_all_tasks_blocked()
    assert not send(Via(registry, "echo"), 1)
    assert registry.whereis("echo") is None
    registry.register("echo", await node.spawn(Echo))


@pytest.mark.parametrize("target", [None, 7, b"echo", object()])
async def test_what_is_no_target_is_the_callers_fault_at_once(node: Node, target: Any) -> None:
    with pytest.raises(TypeError, match="a target is"):
        send(target, 1)
    with pytest.raises(TypeError, match="a target is"):
        await call(target, 1)


class Book:
    """A registry of somebody else's, which sees no deaths."""

    def __init__(self) -> None:
        self.pids: dict[Any, Pid] = {}

    def whereis(self, name: Any) -> Pid | None:
        return self.pids.get(name)

    def register(self, name: Any, pid: Pid) -> None:
        if name in self.pids:
            raise NameTaken(name, self.pids[name])
        self.pids[name] = pid

    def unregister(self, name: Any) -> None:
        self.pids.pop(name, None)


@pytest.mark.parametrize("registry", [Book(), Registry()], ids=["foreign", "own"])
async def test_an_actor_may_be_started_under_a_via_name(node: Node, registry: NameRegistry) -> None:
    name = Via(registry, "room 7")

    class Fails(Echo):
        def init(self) -> None:
            assert registry.whereis("room 7") is self.pid  # in place before init runs
            raise LookupError("on purpose")

    with pytest.raises(StartError, match="on purpose"):
        await node.spawn(Fails, name=name)
    assert registry.whereis("room 7") is None
    pid = await node.spawn(Echo, name=name)
    assert await call(name, "hi") == "hi"
    with pytest.raises(NameTaken):
        await node.spawn(Echo, name=name)
    assert node.whereis("room 7") is None
    assert node.info().actors == 1
    async with node.attach() as me:
        ref = me.monitor(pid)
        node.exit(pid, "kill")
        assert registry.whereis("room 7") is None
        await down_of(ref)
        with pytest.raises(NoProcess):
            node.register(name, pid)
        assert registry.whereis("room 7") is None


async def test_a_name_that_was_passed_on_is_not_taken_from_its_new_holder(node: Node) -> None:
    book = Book()
    first = await node.spawn(Echo, name=Via(book, "x"))
    second = await node.spawn(Echo)
    book.pids["x"] = second
    node.exit(first, "kill")
    assert book.whereis("x") is second


async def test_what_people_print_says_what_it_is(node: Node) -> None:
    pid = await node.spawn(Echo, name="echo")
    async with node.attach() as me:
        request = node.send_request("echo", "hi", label="first")
        assert repr(request) == f"<RequestId 'first' to {pid}: pending>"
        assert await request.wait(5) == "hi"
        assert repr(request).endswith(": done>")
        assert repr(node.groups.monitor(me.pid, ("room", 7))[0]) == f"<GroupRef of {me.pid} on ('room', 7)>"
        assert repr(me.monitor(pid)).endswith(f"on {pid}>")
