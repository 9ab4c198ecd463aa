"""``at_death``: what an actor owns vanishes in the very step in which it dies, whatever kills it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.actors import Actor, Pid, ProcessActor, Stop, at_death, not_at_death, send
from wsactors.errors import NoProcess
from wsactors.supervision.node import Node

from .helpers import ended


class Sink:
    """Something to offer to, as connections have."""

    def __init__(self) -> None:
        self.open = True
        self.offers = 0

    def offer(self) -> bool:
        self.offers += 1
        return self.open

    def close(self, _: Pid | None = None) -> None:
        self.open = False


class Owner(Actor):
    async def init(self, sink: Sink) -> None:
        self.at_death("sink", sink.close)

    def handle_info(self, message: Any) -> Any:
        match message:
            case "stop":
                return Stop("normal")
            case "crash":
                raise ValueError("told to")
            case "forget":
                assert self.not_at_death("sink")
                assert not self.not_at_death("sink")
        return None

    async def handle_cast(self, message: Any) -> None:
        await trio.sleep_forever()


class Shielding(ProcessActor):
    """Its task does not unwind when it is killed."""

    def init(self, sink: Sink, release: trio.Event) -> None:
        self.at_death("sink", sink.close)
        self.release = release

    async def run(self) -> None:
        with trio.CancelScope(shield=True):
            await self.release.wait()


async def test_after_a_kill_the_sink_is_closed_in_the_same_step() -> None:
    async with Node("n") as node:
        sink = Sink()
        pid = await node.spawn(Owner, sink)
        assert sink.offer()
        node.exit(pid, "kill")
        assert not sink.offer()  # nothing has been awaited since


@pytest.mark.parametrize("how", ["stop", "crash", "kill while blocked", "linked"])
async def test_however_it_ends_whoever_hears_of_the_death_finds_the_sink_closed(how: str) -> None:
    async with Node("n") as node, node.attach() as me:
        sink = Sink()
        pid = await node.spawn(Owner, sink)
        ref = me.monitor(pid)
        match how:
            case "kill while blocked":
                node.cast(pid, "block")
                await trio.testing.wait_all_tasks_blocked()
                node.exit(pid, "kill")
            case "linked":
                me.link(pid)
                me.exit(pid, "enough")
            case _:
                send(pid, how)
        assert await ref.wait(5) is not None
        assert not sink.open


async def test_a_task_that_does_not_unwind_does_not_keep_the_sink_open() -> None:
    release = trio.Event()
    async with Node("n", kill_grace=0.05) as node:
        sink = Sink()
        pid = await node.spawn(Shielding, sink, release)
        node.exit(pid, "kill")
        await ended(node, pid)
        assert not sink.open
        release.set()


async def test_a_start_that_fails_closes_what_it_had_opened() -> None:
    class Failing(Owner):
        async def init(self, sink: Sink) -> None:
            await super().init(sink)
            raise ValueError("no")

    async with Node("n") as node:
        sink = Sink()
        with pytest.raises(Exception, match="no"):
            await node.spawn(Failing, sink)
        assert not sink.open


async def test_one_per_key_and_what_was_taken_back_is_not_called() -> None:
    async with Node("n") as node:
        first, second, kept = Sink(), Sink(), Sink()
        pid = await node.spawn(Owner, first)
        at_death(pid, "sink", second.close)
        at_death(pid, ("another", 1), kept.close)
        assert not_at_death(pid, ("another", 1))
        node.exit(pid, "kill")
        assert (first.open, second.open, kept.open) == (True, False, True)
        with pytest.raises(NoProcess):
            at_death(pid, "late", first.close)
        assert not not_at_death(pid, "sink")


async def test_a_callback_that_raises_is_logged_and_the_rest_of_the_death_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(pid: Pid) -> None:
        raise RuntimeError("cannot close")

    async with Node("n") as node, node.attach() as me:
        sink = Sink()
        pid = await node.spawn(Owner, sink, name="owner")
        at_death(pid, "broken", broken)
        at_death(pid, "after", sink.close)
        ref = me.monitor(pid)
        with caplog.at_level(logging.ERROR):
            node.exit(pid, "kill")
        assert not sink.open
        assert node.whereis("owner") is None
        assert await ref.wait(5) is not None
    assert "cannot close" in caplog.text


async def test_callbacks_may_look_and_send_but_not_add() -> None:
    """What runs in a death step finds the actor dead: adding to it is refused, taking back does nothing."""
    seen: list[Any] = []

    def look(pid: Pid) -> None:
        seen.append((not_at_death(pid, "sink"), send(pid, "hello")))
        with pytest.raises(NoProcess):
            at_death(pid, "more", look)

    async with Node("n") as node:
        pid = await node.spawn(Owner, Sink())
        at_death(pid, "look", look)
        node.exit(pid, "kill")
    assert seen == [(False, False)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spawn", "kill", "stop", "crash", "block", "link", "forget", "rest"]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_sink_outlives_its_pid(steps: list[tuple[str, int, int]]) -> None:
    """After every step of any life: a sink that was not taken back is open as long as its actor lives, and no longer."""

    async def live() -> None:
        owned: dict[Pid, Sink] = {}
        async with Node("n") as node:
            for step, one, two in steps:
                pids = list(owned)
                match step:
                    case "spawn":
                        sink = Sink()
                        owned[await node.spawn(Owner, sink)] = sink
                    case "rest":
                        await trio.testing.wait_all_tasks_blocked()
                    case _ if pids:
                        await_nothing(node, step, pids[one % len(pids)], pids[two % len(pids)], owned)
                for pid, sink in owned.items():
                    assert sink.open == (pid._process is not None)
        assert not any(sink.open for sink in owned.values())

    logging.disable(logging.CRITICAL)
    try:
        trio.run(live)
    finally:
        logging.disable(logging.NOTSET)


def await_nothing(node: Node, step: str, pid: Pid, other: Pid, owned: dict[Pid, Sink]) -> None:
    """One step, in which nothing else runs."""
    match step:
        case "kill":
            node.exit(pid, "kill")
        case "stop" | "crash":
            node.send(pid, step)
        case "block":
            node.cast(pid, step)
        case "link" if pid._process is not None and other._process is not None:
            at_death(pid, other, lambda _: node.exit(other, "kill"))  # a callback that causes another death
        case "forget" if pid._process is not None:
            if not_at_death(pid, "sink"):
                at_death(pid, "sink", owned[pid].close)
