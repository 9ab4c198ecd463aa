from __future__ import annotations

import io
import math
from typing import Any

import av
import httpx
import numpy as np
import trio

from tests.gateway.harness import (
    FRAME,
    RATE,
    TestDirectory,
    TestSession,
    open_gateway,
    open_narrow_stream,
    request,
    until,
)
from wsactors.gateway.options import GatewayOptions
from wsactors.media.opus import Decoder, Encoder
from wsactors.wire import native


def packets(count: int) -> list[bytes]:
    encoder = Encoder(2)
    at = np.arange(count * FRAME) / RATE
    sound = np.stack([0.3 * np.sin(2 * np.pi * 440 * at), 0.3 * np.sin(2 * np.pi * 660 * at)], axis=1).astype(
        np.float32
    )
    return [encoder.encode(np.ascontiguousarray(sound[n * FRAME : (n + 1) * FRAME])) for n in range(count)]


async def test_a_session_is_an_ogg_opus_file_that_decodes_to_what_was_sent() -> None:
    directory = TestDirectory()
    state = native.Event("main stage", "state", {"decks": []})
    session = directory.add(TestSession("main stage", track=0xFFFFFFFF, events=[state]))
    sent = packets(50)
    for _ in range(1_000):  # somebody who joins late
        session.sequence += 1
        session.timestamp += FRAME
    async with open_gateway(directory=directory) as gateway, httpx.AsyncClient() as client:
        with trio.fail_after(30):
            async with client.stream("GET", f"{gateway.url}/listen/main%20stage.ogg") as response:
                assert response.status_code == 200
                assert response.headers["content-type"] == "audio/ogg; codecs=opus"
                assert response.headers["cache-control"] == "no-store"
                body = response.aiter_bytes()
                data = await anext(body)
                await session.member_came.wait()
                for packet in sent:
                    session.offer_frame(packet)
                    for member in session.members:  # what is not sound has no place in the file
                        member.sink.offer(native.encode(state), ("state", "main stage"))
                session.end("over")
                async for piece in body:
                    data += piece
    with av.open(io.BytesIO(data), "r") as file:
        received = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    assert received == sent

    decoder = Decoder(2)
    ours = np.concatenate([decoder.decode(packet) for packet in sent])
    with av.open(io.BytesIO(data), "r") as file:
        theirs = np.concatenate([frame.to_ndarray().T for frame in file.decode(audio=0)])
    shift = len(ours) - len(theirs)
    assert 0 <= shift <= 312
    assert float(np.abs(ours[len(ours) - 20_000 :] - theirs[len(theirs) - 20_000 :]).max()) < 0.02


async def test_head_and_what_is_not_there() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway, httpx.AsyncClient() as client:
        head = await client.head(f"{gateway.url}/listen/main.ogg")
        assert (head.status_code, head.headers["content-type"]) == (200, "audio/ogg; codecs=opus")
        for path in ("nowhere.ogg", "main.mp3", "main", ".ogg", "../main.ogg", "main.ogg/x", "%00.ogg"):
            answer = await client.get(f"{gateway.url}/listen/{path}")
            assert answer.status_code == 404, path
    assert not session.members


async def test_the_listener_leaves_when_the_player_goes() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway:
        async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as stream:
            await stream.send_all(request("/listen/main.ogg"))
            await until(lambda: len(session.members) == 1)
        await until(lambda: not session.members)


async def test_a_player_that_stalls_loses_audio_and_memory_stays_bounded() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with (
        open_gateway(GatewayOptions(port=0), directory) as gateway,
        await open_narrow_stream(gateway.port) as stream,
    ):
        await stream.send_all(request("/listen/main.ogg"))
        await until(lambda: len(session.members) == 1)
        (member,) = session.members
        sink: Any = member.sink
        with trio.fail_after(60):
            while sink._pull.statistics().aged_out < 100:
                session.offer_frame(b"\xfc" + b"x" * 1_000)
                await trio.sleep(0.001)
        statistics = sink._pull.statistics()
        assert statistics.buffered_bytes <= 256 * 1024
        assert statistics.oldest_audio_sent <= 0.5
        assert math.isfinite(gateway.shared.statistics().sinks[0].bytes_sent)
