"""Small things the tests of the runtime share."""

from __future__ import annotations

from typing import Any

from wsactors.actors import Down, MonitorRef, Pid
from wsactors.actors.process import Process
from wsactors.supervision.node import Node


async def down_of(ref: MonitorRef) -> Down:
    """The Down of a monitor, which must come."""
    down = await ref.wait(timeout=20)
    assert down is not None, f"{ref} did not fire"
    return down


async def ended(node: Node, pid: Pid) -> Any:
    """Wait until an actor has ended; its reason (noproc if it was gone before)."""
    async with node.attach() as me:
        return (await down_of(me.monitor(pid))).reason


def inside(pid: Pid) -> Process:
    """The runtime's record of a live actor."""
    process = pid._process
    assert process is not None, f"{pid} is dead"
    return process
