"""The node: several in one process, how it ends, and that nothing ends it which should not."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of, inside
from wsactors.actors import Actor, Down, Exit, Pid, ProcessActor, call, cast, send
from wsactors.errors import AmbiguousNode, CallExit, NodeClosed, NodeFailed, NodeNameTaken, NoProcess, StartError
from wsactors.supervision import ChildSpec, TreeSpec
from wsactors.supervision.node import Node
from wsactors.supervision.spec import SupervisorOptions


class Echo(Actor):
    def handle_call(self, message: Any, caller: Any) -> Any:
        return self.node.name, message

    def handle_info(self, message: Any) -> None: ...


class Asks(Actor):
    """Uses a bare name from within."""

    async def handle_call(self, message: Any, caller: Any) -> Any:
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await call("echo", message))

            nursery.start_soon(ask)
        return await call("echo", message), answers[0]


class TestTwoNodes:
    async def test_a_bare_name_means_the_current_actors_node(self) -> None:
        async with Node("one") as one, Node("two") as two:
            for node in (one, two):
                await node.spawn(Echo, name="echo")
                await node.spawn(Asks, name="asks")
            assert await one.call("asks", 1) == (("one", 1), ("one", 1))
            assert await two.call("asks", 2) == (("two", 2), ("two", 2))

    async def test_in_a_plain_task_it_means_nothing(self) -> None:
        async with Node("one") as one, Node("two") as two:
            await one.spawn(Echo, name="echo")
            for use in (lambda: send("echo", 1), lambda: cast("echo", 1)):
                with pytest.raises(AmbiguousNode, match="2 nodes are open"):
                    use()
            with pytest.raises(AmbiguousNode):
                await call("echo", 1)
            assert await one.call("echo", 1) == ("one", 1)
            assert one.send("echo", 1)
            assert not two.send("echo", 1)
            assert two.whereis("echo") is None
            with pytest.raises(NoProcess):
                await two.call("echo", 1)
        with pytest.raises(AmbiguousNode, match="no node is open"):
            send("echo", 1)

    async def test_an_attached_task_is_somewhere(self) -> None:
        async with Node("one") as one, Node("two") as two:
            await one.spawn(Echo, name="echo")
            async with one.attach():
                assert await call("echo", 1) == ("one", 1)
            async with two.attach():
                with pytest.raises(NoProcess):
                    await call("echo", 1)

    async def test_pids_work_across_nodes_of_one_process(self) -> None:
        async with Node("one") as one, Node("two") as two:
            echo = await one.spawn(Echo)
            async with two.attach() as me:
                ref = me.monitor(echo)
                assert await call(echo, 1) == ("one", 1)
                one.exit(echo, "kill")
                assert await down_of(ref) == Down(ref, echo, "killed")

    async def test_one_name_is_one_live_node(self) -> None:
        async with Node("same") as first:
            with pytest.raises(NodeNameTaken, match="another name"):
                async with Node("same"):
                    pass
            pid = await first.spawn(Echo)
            assert await call(pid, 1) == ("same", 1)
        async with Node("same") as second:
            assert await call(await second.spawn(Echo), 1) == ("same", 1)

    async def test_a_node_is_entered_once(self) -> None:
        node = Node("once")
        async with node:
            pass
        with pytest.raises(RuntimeError, match="once"):
            async with node:
                pass

    @pytest.mark.parametrize("name", ["", None, 7])
    def test_a_name_is_needed(self, name: Any) -> None:
        with pytest.raises(ValueError, match="name"):
            Node(name)


class Notes(Actor):
    def init(self, log: list[Any], name: Any, seconds: float = 0.0) -> None:
        self.log = log
        self.what = name
        self.seconds = seconds

    async def terminate(self, reason: Any) -> None:
        await trio.sleep(self.seconds)
        self.log.append((self.what, reason))


class Stubborn(Actor):
    async def handle_info(self, message: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10_000)


def tree(*children: ChildSpec, **options: Any) -> TreeSpec:
    return TreeSpec("main", "main.toml", SupervisorOptions(**options), children)


class TestStop:
    async def test_newest_first(self, autojump_clock: Any) -> None:
        log: list[Any] = []
        async with Node("stop") as node:
            for number in range(3):
                await node.spawn(Notes, log, number)
        assert log == [(2, "shutdown"), (1, "shutdown"), (0, "shutdown")]

    async def test_an_exception_of_the_body_comes_out_after_the_ordered_stop(self) -> None:
        log: list[Any] = []
        with pytest.raises(LookupError, match="the body's"):
            async with Node("stop") as node:
                await node.spawn(Notes, log, "actor", 0.001)
                raise LookupError("the body's")
        assert log == [("actor", "shutdown")]

    async def test_outer_cancellation_is_an_ordered_stop_under_a_shield(self, autojump_clock: Any) -> None:
        log: list[Any] = []
        with trio.move_on_after(1) as scope:
            async with Node("stop") as node:
                await node.spawn(Notes, log, "actor", 2)
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert log == [("actor", "shutdown")]

    async def test_the_shield_is_bounded(self, autojump_clock: Any) -> None:
        log: list[Any] = []
        start = trio.current_time()
        async with Node("stop", shutdown_timeout=3, kill_grace=2) as node:
            await node.spawn(Notes, log, "slow", 1_000)
            send(await node.spawn(Stubborn), 1)
            await trio.testing.wait_all_tasks_blocked()
        # Its time, the killed code's grace with a margin, and a last grace for the runtime's own tasks.
        assert trio.current_time() - start <= 3 + (2 + 1) + 2
        assert log == []
        assert node.info().zombies == 1
        async with Node("stop"):
            pass

    async def test_blocked_handlers_are_cancelled_and_process_actors_unwind(self) -> None:
        log: list[str] = []

        class Loop(ProcessActor):
            async def run(self) -> None:
                try:
                    await self.receive()
                finally:
                    log.append("loop")

        class Blocks(Actor):
            async def handle_info(self, message: Any) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    log.append("handler")

        async with Node("stop") as node:
            await node.spawn(Loop)
            send(await node.spawn(Blocks), 1)
            await trio.testing.wait_all_tasks_blocked()
        assert sorted(log) == ["handler", "loop"]

    async def test_two_may_stop_it_at_once_and_a_cancelled_stop_is_finished(self) -> None:
        log: list[Any] = []
        async with Node("stop") as node:
            await node.start_tree(tree(ChildSpec("a", Notes, (log, "a", 0.01))))
            with trio.CancelScope() as given_up:
                given_up.cancel()
                await node.stop()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.stop)
                nursery.start_soon(node.stop)
                await trio.lowlevel.checkpoint()
                with trio.move_on_after(0.001):
                    await node.stop()
            assert node.phase == "closed"
        assert log == [("a", "shutdown")]

    async def test_afterwards_nobody_is_there(self) -> None:
        async with Node("stop") as node:
            pid = await node.spawn(Echo, name="echo")
        assert not send(pid, 1)
        assert not node.send("echo", 1)
        with pytest.raises(NoProcess):
            await call(pid, 1)
        with pytest.raises(NodeClosed):
            await node.spawn(Echo)
        with pytest.raises(NodeClosed):
            async with node.attach():
                pass

    async def test_a_waiting_caller_outside_is_told(self) -> None:
        class Silent(Actor):
            async def handle_call(self, message: Any, caller: Any) -> None:
                await trio.sleep_forever()

        reasons: list[Any] = []
        async with trio.open_nursery() as nursery, Node("stop") as node:
            pid = await node.spawn(Silent)

            async def ask() -> None:
                with pytest.raises(CallExit) as failure:
                    await call(pid, 1, timeout=None)
                reasons.append(failure.value.reason)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        assert reasons == ["shutdown"]

    async def test_entering_under_a_cancelled_scope_leaves_no_node(self) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with Node("cancelled"):
                pass
        async with Node("cancelled"):
            pass

    async def test_no_task_is_left(self) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        async with Node("stop") as node:
            for _ in range(5):
                send(await node.spawn(Echo), 1)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before

    async def test_an_embedded_node_touches_nothing_global(self) -> None:
        def state() -> Any:
            handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
            return handlers, list(logging.getLogger().handlers), logging.getLogger().level

        before = state()
        async with Node("quiet") as node:
            await node.spawn(Echo)
            assert state() == before
        assert state() == before


class Fragile(Actor):
    def init(self) -> None:
        self.register("fragile")

    def handle_cast(self, message: Any) -> None:
        raise LookupError(message)


class TestNodeFailed:
    async def test_it_cancels_the_body_and_comes_out(self) -> None:
        log: list[Any] = []
        with pytest.raises(NodeFailed) as failure:
            async with Node("fails") as node:
                other = await node.spawn(Notes, log, "another root", 0.001)
                await node.start_tree(tree(ChildSpec("fragile", Fragile), intensity=0))
                node.cast("fragile", "boom")
                try:
                    await trio.sleep_forever()
                finally:
                    log.append("cancelled")
        assert failure.value.reason == "shutdown"
        assert "'main'" in "".join(failure.value.__notes__)
        assert log == ["cancelled", ("another root", "shutdown")]
        assert other._process is None

    async def test_an_exception_of_the_body_is_not_hidden(self) -> None:
        with pytest.raises(ValueError, match="the body's") as failure:
            async with Node("fails") as node:
                await node.start_tree(tree(ChildSpec("fragile", Fragile), intensity=0))
                node.cast("fragile", "boom")
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("the body's")
        assert "gave up" in "".join(failure.value.__notes__)

    async def test_it_is_not_lost_when_the_body_ends_in_the_same_moment(self) -> None:
        log: list[Any] = []
        with pytest.raises(NodeFailed) as failure:
            async with Node("fails") as node:
                pid = await node.start_tree(tree(ChildSpec("fragile", Fragile), intensity=0))
                node.cast("fragile", "boom")
                with trio.CancelScope(shield=True):  # or the fall might be seen, and cancel the body, in time
                    while pid._process is not None:
                        await trio.lowlevel.checkpoint()
                log.append("ended by itself")
        assert failure.value.reason == "shutdown"
        assert log == ["ended by itself"]

    async def test_it_is_not_lost_when_the_root_is_still_about_to_fall(self) -> None:
        """The supervisor has given up and stops its other children when the body ends."""
        stopping = trio.Event()

        class Lasts(Actor):
            async def terminate(self, reason: Any) -> None:
                stopping.set()
                await trio.sleep(0.01)

        with pytest.raises(NodeFailed):
            async with Node("fails") as node:
                specs = ChildSpec("lasts", Lasts), ChildSpec("fragile", Fragile)
                await node.start_tree(tree(*specs, intensity=0))
                node.cast("fragile", "boom")
                await stopping.wait()

    async def test_a_root_that_falls_in_the_ordered_stop_is_no_failure(self) -> None:
        class Clings(Actor):
            async def terminate(self, reason: Any) -> None:
                raise LookupError("cannot let go")

        async with Node("stops") as node:
            await node.start_tree(tree(ChildSpec("clings", Clings), intensity=0))

    async def test_a_tree_that_does_not_start_is_the_starters_problem(self) -> None:
        class Broken(Actor):
            def init(self) -> None:
                raise LookupError("no")

        async with Node("starts") as node:
            with pytest.raises(StartError):
                await node.start_tree(tree(ChildSpec("broken", Broken)))
            await node.start_tree(tree(ChildSpec("fragile", Fragile)))
            with pytest.raises(ValueError, match="already running"):
                await node.start_tree(tree(ChildSpec("fragile", Fragile)))

    async def test_any_other_actor_may_die(self) -> None:
        async with Node("lives") as node:
            pid = await node.spawn(Fragile)
            cast(pid, "boom")
            await trio.testing.wait_all_tasks_blocked()
            assert pid._process is None
            assert await call(await node.spawn(Echo), 1) == ("lives", 1)


class TestAttach:
    async def test_a_pid_a_mailbox_and_trapped_exits(self) -> None:
        async with Node("attach") as node, node.attach("me") as me:
            assert node.whereis("me") is me.pid
            echo = await me.spawn(Echo, link=True)
            assert inside(echo).parent is me.pid
            node.exit(echo, "boom")
            assert await me.receive(timeout=5) == Exit(echo, "boom")
            assert send(me.pid, 1)
            assert await me.receive(timeout=5) == 1

    async def test_it_ends_with_the_block(self) -> None:
        async with Node("attach") as node, node.attach() as watcher:
            async with node.attach("me") as me:
                ref = watcher.monitor(me.pid)
                linked = await me.spawn(Echo, link=True)
                me.send_after(1_000, watcher.pid, "timer")
                timers = len(node.sched.timers)
            assert await down_of(ref) == Down(ref, me.pid, "normal")
            assert node.whereis("me") is None
            assert linked._process is not None
            assert len(node.sched.timers) == timers - 1
            assert not send(me.pid, 1)

    async def test_nested_attaches_take_turns(self) -> None:
        async with Node("attach") as node, node.attach() as outer:
            async with node.attach() as inner:
                echo = await node.spawn(Echo, monitor=True)
                assert node.sched.whoami() is inside(inner.pid)
                assert echo[0]._process is not None
            assert node.sched.whoami() is inside(outer.pid)

    async def test_a_task_of_its_nursery_acts_for_it(self) -> None:
        async with Node("attach") as node, node.attach() as me, trio.open_nursery() as nursery:
            seen: list[Any] = []

            async def watch() -> None:
                echo = await node.spawn(Echo, name="echo")
                ref = node.monitor(echo)
                node.exit(echo, "kill")
                seen.append(ref)

            nursery.start_soon(watch)
            down = await me.receive(timeout=5)
            assert [down.ref] == seen

    async def test_it_is_not_the_nodes_to_stop(self) -> None:
        """A node that stops waits for its actors, not for those who look on."""
        done: list[Any] = []
        opened = trio.Event()
        async with trio.open_nursery() as nursery:
            node = Node("attach")

            async def look_on() -> None:
                async with node.attach() as me:
                    opened.set()
                    with pytest.raises(NoProcess):
                        await me.receive()
                    done.append(True)

            async with node:
                nursery.start_soon(look_on)
                await opened.wait()
                await trio.testing.wait_all_tasks_blocked()
        assert done == [True]


# -- KeyboardInterrupt and SystemExit: each in a trio.run of its own, as pytest must not be interrupted


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


class Interrupted(Actor):
    def init(self, log: list[Any], where: str) -> None:
        self.log = log
        self.where = where
        if where == "init":
            interrupt()

    async def handle_cast(self, message: Any) -> None:
        if self.where == "blocked":
            await trio.sleep(0.001)
        interrupt()
        self.log.append("handler went on")
        await trio.sleep(0.001)

    def handle_info(self, message: Any) -> None:
        interrupt()
        self.log.append("handler went on")

    def handle_call(self, message: Any, caller: Any) -> str:
        self.log.append(f"protected: {trio.lowlevel.currently_ki_protected()}")
        return "ok"

    async def terminate(self, reason: Any) -> None:
        await trio.sleep(0.001)
        self.log.append(("terminate", reason))


@pytest.mark.parametrize("where", ["plain", "async", "blocked"])
def test_an_interrupt_goes_to_the_program_not_into_a_handler(where: str) -> None:
    log: list[Any] = []

    async def main() -> None:
        async with Node("interrupted") as node:
            pid = await node.spawn(Interrupted, log, where)
            (send if where == "plain" else cast)(pid, "now")
            await trio.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert log == ["handler went on", ("terminate", "shutdown")]


def test_workers_and_tasks_of_actors_are_protected() -> None:
    seen: list[bool] = []

    class Looks(ProcessActor):
        async def run(self) -> None:
            seen.append(trio.lowlevel.currently_ki_protected())
            self.start_soon(self.aside)
            await self.receive()

        async def aside(self) -> None:
            seen.append(trio.lowlevel.currently_ki_protected())

    async def main() -> None:
        log: list[Any] = []
        async with Node("protected", inline_calls=False) as node:
            pid = await node.spawn(Interrupted, log, "call")
            await call(pid, 1)
            assert log == ["protected: True"]
            loop = await node.spawn(Looks)
            await trio.testing.wait_all_tasks_blocked()
            send(loop, "end")

    trio.run(main)
    assert seen == [True, True]


class Exits(Actor):
    async def handle_info(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise message

    def handle_cast(self, message: Any) -> None:
        raise message

    def handle_call(self, message: Any, caller: Any) -> None:
        raise message

    async def terminate(self, reason: Any) -> None:
        if isinstance(reason, BaseException):
            raise reason


def by_send(node: Node, pid: Pid, error: BaseException) -> Any:
    send(pid, error)


def by_cast(node: Node, pid: Pid, error: BaseException) -> Any:
    cast(pid, error)


async def by_call(node: Node, pid: Pid, error: BaseException) -> None:
    with pytest.raises(CallExit):
        await call(pid, error)


async def by_queued_call(node: Node, pid: Pid, error: BaseException) -> None:
    node.sched.inline = False
    await by_call(node, pid, error)


def by_task(node: Node, pid: Pid, error: BaseException) -> Any:
    async def fail() -> None:
        raise error

    inside(pid).actor.start_soon(fail)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", [by_send, by_cast, by_call, by_queued_call, by_task])
def test_an_exit_raised_by_an_actor_ends_the_node_with_it(how: Callable[..., Any], error: BaseException) -> None:
    """No actor may swallow it by becoming its crash, and no supervisor restart its way through it."""
    log: list[Any] = []

    async def main() -> None:
        async with Node("exits") as node:
            await node.spawn(Notes, log, "other")
            pid = await node.spawn(Exits)
            try:
                result = how(node, pid, error)
                if result is not None:
                    await result
                await trio.sleep(10)
            finally:
                log.append("cancelled")

    with pytest.raises(type(error)) as raised:
        trio.run(main)
    assert raised.value is error
    assert log == ["cancelled", ("other", "shutdown")]


def test_a_system_exit_in_init_is_the_starters(recwarn: Any) -> None:
    class Leaves(Actor):
        def init(self) -> None:
            raise SystemExit(4)

    async def main() -> None:
        async with Node("leaves") as node:
            await node.spawn(Leaves, name="leaves")

    with pytest.raises(SystemExit) as raised:
        trio.run(main)
    assert raised.value.code == 4
