from __future__ import annotations

import os
import random
import socket
import time
from typing import Any

import attrs
import pytest
import trio
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic import events
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from tests.media.quic.endpoints import open_endpoint
from tests.media.quic.quic_client import open_quic
from wsactors.actors import Down
from wsactors.media.quic import endpoint as endpoint_module
from wsactors.media.quic.door import DoorOptions, HubOptions, Turned
from wsactors.media.quic.endpoint import EndpointOptions, EndpointRefused, open_udp

SECONDS = 30


def options(**hub: Any) -> EndpointOptions:
    return EndpointOptions(hub=HubOptions(**hub))


async def until(condition: Any) -> None:
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


async def test_streams_and_datagrams_go_both_ways() -> None:
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.send(b"hello", 0)
        await client.send(b"there", 4)
        await client.wait(lambda: client.stream(0) == b"hello" and client.stream(4) == b"there")
        await client.datagram(b"sound")
        assert (await client.wait_for(events.DatagramFrameReceived)).data == b"sound"
        seen = await server.statistics()
        assert (seen.connections, seen.half_open, seen.handshakes) == (1, 0, 1)
        assert seen.datagrams_in == 1


async def test_a_connection_is_an_actor_that_ends_with_it() -> None:
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        [pid] = server.pids
        async with server.node.attach() as me:
            me.monitor(pid)
            await client.close(7, "bye")
            down = await me.receive(timeout=SECONDS)
            assert isinstance(down, Down)
            assert down.reason == "normal"
        await until(lambda: server.echoes[0].ended == ["bye"])
        assert not server.hub.connections
        assert not server.hub.roster.by_cid
        assert not server.hub.roster.peers


@pytest.mark.parametrize("words", [b"crash", b"crash later"])
async def test_a_connection_s_failure_is_its_own(words: bytes) -> None:
    async with open_endpoint() as server, open_quic(server.port) as client, open_quic(server.port) as other:
        await other.send(b"before")
        await client.send(words)
        over = await client.wait_for(events.ConnectionTerminated)
        assert over.error_code == 0x102
        await other.send(b"after", 4)
        await other.wait(lambda: other.stream(4) == b"after")
        await until(lambda: len(server.hub.connections) == 1)


async def test_a_killed_connection_is_closed_whatever_its_actor_waits_for() -> None:
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.send(b"wait for ever")
        await until(lambda: server.echoes and server.echoes[0].handled)
        server.node.exit(server.pids[0], "kill")
        assert (await client.wait_for(events.ConnectionTerminated)).error_code == 0x102
        await until(lambda: not server.hub.connections)


async def test_an_endpoint_that_crashes_comes_back_on_its_port_and_resets_whom_it_has_forgotten() -> None:
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        port, first = server.port, server.node.whereis("endpoint")
        connection = next(iter(server.hub.connections))
        server.hub.connections.clear()  # as after a crash that left no time for a goodbye
        assert first is not None
        server.node.exit(first, "kill")
        await until(lambda: server.node.whereis("endpoint") not in {None, first})
        assert server.port == port
        assert connection not in server.hub.connections
        await client.send(b"are you there? " * 10, 4)
        await until(lambda: server.hub.door.resets)
        async with open_quic(server.port) as again:
            await again.send(b"back")
            await again.wait(lambda: again.stream(0) == b"back")


async def test_a_silent_half_open_connection_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.media.quic.hub.HANDSHAKE_SECONDS", 0.2)
    async with open_endpoint() as server, open_quic(server.port, reads=False):
        await until(lambda: server.hub.opened)
        await until(lambda: not server.hub.connections)
        assert server.hub.half_open == server.hub.roster.unvalidated == 0


async def test_who_waits_for_an_actor_is_told_that_the_handshake_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_STARTERS", 0)
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.wait(lambda: client.quic._handshake_confirmed)
        assert server.hub.arriving


async def test_addresses_show_that_they_are_real_when_many_come() -> None:
    async with open_endpoint(options(door=DoorOptions(retry_above=0))) as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        assert client.quic._retry_count == 1
        seen = await server.statistics()
        assert (seen.retries, seen.handshakes) == (1, 1)


async def test_no_state_is_kept_of_addresses_that_never_answer() -> None:
    bounds = options(door=DoorOptions(retry_above=5, half_open=5))
    async with open_endpoint(bounds) as server, open_quic(server.port, handshake=False) as client:
        for number in range(200):
            await client.raw(hello(number))
        await until(lambda: server.hub.door.retries >= 150)
        assert len(server.hub.connections) <= 20
        assert server.hub.roster.unvalidated <= 5


