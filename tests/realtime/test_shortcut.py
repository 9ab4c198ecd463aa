"""Broadcasts that go past the sinks: the bytes on every socket are what they would be otherwise."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from wsactors.cluster import LocalExchange, Receiver, Relay, RelayPartition
from wsactors.cluster.relay import BREATH
from wsactors.realtime.sinks import SlowReader, SocketSink
from wsactors.supervision import Node


@attrs.frozen
class Numbered:
    """Its bytes say which message they belong to."""

    number: int
    size: int = 40
    exclude: object = None
    key: object = None

    def encode(self, _format: object) -> bytes:
        return b"%08x" % self.number * (self.size // 8)


class Peer:
    """A member with a sink, and the far end of its connection, which notes what has come."""

    def __init__(self, number: int, *, send_buffer: int | None = None, sealed: bool = False) -> None:
        ours, self.far = socket.socketpair()
        if send_buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        for sock in (ours, self.far):
            sock.setblocking(False)
        self.sink = SocketSink(ours, seal=bytes.swapcase if sealed else None, limit=1 << 20)
        self.receiver = Receiver(number, "numbered", self.sink.offer, self.sink)
        self.got = bytearray()

    @property
    def is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self.far, select.POLLIN)
        return bool(poll.poll(0))

    def read(self, most: int = 1 << 20) -> None:
        try:
            self.got += self.far.recv(most)
        except BlockingIOError:
            return

    async def read_all(self, size: int) -> None:
        with trio.fail_after(10):
            while len(self.got) < size:
                await trio.lowlevel.wait_readable(self.far)
                self.read()

    def close(self) -> None:
        self.sink.close()
        self.far.close()


@asynccontextmanager
async def relay_to(*peers: Peer) -> AsyncIterator[Relay]:
    async with Node("shortcut") as node:
        relay = Relay(node, LocalExchange().join("shortcut"), 1)
        for place, groups, number in relay.partition_args():
            await node.spawn(RelayPartition, groups, number, name=place)
        for peer in peers:
            relay.admit("g", peer.receiver)
        try:
            yield relay
        finally:
            for peer in peers:
                peer.close()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.001)


def stream(*messages: Numbered) -> bytes:
    return b"".join(message.encode(None) for message in messages)


async def test_a_broadcast_goes_past_the_sinks() -> None:
    peers = [Peer(number) for number in range(BREATH + 10)]
    async with relay_to(*peers) as relay:
        relay.publish("g", Numbered(1))
        await settle()
        for peer in peers:
            peer.read()
            assert peer.got == stream(Numbered(1))
        assert all(peer.sink.statistics().offered == 0 for peer in peers)


async def test_the_sender_is_left_out_wherever_it_stands() -> None:
    peers = [Peer(0), Peer(1, sealed=True), Peer(2), Peer(3)]
    async with relay_to(*peers) as relay:
        for number in range(4):
            relay.publish("g", Numbered(number, exclude=number))
        await settle()
        for number, peer in enumerate(peers):
            peer.read()
            wanted = stream(*(Numbered(each) for each in range(4) if each != number))
            assert bytes(peer.got) == (wanted if number != 1 else wanted.swapcase())


async def test_a_message_that_the_kernel_cuts_is_finished_before_the_next() -> None:
    stalled, other = Peer(1, send_buffer=4096), Peer(2)
    async with relay_to(stalled, other) as relay:
        sent = [Numbered(number, size=30_000) for number in range(8)]
        for message in sent:
            relay.publish("g", message)
            await settle()
            other.read()
        assert bytes(other.got) == stream(*sent)
        assert stalled.sink.statistics().would_block
        assert stalled.sink.shortcut() is None
        await stalled.read_all(8 * 30_000)
        assert bytes(stalled.got) == stream(*sent)
        await stalled.sink.wait_sent()
        assert stalled.sink.shortcut() is not None


async def test_one_connection_twice_in_a_group_is_never_written_in_the_middle_of_a_message() -> None:
    peer = Peer(1, send_buffer=4096)
    peer.sink = FastPeer(peer)
    peer.receiver = Receiver(1, "numbered", peer.sink.offer, peer.sink)
    async with relay_to(peer) as relay:
        relay.admit("g", Receiver(2, "numbered", peer.sink.offer, peer.sink))
        for number in range(4):
            relay.publish("g", Numbered(number, size=16_000))
        await settle()
        await peer.read_all(8 * 16_000)
        assert bytes(peer.got) == stream(*(Numbered(number // 2, size=16_000) for number in range(8)))


class FastPeer(SocketSink):
    """A sink whose peer has read everything by the time that somebody looks again."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.sink._sock, limit=1 << 20)
        self._peer = peer

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        super().sent_partly(data, sent, key)
        self._peer.read()


