"""Death: told once, told to all, after the code has unwound, with the reason that was recorded."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors.helpers import down_of, inside
from wsactors.actors import Actor, Crash, Down, Exit, Mailbox, NoReply, Pid, ProcessActor, Stop, call, cast, reply, send
from wsactors.errors import CallExit, NoProcess
from wsactors.supervision.node import Node


class Blocks(Actor):
    """Its handler waits for ever and says how it was ended."""

    def init(self, log: list[Any] | None = None) -> None:
        self.log = [] if log is None else log

    async def handle_info(self, message: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.log.append("unwound")

    def handle_call(self, message: Any, caller: Any) -> Any:
        return message


class Script(Actor):
    """Does what it is sent, in its own name."""

    def handle_info(self, message: Any) -> Any:
        return message(self) if callable(message) else None


class Traps(Actor):
    trap_exit = True

    def init(self) -> None:
        self.log: list[Any] = []

    def handle_info(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.log.append(message)
        return None


async def blocked(node: Node, cls: Any, *args: Any) -> Pid:
    pid: Pid = await node.spawn(cls, *args)
    send(pid, "go")
    await trio.testing.wait_all_tasks_blocked()
    return pid


class TestKill:
    async def test_a_blocked_handler_unwinds_before_the_down(self, node: Node) -> None:
        log: list[Any] = []
        async with node.attach() as me:
            pid = await blocked(node, Blocks, log)
            ref = me.monitor(pid)
            node.exit(pid, "kill")
            assert log == []
            assert await down_of(ref) == Down(ref, pid, "killed")
            assert log == ["unwound"]

    async def test_the_worker_is_retired_and_others_are_not_hurt(self, node: Node) -> None:
        pids = [await blocked(node, Blocks) for _ in range(5)]
        node.exit(pids[2], "kill")
        await trio.testing.wait_all_tasks_blocked()
        assert [pid._process is not None for pid in pids] == [True, True, False, True, True]
        assert await call(await node.spawn(Blocks), 1) == 1

    async def test_a_restart_can_bind_the_same_port_at_once(self, node: Node) -> None:
        """Declared dead before the code has unwound, the old one would still hold the port."""

        class Listens(Actor):
            async def init(self, port: int) -> None:
                self.port = port

            async def handle_call(self, message: Any, caller: Any) -> Any:
                (self.listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
                listening.set()
                port.append(self.listener.socket.getsockname()[1])
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(0.05)
                        await self.listener.aclose()

        port = [0]
        async with node.attach() as me, trio.open_nursery() as nursery:
            for _ in range(3):
                listening = trio.Event()
                pid, ref = await me.spawn(Listens, port[-1], monitor=True)
                nursery.start_soon(self.fails, pid)
                with trio.fail_after(10):
                    await listening.wait()
                node.exit(pid, "kill")
                assert (await down_of(ref)).reason == "killed"
        assert len(set(port[1:])) == 1

    async def fails(self, pid: Pid) -> None:
        with pytest.raises(CallExit):
            await call(pid, "listen", timeout=None)

    async def test_its_tasks_unwind_before_the_down_too(self, node: Node) -> None:
        log: list[Any] = []

        class Busy(Actor):
            def handle_info(self, message: Any) -> None:
                for number in range(3):
                    self.start_soon(self.work, number)

            async def work(self, number: int) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(0.01 * number)
                        log.append(number)

        async with node.attach() as me:
            pid = await blocked(node, Busy)
            ref = me.monitor(pid)
            node.exit(pid, "kill")
            assert pid._process is not None
            assert not send(pid, "more")
            assert (await down_of(ref)).reason == "killed"
        assert sorted(log) == [0, 1, 2]

    async def test_a_handler_that_swallows_the_cancellation_dies_all_the_same(self, node: Node) -> None:
        """The reason is the recorded signal, not what became of the Cancelled."""

        class Swallows(Actor):
            async def handle_call(self, message: Any, caller: Any) -> str:
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    return "I will not go"

        for reason, seen in (("kill", "killed"), ("please", "please")):
            pid = await node.spawn(Swallows)
            async with node.attach() as me, trio.open_nursery() as nursery:
                ref = me.monitor(pid)

                async def ask(pid: Pid = pid) -> None:
                    # It did answer; whether that counts is not promised, but it must end.
                    with suppress(CallExit):
                        await call(pid, 1)

                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                node.exit(pid, reason)
                assert (await down_of(ref)).reason == seen

    async def test_an_exception_on_the_way_out_does_not_change_the_reason(self, node: Node) -> None:
        class Raises(Actor):
            async def handle_info(self, message: Any) -> None:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep_forever)
                        await trio.sleep_forever()
                finally:
                    raise LookupError("while dying")

        pid = await blocked(node, Raises)
        async with node.attach() as me:
            ref = me.monitor(pid)
            node.exit(pid, "kill")
            assert (await down_of(ref)).reason == "killed"

    async def test_a_kill_overrules_an_exit_under_way(self, node: Node, autojump_clock: Any) -> None:
        class Slow(Actor):
            async def handle_info(self, message: Any) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(1)

        pid = await blocked(node, Slow)
        async with node.attach() as me:
            ref = me.monitor(pid)
            node.exit(pid, "please")
            node.exit(pid, "another")
            node.exit(pid, "kill")
            assert (await down_of(ref)).reason == "killed"


class TestZombies:
    class Stubborn(Actor):
        async def handle_call(self, message: Any, caller: Any) -> str:
            with trio.CancelScope(shield=True):
                await trio.sleep(message)
            return "late"

        async def terminate(self, reason: Any) -> None:
            raise AssertionError("a killed actor has no terminate")

    async def test_declared_dead_after_kill_grace(self, autojump_clock: Any) -> None:
        async with Node("zombies", kill_grace=2) as node, node.attach() as me:
            pid, ref = await me.spawn(self.Stubborn, monitor=True, name="stubborn")
            start = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(CallExit) as failure:
                        await call(pid, 100, timeout=None)
                    assert failure.value.reason == "killed"

                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                node.exit(pid, "kill")
                assert (await down_of(ref)).reason == "killed"
                assert trio.current_time() == start + 2
            assert node.info().zombies == 1
            assert node.whereis("stubborn") is None
            again: Pid = await node.spawn(self.Stubborn, name="stubborn")
            await trio.sleep(200)
            # The zombie's end is nobody's business: no second death, no harm to its successor or its worker.
            assert again._process is not None
            assert node.whereis("stubborn") is again
            assert await call(again, 0) == "late"
            assert node.info().zombies == 1

    async def test_unwinding_within_the_grace_is_no_zombie(self, autojump_clock: Any) -> None:
        async with Node("zombies", kill_grace=2) as node, node.attach() as me:
            pid, ref = await me.spawn(self.Stubborn, monitor=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.ask, pid)
                await trio.testing.wait_all_tasks_blocked()
                node.exit(pid, "kill")
                assert (await down_of(ref)).reason == "killed"
            await trio.sleep(10)
            assert node.info().zombies == 0

    async def ask(self, pid: Pid) -> None:
        with pytest.raises(CallExit):
            await call(pid, 1, timeout=None)


class Ends(Actor):
    """Notes its ``terminate``."""

    def init(self, log: list[Any], trap: bool = False) -> None:
        self.log = log
        self.trap_exit = trap

    async def handle_info(self, message: Any) -> Any:
        match message:
            case "stop":
                return Stop("done")
            case "crash":
                raise LookupError("x")
            case "block":
                await trio.sleep_forever()
        return None

    async def terminate(self, reason: Any) -> None:
        self.log.append(("begin", str(reason)))
        await trio.sleep(0.001)
        self.log.append(("end", str(reason)))


class TestTerminate:
    @pytest.mark.parametrize(
        ("how", "trap", "expected"),
        [
            ("stop", False, "done"),
            ("crash", False, "LookupError: x"),
            ("parent", True, "shutdown"),
            ("parent", False, "shutdown"),
            ("kill", True, None),
            ("kill", False, None),
            ("other", False, None),
            ("kill blocked", True, None),
        ],
    )
    async def test_when_it_runs(self, node: Node, how: str, trap: bool, expected: str | None) -> None:
        log: list[Any] = []
        async with node.attach() as parent, node.attach() as other:
            pid, ref = await parent.spawn(Ends, log, trap, monitor=True)
            match how:
                case "stop" | "crash":
                    send(pid, how)
                case "parent":
                    parent.exit(pid, "shutdown")
                case "other":
                    other.exit(pid, "shutdown")
                case "kill":
                    parent.exit(pid, "kill")
                case _:
                    send(pid, "block")
                    await trio.testing.wait_all_tasks_blocked()
                    parent.exit(pid, "kill")
            await down_of(ref)
        assert log == ([] if expected is None else [("begin", expected), ("end", expected)])

    async def test_it_runs_when_the_node_stops(self) -> None:
        log: list[Any] = []
        async with Node("stops") as node:
            await node.spawn(Ends, log)
            await node.spawn(Ends, log, True)
        assert log == [("begin", "shutdown"), ("begin", "shutdown"), ("end", "shutdown"), ("end", "shutdown")]

    async def test_after_a_crash_of_a_blocked_handler_it_can_still_wait(self, node: Node) -> None:
        """Cancellation is level-triggered: on the handler's own scope every await in terminate would raise."""
        log: list[Any] = []

        class Late(Ends):
            async def handle_info(self, message: Any) -> None:
                await trio.sleep(0.001)
                raise LookupError("late")

        async with node.attach() as me:
            pid, ref = await me.spawn(Late, log, monitor=True)
            send(pid, 1)
            await down_of(ref)
        assert log == [("begin", "LookupError: late"), ("end", "LookupError: late")]

    async def test_a_kill_reaches_it(self, node: Node) -> None:
        class Clings(Actor):
            async def terminate(self, reason: Any) -> None:
                begun.set()
                await trio.sleep_forever()

            def handle_info(self, message: Any) -> Stop:
                return Stop("done")

        begun = trio.Event()
        async with node.attach() as me:
            pid, ref = await me.spawn(Clings, monitor=True)
            send(pid, 1)
            with trio.fail_after(10):
                await begun.wait()
            node.exit(pid, "shutdown")
            node.exit(pid, "kill")
            assert (await down_of(ref)).reason == "killed"

    async def test_no_message_is_handled_after_it(self, node: Node) -> None:
        handled: list[Any] = []

        class Slow(Actor):
            def handle_info(self, message: Any) -> Any:
                handled.append(message)
                return Stop("done") if message == "stop" else None

            async def terminate(self, reason: Any) -> None:
                send(self.pid, "from terminate")
                await trio.sleep(0.01)

        async with node.attach() as me:
            pid, ref = await me.spawn(Slow, monitor=True)
            for message in ("stop", "queued"):
                send(pid, message)
            await down_of(ref)
        assert handled == ["stop"]

    async def test_its_own_exception_is_the_reason(self, node: Node) -> None:
        class Fails(Actor):
            def handle_info(self, message: Any) -> Stop:
                return Stop("done")

            def terminate(self, reason: Any) -> None:
                raise LookupError("in terminate")

        async with node.attach() as me:
            pid, ref = await me.spawn(Fails, monitor=True)
            send(pid, 1)
            assert (await down_of(ref)).reason == Crash("LookupError", "in terminate")


