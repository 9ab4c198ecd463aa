"""The watchdog names the actor that holds the loop, while it holds it, and nobody else."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wsactors.actors import Actor, ProcessActor, Request, call, send, send_many, stacks
from wsactors.actors.watchdog import HoldReport, Watchdog
from wsactors.supervision.node import Node

pytestmark = pytest.mark.alone


def in_hold_until(report: HoldReport) -> bool:
    return "in hold_until" in report.stack


def has_computed(report: HoldReport) -> bool:
    """A machine that lets this process wait for a moment holds the loop, too, wherever that was."""
    assert report.cpu is not None
    return report.cpu > report.seconds / 2


def watching(
    node: Node, wanted: Callable[[HoldReport], bool] = in_hold_until
) -> tuple[list[HoldReport], threading.Event]:
    """The node's reports that the test is about, as they come; and an event at the first."""
    reports: list[HoldReport] = []
    first = threading.Event()

    def sink(report: HoldReport) -> None:
        if wanted(report):
            reports.append(report)
            first.set()

    assert node.watchdog is not None
    node.watchdog.sink = sink
    return reports, first


class Holder(Actor):
    def init(self, work: Callable[[], Any]) -> None:
        self.work = work

    def handle_info(self, message: Any) -> None:
        self.dig()

    def dig(self) -> None:
        self.work()

    async def handle_cast(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.dig()

    def handle_call(self, message: Any, caller: Request) -> Any:
        self.dig()
        return "done"


def hold_until(event: threading.Event) -> bool:
    """Hold the loop (and, in between, the interpreter) until the watchdog has spoken."""
    assert event.wait(10)
    return True


async def test_the_holder_is_named_while_it_holds_the_loop() -> None:
    async with Node("demo", watchdog=0.02) as node:
        reports, first = watching(node)
        # The handler goes on only when the report about it is there.
        pid = await node.spawn(Holder, lambda: hold_until(first), name="digger")
        send(pid, "go")
        await wait_all_tasks_blocked()
        report = reports[0]

        assert (report.node, report.pid, report.names, report.cls) == ("demo", str(pid), ("digger",), "Holder")
        assert report.handler.endswith("Holder.handle_info")
        assert report.seconds >= 0.02
        assert "in dig" in report.stack
        assert "worker.py" not in report.stack
        assert node.info().holds >= 1


@pytest.mark.parametrize("how", ["call", "cast", "init", "run", "start_soon", "task"])
async def test_the_holder_is_found_wherever_its_code_runs(how: str) -> None:
    class Looper(ProcessActor):
        async def run(self) -> None:
            if how == "start_soon":
                self.start_soon(self.side)
            else:
                await self.side()
            await trio.sleep_forever()

        async def side(self) -> None:
            hold_until(first)

    class Starter(Actor):
        def init(self) -> None:
            hold_until(first)

    async with Node("demo", watchdog=0.02) as node:
        reports, first = watching(node)
        holder = await node.spawn(Holder, lambda: hold_until(first))
        match how:
            case "call":
                await call(holder, "x")
            case "cast":
                node.cast(holder, "x")
            case "init":
                await node.spawn(Starter)
            case "run" | "start_soon":
                await node.spawn(Looper)
            case _:
                hold_until(first)
        await wait_all_tasks_blocked()
        report = reports[0]

        expected = {"call": "Holder", "cast": "Holder", "init": "Starter", "task": ""}.get(how, "Looper")
        assert report.cls.rpartition(".")[2] == expected
        assert bool(report.pid) == (how != "task")
        if how == "task":
            # Nobody of ours: still said, with the stack that shows whose it is.
            assert "test_watchdog.py" in report.stack


async def test_busy_but_fair_actors_are_not_accused() -> None:
    """A loop that is busy for a long time with many short handlers is not held."""

    class Busy(Actor):
        def init(self) -> None:
            self.left = 40_000

        def handle_info(self, message: Any) -> None:
            self.left -= 1
            if self.left > 0:
                send(self.pid, message)

    async with Node("demo", watchdog=0.25) as node:
        reports, _ = watching(node, has_computed)
        pids = [await node.spawn(Busy) for _ in range(10)]
        send_many(pids, "go")
        while any([row.mailbox async for row in node.processes() if row.cls.endswith("Busy")]):
            await trio.lowlevel.checkpoint()

        # A garbage collection may hold the loop for so long, once.
        assert len(reports) <= 1


@pytest.fixture
def switches() -> Iterator[None]:
    """A waiting thread is let in after half a millisecond.

    After the usual five it may never be: a loop that asks for events more often lets go of the interpreter's lock each time, for
    less than another core needs to wake the thread, and each of these moments starts the five milliseconds again.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


async def test_shares_also_see_actors_that_use_the_loop_in_small_pieces(switches: None) -> None:
    class Busy(Actor):
        def handle_info(self, message: Any) -> None:
            sum(range(message))
            send(self.pid, message)

    async with Node("demo", watchdog=0.004) as node:
        watching(node)
        assert node.watchdog is not None
        much, little = await node.spawn(Busy), await node.spawn(Busy)
        send(much, 10_000)
        send(little, 10)
        with trio.fail_after(60):
            while len(node.watchdog._looks) < 40:
                await trio.lowlevel.checkpoint()
        shares = node.watchdog.shares()

        assert shares[much.serial] > 0.1
        assert shares.get(little.serial, 0.0) < shares[much.serial] / 2
        assert sum(shares.values()) <= 1.0
        node.exit(much, "kill")
        node.exit(little, "kill")


async def test_shares_say_who_uses_the_loop() -> None:
    async with Node("demo", watchdog=0.01) as node:
        watching(node)
        rows: list[float | None] = []

        def spin() -> None:
            until = time.perf_counter() + 0.3
            while time.perf_counter() < until:
                pass

        busy = await node.spawn(Holder, spin)
        idle = await node.spawn(Holder, spin)
        send(busy, "go")
        await wait_all_tasks_blocked()
        rows = [node.statistics_of(busy).cpu, node.statistics_of(idle).cpu]

        assert rows[0] is not None
        assert rows[0] > 0.1
        assert rows[1] is not None
        assert rows[1] < rows[0] / 2


async def test_the_same_holder_is_not_reported_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Node("demo", watchdog=0.05) as node:
        assert node.watchdog is not None
        watchdog = node.watchdog

        def hold() -> None:
            before = watchdog.holds
            deadline = time.perf_counter() + 10
            while watchdog.holds == before and time.perf_counter() < deadline:
                time.sleep(0.001)

        pid = await node.spawn(Holder, hold)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                send(pid, "go")
                await wait_all_tasks_blocked()

        assert watchdog.holds >= 3
        assert len([text for text in caplog.messages if "handler" in text and "Holder.handle_info" in text]) == 1
        assert len([report for report in watchdog.recent if report.handler.endswith("Holder.handle_info")]) == 1


async def test_a_stack_shows_no_secret() -> None:
    async with Node("demo", watchdog=0.02) as node:
        reports, first = watching(node)

        def hold() -> Any:
            return hold_until(first), {"password": "hunter2xyz"}

        send(await node.spawn(Holder, hold), "go")
        await wait_all_tasks_blocked()

        assert '"password": <redacted>' in reports[0].stack
        assert "hunter2xyz" not in reports[0].stack


async def test_two_nodes_in_one_loop_each_accuse_their_own() -> None:
    async with Node("one", watchdog=0.02) as one, Node("two", watchdog=0.02) as two:
        reports_one, first = watching(one)
        reports_two, _ = watching(two)

        def hold() -> None:
            hold_until(first)
            time.sleep(0.1)

        pid = await one.spawn(Holder, hold)
        send(pid, "go")
        await wait_all_tasks_blocked()

        assert reports_one[0].pid == str(pid)
        assert [report for report in reports_two if report.handler.endswith("handle_info")] == []


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"wsactors watchdog {name}"]


async def test_the_thread_is_a_daemon_and_ends_with_the_node() -> None:
    async with Node("threaded") as node:
        (thread,) = threads_of("threaded")
        assert thread.daemon
        assert node.watchdog is not None
    assert not thread.is_alive()

    async with Node("bare", watchdog=None) as node:
        assert threads_of("bare") == []
        assert node.statistics_of(node.keeper.pid).cpu is None


async def test_an_idle_node_is_left_alone() -> None:
    """While the loop waits for events the thread neither wakes it nor works much."""
    async with Node("quiet", watchdog=0.01) as node:
        (thread,) = threads_of("quiet")
        assert thread.native_id is not None
        clock = time.pthread_getcpuclockid(thread.ident) if thread.ident is not None else 0
        reports, _ = watching(node, has_computed)
        wakes = 0

        class Count(trio.abc.Instrument):
            def after_io_wait(self, timeout: float) -> None:
                nonlocal wakes
                wakes += 1

        await trio.sleep(0.05)
        counter = Count()
        trio.lowlevel.add_instrument(counter)
        before, began = time.clock_gettime(clock), time.perf_counter()
        await trio.sleep(1.0)
        spent, seconds = time.clock_gettime(clock) - before, time.perf_counter() - began
        trio.lowlevel.remove_instrument(counter)

        assert wakes <= 5
        # Five times as often as by default.
        assert spent / seconds < 0.2
        assert reports == []


async def test_a_failing_watchdog_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with Node("demo", watchdog=0.01) as node:
        assert node.watchdog is not None
        said = threading.Event()

        def bad(report: HoldReport) -> None:
            said.set()
            raise OSError("no disk, token=hunter2xyz")

        node.watchdog.sink = bad
        pid = await node.spawn(Holder, lambda: hold_until(said))
        send(pid, "go")
        await wait_all_tasks_blocked()
        for thread in threads_of("demo"):
            thread.join(5)

    assert any("watchdog.failed" in text for text in caplog.messages)
    assert "hunter2xyz" not in caplog.text


def test_a_senseless_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="watchdog must be seconds"):
        Node("demo", watchdog=0.0)


async def test_c_code_that_keeps_the_interpreter_lock_is_seen_afterwards() -> None:
    """Nothing can run meanwhile, this thread neither; but it notices that it could not."""
    async with Node("demo", watchdog=0.02) as node:
        reports, _ = watching(node, lambda report: report.handler.endswith("Holder.handle_info"))
        pid = await node.spawn(Holder, lambda: pow(3, 2_000_000))
        await trio.sleep(0.1)  # the loop has been idle: nothing was known when the call began
        send(pid, "go")
        await wait_all_tasks_blocked()

        assert [report.pid for report in reports] == [str(pid)]
        assert reports[0].cpu == reports[0].seconds


async def test_watchdog_alone_has_no_shares_before_it_has_looked() -> None:
    async with Node("demo", watchdog=None) as node:
        assert Watchdog(node.sched).shares() == {}


def test_a_frame_between_two_lines_is_no_reason_to_stop_watching() -> None:
    def code() -> None: ...

    between: Any = SimpleNamespace(f_code=code.__code__, f_lineno=None)  # what another thread's frame may say
    assert stacks.line_of(between) == 0
    assert stacks.source(between) == ""
