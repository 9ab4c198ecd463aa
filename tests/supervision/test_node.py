from __future__ import annotations

import pytest
import trio

from wsactors.actors import Actor
from wsactors.supervision import ChildSpec, Node, Supervisor


class Worker(Actor):
    def init(self) -> None: ...


async def test_supervisors_without_a_tree_stop_their_children_themselves(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node("embedded", watchdog=None) as node:  # which would tell of a machine that is busy
        worker = ChildSpec("worker", Worker, restart="permanent")
        inner = ChildSpec("inner", Supervisor, ("one_for_one", [worker]), type="supervisor")
        await node.spawn(Supervisor, "one_for_one", [inner])
        await node.spawn(Worker)
    assert not [record.getMessage() for record in caplog.records]