class TestLinks:
    async def test_an_abnormal_end_spreads_and_a_normal_one_does_not(self, node: Node) -> None:
        async with node.attach() as me:
            for reason, spreads in (("normal", False), ("shutdown", True), (("shutdown", 1), True), ("boom", True)):
                first, second = await node.spawn(Script), await node.spawn(Script)
                refs = [me.monitor(first), me.monitor(second)]
                inside(first).actor.link(second)
                send(first, lambda actor, reason=reason: Stop(reason))
                assert (await down_of(refs[0])).reason == reason
                await trio.testing.wait_all_tasks_blocked()
                assert refs[1].active is not spreads
                if spreads:
                    assert (await down_of(refs[1])).reason == reason

    async def test_kill_becomes_killed_and_the_word_kill_alone_has_no_power(self, node: Node) -> None:
        traps, first, second = await node.spawn(Traps), await node.spawn(Script), await node.spawn(Script)
        for pid in (first, second):
            inside(traps).actor.link(pid)
        node.exit(first, "kill")
        await trio.testing.wait_all_tasks_blocked()
        send(second, lambda actor: Stop("kill"))
        await trio.testing.wait_all_tasks_blocked()
        assert inside(traps).actor.log == [Exit(first, "killed"), Exit(second, "kill")]

    async def test_exit_normal(self, node: Node) -> None:
        plain, traps = await node.spawn(Script), await node.spawn(Traps)
        async with node.attach() as me:
            me.exit(plain, "normal")
            me.exit(traps, "normal")
            await trio.testing.wait_all_tasks_blocked()
            assert plain._process is not None
            assert inside(traps).actor.log == [Exit(me.pid, "normal")]
            ref = me.monitor(plain)
            send(plain, lambda actor: actor.exit(actor.pid, "normal") and None)
            assert (await down_of(ref)).reason == "normal"

    async def test_linking_the_dead(self, node: Node) -> None:
        dead, plain, traps = await node.spawn(Script), await node.spawn(Script), await node.spawn(Traps)
        node.exit(dead, "kill")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoProcess):
            inside(plain).actor.link(dead)
        inside(traps).actor.link(dead)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(traps).actor.log == [Exit(dead, "noproc")]

    async def test_unlink(self, node: Node) -> None:
        first, second = await node.spawn(Script), await node.spawn(Script)
        inside(first).actor.link(second)
        inside(second).actor.link(first)
        inside(second).actor.unlink(first)
        node.exit(first, "boom")
        await trio.testing.wait_all_tasks_blocked()
        assert second._process is not None

    async def test_a_chain_of_ten_thousand_uses_no_stack(self, node: Node) -> None:
        pids = [await node.spawn(Script) for _ in range(10_000)]
        for left, right in pairwise(pids):
            inside(left).actor.link(right)
        async with node.attach() as me:
            ref = me.monitor(pids[-1])
            node.exit(pids[0], "boom")
            assert (await down_of(ref)).reason == "boom"
        assert all(pid._process is None for pid in pids)

    async def test_cycles_and_cliques_end_once(self, node: Node) -> None:
        pids = [await node.spawn(Script) for _ in range(60)]
        for left in pids:
            for right in pids:
                inside(left).actor.link(right)
        traps = await node.spawn(Traps)
        for pid in pids:
            inside(traps).actor.link(pid)
        node.exit(pids[7], "boom")
        await trio.testing.wait_all_tasks_blocked()
        log = inside(traps).actor.log
        assert sorted(log, key=lambda exit_: exit_.pid.serial) == [Exit(pid, "boom") for pid in pids]

    async def test_mutual_links_of_dying_actors_leave_nothing(self, node: Node) -> None:
        traps = await node.spawn(Traps)
        for _ in range(10):
            pid = await node.spawn(Script)
            inside(traps).actor.link(pid)
            inside(traps).actor.monitor(pid)
            node.exit(pid, "boom")
        await trio.testing.wait_all_tasks_blocked()
        extras = inside(traps).more()
        assert not extras.links
        assert not extras.monitors
        assert not extras.watchers


