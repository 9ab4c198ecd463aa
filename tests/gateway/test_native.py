from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed

from tests.gateway.harness import TestDirectory, TestSession, open_gateway, patient, until
from wsactors.client import ClientError, Disconnected, Listening, connect, open_websocket
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.wire import native


def code_of(closed: ConnectionClosed) -> int:
    assert closed.reason is not None
    return closed.reason.code


def bytes_of(message: str | bytes) -> bytes:
    assert isinstance(message, bytes)
    return message


async def test_list_join_hear_leave_and_ping() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main", title="Main stage"))
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            assert client.node == "test"
            assert await client.sessions() == (native.SessionInfo("main", "Main stage"),)
            listening = patient(await client.join("main"))
            assert (listening.joined.track, listening.joined.title) == (1, "Main stage")
            session.offer_frame(b"first")
            session.offer_frame(b"second")
            assert [(await anext(listening)).payload, (await anext(listening)).payload] == [b"first", b"second"]
            assert await client.ping() > 0
            await client.leave("main")
            assert not session.members
            assert [frame async for frame in listening] == []
            assert listening.ended == "left"


async def test_a_session_that_ends_says_so() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            listening = patient(await client.join("main"))
            session.end("the battle is over")
            assert [frame async for frame in listening] == []
    assert listening.ended == "the battle is over"


async def test_what_cannot_be_joined_is_an_error_and_the_connection_goes_on() -> None:
    directory = TestDirectory()
    for number in range(3):
        directory.add(TestSession(f"s{number}", track=number))
    options = GatewayOptions(port=0, limits=Limits(sessions_per_connection=2))
    async with open_gateway(options, directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            with pytest.raises(ClientError, match="no_session"):
                await client.join("nowhere")
            await client.join("s0")
            await client.join("s1")
            with pytest.raises(ClientError, match="too_many"):
                await client.join("s2")
            assert len(await client.sessions()) == 3


async def test_events_of_a_session_reach_the_client() -> None:
    directory = TestDirectory()
    event = native.Event("main", "state", {"decks": [{"title": "<img src=x onerror=alert(1)>"}]})
    directory.add(TestSession("main", events=[event]))
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            listening = patient(await client.join("main"))
            await client.ping()
            assert listening.state == event.payload  # though it came before the answer to the join
            session = directory.by_name["main"]
            later = native.Event("main", "state", {"crossfader": 0.5})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_state, listening, later.payload)
                await trio.testing.wait_all_tasks_blocked(0.01)
                for member in session.members:
                    member.sink.offer(native.encode(later), ("state", "main"))
                    member.sink.offer(native.encode(native.Event("other", "state", {})), ("state", "other"))
                    member.sink.offer(native.encode(native.Event("main", "applause", {})))
            await client.ping()
            assert listening.state == later.payload
            session.end("over")
            assert await listening.next_state() == later.payload  # nothing more will come, and it does not hang
    assert [each.name for each in client.events] == ["state", "state", "state", "applause"]


async def wait_for_state(listening: Listening, expected: object) -> None:
    assert await listening.next_state() == expected


async def test_a_client_that_disconnects_leaves_its_sessions() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway:
        async with connect(f"ws://{gateway.host}/ws") as client:
            await client.join("main")
            assert len(session.members) == 1
        await until(lambda: not session.members and not gateway.shared.admission.open)


@pytest.mark.parametrize(
    ("messages", "code", "says"),
    [
        ([native.encode(native.Join("main"))], 1002, "expected hello"),
        ([native.encode(native.Hello()), native.encode(native.Hello())], 1002, "second time"),
        ([native.encode(native.Hello((9,)))], 4426, "this node speaks version"),
        ([native.encode(native.Hello()), b"\x03\x02"], 1002, "msgpack map"),
        ([native.encode(native.Hello()), "text"], 1002, "binary messages"),
        ([native.encode(native.Hello()), native.encode(native.Welcome(1, "x"))], 1002, "expected one of"),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_told_and_closed(
    messages: list[bytes | str], code: int, says: str
) -> None:
    async with open_gateway() as gateway:
        with trio.fail_after(30):
            async with open_websocket(f"ws://{gateway.host}/ws") as socket:
                for message in messages:
                    await socket.send_message(message)
                told = []
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        told.append(native.decode_server(bytes_of(await socket.get_message())))
    assert code_of(closed.value) == code
    assert isinstance(told[-1], native.Error)
    assert says in told[-1].message


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    options = GatewayOptions(port=0, limits=Limits(message_bytes=2_000))
    async with open_gateway(options) as gateway:
        with trio.fail_after(30):
            async with open_websocket(f"ws://{gateway.host}/ws") as socket:
                await socket.send_message(b"\x81" + b"x" * 3_000)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.get_message()
    assert code_of(closed.value) == 1009


async def test_a_silent_client_is_pinged_then_dropped_and_one_that_answers_is_kept() -> None:
    options = GatewayOptions(port=0, limits=Limits(idle_seconds=1.0))
    async with open_gateway(options) as gateway:
        with trio.fail_after(30):
            async with (
                connect(f"ws://{gateway.host}/ws") as answering,
                open_websocket(f"ws://{gateway.host}/ws") as silent,
            ):
                await silent.send_message(native.encode(native.Hello()))
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        await silent.get_message()
                assert code_of(closed.value) == 4408
                assert await answering.ping() > 0


async def test_a_connection_without_a_hello_is_closed() -> None:
    options = GatewayOptions(port=0, limits=Limits(head_seconds=0.1))
    async with open_gateway(options) as gateway:
        with trio.fail_after(30):
            async with open_websocket(f"ws://{gateway.host}/ws") as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.get_message()
    assert code_of(closed.value) == 4408


async def test_pings_of_the_websocket_itself_share_the_one_writer_with_audio() -> None:
    """A stalled reader gets whole frames only, whatever was written while it stalled."""
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(directory=directory) as gateway, connect(f"ws://{gateway.host}/ws") as client:
        with trio.fail_after(30):
            listening = patient(await client.join("main"))
            carrier: Any = client._carrier
            for number in range(400):
                session.offer_frame(number.to_bytes(4, "big") * 100)
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(carrier.socket.ping)
            numbers: list[int] = []
            while len(numbers) < 100:
                frame = await anext(listening)
                assert frame.payload == frame.payload[:4] * 100
                numbers.append(int.from_bytes(frame.payload[:4], "big"))
    assert numbers == sorted(numbers)


async def test_nobody_there_is_disconnected() -> None:
    async with open_gateway() as gateway:
        port = gateway.port
    with pytest.raises(Disconnected, match="cannot connect"):
        async with connect(f"ws://127.0.0.1:{port}/ws"):
            pass
