"""What ``TaskSupervisor.async_stream`` returns."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Literal, Self

import trio

from wsactors.actors.pid import Target
from wsactors.actors.task_supervisor import Outcome, Task, TaskSupervisor
from wsactors.errors import CallTimeout

END: Final = object()


class TaskStream:
    """Outcomes of ``fn(item)`` over many items, a bounded number at a time. Iterate once; ``aclose`` cancels what still runs."""

    def __init__(
        self,
        supervisor: Target,
        items: Iterable[Any] | AsyncIterable[Any],
        fn: Callable[[Any], Awaitable[Any]],
        max_concurrency: int,
        ordered: bool,
        timeout: float | None,
        on_timeout: Literal["exit", "kill_task"],
    ) -> None:
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, got {max_concurrency}")
        if on_timeout not in ("exit", "kill_task"):
            raise ValueError(f"on_timeout is 'exit' or 'kill_task', got {on_timeout!r}")
        self._supervisor = supervisor
        self._items: Iterator[Any] | AsyncIterator[Any] = (
            items.__aiter__() if isinstance(items, AsyncIterable) else iter(items)
        )
        self._fn = fn
        self._max = max_concurrency
        self._ordered = ordered
        self._timeout = timeout
        self._exit = on_timeout == "exit"
        self._running: dict[Task, None] = {}
        """Those whose outcome has not been handed out, oldest first."""
        self._ended: deque[Task] = deque()
        self._wake = trio.Event()
        self._exhausted = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has unwound."""
        self._exhausted = True
        running = list(self._running)
        for task in running:
            task.cancel()
        self._running.clear()
        self._ended.clear()
        for task in running:
            await task.wait()

    async def __anext__(self) -> Outcome:
        try:
            await self._fill()
            outcome = await self._next()
        except BaseException:
            # Cancelled, a failing iterable, no supervisor: what was started for nobody any more is not left running.
            self._exhausted = True
            for task in self._running:
                task.cancel()
            raise
        if outcome is None:
            raise StopAsyncIteration
        if self._exit and not outcome.ok and outcome.value == "timeout":
            await self.aclose()
            raise CallTimeout(getattr(self._fn, "__qualname__", self._fn))
        return outcome

    async def _fill(self) -> None:
        while not self._exhausted and len(self._running) < self._max:
            item = await self._item()
            if item is END:
                self._exhausted = True
                return
            task = await TaskSupervisor.async_nolink(self._supervisor, self._fn, item, time_limit=self._timeout)
            self._running[task] = None
            if not task.done:
                task._on_end = self._one_ended
            else:
                self._one_ended(task)

    async def _item(self) -> Any:
        if isinstance(self._items, AsyncIterator):
            return await anext(self._items, END)
        return next(self._items, END)

    def _one_ended(self, task: Task) -> None:
        self._ended.append(task)
        self._wake.set()

    async def _next(self) -> Outcome | None:
        if not self._running:
            await trio.lowlevel.checkpoint()
            return None
        if self._ordered:
            task = next(iter(self._running))
            await task.wait()
        else:
            while not self._ended:
                self._wake = trio.Event()
                await self._wake.wait()
            await trio.lowlevel.checkpoint()
            task = self._ended.popleft()
        del self._running[task]
        return task.outcome
