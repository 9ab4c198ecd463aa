"""An HTTP/2 client that says exactly what a test wants, over the h2 library."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trio


def trusting(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=pem)


class Client:
    """A client that says what it wants and collects what it hears."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], host: str) -> None:
        self.stream = stream
        self.host = host
        self.core = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self.events: list[h2.events.Event] = []

    def ask(
        self, target: str, method: str = "GET", *, end: bool = True, headers: list[tuple[str, str]] | None = None
    ) -> int:
        stream_id = self.core.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", self.host), (":path", target)]
        self.core.send_headers(stream_id, head + (headers or []), end_stream=end)
        return stream_id

    async def flush(self) -> None:
        await self.stream.send_all(self.core.data_to_send())

    async def hear(self, wanted: type[h2.events.Event]) -> h2.events.Event:
        """Read until something like that has come."""
        with trio.fail_after(30):
            while not (found := [event for event in self.events if isinstance(event, wanted)]):
                data = await self.stream.receive_some()
                if not data:
                    raise trio.BrokenResourceError("closed")
                self.events += self.core.receive_data(bytes(data))
                await self.flush()
        return found[0]

    async def listen(self) -> None:
        """Take in what has come next."""
        data = await self.stream.receive_some()
        for event in self.core.receive_data(bytes(data)):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.core.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        await self.flush()

    def body(self, stream_id: int) -> bytes:
        """What has come of an answer's body."""
        pieces = [event for event in self.events if isinstance(event, h2.events.DataReceived)]
        return b"".join(event.data or b"" for event in pieces if event.stream_id == stream_id)

    async def hear_goodbye(self) -> int | None:
        """Read until the server ends the connection; its reason, if it could be read."""
        with contextlib.suppress(trio.BrokenResourceError, ConnectionError):
            event = await self.hear(h2.events.ConnectionTerminated)
            assert isinstance(event, h2.events.ConnectionTerminated)
            return event.error_code
        return None


@asynccontextmanager
async def connected(port: int, pem: Path) -> AsyncIterator[Client]:
    context = trusting(pem)
    context.set_alpn_protocols(["h2"])
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True)
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == "h2"
    client = Client(stream, f"127.0.0.1:{port}")
    client.core.initiate_connection()
    await client.flush()
    try:
        yield client
    finally:
        await trio.aclose_forcefully(stream)
