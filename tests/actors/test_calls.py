"""Calls: one answer or one reason, in time; and an inlined call is nothing but a faster one."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.helpers import down_of, inside
from wsactors.actors import (
    UNHANDLED,
    Actor,
    Continue,
    Crash,
    IdleAfter,
    Mailbox,
    NoReply,
    Pid,
    ProcessActor,
    Reply,
    Request,
    Response,
    Stop,
    Timeout,
    call,
    cast,
    reply,
    send,
    send_request,
)
from wsactors.errors import CallExit, CallingSelf, CallTimeout, MailboxFull, NoProcess
from wsactors.supervision.node import Node


class Server(Actor):
    """Answers now, later, never, or dies; plain and blocking."""

    def init(self) -> None:
        self.handled: list[Any] = []
        self.waiting: list[Request] = []

    def handle_call(self, message: Any, caller: Request) -> Any:
        self.handled.append(message)
        match message:
            case ("echo", value):
                return value
            case "later":
                self.waiting.append(caller)
                return NoReply()
            case ("sleep", seconds, value):
                return self.sleep(seconds, value)
            case "raise":
                raise LookupError("no luck")
            case "stop":
                return Stop("stopped")
            case "stop and answer":
                return Stop("stopped", reply="bye")
            case "reply then stop":
                return Reply("bye", Stop("stopped"))
            case ("reply then continue", value):
                return Reply(value, Continue("continued"))
            case "bad result":
                return Continue("no answer to a call")
            case _:
                return UNHANDLED

    async def sleep(self, seconds: float, value: Any) -> Any:
        await trio.sleep(seconds)
        return value

    def handle_cast(self, message: Any) -> None:
        self.handled.append(message)
        if message == "answer":
            for number, caller in enumerate(self.waiting):
                reply(caller, number)

    def handle_continue(self, argument: Any) -> None:
        self.handled.append(argument)

    def handle_info(self, message: Any) -> None:
        self.handled.append(message)


class AsyncServer(Server):
    async def handle_call(self, message: Any, caller: Request) -> Any:
        result = super().handle_call(message, caller)
        return await result if hasattr(result, "__await__") else result


BOTH = pytest.mark.parametrize("cls", [Server, AsyncServer])


async def failure_of(target: Any, message: Any, **options: Any) -> Any:
    """The reason a call ends with."""
    with pytest.raises(CallExit) as failure:
        await call(target, message, **options)
    return failure.value.reason


class TestAnswers:
    @BOTH
    @pytest.mark.parametrize("value", [1, None, (), "normal", LookupError("a value"), [1]])
    async def test_any_plain_value_is_an_answer_even_an_exception(self, node: Node, cls: Any, value: Any) -> None:
        pid = await node.spawn(cls)
        assert await call(pid, ("echo", value)) is value

    @BOTH
    async def test_later(self, node: Node, cls: Any) -> None:
        pid = await node.spawn(cls)
        answers: set[int] = set()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.add(await call(pid, "later"))

            for _ in range(3):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == set()
            cast(pid, "answer")
        assert answers == {0, 1, 2}
        assert not inside(pid).more().outstanding

    @BOTH
    async def test_a_second_answer_is_a_no_op(self, node: Node, cls: Any) -> None:
        pid = await node.spawn(cls)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, "later")
            await trio.testing.wait_all_tasks_blocked()
            caller = inside(pid).actor.waiting[0]
            assert reply(caller, 1)
            assert not reply(caller, 2)

    @BOTH
    async def test_reply_before_the_handler_returns(self, node: Node, cls: Any) -> None:
        class Early(Actor):
            async def handle_call(self, message: Any, caller: Request) -> Any:
                assert reply(caller, "early")
                await trio.sleep(0.001)
                return NoReply()

        class PlainEarly(Actor):
            def handle_call(self, message: Any, caller: Request) -> Any:
                assert reply(caller, "early")
                return NoReply()

        pid = await node.spawn(Early if cls is AsyncServer else PlainEarly)
        assert await call(pid, 1) == "early"
        assert await call(pid, 2) == "early"

    @BOTH
    async def test_stop_answers_after_terminate(self, node: Node, cls: Any) -> None:
        order: list[str] = []

        class Ends(cls):  # type: ignore[misc]
            async def terminate(self, reason: Any) -> None:
                await trio.sleep(0.001)
                order.append(f"terminate {reason}")

        for message in ("stop and answer", "reply then stop"):
            async with node.attach() as me:
                pid, ref = await me.spawn(Ends, monitor=True)
                order.append(await call(pid, message))
                assert (await down_of(ref)).reason == "stopped"
        assert order == ["terminate stopped", "bye"] * 2

    @BOTH
    async def test_stop_without_an_answer_is_the_callers_reason(self, node: Node, cls: Any) -> None:
        assert await failure_of(await node.spawn(cls), "stop") == "stopped"

    @BOTH
    @pytest.mark.parametrize("message", ["unknown", "raise", "bad result"])
    async def test_a_crash_is_the_callers_reason(self, node: Node, cls: Any, message: str) -> None:
        async with node.attach() as me:
            pid, ref = await me.spawn(cls, monitor=True)
            reason = await failure_of(pid, message)
            assert (
                reason.type
                == {"unknown": "unhandled_call", "raise": "LookupError", "bad result": "bad_return_value"}[message]
            )
            assert (await down_of(ref)).reason == reason
            assert await failure_of(pid, message) == "noproc"

    @BOTH
    async def test_continue_follows_the_answer(self, node: Node, cls: Any) -> None:
        pid = await node.spawn(cls)
        assert await call(pid, ("reply then continue", 5)) == 5
        await call(pid, ("echo", 1))
        assert inside(pid).actor.handled[1] == "continued"


class TestDeadlines:
    @BOTH
    async def test_in_time_and_too_late(self, node: Node, cls: Any, autojump_clock: Any) -> None:
        pid = await node.spawn(cls)
        start = trio.current_time()
        assert await call(pid, ("sleep", 4, "done")) == "done"
        with pytest.raises(CallTimeout):
            await call(pid, ("sleep", 6, "too late"))
        assert trio.current_time() == start + 9
        assert await call(pid, ("echo", "next"), timeout=None) == "next"

    async def test_the_deadline_covers_the_time_in_the_queue(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(Server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, ("sleep", 3, 1))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(CallTimeout):
                await call(pid, ("echo", 1), timeout=2)

    async def test_a_late_answer_vanishes(self, node: Node, autojump_clock: Any) -> None:
        """It neither raises in the callee, nor becomes the answer to the caller's next call."""
        pid = await node.spawn(Server)
        with pytest.raises(CallTimeout):
            await call(pid, "later", timeout=1)
        caller = inside(pid).actor.waiting[0]
        assert not caller.waiting
        assert not reply(caller, "late")
        assert await call(pid, ("echo", "right")) == "right"
        assert not inside(pid).more().outstanding

    async def test_the_last_look(self, node: Node, autojump_clock: Any) -> None:
        """An answer given after the deadline fired, but before the caller ran, counts."""
        pid = await node.spawn(Server)
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await call(pid, "later", timeout=100))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            caller = inside(pid).actor.waiting[0]
            caller.fire()
            assert reply(caller, "just in time")
        assert answers == ["just in time"]

    async def test_an_abandoned_call_is_not_handled(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(Server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, ("sleep", 3, 1))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(CallTimeout):
                await call(pid, ("echo", "abandoned"), timeout=1)
            with trio.move_on_after(1):
                await call(pid, ("echo", "cancelled"))
        await call(pid, ("echo", "wanted"))
        assert inside(pid).actor.handled == [("sleep", 3, 1), ("echo", "wanted")]

    async def test_a_class_may_want_abandoned_calls_handled_as_in_otp(self, node: Node, autojump_clock: Any) -> None:
        class Thorough(Server):
            skip_abandoned_calls = False

        pid = await node.spawn(Thorough)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, ("sleep", 3, 1))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(CallTimeout):
                await call(pid, ("echo", "abandoned"), timeout=1)
        await call(pid, ("echo", "wanted"))
        assert ("echo", "abandoned") in inside(pid).actor.handled

    async def test_deadlines_leave_nothing_behind(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(AsyncServer)
        for _ in range(100):
            await call(pid, ("echo", 1))
        with pytest.raises(CallTimeout):
            await call(pid, "later", timeout=1)
        with trio.move_on_after(1):
            await call(pid, "later", timeout=100)
        assert len(node.sched.timers) == 0
        assert not inside(pid).more().outstanding


class TestNobodyThere:
    async def test_noproc(self, node: Node) -> None:
        pid = await node.spawn(Server)
        node.exit(pid, "kill")
        await trio.testing.wait_all_tasks_blocked()
        for target in (pid, "nobody"):
            with pytest.raises(NoProcess):
                await call(target, 1)
        assert not send(pid, 1)
        assert not cast(pid, 1)
        assert not send("nobody", 1)

    async def test_a_dying_actor_takes_no_calls(self, node: Node) -> None:
        release = trio.Event()

        class Lingers(Actor):
            async def handle_info(self, message: Any) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await release.wait()

        pid = await node.spawn(Lingers)
        send(pid, 1)
        await trio.testing.wait_all_tasks_blocked()
        node.exit(pid, "kill")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoProcess):
            await call(pid, 1)
        assert not send(pid, 1)
        release.set()


