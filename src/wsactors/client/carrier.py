"""What carries the native protocol's messages: a WebSocket, or a QUIC connection."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol
from urllib.parse import urlsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from wsactors.wire.errors import ProtocolError

from .socket import CLOSE_SECONDS, open_websocket

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message taken from a node."""
BROKEN: Final = 1006
"""What a close without a close frame is called (RFC 6455 §7.4.1)."""


class CarrierClosed(Exception):
    """The connection is gone. ``code`` is the node's close code, `BROKEN` when it gave none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Carrier(Protocol):
    """One connection to a node. One task receives, one sends."""

    async def receive(self) -> bytes:
        """The next message, or audio frame.

        Raises:
            CarrierClosed: there will be none.
            ProtocolError: the node sent what can be neither.
        """

    async def send(self, data: bytes) -> None:
        """Send a message, or an audio frame, which may be lost. Raises `CarrierClosed`."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, and why; takes at most a second."""


@attrs.frozen
class Trust:
    """How a node's certificate is checked."""

    ssl_context: ssl.SSLContext | None = None
    """For ``wss://``; None: by the system's authorities."""
    ca_file: str | None = None
    """For ``quic://``: PEM file of authorities; None: certifi's, which aioquic brings."""
    certificate_sha256: bytes = attrs.field(default=b"", repr=bytes.hex)
    """For ``quic://``: the digest of the one certificate that is accepted, whoever signed it."""


@asynccontextmanager
async def open_carrier(url: str, trust: Trust, *, timeout: float) -> AsyncIterator[Carrier]:
    """Connect to a ``ws://``, ``wss://`` or ``quic://host:port`` address for the length of the block.

    Raises:
        Disconnected: nobody answers there in time, or what answers refuses.
        ValueError: ``url`` is no such address.
    """
    if urlsplit(url).scheme == "quic":
        from .quic import open_quic  # aioquic is an extra that WebSockets do without

        async with open_quic(url, trust, timeout=timeout) as quic:
            yield quic
    else:
        opening = open_websocket(url, ssl_context=trust.ssl_context, timeout=timeout, max_message_size=MESSAGE_BYTES)
        async with opening as socket:
            yield WebSocketCarrier(socket)


class WebSocketCarrier:
    """A `Carrier`: binary messages of a WebSocket."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def receive(self) -> bytes:
        """See `Carrier.receive`."""
        try:
            data = await self.socket.get_message()
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        if isinstance(data, str):
            raise ProtocolError("expected binary messages")
        return data

    async def send(self, data: bytes) -> None:
        """See `Carrier.send`."""
        try:
            await self.socket.send_message(data)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def close(self, code: int, reason: str) -> None:
        """See `Carrier.close`."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self.socket.aclose(code, reason)


def _closed(closed: ConnectionClosed) -> CarrierClosed:
    code = BROKEN if closed.reason is None else closed.reason.code
    return CarrierClosed(code, f"the node closed the connection: {closed.reason}")
