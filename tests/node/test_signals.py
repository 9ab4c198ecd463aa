"""Signals ask for an ordered stop; the second Ctrl-C does not ask."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import trio
import trio.testing

from wsactors.node.signals import Told, signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_leaves_the_block_quietly(number: signal.Signals) -> None:
    with trio.fail_after(10), signals() as told:
        with told.until_stop():
            os.kill(os.getpid(), number)
            await trio.sleep_forever()
        assert told.stopping
        assert told.stop_signal == number.name


async def test_a_stop_before_the_block_is_not_missed() -> None:
    told = Told()
    told.stop("SIGTERM")

    with trio.fail_after(10), told.until_stop():
        await trio.sleep_forever()


async def test_sighups_that_came_meanwhile_count_once(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    told.reload()
    told.reload()

    await told.wait_reload()

    with trio.move_on_after(1) as waiting:
        await told.wait_reload()
    assert waiting.cancelled_caught


async def test_sighup_wakes_the_reload() -> None:
    with trio.fail_after(10), signals() as told:
        os.kill(os.getpid(), signal.SIGHUP)
        await told.wait_reload()
        assert not told.stopping


async def test_the_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]

    with signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]

    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before


HELD = """
import time, trio
from wsactors.node.signals import signals

async def main():
    with signals() as told, told.until_stop():
        print("up", flush=True)
        while True:
            time.sleep(0.01)  # the loop is held: nobody can ask it anything

trio.run(main)
"""


def test_a_second_interrupt_ends_a_process_whose_loop_is_held() -> None:
    with subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        # Two signals sent back to back may arrive as one; the process shows no sign of the first.
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        assert process.returncode == 130
