from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from wsactors.realtime.pull_sink import PullSink
from wsactors.realtime.send_queue import AUDIO, DROP_OLDEST, SendQueue
from wsactors.realtime.sinks import SinkClosed, SlowReader, SocketSink, prepare_audio_socket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def connected_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection over loopback: its sending end as the gateway prepares it, its other end with a small window."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    peer.setblocking(False)
    prepare_audio_socket(ours)
    with ours, peer:
        yield ours, peer


def fill(sink: SocketSink, data: bytes, key: object = AUDIO) -> int:
    """Offer until the kernel has refused some; returns how many offers that took."""
    count = 0
    while sink.statistics().would_block == 0:
        assert sink.offer(data, key)
        count += 1
        assert count < 10_000
    return count


async def read_all(peer: socket.socket, enough: int | None = None) -> bytes:
    """Read until ``enough`` bytes came, or until the other side closed."""
    got = bytearray()
    with trio.fail_after(30):
        while enough is None or len(got) < enough:
            try:
                piece = peer.recv(65536)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(peer)
                continue
            except ConnectionResetError:
                break
            if not piece:
                break
            got += piece
    return bytes(got)


def frame(number: int, size: int = 350) -> bytes:
    return number.to_bytes(4, "big") * (size // 4)


async def test_what_the_kernel_takes_is_sent_at_once_without_the_writer() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours)

        assert sink.offer(b"one", AUDIO)
        assert sink.offer(b"two")

        assert await read_all(peer, 6) == b"onetwo"
        assert sink.statistics().sent_direct == 2
        assert sink.statistics().buffered_bytes == 0
        sink.close()


async def test_an_audio_socket_holds_no_more_than_promised_in_the_kernel() -> None:
    with connected_pair() as (ours, _peer):
        sink = SocketSink(ours)
        accepted = fill(sink, b"x" * 350) * 350

        # 32 KiB of socket buffer, half of it the kernel's bookkeeping, and the peer's small window
        assert accepted < 48 * 1024
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 32 * 1024
        sink.close()


async def test_audio_ages_out_and_a_started_frame_is_finished() -> None:
    clock = Clock()
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, clock=clock)
        frames = 0
        while sink.statistics().would_block == 0:
            sink.offer(frame(frames, 352), AUDIO)
            frames += 1
        for _ in range(10):
            sink.offer(frame(frames, 352), AUDIO)
            frames += 1
        clock.now += 0.6
        first_fresh = frames
        sink.offer(frame(frames, 352), AUDIO)

        got = await read_until(peer, frame(first_fresh, 352))
        sink.close()

    numbers = [got[at : at + 352] for at in range(0, len(got), 352)]
    assert all(piece == piece[:4] * 88 for piece in numbers), "every frame is whole: a started one was finished"
    heard = [int.from_bytes(piece[:4], "big") for piece in numbers]
    assert heard == sorted(heard)
    assert heard[-1] == first_fresh
    assert not set(range(first_fresh - 9, first_fresh)) & set(heard), "nothing that waited over half a second was sent"
    statistics = sink.statistics()
    assert statistics.aged_out >= 9
    assert statistics.oldest_audio_sent <= 0.5


async def read_until(peer: socket.socket, wanted: bytes) -> bytes:
    got = b""
    with trio.fail_after(30):
        while wanted not in got:
            got += await read_all(peer, 1)
    return got


async def test_memory_stays_bounded_while_a_peer_stalls() -> None:
    clock = Clock()
    with connected_pair() as (ours, _peer):
        sink = SocketSink(ours, limit=20_000, clock=clock)
        for number in range(5_000):
            clock.now += 0.0001
            sink.offer(frame(number), AUDIO)
        statistics = sink.statistics()

        assert statistics.would_block >= 1
        assert statistics.buffered_peak <= 20_000
        assert statistics.aged_out > 4_000
        sink.close()


