"""Stopping children, by OTP's protocol: monitor, ask (``"shutdown"``), wait, kill, wait.

A monitor and not the link tells of the end, because a child may have unlinked itself: it must not hang its supervisor.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from math import inf
from time import perf_counter
from typing import Any, Final

import trio

from wsactors.actors import Actor, Down, Exit, MonitorRef, Pid
from wsactors.actors.mailbox import take_all, take_first
from wsactors.supervision import reports
from wsactors.supervision.policy import stopped_well
from wsactors.supervision.reports import report
from wsactors.supervision.spec import ChildSpec, Shutdown

__all__ = ["Crowd", "stop_child"]

SLICE: Final = 0.0005
"""Seconds of work before other tasks get a turn; what one tick of the loop adds to it must fit into 2 ms."""
UNDER_WAY: Final = 4_096
"""More than so many children on their way out, and those to come are asked a little later, ..."""
BREATHS: Final = 8
"""... by so many turns of the loop per slice: a dict that grows to 100,000 entries holds the loop for milliseconds."""


async def stop_child(supervisor: Actor, pid: Pid, spec: ChildSpec) -> None:
    """Stop one child; returns when it is gone. Reports an end other than the one it was asked for."""
    ref = supervisor.monitor(pid)
    down = None
    if spec.shutdown != "brutal_kill":
        supervisor.exit(pid, "shutdown")
        down = await ref.wait(None if spec.shutdown == "infinity" else spec.shutdown)
    if down is None:
        supervisor.exit(pid, "kill")
        down = await ref.wait()
    reason = _reason_of_exit(supervisor, pid) if down is None or down.reason == "noproc" else down.reason
    if reason is not None and not stopped_well(spec.restart, spec.shutdown, reason):
        fields = {"child": spec.id, "pid": pid, "reason": reason, "shutdown": spec.shutdown}
        report(reports.CHILD_STOP_FAILED, supervisor=supervisor.pid, **fields)


def _reason_of_exit(supervisor: Actor, pid: Pid) -> Any:
    """Why a child ended that was dead before it was monitored: its Exit is queued.

    None if it had unlinked itself, or died only just now, so that its Exit is still on its way.
    """
    found = take_first(supervisor._process, lambda message: message.__class__ is Exit and message.pid is pid)
    return None if found is None else found.reason


class Crowd:
    """Stops many children at once: all are asked together, and each has its own time to comply.

    It works in slices, so that stopping 100,000 never holds the loop. Ends that went wrong are reported by class and reason,
    with a count, not one by one.
    """

    def __init__(self, supervisor: Actor) -> None:
        self._supervisor = supervisor
        self._waiting: dict[MonitorRef, ChildSpec] = {}
        self._buckets: dict[Shutdown, deque[MonitorRef]] = {}
        """Those that were not dead at once, by their time-out."""
        self._wrong: Counter[tuple[str, str]] = Counter()
        self._until = 0.0

    async def stop(self, children: Iterable[tuple[Pid, ChildSpec]]) -> None:
        """Returns when all are gone."""
        began = trio.current_time()
        self._until = perf_counter() + SLICE
        for pid, spec in children:
            self._ask(pid, spec)
            await self._breathe()
        for shutdown in sorted(self._buckets, key=_seconds):
            bucket = self._buckets[shutdown]
            await self._drain(bucket, began + _seconds(shutdown))
            for late in bucket:
                assert isinstance(late.target, Pid)
                self._supervisor.exit(late.target, "kill")
                await self._breathe()
            await self._drain(bucket, inf)
        for (cls, reason), count in self._wrong.items():
            fields = {"child": cls, "reason": reason, "count": count}
            report(reports.CHILD_STOP_FAILED, supervisor=self._supervisor.pid, **fields)

    def _ask(self, pid: Pid, spec: ChildSpec) -> None:
        supervisor = self._supervisor
        supervisor.exit(pid, "kill" if spec.shutdown == "brutal_kill" else "shutdown")
        # Most are idle and trap nothing: they are dead by now. No await lies between, so no reason gets lost.
        if pid._process is not None:
            ref = supervisor.monitor(pid)
            self._waiting[ref] = spec
            self._buckets.setdefault(spec.shutdown, deque()).append(ref)

    async def _drain(self, bucket: deque[MonitorRef], deadline: float) -> None:
        """Wait for all of ``bucket``, but not beyond ``deadline`` (seconds of the trio clock); those left are late.

        It is emptied one by one: 100,000 references let go at once would hold the loop.
        """
        while bucket:
            ref = bucket[0]
            if ref in self._waiting:
                left = deadline - trio.current_time()
                down = await ref.wait(None if left == inf else max(0.0, left))
                if down is None:
                    return
                self._gone(down)
                self._sweep()
            bucket.popleft()
            await self._breathe()

    def _gone(self, down: Down) -> None:
        spec = self._waiting.pop(down.ref, None)
        if spec is not None and not stopped_well(spec.restart, spec.shutdown, down.reason):
            self._wrong[spec.start.__qualname__, str(down.reason)[:200]] += 1

    def _sweep(self) -> None:
        """Take the notices of children that have ended out of the mailbox: each is looked at once, however many there are."""
        for message in take_all(self._supervisor._process, _is_notice):
            if message.__class__ is Down:
                self._gone(message)

    async def _breathe(self) -> None:
        if perf_counter() < self._until:
            return
        for _ in range(BREATHS):
            await trio.lowlevel.checkpoint()
            self._sweep()
            if len(self._waiting) < UNDER_WAY:
                break
        self._until = perf_counter() + SLICE


def _is_notice(message: Any) -> bool:
    return message.__class__ is Down or message.__class__ is Exit


def _seconds(shutdown: Shutdown) -> float:
    return shutdown if isinstance(shutdown, int | float) else inf