def hello(number: int) -> bytes:
    """A client's first packet, as another client would send it: of another connection id, so it cannot be decrypted."""
    first = bytearray(1_200)
    first[0] = 0xC0
    first[1:5] = (1).to_bytes(4, "big")
    first[5] = 8
    first[6:14] = number.to_bytes(8, "big")
    first[14] = 0
    first[15] = 0
    first[16:18] = (0x4000 | 1_200 - 18).to_bytes(2, "big")
    return bytes(first)


async def test_so_many_connections_there_are_in_all_and_of_an_address() -> None:
    async with open_endpoint(options(connections_per_address=2)) as server:
        async with open_quic(server.port), open_quic(server.port), open_quic(server.port, handshake=False) as third:
            await until(lambda: server.hub.turned[Turned.FULL])
            assert not third.of(events.HandshakeCompleted)
            assert len(server.hub.connections) == 2
        await until(lambda: not server.hub.connections)
        async with open_quic(server.port) as fourth:
            await fourth.send(b"room again")
            await fourth.wait(lambda: fourth.stream(0))


async def test_a_flood_from_one_address_is_dropped_before_it_is_decrypted() -> None:
    bounds = options(packets_per_address=100, packets_per_connection=200)
    async with open_endpoint(bounds) as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        received = next(iter(server.hub.connections)).transport.statistics().packets_received
        for _ in range(40):
            for _ in range(100):
                await client.raw(b"\x40" + bytes(60))
        await until(lambda: server.hub.packets_in >= 2_000)
        assert server.hub.turned[Turned.RATE] >= 1_000
        # The one who is in is behind the same address, and is still heard once the window is over.
        await until(lambda: _say_again(client))
        assert next(iter(server.hub.connections)).transport.statistics().packets_received < received + 1_000


def _say_again(client: Any) -> bool:
    client.nursery.start_soon(client.send, b"x", 4)
    return bool(client.stream(4))


async def test_one_connection_has_a_rate_of_its_own() -> None:
    bounds = options(packets_per_connection=100, packets_per_address=1e6)
    async with open_endpoint(bounds) as server, open_quic(server.port) as client:
        cid = client.quic._peer_cid.cid
        for _ in range(300):
            await client.raw(b"\x40" + cid + bytes(60))
        await until(lambda: server.hub.turned[Turned.CONNECTION_RATE])
        assert not server.hub.turned[Turned.RATE]


async def test_an_unknown_version_is_told_which_are_known_within_bounds() -> None:
    async with open_endpoint(options(packets_per_address=1e6)) as server:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.port))
            sock.settimeout(SECONDS)
            strange = bytearray(hello(1))
            strange[1:5] = b"\xfa\xce\xb0\x0c"
            sock.send(bytes(strange))
            answer = await trio.to_thread.run_sync(sock.recv, 2_048)
            header = pull_quic_header(Buffer(data=answer))
            assert header.packet_type == QuicPacketType.VERSION_NEGOTIATION
            assert 1 in header.supported_versions
            assert len(answer) < len(strange)
            before = server.hub.packets_out
            for _ in range(2_000):
                sock.send(bytes(strange))
            sock.send(answer)  # a negotiation is never answered by another
            sock.send(bytes(strange[:100]))
            async with open_quic(server.port):  # what came before this has been read
                assert server.hub.packets_out - before < 1_000
                assert server.hub.turned[Turned.VERSION]


async def test_stateless_resets_are_smaller_than_what_they_answer_and_bounded() -> None:
    async with open_endpoint(options(packets_per_address=1e6)) as server:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.port))
            sock.settimeout(SECONDS)
            sock.send(b"\x40" + bytes(40))
            answer = await trio.to_thread.run_sync(sock.recv, 2_048)
            assert 21 <= len(answer) < 41
            assert answer[0] & 0xC0 == 0x40
            for _ in range(2_000):
                sock.send(b"\x40" + os.urandom(40))
            sock.send(b"\x40" + bytes(20))
            await until(lambda: server.hub.packets_in >= 1_000)
            assert server.hub.door.resets < 1_000
            assert server.hub.turned[Turned.UNKNOWN]


