"""OTP's ``sys``, here: state, suspend, trace and statistics of live actors, through full mailboxes and past blocked handlers."""

from __future__ import annotations

import logging
from time import thread_time
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wsactors.actors import (
    Actor,
    Continue,
    Crash,
    Down,
    Exit,
    IdleAfter,
    Mailbox,
    NoReply,
    Pid,
    ProcessActor,
    Reply,
    Request,
    Timeout,
    call,
    cast,
    reply,
    send,
)
from wsactors.actors.introspection import (
    State,
    get_state,
    replace_state,
    resume,
    statistics,
    status,
    suspend,
    suspended,
    trace,
    untrace,
)
from wsactors.actors.tracing import TraceEvent
from wsactors.errors import CallExit, CallingSelf, CallTimeout, NoProcess
from wsactors.supervision import ChildSpec, Supervisor
from wsactors.supervision.node import Node


class Counter(Actor):
    def init(self, start: int = 0) -> None:
        self.count = start
        self.seen: list[Any] = []

    def handle_call(self, message: Any, caller: Request) -> Any:
        self.count += 1
        self.seen.append(message)
        return self.count

    def handle_cast(self, message: Any) -> None:
        self.seen.append(message)

    def handle_info(self, message: Any) -> Any:
        self.seen.append(message)
        if message == "crash":
            raise ValueError("asked to")
        return IdleAfter(1.0) if message == "idle" else None


class Gate(Actor):
    """Its handler waits for an event."""

    mailbox = Mailbox(capacity=3)

    def init(self, gate: trio.Event) -> None:
        self.gate = gate
        self.inside = trio.Event()
        self.handled = 0

    async def handle_info(self, message: Any) -> None:
        self.handled += 1
        self.inside.set()
        await self.gate.wait()

    async def handle_call(self, message: Any, caller: Request) -> Any:
        return await get_state(self.pid)


class Loop(ProcessActor):
    """Process-style: answers calls, and sleeps where it is told to."""

    def init(self) -> None:
        self.heard: list[Any] = []

    async def run(self) -> None:
        while True:
            message = await self.receive()
            self.heard.append(message)
            if isinstance(message, Request):
                reply(message, await get_state(self.pid) if message.message == "self" else len(self.heard))
            elif isinstance(message, trio.Event):
                await message.wait()


# -- state


async def test_state_of_an_idle_actor_is_read_at_once_slots_included() -> None:
    class Slotted(Actor):
        __slots__ = ("__own", "value", "void")

        def init(self) -> None:
            self.value = 1
            self.__own = 2

    async with Node("demo") as node:
        state = await node.get_state(await node.spawn(Slotted))
        counter = await node.spawn(Counter, 5, name="counter")

        assert dict(state) == {"value": 1, "_Slotted__own": 2}
        assert (await get_state("counter"))["count"] == 5
        assert await get_state(counter) == {"count": 5, "seen": []}


async def test_a_state_prints_without_secrets_and_holds_the_values() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter, 0)
        await replace_state(pid, lambda state: {**state, "password": "hunter2", "users": [{"token": "hunter2"}]})
        state = await get_state(pid)

        assert state["password"] == "hunter2"
        assert "hunter2" not in f"{state} {state!r} {[state]} {status(pid)}"
        assert "count" in repr(state)


async def test_state_is_read_between_messages_past_a_full_mailbox() -> None:
    async with Node("demo") as node:
        gate = trio.Event()
        pid = await node.spawn(Gate, gate)
        send(pid, "work")
        await wait_all_tasks_blocked()
        while send(pid, "work"):
            pass
        assert statistics(pid).mailbox == 3

        async with trio.open_nursery() as nursery:
            states: list[State] = []

            async def ask() -> None:
                states.append(await get_state(pid, timeout=None))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert states == []
            gate.set()

        # After the handler that was blocked, before the three messages that were in line.
        assert states[0]["handled"] == 1


async def test_a_blocked_handler_times_the_question_out_and_it_is_not_done_later(autojump_clock: MockClock) -> None:
    async with Node("demo") as node:
        gate = trio.Event()
        pid = await node.spawn(Gate, gate)
        send(pid, "work")
        await wait_all_tasks_blocked()

        with pytest.raises(CallTimeout):
            await get_state(pid, timeout=2)
        with pytest.raises(CallTimeout):
            await replace_state(pid, lambda state: {}, timeout=2)
        with pytest.raises(CallTimeout):
            await suspend(pid, timeout=2)
        gate.set()
        send(pid, "more")
        await wait_all_tasks_blocked()

        assert (await get_state(pid))["handled"] == 2


async def test_death_ends_the_question(autojump_clock: MockClock) -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Gate, trio.Event())
        send(pid, "work")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(NoProcess):
                    await get_state(pid)

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            node.exit(pid, "kill")
        with pytest.raises(NoProcess):
            await get_state(pid)


