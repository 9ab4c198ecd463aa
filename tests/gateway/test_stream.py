"""The gateway's stream over one socket: what is given back, and how fast a peer is read."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from wsactors.gateway.stream import ConnectionStream, Pace
from wsactors.realtime.sinks import SocketSink


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        yield ours, theirs


async def test_a_paced_peer_is_read_in_small_portions_and_no_faster_than_its_rate(
    pair: tuple[socket.socket, socket.socket], autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = pair
    theirs.send(bytes(60_000))
    stream = ConnectionStream(ours, SocketSink(ours))
    stream.pace = Pace(rate=1_000, burst=10_000, portion=500)
    start = trio.current_time()
    sizes: list[int] = []
    while sum(sizes) < 30_000:
        sizes.append(len(await stream.receive_some()))
        if sum(sizes) <= 10_000:
            assert trio.current_time() == start  # the burst is free
    assert max(sizes) == 500
    assert trio.current_time() - start == pytest.approx(20, abs=1)
    await trio.sleep(100)
    start = trio.current_time()
    for _ in range(20):
        await stream.receive_some()
    assert trio.current_time() == start  # who has been quiet may burst again, but not more than once
    await stream.receive_some()
    assert trio.current_time() > start


async def test_pacing_counts_what_was_given_back(
    pair: tuple[socket.socket, socket.socket], autojump_clock: trio.testing.MockClock
) -> None:
    stream = ConnectionStream(pair[0], SocketSink(pair[0]))
    stream.unread(bytes(5_000))
    stream.pace = Pace(rate=1_000, burst=1_000, portion=100)
    start = trio.current_time()
    assert [len(await stream.receive_some()) for _ in range(50)] == [100] * 50
    assert trio.current_time() - start == pytest.approx(4, abs=0.5)