async def test_arbitrary_datagrams_harm_nobody() -> None:
    chance = random.Random(4)
    bounds = options(packets_per_address=1e6, packets_per_connection=1e6)
    async with open_endpoint(bounds) as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        cids = [*server.hub.roster.by_cid]
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.port))
            for number in range(3_000):
                noise = bytearray(chance.randbytes(chance.choice([1, 9, 30, 100, 1_200, 1_400])))
                if number % 3 == 0 and len(noise) > 20:
                    noise[1:9] = chance.choice(cids).ljust(8, b"\0")[:8]
                    noise[0] &= 0x7F
                elif number % 3 == 1 and len(noise) > 20:
                    noise[0] |= 0xC0
                    noise[1:5] = (1).to_bytes(4, "big")
                    noise[5] = 8
                sock.send(bytes(noise))
                if not number % 100:
                    await trio.lowlevel.checkpoint()
        await until(lambda: server.hub.packets_in > 2_000)
        await client.send(b"still here", 4)
        await client.wait(lambda: client.stream(4) == b"still here")
        assert server.hub.failures == 0


async def test_handshakes_take_their_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        open_endpoint(options(door=DoorOptions(handshake_share=0.2))) as server,
        open_quic(server.port) as client,
    ):
        server.hub.door.spent(60.0, time.monotonic())
        async with open_quic(server.port, handshake=False) as late:
            await until(lambda: server.hub._hellos)
            await client.send(b"not disturbed")
            await client.wait(lambda: client.stream(0))
            assert not server.hub.half_open
            await late.wait_for(events.HandshakeCompleted)
            assert not server.hub.turned[Turned.BUSY]


async def test_those_who_wait_for_a_handshake_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.media.quic.hub.MAX_HELLOS", 10)
    monkeypatch.setattr("wsactors.media.quic.hub.HELLO_SECONDS", 0.1)
    bounds = options(door=DoorOptions(handshake_share=0.01), packets_per_address=1e6)
    async with open_endpoint(bounds) as server, open_quic(server.port) as client:
        server.hub.door.spent(60.0, time.monotonic() + 10)
        for number in range(50):
            await client.raw(hello(number))
        await until(lambda: server.hub.turned[Turned.BUSY] == 50)
        assert len(server.hub.connections) == 1


async def test_a_token_that_is_not_ours_ends_the_attempt() -> None:
    async with open_endpoint() as server, open_quic(server.port, handshake=False, token=bytes(64)) as client:
        over = await client.wait_for(events.ConnectionTerminated)
        assert over.error_code == 0x0B  # INVALID_TOKEN
        assert server.hub.opened == 0


async def test_a_client_that_moves_is_followed() -> None:
    async with open_endpoint() as server, open_quic(server.port) as client:
        await client.send(b"here")
        await client.wait(lambda: client.stream(0))
        await client.move()
        await client.send(b"there", 4)
        await client.wait(lambda: client.stream(4) == b"there")
        [connection] = server.hub.connections
        await until(lambda: connection.transport.address == client.sock.getsockname())


async def test_a_flooded_endpoint_moves_and_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "FLOOD_LASTS", 0.2)
    monkeypatch.setattr(endpoint_module, "_LOOK_SECONDS", 0.1)
    flooded = attrs.evolve(options(packets_per_address=10), flood_packets=100)
    told: list[str] = []
    async with open_endpoint(flooded) as server, open_quic(server.port) as client, trio.open_nursery() as nursery:
        server.binding.on_flood = lambda: told.append("flood")
        first = server.port

        async def flood() -> None:
            while True:
                for _ in range(200):
                    await client.raw(b"\x40" + bytes(60), ("127.0.0.1", first))
                await trio.sleep(0.02)

        nursery.start_soon(flood)
        await until(lambda: server.port not in {0, first})
        assert told == ["flood"]
        async with open_quic(server.port) as again:
            await again.send(b"back")
            await again.wait(lambda: again.stream(0) == b"back")
        nursery.cancel_scope.cancel()


def test_a_port_that_is_taken_is_refused_or_searched_on() -> None:
    with open_udp(EndpointOptions()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EndpointRefused, match=r"quic\.port"):
            open_udp(EndpointOptions(port=port))
        with open_udp(EndpointOptions(port=port, port_search=50)) as other:
            assert other.getsockname()[1] > port


def test_small_buffers_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with open_udp(EndpointOptions(buffer_bytes=1 << 30)) as sock:
        given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert given >= 1 << 30 or "udp_buffers_small" in caplog.text


def test_an_address_that_is_not_here_is_refused() -> None:
    with pytest.raises(EndpointRefused, match="cannot bind"):
        open_udp(EndpointOptions(host="192.0.2.1"))