async def test_asking_about_oneself_is_an_error_not_a_deadlock() -> None:
    async with Node("demo") as node:
        for cls, args in ((Gate, (trio.Event(),)), (Loop, ())):
            pid = await node.spawn(cls, *args)
            with pytest.raises(CallExit) as info:
                await call(pid, "self")
            assert isinstance(info.value.reason, Crash)
            assert info.value.reason.type == "CallingSelf"
    assert issubclass(CallingSelf, CallExit)


async def test_replace_state_is_all_or_nothing() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter, 5)

        with pytest.raises(ZeroDivisionError):
            await replace_state(pid, lambda state: {"count": 1 / 0})
        with pytest.raises(AttributeError):
            await replace_state(pid, lambda state: {"count": 6, "pid": "not settable"})
        assert await get_state(pid) == {"count": 5, "seen": []}

        after = await replace_state(pid, lambda state: {"count": state["count"] * 2, "new": 1})
        assert after == {"count": 10, "new": 1}
        assert await get_state(pid) == after


async def test_a_process_style_actor_is_reached_in_receive_and_not_elsewhere(autojump_clock: MockClock) -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Loop)
        await wait_all_tasks_blocked()
        assert await get_state(pid) == {"heard": []}

        busy = trio.Event()
        send(pid, busy)
        await wait_all_tasks_blocked()
        for _ in range(3):
            with pytest.raises(CallTimeout):
                await get_state(pid, timeout=1)
        assert pid._process is not None
        assert not pid._process.more().control, "questions given up leave nothing behind"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get_state, pid)
            await wait_all_tasks_blocked()
            busy.set()


# -- suspend


async def test_messages_wait_while_suspended_in_order_and_calls_are_not_inlined_past_it() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        await suspend(pid)
        send(pid, 1)
        cast(pid, 2)
        answers: list[int] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await call(pid, 3))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert answers == []
            assert statistics(pid).state == "suspended"
            assert (await get_state(pid))["seen"] == []

            assert resume(pid)

        assert (await get_state(pid))["seen"] == [1, 2, 3]
        assert not resume(pid)


async def test_suspends_are_counted() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        async with suspended(pid):
            await suspend(pid)
            send(pid, 1)
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["seen"] == []

        resume(pid)
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["seen"] == [1]


async def test_suspend_waits_for_the_handler_and_returns_when_none_runs() -> None:
    async with Node("demo") as node:
        gate = trio.Event()
        pid = await node.spawn(Gate, gate)
        send(pid, 1)
        send(pid, 2)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(suspend, pid)
            await wait_all_tasks_blocked()
            gate.set()

        assert (await get_state(pid))["handled"] == 1
        resume(pid)
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["handled"] == 2


@pytest.mark.parametrize("reason", ["kill", "enough"])
async def test_kills_and_untrapped_exits_reach_a_suspended_actor(reason: str) -> None:
    async with Node("demo") as node, node.attach() as me:
        for cls in (Counter, Loop):
            pid, ref = await me.spawn(cls, monitor=True)
            await wait_all_tasks_blocked()
            await suspend(pid)
            node.exit(pid, reason)
            down = await ref.wait(5)
            assert isinstance(down, Down)
            assert down.reason == ("killed" if reason == "kill" else reason)


class Child(Actor):
    trap_exit = True

    def init(self, log: list[Any]) -> None:
        self.log = log

    def handle_info(self, message: Any) -> None:
        self.log.append(message)

    def terminate(self, reason: Any) -> None:
        self.log.append(("terminate", reason))


async def test_a_supervisor_stops_a_suspended_child_without_waiting_for_its_time_out() -> None:
    async with Node("demo") as node:
        log: list[Any] = []
        spec = ChildSpec("child", Child, (log,), shutdown="infinity", name="child")
        async with node.attach() as me:
            tree, ref = await me.spawn(Supervisor, "one_for_one", [spec], monitor=True)
            await node.suspend("child")
            node.send("child", "waits")
            me.exit(tree, "shutdown")
            assert await ref.wait(5) is not None

        # As OTP's suspend loop: the parent's exit goes past what waits.
        assert log == [("terminate", "shutdown")]


async def test_a_process_style_actor_holds_its_messages_while_suspended() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Loop)
        await wait_all_tasks_blocked()
        await suspend(pid)
        send(pid, "one")
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["heard"] == []
        assert statistics(pid).mailbox == 1

        resume(pid)
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["heard"] == ["one"]


async def test_a_lent_mailbox_cannot_be_suspended_or_replaced() -> None:
    async with Node("demo") as node, node.attach() as me:
        with pytest.raises(TypeError, match="lent to a task"):
            await suspend(me.pid)
        with pytest.raises(TypeError, match="lent to a task"):
            await replace_state(me.pid, lambda state: state)
        assert await get_state(me.pid) == {}
        assert statistics(me.pid).style == "attached"


