"""Crash reports: what they say, what they must not say, and what a storm of them costs."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from time import thread_time
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wsactors.actors import Actor, Pid, ProcessActor, Reply, Request, Stop, call, cast, send
from wsactors.actors import crash_reports as module
from wsactors.actors.crash_reports import CrashReport
from wsactors.errors import CallExit, StartError
from wsactors.supervision.node import Node

PLANTED = "hunter2xyz"


@attrs.frozen
class Login:
    user: str
    password: str


class Fragile(Actor):
    def init(self, how: str = "") -> None:
        if how == "init":
            raise ValueError(f"no {how} with token={PLANTED}")
        self.count = 7
        self.password = PLANTED
        self.nested = {"users": [{"name": "ada", "api_key": PLANTED}]}

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case ("stop", reason):
                return Reply("bye", Stop(reason))
            case _:
                raise LookupError(f"not found: {message!r}")

    def handle_cast(self, message: Any) -> Any:
        raise KeyError(message)

    def handle_info(self, message: Any) -> Any:
        match message:
            case "bad":
                return 42
            case ("stop", reason):
                return Stop(reason)
            case _:
                raise ValueError(f"cannot use {message}")


class Reader(ProcessActor):
    async def run(self) -> None:
        message = await self.receive()
        raise ValueError(f"cannot read {message[0]}")


async def collected(node: Node) -> list[CrashReport]:
    """Have the node's reports put into a list."""
    reports: list[CrashReport] = []
    node.crash_reports.sink = reports.append
    return reports


async def test_a_report_says_who_what_where_and_why() -> None:
    async with Node("demo") as node, node.attach() as me:
        reports = await collected(node)
        pid = await me.spawn(Fragile, name="fragile")
        for number in range(3):
            send(pid, ("odd", number))
        await wait_all_tasks_blocked()
        (report,) = reports

        assert (report.node, report.pid, report.names) == ("demo", str(pid), ("fragile",))
        assert report.cls.endswith(".Fragile")
        assert (report.phase, report.message) == ("info", "('odd', 0)")
        assert report.reason == "ValueError: cannot use ('odd', 0)"
        assert "in handle_info" in report.stack
        assert "'count': 7" in report.state
        assert report.ancestors == (str(me.pid),)
        assert (report.mailbox, report.handled) == (2, 0)
        assert node.info().crashes == 1


async def test_the_last_message_is_known_for_every_kind_of_handler_also_inlined() -> None:
    async with Node("demo") as node, node.attach() as me:
        reports = await collected(node)
        for inline in (True, False):
            node.sched.inline = inline
            with pytest.raises(CallExit):
                await call(await node.spawn(Fragile), ("ask", inline))
        cast(await node.spawn(Fragile), "cast it")
        send(await node.spawn(Fragile), "bad")
        send(await node.spawn(Reader), ("page", 3))
        await wait_all_tasks_blocked()

        told = {(report.phase, report.message, report.reason.partition(":")[0]) for report in reports}
        assert told == {
            ("call", "('ask', True)", "LookupError"),
            ("call", "('ask', False)", "LookupError"),
            ("cast", "'cast it'", "KeyError"),
            ("info", "'bad'", "bad_return_value"),
            ("info", "('page', 3)", "ValueError"),
        }
        assert {report.caller for report in reports if report.phase == "call"} <= {"", str(me.pid)}


async def test_orderly_ends_and_kills_are_no_crashes_and_bad_reasons_are() -> None:
    async with Node("demo") as node:
        reports = await collected(node)
        for reason in ("normal", "shutdown", ("shutdown", "because")):
            await call(await node.spawn(Fragile), ("stop", reason))
        for reason in ("kill", "enough"):
            node.exit(await node.spawn(Fragile), reason)
        await wait_all_tasks_blocked()
        assert reports == []

        send(await node.spawn(Fragile), ("stop", {"why": "out of disk", "token": PLANTED}))
        await wait_all_tasks_blocked()
        assert reports[0].reason == "{'why': 'out of disk', 'token': <redacted>}"


async def test_an_init_that_raises_is_reported_as_such() -> None:
    async with Node("demo") as node:
        reports = await collected(node)
        with pytest.raises(StartError):
            await node.spawn(Fragile, "init")
        await wait_all_tasks_blocked()

        assert (reports[0].phase, reports[0].message) == ("init", "")
        assert reports[0].reason == "ValueError: no init with token=<redacted>"


