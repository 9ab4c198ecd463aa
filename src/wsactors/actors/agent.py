"""``Agent``: a value in an actor, read and changed by functions that run there. Elixir's ``Agent``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import Any, Final, Literal

import attrs

from wsactors.actors.actor import Actor
from wsactors.actors.calls import DEFAULT_TIMEOUT, call, cast
from wsactors.actors.kind import is_async
from wsactors.actors.messages import UNHANDLED, Reply, Result
from wsactors.actors.pid import Target
from wsactors.actors.requests import Request
from wsactors.errors import BadResult

DONE: Final = "ok"


@attrs.frozen
class Work:
    """One function for an agent to run."""

    kind: Literal["get", "update", "get_and_update"]
    fn: Callable[..., Any]
    args: tuple[Any, ...]


class Agent(Actor):
    """Start it with a function that makes the first value; every operation sends it a function of the value.

    The functions run in the agent, one at a time, in order; plain ones should be short, ``async`` ones may wait. One that raises
    crashes the agent, as in Elixir, and the caller gets ``CallExit``.

    >>> agent = await node.spawn(Agent, dict)                        # doctest: +SKIP
    >>> await Agent.update(agent, lambda votes: votes | {"ada": 1})  # doctest: +SKIP
    >>> await Agent.get(agent, len)                                  # doctest: +SKIP
    1
    """

    __slots__ = ("_value",)

    _value: Any

    async def init(self, fn: Callable[..., Any], *args: Any) -> None:
        """``fn(*args)``, plain or ``async``, makes the value."""
        value = fn(*args)
        self._value = await value if inspect.isawaitable(value) else value

    @staticmethod
    async def get(agent: Target, fn: Callable[..., Any], *args: Any, timeout: float | None = DEFAULT_TIMEOUT) -> Any:
        """``fn(value, *args)``, computed in the agent. Raises as ``call`` does."""
        return await call(agent, Work("get", fn, args), timeout)

    @staticmethod
    async def update(
        agent: Target, fn: Callable[..., Any], *args: Any, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Replace the value by ``fn(value, *args)``, and wait until that is done. Raises as ``call`` does."""
        await call(agent, Work("update", fn, args), timeout)

    @staticmethod
    async def get_and_update(
        agent: Target, fn: Callable[..., Any], *args: Any, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Any:
        """``fn(value, *args)`` returns ``(answer, new value)``: the answer, in one step with the change. Raises as ``call``."""
        return await call(agent, Work("get_and_update", fn, args), timeout)

    @staticmethod
    def cast(agent: Target, fn: Callable[..., Any], *args: Any) -> bool:
        """As ``update`` without waiting; like every cast it is False for a dead or full agent, and never raises."""
        return cast(agent, Work("update", fn, args))

    def handle_call(self, message: Any, caller: Request) -> Any:
        return self._work(message) if isinstance(message, Work) else UNHANDLED

    def handle_cast(self, message: Any) -> Any:
        if not isinstance(message, Work):
            return UNHANDLED
        done = self._work(message)
        return self._quietly(done) if type(done) is CoroutineType else None

    async def _quietly(self, coroutine: Any) -> None:
        await coroutine

    def _work(self, work: Work) -> Any:
        if is_async(work.fn):
            return self._later(work, partial(work.fn, self._value, *work.args))
        result = work.fn(self._value, *work.args)
        return self._later(work, lambda: result) if type(result) is CoroutineType else self._keep(work, result)

    async def _later(self, work: Work, begin: Callable[[], Any]) -> Any:
        return self._keep(work, await begin())

    def _keep(self, work: Work, result: Any) -> Any:
        match work.kind, result:
            case "get", _:
                return _answer(result)
            case "update", _:
                self._value = result
                return DONE
            case _, (answer, value):
                self._value = value
                return _answer(answer)
            case _:
                raise BadResult(
                    f"a get_and_update function returns (answer, new value), not {type(result).__qualname__}"
                )


def _answer(value: Any) -> Any:
    """``value`` as a reply, also when it happens to look like a result of the actor."""
    return Reply(value) if isinstance(value, Result) or value is UNHANDLED else value
