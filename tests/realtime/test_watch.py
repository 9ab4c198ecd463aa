"""The one task that waits for all sockets and minds all deadlines."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from wsactors.realtime.watch import SocketWatch


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        yield ours, theirs


def fill(sock: socket.socket) -> None:
    while True:
        try:
            sock.send(bytes(65_536))
        except BlockingIOError:
            return


def empty(sock: socket.socket) -> None:
    while True:
        try:
            if not sock.recv(65_536):
                return
        except BlockingIOError:
            return


async def until(called: list[Any], name: object) -> None:
    with trio.fail_after(30):
        while name not in called:  # noqa: ASYNC110
            await trio.sleep(0.001)


async def test_there_is_one_for_a_run_and_its_task_ends_with_it() -> None:
    first = SocketWatch.current()
    tasks = trio.lowlevel.current_statistics().tasks_living
    assert SocketWatch.current() is first
    await trio.lowlevel.checkpoint()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    other: list[SocketWatch] = []

    async def another_run() -> None:
        other.append(SocketWatch.current())
        await trio.lowlevel.checkpoint()

    await trio.to_thread.run_sync(trio.run, another_run)
    assert other != [first]


async def test_a_socket_is_told_of_once_when_it_has_room_again(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    watch = SocketWatch.current()
    called: list[str] = []
    for round_ in ("first", "second"):
        fill(ours)
        watch.when_writable(ours.fileno(), partial(called.append, round_))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert round_ not in called
        empty(theirs)
        await until(called, round_)
        await trio.sleep(0.01)
    assert called == ["first", "second"]
    watch.forget(ours.fileno())


async def test_what_is_forgotten_is_not_called_and_its_number_can_be_used_again() -> None:
    watch = SocketWatch.current()
    called: list[int] = []
    descriptors = set()
    for number in range(3):
        ours, theirs = socket.socketpair()
        descriptors.add(ours.fileno())
        with ours, theirs:
            watch.when_writable(ours.fileno(), partial(called.append, number))
            if number == 1:
                await until(called, number)
            watch.forget(ours.fileno())
            watch.forget(ours.fileno())
        await trio.sleep(0.01)
    assert called == [1]
    assert len(descriptors) == 1


async def test_a_peer_that_leaves_counts_as_room(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fill(ours)
    gone = trio.Event()
    SocketWatch.current().when_writable(ours.fileno(), gone.set)
    theirs.close()
    with trio.fail_after(30):
        await gone.wait()
    SocketWatch.current().forget(ours.fileno())


async def test_hundreds_of_ready_sockets_do_not_keep_other_tasks_waiting() -> None:
    watch = SocketWatch.current()
    called: list[int] = []
    turns = 0
    pairs = [socket.socketpair() for _ in range(300)]
    for number, (ours, _) in enumerate(pairs):
        watch.when_writable(ours.fileno(), partial(called.append, number))
    with trio.fail_after(30):
        while len(called) < 300:
            await trio.lowlevel.checkpoint()
            turns += 1
    assert sorted(called) == list(range(300))
    assert turns >= 300 / 32
    for ours, theirs in pairs:
        watch.forget(ours.fileno())
        ours.close()
        theirs.close()


async def test_deadlines_come_in_time_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    watch = SocketWatch.current()
    start = trio.current_time()
    came: list[tuple[str, float]] = []

    def note(name: str) -> None:
        came.append((name, trio.current_time() - start))

    watch.at(start + 3, partial(note, "third"))
    await trio.testing.wait_all_tasks_blocked()
    watch.at(start + 1, partial(note, "first"))  # earlier than what the task waits for
    cancelled = watch.at(start + 2, partial(note, "never"))
    watch.at(start + 2, partial(note, "second"))
    watch.at(start - 1, partial(note, "late"))
    assert cancelled.is_pending
    cancelled.cancel()
    cancelled.cancel()
    assert not cancelled.is_pending
    await trio.sleep(10)
    assert came == [("late", 0), ("first", 1), ("second", 2), ("third", 3)]


async def test_a_callback_may_ask_again_and_one_that_fails_ends_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = SocketWatch.current()
    came: list[float] = []

    def again() -> None:
        came.append(trio.current_time())
        if len(came) < 5:
            watch.at(trio.current_time() + 1, again)
        raise LookupError("of a connection's own")

    watch.at(trio.current_time(), again)
    await trio.sleep(10)
    assert [time - came[0] for time in came] == [0, 1, 2, 3, 4]
    assert "socket_callback_failed" in caplog.text


async def test_deadlines_that_were_cancelled_are_not_kept_for_their_whole_time() -> None:
    watch = SocketWatch.current()
    far = trio.current_time() + 1e6
    for _ in range(20_000):
        watch.at(far, fill_nothing).cancel()
    assert len(watch) < 300
    kept = [watch.at(far, fill_nothing) for _ in range(3_000)]
    for _ in range(20_000):
        watch.at(far, fill_nothing).cancel()
    assert 3_000 <= len(watch) <= 6_001
    assert all(each.is_pending for each in kept)
    for each in kept:
        each.cancel()


def fill_nothing() -> None:
    """A deadline's callback that is never called."""
