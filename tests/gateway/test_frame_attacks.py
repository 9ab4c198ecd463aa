"""Attacks by WebSocket frames and by sheer number: each costs its own connection and nothing else."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.gateway.harness import exchange, open_gateway, open_narrow_stream, patient, request, until, upgrade
from tests.gateway.test_attacks import directory, still_plays
from wsactors.client import connect
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.wire import native


def frame(
    opcode: int, payload: bytes = b"", *, fin: int = 1, rsv: int = 0, mask: bool = True, length: int = -1
) -> bytes:
    """A WebSocket frame as a client sends it, with whatever is wrong with it."""
    size = len(payload) if length < 0 else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if mask else b"") + payload


LIST = native.encode(native.ListSessions())
HELLO = frame(2, native.encode(native.Hello()))
BROKEN_FRAMES = [
    pytest.param(frame(2, LIST, mask=False), 1002, id="not masked"),
    pytest.param(frame(3, b"x"), 1002, id="reserved opcode"),
    pytest.param(frame(11), 1002, id="reserved control opcode"),
    pytest.param(frame(2, LIST, rsv=4), 1002, id="compressed without agreement"),
    pytest.param(frame(0, b"x"), 1002, id="continuation of nothing"),
    pytest.param(frame(2, b"x", fin=0) + frame(2, b"y"), 1002, id="message in a message"),
    pytest.param(frame(9, b"x", fin=0), 1002, id="ping in pieces"),
    pytest.param(frame(9, b"x" * 126), 1002, id="long ping"),
    pytest.param(frame(2, b"x", length=1 << 63), 1002, id="a length below zero"),
    pytest.param(frame(8, b"x"), 1002, id="half a close code"),
    pytest.param(frame(8, b"\x00\x01"), 1002, id="a close code that is none"),
    pytest.param(frame(8, b"\x03\xe8\xff\xfe"), 1007, id="a reason that is no text"),
    pytest.param(frame(2, bytes(200_000)), 1009, id="too large"),
    pytest.param(frame(2, bytes(1000), fin=0) + frame(0, bytes(1000), fin=0) * 200, 1009, id="endless pieces"),
    pytest.param(frame(1, b"text"), 1002, id="text"),
    pytest.param(frame(2, b"\x81\xa1t" + b"\x91" * 16_000), 1002, id="deep nesting"),
    pytest.param(frame(2, b"\x81\xa1a" * 5_000), 1002, id="deep maps"),
    pytest.param(frame(2, b"\xdf\xff\xff\xff\xff"), 1002, id="huge map"),
    pytest.param(frame(2, b"\x81\xa1t\xdd\xff\xff\xff\xff"), 1002, id="huge list"),
    pytest.param(frame(2, b"\x81\xa1t\xc6\xff\xff\xff\xff"), 1002, id="huge bytes"),
    pytest.param(HELLO, 1002, id="hello twice"),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These peers do not answer a close frame."""
    monkeypatch.setattr("wsactors.gateway.ws.CLOSING_SECONDS", 0.1)


@pytest.mark.parametrize(("data", "code"), BROKEN_FRAMES)
async def test_a_broken_frame_is_answered_with_one_close_frame_and_nothing_after_it(
    data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_gateway(directory=directory()) as gateway:
        answer = await exchange(gateway.port, upgrade() + HELLO + data)
        frames = server_frames(answer.partition(b"\r\n\r\n")[2])
        closes = [payload for opcode, payload in frames if opcode == 8]
        # What is wrong with the frame itself is 1002 to us; the close frame is the last word.
        assert [int.from_bytes(payload[:2], "big") for payload in closes] in ([code], [1002])
        assert frames[-1][0] == 8
        assert not any(b"Error" in payload or b"Traceback" in payload for _, payload in frames)
        await still_plays(gateway)
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The whole frames in what a server sent."""
    frames = []
    while len(data) >= 2:
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        frames.append((data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return frames


@pytest.mark.parametrize(
    "flood",
    [frame(9, b"x" * 100), frame(10, b"x"), frame(2, LIST), frame(0, b"", fin=0)],
    ids=["pings", "pongs", "requests", "empty pieces"],
)
async def test_a_flood_is_bounded_and_disturbs_nobody(flood: bytes) -> None:
    async with open_gateway(directory=directory()) as gateway:
        session = gateway.directory.by_name["main"]
        async with connect(f"ws://{gateway.host}/ws") as other:
            listening = patient(await other.join("main"))
            async with await open_narrow_stream(gateway.port) as stream:
                begin = frame(2, b"", fin=0) if flood[0] == 0 else b""
                with trio.move_on_after(1), contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(upgrade() + HELLO + begin + flood * 20_000)
                for number in range(20):
                    session.offer_frame(b"%d" % number)
                    with trio.fail_after(30):
                        assert (await anext(listening)).payload == b"%d" % number
                peak = max(sink.buffered_peak for sink in gateway.shared.statistics().sinks)
                assert peak <= 1024 * 1024 + 4096
        await still_plays(gateway)


async def test_what_comes_right_behind_the_handshake_is_not_lost() -> None:
    """A client should wait for the answer, but one that does not is served all the same, in whatever order tasks run."""
    async with open_gateway(directory=directory()) as gateway:
        for _ in range(10):
            closing = frame(8, b"\x03\xe8")
            answer = await exchange(gateway.port, upgrade() + HELLO + frame(2, LIST) + closing)
            kinds = [opcode for opcode, _ in server_frames(answer.partition(b"\r\n\r\n")[2])]
            assert kinds == [2, 2, 8]


async def test_two_thousand_connections_come_and_go() -> None:
    kinds = [
        b"",
        upgrade(),
        upgrade() + HELLO + frame(2, native.encode(native.Join("main"))),
        request("/health"),
        request("/listen/main.ogg"),
        b"GET / HT",
    ]
    options = GatewayOptions(port=0, limits=Limits(connections_per_address=1000))
    async with open_gateway(options, directory()) as gateway, connect(f"ws://{gateway.host}/ws") as other:
        listening = patient(await other.join("main"))
        session = gateway.directory.by_name["main"]
        limiter = trio.CapacityLimiter(50)

        async def come_and_go(data: bytes) -> None:
            async with limiter, await trio.open_tcp_stream("127.0.0.1", gateway.port) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                    if data and data != kinds[-1]:
                        await stream.receive_some()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(2_000):
                    nursery.start_soon(come_and_go, kinds[number % len(kinds)])
            session.offer_frame(b"undisturbed")
            assert (await anext(listening)).payload == b"undisturbed"
            await until(lambda: gateway.shared.admission.open == 1, seconds=60)
        assert len(session.members) == 1
