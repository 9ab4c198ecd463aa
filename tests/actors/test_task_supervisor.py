"""``TaskSupervisor``: tasks that fail alone, are bounded, and end with their supervisor."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of, inside
from wsactors.actors import Crash, Outcome, Pid, TaskSupervisor, call, cast
from wsactors.errors import CallExit, CallTimeout, ChildError, NoProcess
from wsactors.supervision.node import Node


@pytest.fixture
async def tasks(node: Node) -> Pid:
    return await node.spawn(TaskSupervisor)  # type: ignore[no-any-return]


async def double(number: int) -> int:
    await trio.sleep(number)
    return number * 2


async def fail() -> None:
    raise LookupError("gone")


class TestAsyncNolink:
    async def test_the_handle_gives_the_value(self, tasks: Pid, autojump_clock: Any) -> None:
        task = await TaskSupervisor.async_nolink(tasks, double, 2)

        assert not task.done
        assert await task.result() == 4
        assert task.done
        assert await task.result(timeout=0) == 4

    async def test_a_failure_is_told_to_who_asks_and_hurts_nobody(self, node: Node, autojump_clock: Any) -> None:
        async with node.attach() as me:
            tasks, ref = await me.spawn(TaskSupervisor, monitor=True, link=True)
            other = await TaskSupervisor.async_nolink(tasks, double, 3)
            task = await TaskSupervisor.async_nolink(tasks, fail)
            with pytest.raises(CallExit) as failure:
                await task.result()
            assert failure.value.reason == Crash("LookupError", "gone")
            assert await other.result() == 6
            assert ref.active
            assert len(inside(me.pid)) == 0

    async def test_a_nursery_around_one_error_counts_as_that_error(self, tasks: Pid, autojump_clock: Any) -> None:
        async def nested() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)

        task = await TaskSupervisor.async_nolink(tasks, nested)
        with pytest.raises(CallExit) as failure:
            await task.result()
        assert failure.value.reason == Crash("LookupError", "gone")

    async def test_impatience_ends_the_wait_not_the_task(self, tasks: Pid, autojump_clock: Any) -> None:
        task = await TaskSupervisor.async_nolink(tasks, double, 10)
        with pytest.raises(CallTimeout):
            await task.result(timeout=1)
        assert await task.wait(timeout=1) is None
        assert await task.result(timeout=20) == 20

    async def test_cancel_ends_the_task_with_a_reason(self, tasks: Pid, autojump_clock: Any) -> None:
        unwound = trio.Event()

        async def long() -> None:
            try:
                await trio.sleep_forever()
            finally:
                unwound.set()

        task = await TaskSupervisor.async_nolink(tasks, long)
        assert task.cancel("enough")
        assert await task.wait() == Outcome(False, "enough")
        assert unwound.is_set()
        assert not task.cancel()

    async def test_a_time_limit_ends_the_task(self, tasks: Pid, autojump_clock: Any) -> None:
        task = await TaskSupervisor.async_nolink(tasks, trio.sleep_forever, time_limit=3)
        with pytest.raises(CallTimeout):
            await task.result(timeout=10)
        assert trio.current_time() == pytest.approx(3, abs=0.1)

    async def test_a_tasks_own_timeout_is_not_taken_for_the_limit(self, tasks: Pid, autojump_clock: Any) -> None:
        async def impatient() -> None:
            with trio.fail_after(1):
                await trio.sleep_forever()

        task = await TaskSupervisor.async_nolink(tasks, impatient, time_limit=100)
        with pytest.raises(CallExit) as failure:
            await task.result()
        assert failure.value.reason.type == "TooSlowError"

    async def test_max_children_is_a_limit_at_every_moment(self, node: Node, autojump_clock: Any) -> None:
        tasks = await node.spawn(TaskSupervisor, kwargs={"max_children": 2})
        first = await TaskSupervisor.async_nolink(tasks, double, 1)
        await TaskSupervisor.async_nolink(tasks, double, 5)
        with pytest.raises(ChildError) as refused:
            await TaskSupervisor.async_nolink(tasks, double, 1)
        assert refused.value.reason == "max_children"
        await first.result()
        assert await (await TaskSupervisor.async_nolink(tasks, double, 1)).result() == 2

    async def test_no_supervisor(self, node: Node, autojump_clock: Any) -> None:
        with pytest.raises(NoProcess):
            await TaskSupervisor.async_nolink("nobody", double, 1)


class TestStartChild:
    async def test_failures_are_counted(self, tasks: Pid, autojump_clock: Any) -> None:
        for _ in range(3):
            await TaskSupervisor.start_child(tasks, fail)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(tasks).actor.failures == 3
        assert await TaskSupervisor.children(tasks) == []


class TestShutdown:
    async def test_shutdown_cancels_newest_first_one_after_the_other(self, node: Node, autojump_clock: Any) -> None:
        log: list[Any] = []

        async def worker(number: int) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    log.append(("cancelled", number))
                    await trio.sleep(1)
                    log.append(("unwound", number))

        tasks = await node.spawn(TaskSupervisor)
        handles = [await TaskSupervisor.async_nolink(tasks, worker, number) for number in range(3)]
        async with node.attach() as me:
            ref = me.monitor(tasks)
            node.keeper.exit(tasks, "shutdown")
            assert (await down_of(ref)).reason == "shutdown"
        assert log == [(what, number) for number in (2, 1, 0) for what in ("cancelled", "unwound")]
        assert {handle.outcome for handle in handles} == {Outcome(False, "shutdown")}

    async def test_a_task_that_will_not_end_delays_shutdown_no_longer_than_allowed(
        self, node: Node, autojump_clock: Any
    ) -> None:
        async def stubborn() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1_000)

        tasks = await node.spawn(TaskSupervisor, kwargs={"shutdown": 2})
        task = await TaskSupervisor.async_nolink(tasks, stubborn)
        async with node.attach() as me:
            ref = me.monitor(tasks)
            start = trio.current_time()
            node.keeper.exit(tasks, "shutdown")
            await down_of(ref)
        # 2 s of patience, then kill_grace (5 s), then it is a zombie.
        assert trio.current_time() - start == pytest.approx(7, abs=0.1)
        assert task.outcome == Outcome(False, "shutdown")
        assert node.sched.zombies == 1

    async def test_kill_ends_all_at_once(self, node: Node, tasks: Pid, autojump_clock: Any) -> None:
        handles = [await TaskSupervisor.async_nolink(tasks, trio.sleep_forever) for _ in range(3)]
        node.exit(tasks, "kill")
        for handle in handles:
            with pytest.raises(CallExit) as failure:
                await handle.result()
            assert failure.value.reason == "killed"

    async def test_a_crashing_supervisor_takes_its_tasks_along(self, tasks: Pid, autojump_clock: Any) -> None:
        handle = await TaskSupervisor.async_nolink(tasks, trio.sleep_forever)
        with pytest.raises(CallExit):
            await call(tasks, "nonsense")
        outcome = await handle.wait(timeout=20)
        assert outcome == Outcome(False, Crash("unhandled_call", "'nonsense'"))


class TestAsyncStream:
    async def test_ordered(self, tasks: Pid, autojump_clock: Any) -> None:
        stream = TaskSupervisor.async_stream(tasks, [3, 1, 2], double)
        assert [outcome.value async for outcome in stream] == [6, 2, 4]
        assert trio.current_time() == pytest.approx(3, abs=0.1)

    async def test_unordered_gives_them_as_they_end(self, tasks: Pid, autojump_clock: Any) -> None:
        stream = TaskSupervisor.async_stream(tasks, [3, 1, 2], double, ordered=False)
        assert [outcome.value async for outcome in stream] == [2, 4, 6]

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_never_more_than_max_concurrency(self, tasks: Pid, ordered: bool, autojump_clock: Any) -> None:
        running = peak = 0

        async def measure(number: int) -> int:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await trio.sleep(number % 3)
            running -= 1
            return number

        stream = TaskSupervisor.async_stream(tasks, range(40), measure, max_concurrency=4, ordered=ordered)
        values = [outcome.unwrap() async for outcome in stream]
        assert sorted(values) == list(range(40))
        assert peak == 4

    async def test_the_items_are_taken_only_as_needed(self, tasks: Pid, autojump_clock: Any) -> None:
        taken = 0

        def endless() -> Any:
            nonlocal taken
            while True:
                taken += 1
                yield 1

        async with TaskSupervisor.async_stream(tasks, endless(), double, max_concurrency=3) as outcomes:
            async for outcome in outcomes:
                assert outcome.value == 2
                break
        assert taken <= 4
        assert await TaskSupervisor.children(tasks) == []

    async def test_async_items(self, tasks: Pid, autojump_clock: Any) -> None:
        send_channel, receive_channel = trio.open_memory_channel[int](5)
        for number in (1, 2):
            send_channel.send_nowait(number)
        send_channel.close()
        stream = TaskSupervisor.async_stream(tasks, receive_channel, double)
        assert [outcome.value async for outcome in stream] == [2, 4]

    async def test_a_failing_item_is_an_outcome(self, tasks: Pid, autojump_clock: Any) -> None:
        async def divide(number: int) -> float:
            return 6 / number

        stream = TaskSupervisor.async_stream(tasks, [3, 0, 2], divide)
        outcomes = [outcome async for outcome in stream]
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert outcomes[1].value.type == "ZeroDivisionError"

    async def test_kill_task_makes_a_timeout_an_outcome(self, tasks: Pid, autojump_clock: Any) -> None:
        stream = TaskSupervisor.async_stream(tasks, [1, 9, 2], double, timeout=3, on_timeout="kill_task")
        assert [(outcome.ok, outcome.value) async for outcome in stream] == [(True, 2), (False, "timeout"), (True, 4)]

    async def test_exit_raises_and_cancels_the_others(self, tasks: Pid, autojump_clock: Any) -> None:
        seen = []
        with pytest.raises(CallTimeout):
            async for outcome in TaskSupervisor.async_stream(tasks, [1, 9, 8], double, timeout=3):
                seen.append(outcome.value)  # noqa: PERF401 - what came before the exception counts
        assert seen == [2]
        assert await TaskSupervisor.children(tasks) == []

    async def test_a_cancelled_consumer_leaves_no_tasks(self, tasks: Pid, autojump_clock: Any) -> None:
        with trio.move_on_after(1):
            async for _ in TaskSupervisor.async_stream(tasks, [50, 60, 70], double, timeout=None):
                pass
        await trio.testing.wait_all_tasks_blocked()
        assert await TaskSupervisor.children(tasks) == []

    async def test_a_full_supervisor_fails_the_stream_and_cancels_its_tasks(
        self, node: Node, autojump_clock: Any
    ) -> None:
        tasks = await node.spawn(TaskSupervisor, kwargs={"max_children": 2})
        with pytest.raises(ChildError):
            async for _ in TaskSupervisor.async_stream(tasks, [5, 5, 5], double, timeout=None):
                pass
        await trio.testing.wait_all_tasks_blocked()
        assert await TaskSupervisor.children(tasks) == []

    @pytest.mark.parametrize("wrong", [{"max_concurrency": 0}, {"on_timeout": "ignore"}])
    async def test_wrong_options_are_refused_before_anything_starts(
        self, tasks: Pid, wrong: dict[str, Any], autojump_clock: Any
    ) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TaskSupervisor.async_stream(tasks, [], double, **wrong)


async def test_a_task_acts_for_its_supervisor_and_may_call_it(node: Node, tasks: Pid, autojump_clock: Any) -> None:
    """A task's identity is the actor's, but it is not the actor's handler: a call to it is no deadlock."""

    async def ask() -> int:
        return len(await TaskSupervisor.children(tasks))

    task = await TaskSupervisor.async_nolink(tasks, ask)
    assert await task.result() == 1


async def test_a_stranger_cast_crashes_it(node: Node, autojump_clock: Any) -> None:
    async with node.attach() as me:
        tasks, ref = await me.spawn(TaskSupervisor, monitor=True)
        cast(tasks, "what")
        assert (await down_of(ref)).reason.type == "unhandled_cast"
