"""The client over QUIC against a gateway: sound in datagrams, messages in order, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from tests.gateway.harness import TestDirectory, TestMembership, TestSession
from tests.gateway.quic_harness import QuicGateway, open_quic_gateway
from wsactors.client import Disconnected, Rhythm, connect
from wsactors.client.backoff import Retry

KICKED = 4403


@pytest.fixture
async def gateway() -> AsyncIterator[QuicGateway]:
    async with open_quic_gateway() as found:
        found.directory.add(TestSession("demo", title="Demo"))
        yield found


def address(gateway: QuicGateway) -> str:
    return f"quic://127.0.0.1:{gateway.port}"


async def test_a_session_is_heard_and_messages_are_answered(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    with trio.fail_after(30):
        async with connect(address(gateway), certificate_sha256=gateway.offer.hashes()[0]) as client:
            assert [each.name for each in await client.sessions()] == ["demo"]
            listening = await client.join("demo")
            for number in range(20):
                session.offer_frame(b"frame %d" % number)
            heard = [(await anext(listening)).payload for _ in range(20)]
            assert heard == session.sent
            assert await client.ping() < 10
            assert await client.measure_latency() > 0
            await client.leave("demo")
            assert not session.members


class Hasty(TestDirectory):
    """Its sessions speak before they answer who joins: datagrams wait for nothing."""

    async def join(self, name: str, *arguments: Any, **options: Any) -> TestMembership:
        membership = await super().join(name, *arguments, **options)
        for number in range(4):
            self.by_name[name].offer_frame(b"said %d" % number)
        await trio.sleep(0.05)
        return membership


async def test_sound_that_is_there_before_the_word_that_one_has_joined_is_kept() -> None:
    directory = Hasty()
    session = directory.add(TestSession("demo"))
    with trio.fail_after(30):
        async with (
            open_quic_gateway(directory=directory) as gateway,
            connect(address(gateway), certificate_sha256=gateway.offer.hashes()[0]) as client,
        ):
            listening = await client.join("demo")
            assert [(await anext(listening)).payload for _ in range(4)] == session.sent


async def test_another_certificate_is_refused(gateway: QuicGateway) -> None:
    with trio.fail_after(30), pytest.raises(Disconnected, match="not the expected one"):
        async with connect(address(gateway), certificate_sha256="00" * 32):
            pytest.fail("nobody may be connected")
    with trio.fail_after(30), pytest.raises(Disconnected, match="cannot connect"):
        async with connect(address(gateway)):  # nobody that the system trusts has signed it
            pytest.fail("nobody may be connected")


async def test_the_node_says_why_it_ends_the_connection(gateway: QuicGateway) -> None:
    with trio.fail_after(30):
        async with connect(address(gateway), certificate_sha256=gateway.offer.hashes()[0]) as client:
            gateway.clients[0].close(KICKED, "kicked")
            while client.failure is None:
                await client.changed()
            assert client.closed_with == KICKED
            assert client.failure.code == "kicked"


async def test_a_client_comes_back_and_is_let_into_its_session_again(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    retry = Retry(first=0.01, longest=0.05)
    with trio.fail_after(60):
        async with connect(
            address(gateway), certificate_sha256=gateway.offer.hashes()[0], retry=retry, rhythm=Rhythm(latency=None)
        ) as client:
            listening = await client.join("demo")
            gateway.clients[0].close(1013, "try again")
            while client.connections < 2 or not session.members:
                await client.changed()
            await client.sessions()  # an answer: what was asked for before has been done
            session.offer_frame(b"again")
            assert (await anext(listening)).payload == b"again"


async def test_nobody_is_there() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"quic://127.0.0.1:{silent.getsockname()[1]}"
        with trio.fail_after(30), pytest.raises(Disconnected, match="no answer within"):
            async with connect(url, timeout=0.3):
                pytest.fail("nobody may be connected")
    with pytest.raises(Disconnected, match="expected quic://HOST:PORT"):
        async with connect("quic://127.0.0.1"):
            pytest.fail("nobody may be connected")
