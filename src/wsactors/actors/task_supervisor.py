"""``TaskSupervisor``: functions run for others, each in a task and scope of its own. Elixir's ``Task.Supervisor``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import trio

from wsactors.actors.actor import Actor
from wsactors.actors.calls import DEFAULT_TIMEOUT, call
from wsactors.actors.messages import UNHANDLED, Crash
from wsactors.actors.pid import Pid, Target
from wsactors.actors.tasks import split_cancelled
from wsactors.errors import CallExit, CallTimeout, ChildError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from wsactors.actors.requests import Request
    from wsactors.actors.task_stream import TaskStream

MAX_CHILDREN: Final = 10_000
SHUTDOWN: Final = 5.0

_numbers = count(1)


@attrs.frozen
class StartTask:
    """What a task supervisor is asked."""

    fn: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    timeout: float | None = None
    """Seconds after which the task is cancelled; its reason is then ``timeout``."""


@attrs.frozen
class Outcome:
    """How a task ended: ``ok`` and its value, or not ok and its exit reason."""

    ok: bool
    value: Any

    def unwrap(self, what: object = None) -> Any:
        """The value. Raises ``CallExit(reason)`` if there is none."""
        if self.ok:
            return self.value
        raise CallTimeout(what) if self.value == "timeout" else CallExit(self.value, what)


class Task:
    """The handle of one task of a ``TaskSupervisor``."""

    __slots__ = ("_done", "_on_end", "_request", "_scope", "_stopping", "number", "outcome")

    def __init__(self, request: StartTask) -> None:
        self.number = next(_numbers)
        self.outcome: Outcome | None = None
        """How it ended; None while it runs."""
        self._request = request
        self._done = trio.Event()
        self._scope = trio.CancelScope()
        self._stopping: Any = None
        self._on_end: Callable[[Task], None] | None = None

    def __repr__(self) -> str:
        state = "running" if self.outcome is None else "ok" if self.outcome.ok else f"failed: {self.outcome.value}"
        return f"<Task {self.number} {getattr(self._request.fn, '__qualname__', self._request.fn)} {state}>"

    @property
    def done(self) -> bool:
        """Whether ``result`` would return (or raise) at once."""
        return self.outcome is not None

    async def wait(self, timeout: float | None = None) -> Outcome | None:
        """How it ended; None if it still runs after ``timeout`` seconds. The task goes on all the same."""
        with trio.move_on_after(float("inf") if timeout is None else max(0.0, timeout)):
            await self._done.wait()
        return self.outcome

    async def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> Any:
        """What the function returned.

        Raises:
            CallExit: it raised (the reason is a ``Crash``), was cancelled (``shutdown``), or its supervisor ended.
            CallTimeout: it still runs after ``timeout`` seconds. It goes on: ask again, or ``cancel`` it.
        """
        outcome = await self.wait(timeout)
        if outcome is None:
            raise CallTimeout(self)
        return outcome.unwrap(self)

    def cancel(self, reason: Any = "shutdown") -> bool:
        """End it with ``reason``; False if it had ended. ``wait`` tells when it has unwound."""
        if self.outcome is not None:
            return False
        if self._stopping is None:
            self._stopping = reason
        self._scope.cancel()
        return True

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._done.set()
            if self._on_end is not None:
                self._on_end(self)

    async def _run(self) -> None:
        """Total but for what no actor may keep (KeyboardInterrupt, SystemExit) and a cancellation from outside."""
        request = self._request
        try:
            with self._scope, trio.move_on_after(float("inf") if request.timeout is None else request.timeout) as limit:
                self._end(Outcome(True, await request.fn(*request.args)))
        except BaseException as exc:
            cancelled, rest = split_cancelled(exc)
            if rest is not None:
                self._end(Outcome(False, Crash.of(rest)))
            if (cancelled and rest is None) or not isinstance(rest, Exception):
                raise
        else:
            if limit.cancelled_caught:
                self._end(Outcome(False, "timeout"))
            elif self._scope.cancelled_caught:
                self._end(Outcome(False, self._stopping))


class TaskSupervisor(Actor):
    """Runs functions for others. A failing one hurts neither the supervisor nor who started it: its handle tells.

    The tasks are tasks of this actor and end with it: newest first when it is shut down in order (each is waited for, all
    together at most ``shutdown`` seconds), at once when it is killed. ``max_children`` bounds how many run at a time.

    >>> tasks = await node.spawn(TaskSupervisor, 100)                 # doctest: +SKIP
    >>> task = await TaskSupervisor.async_nolink(tasks, fetch, url)  # doctest: +SKIP
    >>> page = await task.result(timeout=5)                          # doctest: +SKIP
    """

    __slots__ = ("_max", "_shutdown", "_tasks", "failures")

    def init(self, max_children: int = MAX_CHILDREN, shutdown: float = SHUTDOWN) -> None:
        if max_children < 1:
            raise ValueError(f"max_children must be at least 1, got {max_children}")
        self._max = max_children
        self._shutdown = shutdown
        self._tasks: OrderedDict[Task, None] = OrderedDict()
        self.failures = 0
        """How many tasks have failed so far."""
        extras = self._process.more()
        if extras.on_death is None:
            extras.on_death = OrderedDict()
        extras.on_death[self] = self._gone

    @staticmethod
    async def async_nolink(
        supervisor: Target, fn: Callable[..., Awaitable[Any]], *args: Any, time_limit: float | None = None
    ) -> Task:
        """Run ``await fn(*args)`` in a task of ``supervisor``; returns as soon as it is started.

        ``time_limit`` seconds bound the task itself. Its outcome does not reach the caller unless asked for.

        Raises:
            ChildError: ``max_children`` tasks run already.
            NoProcess, CallExit, MailboxFull: as ``call``.
        """
        answer = await call(supervisor, StartTask(fn, args, time_limit))
        if isinstance(answer, ChildError):
            raise answer
        task: Task = answer
        return task

    @staticmethod
    async def start_child(supervisor: Target, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """As ``async_nolink`` for a function whose outcome nobody asks for; failures are counted by the supervisor."""
        await TaskSupervisor.async_nolink(supervisor, fn, *args)

    @staticmethod
    def async_stream(
        supervisor: Target,
        items: Iterable[Any] | AsyncIterable[Any],
        fn: Callable[[Any], Awaitable[Any]],
        *,
        max_concurrency: int = 8,
        ordered: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
        on_timeout: Literal["exit", "kill_task"] = "exit",
    ) -> TaskStream:
        """Run ``fn(item)`` for every item, ``max_concurrency`` at a time; iterating gives each one's ``Outcome``.

        ``ordered``: in the order of the items, else as they end. A task that takes longer than ``timeout`` seconds is cancelled;
        then iteration raises ``CallTimeout`` and the others are cancelled (``exit``), or its outcome is
        ``Outcome(False, "timeout")`` (``kill_task``). To leave the loop early, use ``async with``: it cancels what still runs.

        >>> async with TaskSupervisor.async_stream(tasks, urls, fetch, max_concurrency=4) as outcomes:   # doctest: +SKIP
        ...     async for outcome in outcomes:
        ...         print(outcome.ok, outcome.value)
        """
        from wsactors.actors.task_stream import TaskStream

        return TaskStream(supervisor, items, fn, max_concurrency, ordered, timeout, on_timeout)

    @staticmethod
    async def children(supervisor: Target) -> list[Task]:
        """The running tasks, oldest first."""
        tasks: list[Task] = await call(supervisor, "children")
        return tasks

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case StartTask():
                return self._start(message)
            case "children":
                return list(self._tasks)
            case _:
                return UNHANDLED

    def _start(self, request: StartTask) -> Task | ChildError:
        if len(self._tasks) >= self._max:
            return ChildError("max_children", f"{self._max} tasks run already: wait for one, or raise max_children")
        task = Task(request)
        self._tasks[task] = None
        self.start_soon(self._supervise, task)
        return task

    async def _supervise(self, task: Task) -> None:
        try:
            await task._run()
        finally:
            self._tasks.pop(task, None)
            if task.outcome is None:
                task._end(Outcome(False, self._reason()))
            if not task.outcome.ok:  # type: ignore[union-attr]
                self.failures += 1

    def _reason(self) -> Any:
        """Why this actor's tasks are being cancelled."""
        extras = self._process.extras
        if extras is None or (extras.doom is None and extras.halt is None):
            return "shutdown"
        return extras.doom if extras.doom is not None else extras.halt.reason  # type: ignore[union-attr]

    def _gone(self, _: Pid) -> None:
        """The death step: whoever waits for a task that did not unwind in time waits no longer."""
        for task in list(self._tasks):
            task._end(Outcome(False, self._reason()))

    async def terminate(self, reason: Any) -> None:
        with trio.move_on_after(self._shutdown):
            while self._tasks:
                task = next(reversed(self._tasks))
                task.cancel(reason)
                await task.wait()
