"""Order: what one actor does to another arrives in the order it was done, deaths included; only the control lane overtakes."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.actors.helpers import down_of, ended, inside
from wsactors.actors import (
    UNHANDLED,
    Actor,
    Continue,
    Down,
    Exit,
    IdleAfter,
    Pid,
    ProcessActor,
    Reply,
    Request,
    Stop,
    Timeout,
    call,
    cast,
    reply,
    send,
    send_many,
)
from wsactors.errors import NoProcess
from wsactors.supervision.node import Node


class Log(Actor):
    """Remembers everything in order."""

    trap_exit = True

    def init(self, *, slow: bool = False) -> None:
        self.log: list[Any] = []
        self.slow = slow

    async def handle_info(self, message: Any) -> None:
        if self.slow:
            await trio.lowlevel.checkpoint()
        self.log.append(message)

    def handle_cast(self, message: Any) -> None:
        self.log.append(message)

    def handle_call(self, message: Any, caller: Any) -> Any:
        self.log.append(message)
        return len(self.log)


class Script(Actor):
    """Does what it is sent, in its own name."""

    async def handle_info(self, message: Any) -> Any:
        result = message(self)
        return await result if hasattr(result, "__await__") else result


async def settled(node: Node, pid: Pid) -> list[Any]:
    await trio.testing.wait_all_tasks_blocked()
    log: list[Any] = inside(pid).actor.log
    return log


@pytest.mark.parametrize("slow", [False, True])
async def test_sends_casts_and_calls_of_one_sender_stay_in_order(node: Node, slow: bool) -> None:
    log = await node.spawn(Log, kwargs={"slow": slow})
    expected = []
    for n in range(100):
        send(log, ("send", n))
        cast(log, ("cast", n))
        send_many([log], ("many", n))
        expected += [("send", n), ("cast", n), ("many", n)]
        if n % 7 == 0:
            # To an idle actor this would be inlined; past three queued messages it must not be.
            assert await call(log, ("call", n)) == len(expected) + 1
            expected.append(("call", n))
    assert await settled(node, log) == expected


async def test_order_holds_while_the_receiver_is_blocked_and_its_worker_changes(node: Node) -> None:
    log = await node.spawn(Log, kwargs={"slow": True})
    for n in range(300):
        send(log, n)
        if n % 50 == 0:
            await trio.lowlevel.checkpoint()
    assert await settled(node, log) == list(range(300))


@pytest.mark.parametrize("how", ["stop", "crash", "killed by itself", "killed by another", "task ends"])
async def test_the_last_messages_then_exit_then_down(node: Node, how: str) -> None:
    log = await node.spawn(Log)

    class Dies(ProcessActor):
        async def run(self) -> None:
            self.link(log)
            for n in range(20):
                send(log, n)
            match how:
                case "crash":
                    raise LookupError
                case "stop":
                    self.exit(self.pid, "stop")
                    await trio.sleep_forever()
                case "killed by itself":
                    self.exit(self.pid, "kill")
                    await trio.sleep_forever()
                case "killed by another":
                    await trio.sleep_forever()

    dies = await node.spawn(Dies)
    ref = inside(log).actor.monitor(dies)
    await trio.testing.wait_all_tasks_blocked()
    node.exit(dies, "kill")
    seen = await settled(node, log)
    assert seen[:20] == list(range(20))
    exit_, down = seen[20:]
    assert (exit_.__class__, down.__class__, down.ref) == (Exit, Down, ref)
    assert exit_.reason == down.reason


async def test_what_a_dying_actor_says_in_terminate_comes_before_its_down(node: Node) -> None:
    log = await node.spawn(Log)

    class Testament(Actor):
        def handle_info(self, message: Any) -> Stop:
            send(log, "last but one")
            return Stop("done")

        async def terminate(self, reason: Any) -> None:
            await trio.sleep(0.001)
            send(log, "last")

    pid = await node.spawn(Testament)
    ref = inside(log).actor.monitor(pid)
    send(pid, "go")
    await ended(node, pid)
    assert await settled(node, log) == ["last but one", "last", Down(ref, pid, "done")]


async def test_a_message_sent_on_account_of_a_death_comes_after_its_down(node: Node) -> None:
    """The supervisor sees the Down first and tells the log; the log, watching too, has its own Down by then."""
    log = await node.spawn(Log)
    child = await node.spawn(Script)
    inside(log).actor.monitor(child)

    class Tells(Actor):
        def init(self) -> None:
            self.monitor(child)

        def handle_info(self, message: Any) -> None:
            send(log, "it died")

    await node.spawn(Tells)
    node.exit(child, "kill")
    seen = await settled(node, log)
    assert [message if isinstance(message, str) else "down" for message in seen] == ["down", "it died"]


async def test_two_deaths_are_told_in_the_order_they_happened(node: Node) -> None:
    log = await node.spawn(Log)
    pids = [await node.spawn(Script) for _ in range(50)]
    refs = [inside(log).actor.monitor(pid) for pid in pids]
    for pid in reversed(pids):
        node.exit(pid, "kill")
    seen = await settled(node, log)
    assert [down.ref for down in seen] == list(reversed(refs))


async def test_kill_overtakes_a_full_mailbox(node: Node) -> None:
    log = await node.spawn(Log)
    actor = inside(log).actor
    for n in range(1_000):
        send(log, n)
    node.exit(log, "kill")
    send(log, "too late")
    await trio.testing.wait_all_tasks_blocked()
    assert actor.log == []


async def test_an_untrapped_exit_overtakes_too_and_a_trapped_one_waits_its_turn(node: Node) -> None:
    trapping, plain = await node.spawn(Log), await node.spawn(Log)
    inside(plain).actor.trap_exit = False
    plain_log = inside(plain).actor.log
    async with node.attach() as me:
        for pid in (trapping, plain):
            for n in range(10):
                send(pid, n)
            me.exit(pid, "please")
            send(pid, "after")
        assert await settled(node, trapping) == [*range(10), Exit(me.pid, "please"), "after"]
    assert plain_log == []


async def test_a_shutdown_by_the_parent_waits_its_turn_at_a_trapping_child(node: Node) -> None:
    seen: list[Any] = []

    class Child(Actor):
        trap_exit = True

        def handle_info(self, message: Any) -> None:
            seen.append(message)

        def terminate(self, reason: Any) -> None:
            seen.append(("terminate", reason))

    async with node.attach() as me:
        child, ref = await me.spawn(Child, monitor=True)
        for n in range(5):
            send(child, n)
        me.exit(child, "shutdown")
        send(child, "never seen")
        assert (await down_of(ref)).reason == "shutdown"
    assert seen == [0, 1, 2, 3, 4, ("terminate", "shutdown")]


async def test_a_signal_is_seen_between_two_messages_of_a_turn(node: Node) -> None:
    class Killed(Actor):
        def init(self) -> None:
            self.log: list[int] = []

        def handle_info(self, message: int) -> None:
            self.log.append(message)
            if message == 3:
                self.exit(self.pid, "kill")

    pid = await node.spawn(Killed)
    log = inside(pid).actor.log
    for n in range(50):
        send(pid, n)
    await trio.testing.wait_all_tasks_blocked()
    assert log == [0, 1, 2, 3]


async def test_continue_runs_before_anything_queued(node: Node) -> None:
    log: list[Any] = []

    class Steps(Actor):
        def init(self) -> Continue:
            send(self.pid, "queued in init")
            return Continue("after init")

        def handle_continue(self, argument: Any) -> Any:
            log.append(argument)
            return Continue("again") if argument == "after cast" else None

        def handle_cast(self, message: Any) -> Continue:
            log.append(message)
            return Continue("after cast")

        def handle_info(self, message: Any) -> None:
            log.append(message)

        def handle_call(self, message: Any, caller: Any) -> Any:
            log.append(message)
            return Reply("ok", Continue("after reply"))

    pid = await node.spawn(Steps)
    cast(pid, "cast")
    send(pid, "info")
    assert await call(pid, "call") == "ok"
    await trio.testing.wait_all_tasks_blocked()
    assert log == ["after init", "queued in init", "cast", "after cast", "again", "info", "call", "after reply"]


class Dozes(Actor):
    def init(self) -> IdleAfter:
        self.log: list[Any] = []
        return IdleAfter(2)

    def handle_info(self, message: Any) -> Any:
        self.log.append((message, trio.current_time()))
        return IdleAfter(5) if message == "again" else None

    def handle_call(self, message: Any, caller: Any) -> Any:
        return self.log


async def test_an_idle_time_out_comes_once_and_any_message_cancels_it(node: Node, autojump_clock: Any) -> None:
    start = trio.current_time()
    first, second, third = [await node.spawn(Dozes) for _ in range(3)]
    await trio.sleep(1)
    send(second, "hello")
    # Also a call, which is inlined when its target is idle.
    await call(third, "log")
    await trio.sleep(10)
    assert await call(first, "log") == [(Timeout(2), start + 2)]
    assert [message for message, _ in await call(second, "log")] == ["hello"]
    assert await call(third, "log") == []

    send(first, "again")
    await trio.sleep(6)
    assert [message for message, _ in await call(first, "log")] == [Timeout(2), "again", Timeout(5)]


async def test_timer_messages(node: Node, autojump_clock: Any) -> None:
    log = await node.spawn(Log)
    actor = inside(log).actor
    actor.send_after(2, log, "two")
    actor.send_after(1, log, "one")
    actor.send_after(2, log, "two again")
    cancelled = actor.send_after(1.5, log, "never")
    actor.send_after(0, log, "zero")
    actor.send_after(-1, log, "past")
    assert actor.cancel_timer(cancelled)
    assert not actor.cancel_timer(cancelled)
    await trio.sleep(3)
    assert await settled(node, log) == ["zero", "past", "one", "two", "two again"]


async def test_a_dead_actors_timers_never_fire(node: Node, autojump_clock: Any) -> None:
    log = await node.spawn(Log)
    owner = await node.spawn(Script)
    inside(owner).actor.send_after(1, log, "from the grave")
    inside(log).actor.send_after(1, owner, "to the grave")
    node.exit(owner, "kill")
    await trio.sleep(2)
    assert await settled(node, log) == []
    assert len(node.sched.timers) == 0


class TestDemonitor:
    async def test_flush_removes_a_queued_down(self, node: Node) -> None:
        log = await node.spawn(Log, kwargs={"slow": True})
        actor = inside(log).actor
        child = await node.spawn(Script)
        gone, kept = actor.monitor(child), actor.monitor(child)
        send(log, "first")
        node.exit(child, "kill")
        actor.demonitor(gone, flush=True)
        assert await settled(node, log) == ["first", Down(kept, child, "killed")]

    @pytest.mark.parametrize(("count", "flush_at"), [(1, 0), (2, 0), (5, 2), (100, 0), (100, 70), (100, 99)])
    async def test_flush_in_a_turn_that_has_the_down_in_its_batch(self, node: Node, count: int, flush_at: int) -> None:
        """The Down sits in the part of the mailbox that the running turn has already taken."""
        child = await node.spawn(Script)

        gate = trio.Event()

        class Flushes(Actor):
            def init(self) -> None:
                self.ref = self.monitor(child)
                self.log: list[Any] = []

            def handle_info(self, message: Any) -> Any:
                if message == "hold":
                    return gate.wait()
                self.log.append(message)
                if message == flush_at:
                    assert not self.demonitor(self.ref, flush=True)
                return None

        pid = await node.spawn(Flushes)
        send(pid, "hold")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(flush_at + 1):
            send(pid, n)
        node.exit(child, "kill")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(flush_at + 1, count):
            send(pid, n)
        gate.set()
        assert await settled(node, pid) == list(range(count))

    async def test_given_up_in_time_it_never_fires(self, node: Node) -> None:
        log = await node.spawn(Log)
        actor = inside(log).actor
        child = await node.spawn(Script)
        ref = actor.monitor(child)
        assert actor.demonitor(ref)
        assert not actor.demonitor(ref)
        node.exit(child, "kill")
        assert await settled(node, log) == []

    async def test_two_monitors_are_two(self, node: Node) -> None:
        log = await node.spawn(Log)
        actor = inside(log).actor
        child = await node.spawn(Script)
        first, second = actor.monitor(child), actor.monitor(child)
        assert first is not second
        assert first.serial != second.serial
        node.exit(child, "kill")
        assert {down.ref for down in await settled(node, log)} == {first, second}
        assert len(await settled(node, log)) == 2

    async def test_a_monitor_on_nobody_fires_at_once(self, node: Node) -> None:
        log = await node.spawn(Log)
        actor = inside(log).actor
        child = await node.spawn(Script)
        node.exit(child, "kill")
        await trio.testing.wait_all_tasks_blocked()
        dead, nobody = actor.monitor(child), actor.monitor("nobody")
        assert await settled(node, log) == [Down(dead, child, "noproc"), Down(nobody, "nobody", "noproc")]


async def test_unlink_does_not_take_back_an_exit_already_received(node: Node) -> None:
    log = await node.spawn(Log, kwargs={"slow": True})
    child = await node.spawn(Script)
    actor = inside(log).actor
    actor.link(child)
    actor.link(child)
    send(log, "first")
    node.exit(child, "kill")
    while inside(log).extras.links:  # type: ignore[union-attr]
        await trio.lowlevel.checkpoint()
    actor.unlink(child)
    assert await settled(node, log) == ["first", Exit(child, "killed")]


class TestReceive:
    async def test_selective_receive_leaves_the_rest_in_order(self, node: Node) -> None:
        async with node.attach() as me:
            for n in range(6):
                send(me.pid, n)
            assert await me.receive(match=lambda n: n == 3) == 3
            assert await me.receive(match=lambda n: n % 2 == 1) == 1
            assert [await me.receive() for _ in range(4)] == [0, 2, 4, 5]

    async def test_a_message_that_comes_later_can_match_first(self, node: Node) -> None:
        async with node.attach() as me, trio.open_nursery() as nursery:
            got: list[Any] = []

            async def wait() -> None:
                got.append(await me.receive(match=lambda message: message == "wanted", timeout=5))

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            send(me.pid, "other")
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            send(me.pid, "wanted")
            await trio.testing.wait_all_tasks_blocked()
            assert got == ["wanted"]
            assert await me.receive(timeout=0) == "other"

    async def test_time_outs(self, node: Node, autojump_clock: Any) -> None:
        async with node.attach() as me:
            start = trio.current_time()
            with pytest.raises(trio.TooSlowError):
                await me.receive(timeout=3)
            assert trio.current_time() == start + 3
            with pytest.raises(trio.TooSlowError):
                await me.receive(timeout=0)

    async def test_cancellation_neither_loses_nor_doubles(self, node: Node) -> None:
        """The message and the cancellation arrive in the same step of the loop, in both orders."""
        async with node.attach() as me:
            for first in ("cancel", "send") * 20:
                got: list[Any] = []
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:

                        async def wait(got: list[Any] = got) -> None:
                            got.append(await me.receive())

                        nursery.start_soon(wait)
                        await trio.testing.wait_all_tasks_blocked()
                        if first == "cancel":
                            scope.cancel()
                            send(me.pid, "message")
                        else:
                            send(me.pid, "message")
                            scope.cancel()
                left = len(inside(me.pid))
                assert len(got) + left == 1
                if left:
                    assert await me.receive(timeout=0) == "message"

    async def test_calls_arrive_whole_and_casts_bare(self, node: Node) -> None:
        class Server(ProcessActor):
            async def run(self) -> None:
                while True:
                    match await self.receive():
                        case Request(message="stop") as request:
                            reply(request, "stopping")
                            return
                        case Request(message=message) as request:
                            reply(request, ("got", message))
                        case message:
                            seen.append(message)

        seen: list[Any] = []
        async with node.attach() as me:
            server, ref = await me.spawn(Server, monitor=True)
            cast(server, "bare")
            send(server, "plain")
            assert await call(server, 7) == ("got", 7)
            assert seen == ["bare", "plain"]
            assert await call(server, "stop") == "stopping"
            assert (await down_of(ref)).reason == "normal"
            with pytest.raises(NoProcess):
                await call(server, 8)

    async def test_two_tasks_do_not_receive_for_one_actor(self, node: Node) -> None:
        async with node.attach() as me, trio.open_nursery() as nursery:
            nursery.start_soon(me.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await me.receive()
            nursery.cancel_scope.cancel()

    async def test_waiting_for_a_monitor_takes_its_down_and_no_other(self, node: Node) -> None:
        async with node.attach() as me:
            first, second = await node.spawn(Script), await node.spawn(Script)
            ref, other = me.monitor(first), me.monitor(second)
            node.exit(second, "kill")
            node.exit(first, "kill")
            assert await ref.wait(timeout=5) == Down(ref, first, "killed")
            assert await me.receive(timeout=5) == Down(other, second, "killed")
            with pytest.raises(trio.TooSlowError):
                await me.receive(timeout=0)
            assert await ref.wait(timeout=1) == Down(ref, first, "killed")

    async def test_waiting_in_vain_for_a_monitor(self, node: Node, autojump_clock: Any) -> None:
        async with node.attach() as me:
            pid = await node.spawn(Script)
            ref = me.monitor(pid)
            assert await ref.wait(timeout=2) is None
            node.exit(pid, "kill")
            assert await me.receive(timeout=5) == Down(ref, pid, "killed")


async def test_unknown_messages_are_dropped_and_unknown_casts_are_not(node: Node) -> None:
    class Strict(Actor):
        def handle_info(self, message: Any) -> Any:
            return UNHANDLED

        def handle_cast(self, message: Any) -> Any:
            return UNHANDLED

    async with node.attach() as me:
        pid, ref = await me.spawn(Strict, monitor=True)
        send(pid, "unknown")
        await trio.testing.wait_all_tasks_blocked()
        assert ref.active
        cast(pid, "unknown")
        assert (await down_of(ref)).reason.type == "unhandled_cast"