async def test_timers_that_fire_during_a_suspension_wait(autojump_clock: MockClock) -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        send(pid, "idle")
        await wait_all_tasks_blocked()
        async with suspended(pid):
            await trio.sleep(5)
            assert (await get_state(pid))["seen"] == ["idle"]
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["seen"] == ["idle", Timeout(1.0)]


async def test_suspended_before_its_start_is_done(autojump_clock: MockClock) -> None:
    class Slow(Actor):
        async def init(self) -> Any:
            await trio.sleep(3)
            self.ready = True
            return Continue("then")

        def handle_continue(self, argument: Any) -> None:
            self.ready = False

    async with Node("demo") as node, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: node.spawn(Slow, name="slow"))
        await wait_all_tasks_blocked()
        assert node.statistics_of("slow").state == "starting"
        await node.suspend("slow")

        assert trio.current_time() >= 3
        assert await node.get_state("slow") == {"ready": True}
        assert node.resume("slow")
        await wait_all_tasks_blocked()
        assert await node.get_state("slow") == {"ready": False}


# -- trace


class Late(Actor):
    """Answers later."""

    def handle_call(self, message: Any, caller: Request) -> Any:
        if message == "later":
            self.caller = caller
            return NoReply(Continue("soon"))
        return Reply("now", Continue("more"))

    def handle_continue(self, argument: Any) -> None:
        if argument == "soon":
            reply(self.caller, "at last")


async def test_trace_tells_what_is_received_and_answered_in_order() -> None:
    async with Node("demo") as node:
        events: list[TraceEvent] = []
        pid = await node.spawn(Late)
        tracer = trace(pid, events.append)
        await call(pid, "later")
        await call(pid, "now")
        cast(pid, ("token", "hunter2"))  # nobody handles it: the actor ends
        await wait_all_tasks_blocked()

        assert [(event.event, event.kind) for event in events] == [
            ("receive", "call"),
            ("receive", "continue"),
            ("reply", ""),
            ("receive", "call"),
            ("reply", ""),
            ("receive", "continue"),
            ("receive", "cast"),
            ("exit", ""),
        ]
        assert [event.content for event in events if event.event == "reply"] == ["at last", "now"]
        assert events[6].content == ("token", "hunter2")
        assert "hunter2" not in repr(events)
        assert not tracer.active


async def test_a_callback_that_raises_is_removed_and_reported_and_the_actor_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        good: list[TraceEvent] = []

        def bad(event: TraceEvent) -> None:
            raise RuntimeError("token=hunter2")

        tracer = trace(pid, bad)
        trace(pid, good.append)
        with caplog.at_level(logging.ERROR):
            assert await call(pid, "a") == 1
            assert await call(pid, "b") == 2

        assert not tracer.active
        assert len(good) == 4
        assert [record.getMessage() for record in caplog.records] == [
            f"trace.callback_failed pid={pid} error=RuntimeError"
        ]


async def test_untrace_ends_it_and_calls_are_inlined_again() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        events: list[TraceEvent] = []
        trace(pid, events.append)
        second = trace(pid, events.append)
        untrace(second)
        await call(pid, "a")
        assert len(events) == 2

        untrace(pid)
        before = node.info().inlined
        await call(pid, "b")
        assert len(events) == 2
        assert node.info().inlined == before + 1


async def test_a_process_style_actor_and_sys_operations_are_traced_too(caplog: pytest.LogCaptureFixture) -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Loop)
        await wait_all_tasks_blocked()
        events: list[str] = []
        trace(pid, lambda event: events.append(event.event))
        with caplog.at_level(logging.INFO):
            trace(pid)  # to the log
            await call(pid, ("password", "hunter2"))
        await suspend(pid)
        await replace_state(pid, lambda state: state)
        resume(pid)

        assert events == ["receive", "reply", "suspend", "replace_state", "resume"]
        assert "trace.receive" in caplog.text
        assert "hunter2" not in caplog.text


# -- statistics


async def test_statistics_say_what_an_actor_is_doing() -> None:
    async with Node("demo") as node, node.attach() as me:
        gate = trio.Event()
        pid, _ = await me.spawn(Gate, gate, name="gate", link=True, monitor=True)
        assert statistics(pid).state == "idle"
        for _ in range(5):
            send(pid, "work")
        assert statistics(pid).state == "queued"
        await wait_all_tasks_blocked()
        row = statistics(pid)
        state = status(pid)

        assert (row.state, row.names, row.cls, row.style) == ("blocked", ("gate",), "Gate", "actor")
        assert (row.mailbox, row.refused, row.high_water) == (2, 2, 2)
        assert (row.parent, row.links, row.monitored_by) == (me.pid, 1, 1)
        assert row.ancestors == (me.pid,)
        assert row.seconds > 0
        assert state.stack[0].endswith("in handle_info")
        assert state.stack[-1].endswith("in wait")
        gate.set()
        await wait_all_tasks_blocked()
        assert statistics(pid).handled == statistics(pid).reductions == 3
        assert statistics(pid).seconds == 0.0


