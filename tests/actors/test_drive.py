"""Driving a coroutine on a task that is not its own, and mending what it left open. Holds trio to private names this needs."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Generator
from typing import Any

import pytest
import trio

from wsactors.actors.drive import StartGuard, close_leaks, forward, leaked
from wsactors.actors.worker import Worker
from wsactors.supervision.node import Node

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


@types.coroutine
def trap(value: Any) -> Generator[Any, Any, Any]:
    """What a real trap does: hand a value to the loop, get one back."""
    return (yield value)


class Driven:
    """A coroutine that is forwarded by hand, its ``context`` and ``sched`` being looked at in between."""

    def __init__(self, node: Node, coroutine: Any) -> None:
        self.sched = node.sched
        self.process = node.keeper._process
        self.context = contextvars.copy_context()
        first = self.context.run(coroutine.send, None)
        self.outer = forward(self.sched, self.process, self.context, coroutine, first)


async def talks(log: list[Any]) -> Any:
    VAR.set("the actor's")
    try:
        log.append(await trap("first"))
        try:
            await trap("second")
        except LookupError as error:
            log.append(error)
        log.append(await trap("third"))
        return "result"
    finally:
        log.append(("finally", VAR.get()))


class TestForward:
    async def test_send_throw_and_return(self) -> None:
        async with Node("drive") as node:
            log: list[Any] = []
            driven = Driven(node, talks(log))
            error = LookupError("thrown")
            outer = driven.outer
            assert outer.send(None) == "first"
            assert outer.send("one") == "second"
            assert node.sched.current is None
            assert outer.throw(error) == "third"
            with pytest.raises(StopIteration) as stop:
                outer.send("three")
            assert stop.value.value == "result"
            assert log == ["one", error, "three", ("finally", "the actor's")]
            assert VAR.get() == "unset"

    async def test_close_reaches_the_coroutine(self) -> None:
        """When a loop is abandoned, its tasks are closed: the handler's `finally` runs, once."""
        async with Node("drive") as node:
            log: list[Any] = []
            driven = Driven(node, talks(log))
            assert driven.outer.send(None) == "first"
            driven.outer.close()
            assert log == [("finally", "the actor's")]

    async def test_an_exception_comes_out(self) -> None:
        async def fails() -> None:
            await trap("first")
            raise LookupError("inside")

        async with Node("drive") as node:
            driven = Driven(node, fails())
            driven.outer.send(None)
            with pytest.raises(LookupError, match="inside"):
                driven.outer.send(1)
            assert node.sched.current is None


async def test_a_workers_shell_passes_everything_on_and_closes_what_is_blocked() -> None:
    """When a loop is abandoned, a worker's task is closed in the middle of somebody's handler: what that holds is let go."""
    async with Node("drive") as node:
        log: list[Any] = []
        error = LookupError("thrown")
        shell: Any = Worker(node.sched)._shell(talks(log))
        assert shell.send(None) == "first"
        assert shell.send("one") == "second"
        assert shell.throw(error) == "third"
        shell.close()
        assert log == ["one", error, ("finally", "the actor's")]
        assert VAR.get() == "unset"


class TestTriosPrivateNames:
    async def test_they_mean_what_this_code_takes_them_for(self) -> None:
        task = trio.lowlevel.current_task()
        status, nurseries = task._cancel_status, len(task._child_nurseries)
        assert not leaked(task, status, nurseries)
        with trio.CancelScope() as scope:  # noqa: ASYNC100 - it is looked at
            assert task._cancel_status is not status
            assert task._cancel_status._scope is scope
            assert task._cancel_status.parent is status
            assert leaked(task, status, nurseries)
        async with trio.open_nursery() as nursery:
            assert task._child_nurseries[-1] is nursery
            assert task._cancel_status._scope is nursery.cancel_scope
            assert len(task._child_nurseries) == nurseries + 1
        assert not status.effectively_cancelled
        with trio.CancelScope() as scope:  # noqa: ASYNC100
            scope.cancel()
            assert task._cancel_status.effectively_cancelled
        assert not leaked(task, status, nurseries)


class TestCloseLeaks:
    async def test_innermost_first_whatever_the_order(self) -> None:
        task = trio.lowlevel.current_task()
        status, nurseries = task._cancel_status, len(task._child_nurseries)
        ended: list[int] = []

        async def child(number: int) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(number)

        trio.CancelScope().__enter__()
        for number in range(3):
            trio.CancelScope(shield=True).__enter__()
            nursery = await trio.open_nursery().__aenter__()
            nursery.start_soon(child, number)
            trio.CancelScope().__enter__()
        await trio.testing.wait_all_tasks_blocked()
        await close_leaks(task, status, nurseries)
        assert not leaked(task, status, nurseries)
        assert ended == [2, 1, 0]
        with trio.move_on_after(0.001) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught

    async def test_failing_children_are_part_of_the_leak(self) -> None:
        async def child() -> None:
            raise LookupError("in the leaked nursery")

        task = trio.lowlevel.current_task()
        status, nurseries = task._cancel_status, len(task._child_nurseries)
        nursery = await trio.open_nursery().__aenter__()
        nursery.start_soon(child)
        await close_leaks(task, status, nurseries)
        assert not leaked(task, status, nurseries)
        await trio.sleep(0.001)


class TestStartGuard:
    async def test_a_kill_before_its_scope_is_entered_is_not_lost(self) -> None:
        task = trio.lowlevel.current_task()
        guard = StartGuard(task, task._cancel_status)
        guard.cancel()
        guard.settle()
        error: BaseException | None = None
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            error = cancelled
        assert error is not None
        assert guard.close(error) is None
        await trio.lowlevel.checkpoint()

    async def test_a_foreign_cancellation_passes_through_it(self) -> None:
        task = trio.lowlevel.current_task()
        with trio.CancelScope() as outer:
            guard = StartGuard(task, task._cancel_status)
            guard.settle()
            outer.cancel()
            with pytest.raises(trio.Cancelled) as cancelled:
                await trio.lowlevel.checkpoint()
            left = guard.close(cancelled.value)
            assert left is cancelled.value
            raise left
        assert outer.cancelled_caught
