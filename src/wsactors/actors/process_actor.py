"""Process-style actors: loops by nature, with a task of their own; and tasks of others that borrow a mailbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, checkpoint, current_task, wait_task_rescheduled

from wsactors.actors.actor import BaseActor
from wsactors.actors.kind import Kind
from wsactors.actors.mailbox import take_first, taken
from wsactors.actors.messages import Stop
from wsactors.actors.process import DEAD, EMPTY, LIMITS, SIGNAL, SUSPENDED, TRACED, Extras, Process
from wsactors.actors.requests import Cast, Request
from wsactors.errors import NoProcess


class Receiver(BaseActor):
    """Who reads its mailbox itself, with ``receive``."""

    __slots__ = ()

    _is_task: ClassVar[bool] = True

    async def receive(self, match: Callable[[Any], bool] | None = None, timeout: float | None = None) -> Any:
        """The oldest message that ``match`` accepts (default: any); others stay, in order, for a later ``receive``.

        A call arrives as a ``Request``: answer it with ``reply(request, value)``; its question is ``request.message``.
        Cancellation never loses or doubles a message.

        Raises:
            trio.TooSlowError: nothing matched within ``timeout`` seconds. With ``timeout=0`` it only looks.
        """
        if timeout is None:
            return await self._receive(match)
        if timeout <= 0:
            await checkpoint()
            message = _take(self._process, match)
            if message is NOTHING:
                raise trio.TooSlowError
            return _received(self._process, message)
        with trio.fail_after(timeout):
            return await self._receive(match)

    async def _receive(self, match: Callable[[Any], bool] | None) -> Any:
        process = self._process
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while (message := _take(process, match)) is NOTHING:
            if process.flags & DEAD:
                raise NoProcess(process.pid)
            extras = process.more()
            if extras.waiter is not None:
                raise trio.BusyResourceError("another task already receives for this actor")
            extras.waiter = current_task()

            def abort(_: RaiseCancelT, extras: Extras = extras) -> Abort:
                extras.waiter = None
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
            waited = True
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return _received(process, message)


NOTHING: Final = object()


def _received(process: Process, message: Any) -> Any:
    process.handled += 1
    extras = process.extras
    if extras is not None:
        extras.last = message
        if message.__class__ is Request and message.waiting:
            # It is owed an answer: if the actor ends without one, its death gives it.
            if extras.outstanding is None:
                extras.outstanding = {}
            extras.outstanding[message] = None
        if process.flags & TRACED:
            for trace in extras.tracers:
                trace("receive", message)
    return message


def _take(process: Process, match: Callable[[Any], bool] | None) -> Any:
    while True:
        if process.flags & (SIGNAL | SUSPENDED):
            extras = process.extras
            process.flags &= ~SIGNAL
            while extras is not None and extras.control:
                extras.control.popleft()()
            if process.flags & SUSPENDED:
                return NOTHING
        process.spill()
        if not process.box and not process.front:
            return NOTHING
        if match is not None:
            message = take_first(process, lambda queued: match(_content(queued)), NOTHING)
            if message is NOTHING:
                return NOTHING
        else:
            if not process.front:
                process.front = process.box
                process.box = EMPTY
                process.front.reverse()
            message = process.front.pop()
            if process.flags & LIMITS:
                message = taken(process, message)
        if message.__class__ is Request and not message.waiting and process.kind.skip_abandoned:
            continue
        return _content(message)


def _content(message: Any) -> Any:
    return message.message if message.__class__ is Cast else message


class ProcessActor(Receiver):
    """An actor that is a loop: a socket reader, a render clock. ``run`` is its body, in a task of its own.

    It ends ``normal`` when ``run`` returns (or with the reason of the ``Stop`` it returns) and crashes with what ``run`` raises,
    or if it returns anything else. An untrapped exit cancels it; clean up in ``finally`` (await there only under a shielded
    scope). Exits it traps arrive through ``receive`` like any message.

    >>> class Echo(ProcessActor):
    ...     async def run(self) -> None:
    ...         while True:
    ...             request = await self.receive()
    ...             reply(request, request.message)
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._kind = Kind(cls, ProcessActor)

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Set up; may return None, ``Ignore()`` or ``Stop(reason)``. The starter waits for it; ``run`` starts after it."""
        return None

    async def run(self) -> Stop | None:
        """The body. Return ``Stop(reason)`` to end with another reason than ``normal``."""
        raise TypeError(f"{type(self).__qualname__} must define `async def run(self)`")

    def handle_call(self, message: Any, caller: Request) -> Any:
        """Not used: calls arrive through ``receive``."""
        raise TypeError("a process-style actor receives calls through receive()")

    def terminate(self, reason: Any) -> Any:
        """Not used: clean up in ``run``'s ``finally``."""
        return None


ProcessActor._kind = Kind(ProcessActor, ProcessActor)


class Attached(Receiver):
    """A mailbox lent to a task that is no actor: ``async with node.attach() as me``. It traps exits."""

    __slots__ = ()

    trap_exit = True
    _lasting: ClassVar[bool] = True

    init = ProcessActor.init
    handle_call = ProcessActor.handle_call
    terminate = ProcessActor.terminate


Attached._kind = Kind(Attached, ProcessActor)