async def test_ordered_bytes_go_before_waiting_audio_and_never_age() -> None:
    clock = Clock()
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, clock=clock)
        sent = fill(sink, b"a" * 400) * 400
        sink.offer(b"control")
        clock.now += 3600

        got = await read_until(peer, b"control")
        sink.close()

    assert got.index(b"control") <= sent, "ordered bytes overtook the audio that waited"


async def test_the_newest_of_a_key_replaces_the_one_that_waits() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours)
        fill(sink, b"a" * 400)
        for number in range(100):
            assert sink.offer(b"state%02d" % number, "state")

        got = await read_until(peer, b"state99")
        sink.close()

    assert b"state98" not in got
    assert sink.statistics().replaced == 99


async def test_ordered_bytes_that_do_not_fit_end_the_connection() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, limit=10_000)
        fill(sink, b"a" * 400)

        assert [sink.offer(b"b" * 4_000) for _ in range(4)] == [True, True, False, False]
        assert isinstance(sink.closed, SlowReader)
        with pytest.raises(SlowReader):
            await sink.write(b"more")
        await read_all(peer)
    assert ours.fileno() == -1


async def test_write_waits_until_the_kernel_has_it_and_keeps_order() -> None:
    body = bytes(range(256)) * 4_000
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, limit=1_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.write, body)
            got = await read_all(peer, len(body))
            await sink.write(b"end")
            assert await read_all(peer, 3) == b"end"
            sink.close()

    assert got == body


async def test_a_peer_that_reads_nothing_is_given_up_after_the_stall_timeout() -> None:
    with connected_pair() as (ours, _peer):
        sink = SocketSink(ours, stall_timeout=0.05)
        with trio.fail_after(30), pytest.raises(SlowReader, match="read nothing"):
            await sink.write(b"x" * 1_000_000)


async def test_close_wakes_a_shielded_write_and_the_writer() -> None:
    with connected_pair() as (ours, _peer):
        sink = SocketSink(ours)
        outcome: list[str] = []

        async def shielded_write() -> None:
            with trio.CancelScope(shield=True):
                try:
                    await sink.write(b"x" * 1_000_000)
                except SinkClosed:
                    outcome.append("closed")

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shielded_write)
                await trio.testing.wait_all_tasks_blocked()
                sink.close()

    assert outcome == ["closed"]
    assert not sink.offer(b"late")
    sink.close()


async def test_a_peer_that_left_closes_the_sink_and_nothing_is_raised() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        with trio.fail_after(30):
            while sink.offer(b"x", AUDIO):
                await trio.lowlevel.checkpoint()

    assert isinstance(sink.closed, SinkClosed)
    assert sink.statistics().refused == 1


async def test_what_was_sealed_is_sent_in_the_order_of_sealing() -> None:
    """A TLS record may not be dropped or reordered once made: seal happens at the moment of writing."""
    sealed: list[int] = []

    def seal(data: bytes) -> bytes:
        sealed.append(data[0])
        return len(sealed).to_bytes(4, "big") + data

    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, seal=seal)
        fill(sink, b"a" * 396)
        for _ in range(50):
            sink.offer(b"b" * 396, AUDIO)
        sink.offer(b"c" * 396)
        got = await read_until(peer, b"b" * 396)
        while len(got) < 400 * len(sealed):
            got += await read_all(peer, 1)
        sink.close()

    counters = [int.from_bytes(got[at : at + 4], "big") for at in range(0, len(got), 400)]
    assert counters == list(range(1, len(counters) + 1))


async def test_the_oldest_of_what_may_be_dropped_makes_room_and_the_rest_keeps_its_order() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, limit=4_000)
        while sink.is_idle:
            sink.offer(b"----" * 100)
        for number in range(50):
            assert sink.offer(b"d%03d" % number * 100, DROP_OLDEST)
            if number == 45:
                assert sink.offer(b"kept" * 100)
        got = await read_until(peer, b"d049" * 100)
        sink.close()

    order = [got[at : at + 4] for at in range(0, len(got), 400)]
    order = order[order.index(next(each for each in order if each[:1] == b"d")) :]
    dropped = sink.statistics().dropped
    assert order == [*(b"d%03d" % number for number in range(dropped, 46)), b"kept", b"d046", b"d047", b"d048", b"d049"]
    assert 8 <= len(order) <= 10