async def test_status_shows_where_the_tasks_of_an_actor_wait() -> None:
    class Worker(ProcessActor):
        async def run(self) -> None:
            self.start_soon(self.helper)
            await trio.sleep_forever()

        async def helper(self) -> None:
            await trio.sleep_forever()

    async with Node("demo") as node:
        pid = await node.spawn(Worker)
        await wait_all_tasks_blocked()
        found = status(pid)

        assert found.info.state == "blocked"
        assert found.info.tasks == 2
        assert any(line.endswith("in run") for line in found.stack)
        assert any(line.endswith("in helper") for line in found.stack)


async def test_the_tree_shows_who_started_whom() -> None:
    async with Node("demo") as node:
        inner = ChildSpec(
            "inner", Supervisor, ("one_for_one", [ChildSpec("leaf", Counter, name="leaf")]), type="supervisor"
        )
        top = await node.spawn(Supervisor, "one_for_one", [ChildSpec("first", Counter), inner], name="top")
        alone = await node.spawn(Counter, name="alone")

        (root,) = await node.tree()
        assert root.info.style == "attached"
        found = {branch.info.pid: (depth, branch) for depth, branch in root.walk()}
        assert found[alone][0] == 1
        assert found[top][0] == 1
        assert [child.info.cls for child in found[top][1].children] == ["Counter", "Supervisor"]
        assert [branch.info.cls for branch in found[top][1].supervisors] == ["Supervisor"]
        leaf = node.whereis("leaf")
        assert leaf is not None
        assert found[leaf][0] == 3
        assert found[leaf][1].info.ancestors[1] == top
        assert [child.info.id for child in found[top][1].children] == ["first", "inner"]
        assert found[leaf][1].info.id == "leaf"
        assert found[alone][1].info.id == ""


async def test_a_dead_starter_makes_a_root() -> None:
    class Starter(Actor):
        async def handle_call(self, message: Any, caller: Request) -> Pid:
            return await self.spawn(Counter)

    async with Node("demo") as node, node.attach() as me:
        starter, ref = await me.spawn(Starter, monitor=True)
        child = await call(starter, "go")
        node.exit(starter, "kill")
        await ref.wait(5)

        roots = await node.tree()
        assert child in [root.info.pid for root in roots]
        assert node.statistics_of(child).ancestors == (starter,)


async def test_rows_of_many_actors_never_hold_the_loop() -> None:
    class Tiny(Actor):
        __slots__ = ()

    async with Node("demo", watchdog=None) as node:
        for _ in range(20_000):
            await node.spawn(Tiny)
        holds: list[float] = []
        count = 0

        async def ticker() -> None:
            # This thread's own time: what else the machine does is not our doing.
            last = thread_time()
            while count < 20_001:
                await trio.lowlevel.cancel_shielded_checkpoint()
                now = thread_time()
                holds.append(now - last)
                last = now

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker)
            async for _row in node.processes():
                count += 1
        assert count == 20_001
        assert len(holds) > 20
        assert sorted(holds)[-3] < 0.002


async def test_rows_leave_out_those_that_die_meanwhile_and_may_be_left_unread() -> None:
    async with Node("demo") as node:
        pids = [await node.spawn(Counter) for _ in range(50)]
        seen = []
        async for row in node.processes():
            seen.append(row.pid)
            if len(seen) == 5:
                for pid in pids[20:]:
                    node.exit(pid, "kill")
        assert len(seen) == 21
        async for _row in node.processes():
            break  # an abandoned walk leaves nothing to clean up


async def test_info_counts_the_node() -> None:
    async with Node("demo") as node:
        pid = await node.spawn(Counter)
        await call(pid, 1)
        info = node.info()

        assert (info.name, info.actors, info.attached, info.spawned, info.zombies) == ("demo", 1, 1, 1, 0)
        assert info.inlined == 1
        assert info.incarnation == pid.incarnation


async def test_exit_signals_of_others_wait_behind_messages_of_a_suspended_trapping_actor() -> None:
    async with Node("demo") as node:
        log: list[Any] = []
        pid = await node.spawn(Child, log)
        await suspend(pid)
        send(pid, "first")
        async with node.attach() as me:
            me.exit(pid, "bad")
            resume(pid)
            await wait_all_tasks_blocked()
            assert log == ["first", Exit(me.pid, "bad")]