class LoggedSink(SocketSink):
    """A sink that notes whatever is sent."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.sink._sock, limit=1 << 20)
        self.log: list[bytes] = []

    def witness(self) -> Callable[[bytes], object]:
        return self.log.append

    def offer(self, data: bytes, key: object = None) -> bool:
        self.log.append(data)
        return super().offer(data, key)

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        self.log.append(data)
        super().sent_partly(data, sent, key)


@pytest.mark.parametrize("seed", range(4))
async def test_a_witness_is_told_of_what_is_sent_when_it_is_sent(seed: int) -> None:
    chance = random.Random(seed)
    peers = [Peer(number, send_buffer=4096) for number in range(12)]
    logged = chance.sample(peers, 6)
    for peer in logged:
        peer.sink = LoggedSink(peer)
        peer.receiver = Receiver(peers.index(peer), "numbered", peer.sink.offer, peer.sink)
    async with relay_to(*peers) as relay:
        wanted: dict[int, list[bytes]] = {number: [] for number in range(12)}
        for number in range(100):
            message = Numbered(number, 8 * chance.choice([4, 400]), exclude=chance.choice([None, *range(12)]))
            relay.publish("g", message)
            for place in range(12):
                if place != message.exclude:
                    wanted[place].append(message.encode(None))
            await settle()
            if chance.random() < 0.2:  # something for one alone, in between
                place = chance.randrange(12)
                wanted[place].append(b"alone")
                peers[place].sink.offer(b"alone")
            for peer in chance.sample(peers, 6):
                peer.read(chance.choice([1_000, 100_000]))
        for place, peer in enumerate(peers):
            await peer.read_all(len(b"".join(wanted[place])))
            assert bytes(peer.got) == b"".join(wanted[place])
            if isinstance(peer.sink, LoggedSink):
                assert peer.sink.log == wanted[place]


async def during_a_broadcast(relay: Relay, peers: list[Peer], do: Callable[[], object]) -> None:
    """Publish number 1, and call ``do`` when the first of ``peers`` have it."""

    async def meanwhile() -> None:
        await trio.lowlevel.wait_readable(peers[0].far)
        assert not peers[-1].is_readable
        do()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(meanwhile)
        await trio.testing.wait_all_tasks_blocked()
        relay.publish("g", Numbered(1))
    await settle()


async def test_who_leaves_during_a_broadcast_gets_nothing_more() -> None:
    peers = [Peer(number) for number in range(3 * BREATH)]
    leaver = peers[-1]
    async with relay_to(*peers) as relay:
        await during_a_broadcast(relay, peers, lambda: relay.remove("g", leaver.receiver))
        for peer in peers:
            peer.read()
            assert bytes(peer.got) == (b"" if peer is leaver else stream(Numbered(1)))


async def test_who_is_sent_something_large_during_a_broadcast_gets_that_whole() -> None:
    peers = [Peer(number, send_buffer=4096) for number in range(3 * BREATH)]
    busy, large = peers[-1], Numbered(7, size=200_000)

    def send() -> None:
        busy.sink.offer(stream(large))
        busy.read()  # now the kernel would take more

    async with relay_to(*peers) as relay:
        await during_a_broadcast(relay, peers, send)
        await busy.read_all(200_040)
        assert bytes(busy.got) == stream(large, Numbered(1))
        peers[-2].read()
        assert bytes(peers[-2].got) == stream(Numbered(1))


async def test_peers_that_are_gone_or_given_up_cost_the_others_nothing() -> None:
    peers = [Peer(number, send_buffer=4096) for number in range(5)]
    gone, closed, finished = peers[1:4]
    async with relay_to(*peers) as relay:
        relay.publish("g", Numbered(1))
        await settle()
        gone.far.close()
        closed.sink.close()
        finished.sink.finish(b"BYE", SlowReader("too slow"))
        relay.publish("g", Numbered(2))
        await settle()
        for peer in (peers[0], peers[4]):
            peer.read()
            assert bytes(peer.got) == stream(Numbered(1), Numbered(2))
        finished.read()
        assert bytes(finished.got) == stream(Numbered(1)) + b"BYE"
        assert gone.sink.closed


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_readers_do_each_gets_every_byte_in_order(seed: int) -> None:
    chance = random.Random(seed)
    peers = [Peer(number, send_buffer=chance.choice([4096, 20_000])) for number in range(40)]
    async with relay_to(*peers) as relay:
        sent: list[Numbered] = []
        for number in range(150):
            message = Numbered(number, size=8 * chance.choice([4, 200, 900]))
            relay.publish("g", message)
            sent.append(message)
            if chance.random() < 0.3:
                await settle()
            for peer in chance.sample(peers, 10):
                peer.read(chance.choice([100, 5_000, 100_000]))
            if chance.random() < 0.3:
                await trio.lowlevel.checkpoint()
        for peer in peers:
            await peer.read_all(len(stream(*sent)))
            assert bytes(peer.got) == stream(*sent)
            assert peer.sink.closed is None
