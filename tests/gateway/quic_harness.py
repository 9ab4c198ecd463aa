"""A gateway with a QUIC port beside it, and clients that speak the native protocol there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived
from aioquic.quic import events

from tests.gateway.harness import TestDirectory
from tests.media.quic.quic_client import QuicClient, open_quic
from wsactors.gateway import Gateway
from wsactors.gateway.dev_certificate import DevelopmentCertificates
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.port import Port
from wsactors.gateway.quic_conversation import QuicConversation
from wsactors.gateway.quic_server import QuicOptions, QuicServer
from wsactors.gateway.server import Address
from wsactors.gateway.webtransport_pages import Offer
from wsactors.supervision import Node
from wsactors.wire import native
from wsactors.wire.capsules import Capsule, CapsuleParser
from wsactors.wire.length_prefix import LengthPrefixed, prefixed


@attrs.define
class QuicGateway:
    """A node with both ports open."""

    node: Node
    page: Address
    offers: list[Offer]
    """One for each time that the endpoint has opened."""
    directory: TestDirectory
    names: Mapping[str, Any]

    @property
    def offer(self) -> Offer:
        return self.offers[-1]

    @property
    def port(self) -> int:
        """Of UDP."""
        return self.offer.port

    @property
    def shared(self) -> Port:
        found = Port.of(self.node)
        assert found is not None
        return found

    @property
    def clients(self) -> list[QuicConversation]:
        return list(self.shared.quic)

    @property
    def origin(self) -> str:
        return self.page.urls[0].rstrip("/")


@asynccontextmanager
async def open_quic_gateway(
    options: GatewayOptions | None = None,
    quic: QuicOptions | None = None,
    directory: TestDirectory | None = None,
    certificates: DevelopmentCertificates | None = None,
    prepare: Callable[[Node], Awaitable[object]] | None = None,
) -> AsyncIterator[QuicGateway]:
    pages: list[Address] = []
    offers: list[Offer] = []
    directory = directory or TestDirectory()
    async with Node("quic") as node:
        if prepare is not None:
            await prepare(node)
        server = await node.spawn(
            QuicServer,
            quic or QuicOptions(),
            certificates or DevelopmentCertificates(["localhost", "127.0.0.1"]),
            lambda: pages[0] if pages else None,
            offers.append,
        )
        gateway = await node.spawn(
            Gateway, options or GatewayOptions(port=0), kwargs={"on_open": pages.append, "directory": directory}
        )
        yield QuicGateway(node, pages[0], offers, directory, {"server": server, "gateway": gateway})
        node.exit(gateway, "shutdown")
        node.exit(server, "shutdown")


class Talker:
    """The native protocol over one stream and datagrams, whatever carries them."""

    def __init__(self, client: QuicClient) -> None:
        self.client = client

    async def say(self, message: native.ClientMessage) -> None:
        data = native.encode(message)
        await self.raw(prefixed(data))

    async def raw(self, data: bytes) -> None:
        raise NotImplementedError

    def heard(self) -> bytes:
        raise NotImplementedError

    def frames(self) -> list[bytes]:
        """The datagrams that have come."""
        raise NotImplementedError

    def messages(self) -> list[native.ServerMessage]:
        return [native.decode_server(each) for each in LengthPrefixed(1 << 20).feed(self.heard())]  # type: ignore[misc]

    async def hears(self, kind: type[Any], count: int = 1) -> Any:
        def found() -> list[Any]:
            return [each for each in self.messages() if isinstance(each, kind)]

        await self.client.wait(lambda: len(found()) >= count)
        return found()[count - 1]

    async def hello(self, **fields: Any) -> native.Welcome:
        await self.say(native.Hello(versions=(2,), client="test", **fields))
        welcome: native.Welcome = await self.hears(native.Welcome)
        return welcome

    async def sound(self, count: int) -> list[native.AudioFrame]:
        await self.client.wait(lambda: len(self.frames()) >= count)
        return [native.decode_audio(each) for each in self.frames()]


class RawTalker(Talker):
    """On QUIC itself."""

    async def raw(self, data: bytes) -> None:
        await self.client.send(data)

    def heard(self) -> bytes:
        return self.client.stream(0)

    def frames(self) -> list[bytes]:
        return [each.data for each in self.client.of(events.DatagramFrameReceived)]


class WebTalker(Talker):
    """In a WebTransport session."""

    def __init__(self, client: QuicClient) -> None:
        super().__init__(client)
        assert client.h3 is None
        client.h3 = H3Connection(client.quic, enable_webtransport=True)
        self.h3 = client.h3
        self.session: int | None = None
        self.stream_id: int | None = None

    async def connect(
        self,
        port: int,
        *,
        origin: str | None,
        path: str = "/wt",
        replace: Mapping[bytes, bytes | None] | None = None,
        **more: bytes,
    ) -> dict[bytes, bytes]:
        """Ask for a session; the headers of the answer. ``replace``: headers as they are instead, or None."""
        session = self.client.quic.get_next_available_stream_id()
        headers: dict[bytes, bytes | None] = {
            b":method": b"CONNECT",
            b":scheme": b"https",
            b":authority": f"127.0.0.1:{port}".encode(),
            b":path": path.encode(),
            b":protocol": b"webtransport",
            b"sec-webtransport-http3-draft02": b"1",
            **({} if origin is None else {b"origin": origin.encode()}),
            **{name.replace("_", "-").encode(): value for name, value in more.items()},
        }
        headers |= replace or {}
        self.h3.send_headers(session, [(name, value) for name, value in headers.items() if value is not None])
        await self.client.flush()

        def answers() -> list[Any]:
            return [each for each in self.client.of(HeadersReceived) if each.stream_id == session]

        [answer] = await self.client.wait(answers)
        self.session = session
        return dict(answer.headers)

    async def raw(self, data: bytes) -> None:
        assert self.session is not None
        if self.stream_id is None:
            self.stream_id = self.h3.create_webtransport_stream(self.session)
        await self.client.send(data, self.stream_id)

    def heard(self) -> bytes:
        # What comes back on a stream that the client has opened has no header.
        return self.client.stream(self.stream_id) if self.stream_id is not None else b""

    def frames(self) -> list[bytes]:
        return [each.data for each in self.client.of(DatagramReceived)]

    def capsules(self) -> list[Capsule]:
        data = b"".join(each.data for each in self.client.of(DataReceived) if each.stream_id == self.session)
        return CapsuleParser().feed(data)

    async def capsule(self, kind: type[Any]) -> Any:
        return await self.client.wait(lambda: next((each for each in self.capsules() if isinstance(each, kind)), None))


@asynccontextmanager
async def raw_talker(port: int, **options: Any) -> AsyncIterator[RawTalker]:
    async with open_quic(port, **options) as client:
        yield RawTalker(client)


@asynccontextmanager
async def web_talker(
    gateway: QuicGateway, *, origin: str | None = "", path: str = "/wt", **headers: bytes
) -> AsyncIterator[WebTalker]:
    """An open session; ``origin`` "" is that of the gateway's own page."""
    async with open_quic(gateway.port, "h3") as client:
        talker = WebTalker(client)
        answer = await talker.connect(
            gateway.port, origin=gateway.origin if origin == "" else origin, path=path, replace=None, **headers
        )
        assert answer[b":status"] == b"200", answer
        yield talker
