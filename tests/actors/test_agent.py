"""``Agent``: functions that run where the value lives."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of
from wsactors.actors import UNHANDLED, Agent, Crash, Stop, call, cast
from wsactors.errors import CallExit, CallTimeout, StartError
from wsactors.supervision.node import Node


async def test_get_update_and_both_in_one_step(node: Node) -> None:
    agent = await node.spawn(Agent, dict, {"ada": 1})

    assert await Agent.get(agent, len) == 1
    await Agent.update(agent, lambda votes, name: votes | {name: 2}, "bob")
    assert await Agent.get_and_update(agent, lambda votes: (votes["bob"], votes | {"bob": 3})) == 2
    assert await Agent.get(agent, lambda votes: votes) == {"ada": 1, "bob": 3}


async def test_casts_are_done_in_order_before_a_later_get(node: Node) -> None:
    agent = await node.spawn(Agent, list)
    for number in range(200):
        assert Agent.cast(agent, lambda log, n: [*log, n], number)

    assert await Agent.get(agent, lambda log: log) == list(range(200))


async def test_an_agent_by_name_and_an_async_start(node: Node, autojump_clock: Any) -> None:
    async def slow_start(value: int) -> int:
        await trio.sleep(1)
        return value

    await node.spawn(Agent, slow_start, 7, name="seven")

    assert await Agent.get("seven", lambda value: value) == 7


async def test_async_functions_wait_one_at_a_time(node: Node, autojump_clock: Any) -> None:
    agent = await node.spawn(Agent, int)

    async def slowly_increment(value: int) -> int:
        await trio.sleep(1)
        return value + 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(Agent.update, agent, slowly_increment)
    Agent.cast(agent, slowly_increment)
    assert await Agent.get(agent, lambda value: value) == 4
    assert trio.current_time() >= 4


async def test_a_function_that_raises_crashes_the_agent_and_not_the_caller(node: Node) -> None:
    async with node.attach() as me:
        agent, ref = await me.spawn(Agent, dict, monitor=True)
        with pytest.raises(CallExit) as failure:
            await Agent.get(agent, lambda votes: votes["nobody"])
        assert failure.value.reason == Crash("KeyError", "'nobody'")
        assert (await down_of(ref)).reason == failure.value.reason


async def test_the_value_survives_a_timed_out_caller(node: Node, autojump_clock: Any) -> None:
    agent = await node.spawn(Agent, int)

    async def slow(value: int) -> int:
        await trio.sleep(2)
        return value + 1

    with pytest.raises(CallTimeout):
        await Agent.update(agent, slow, timeout=1)
    assert await Agent.get(agent, lambda value: value) == 1


@pytest.mark.parametrize("value", [Stop("gotcha"), UNHANDLED])
async def test_a_value_that_looks_like_a_result_is_only_a_value(node: Node, value: Any) -> None:
    agent = await node.spawn(Agent, lambda: value)

    assert await Agent.get(agent, lambda held: held) is value
    assert await Agent.get_and_update(agent, lambda held: (held, held)) is value


async def test_a_wrong_shape_is_the_functions_fault(node: Node) -> None:
    agent = await node.spawn(Agent, int)
    with pytest.raises(CallExit, match="answer, new value"):
        await Agent.get_and_update(agent, lambda value: value)


async def test_a_failing_start_reaches_the_starter(node: Node) -> None:
    with pytest.raises(StartError, match="by zero"):
        await node.spawn(Agent, lambda: 1 // 0, name="broken")
    assert node.whereis("broken") is None


async def test_strangers_messages_crash_it_like_any_actor(node: Node) -> None:
    async with node.attach() as me:
        agent, ref = await me.spawn(Agent, int, monitor=True)
        cast(agent, "what")
        assert (await down_of(ref)).reason.type == "unhandled_cast"
        agent = await node.spawn(Agent, int)
        with pytest.raises(CallExit, match="unhandled_call"):
            await call(agent, "what")
