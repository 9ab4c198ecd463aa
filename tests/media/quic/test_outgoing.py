from __future__ import annotations

import pytest
import trio
from aioquic.quic import events

from tests.media.quic.endpoints import Open, open_endpoint
from tests.media.quic.quic_client import open_quic
from wsactors.media.gathering import Gathering
from wsactors.media.quic import hub
from wsactors.media.quic.batches import BATCH, PlainBatches
from wsactors.media.quic.connection import Connection
from wsactors.media.quic.fast_path import FastBackend
from wsactors.media.quic.transport import Drop, datagram_frame

SECONDS = 30


class Refusals:
    """Hears what the kernel did not take."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def refused(self, frame: bytes) -> None:
        self.frames.append(frame)


async def established(server: Open, count: int) -> list[Connection]:
    with trio.fail_after(SECONDS):
        while len(server.echoes) < count or not all(each.connection.came_as for each in server.echoes):  # noqa: ASYNC110
            await trio.sleep(0.01)
    return [each.connection for each in server.echoes]


async def heard(client: object, count: int) -> list[bytes]:
    await client.wait(lambda: len(client.of(events.DatagramFrameReceived)) >= count)  # type: ignore[attr-defined]
    return [each.data for each in client.of(events.DatagramFrameReceived)]  # type: ignore[attr-defined]


async def test_what_is_gathered_leaves_together_at_the_end_in_order() -> None:
    async with open_endpoint(backend=FastBackend()) as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        [connection] = await established(server, 1)
        outgoing = server.hub.outgoing
        frames = [datagram_frame(bytes([number]) * 20) for number in range(8)]

        with Gathering.of(server.node):
            assert all(connection.send_datagram(frame) for frame in frames)
            assert outgoing.datagrams_out == 0
        assert outgoing.datagrams_out == 8
        assert outgoing.bytes_out >= 8 * 22
        assert connection.send_datagram(datagram_frame(b"alone"))
        assert outgoing.datagrams_out == 9

        assert await heard(client, 9) == [*(bytes([number]) * 20 for number in range(8)), b"alone"]


async def test_a_batch_that_is_full_does_not_wait_for_the_end() -> None:
    async with (
        open_endpoint(backend=FastBackend()) as server,
        open_quic(server.port) as client,
        open_quic(server.port) as other,
    ):
        await client.send(b"hello")
        await other.send(b"hello")
        await client.wait(lambda: client.stream(0))
        await other.wait(lambda: other.stream(0))
        connections = await established(server, 2)
        outgoing = server.hub.outgoing
        sent = 0
        with Gathering.of(server.node):
            while outgoing.datagrams_out == 0 and sent <= BATCH:
                sent += connections[sent % 2].send_datagram(datagram_frame(bytes([sent])))
            gathered = outgoing.datagrams_out
        assert gathered == sent == BATCH
        assert sorted(await heard(client, BATCH // 2) + await heard(other, BATCH // 2)) == [
            bytes([number]) for number in range(BATCH)
        ]


async def test_what_the_kernel_refuses_is_counted_for_who_has_sent_it_and_harms_nobody() -> None:
    async with (
        open_endpoint(backend=FastBackend()) as server,
        open_quic(server.port) as client,
        open_quic(server.port) as other,
    ):
        await client.send(b"hello")
        await other.send(b"hello")
        await client.wait(lambda: client.stream(0))
        await other.wait(lambda: other.stream(0))
        first, second = await established(server, 2)
        port = client.sock.getsockname()[1]
        good, bad = (first, second) if first.came_from[1] == port else (second, first)
        refusals = Refusals()
        bad.came_as = server.hub._batches.name(("127.0.0.1", 0))  # no packet goes to port 0

        with Gathering.of(server.node):
            for connection in (good, bad, good):
                connection.send_datagram(datagram_frame(b"sound"), refusals)
            bad.send_datagram(datagram_frame(b"nobody minds"))

        assert refusals.frames == [datagram_frame(b"sound")]
        assert bad.transport.drops[Drop.KERNEL] == 2
        assert good.transport.drops[Drop.KERNEL] == 0
        assert server.hub.outgoing.datagrams_out == 2
        assert await heard(client, 2) == [b"sound", b"sound"]


async def test_who_moves_gets_what_is_gathered_at_the_new_address() -> None:
    async with open_endpoint(backend=FastBackend()) as server, open_quic(server.port) as client:
        await client.send(b"here")
        await client.wait(lambda: client.stream(0))
        [connection] = await established(server, 1)
        await client.move()
        await client.send(b"there", 4)
        await client.wait(lambda: client.stream(4))
        sent = False
        with trio.fail_after(SECONDS):
            while not sent:  # until the new address is validated
                await trio.sleep(0.01)
                with Gathering.of(server.node):
                    sent = connection.send_datagram(datagram_frame(b"sound"))
        assert connection.transport.address == client.sock.getsockname()
        assert await heard(client, 1) == [b"sound"]


async def test_an_endpoint_does_without_batches_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "batches_of", PlainBatches)
    async with open_endpoint(backend=FastBackend()) as server, open_quic(server.port) as client:
        await client.send(b"hello" * 1_000)
        await client.wait(lambda: client.stream(0) == b"hello" * 1_000)
        [connection] = await established(server, 1)
        with Gathering.of(server.node):
            assert connection.send_datagram(datagram_frame(b"one"))
            assert connection.send_datagram(datagram_frame(b"two"))
        assert await heard(client, 2) == [b"one", b"two"]