class TestCalleeDies:
    """Whoever waits for an answer, in whatever stage the call is, gets the reason."""

    @pytest.mark.parametrize("reason", ["kill", "shutdown", ("shutdown", "upgrade"), "anything"])
    async def test_served_queued_and_deferred_calls_all_fail(self, node: Node, reason: Any) -> None:
        pid = await node.spawn(Server)
        reasons: list[Any] = []

        async def ask(message: Any) -> None:
            reasons.append(await failure_of(pid, message, timeout=None))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask, "later")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, ("sleep", 1_000, 1))
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(30):
                nursery.start_soon(ask, ("echo", 1))
            await trio.testing.wait_all_tasks_blocked()
            node.exit(pid, reason)
        assert reasons == ["killed" if reason == "kill" else reason] * 61

    @pytest.mark.parametrize("message", ["raise", "stop"])
    async def test_a_crash_in_one_call_fails_those_behind_it(self, node: Node, message: str) -> None:
        pid = await node.spawn(AsyncServer)
        reasons: list[Any] = []

        async def ask(message: Any) -> None:
            reasons.append(await failure_of(pid, message, timeout=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "later")
            await trio.testing.wait_all_tasks_blocked()
            inside(pid)
            nursery.start_soon(ask, message)
            await trio.lowlevel.checkpoint()
            for _ in range(3):
                nursery.start_soon(ask, ("sleep", 1, 1))
        expected = str("stopped" if message == "stop" else Crash("LookupError", "no luck"))
        assert len(reasons) == 5
        assert sorted(set(map(str, reasons)) | {"noproc"}) == sorted([expected, "noproc"])
        assert list(map(str, reasons)).count(expected) >= 2

    async def test_a_call_waiting_for_its_inlined_coroutine_fails_too(self, node: Node) -> None:
        """An inlined `def` handler returned a coroutine; the actor is killed before a worker gets to it."""
        pid = await node.spawn(Server)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await failure_of(pid, ("sleep", 1, 1), timeout=None) == "killed"

            async def kill() -> None:
                while pid._process is not None and len(inside(pid)) == 0 and inside(pid).flags == 0:
                    await trio.lowlevel.checkpoint()
                node.exit(pid, "kill")

            nursery.start_soon(kill)
            nursery.start_soon(ask)

    async def test_a_callee_that_stops_itself_in_a_call_it_put_off(self, node: Node) -> None:
        pid = await node.spawn(Server)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await failure_of(pid, "later") == Crash("LookupError", "no luck")

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert await failure_of(pid, "raise") == Crash("LookupError", "no luck")


class TestCallingSelf:
    @BOTH
    async def test_directly_and_by_name(self, node: Node, cls: Any) -> None:
        class Selfish(Actor):
            async def handle_call(self, message: Any, caller: Request) -> Any:
                return await call(message, "hello", timeout=1)

        pid = await node.spawn(Selfish, name="selfish")
        for target in (pid, "selfish"):
            with pytest.raises(CallExit) as failure:
                await call(pid, target)
            assert failure.value.reason.type == "CallingSelf"
            pid = await node.spawn(Selfish, name="selfish")

    async def test_in_init(self, node: Node) -> None:
        class Eager(Actor):
            async def init(self) -> None:
                with pytest.raises(CallingSelf):
                    await call(self.pid, 1)

        await node.spawn(Eager)

    async def test_a_process_actor_too(self, node: Node) -> None:
        class Loop(ProcessActor):
            async def run(self) -> None:
                with pytest.raises(CallingSelf):
                    await call(self.pid, 1)

        async with node.attach() as me:
            _, ref = await me.spawn(Loop, monitor=True)
            assert (await down_of(ref)).reason == "normal"

    async def test_cycles_are_found_in_debug_mode(self) -> None:
        class Passes(Actor):
            async def handle_call(self, message: Any, caller: Request) -> Any:
                if not message:
                    return "end"
                return await call(message[0], message[1:], timeout=2)

        async with Node("debug", debug=True) as node:
            a, b, c = [await node.spawn(Passes) for _ in range(3)]
            assert await call(a, (b, c)) == "end"
            with pytest.raises(CallExit) as failure:
                await call(a, (b, c, a))
            assert "cycle" in str(failure.value.reason)
            assert all(repr(pid) in str(failure.value.reason) for pid in (a, b, c))


class TestLimits:
    async def test_a_full_mailbox_is_told_at_once(self, node: Node) -> None:
        class Small(Server):
            mailbox = Mailbox(capacity=2)

        pid = await node.spawn(Small)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, ("sleep", 0.01, 1))
            await trio.testing.wait_all_tasks_blocked()
            assert send(pid, 1)
            assert send(pid, 2)
            with pytest.raises(MailboxFull, match="slow down"):
                await call(pid, ("echo", 1))


