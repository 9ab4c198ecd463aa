"""Mailboxes at their high-water mark are told of, not too often."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wsactors.actors import Actor, Mailbox, send
from wsactors.actors.high_water import BURST
from wsactors.supervision.node import Node


class Slow(Actor):
    mailbox = Mailbox(capacity=10, high_water=4)

    def init(self, gate: trio.Event) -> None:
        self.gate = gate

    async def handle_info(self, message: Any) -> None:
        await self.gate.wait()


async def test_marks_are_logged_rationed_and_the_rest_counted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node("demo") as node:
        gate = trio.Event()
        pids = [await node.spawn(Slow, gate) for _ in range(BURST + 5)]
        last = await node.spawn(Slow, gate)
        await trio.sleep(60)
        for pid in pids:
            send(pid, "first")
        await wait_all_tasks_blocked()
        for pid in pids:
            for number in range(6):
                send(pid, number)
        told = [text for text in caplog.messages if "mailbox.high_water" in text]
        assert told == [f"mailbox.high_water pid={pid} cls=Slow length=4 capacity=10 more=0" for pid in pids[:BURST]]

        await trio.sleep(5)
        for number in range(5):
            send(last, number)
        assert f"pid={last} cls=Slow length=4 capacity=10 more=5" in caplog.messages[-1]
        gate.set()
