"""Starting: everything is in place before ``init`` answers, and a start that fails leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of, inside
from wsactors.actors import (
    UNHANDLED,
    Actor,
    Attached,
    Continue,
    Crash,
    Exit,
    IdleAfter,
    Ignore,
    Pid,
    ProcessActor,
    Stop,
    call,
    send,
)
from wsactors.actors.few import count, holds
from wsactors.errors import (
    CallExit,
    Ignored,
    NameTaken,
    NodeClosed,
    NoProcess,
    NotInActor,
    StartError,
    StartTimeout,
)
from wsactors.supervision.node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("spawn") as node:
        yield node


def belongings(node: Node) -> Any:
    """All that an actor can leave in its node."""
    sched = node.sched
    tables = [table.name for table in node.tables]
    return (
        set(sched.processes),
        len(sched.timers),
        dict(node.registry.names),
        node.groups.names(),
        tables,
        len(sched.owners),
    )


@asynccontextmanager
async def nothing_left(node: Node) -> AsyncIterator[Attached]:
    """A starter with a mailbox; whatever a failed start leaves in the node or with it fails the test."""
    async with node.attach() as me:
        extras = inside(me.pid).more()
        await trio.testing.wait_all_tasks_blocked()
        before = belongings(node)
        task = trio.lowlevel.current_task()
        status, nurseries = task._cancel_status, len(task._child_nurseries)
        yield me
        await trio.testing.wait_all_tasks_blocked()
        assert belongings(node) == before
        assert not extras.links
        assert not extras.monitors
        assert not extras.watchers
        assert len(inside(me.pid)) == 0
        assert task._cancel_status is status
        assert len(task._child_nurseries) == nurseries
        assert node.sched.current is None


class Takes(Actor):
    """An ``init`` that takes names, groups and timers, then does what it is told."""

    async def init(self, then: Any) -> Any:
        self.register("taken in init")
        self.node.groups.join("room", self.pid)
        self.node.groups.monitor(self.pid, "room")
        self.send_after(1_000, self.pid, "timer")
        self.start_soon(trio.sleep_forever)
        self.node.tables.new("taken in init")
        result = then(self)
        return await result if hasattr(result, "__await__") else result


def fail(actor: Actor) -> None:
    raise LookupError("no luck")


async def fail_after_blocking(actor: Actor) -> None:
    await trio.sleep(0.001)
    raise LookupError("no luck")


async def fail_in_nursery(actor: Actor) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_after_blocking, actor)
        nursery.start_soon(trio.sleep_forever)


async def block(actor: Actor) -> None:
    await trio.sleep_forever()


async def block_in_nursery(actor: Actor) -> None:
    """Opens scopes and nurseries before its first trap."""
    with trio.CancelScope(), trio.CancelScope():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            with trio.move_on_after(1_000):
                await trio.sleep_forever()


async def block_between_nurseries(actor: Actor) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)
    await trio.sleep_forever()


async def swallow_and_return(actor: Actor) -> None:
    with suppress(trio.Cancelled):
        await trio.sleep_forever()


async def swallow_and_block(actor: Actor) -> None:
    with suppress(trio.Cancelled):
        await trio.sleep_forever()
    await trio.sleep_forever()


async def fail_while_ending(actor: Actor) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise LookupError("while ending")


BLOCKS = [block, block_in_nursery, block_between_nurseries, swallow_and_return, swallow_and_block, fail_while_ending]
WAYS = [{}, {"name": "child"}, {"link": True}, {"monitor": True}, {"name": "child", "link": True, "monitor": True}]


def named(value: Any) -> str:
    return getattr(value, "__name__", None) or "+".join(value) or "bare"


class TestFailures:
    @pytest.mark.parametrize("options", WAYS, ids=named)
    @pytest.mark.parametrize(
        ("then", "reason"),
        [
            (fail, Crash("LookupError", "no luck")),
            (fail_after_blocking, Crash("LookupError", "no luck")),
            (fail_in_nursery, Crash("LookupError", "no luck")),
            (lambda _: Stop("stopped"), "stopped"),
            (lambda _: Stop("normal"), "normal"),
            (lambda _: Ignore(), "ignore"),
            (lambda _: "what", Crash("bad_return_value", "'what'")),
            (lambda actor: actor.exit(actor.pid, "enough"), None),
            (lambda actor: (actor.exit(actor.pid, "kill"), None)[1], "killed"),
        ],
        ids=["raise", "raise later", "raise in nursery", "stop", "stop normal", "ignore", "bad result", "True", "kill"],
    )
    async def test_reach_the_starter_and_leave_nothing(self, node: Node, options: Any, then: Any, reason: Any) -> None:
        async with nothing_left(node) as me:
            with pytest.raises(StartError) as failure:
                await me.spawn(Takes, then, **options)
            if reason is None:
                # It dooms itself with "enough", and returns a value that is no result.
                assert failure.value.reason in ("enough", Crash("bad_return_value", "True"))
            else:
                assert failure.value.reason == reason
            assert isinstance(failure.value, Ignored) == (reason == "ignore")

    async def test_the_cause_is_the_exception_itself(self, node: Node) -> None:
        with pytest.raises(StartError, match="Takes did not start: LookupError: no luck") as failure:
            await node.spawn(Takes, fail)
        assert isinstance(failure.value.__cause__, LookupError)

    async def test_a_taken_name(self, node: Node) -> None:
        holder = await node.spawn(Actor, name="child")
        async with nothing_left(node) as me:
            with pytest.raises(NameTaken) as taken:
                await me.spawn(Takes, fail, name="child", link=True, monitor=True)
            assert taken.value.pid is holder

    async def test_wrong_use_is_told_before_anything_starts(self, node: Node) -> None:
        async with nothing_left(node) as me:
            with pytest.raises(TypeError, match="needs an Actor class"):
                await me.spawn(int)  # type: ignore[type-var]
            with pytest.raises(TypeError, match="takes no arguments"):
                await me.spawn(Actor, 1)
            with pytest.raises(StartError, match="unexpected keyword"):
                await me.spawn(Takes, fail, kwargs={"nonsense": 1})
        with pytest.raises(NotInActor):
            await node.spawn(Actor, link=True)
        with pytest.raises(NotInActor):
            await node.spawn(Actor, monitor=True)

    async def test_no_node(self) -> None:
        node = Node("later")
        with pytest.raises(NodeClosed):
            await node.spawn(Actor)
        async with node:
            pass
        with pytest.raises(NodeClosed):
            await node.spawn(Actor)


class TestBlockedInit:
    @pytest.mark.parametrize("then", BLOCKS, ids=named)
    async def test_timeout(self, node: Node, then: Any, autojump_clock: Any) -> None:
        async with nothing_left(node) as me:
            start = trio.current_time()
            with pytest.raises(StartError) as failure:
                await me.spawn(Takes, then, name="child", link=True, monitor=True, timeout=3)
            assert trio.current_time() == start + 3
            assert isinstance(failure.value, StartTimeout) or then is fail_while_ending

    @pytest.mark.parametrize("then", BLOCKS, ids=named)
    async def test_killed(self, node: Node, then: Any) -> None:
        async with nothing_left(node) as me, trio.open_nursery() as nursery:

            async def kill() -> None:
                await trio.testing.wait_all_tasks_blocked()
                pid = node.whereis("child")
                assert pid is not None
                node.exit(pid, "kill")

            nursery.start_soon(kill)
            with pytest.raises(StartError) as failure:
                await me.spawn(Takes, then, name="child", link=True, monitor=True)
            assert failure.value.reason == "killed"

    @pytest.mark.parametrize("then", BLOCKS, ids=named)
    async def test_cancelled_starter(self, node: Node, then: Any) -> None:
        """Before the handshake, the child is neither owned nor lost: it is ended."""
        async with nothing_left(node) as me:
            with trio.move_on_after(0.01) as scope:
                if then is fail_while_ending:
                    with pytest.raises(StartError, match="while ending"):
                        await me.spawn(Takes, then, name="child", link=True, monitor=True)
                elif then is swallow_and_return:
                    pid = await me.spawn(Takes, then, name="child")
                    node.exit(pid, "kill")
                else:
                    await me.spawn(Takes, then, name="child", link=True, monitor=True)
            assert scope.cancelled_caught or then in (fail_while_ending, swallow_and_return)

    @pytest.mark.parametrize("then", [block, block_in_nursery], ids=named)
    async def test_an_untrapped_exit(self, node: Node, then: Any) -> None:
        async with nothing_left(node) as me, trio.open_nursery() as nursery:

            async def shut_down() -> None:
                await trio.testing.wait_all_tasks_blocked()
                node.exit("child", "shutdown")

            nursery.start_soon(shut_down)
            with pytest.raises(StartError) as failure:
                await me.spawn(Takes, then, name="child")
            assert failure.value.reason == "shutdown"

    @pytest.mark.parametrize("then", [block, block_in_nursery, swallow_and_block], ids=named)
    async def test_a_killed_starter_takes_the_starting_child_along(self, node: Node, then: Any) -> None:
        class Starter(Actor):
            async def handle_info(self, message: Any) -> None:
                await self.spawn(Takes, then, name="child")

        async with nothing_left(node) as me:
            starter, ref = await me.spawn(Starter, monitor=True)
            send(starter, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert node.whereis("child") is not None
            node.exit(starter, "kill")
            assert (await down_of(ref)).reason == "killed"
            await trio.testing.wait_all_tasks_blocked()

    async def test_the_cleanup_of_init_is_waited_for(self, node: Node, autojump_clock: Any) -> None:
        log: list[str] = []

        async def slow_end(actor: Actor) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                    log.append("cleaned up")

        async with nothing_left(node) as me:
            with pytest.raises(StartTimeout):
                await me.spawn(Takes, slow_end, timeout=1)
            assert log == ["cleaned up"]

    async def test_a_timeout_of_the_callers_own_is_not_the_starts(self, node: Node, autojump_clock: Any) -> None:
        async with nothing_left(node) as me:
            with trio.move_on_after(1) as scope:
                await me.spawn(Takes, block, timeout=50)
            assert scope.cancelled_caught

    async def test_init_may_use_its_own_timeouts(self, node: Node, autojump_clock: Any) -> None:
        class Patient(Actor):
            async def init(self) -> None:
                with trio.move_on_after(2) as scope:
                    await trio.sleep_forever()
                assert scope.cancelled_caught

        await node.spawn(Patient, timeout=5)


class TestHandshake:
    async def test_all_is_in_place_before_init_runs(self, node: Node) -> None:
        class Looks(Actor):
            def init(self, me: Attached) -> None:
                seen.append(self.node.whereis("child") is self.pid)
                seen.append(holds(inside(self.pid).more().links, me.pid))
                seen.append(count(inside(self.pid).more().watchers) == 1)

        seen: list[bool] = []
        async with node.attach() as me:
            await me.spawn(Looks, me, name="child", link=True, monitor=True)
        assert seen == [True, True, True]

    async def test_what_comes_during_init_waits(self, node: Node) -> None:
        gate = trio.Event()

        class Slow(Actor):
            async def init(self) -> None:
                self.log: list[Any] = ["begun"]
                await gate.wait()
                self.log.append("ready")

            def handle_info(self, message: Any) -> None:
                self.log.append(message)

            def handle_call(self, message: Any, caller: Any) -> Any:
                return [*self.log, message]

        answers: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: node.spawn(Slow, name="slow"))
            await trio.testing.wait_all_tasks_blocked()
            assert send("slow", "early")

            async def ask() -> None:
                answers.append(await call("slow", "asked"))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            gate.set()
        assert answers == [["begun", "ready", "early", "asked"]]

    async def test_calls_during_an_init_that_fails(self, node: Node) -> None:
        gate = trio.Event()

        async def wait_and_fail(actor: Actor) -> None:
            await gate.wait()
            raise LookupError("no luck")

        async with nothing_left(node) as me, trio.open_nursery() as nursery:

            async def start() -> None:
                with pytest.raises(StartError):
                    await me.spawn(Takes, wait_and_fail, name="child")

            async def ask() -> None:
                with pytest.raises(CallExit) as failure:
                    await call("child", 1)
                assert failure.value.reason == Crash("LookupError", "no luck")

            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()

    async def test_a_crash_right_after_init_is_a_down_not_a_start_error(self, node: Node) -> None:
        class Dies(Actor):
            def init(self) -> Continue:
                return Continue(None)

            def handle_continue(self, argument: Any) -> None:
                raise LookupError("afterwards")

        async with node.attach() as me:
            pid, ref = await me.spawn(Dies, link=True, monitor=True)
            reason = Crash("LookupError", "afterwards")
            assert (await down_of(ref)).reason == reason
            assert await me.receive(timeout=5) == Exit(pid, reason)

    async def test_a_starter_cancelled_after_the_handshake_does_not_lose_it(self, node: Node) -> None:
        """However the cancellation falls, either the pid is handed over or no child is left."""
        for steps in range(4):

            class Takes2(Actor):
                async def init(self, steps: int) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()

            before = len(node.sched.processes)
            pid: Pid | None = None
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                        for _ in range(steps):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(cancel)
                    pid = await node.spawn(Takes2, steps)
            await trio.testing.wait_all_tasks_blocked()
            assert len(node.sched.processes) == before + (pid is not None)

    async def test_idle_after_and_continue_from_init(self, node: Node, autojump_clock: Any) -> None:
        class Idles(Actor):
            def init(self, log: list[Any]) -> IdleAfter:
                self.log = log
                return IdleAfter(1)

            def handle_info(self, message: Any) -> None:
                self.log.append(message.seconds)

        log: list[Any] = []
        await node.spawn(Idles, log)
        await trio.sleep(5)
        assert log == [1]


class Parent(Actor):
    """Starts children from its ``init``."""

    async def init(self, depth: int, then: Any, pids: list[Pid]) -> None:
        if depth:
            pids.append(await self.spawn(Parent, depth - 1, then, pids, link=True))
        else:
            result = then(self)
            if hasattr(result, "__await__"):
                await result


class TestNested:
    async def test_starting_within_init(self, node: Node) -> None:
        pids: list[Pid] = []
        top = await node.spawn(Parent, 5, lambda _: None, pids)
        chain = [*pids, top]
        assert [inside(pid).parent for pid in chain[:-1]] == chain[1:]

    @pytest.mark.parametrize("then", [fail, fail_after_blocking, fail_in_nursery], ids=named)
    async def test_a_failure_deep_down_fails_all_above(self, node: Node, then: Any) -> None:
        async with nothing_left(node) as me:
            with pytest.raises(StartError) as failure:
                await me.spawn(Parent, 5, then, [])
            assert failure.value.reason.type == "StartError"

    @pytest.mark.parametrize("then", [block, block_in_nursery], ids=named)
    async def test_a_kill_in_the_middle(self, node: Node, then: Any) -> None:
        """The stack of blocked inits is one task; a kill in the middle ends what is above it there and not what is below."""

        async def register_and_block(actor: Actor) -> None:
            actor.register("deepest")
            await then(actor)

        async with nothing_left(node) as me, trio.open_nursery() as nursery:

            async def kill() -> None:
                await trio.testing.wait_all_tasks_blocked()
                middle = inside(inside(node.whereis("deepest")).parent).parent  # type: ignore[arg-type]
                assert middle is not None
                node.exit(middle, "kill")

            nursery.start_soon(kill)
            with pytest.raises(StartError) as failure:
                await me.spawn(Parent, 5, register_and_block, [])
            assert failure.value.reason.type == "StartError"
            assert "killed" in failure.value.reason.message

    @pytest.mark.parametrize("then", [block, block_in_nursery], ids=named)
    async def test_a_cancelled_starter_ends_the_whole_stack(self, node: Node, then: Any) -> None:
        async with nothing_left(node) as me:
            with trio.move_on_after(0.01) as scope:
                await me.spawn(Parent, 5, then, [])
            assert scope.cancelled_caught


class TestProcessActors:
    async def test_run_begins_after_init_and_not_if_that_fails(self, node: Node) -> None:
        log: list[str] = []

        class Loop(ProcessActor):
            async def init(self, ok: bool) -> Any:
                log.append("init")
                return None if ok else Stop("no")

            async def run(self) -> None:
                log.append("run")
                await self.receive()

        with pytest.raises(StartError):
            await node.spawn(Loop, False)
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["init"]
        await node.spawn(Loop, True)
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["init", "init", "run"]

    @pytest.mark.parametrize(
        ("result", "reason"),
        [
            (None, "normal"),
            (Stop(), "normal"),
            (Stop(("shutdown", "moved")), ("shutdown", "moved")),
            (Stop("kill"), "kill"),
            (0, Crash("bad_return_value", "0")),
            (Stop("bye", reply=1), None),
            (UNHANDLED, None),
        ],
    )
    async def test_run_may_say_how_it_ends(self, node: Node, result: Any, reason: Any) -> None:
        class Returns(ProcessActor):
            async def run(self) -> Any:
                return result

        async with node.attach() as me:
            pid, ref = await me.spawn(Returns, link=True, monitor=True)
            down = await down_of(ref)
            if reason is None:
                assert down.reason.type == "bad_return_value"
            else:
                assert down.reason == reason
            # Over the link it is a reason like any other, even "kill": it can be trapped.
            assert await me.receive(timeout=5) == Exit(pid, down.reason)

    async def test_a_call_that_run_leaves_behind_fails_with_its_reason(self, node: Node) -> None:
        class Leaves(ProcessActor):
            async def run(self) -> Stop:
                await self.receive()
                return Stop("enough")

        pid = await node.spawn(Leaves)
        with pytest.raises(CallExit) as failure:
            await call(pid, "anything")
        assert failure.value.reason == "enough"

    async def test_run_must_be_there(self, node: Node) -> None:
        class Nothing(ProcessActor):
            pass

        async with node.attach() as me:
            _, ref = await me.spawn(Nothing, monitor=True)
            assert "must define" in str((await down_of(ref)).reason)


async def test_many_starters_at_once(node: Node) -> None:
    class Slow(Actor):
        async def init(self, number: int) -> None:
            for _ in range(number % 5):
                await trio.lowlevel.checkpoint()
            if number % 7 == 0:
                raise LookupError(number)
            self.number = number

        def handle_call(self, message: Any, caller: Any) -> int:
            return self.number

    answers: list[int] = []

    async def start(number: int) -> None:
        try:
            pid = await node.spawn(Slow, number)
        except StartError:
            answers.append(-number)
        else:
            answers.append(await call(pid, "number"))

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(start, number)
    assert sorted(map(abs, answers)) == list(range(200))
    assert {-answer for answer in answers if answer < 0} == set(range(7, 200, 7))


async def test_pids_are_never_repeated_not_even_by_a_restarted_node() -> None:
    pids = []
    for _ in range(3):
        async with Node("again") as node:
            pids += [await node.spawn(Actor) for _ in range(3)]
    assert len(set(pids)) == 9
    assert len({repr(pid) for pid in pids}) == 3
    async with Node("again") as node:
        with pytest.raises(NoProcess):
            await call(pids[0], 1)
        assert await node.spawn(Actor) not in pids


async def test_a_failed_start_frees_its_name_before_its_tasks_have_unwound(node: Node) -> None:
    """OTP unregisters before it tells the starter: a supervisor that starts again at once must not find the name taken."""
    unwound = trio.Event()

    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await unwound.wait()

    class Fails(Actor):
        async def init(self, fail: bool) -> None:
            self.register("more")
            self.node.groups.join("group", self.pid)
            self.node.tables.new("table")
            self.send_after(3600, self.pid, "late")
            if fail:
                self.start_soon(stubborn)
                await trio.lowlevel.checkpoint()
                raise LookupError("on purpose")

    async with node.attach() as me:
        _, members = node.groups.monitor(me.pid, "group")
        assert members == ()
        timers = len(node.sched.timers)
        for _ in range(3):
            with pytest.raises(StartError):
                await node.spawn(Fails, True, name="fails")
            assert dict(node.registry.names) == {}
            assert node.groups.names() == ()
            assert len(node.tables) == 0
        pid = await node.spawn(Fails, False, name="fails")
        assert node.whereis("fails") is node.whereis("more") is pid
        unwound.set()
        await trio.testing.wait_all_tasks_blocked()
        # What died later took nothing from the one that holds the names now, and told nobody a second time.
        assert node.whereis("fails") is node.whereis("more") is pid
        assert node.groups.pids("group") == [pid]
        assert node.tables["table"].owner == pid
        assert len(node.sched.timers) == timers + 1
        events = [(await me.receive(timeout=5)).event for _ in range(7)]
        assert events == ["join", "leave"] * 3 + ["join"]
        with pytest.raises(trio.TooSlowError):
            await me.receive(timeout=0)
    assert node.info().actors == 1
