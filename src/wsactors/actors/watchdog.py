"""The watchdog: a thread that sees which actor holds the loop while it holds it.

From inside the loop nobody can see that: a handler that computes, or blocks in a call that is no ``await``, stops every actor
of the node, its timers and the program around it. The thread looks every half ``threshold``. While the loop waits for events
there is nothing to do. Otherwise it hands the loop a token to give back; a loop that has not done so ``threshold`` seconds later
is held, and the stack of its thread says by whom. (A pause of the garbage collector counts against whoever ran into it.) The
same looks, counted, are the actors' sampled share of the loop's time.

It is on in embedded nodes too: it is a daemon thread of one node, changes nothing global, costs about a tenth of a percent of a
core, and what it reports is the one mistake that everybody makes once. ``Node(watchdog=None)`` does without.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from wsactors.actors import stacks, tasks
from wsactors.actors.log import log
from wsactors.actors.redact import safe_text

if TYPE_CHECKING:
    from wsactors.actors.process import Process
    from wsactors.actors.scheduler import Scheduler

LOGGER: Final = "wsactors.watchdog"
THRESHOLD: Final = 0.05
"""Seconds of a held loop that are reported: some audio is late by then."""
WINDOW: Final = 400
"""Looks that make a share: ten seconds of them at the default threshold."""
AGAIN: Final = 10.0
"""A hold is reported again when it has grown so many times as long; and the same handler, at most once in so many seconds."""
STACK: Final = 4_000


@attrs.frozen
class HoldReport:
    """A held loop. Texts, secrets redacted."""

    node: str
    pid: str
    """Of the actor whose code holds the loop; empty if the code is no actor's."""
    names: tuple[str, ...]
    cls: str
    handler: str
    """The function of the actor (or task) that holds the loop."""
    seconds: float
    """How long so far, at least."""
    cpu: float | None
    """Seconds of them in which it computed; the rest it waited, in a blocking call. None where the system cannot tell."""
    stack: str
    more: int
    """Holds by the same handler since the last report, which were not reported."""


def log_hold(report: HoldReport) -> None:
    """The default sink: one ``watchdog.loop_held`` event on the logger ``wsactors.watchdog``."""
    fields = attrs.asdict(report)
    fields["names"] = " ".join(report.names)
    fields["seconds"] = round(report.seconds, 3)
    fields["cpu"] = None if report.cpu is None else round(report.cpu, 3)
    log(
        LOGGER,
        "warning",
        "watchdog.loop_held",
        **{name: value for name, value in fields.items() if value not in ("", 0)},
    )


class _Token:
    """Handed to the loop; ``back`` when it has been there."""

    __slots__ = ("back", "cpu", "holder", "mixed", "since", "tell_at", "told")

    def __init__(self, now: float, cpu: float | None, holder: Process | None, threshold: float) -> None:
        self.back = False
        self.since = now
        self.cpu = cpu
        self.holder = holder
        self.mixed = False
        """Several actors took turns in one step of the loop: none of them alone holds it."""
        self.tell_at = threshold
        self.told = False

    def give_back(self) -> None:
        self.back = True


