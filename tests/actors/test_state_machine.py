"""``StateMachine`` in the runtime: calls, deaths, limits, fairness. Event order is held against OTP in test_state_machine_otp."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.lowlevel

from tests.actors.helpers import down_of, inside
from wsactors.actors import (
    UNHANDLED,
    Agent,
    Answer,
    Crash,
    Down,
    Exit,
    Ignore,
    KeepState,
    Mailbox,
    NamedTimeout,
    NextEvent,
    NextState,
    Postpone,
    RepeatState,
    StateMachine,
    StateTimeout,
    Stop,
    StopAndReply,
    TaskSupervisor,
    call,
    cast,
    reply,
    send,
)
from wsactors.errors import CallExit, CallTimeout, Ignored, MailboxFull, StartError
from wsactors.supervision.node import Node


class Door(StateMachine):
    """A lock: "walk" waits for an open door; "code" opens it for ten seconds."""

    mailbox = Mailbox(capacity=5)

    def init(self, code: int = 1234) -> Any:
        self.code = code
        self.log: list[Any] = []
        return self.begin("locked")

    def locked(self, event_type: Any, content: Any) -> Any:
        match event_type, content:
            case "cast", ("code", code) if code == self.code:
                return NextState("opened", StateTimeout(10))
            case ("call", _), "walk":
                return KeepState(Postpone())
            case ("call", caller), "state":
                return KeepState(Answer(caller, self.phase))
            case _:
                return UNHANDLED

    def opened(self, event_type: Any, content: Any) -> Any:
        match event_type, content:
            case "state_timeout", _:
                return NextState("locked")
            case ("call", caller), "walk":
                self.log.append("walked")
                return KeepState(Answer(caller, f"welcome {len(self.log)}"))
            case ("call", caller), "state":
                reply(caller, self.phase)
                return None
            case ("call", caller), "blow up":
                return StopAndReply("boom", Answer(caller, "as you wish"))
            case _:
                return UNHANDLED


async def test_a_call_is_answered_by_an_action_or_by_reply(node: Node) -> None:
    door = await node.spawn(Door)

    assert await call(door, "state") == "locked"
    cast(door, ("code", 1234))
    assert await call(door, "state") == "opened"


async def test_the_state_timeout_changes_the_state(node: Node, autojump_clock: Any) -> None:
    door = await node.spawn(Door)
    cast(door, ("code", 1234))

    assert await call(door, "state") == "opened"
    await trio.sleep(10.5)
    assert await call(door, "state") == "locked"


async def test_a_postponed_call_is_answered_after_the_state_change(node: Node) -> None:
    door = await node.spawn(Door)
    answers: list[str] = []
    async with trio.open_nursery() as nursery:

        async def walk() -> None:
            answers.append(await call(door, "walk"))

        nursery.start_soon(walk)
        nursery.start_soon(walk)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(door).actor.postponed == 2
        cast(door, ("code", 1234))
    assert sorted(answers) == ["welcome 1", "welcome 2"]


@pytest.mark.parametrize("end", ["killed", "crash", "stop"])
async def test_postponed_calls_fail_when_the_machine_dies(node: Node, end: str) -> None:
    door = await node.spawn(Door)
    async with trio.open_nursery() as nursery:
        reasons: list[Any] = []

        async def walk() -> None:
            with pytest.raises(CallExit) as failure:
                await call(door, "walk")
            reasons.append(failure.value.reason)

        nursery.start_soon(walk)
        nursery.start_soon(walk)
        await trio.testing.wait_all_tasks_blocked()
        match end:
            case "killed":
                node.exit(door, "kill")
            case "crash":
                cast(door, "no such cast")
            case "stop":
                node.exit(door, "shutdown")
    assert len(reasons) == 2
    expected = {"killed": "killed", "crash": Crash("unhandled_cast", "'no such cast'"), "stop": "shutdown"}[end]
    assert reasons == [expected, expected]


async def test_postponed_events_count_towards_the_mailbox_limit(node: Node) -> None:
    door = await node.spawn(Door)
    async with trio.open_nursery() as nursery:

        async def walk() -> None:
            await call(door, "walk")

        for _ in range(5):
            nursery.start_soon(walk)
        await trio.testing.wait_all_tasks_blocked()

        assert not send(door, "one more")
        with pytest.raises(MailboxFull):
            await call(door, "walk")
        nursery.cancel_scope.cancel()


async def test_abandoned_postponed_calls_make_room_again(node: Node, autojump_clock: Any) -> None:
    """Otherwise five callers that gave up would lock the machine for ever."""
    door = await node.spawn(Door)
    for _ in range(5):
        with pytest.raises(CallTimeout):
            await call(door, "walk", timeout=1)

    for _ in range(8):
        if cast(door, ("code", 1234)):
            break
    assert await call(door, "state") == "opened"
    assert inside(door).actor.log == []


async def test_a_machine_that_holds_nothing_is_as_idle_as_any_actor(node: Node) -> None:
    """Its calls are inlined again after postponed events have gone."""
    door = await node.spawn(Door)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, door, "walk")
        await trio.testing.wait_all_tasks_blocked()
        assert inside(door).flags != 0
        before = node.sched.inlined
        assert await call(door, "state") == "locked"
        cast(door, ("code", 1234))
    await trio.testing.wait_all_tasks_blocked()
    assert inside(door).flags == 0
    assert node.sched.inlined == before


async def test_stop_and_reply_answers_before_the_end(node: Node) -> None:
    door = await node.spawn(Door)
    cast(door, ("code", 1234))
    async with node.attach() as me:
        ref = me.monitor(door)
        assert await call(door, "blow up") == "as you wish"
        assert await me.receive(timeout=5) == Down(ref, door, "boom")


async def test_several_calls_are_answered_by_one_result(node: Node) -> None:
    class Barrier(StateMachine):
        def init(self) -> Any:
            self.waiting: list[Any] = []
            return self.begin("filling")

        def filling(self, event_type: Any, content: Any) -> Any:
            match event_type:
                case ("call", caller):
                    self.waiting.append(caller)
                    if len(self.waiting) < 3:
                        return None
                    return KeepState(*(Answer(caller, number) for number, caller in enumerate(self.waiting)))
            return UNHANDLED

    barrier = await node.spawn(Barrier)
    answers: list[int] = []
    async with trio.open_nursery() as nursery:

        async def arrive() -> None:
            answers.append(await call(barrier, "arrive"))

        for _ in range(3):
            nursery.start_soon(arrive)
    assert sorted(answers) == [0, 1, 2]


@pytest.mark.parametrize("message", ["unknown call", "unknown cast", "unknown info"])
async def test_what_a_state_does_not_know(node: Node, message: str) -> None:
    door = await node.spawn(Door)
    async with node.attach() as me:
        ref = me.monitor(door)
        match message:
            case "unknown call":
                with pytest.raises(CallExit) as failure:
                    await call(door, message)
                assert failure.value.reason == Crash("unhandled_call", "'unknown call'")
            case "unknown cast":
                cast(door, message)
                assert (await me.receive(timeout=5)).reason == Crash("unhandled_cast", "'unknown cast'")
            case _:
                send(door, message)
                assert await call(door, "state") == "locked"
                assert ref.active


async def test_a_replayed_call_that_is_unknown_crashes_too(node: Node) -> None:
    class Late(StateMachine):
        def init(self) -> Any:
            return self.begin("first")

        def first(self, event_type: Any, content: Any) -> Any:
            return NextState("second", Postpone())

        def second(self, event_type: Any, content: Any) -> Any:
            return UNHANDLED

    pid = await node.spawn(Late)
    with pytest.raises(CallExit) as failure:
        await call(pid, "what")
    assert failure.value.reason == Crash("unhandled_call", "'what'")


class AsyncMachine(StateMachine):
    state_enter = True

    async def init(self, log: list[Any]) -> Any:
        self.log = log
        await trio.sleep(0.1)
        return self.begin("idle", NextEvent("internal", "setup"))

    async def idle(self, event_type: Any, content: Any) -> Any:
        await trio.sleep(0.1)
        self.log.append(("idle", event_type if isinstance(event_type, str) else event_type[0], content))
        match event_type, content:
            case ("call", caller), "go":
                return NextState("busy", Answer(caller, "going"))
            case ("call", _), _:
                return KeepState(Postpone())
        return None

    async def busy(self, event_type: Any, content: Any) -> Any:
        await trio.sleep(0.1)
        self.log.append(("busy", event_type if isinstance(event_type, str) else event_type[0], content))
        match event_type:
            case ("call", caller):
                return KeepState(Answer(caller, content))
        return None


async def test_state_functions_may_wait(node: Node, autojump_clock: Any) -> None:
    log: list[Any] = []
    pid = await node.spawn(AsyncMachine, log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, pid, "early")
        await trio.sleep(1)
        assert await call(pid, "go") == "going"
    assert log == [
        ("idle", "enter", "idle"),
        ("idle", "internal", "setup"),
        ("idle", "call", "early"),
        ("idle", "call", "go"),
        ("busy", "enter", "idle"),
        ("busy", "call", "early"),
    ]


async def test_a_machine_blocked_in_a_state_function_can_be_killed(node: Node, autojump_clock: Any) -> None:
    class Stuck(StateMachine):
        def init(self) -> Any:
            return self.begin("stuck")

        async def stuck(self, event_type: Any, content: Any) -> Any:
            await trio.sleep_forever()

    pid = await node.spawn(Stuck)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(CallExit) as failure:
                await call(pid, "anything")
            assert failure.value.reason == "killed"

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        node.exit(pid, "kill")


class Treadmill(StateMachine):
    """Feeds itself an event from every event."""

    def init(self) -> Any:
        self.steps = 0
        return self.begin("running", NextEvent("internal", None))

    def running(self, event_type: Any, content: Any) -> Any:
        self.steps += 1
        return KeepState(NextEvent("internal", None))


async def test_a_machine_that_feeds_itself_for_ever_harms_nobody(node: Node) -> None:
    treadmill = await node.spawn(Treadmill)
    door = await node.spawn(Door)
    for _ in range(3):
        assert await call(door, "state") == "locked"
        await trio.lowlevel.checkpoint()
    assert inside(treadmill).actor.steps > 10

    async with node.attach() as me:
        ref = me.monitor(treadmill)
        node.exit(treadmill, "kill")
        assert (await down_of(ref)).reason == "killed"


async def test_a_machine_that_inserts_without_end_crashes_at_its_limit(node: Node) -> None:
    class Rabbits(StateMachine):
        mailbox = Mailbox(capacity=100)

        def init(self) -> Any:
            return self.begin("breeding")

        def breeding(self, event_type: Any, content: Any) -> Any:
            return KeepState(NextEvent("internal"), NextEvent("internal"))

    pid = await node.spawn(Rabbits)
    async with node.attach() as me:
        ref = me.monitor(pid)
        cast(pid, "go")
        down = await down_of(ref)
    assert down.reason.type == "postponed_overflow"


async def test_a_dead_machine_leaves_no_timer(node: Node) -> None:
    class Timed(StateMachine):
        def init(self) -> Any:
            return self.begin("s", StateTimeout(60), NamedTimeout("a", 60), NamedTimeout("b", 60))

        def s(self, event_type: Any, content: Any) -> Any:
            match event_type:
                case ("call", caller):
                    return KeepState(Answer(caller, "ready"))

    before = len(node.sched.timers)
    pid = await node.spawn(Timed)
    assert await call(pid, "are you") == "ready"
    assert len(node.sched.timers) == before + 3
    node.exit(pid, "kill")
    await trio.testing.wait_all_tasks_blocked()
    assert len(node.sched.timers) == before


class Bad(StateMachine):
    state_enter = True
    enter_result: Any = None

    def init(self, result: Any, enter_result: Any = None) -> Any:
        self.result = result
        self.enter_result = enter_result
        return self.begin("start")

    def start(self, event_type: Any, content: Any) -> Any:
        return None if event_type == "enter" else self.result

    def other(self, event_type: Any, content: Any) -> Any:
        return self.enter_result if event_type == "enter" else None


@pytest.mark.parametrize(
    ("result", "enter_result", "says"),
    [
        ("a plain value", None, "returned 'a plain value'"),
        (NextState("nowhere"), None, "no state function for 'nowhere'"),
        (NextState("spawn"), None, "under a name that Actor does not use"),
        (Stop("x", reply=1), None, "StopAndReply"),
        (KeepState("postpone"), None, "not a possible action"),  # type: ignore[arg-type]
        (KeepState(NextEvent("enter")), None, "not a possible action"),
        (NextState("other"), NextState("start"), "an enter call cannot change the state"),
        (NextState("other"), KeepState(Postpone()), "not a possible action of an enter call"),
        (NextState("other"), KeepState(NextEvent("internal")), "not a possible action of an enter call"),
    ],
)
async def test_a_bad_result_crashes_and_teaches(node: Node, result: Any, enter_result: Any, says: str) -> None:
    pid = await node.spawn(Bad, result, enter_result)
    with pytest.raises(CallExit) as failure:
        await call(pid, "go")
    assert failure.value.reason.type == "BadResult"
    assert says in failure.value.reason.message


async def test_an_enter_call_may_repeat_and_may_stop(node: Node) -> None:
    class Repeats(StateMachine):
        state_enter = True

        def init(self) -> Any:
            self.entered = 0
            return self.begin("s")

        def s(self, event_type: Any, content: Any) -> Any:
            self.entered += 1
            return RepeatState() if self.entered < 3 else Stop(("shutdown", self.entered))

    async with node.attach() as me:
        _, ref = await me.spawn(Repeats, monitor=True)
        assert (await down_of(ref)).reason == ("shutdown", 3)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "soon", True])
def test_a_timeout_that_is_no_time_is_refused_where_it_is_written(seconds: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        StateTimeout(seconds)


async def test_starting(node: Node) -> None:
    class NoInit(StateMachine):
        def s(self, event_type: Any, content: Any) -> None: ...

    class NoState(StateMachine):
        def init(self) -> Any:
            return self.begin("nowhere")

    class Declines(StateMachine):
        def init(self) -> Any:
            return Ignore()

    class Forgets(StateMachine):
        def init(self) -> None:
            return None

    with pytest.raises(StartError, match="must define init"):
        await node.spawn(NoInit)
    with pytest.raises(StartError, match="no state function for 'nowhere'"):
        await node.spawn(NoState)
    with pytest.raises(Ignored):
        await node.spawn(Declines)
    pid = await node.spawn(Forgets)
    with pytest.raises(CallExit, match=r"must return self\.begin"):
        await call(pid, "go")


def test_a_machine_with_an_actors_handlers_is_refused() -> None:
    with pytest.raises(TypeError, match="handle_cast"):

        class Confused(StateMachine):
            def handle_cast(self, message: Any) -> None: ...


async def test_exits_and_downs_are_info_events_and_terminate_runs(node: Node) -> None:
    log: list[Any] = []

    class Watcher(StateMachine):
        trap_exit = True

        def init(self) -> Any:
            return self.begin("watching")

        def watching(self, event_type: Any, content: Any) -> Any:
            log.append((event_type, content))

        def terminate(self, reason: Any) -> None:
            log.append(("terminate", self.phase, reason))

    async with node.attach() as me:
        pid = await node.spawn(Watcher)
        ref = me.monitor(pid)
        me.exit(pid, "please")
        await trio.testing.wait_all_tasks_blocked()
        assert log == [("info", Exit(me.pid, "please"))]
        node.keeper.exit(pid, "shutdown")
        assert (await down_of(ref)).reason == "shutdown"
    assert log[-1] == ("terminate", "watching", "shutdown")


async def test_any_value_is_a_state_with_handle_event(node: Node) -> None:
    class Counter(StateMachine):
        def init(self) -> Any:
            return self.begin(("count", 0))

        def handle_event(self, event_type: Any, content: Any, state: Any) -> Any:
            match event_type, content, state:
                case "cast", int(n), ("count", m):
                    return NextState(("count", n + m))
                case ("call", caller), "get", ("count", n):
                    return KeepState(Answer(caller, n))
            return UNHANDLED

    pid = await node.spawn(Counter)
    cast(pid, 2)
    cast(pid, 3)
    assert await call(pid, "get") == 5


async def test_postponed_bytes_count_towards_the_byte_limit(node: Node) -> None:
    class Heavy(StateMachine):
        mailbox = Mailbox(max_bytes=1_000)

        def init(self) -> Any:
            return self.begin("closed")

        def closed(self, event_type: Any, content: Any) -> Any:
            return NextState("open") if content == "open" else KeepState(Postpone())

        def open(self, event_type: Any, content: Any) -> Any:
            return None

    pid = await node.spawn(Heavy)
    assert send(pid, b"x" * 800)
    await trio.testing.wait_all_tasks_blocked()
    assert not send(pid, b"x" * 200)
    assert send(pid, "open")
    await trio.testing.wait_all_tasks_blocked()
    assert send(pid, b"x" * 900)
    await trio.testing.wait_all_tasks_blocked()
    assert inside(pid).more().bytes == 0


async def test_tools_see_the_phase_may_move_it_and_may_suspend(node: Node) -> None:
    door = await node.spawn(Door)
    await trio.testing.wait_all_tasks_blocked()
    assert (await node.get_state(door))["phase"] == "locked"

    await node.suspend(door)
    cast(door, ("code", 1234))
    await trio.testing.wait_all_tasks_blocked()
    assert (await node.get_state(door))["phase"] == "locked"
    node.resume(door)
    assert await call(door, "state") == "opened"

    await node.replace_state(door, lambda state: {**state, "phase": "locked"})
    assert await call(door, "state") == "locked"


async def test_agents_machines_and_tasks_work_in_debug_mode() -> None:
    async def double(number: int) -> int:
        return number * 2

    async with Node("debug", debug=True) as node:
        door = await node.spawn(Door)
        cast(door, ("code", 1234))
        assert await call(door, "walk") == "welcome 1"
        agent = await node.spawn(Agent, int)
        await Agent.update(agent, lambda value, more: value + more, 5)
        assert await Agent.get(agent, lambda value: value) == 5
        tasks = await node.spawn(TaskSupervisor)
        assert await (await TaskSupervisor.async_nolink(tasks, double, 2)).result() == 4


async def test_killed_before_an_async_function_could_begin(node: Node) -> None:
    """The inlined call has made the event's work ready for a worker; no coroutine may be left that nobody awaits."""

    class Slow(StateMachine):
        def init(self) -> Any:
            return self.begin("s")

        async def s(self, event_type: Any, content: Any) -> Any:
            await trio.sleep_forever()

    async def wait_for(value: Any) -> None:
        await trio.sleep_forever()

    async def fails(ask: Any, *arguments: Any) -> None:
        with pytest.raises(CallExit) as failure:
            await ask(*arguments)
        assert failure.value.reason in ("killed", "noproc")

    for _ in range(20):
        machine, agent = await node.spawn(Slow), await node.spawn(Agent, int)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, call, machine, "x")
            nursery.start_soon(fails, Agent.get, agent, wait_for)
            for pid in (machine, agent):
                nursery.start_soon(kill, node, pid)


async def kill(node: Node, pid: Any) -> None:
    node.exit(pid, "kill")
