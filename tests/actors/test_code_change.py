"""New code for live actors: a real module, rewritten on disk, under load, with nothing lost."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wsactors.actors import Actor, Pid, Request, call, cast, send
from wsactors.actors.code_change import CodeChange, code_change
from wsactors.actors.introspection import get_state, resume, suspend, trace
from wsactors.errors import CodeChangeFailed
from wsactors.supervision import ChildSpec, Supervisor
from wsactors.supervision.node import Node

HEAD = """
from __future__ import annotations
import trio
from wsactors.actors import *
"""

COUNTER = """
class Counter(Actor):
    code_version = 1

    def init(self, start=0):
        self.count = start

    def handle_call(self, message, caller):
        return ("v1", self.count)

    def handle_info(self, message):
        self.count += 1
"""

HOOK = """
    async def code_change(self, old_version, extra):
        before = self.count
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert self.count == before
"""

_names = (f"wsactors_test_module_{number}" for number in itertools.count())


class Written:
    """A module whose source the test writes."""

    def __init__(self, folder: Path) -> None:
        self.name = next(_names)
        self.path = folder / f"{self.name}.py"
        self.module: ModuleType

    def write(self, source: str) -> None:
        self.path.write_text(HEAD + dedent(source))

    def load(self, source: str) -> Any:
        self.write(source)
        importlib.invalidate_caches()
        self.module = importlib.import_module(self.name)
        return self.module


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    monkeypatch.syspath_prepend(tmp_path)
    file = Written(tmp_path)
    yield file
    sys.modules.pop(file.name, None)


async def test_live_actors_get_the_new_code_and_keep_their_state_pid_and_messages(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        pid = await node.spawn(old, 5, name="counter")
        assert await call(pid, "?") == ("v1", 5)
        # Same length, within the same second: cached bytecode would be taken for fresh.
        written.write(COUNTER.replace('"v1"', '"v2"'))
        change = await code_change(old, node)

        assert change == CodeChange(written.name, ("Counter",), 1, {}, ())
        assert await call("counter", "?") == ("v2", 5)
        assert old is not written.module.Counter
        state = pid._process
        assert state is not None
        assert type(state.actor) is written.module.Counter


async def test_no_message_is_lost_or_doubled_under_load(written: Written) -> None:
    module = written.load(COUNTER)
    async with Node("demo") as node:
        pids = [await node.spawn(module.Counter) for _ in range(50)]
        sent = 0
        stop = trio.Event()

        async def load() -> None:
            nonlocal sent
            while not stop.is_set():
                for pid in pids:
                    assert send(pid, "tick")
                sent += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            for version in range(2, 12):
                source = COUNTER.replace('"v1"', f'"v{version}"')
                # Every other time the actors are held for a while, and messages pile up.
                written.write(source + HOOK if version % 2 else source)
                change = await code_change(module, node)
                assert (change.moved, change.failed) == (50, {})
                enough = sent + 3
                while sent < enough:
                    await trio.lowlevel.checkpoint()
            stop.set()
        await wait_all_tasks_blocked()

        assert [await call(pid, "?") for pid in pids] == [("v11", sent)] * 50


async def test_the_hook_migrates_the_state_between_messages(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        pids = [await node.spawn(old, number) for number in range(3)]
        written.write("""
            class Counter(Actor):
                code_version = 2
                async def code_change(self, old_version, extra):
                    await trio.lowlevel.checkpoint()
                    self.total = self.count * 10
                    self.seen = (old_version, extra, self.pid, self.node.sched.whoami().pid)
                    del self.count
                def handle_call(self, message, caller):
                    return self.total, self.seen
        """)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: code_change(old, node, extra="x"))
            answers = [await call(pid, "?") for pid in pids]

        # A call that comes in the middle is answered by the old code before, or by the new one after: never in between.
        for number, pid in enumerate(pids):
            answers[number] = await call(pid, "?")
        assert answers == [(number * 10, (1, "x", pid, pid)) for number, pid in enumerate(pids)]


async def test_a_hook_that_fails_rolls_that_actor_back_and_no_other(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        pids = [await node.spawn(old, number) for number in range(3)]
        written.write("""
            class Counter(Actor):
                mailbox = Mailbox(capacity=5, max_bytes=10_000)
                def code_change(self, old_version, extra):
                    self.half = True
                    if self.count == 1:
                        del self.count
                        raise ValueError("token=hunter2 does not fit")
                def handle_call(self, message, caller):
                    return ("v2", self.count)
        """)
        change = await code_change(old, node)

        assert change.moved == 2
        assert change.failed == {pids[1]: "ValueError: token=<redacted> does not fit"}
        assert [await call(pid, "?") for pid in pids] == [("v2", 0), ("v1", 1), ("v2", 2)]
        assert await get_state(pids[1]) == {"count": 1}
        assert pids[1]._process is not None
        assert pids[1]._process.kind.capacity == 10_000
        assert send(pids[1], "still counts")
        await wait_all_tasks_blocked()
        assert await call(pids[1], "?") == ("v1", 2)

        # Mended, and asked again: the one of two generations ago comes along.
        written.write(COUNTER.replace('"v1"', '"v3"'))
        assert (await code_change(old, node)).moved == 3
        assert await call(pids[1], "?") == ("v3", 2)


@pytest.mark.parametrize(
    "broken",
    [
        "class Counter(Actor:\n",
        "class Counter(Actor): pass\nraise RuntimeError('at the end')",
        "import no_such_module_at_all",
    ],
    ids=["syntax", "raises", "import"],
)
async def test_code_that_does_not_load_changes_nothing(written: Written, broken: str) -> None:
    module = written.load(COUNTER)
    old = module.Counter
    async with Node("demo") as node:
        pid = await node.spawn(old)
        written.write(broken)
        with pytest.raises(CodeChangeFailed, match="is as it was"):
            await code_change(written.name, node)

        assert module.Counter is old
        assert await call(pid, "?") == ("v1", 0)
        assert await call(await node.spawn(old), "?") == ("v1", 0)


async def test_what_cannot_be_read_anew_is_refused() -> None:
    async with Node("demo") as node:
        for what in ("no_such_module", "builtins"):
            with pytest.raises(CodeChangeFailed):
                await code_change(what, node)


async def test_a_supervisor_that_holds_the_old_class_restarts_the_new_one(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        await node.spawn(Supervisor, "one_for_one", [ChildSpec("it", old, name="it")])
        written.write(COUNTER.replace('"v1"', '"v2"'))
        await code_change(old, node)
        before = node.whereis("it")
        assert before is not None
        async with node.attach() as me:
            ref = me.monitor(before)
            node.exit(before, "kill")
            await ref.wait(5)
        await wait_all_tasks_blocked()

        assert node.whereis("it") != before
        assert await node.call("it", "?") == ("v2", 0)


async def test_a_blocked_handler_ends_first_with_the_old_code(written: Written, autojump_clock: MockClock) -> None:
    old = written.load("""
        class Slow(Actor):
            async def handle_call(self, message, caller):
                await message.wait()
                return self.word()
            def word(self):
                return "old"
    """).Slow
    async with Node("demo") as node:
        gate, answers = trio.Event(), []
        pid, stuck = await node.spawn(old), await node.spawn(old)
        written.write("""
            class Slow(Actor):
                async def handle_call(self, message, caller):
                    return "new"
        """)

        async def ask(target: Pid, event: trio.Event) -> None:
            answers.append(await call(target, event, timeout=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, pid, gate)
            nursery.start_soon(ask, stuck, never := trio.Event())
            await wait_all_tasks_blocked()
            results: list[CodeChange] = []

            async def change() -> None:
                results.append(await code_change(old, node, timeout=30))

            nursery.start_soon(change)
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
            assert answers == ["old"]
            assert await call(pid, None) == "new"
            await trio.sleep(31)

            # The one whose handler did not end in time stays as it is.
            assert results[0].moved == 1
            assert list(results[0].failed) == [stuck]
            never.set()
        assert answers == ["old", "old"]


async def test_calls_are_inlined_as_soon_as_the_handler_is_plain(written: Written) -> None:
    old = written.load(COUNTER.replace("def handle_call", "async def handle_call")).Counter
    async with Node("demo") as node:
        pid = await node.spawn(old)
        await call(pid, "?")
        assert node.info().inlined == 0

        written.write(COUNTER)
        await code_change(old, node)
        await call(pid, "?")
        assert node.info().inlined == 1

        written.write(COUNTER.replace("def handle_call", "async def handle_call"))
        await code_change(old, node)
        assert await call(pid, "?") == ("v1", 0)
        assert node.info().inlined == 1


async def test_queued_messages_are_booked_by_the_new_mailbox_rules(written: Written) -> None:
    old = written.load("""
        class Meter(Actor):
            mailbox = Mailbox(capacity=50, overflow="conflate", key=lambda message: message[0])
            def init(self):
                self.seen = []
            async def handle_call(self, message, caller):
                return tuple(self.seen)
            def handle_info(self, message):
                self.seen.append(message)
    """).Meter
    async with Node("demo") as node:
        pid = await node.spawn(old)
        await suspend(pid)
        for value in range(3):
            send(pid, ("a", value))
            send(pid, (f"b{value}", value))
        written.write("""
            class Meter(Actor):
                mailbox = Mailbox(capacity=5, max_bytes=100_000)
                def handle_call(self, message, caller):
                    return tuple(self.seen)
                def handle_info(self, message):
                    self.seen.append(message)
        """)
        await code_change(old, node)
        # It was suspended by somebody else, and still is.
        assert await get_state(pid) == {"seen": []}
        assert send(pid, ("a", 9))
        assert not send(pid, ("a", 10)), "the new limit holds"
        resume(pid)
        await wait_all_tasks_blocked()

        assert await call(pid, "?") == (("a", 2), ("b0", 0), ("b1", 1), ("b2", 2), ("a", 9))
        process = pid._process
        assert process is not None
        assert process.extras is not None
        assert process.extras.bytes == 0

        written.write("""
            class Meter(Actor):
                mailbox = Mailbox(capacity=50, overflow="conflate", key=lambda message: message[0])
                def handle_info(self, message):
                    self.seen.append(message)
        """)
        await suspend(pid)
        send(pid, ("a", 1))
        await code_change(old, node)
        send(pid, ("a", 2))
        resume(pid)
        await wait_all_tasks_blocked()
        assert (await get_state(pid))["seen"][-1] == ("a", 2)
        assert len((await get_state(pid))["seen"]) == 6


async def test_subclasses_in_the_module_move_too(written: Written) -> None:
    source = """
        class Base(Actor):
            def handle_call(self, message, caller):
                return self.word() + "/base1"
        class Leaf(Base):
            def word(self):
                return "leaf1"
    """
    module = written.load(source)
    async with Node("demo") as node:
        pid = await node.spawn(module.Leaf)
        written.write(source.replace("1", "2"))
        assert (await code_change(module.Base, node)).classes == ("Base", "Leaf")
        assert await call(pid, "?") == "leaf2/base2"


async def test_subclasses_elsewhere_get_the_new_base_all_or_none(written: Written) -> None:
    source = """
        class Base(Actor):
            def init(self, start=0):
                self.value = start
            def handle_call(self, message, caller):
                return (self.word(), "base1", self.value)
    """
    module = written.load(source)

    class Leaf(module.Base):  # type: ignore[misc, name-defined]
        def word(self) -> str:
            return "leaf"

    class Twig(Leaf):
        def word(self) -> str:
            return "twig/" + super().word()

    async with Node("demo") as node:
        leaves = [await node.spawn(Leaf, number) for number in range(3)]
        twig = await node.spawn(Twig, 9)
        written.write(
            source.replace("base1", "base2")
            + """
            async def code_change(self, old_version, extra):
                if self.value == extra:
                    raise ValueError("not me")
                self.value += 100
        """
        )
        change = await code_change(module, node, extra=1)
        assert change.moved == 0
        assert set(change.failed) == {*leaves, twig}
        assert [await call(pid, "?") for pid in (*leaves, twig)] == [
            *[("leaf", "base1", number) for number in range(3)],
            ("twig/leaf", "base1", 9),
        ]
        assert await call(await node.spawn(Leaf, 5), "?") == ("leaf", "base1", 5)

        assert (await code_change(module, node, extra=None)).moved == 5
        assert await call(twig, "?") == ("twig/leaf", "base2", 109)
        assert await call(await node.spawn(Leaf, 5), "?") == ("leaf", "base2", 5)


async def test_a_class_that_cannot_hold_the_attributes_is_refused(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        pid = await node.spawn(old, 3)
        written.write("""
            class Counter(Actor):
                __slots__ = ("count", "other")
        """)
        change = await code_change(old, node)

        assert list(change.failed) == [pid]
        assert "layout" in change.failed[pid]
        assert await call(pid, "?") == ("v1", 3)


async def test_a_vanished_class_leaves_its_actors_as_they_are(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        pid = await node.spawn(old, 3)
        written.write("class Other(Actor): pass")
        assert (await code_change(old, node)).moved == 0
        assert await call(pid, "?") == ("v1", 3)


async def test_a_state_machine_keeps_its_state_which_must_exist(written: Written) -> None:
    source = """
        class Door(StateMachine):
            def init(self):
                return self.begin("locked")
            def locked(self, event_type, content):
                return KeepState(Answer(event_type[1], "locked 1"))
    """
    old = written.load(source).Door
    async with Node("demo") as node:
        pid = await node.spawn(old)
        written.write(source.replace("locked 1", "locked 2"))
        assert (await code_change(old, node)).moved == 1
        assert await call(pid, "?") == "locked 2"

        gone = source.replace("locked", "shut").replace('"shut 1"', '"shut 3"')
        written.write(gone)
        assert "no state function for 'locked'" in (await code_change(old, node)).failed[pid]
        assert await call(pid, "?") == "locked 2"

        written.write(
            gone
            + """
            def code_change(self, old_version, extra):
                return NextState("shut")
        """
        )
        assert (await code_change(old, node)).moved == 1
        assert await call(pid, "?") == "shut 3"


async def test_a_process_style_actor_moves_in_receive_and_says_that_its_loop_is_old(written: Written) -> None:
    source = """
        class Loop(ProcessActor):
            async def run(self):
                while True:
                    request = await self.receive()
                    reply(request, ("loop 1", self.answer()))
            def answer(self):
                return "method 1"
    """
    old = written.load(source).Loop
    async with Node("demo") as node:
        pid = await node.spawn(old)
        await wait_all_tasks_blocked()
        written.write(source.replace(" 1", " 2"))
        change = await code_change(old, node)

        assert change.loops == (pid,)
        assert await call(pid, "?") == ("loop 1", "method 2")
        assert await call(await node.spawn(old), "?") == ("loop 2", "method 2")


async def test_methods_an_actor_keeps_as_callbacks_are_the_new_ones(written: Written) -> None:
    source = """
        class Keeper(Actor):
            def init(self):
                self.react = self.first
            def first(self):
                return 1
            def handle_call(self, message, caller):
                return self.react()
    """
    old = written.load(source).Keeper
    async with Node("demo") as node:
        pid = await node.spawn(old)
        written.write(source.replace("return 1", "return 2"))
        await code_change(old, node)
        assert await call(pid, "?") == 2


async def test_deaths_during_the_change_are_no_failures_and_traces_see_it(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        dying, living = await node.spawn(old), await node.spawn(old)
        events: list[tuple[str, Any]] = []
        trace(living, lambda event: events.append((event.event, event.content)))
        written.write(
            COUNTER
            + """
    async def code_change(self, old_version, extra):
        extra.append(self.pid)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
