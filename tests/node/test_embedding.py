"""An embedded node leaves its host alone: signals, logging, output, the garbage collector; and several live side by side."""

from __future__ import annotations

import gc
import logging
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import trio

import wsactors
from wsactors import UNHANDLED, Actor, Node, call
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.server import Address, Gateway


class Counter(Actor):
    async def init(self, start: int = 0) -> None:
        self.count = start

    def handle_call(self, message: object, caller: object) -> object:
        match message:
            case ("add", int(n)):
                self.count += n
                return self.count
            case _:
                return UNHANDLED


def surroundings() -> dict[str, object]:
    """What belongs to the host."""
    root = logging.getLogger()
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "handlers": list(root.handlers),
        "level": root.level,
        "gc": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()),
        "excepthooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "recursion": sys.getrecursionlimit(),
    }


async def test_the_host_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = surroundings()

    async with Node("guest") as node:
        await node.spawn(Counter, 1, name="counter")
        assert await call("counter", ("add", 2), timeout=5) == 3
        during = surroundings()

    assert during == before
    assert surroundings() == before
    assert capfd.readouterr() == ("", "")


async def test_a_crash_is_told_on_standard_error_and_never_on_standard_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with Node("guest") as node, node.attach() as me:
        pid = await node.spawn(Counter, name="counter")
        ref = me.monitor(pid)
        node.cast(pid, "nonsense")
        down = await ref.wait(10)
        assert down is not None

    assert capfd.readouterr().out == ""


async def test_an_embedded_gateway_prints_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """Its news go to the host's logging, which nobody has set up here: structlog's own default would print them."""
    opened: list[Address] = []
    async with Node("guest") as node:
        await node.spawn(Gateway, GatewayOptions(port=0), None, opened.append)
        stream = await trio.open_tcp_stream("127.0.0.1", opened[0].port)
        async with stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")

    assert capfd.readouterr() == ("", "")


def test_only_what_the_command_runs_uses_structlog_unasked() -> None:
    root = Path(wsactors.__file__).parent
    direct = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if re.search(r"^\s*(import|from) structlog", path.read_text(), re.MULTILINE)
    }
    assert direct <= {"node", "loadtest"}


async def test_nodes_live_side_by_side() -> None:
    async with Node("one") as one, Node("two") as two:
        first = await one.spawn(Counter, 10, name="counter")
        second = await two.spawn(Counter, 20, name="counter")

        assert await one.call("counter", ("add", 1)) == 11
        assert await two.call("counter", ("add", 1)) == 21
        assert await call(first, ("add", 1), timeout=5) == 12
        assert (first.node, second.node) == ("one", "two")


async def test_the_host_being_cancelled_stops_the_node_in_order() -> None:
    stopped = trio.Event()

    class Polite(Actor):
        trap_exit = True

        async def terminate(self, reason: object) -> None:
            await trio.lowlevel.checkpoint()
            stopped.set()

    with trio.CancelScope() as host:
        async with Node("guest") as node:
            await node.spawn(Polite)
            host.cancel()
            await trio.sleep_forever()

    assert host.cancelled_caught
    assert stopped.is_set()