class TestCancelledCaller:
    async def test_its_call_is_abandoned(self, node: Node) -> None:
        pid = await node.spawn(Server)
        with trio.move_on_after(0.01) as scope:
            await call(pid, "later")
        assert scope.cancelled_caught
        assert not inside(pid).more().outstanding
        assert not reply(inside(pid).actor.waiting[0], 1)

    @BOTH
    async def test_a_cancelled_caller_asks_nothing(self, node: Node, cls: Any) -> None:
        pid = await node.spawn(cls)
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(pid, ("echo", 1))
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert inside(pid).actor.handled == []

    async def test_a_killed_caller_leaves_no_trace_at_the_callee(self, node: Node) -> None:
        pid = await node.spawn(Server)

        class Asks(Actor):
            async def handle_info(self, message: Any) -> None:
                await call(pid, "later", timeout=None)

        asks = await node.spawn(Asks)
        send(asks, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(pid).actor.waiting[0].pid is asks
        node.exit(asks, "kill")
        await trio.testing.wait_all_tasks_blocked()
        assert not inside(pid).more().outstanding
        assert asks._process is None


class TestRequests:
    async def test_ask_many_collect_in_any_order(self, node: Node) -> None:
        pids = [await node.spawn(AsyncServer) for _ in range(3)]
        requests = [send_request(pid, ("echo", number)) for number, pid in enumerate(pids)]
        assert [await request.wait() for request in reversed(requests)] == [2, 1, 0]

    async def test_a_time_out_leaves_the_request_open(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(Server)
        request = send_request(pid, ("sleep", 3, "done"))
        with pytest.raises(CallTimeout):
            await request.wait(timeout=1)
        assert not request.done
        assert await request.wait(timeout=5) == "done"
        assert request.done

    async def test_failures_show_when_collected(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(Server)
        dead = send_request("nobody", 1)
        bounded = send_request(pid, "later", timeout=1)
        dies = send_request(pid, "later")
        with pytest.raises(NoProcess):
            await dead.wait()
        with pytest.raises(CallTimeout):
            await bounded.wait()
        node.exit(pid, "gone")
        with pytest.raises(CallExit) as failure:
            await dies.wait()
        assert failure.value.reason == "gone"

    async def test_answers_as_messages(self, node: Node, autojump_clock: Any) -> None:
        pid = await node.spawn(Server)

        class Collects(Actor):
            def init(self) -> None:
                self.seen: list[Any] = []
                self.send_request(pid, ("echo", 1), notify=True, label="a")
                self.send_request("nobody", 1, notify=True, label="b")
                self.send_request(pid, "later", notify=True, label="c", timeout=2)
                self.send_request(pid, "later", notify=True, label="d")

            def handle_info(self, message: Any) -> None:
                self.seen.append(message)

        collects = await node.spawn(Collects)
        await trio.sleep(3)
        node.exit(pid, "gone")
        await trio.testing.wait_all_tasks_blocked()
        seen = sorted(inside(collects).actor.seen, key=lambda response: response.label)
        assert seen == [
            Response("a", True, 1),
            Response("b", False, "noproc"),
            Response("c", False, "timeout"),
            Response("d", False, "gone"),
        ]

    async def test_an_abandoned_request(self, node: Node) -> None:
        pid = await node.spawn(Server)
        request = send_request(pid, "later")
        await trio.testing.wait_all_tasks_blocked()
        request.abandon()
        assert not reply(inside(pid).actor.waiting[0], 1)

    async def test_a_request_to_itself_is_refused(self, node: Node) -> None:
        class Selfish(Actor):
            async def handle_info(self, message: Any) -> None:
                with pytest.raises(CallingSelf):
                    await self.send_request(self.pid, 1).wait(timeout=1)
                done.set()

        done = trio.Event()
        send(await node.spawn(Selfish), 1)
        with trio.fail_after(30):
            await done.wait()


# -- inlining


class TestInline:
    async def test_an_idle_plain_handler_runs_without_a_task_switch(self, node: Node) -> None:
        pid = await node.spawn(Server)
        before = node.sched.inlined
        for _ in range(10):
            await call(pid, ("echo", 1))
        assert node.sched.inlined == before + 10
        assert inside(pid).handled == 10

    @pytest.mark.parametrize("why", ["queued", "suspended", "continue", "starting", "async", "off", "blocked"])
    async def test_what_is_not_eligible(self, node: Node, why: str, autojump_clock: Any) -> None:
        class Starts(Server):
            async def init(self) -> None:  # type: ignore[override]
                super().init()
                starting.set()
                await trio.sleep(1)

        starting = trio.Event()
        async with trio.open_nursery() as nursery:
            if why == "starting":
                nursery.start_soon(lambda: node.spawn(Starts, name="starts"))
                await starting.wait()
                pid = node.whereis("starts")
                assert pid is not None
            else:
                pid = await node.spawn(AsyncServer if why == "async" else Server)
            match why:
                case "queued":
                    send(pid, "first")
                case "continue":
                    assert await call(pid, ("reply then continue", 1)) == 1
                case "off":
                    node.sched.inline = False
                case "blocked":
                    nursery.start_soon(call, pid, ("sleep", 1, 1))
                    await trio.testing.wait_all_tasks_blocked()
                case "suspended":
                    await node.suspend(pid)
                    with pytest.raises(CallTimeout):
                        await call(pid, ("echo", "waits"), timeout=1)
                    node.resume(pid)
                    await node.suspend(pid)

                    async def resume() -> None:
                        await trio.sleep(1)
                        node.resume(pid)

                    nursery.start_soon(resume)
            before = node.sched.inlined
            assert await call(pid, ("echo", "right")) == "right"
            assert node.sched.inlined == before
            if why == "queued":
                assert inside(pid).actor.handled == ["first", ("echo", "right")]
            if why == "continue":
                assert inside(pid).actor.handled[1] == "continued"

    async def test_an_inlined_crash_kills_the_callee_not_the_caller(self, node: Node) -> None:
        async with node.attach() as me:
            pid, ref = await me.spawn(Server, monitor=True)
            before = node.sched.inlined
            assert await failure_of(pid, "raise") == Crash("LookupError", "no luck")
            assert (await down_of(ref)).reason == Crash("LookupError", "no luck")
            assert node.sched.inlined == before

    async def test_the_inlined_handler_is_the_callee_and_the_caller_is_itself_again(self, node: Node) -> None:
        class Inner(Actor):
            def handle_call(self, message: Any, caller: Request) -> Any:
                assert self.node.sched.whoami() is self._process
                return caller.pid

        inner = await node.spawn(Inner)

        class Outer(Actor):
            async def handle_call(self, message: Any, caller: Request) -> Any:
                answer = await call(inner, 1)
                assert self.node.sched.whoami() is self._process
                return answer

        outer = await node.spawn(Outer)
        assert await call(outer, 1) is outer
        assert await call(inner, 1) is None

    async def test_it_charges_the_callee(self, node: Node) -> None:
        inner, caller = await node.spawn(Server), await node.spawn(Server)

        class Calls(Actor):
            async def handle_info(self, message: Any) -> None:
                for _ in range(5):
                    await call(inner, ("echo", 1))

        caller = await node.spawn(Calls)
        send(caller, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(inner).handled == 5
        assert inside(caller).handled == 1

    async def test_a_message_the_handler_sends_to_itself_is_handled_next(self, node: Node) -> None:
        class Talks(Actor):
            def init(self) -> None:
                self.log: list[Any] = []

            def handle_call(self, message: Any, caller: Request) -> Any:
                send(self.pid, f"about {message}")
                cast(self.pid, "cast")
                return len(self.log)

            def handle_info(self, message: Any) -> None:
                self.log.append(message)

            handle_cast = handle_info

        pid = await node.spawn(Talks)
        assert await call(pid, 1) == 0
        assert await call(pid, 2) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert inside(pid).actor.log == ["about 1", "cast", "about 2", "cast"]
        assert inside(pid).flags == 0

    async def test_a_handler_that_ends_itself(self, node: Node) -> None:
        class Ends(Actor):
            def handle_call(self, message: Any, caller: Request) -> Any:
                self.exit(self.pid, message)
                return "answered"

        pid = await node.spawn(Ends)
        for reason, seen in (("kill", "killed"), ("enough", "enough")):
            for inline in (True, False):
                node.sched.inline = inline
                async with node.attach() as me:
                    pid, ref = await me.spawn(Ends, monitor=True)
                    # As in OTP, who has ended itself answers nobody.
                    with pytest.raises(CallExit) as failure:
                        await call(pid, reason)
                    assert failure.value.reason == seen
                    assert (await down_of(ref)).reason == seen


class Traced(Actor):
    """What it does is in its trace; ``other`` is a peer it may call."""

    def init(self, trace: list[Any], number: int) -> None:
        self.trace = trace
        self.number = number
        self.other: Pid | None = None
        self.put_off: list[Request] = []

    def note(self, *what: Any) -> None:
        self.trace.append((self.number, *what))

    def handle_call(self, message: Any, caller: Request) -> Any:
        kind, value = message
        self.note("call", kind, value)
        match kind:
            case "plain":
                return value
            case "reply":
                return Reply(value)
            case "continue":
                return Reply(value, Continue(value))
            case "idle":
                return Reply(value, IdleAfter(50))
            case "put off":
                self.put_off.append(caller)
                return NoReply()
            case "send":
                send(self.pid, value)
                return value
            case "async":
                return self.later(value)
            case "raise":
                raise LookupError(value)
            case "stop":
                return Stop(("shutdown", value), reply=value)
            case "exit":
                self.exit(self.pid, ("shutdown", value))
                return value
            case _:
                return UNHANDLED

    async def later(self, value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.note("later", value)
        return value

    def handle_cast(self, message: Any) -> None:
        self.note("cast", message)
        for number, caller in enumerate(self.put_off):
            reply(caller, number)
        self.put_off.clear()

    def handle_info(self, message: Any) -> None:
        if not isinstance(message, Timeout):
            self.note("info", message)

    def handle_continue(self, argument: Any) -> None:
        self.note("continue", argument)

    def terminate(self, reason: Any) -> None:
        self.note("terminate", str(reason))


KINDS = ["plain"] * 3 + ["reply", "continue", "idle", "put off", "send", "async", "raise", "stop", "exit", "?"]
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS + ["!send", "!cast", "!rest"] * 2), st.integers(0, 1)), min_size=1, max_size=20
)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_traces_are_equal_with_inlining_on_and_off(steps: list[Any]) -> None:
    assert trio.run(play, steps, True) == trio.run(play, steps, False)


async def play(steps: list[Any], inline: bool) -> list[Any]:
    """One caller, two callees; what each did, and what the caller got."""
    trace: list[Any] = []
    async with Node("inline", inline_calls=inline) as node, node.attach() as me:
        pids = [await node.spawn(Traced, trace, number) for number in range(2)]
        refs = [me.monitor(pid) for pid in pids]
        for value, (kind, which) in enumerate(steps):
            pid = pids[which]
            match kind:
                case "!send":
                    trace.append(("sent", send(pid, value)))
                case "!cast":
                    trace.append(("cast", cast(pid, value)))
                case "!rest":
                    await trio.testing.wait_all_tasks_blocked()
                case "put off":
                    request = send_request(pid, (kind, value))
                    cast(pid, value)
                    await outcome(trace, request.wait())
                case _:
                    await outcome(trace, call(pid, (kind, value)))
        await trio.testing.wait_all_tasks_blocked()
        for pid, ref in zip(pids, refs, strict=True):
            trace.append(("handled", None if pid._process is None else pid._process.handled))
            down = await ref.wait(timeout=0)
            trace.append(("down", None if down is None else str(down.reason)))
    # What the callees do between two of the caller's steps interleaves differently among them; each one's own order does not.
    return sorted(trace, key=lambda entry: str(entry[0]))


async def outcome(trace: list[Any], awaitable: Any) -> None:
    try:
        trace.append(("got", await awaitable))
    except CallExit as failure:
        trace.append(("failed", str(failure.reason)))
