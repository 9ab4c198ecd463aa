"""permessage-deflate: what is agreed, what goes out, and both against another implementation (PyPI's ``websockets``)."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State
from websockets.uri import parse_uri

from tests.gateway.harness import open_gateway, until, upgrade
from tests.gateway.raw_socket import raw_socket
from tests.gateway.talk import Talk, talking
from tests.gateway.ws_frames import BINARY, TEXT, deflate, frame
from wsactors.gateway.deflate import Agreement, agree
from wsactors.gateway.framing import PLAIN, SharedFraming, deflated
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.wire.http_head import parse_head

NAME = "permessage-deflate"
ANSWER = f"{NAME}; server_no_context_takeover; client_no_context_takeover"


def agreed(*values: str) -> Agreement | None:
    head = parse_head(upgrade(headers="".join(f"Sec-WebSocket-Extensions: {value}\r\n" for value in values)))
    assert head is not None
    return agree(head)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (NAME, ANSWER),
        (f"{NAME}; client_max_window_bits", ANSWER),
        (f"{NAME}; client_max_window_bits=8", ANSWER),
        (f"{NAME};server_no_context_takeover ; client_no_context_takeover", ANSWER),
        (f"{NAME}; server_max_window_bits=10", f"{ANSWER}; server_max_window_bits=10"),
        (f'{NAME}; server_max_window_bits="15"', f"{ANSWER}; server_max_window_bits=15"),
        (f"x-webkit-deflate-frame, {NAME}", ANSWER),
        (f"{NAME}; server_max_window_bits=8, {NAME}", ANSWER),  # zlib cannot; the second offer can
        (f"{NAME}; surprise, {NAME}; server_max_window_bits=9", f"{ANSWER}; server_max_window_bits=9"),
    ],
)
def test_the_first_offer_that_can_be_kept_is_accepted(offer: str, answer: str) -> None:
    agreement = agreed(offer)
    assert agreement is not None
    assert agreement.header == answer
    assert agreed(*offer.split(",")) == agreement  # several headers are one list


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-bzip2",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; server_max_window_bits=8",
        f"{NAME}; server_max_window_bits=015",
        f"{NAME}; server_max_window_bits=",
        f"{NAME}; client_max_window_bits=7",
        f"{NAME}; client_max_window_bits=1e1",
        f"{NAME}; server_no_context_takeover=1",
        f"{NAME}; server_no_context_takeover; server_no_context_takeover",
        f"{NAME}; client_max_window_bits; client_max_window_bits=10",
        f"{NAME}; unknown",
        f"{NAME} client_max_window_bits",
        f'{NAME}; server_max_window_bits="10',
        f"{NAME};",
        ", ".join(["other"] * 8 + [NAME]),
    ],
)
def test_what_cannot_be_kept_is_declined(offer: str) -> None:
    assert agreed(offer) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_arbitrary_offers_are_declined_or_answered(offer: str) -> None:
    agreed(offer)
    agreed(f"{NAME}; {offer}")


# --- going out -------------------------------------------------------------------------------------------------------


def test_connections_that_agreed_on_the_same_share_one_framing() -> None:
    assert Agreement().framing is Agreement(15).framing is deflated(15)
    assert Agreement(9).framing is not deflated(15)


def inflate(payload: bytes, bits: int) -> bytes:
    return zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff")


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_deflated_frame_stands_by_itself_and_fits_its_window(bits: int) -> None:
    data = bytes(random.Random(bits).choices(b"abcdef", k=40_000))
    for make, opcode in ((deflated(bits).text, 0x81), (deflated(bits).binary, 0x82)):
        wire = make(data)
        assert wire[0] == opcode | 0x40
        assert len(wire) < len(data) * 0.7
        assert inflate(wire[4:], bits) == data


def test_what_is_small_or_does_not_shrink_goes_out_plain() -> None:
    noise = random.Random(1).randbytes(1000)
    for data in (b"", b"small" * 10, noise):
        assert deflated(15).binary(data) == PLAIN.binary(data)
        assert deflated(15).text(data) == PLAIN.text(data)


def test_a_message_is_framed_once_for_all_who_get_it_one_after_the_other() -> None:
    framing = SharedFraming()
    message = bytes(500)
    assert framing.frame(message) is framing.frame(message)
    assert framing.frame(b"other") != framing.frame(message)


# --- against another implementation ----------------------------------------------------------------------------------


class Peer:
    """A client whose protocol is that of ``websockets``."""

    def __init__(self, stream: trio.SocketStream, port: int, offer: ClientPerMessageDeflateFactory | None) -> None:
        self.stream = stream
        self._heard: list[Event] = []
        uri = parse_uri(f"ws://127.0.0.1:{port}/echo")
        self.protocol = ClientProtocol(uri, extensions=[offer] if offer else None, max_size=None)

    async def open(self) -> None:
        self.protocol.send_request(self.protocol.connect())
        while self.protocol.state is State.CONNECTING:
            await self.exchange()
        assert self.protocol.handshake_exc is None
        self.protocol.events_received()

    async def exchange(self) -> None:
        await self.flush()
        data = await self.stream.receive_some()
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()

    async def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                await self.stream.send_all(data)

    async def next_frame(self) -> Frame:
        while not self._heard:
            assert self.protocol.parser_exc is None
            await self.exchange()
            self._heard += self.protocol.events_received()
        got = self._heard.pop(0)
        assert isinstance(got, Frame)
        return got

    async def send(self, message: str | bytes, cuts: list[int]) -> None:
        """In fragments, cut at these places, with a ping between any two."""
        data = message.encode() if isinstance(message, str) else message
        places = [0, *sorted(cuts), len(data)]
        for number, (a, b) in enumerate(itertools.pairwise(places)):
            fin = number == len(cuts)
            if number:
                self.protocol.send_ping(b"%d" % number)
                self.protocol.send_continuation(data[a:b], fin)
            elif isinstance(message, str):
                self.protocol.send_text(data[a:b], fin)
            else:
                self.protocol.send_binary(data[a:b], fin)
        await self.flush()

    async def receive(self) -> str | bytes:
        while (got := await self.next_frame()).opcode is Opcode.PONG:
            pass
        assert got.fin
        return bytes(got.data).decode() if got.opcode is Opcode.TEXT else bytes(got.data)


@asynccontextmanager
async def peer(port: int, offer: ClientPerMessageDeflateFactory | None) -> AsyncIterator[Peer]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Peer(stream, port, offer)
        await client.open()
        yield client
        client.protocol.send_close(1000, "done")
        while client.protocol.state is not State.CLOSED:
            await client.exchange()
        assert client.protocol.close_code == 1000


OFFERS = {
    "none": None,
    "as they come": ClientPerMessageDeflateFactory(),
    "limited client": ClientPerMessageDeflateFactory(client_max_window_bits=9),
    "limited server": ClientPerMessageDeflateFactory(server_max_window_bits=9),
    "no takeover": ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=True
    ),
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
async def test_every_message_survives_both_ways(offer: ClientPerMessageDeflateFactory | None) -> None:
    chance = random.Random(7)
    options = GatewayOptions(port=0, deflate=True, limits=Limits(message_bytes=300_000, input_rate=1e9))
    with trio.fail_after(20):
        async with open_gateway(options) as gateway, peer(gateway.port, offer) as client:
            assert bool(client.protocol.extensions) == (offer is not None)
            for size in [0, 1, 125, 126, 127, 128, 5_000, 65_535, 65_536, 300_000]:
                noise = chance.randbytes(size)
                for message in (noise, b"\0" * size, "é" * (size // 2), chance.choices("abc ", k=size)):
                    whole = "".join(message) if isinstance(message, list) else message
                    cuts = [chance.randint(0, len(whole)) for _ in range(chance.randint(0, 4))]
                    await client.send(whole, cuts)
                    assert await client.receive() == whole


async def test_off_means_that_nothing_is_agreed_on() -> None:
    with trio.fail_after(30):
        async with (
            open_gateway(GatewayOptions(port=0)) as gateway,
            peer(gateway.port, ClientPerMessageDeflateFactory()) as client,
        ):
            assert not client.protocol.extensions
            await client.send("x" * 1000, [])
            assert await client.receive() == "x" * 1000


# --- attacks ---------------------------------------------------------------------------------------------------------


async def test_a_zip_bomb_costs_its_own_connection_and_no_memory() -> None:
    bomb = deflate(bytes(16_900_000))
    assert len(bomb) < 17_000
    async with talking(deflate=True) as (gateway, talk):
        async with raw_socket(gateway.port, "/talk", headers=f"Sec-WebSocket-Extensions: {NAME}\r\n") as client:
            assert ANSWER.encode() in client.head
            await client.send(frame(BINARY, bomb, rsv=4))
            assert await client.receive_close() == (1009, "message too big")
        await until(lambda: not gateway.shared.websockets)
        assert talk.heard == []


async def test_nothing_is_inflated_that_was_not_agreed_on() -> None:
    async with (
        talking(Talk(accept={"deflate": False}), deflate=True) as (gateway, _),
        raw_socket(gateway.port, "/talk", headers=f"Sec-WebSocket-Extensions: {NAME}\r\n") as client,
    ):
        assert b"Extensions" not in client.head
        await client.send(frame(TEXT, deflate(b"x"), rsv=4))
        assert await client.receive_close() == (1002, "protocol error")
