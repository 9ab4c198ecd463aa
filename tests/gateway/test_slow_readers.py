"""Clients that read too slowly, or not at all: what they get, and that nobody else notices."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from tests.gateway.harness import until
from tests.gateway.raw_socket import RawSocket, raw_socket
from tests.gateway.talk import Talk, talking
from tests.gateway.ws_frames import BINARY, CLOSE, TEXT, frame
from wsactors.actors import Pid
from wsactors.gateway.options import Limits
from wsactors.gateway.port import Port
from wsactors.gateway.ws import WebSocket
from wsactors.realtime.send_queue import DROP_OLDEST
from wsactors.realtime.sinks import SlowReader
from wsactors.wire.http_head import RequestHead


async def stall(client: RawSocket, talk: Talk, payload: bytes, key: object = None) -> int:
    """Offer messages until the connection takes no more, or, with a key that may be lost, very many."""
    count = 0
    while count < 2_000 and talk.ws.send_bytes(count.to_bytes(4, "big") + payload, key):
        count += 1
    return count


async def test_a_slow_reader_gets_a_whole_frame_and_a_code_to_come_back_with() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        sent = await stall(client, talk, bytes(3000))
        assert isinstance(talk.ws.sink.closed, SlowReader)
        await talk.ended.wait()
        assert talk.closed is not None
        assert talk.closed.code == 1013
        received = 0
        while (got := await client.receive()) is not None:
            first, payload = got
            if first == 0x80 | CLOSE:
                assert payload == b"\x03\xf5you read too slowly"
                break
            assert payload == received.to_bytes(4, "big") + bytes(3000)
            received += 1
        else:
            raise AssertionError("no close frame")
        assert 0 < received < sent


async def test_a_slow_reader_that_never_reads_again_is_cut_within_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.realtime.sinks.GRACE", 0.2)
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        await stall(client, talk, bytes(3000))
        await until(lambda: talk.ws.sink.is_over, seconds=30)


async def test_a_message_larger_than_the_buffer_reaches_a_slow_reader_alone() -> None:
    limits = Limits(buffer_bytes=100_000)
    async with talking(limits=limits) as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        large = bytes(range(256)) * 4096
        assert talk.ws.send_bytes(large)
        assert talk.ws.send_bytes(large)
        assert talk.ws.closed is None
        assert not talk.ws.send_bytes(b"one more than may wait")
        assert await client.receive() == (0x80 | BINARY, large)
        assert (await client.receive_close())[0] == 1013


async def test_a_protocol_may_have_a_code_of_its_own_for_slow_readers() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        talk.ws.tell_slow_readers(4413, "resume later")
        await stall(client, talk, bytes(3000))
        await talk.ended.wait()
        assert talk.closed is not None
        assert talk.closed.code == 4413
        assert await client.receive_close() == (4413, "resume later")


async def test_what_may_be_dropped_is_and_the_reader_stays() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        sent = await stall(client, talk, bytes(3000), DROP_OLDEST)
        assert sent == 2_000
        assert talk.ws.sink.statistics().dropped > 1_000
        assert talk.ws.send_text("in order")
        numbers = []
        while (got := await client.receive()) is not None:
            if got[0] == 0x80 | TEXT:
                break
            numbers.append(int.from_bytes(got[1][:4], "big"))
        assert numbers == sorted(numbers)
        assert numbers[-1] == sent - 1
        assert talk.ws.closed is None


async def test_one_stalled_reader_never_moves_the_others() -> None:
    """While one reader is stalled, and while it is given up, the others get every message before the next is sent."""
    talks: list[Talk] = []

    async def talk_to_many(ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
        talks.append(talk := Talk())
        await talk(ws, request, port, owner)

    limits = Limits(buffer_bytes=256 * 1024)
    async with talking(limits=limits) as (gateway, _), contextlib.AsyncExitStack() as stack:
        cast("dict[str, Any]", gateway.shared.conversations)["/many"] = talk_to_many
        clients = [
            await stack.enter_async_context(raw_socket(gateway.port, "/many", narrow=number == 0))
            for number in range(4)
        ]
        sinks = [talk.ws.sink for talk in talks]
        data, gave_up = frame(BINARY, bytes(3000), mask=None), False
        for _ in range(200):
            for sink in sinks:
                sink.offer(data)
            for client in clients[1:]:
                assert await client.receive() == (0x80 | BINARY, bytes(3000))
            gave_up |= isinstance(sinks[0].closed, SlowReader)
        assert gave_up
        assert not any(sink.statistics().would_block for sink in sinks[1:])
