"""WebSockets on a real port: opening, talking, closing, and clients that do none of it well."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any, cast

import pytest
import trio
import trio.testing

from tests.gateway.harness import exchange, until, upgrade
from tests.gateway.raw_socket import raw_socket
from tests.gateway.talk import Talk, talking
from tests.gateway.ws_frames import BINARY, CLOSE, MORE, PING, PONG, TEXT, frame, in_pieces
from wsactors.actors import Pid
from wsactors.gateway.options import Limits, TlsOptions
from wsactors.gateway.port import Port
from wsactors.gateway.ws import PORTION, WebSocket
from wsactors.wire.http_head import RequestHead

# --- opening ---------------------------------------------------------------------------------------------------------


async def test_the_answer_to_the_handshake_is_that_of_the_rfc() -> None:
    talk = Talk(accept={"subprotocol": "phoenix", "headers": [("x-node", "näme")]})
    async with talking(talk) as (gateway, _), raw_socket(gateway.port, "/talk") as client:
        lines = client.head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
        assert b"Sec-WebSocket-Protocol: phoenix" in lines
        assert "x-node: näme".encode("latin-1") in lines
        assert not any(line.lower().startswith(b"sec-websocket-extensions") for line in lines)


async def test_a_header_cannot_break_out_of_the_answer() -> None:
    for bad in ({"subprotocol": "a\r\nset-cookie: b"}, {"headers": [("x", "a\nb")]}):
        with pytest.raises(ExceptionGroup) as raised:
            async with talking(Talk(accept=bad)) as (gateway, _):
                assert not await exchange(gateway.port, upgrade("/talk"))
                await trio.sleep_forever()
        assert raised.group_contains(ValueError, match="line break")


async def test_a_conversation_may_refuse_the_handshake_in_http() -> None:
    async def refusing(ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
        assert request.target == "/no?apikey=x"
        body = json.dumps({"error": "expired"}).encode()
        ws.refuse(401, body, "application/json", {"www-authenticate": "Bearer"})

    async with talking() as (gateway, _):
        cast("dict[str, Any]", gateway.shared.conversations)["/no"] = refusing
        head, _, body = (await exchange(gateway.port, upgrade("/no?apikey=x"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert b"www-authenticate: Bearer" in head
        assert b"nosniff" in head
        assert json.loads(body) == {"error": "expired"}
        assert b" 404 " in (await exchange(gateway.port, upgrade("/nowhere")))


async def test_what_comes_together_with_the_handshake_is_heard() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", behind=frame(TEXT, b"early")) as client:
        await client.send(frame(TEXT, b"return"))
        assert await client.receive_close() == (1000, "")
    assert talk.heard == ["early"]


async def test_an_idle_connection_is_one_task() -> None:
    async with talking() as (gateway, _), contextlib.AsyncExitStack() as stack:
        before = 0
        for number in range(21):
            client = await stack.enter_async_context(raw_socket(gateway.port, "/echo"))
            await client.send(frame(TEXT, b"x"))
            await client.receive()
            if number == 0:
                before = trio.lowlevel.current_statistics().tasks_living
        assert trio.lowlevel.current_statistics().tasks_living == before + 20


# --- talking ---------------------------------------------------------------------------------------------------------


async def test_messages_come_back_whole_and_pings_are_answered_in_between() -> None:
    async with talking() as (gateway, _), raw_socket(gateway.port) as client:
        await client.send(frame(TEXT, b"frag", fin=0) + frame(PING, b"between") + frame(MORE, b"ment"))
        assert await client.receive() == (0x80 | PONG, b"between")
        assert await client.receive() == (0x80 | TEXT, b"fragment")
        await client.send(in_pieces(BINARY, bytes(range(256)) * 10, [1, 1, 700]) + frame(PONG, b"nobody asked"))
        assert await client.receive() == (0x80 | BINARY, bytes(range(256)) * 10)
        await client.send(frame(TEXT) + frame(BINARY))
        assert [await client.receive(), await client.receive()] == [(0x80 | TEXT, b""), (0x80 | BINARY, b"")]


@pytest.mark.parametrize("pieces", [1, 64])
async def test_sixteen_mebibytes_when_configured(pieces: int) -> None:
    size = 16 * 1024 * 1024
    payload = b"0123456789abcdef" * (size // 16)
    cuts = [size * n // pieces for n in range(1, pieces)]
    limits = Limits(message_bytes=size, input_rate=1e9)
    async with talking(limits=limits) as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await client.send(in_pieces(BINARY, payload, cuts))
        await until(lambda: bool(talk.heard), seconds=60)
        assert talk.heard == [payload]
        await client.send(in_pieces(BINARY, payload + b"x", cuts))
        assert await client.receive_close() == (1009, f"at most {size} bytes are taken")


async def test_a_client_that_sends_without_end_is_read_at_its_rate_and_holds_nobody_up() -> None:
    limits = Limits(message_bytes=4096, input_rate=20_000)
    async with talking(limits=limits) as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        start = trio.current_time()
        with trio.move_on_after(1.0):
            while True:
                await client.send(frame(BINARY, bytes(872)) * 20)
        burst, rate = 2 * 4096 / 1000, 20
        await until(lambda: len(talk.heard) >= burst + rate / 2)
        assert len(talk.heard) <= burst + rate * (trio.current_time() - start) + 2 * PORTION / 1000


# --- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "answer", "code", "reason"),
    [
        (b"", b"", 1005, ""),
        (b"\x03\xe8", b"\x03\xe8", 1000, ""),
        (b"\x0f\xa0bye", b"\x0f\xa0", 4000, "bye"),
    ],
)
async def test_the_clients_close_is_answered_and_the_server_closes_first(
    payload: bytes, answer: bytes, code: int, reason: str
) -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await client.send(frame(CLOSE, payload) + frame(TEXT, b"too late"))
        assert await client.receive() == (0x80 | CLOSE, answer)
        assert await client.receive() is None
        await talk.ended.wait()
        assert talk.closed is not None
        assert (talk.closed.code, talk.closed.reason) == (code, reason)
        assert talk.heard == []
        await until(lambda: not gateway.shared.websockets)


async def test_a_conversation_that_returns_closes_normally_and_waits_for_the_answer() -> None:
    async with talking() as (gateway, _), raw_socket(gateway.port, "/talk") as client:
        await client.send(frame(TEXT, b"return") + frame(TEXT, b"unread") + frame(PING))
        assert await client.receive_close() == (1000, "")


async def test_a_conversation_that_crashes_is_1011_and_comes_out() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with talking() as (gateway, _), raw_socket(gateway.port, "/talk") as client:
            await client.send(frame(TEXT, b"crash"))
            assert await client.receive() == (0x80 | CLOSE, b"\x03\xf3")
            await trio.sleep_forever()
    assert raised.group_contains(LookupError, match="as asked")


async def test_what_was_sent_in_order_arrives_before_the_close_frame() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk", narrow=True) as client:
        await talk.came.wait()
        count = 0
        while talk.ws.sink.is_idle:
            assert talk.ws.send_bytes(count.to_bytes(4, "big") * 500)
            count += 1
        for _ in range(20):
            assert talk.ws.send_bytes(count.to_bytes(4, "big") * 500)
            count += 1
        talk.ws.close(4001, "enough")
        assert not talk.ws.send_bytes(b"late")
        got = [await client.receive() for _ in range(count)]
        assert got == [(0x80 | BINARY, number.to_bytes(4, "big") * 500) for number in range(count)]
        assert await client.receive_close() == (4001, "enough")


async def test_closing_from_elsewhere_wakes_who_receives() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        talk.ws.close(4003, "kicked")
        talk.ws.close(1000, "the first one counts")
        with trio.fail_after(30):
            await talk.ended.wait()
        assert talk.closed is not None
        assert (talk.closed.code, talk.closed.reason) == (4003, "kicked")
        assert await client.receive_close() == (4003, "kicked")


async def test_a_client_that_does_not_answer_the_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.gateway.ws.CLOSING_SECONDS", 0.2)
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()
        start = trio.current_time()
        talk.ws.close(1000)
        await client.send(frame(TEXT, b"I go on"))
        await until(lambda: talk.ws.sink.is_over)
        assert trio.current_time() - start > 0.1


async def test_a_client_that_vanishes_is_1006() -> None:
    async with talking() as (gateway, talk):
        async with raw_socket(gateway.port, "/talk"):
            await talk.came.wait()
        await talk.ended.wait()
        assert talk.closed is not None
        assert talk.closed.code == 1006
        talk.__init__()  # type: ignore[misc]  # once more
        async with raw_socket(gateway.port, "/talk") as client:
            await talk.came.wait()
            assert isinstance(client.stream, trio.SocketStream)
            client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await talk.ended.wait()
        assert talk.closed.code == 1006


async def test_a_stopping_node_says_1012() -> None:
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()
        gateway.nursery.cancel_scope.cancel()
        assert await client.receive() == (0x80 | CLOSE, b"\x03\xf4")


async def test_over_tls_everything_is_the_same() -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    limits = Limits(buffer_bytes=100_000)
    async with talking(limits=limits, tls=TlsOptions("on")) as (gateway, talk):
        async with raw_socket(gateway.port, "/talk", tls=trusting) as client:
            await client.send(
                frame(TEXT, b"frag", fin=0) + frame(PING, b"x") + frame(MORE, b"ment") + frame(TEXT, b"return")
            )
            assert await client.receive() == (0x80 | PONG, b"x")
            assert await client.receive_close() == (1000, "")
            assert talk.heard == ["fragment"]
        talk.came = trio.Event()
        async with raw_socket(gateway.port, "/talk", tls=trusting, narrow=True) as client:
            await talk.came.wait()
            count = 0
            while talk.ws.send_bytes(bytes(3000)):
                count += 1
            heard = 0
            while (got := await client.receive()) == (0x80 | BINARY, bytes(3000)):
                heard += 1
            assert got == (0x80 | CLOSE, b"\x03\xf5you read too slowly")
            assert 0 < heard < count


# --- silence ---------------------------------------------------------------------------------------------------------


async def test_a_silent_client_is_pinged_and_kept_while_it_answers_then_closed() -> None:
    async with (
        talking(limits=Limits(idle_seconds=0.5)) as (gateway, talk),
        raw_socket(gateway.port, "/talk") as client,
    ):
        start = 0.0
        for _ in range(4):
            assert await client.receive() == (0x80 | PING, b"")
            start = trio.current_time()
            await client.send(frame(PONG))
        assert await client.receive() == (0x80 | PING, b"")
        assert await client.receive_close() == (4408, "nothing was heard from you")
        assert trio.current_time() - start > 0.9
        assert talk.closed is not None


async def test_a_protocol_may_ask_in_its_own_words() -> None:
    async with talking(limits=Limits(idle_seconds=30)) as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()
        talk.ws.ask = lambda: talk.ws.send_text("still there?")
        talk.ws.watch_silence(0.1)
        assert await client.receive() == (0x80 | TEXT, b"still there?")


# --- going away ------------------------------------------------------------------------------------------------------


async def test_goodbye_is_1012_or_the_protocols_own() -> None:
    told = []
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()

        def goodbye(seconds: float) -> None:
            told.append(seconds)
            talk.ws.send_text(f"back in {seconds:g} s")
            talk.ws.close(1001, "so long")

        talk.ws.goodbye = goodbye
        talk.ws.say_goodbye(2.5)
        talk.ws.say_goodbye(3.5)
        assert await client.receive() == (0x80 | TEXT, b"back in 2.5 s")
        assert await client.receive_close() == (1001, "so long")
        assert told == [2.5]
    async with talking() as (gateway, talk), raw_socket(gateway.port, "/talk") as client:
        await talk.came.wait()
        talk.ws.say_goodbye(1)
        assert (await client.receive_close())[0] == 1012
