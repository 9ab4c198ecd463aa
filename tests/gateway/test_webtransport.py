from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from aioquic.quic import events

from tests.gateway.harness import TestSession, until
from tests.gateway.quic_harness import QuicGateway, open_quic_gateway, raw_talker, web_talker
from wsactors.wire import native


@pytest.fixture
async def gateway() -> AsyncIterator[QuicGateway]:
    async with open_quic_gateway() as found:
        found.directory.add(TestSession("demo", title="Demo"))
        yield found


async def test_a_session_is_heard_in_datagrams_and_left_by_a_capsule(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as talker:
        welcome = await talker.hello()
        assert welcome.version == 2
        await talker.say(native.Join("demo"))
        joined = await talker.hears(native.Joined)
        assert (joined.session, joined.track) == ("demo", session.track)
        for number in range(20):
            session.offer_frame(b"frame %d" % number)
        frames = await talker.sound(20)
        assert [frame.payload for frame in frames] == session.sent
        assert [frame.sequence for frame in frames] == list(range(20))
    with trio.fail_after(20):
        await until(lambda: not session.members)
        await until(lambda: not gateway.clients)


async def test_quic_itself_carries_the_same(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with raw_talker(gateway.port) as talker:
        await talker.hello()
        await talker.say(native.Join("demo"))
        await talker.hears(native.Joined)
        for number in range(20):
            session.offer_frame(b"frame %d" % number)
        assert [frame.payload for frame in await talker.sound(20)] == session.sent
        await talker.say(native.Ping(7))
        assert (await talker.hears(native.Pong)).nonce == 7
    await until(lambda: not session.members)


async def test_a_datagram_of_each_listener_is_the_same_frame(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as first, web_talker(gateway) as second, raw_talker(gateway.port) as third:
        for talker in (first, second, third):
            await talker.hello()
            await talker.say(native.Join("demo"))
            await talker.hears(native.Joined)
        session.offer_frame(b"for all")
        for talker in (first, second, third):
            assert [each.payload for each in await talker.sound(1)] == [b"for all"]
        for each in list(gateway.clients):
            assert each.sink.statistics().sent_direct == 1
        assert not first.client.of(events.ConnectionTerminated)