class TestTasks:
    async def test_a_failing_task_takes_its_actor_along(self, node: Node) -> None:
        class Starts(Actor):
            def handle_info(self, message: Any) -> None:
                self.start_soon(self.fail)

            async def fail(self) -> None:
                await trio.lowlevel.checkpoint()
                raise LookupError("in the task")

        async with node.attach() as me:
            pid, ref = await me.spawn(Starts, monitor=True)
            send(pid, 1)
            assert (await down_of(ref)).reason == Crash("LookupError", "in the task")
            pid, ref = await me.spawn(Starts, monitor=True)
            inside(pid).actor.trap_exit = True
            seen: list[Any] = []
            inside(pid).actor.handle_info = seen.append
            Starts.handle_info(inside(pid).actor, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [Exit(pid, Crash("LookupError", "in the task"))]
            assert ref.active

    async def test_a_task_that_ends_well_is_no_event(self, node: Node) -> None:
        done = trio.Event()

        class Starts(Actor):
            def handle_info(self, message: Any) -> None:
                self.start_soon(self.work)

            async def work(self) -> None:
                done.set()

        pid = await node.spawn(Starts)
        send(pid, 1)
        await done.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert pid._process is not None
        assert not inside(pid).more().scopes

    @pytest.mark.parametrize("how", ["returns", "raises", "killed", "shutdown"])
    async def test_process_actors(self, node: Node, how: str) -> None:
        log: list[str] = []

        class Loop(ProcessActor):
            async def run(self) -> None:
                try:
                    match await self.receive():
                        case "returns":
                            return
                        case "raises":
                            raise LookupError("x")
                        case _:
                            await trio.sleep_forever()
                finally:
                    log.append("unwound")

        async with node.attach() as me:
            pid, ref = await me.spawn(Loop, monitor=True)
            send(pid, how)
            await trio.testing.wait_all_tasks_blocked()
            if how in ("killed", "shutdown"):
                node.exit(pid, "kill" if how == "killed" else how)
            expected: Any = {"returns": "normal", "raises": Crash("LookupError", "x")}.get(how, how)
            assert (await down_of(ref)).reason == expected
        assert log == ["unwound"]

    async def test_calls_to_a_process_actor_that_ends_fail(self, node: Node) -> None:
        class Loop(ProcessActor):
            async def run(self) -> None:
                await self.receive(match=lambda message: message == "end")

        pid = await node.spawn(Loop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fails, pid)
            await trio.testing.wait_all_tasks_blocked()
            send(pid, "end")

    async def fails(self, pid: Pid) -> None:
        with pytest.raises(CallExit) as failure:
            await call(pid, 1)
        assert failure.value.reason == "normal"


class TestReasons:
    async def test_a_nursery_around_one_error_is_that_error(self, node: Node) -> None:
        class Nested(Actor):
            async def handle_info(self, message: Any) -> None:
                async with trio.open_nursery() as nursery:
                    for number in range(message):
                        nursery.start_soon(self.fail, number)

            async def fail(self, number: int) -> None:
                raise LookupError(str(number))

        async with node.attach() as me:
            for count, expected in ((1, "LookupError"), (2, "ExceptionGroup")):
                pid, ref = await me.spawn(Nested, monitor=True)
                send(pid, count)
                assert (await down_of(ref)).reason.type == expected

    async def test_a_foreign_cancelled_is_a_crash_not_a_kill(self, node: Node) -> None:
        """A handler that lets somebody else's Cancelled out has a bug; it must not look like a node that shuts down."""
        saved: list[BaseException] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as cancelled:
                saved.append(cancelled)
                raise

        class Confused(Actor):
            async def handle_info(self, message: Any) -> None:
                raise saved[0]

        async with node.attach() as me:
            pid, ref = await me.spawn(Confused, monitor=True)
            send(pid, 1)
            assert (await down_of(ref)).reason.type == "Cancelled"

    async def test_a_reason_is_text_and_keeps_no_frame_alive(self, node: Node) -> None:
        class Big:
            pass

        ghosts: list[weakref.ref[Big]] = []

        class Crashes(Actor):
            def handle_info(self, message: Any) -> None:
                big = Big()
                ghosts.append(weakref.ref(big))
                raise LookupError(big)

            async def handle_cast(self, message: Any) -> None:
                await trio.lowlevel.checkpoint()
                self.handle_info(message)

        async with node.attach() as me:
            reasons = []
            for tell in (send, cast):
                pid, ref = await me.spawn(Crashes, monitor=True)
                tell(pid, 1)
                reasons.append((await down_of(ref)).reason)
        gc.collect()
        assert [ghost() for ghost in ghosts] == [None, None]
        assert all("LookupError" in reason.trace for reason in reasons)
        assert all(isinstance(part, str) for reason in reasons for part in (reason.type, reason.message, reason.trace))

    async def test_a_huge_reason_is_cut(self, node: Node) -> None:
        class Loud(Actor):
            def handle_info(self, message: Any) -> None:
                raise LookupError("x" * 1_000_000)

        async with node.attach() as me:
            pid, ref = await me.spawn(Loud, monitor=True)
            send(pid, 1)
            reason = (await down_of(ref)).reason
        assert len(reason.message) <= 1_000
        assert len(reason.trace) < 5_000

    async def test_an_exception_that_cannot_be_printed(self, node: Node) -> None:
        class Rude(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        class Raises(Actor):
            def handle_info(self, message: Any) -> None:
                raise Rude

        async with node.attach() as me:
            pid, ref = await me.spawn(Raises, monitor=True)
            send(pid, 1)
            assert (await down_of(ref)).reason.type.endswith("Rude")


class TestOneStep:
    async def test_all_is_gone_at_the_first_sign_of_death(self, node: Node) -> None:
        class Owns(Actor):
            def init(self) -> None:
                self.register("first")
                self.register("second")
                self.node.groups.join("room", self.pid)
                self.send_after(1_000, self.pid, "timer")

        class Looks(Actor):
            def init(self, target: Pid) -> None:
                self.monitor(target)

            def handle_info(self, down: Down) -> None:
                here = self.node
                seen.append(
                    (here.whereis("first"), here.whereis("second"), here.groups.pids("room"), send(down.pid, 1))
                )

        seen: list[Any] = []
        pid = await node.spawn(Owns)
        for _ in range(3):
            await node.spawn(Looks, pid)
        timers = len(node.sched.timers)
        node.exit(pid, "kill")
        assert pid._process is None
        assert len(node.sched.timers) == timers - 1
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [(None, None, [], False)] * 3

    async def test_deferred_replies_after_death_are_no_ops(self, node: Node) -> None:
        callers: list[Any] = []

        class Later(Actor):
            def handle_call(self, message: Any, caller: Any) -> Any:
                callers.append(caller)
                return NoReply()

        pid = await node.spawn(Later)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(TestKill().fails, pid)
            await trio.testing.wait_all_tasks_blocked()
            node.exit(pid, "kill")
        assert not reply(callers[0], "late")


async def test_the_dead_leave_no_cycles_to_the_collector(node: Node) -> None:
    """Hosts may freeze or disable the collector: what ended must be freed by its last reference alone."""
    was_enabled = gc.isenabled()

    class Busy(Actor):
        async def init(self, number: int) -> None:
            self.register(f"busy {number}")
            self.node.groups.join("busy", self.pid)

        async def handle_call(self, message: Any, caller: Any) -> Any:
            self.cancel_timer(self.send_after(50.0, self.pid, "cancelled"))
            for _ in range(message):
                self.send_after(100.0, self.pid, "never")
            await trio.lowlevel.checkpoint()
            return message

    class Loops(ProcessActor):
        async def run(self) -> None:
            await self.receive()

    async with node.attach() as me:
        gc.collect()
        gc.disable()
        try:
            pids = [await me.spawn(Busy, number, link=True) for number in range(20)]
            pids += [await me.spawn(Loops, link=True) for _ in range(20)]
            for number, pid in enumerate(pids[:20]):
                me.monitor(pid)
                await call(pid, number * 2)  # some have more timers than are cancelled in the step
            gc.collect()
            for pid in pids:
                node.exit(pid, "enough")
            del pid, pids
            for _ in range(60):
                await me.receive(timeout=10)
            await trio.testing.wait_all_tasks_blocked()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            garbage = [thing for thing in gc.garbage if type(thing).__module__.startswith(("wsactors", "tests"))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            if was_enabled:
                gc.enable()
    assert garbage == []


@pytest.mark.slow
async def test_a_hundred_thousand_monitored_deaths_leave_the_loop_free(node: Node) -> None:
    """Told in slices: between two turns of an ordinary task, a small part of them."""
    count = 100_000

    class Counts(Actor):
        def init(self) -> None:
            self.downs = 0

        def handle_info(self, message: Any) -> None:
            self.downs += 1

    class Watched(Actor):
        pass

    watcher = await node.spawn(Counts)
    actor = inside(watcher).actor
    pids = [await node.spawn(Watched) for _ in range(count)]
    for number, pid in enumerate(pids):
        actor.monitor(pid)
        if number % 1_000 == 0:
            await trio.lowlevel.checkpoint()
    ticks = most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.exit_many, pids, "kill")
        with trio.fail_after(120):
            while actor.downs < count:
                before = actor.downs
                await trio.lowlevel.checkpoint()
                most = max(most, actor.downs - before)
                ticks += 1
    assert actor.downs == count
    assert ticks >= 100
    assert most < count / 20
    assert not inside(watcher).more().monitors


async def test_a_full_mailbox_is_let_go_in_slices(node: Node) -> None:
    """To look through and free 100,000 messages takes many milliseconds: far too long for one step."""
    count = 100_000
    freed = 0

    class Message:
        def __del__(self) -> None:
            nonlocal freed
            freed += 1

    class Holds(Blocks):
        mailbox = Mailbox(capacity=count + 200)

    pid = await node.spawn(Holds)
    await node.suspend(pid)
    for number in range(count):
        send(pid, Message())
        if number % 10_000 == 0:
            await trio.lowlevel.checkpoint()
    failed = []

    async def ask() -> None:
        with pytest.raises(CallExit) as caught:
            await call(pid, "never", timeout=None)
        failed.append(caught.value.reason)

    async with node.attach() as me, trio.open_nursery() as nursery:
        ref = me.monitor(pid)
        for _ in range(100):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        node.exit(pid, "kill")
        assert pid._process is None
        assert freed < 100
        ticks = most = 0
        with trio.fail_after(60):
            while freed < count:
                before = freed
                await trio.lowlevel.checkpoint()
                most = max(most, freed - before)
                ticks += 1
        assert most < count / 5
        assert (await down_of(ref)).reason == "killed"
        # Calls fail before the Down comes, as the dead would have answered them before it.
        await trio.testing.wait_all_tasks_blocked()
        assert failed == ["killed"] * 100
    assert ticks >= 10


async def test_a_crowd_of_timers_is_cancelled_in_slices_and_none_fires(node: Node, autojump_clock: MockClock) -> None:
    class Sets(Actor):
        def handle_cast(self, target: Pid) -> None:
            for _ in range(20_000):
                self.send_after(1.0, target, "from the dead")

    async with node.attach() as me:
        before = len(node.sched.timers)
        pid = await node.spawn(Sets)
        cast(pid, me.pid)
        await trio.testing.wait_all_tasks_blocked()
        assert len(node.sched.timers) == before + 20_000
        node.exit(pid, "kill")
        assert len(node.sched.timers) > before + 10_000
        autojump_clock.jump(2.0)  # they are due before they could be cancelled
        await trio.testing.wait_all_tasks_blocked()
        assert len(node.sched.timers) == before
        with pytest.raises(trio.TooSlowError):
            await me.receive(timeout=0)