@pytest.mark.parametrize(
    "message",
    [
        {"password": PLANTED},
        ("token", PLANTED),
        Login("ada", PLANTED),
        {"deep": [{"deeper": ("x", {"cookie": f"session={PLANTED}"})}]},
        f"GET /socket?token={PLANTED} HTTP/1.1",
        # Not known by name in the message; the state knows it as its password.
        ("login", "ada", PLANTED),
        [f"a note with {PLANTED} inside"],
    ],
    ids=repr,
)
@pytest.mark.parametrize("how", [send, cast])
async def test_a_planted_secret_is_in_no_report_and_no_log(
    how: Any, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    try:
        async with Node("demo") as node:
            pid = await node.spawn(Fragile)
            how(pid, message)
            await wait_all_tasks_blocked()
    finally:
        logging.getLogger().removeHandler(handler)

    assert "actor.crashed" in written.getvalue()
    assert PLANTED not in written.getvalue()
    assert PLANTED not in caplog.text


async def test_an_exit_reason_carries_no_secret_that_shows_as_one() -> None:
    async with Node("demo") as node, node.attach() as me:
        await collected(node)
        pid, ref = await me.spawn(Reader, monitor=True)
        send(pid, (f"password={PLANTED}",))
        down = await ref.wait(5)

        assert down is not None
        assert PLANTED not in f"{down.reason} {down.reason!r} {down.reason.trace}"


async def test_a_hostile_state_does_not_stop_the_report() -> None:
    class Hostile(Fragile):
        def init(self, how: str = "") -> None:
            class Trap(dict[str, int]):
                def items(self) -> Any:
                    raise RuntimeError("no")

            self.trap = Trap(a=1)
            self.wide = list(range(1_000_000))
            self.number = 10**10_000

    async with Node("demo") as node:
        reports = await collected(node)
        send(await node.spawn(Hostile), "x")
        await wait_all_tasks_blocked()

        assert reports[0].reason == "ValueError: cannot use x"
        assert len(reports[0].state) <= module.TEXT


class Lemming(Actor):
    def handle_info(self, message: Any) -> None:
        raise ValueError("over the edge")


async def test_a_storm_is_rationed_per_class_and_the_rest_counted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node("demo") as node:
        reports = await collected(node)
        pids = [await node.spawn(Lemming) for _ in range(300)]
        other = await node.spawn(Fragile)
        for pid in pids:
            send(pid, "jump")
        await wait_all_tasks_blocked()
        send(other, "x")
        await trio.sleep(3)

        by_class = [report.cls.rpartition(".")[2] for report in reports]
        assert by_class.count("Lemming") == module.BURST
        assert by_class.count("Fragile") == 1, "one class's storm must not hide another's crash"
        assert node.info().crash_reports_suppressed == 300 - module.BURST
        (summary,) = [text for text in caplog.messages if "suppressed" in text]
        assert f"more={300 - module.BURST}" in summary
        assert f"Lemming: {300 - module.BURST}" in summary

        # And it goes on, at its slow rate.
        reports.clear()
        await trio.sleep(10)
        for _ in range(50):
            send(await node.spawn(Lemming), "jump")
        await wait_all_tasks_blocked()
        assert len(reports) == module.BURST


async def test_noting_a_crash_costs_the_death_step_microseconds() -> None:
    async with Node("demo", watchdog=None) as node:
        await collected(node)
        pid = await node.spawn(Fragile)
        process = pid._process
        assert process is not None
        from wsactors.actors.messages import Crash
        from wsactors.actors.process import Halt

        process.more().halt = Halt(Crash("ValueError", "x"))
        started = thread_time()
        for _ in range(20_000):
            node.crash_reports.note(process)
        spent = thread_time() - started
        process.more().halt = None

        assert spent / 20_000 < 50e-6
        assert len(node.crash_reports._waiting) <= module.WAITING


async def test_reports_not_yet_written_are_written_when_the_node_closes() -> None:
    async with Node("demo") as node:
        reports = await collected(node)
        for _ in range(3):
            with pytest.raises(CallExit):
                await call(await node.spawn(Fragile), "x")
    assert len(reports) == 3


async def test_a_sink_that_raises_costs_its_report_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def bad(report: CrashReport) -> None:
        raise OSError("disk full")

    async with Node("demo") as node:
        node.crash_reports.sink = bad
        for _ in range(3):
            send(await node.spawn(Fragile), "x")
        await wait_all_tasks_blocked()
        assert await node.spawn(Fragile)

    assert node.crash_reports.failed == 3
    assert [text for text in caplog.messages if "not_written" in text] != []


@pytest.fixture
def _restored_structlog() -> Iterator[None]:
    before = structlog.get_config()
    was = structlog.is_configured()
    yield
    structlog.configure(**before) if was else structlog.reset_defaults()


@pytest.mark.usefixtures("_restored_structlog")
async def test_reports_go_through_structlog_where_the_program_has_set_it_up() -> None:
    events: list[Any] = []

    def keep(logger: Any, method: str, event: Any) -> Any:
        events.append((method, dict(event)))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    async with Node("demo") as node:
        pid: Pid = await node.spawn(Fragile)
        send(pid, "x")
        await wait_all_tasks_blocked()

    (method, event), *_ = events
    assert (method, event["event"], event["pid"]) == ("error", "actor.crashed", str(pid))


async def test_an_embedded_node_configures_no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "structlog", raising=False)
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("wsactors").handlers[:])
    async with Node("demo") as node:
        send(await node.spawn(Fragile), "x")
        await wait_all_tasks_blocked()

    assert (list(root.handlers), root.level, logging.getLogger("wsactors").handlers[:]) == before
    assert "structlog" not in sys.modules