"""
        )
        seen: list[Pid] = []
        results: list[CodeChange] = []
        async with trio.open_nursery() as nursery:

            async def change() -> None:
                results.append(await code_change(old, node, extra=seen))

            nursery.start_soon(change)
            while dying not in seen:
                await trio.lowlevel.checkpoint()
            node.exit(dying, "kill")

        assert (results[0].moved, results[0].failed) == (1, {})
        assert ("code_change", written.module.Counter) in events
        assert await call(living, "?") == ("v1", 0)


async def test_one_change_of_a_module_at_a_time(written: Written) -> None:
    old = written.load(COUNTER).Counter
    async with Node("demo") as node:
        await node.spawn(old)
        written.write(
            COUNTER
            + """
    async def code_change(self, old_version, extra):
        await extra.wait()
"""
        )
        gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: node.code_change(old, extra=gate))
            await wait_all_tasks_blocked()
            with pytest.raises(CodeChangeFailed, match="being changed already"):
                await node.code_change(old)
            gate.set()


async def test_an_actor_can_ask_for_the_change_of_its_own_class_from_a_task(written: Written) -> None:
    old = written.load(COUNTER).Counter

    class Operator(Actor):
        async def handle_call(self, message: Any, caller: Request) -> CodeChange:
            return await self.node.code_change(message)

    async with Node("demo") as node:
        pid = await node.spawn(old)
        operator = await node.spawn(Operator)
        written.write(COUNTER.replace('"v1"', '"v2"'))
        assert (await call(operator, written.name)).moved == 1
        assert await call(pid, "?") == ("v2", 0)
        cast(pid, "unhandled, and the end of it")
