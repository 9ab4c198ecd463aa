"""What a hostile client of QUIC, HTTP/3 and WebTransport can bring about: the end of its own connection."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from aioquic.h3.connection import encode_frame
from aioquic.h3.events import HeadersReceived
from aioquic.quic import events

from tests.gateway.harness import TestDirectory, TestSession, until
from tests.gateway.quic_harness import QuicGateway, Talker, WebTalker, open_quic_gateway, raw_talker, web_talker
from tests.media.quic.quic_client import QuicClient, open_quic
from wsactors.gateway import Gateway, quic_conversation
from wsactors.gateway.admin_site import admin_site
from wsactors.gateway.options import DrainOptions, GatewayOptions, Limits
from wsactors.gateway.quic_server import QuicOptions
from wsactors.media.quic import endpoint, h3
from wsactors.media.quic.door import HubOptions
from wsactors.media.quic.transport import Drop
from wsactors.realtime.send_queue import AUDIO
from wsactors.realtime.sinks import SlowReader
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire import native
from wsactors.wire.capsules import Close, Drain, encode_close, encode_varint, http_error_of

EXCESSIVE_LOAD = 0x107


@pytest.fixture
async def gateway() -> AsyncIterator[QuicGateway]:
    async with open_quic_gateway() as found:
        found.directory.add(TestSession("demo"))
        yield found


async def ended_with(client: QuicClient) -> int:
    over: events.ConnectionTerminated = await client.wait_for(events.ConnectionTerminated)
    return over.error_code


async def others_are_well(gateway: QuicGateway) -> None:
    async with web_talker(gateway) as talker:
        await talker.hello()
        await talker.say(native.Ping(1))
        await talker.hears(native.Pong)


# --- HTTP/3 --------------------------------------------------------------------------------------------------------------


async def test_qpack_has_no_dynamic_table_to_fill(gateway: QuicGateway) -> None:
    async with open_quic(gateway.port, "h3") as client:
        talker = WebTalker(client)
        encoder = talker.h3._local_encoder_stream_id
        assert encoder is not None
        client.quic.send_stream_data(encoder, b"\x3f\xe1\x1f")  # set the table's capacity to 4,096
        await client.flush()
        assert await ended_with(client) == 0x201
    await others_are_well(gateway)


async def test_a_header_block_without_end_is_not_kept(gateway: QuicGateway) -> None:
    async with open_quic(gateway.port, "h3") as client:
        WebTalker(client)
        await client.send(b"\x01" + encode_varint(1 << 30))
        for _ in range(64):
            client.quic.send_stream_data(0, bytes(1_024))
        await client.flush()
        assert await ended_with(client) == EXCESSIVE_LOAD
    await others_are_well(gateway)


async def test_settings_without_end_are_not_kept(gateway: QuicGateway) -> None:
    async with open_quic(gateway.port, "h3") as client:
        client.quic.send_stream_data(2, b"\x00\x04" + encode_varint(1 << 30) + bytes(40_000))
        await client.flush()
        assert await ended_with(client) == EXCESSIVE_LOAD


async def test_too_many_headers_are_refused(gateway: QuicGateway) -> None:
    many: dict[bytes, bytes | None] = {b"x-%d" % number: b"y" for number in range(200)}
    async with open_quic(gateway.port, "h3") as client:
        answer = await WebTalker(client).connect(gateway.port, origin=None, replace=many)
        assert answer[b":status"] == b"431"


def answered(client: QuicClient, count: int) -> bool:
    return len(client.of(HeadersReceived)) >= count or bool(client.of(events.ConnectionTerminated))


async def test_requests_without_end_end_their_connection(monkeypatch: pytest.MonkeyPatch, gateway: QuicGateway) -> None:
    monkeypatch.setattr(h3, "STREAM_RATE", 0.1)  # else a busy machine asks more slowly than it may
    async with open_quic(gateway.port, "h3") as client:
        talker = WebTalker(client)
        for number in range(300):
            stream_id = client.quic.get_next_available_stream_id()
            talker.h3.send_headers(stream_id, [(b":method", b"GET"), (b":authority", b"x"), (b":path", b"/"),
                                               (b":scheme", b"https")], end_stream=True)  # fmt: skip
            await client.flush()
            await client.wait(partial(answered, client, number + 1))
            if client.of(events.ConnectionTerminated):
                break
        assert await ended_with(client) == EXCESSIVE_LOAD
        assert 32 < len(client.of(HeadersReceived)) < 100
    await others_are_well(gateway)


async def test_streams_of_no_session_are_refused(gateway: QuicGateway) -> None:
    async with open_quic(gateway.port, "h3") as client:
        talker = WebTalker(client)
        stream_id = talker.h3.create_webtransport_stream(0)
        await client.send(b"too early", stream_id)
        assert (await client.wait_for(events.StopSendingReceived)).error_code == 0x3994BD84


# --- capsules and streams ------------------------------------------------------------------------------------------------


async def test_unknown_capsules_are_ignored_whatever_their_length(gateway: QuicGateway) -> None:
    async with web_talker(gateway) as talker:
        await talker.hello()
        session = talker.session
        assert session is not None
        talker.h3.send_data(session, encode_varint(0x1F * 9 + 0x17) + encode_varint(3) + b"abc", end_stream=False)
        talker.h3.send_data(session, encode_varint(0x99) + encode_varint(1 << 40), end_stream=False)
        for _ in range(200):
            talker.h3.send_data(session, bytes(1_000), end_stream=False)
        await talker.client.flush()
        await talker.say(native.Ping(2))
        await talker.hears(native.Pong)
        assert len(gateway.clients) == 1


async def test_a_malformed_capsule_ends_its_connection(gateway: QuicGateway) -> None:
    async with web_talker(gateway) as talker:
        assert talker.session is not None
        talker.h3.send_data(talker.session, encode_varint(0x2843) + encode_varint(1 << 20), end_stream=False)
        await talker.client.flush()
        assert await ended_with(talker.client) == 0x10E
    await others_are_well(gateway)


async def test_a_client_s_goodbye_is_understood(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as talker:
        await talker.hello()
        await talker.say(native.Join("demo"))
        await talker.hears(native.Joined)
        assert talker.session is not None
        talker.h3.send_data(talker.session, encode_close(7, "enough"), end_stream=True)
        await talker.client.flush()
        assert await ended_with(talker.client) == 0x100
        await until(lambda: not session.members and not gateway.clients)


async def test_another_stream_is_refused_with_a_code_that_pages_see(gateway: QuicGateway) -> None:
    async with web_talker(gateway) as talker:
        await talker.hello()
        assert talker.session is not None
        for is_uni in (False, True):
            stream_id = talker.h3.create_webtransport_stream(talker.session, is_unidirectional=is_uni)
            await talker.client.send(b"more", stream_id)
        stop = await talker.client.wait_for(events.StopSendingReceived, 2)
        assert stop.error_code == http_error_of(1002)
        assert (await talker.client.wait_for(events.StreamReset)).error_code == http_error_of(1002)
        await talker.say(native.Ping(2))
        await talker.hears(native.Pong)


# --- messages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [encode_varint(1 << 20), encode_varint(3) + b"abc", b"\x00"])
async def test_what_is_no_message_ends_its_connection(gateway: QuicGateway, data: bytes) -> None:
    async with web_talker(gateway) as talker, raw_talker(gateway.port) as raw:
        for each in (talker, raw):
            await each.hello()
            await each.raw(data)
            assert (await each.hears(native.Error)).code == "protocol"
        assert (await talker.capsule(Close)).code == 1002
        assert await ended_with(raw.client) == 1002
    await others_are_well(gateway)


async def test_a_flood_of_messages_ends_its_connection_with_bounded_memory(gateway: QuicGateway) -> None:
    ping = native.encode(native.Ping(1))
    async with raw_talker(gateway.port) as talker:
        await talker.hello()
        for _ in range(400):
            await talker.raw((encode_varint(len(ping)) + ping) * 50)
            if talker.client.of(events.ConnectionTerminated):
                break
        assert await ended_with(talker.client) == 1013
    await others_are_well(gateway)


async def test_a_flood_of_speech_is_looked_at_at_a_bounded_rate(gateway: QuicGateway) -> None:
    async with raw_talker(gateway.port) as talker:
        await talker.hello()
        meter = gateway.shared.meters["quic"]
        before, began = meter.messages_in, trio.current_time()
        for _ in range(1_000):
            await talker.client.datagram(b"\x01" + bytes(30))
        await talker.say(native.Ping(1))
        await talker.hears(native.Pong)
        took = trio.current_time() - began
        assert 0 < meter.messages_in - before <= quic_conversation.SPEECH_RATE * (took + 0.25) + 2


async def test_a_client_that_acknowledges_nothing_costs_bounded_memory() -> None:
    limits = Limits(buffer_bytes=65_536)
    async with open_quic_gateway(GatewayOptions(port=0, limits=limits)) as gateway, raw_talker(gateway.port) as talker:
        await talker.hello()
        [client] = gateway.clients
        talker.client.deaf = True
        sound = native.encode_audio(1, 0, 0, bytes(200))
        taken = sum(client.sink.offer(sound, AUDIO) for _ in range(2_000))
        assert taken < 200
        drops = client.sink._connection.transport.drops
        assert drops[Drop.CONGESTED] + drops[Drop.SILENT] + drops[Drop.KERNEL] >= 1_800
        message = native.encode(native.Event("state", "demo", {"text": "x" * 900}))
        count = 0
        while client.sink.offer(message):
            count += 1
            assert count < 1_000
        assert isinstance(client.sink.closed, SlowReader)
        assert client.stream.waiting == 0
        await until(lambda: not gateway.clients or client.is_over)
        talker.client.deaf = False
    await until(lambda: not gateway.clients)


# --- ends ----------------------------------------------------------------------------------------------------------------


async def test_a_node_that_stops_says_when_to_come_back_and_drains_sessions() -> None:
    options = GatewayOptions(port=0, drain=DrainOptions(seconds=5, reconnect_seconds=4))
    async with open_quic_gateway(options) as gateway, web_talker(gateway) as talker, raw_talker(gateway.port) as raw:
        await talker.hello()
        await raw.hello()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.shared.drain.run)
            await talker.capsule(Drain)
            for each in (talker, raw):
                hint = await each.hears(native.Hint)
                assert (hint.hint, 0 < hint.after <= 4) == ("drain", True)
            assert (await talker.capsule(Close)).code == 1012
            assert await ended_with(raw.client) == 1012


async def test_listeners_of_a_flooded_port_are_told_to_come_back_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FLOOD_LASTS", 0.4)
    monkeypatch.setattr(endpoint, "_LOOK_SECONDS", 0.1)
    bounds = HubOptions(packets_per_address=10, packets_per_connection=100)
    quic = QuicOptions(endpoint.EndpointOptions(flood_packets=100, hub=bounds))
    async with open_quic_gateway(quic=quic) as gateway, raw_talker(gateway.port) as talker, httpx.AsyncClient() as page:
        first = gateway.port
        await talker.hello()
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    for _ in range(100):
                        await talker.client.raw(b"\x40" + bytes(60), ("127.0.0.1", first))
                    await trio.sleep(0.02)

            nursery.start_soon(flood)
            await until(lambda: gateway.port != first)
            nursery.cancel_scope.cancel()
        hint = await talker.hears(native.Hint)
        assert (hint.hint, 0 < hint.after <= 2) == ("drain", True)
        where = (await page.get(gateway.origin + "/webtransport.json")).json()
        assert where["url"] == f"https://127.0.0.1:{gateway.port}/wt"
        await others_are_well(gateway)


async def test_who_acknowledges_nothing_holds_no_node_up() -> None:
    options = GatewayOptions(port=0, drain=DrainOptions(seconds=60))
    async with open_quic_gateway(options) as gateway, web_talker(gateway) as talker, raw_talker(gateway.port) as raw:
        for each in (talker, raw):
            await each.hello()
            each.client.deaf = True
        with trio.fail_after(30):
            done = await gateway.shared.drain.run()
        assert (done.told, done.guests, done.cut) == (2, 0, 0)


async def test_a_kicked_client_is_told_so() -> None:
    async def prepare(node: Node) -> object:
        return await start_realtime(node)

    async with open_quic_gateway(prepare=prepare) as gateway, httpx.AsyncClient() as admin:
        opened: list[Any] = []
        arguments = {"on_open": opened.append, "directory": TestDirectory(), "site": admin_site("x" * 16)}
        await gateway.node.spawn(Gateway, GatewayOptions(port=0), kwargs=arguments)
        admin.base_url, admin.headers["authorization"] = opened[0].urls[0], "Bearer " + "x" * 16
        async with web_talker(gateway) as talker:
            await talker.hello()
            [shown] = (await admin.get("admin/api/connections")).json()["connections"]
            assert (shown["protocol"], shown["address"]) == ("webtransport", "127.0.0.1")
            assert (await admin.post("admin/api/kick", json={"connection": shown["id"]})).json() == {"kicked": 1}
            assert (await talker.capsule(Close)).code == 4403


async def test_a_silent_client_is_asked(monkeypatch: pytest.MonkeyPatch, gateway: QuicGateway) -> None:
    monkeypatch.setattr(quic_conversation, "ASK_SECONDS", 0.1)
    async with web_talker(gateway) as talker:
        await talker.hello()
        await talker.hears(native.Ping, 2)


async def test_a_killed_connection_tells_its_peer(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as talker:
        await talker.hello()
        await talker.say(native.Join("demo"))
        await talker.hears(native.Joined)
        [client] = gateway.clients
        pid = client.sink._connection.pid
        assert pid is not None
        gateway.node.exit(pid, "kill")
        assert await ended_with(talker.client) == 0x102
        await until(lambda: not session.members and not gateway.clients)
        assert not gateway.shared.meters.connections


# --- noise ---------------------------------------------------------------------------------------------------------------


async def noise(talker: Talker, chance: random.Random) -> None:
    """Random bytes on all streams and in datagrams, until that is the end of the connection, or enough."""
    client = talker.client
    for _ in range(60):
        if client.of(events.ConnectionTerminated):
            return
        data = chance.randbytes(chance.choice([1, 3, 20, 200]))
        match chance.randrange(4):
            case 0:
                await client.datagram(data)
            case 1:
                await talker.raw(data)
            case 2:
                await client.send(encode_frame(chance.randrange(16), data), 0)
            case _:
                stream_id = client.quic.get_next_available_stream_id(is_unidirectional=bool(chance.randrange(2)))
                await client.send(data, stream_id, end=bool(chance.randrange(2)))


async def test_noise_of_many_kinds_never_fails_here(gateway: QuicGateway) -> None:
    chance = random.Random(11)
    async with web_talker(gateway) as witness:
        await witness.hello()
        [client] = gateway.clients
        hub = client.sink._connection.hub
        for _ in range(12):
            async with web_talker(gateway) as talker:
                await noise(talker, chance)
            async with raw_talker(gateway.port) as raw:
                await noise(raw, chance)
        await until(lambda: len(hub.connections) == 1)
        assert hub.failures == 0
        await witness.say(native.Ping(1))
        await witness.hears(native.Pong)