async def test_a_slow_reader_gets_the_rest_of_its_message_and_a_farewell_and_is_closed_in_the_end() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours, limit=10_000)
        sink.farewell = b"FAREWELL"
        count = 0
        while sink.offer(b"%04d" % count * 100):
            count += 1
        assert isinstance(sink.closed, SlowReader)
        assert not sink.is_over
        assert not sink.offer(b"late", AUDIO)
        with pytest.raises(SlowReader):
            await sink.write(b"late")
        got = await read_until(peer, b"FAREWELL")
        await sink.wait_sent()
        sink.close()

    assert len(got) % 400 == len(b"FAREWELL")
    assert len(got) // 400 < count
    assert got.startswith(b"".join(b"%04d" % number * 100 for number in range(len(got) // 400)))


async def test_finishing_sends_what_is_ordered_then_the_farewell_and_closes_after_the_grace() -> None:
    with connected_pair() as (ours, peer):
        sink = SocketSink(ours)
        fill(sink, b"a" * 400)
        for _ in range(5):
            sink.offer(b"a" * 400, AUDIO)
            sink.offer(b"l" * 400, "latest")
            sink.offer(b"o" * 400)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_readable_until_woken, ours)
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            sink.finish(b"FAREWELL", grace=1.5)
        got = await read_all(peer)
        assert sink.is_over
        assert trio.current_time() - start > 1.4
    assert got.endswith(b"o" * 2000 + b"FAREWELL")
    assert b"l" not in got


async def wait_readable_until_woken(sock: socket.socket) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await trio.lowlevel.wait_readable(sock)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["offer", "take"]),
            st.sampled_from([AUDIO, DROP_OLDEST, None, "k", "l"]),
            st.integers(1, 40),
            st.integers(0, 300),
        )
    )
)
def test_the_queue_against_a_simple_model(steps: Any) -> None:
    """Bounded, nothing lost but what may be, no audio older than allowed; what is sent in order and what may be dropped
    stays in the order in which it came."""
    queue = SendQueue(limit=100, age=0.5)
    now, serial = 0.0, 0
    ordered: list[bytes] = []
    last = 0
    times: dict[bytes, float] = {}
    for action, key, size, milliseconds in steps:
        now += milliseconds / 1000
        if action == "offer":
            serial += 1
            data = serial.to_bytes(4, "big") * size
            if queue.add(data, key, now):
                times[data] = now
                if key is None:
                    ordered.append(data)
        else:
            taken = queue.take(now)
            if taken is not None and taken[1] in {None, DROP_OLDEST}:
                assert taken[1] == DROP_OLDEST or taken[0] == ordered.pop(0)
                assert int.from_bytes(taken[0][:4], "big") > last
                last = int.from_bytes(taken[0][:4], "big")
            else:
                assert not ordered
                assert not queue.droppable
                assert taken is None or taken[1] != AUDIO or now - times[taken[0]] <= 0.5
        lanes = (queue.ordered, queue.droppable, queue.audio)
        waiting = [*queue.latest.values(), *(data for lane in lanes for _, data in lane)]
        assert queue.size == sum(map(len, waiting))
        assert queue.size <= 100 or len(waiting) == 1


async def test_a_pull_sink_hands_out_fresh_audio_only() -> None:
    clock = Clock()
    sink = PullSink(clock=clock, limit=1_000)
    sink.offer(b"header")
    sink.offer(b"old", AUDIO)
    clock.now += 0.6
    sink.offer(b"new", AUDIO)

    assert [await sink.receive(), await sink.receive()] == [b"header", b"new"]
    assert sink.statistics().aged_out == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: expect_closed(sink))
        await trio.testing.wait_all_tasks_blocked()
        sink.close()
    assert not sink.offer(b"x", AUDIO)


async def expect_closed(sink: PullSink) -> None:
    with pytest.raises(SinkClosed):
        await sink.receive()
