"""``node.from_thread``, from trio's threads and from foreign ones."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from wsactors.actors import UNHANDLED, Actor
from wsactors.errors import CallExit, NodeClosed, NoProcess, StartError
from wsactors.supervision.node import Node


class Counter(Actor):
    def init(self, start: int = 0) -> None:
        self.count = start
        self.thread = threading.get_ident()

    def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case "get":
                return self.count
            case "thread":
                return self.thread, threading.get_ident()
            case _:
                return UNHANDLED

    def handle_cast(self, message: int) -> None:
        self.count += message

    def handle_info(self, message: int) -> None:
        self.count += message


async def test_everything_crosses_and_runs_in_trios_thread(node: Node) -> None:
    door = node.from_thread

    def work() -> list[Any]:
        pid = door.spawn(Counter, 10, name="counter")
        seen: list[Any] = [door.whereis("counter") is pid, door.call("counter", "get")]
        seen += [door.cast("counter", 1), door.send(pid, 2), door.send_many([pid, pid], 3)]
        seen += [door.call(pid, "get"), door.call(pid, "thread"), door.exit(pid, "kill"), door.whereis("counter")]
        return seen

    mine = threading.get_ident()
    assert await trio.to_thread.run_sync(work) == [True, 10, True, True, 0, 19, (mine, mine), True, None]


async def test_a_thread_that_trio_knows_nothing_of(node: Node) -> None:
    pid = await node.spawn(Counter)
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def foreign() -> None:
        for _ in range(100):
            node.from_thread.cast(pid, 1)
        token.run_sync_soon(done.set)

    thread = threading.Thread(target=foreign)
    thread.start()
    with trio.fail_after(10):
        await done.wait()
    thread.join()
    assert await node.call(pid, "get") == 100


async def test_errors_cross_too(node: Node) -> None:
    def wrong(what: str) -> None:
        match what:
            case "nobody":
                node.from_thread.call("nobody", "get")
            case "crash":
                node.from_thread.call(node.from_thread.spawn(Counter), "what")
            case "start":
                node.from_thread.spawn(Counter, 1, 2)

    with pytest.raises(NoProcess):
        await trio.to_thread.run_sync(wrong, "nobody")
    with pytest.raises(CallExit, match="unhandled_call"):
        await trio.to_thread.run_sync(wrong, "crash")
    with pytest.raises(StartError):
        await trio.to_thread.run_sync(wrong, "start")


async def test_in_trios_own_thread_it_refuses_instead_of_waiting_for_itself(node: Node) -> None:
    pid = await node.spawn(Counter)
    with pytest.raises(RuntimeError, match="call it from a thread"):
        node.from_thread.call(pid, "get")
    with pytest.raises(RuntimeError, match="call it from a thread"):
        node.from_thread.send(pid, 1)


async def test_a_closed_node() -> None:
    node = Node("closed")
    with pytest.raises(NodeClosed):
        node.from_thread.whereis("x")
    async with node:
        pass
    with pytest.raises(NodeClosed):
        await trio.to_thread.run_sync(node.from_thread.whereis, "x")
    with pytest.raises(NodeClosed):
        await trio.to_thread.run_sync(node.from_thread.call, "x", 1)


def test_after_the_loop_has_ended() -> None:
    node = Node("ended")

    async def main() -> None:
        async with node:
            pass

    trio.run(main)
    with pytest.raises(NodeClosed):
        node.from_thread.send("x", 1)


async def test_a_waiting_thread_is_told_when_the_node_stops() -> None:
    asked = trio.Event()

    class Silent(Actor):
        async def handle_call(self, message: Any, caller: Any) -> Any:
            asked.set()
            await trio.sleep_forever()

    outcome: list[Any] = []

    def ask(stopping: Node) -> None:
        try:
            stopping.from_thread.call("silent", "hello", timeout=None)
        except CallExit as failure:
            outcome.append(failure.reason)

    async with trio.open_nursery() as nursery, Node("stopping") as stopping:
        await stopping.spawn(Silent, name="silent")
        nursery.start_soon(trio.to_thread.run_sync, ask, stopping)
        with trio.fail_after(10):
            await asked.wait()
    assert outcome == ["shutdown"]


def test_a_thread_inside_the_loop_when_it_ends() -> None:
    """Its job is cancelled with the loop, which to the thread is a closed node."""
    node = Node("ending")
    outcome: list[Any] = []
    inside = threading.Event()

    async def job() -> None:
        inside.set()
        await trio.sleep_forever()

    def work() -> None:
        try:
            node.from_thread.run(job)
        except NodeClosed as closed:
            outcome.append(closed)

    async def main() -> None:
        async with node:
            thread.start()
            await trio.to_thread.run_sync(inside.wait, 10)

    thread = threading.Thread(target=work)
    trio.run(main)
    thread.join(10)
    assert len(outcome) == 1


async def test_context_of_the_thread_does_not_reach_the_actor(node: Node) -> None:
    import contextvars

    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")

    class Reader(Actor):
        async def init(self) -> None:
            self.seen = var.get()

        def handle_call(self, message: Any, caller: Any) -> Any:
            return self.seen

    def work() -> Any:
        var.set("the thread's")
        return node.from_thread.call(node.from_thread.spawn(Reader), "seen")

    assert await trio.to_thread.run_sync(work) == "unset"