class Watchdog:
    """One node's watchdog. ``sink`` is called in its thread, while the loop is held."""

    def __init__(
        self, sched: Scheduler, threshold: float = THRESHOLD, sink: Callable[[HoldReport], Any] = log_hold
    ) -> None:
        if not 0.001 <= threshold <= 3600:
            raise ValueError(f"watchdog must be seconds from 0.001 to 3600, or None for none, got {threshold!r}")
        self.threshold = threshold
        self.sink = sink
        self.holds = 0
        """Times the loop was held longer than ``threshold``, reported or not."""
        self.recent: deque[HoldReport] = deque(maxlen=20)
        self._sched = sched
        self._looks: deque[int] = deque()
        self._counts: Counter[int] = Counter()
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop = 0
        self._clock: int | None = None
        self._cpu: float | None = None
        self._progress = self._progress_before = 0
        self._token: _Token | None = None
        self._trio: trio.lowlevel.TrioToken

    def start(self) -> None:
        """Watch the calling thread's loop."""
        self._trio = trio.lowlevel.current_trio_token()
        self._loop = threading.get_ident()
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(self._loop)
        name = f"wsactors watchdog {self._sched.home.name}"
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; at most half a second, should it be busy writing a report."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.5)

    def shares(self) -> dict[int, float]:
        """By pid serial, the share of the last looks (0 to 1) that found the actor's code running.

        A loop that never rests, but asks for events every millisecond, lets the thread look only now and then: the interpreter
        gives its lock to a waiting thread after ``sys.getswitchinterval()`` without such a pause (5 ms unless set).
        """
        total = len(self._looks)
        return {serial: count / total for serial, count in dict(self._counts).items()} if total else {}

    # -- in the thread

    def _watch(self) -> None:
        pause = self.threshold / 2
        due = perf_counter() + pause
        while not self._stop.wait(pause):
            now = perf_counter()
            try:
                if not self._look(now, now - due):
                    return
            except (
                Exception
            ) as broken:  # a watchdog that fails must say so: else its silence would mean that all is well
                log(LOGGER, "error", "watchdog.failed", node=self._sched.home.name, error=safe_text(repr(broken)))
                return
            due = perf_counter() + pause

    def _look(self, now: float, late: float) -> bool:
        """One look; False when the loop has ended."""
        frame = sys._current_frames().get(self._loop)
        if frame is None:
            return False
        cpu_before, self._cpu = self._cpu, self._cpu_now()
        self._progress_before, self._progress = self._progress, self._sched.progress()
        if _asks_for_events(frame):
            self._token = None
            self._count(self._recent(frame))
            return True
        frames = stacks.running(frame)
        holder, foreign = self._holder(frames)
        self._count(0 if holder is None else holder.pid.serial)
        token = self._token
        if token is None or token.back:
            if holder is not None and late > self.threshold and self._stood_still(late, _spent(cpu_before, self._cpu)):
                # This thread could not run either: C code has held the interpreter lock.
                self._report(holder, frames, late, late)
            token = self._token = _Token(now, self._cpu, holder, self.threshold)
            try:
                self._trio.run_sync_soon(token.give_back)
            except trio.RunFinishedError:
                return False
            return True
        if holder is not token.holder:
            token.mixed = True
        held = now - token.since
        if held >= token.tell_at and not foreign and (not token.mixed or held >= AGAIN * self.threshold):
            token.tell_at = held * AGAIN
            spent = None if token.cpu is None or self._cpu is None else min(held, self._cpu - token.cpu)
            self._report(None if token.mixed else holder, frames, held, spent, again=token.told)
            token.told = True
        return True

    def _stood_still(self, late: float, spent: float) -> bool:
        """Whether the loop computed for all that time without a step; a busy machine may have delayed this thread alone."""
        return self._progress - self._progress_before <= 1 and spent >= min(late, self.threshold)

    def _recent(self, frame: FrameType) -> int:
        """Who has just used the loop. Fair actors are hardly caught at it: a loop lets this thread in as it asks for events."""
        recent = self._sched.recent
        if recent is None or self._progress == self._progress_before or frame.f_locals.get("timeout", 1.0) > 0:
            return 0
        return recent.serial

    def _cpu_now(self) -> float | None:
        return None if self._clock is None else time.clock_gettime(self._clock)

    def _holder(self, frames: list[FrameType]) -> tuple[Process | None, bool]:
        """Whose code runs; and whether it is another node's actor, which has its own watchdog."""
        process = self._sched.current
        if process is not None:
            return process, False
        for frame in reversed(frames):
            if frame.f_code is tasks._run.__code__:
                process = frame.f_locals.get("process")
                if process is None:
                    return None, False
                return (process, False) if process.sched is self._sched else (None, True)
            if frame.f_code.co_name == "_shell" and frame.f_code.co_filename.endswith("/worker.py"):
                worker = frame.f_locals.get("self")
                return None, worker is not None and worker.sched is not self._sched
        return None, False

    def _count(self, serial: int) -> None:
        looks, counts = self._looks, self._counts
        looks.append(serial)
        if serial:
            counts[serial] += 1
        if len(looks) > WINDOW:
            old = looks.popleft()
            if old:
                counts[old] -= 1
                if not counts[old]:
                    del counts[old]

    def _report(
        self, holder: Process | None, frames: list[FrameType], seconds: float, cpu: float | None, *, again: bool = False
    ) -> None:
        self.holds += not again
        own = stacks.own(frames) or frames[-1:]
        cls = "" if holder is None else holder.kind.cls.__qualname__
        handler = own[0].f_code.co_qualname
        more = 0 if again else self._ration(cls, handler)
        if more is None:
            return
        extras = None if holder is None else holder.extras
        lines = (
            f"{stacks.where(f.f_code, stacks.line_of(f))[1]}\n    {stacks.source(f)}" for f in own[-stacks.FRAMES :]
        )
        report = HoldReport(
            node=self._sched.home.name,
            pid="" if holder is None else str(holder.pid),
            names=tuple(extras.names) if extras is not None and extras.names else (),
            cls=cls,
            handler=handler,
            seconds=seconds,
            cpu=cpu,
            stack=safe_text("\n".join(lines)[-STACK:]),
            more=more,
        )
        self.recent.append(report)
        self.sink(report)

    def _ration(self, cls: str, handler: str) -> int | None:
        """How many holds by this handler went unreported before this one; None if this one goes unreported too."""
        now = perf_counter()
        told_at, more = self._told.get((cls, handler), (0.0, 0))
        if told_at and now - told_at < AGAIN:
            self._told[cls, handler] = (told_at, more + 1)
            return None
        if len(self._told) > 1_000:
            self._told.clear()
        self._told[cls, handler] = (now, 0)
        return more


def _asks_for_events(frame: FrameType) -> bool:
    return frame.f_code.co_name == "get_events" and "_io_" in frame.f_code.co_filename


def _spent(before: float | None, now: float | None) -> float:
    return 0.0 if before is None or now is None else now - before
