"""A WebSocket client of which every byte is the test's own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.gateway.harness import open_narrow_stream, upgrade
from tests.gateway.ws_frames import CLOSE, frame


class RawSocket:
    """An open connection; what the server sent is read frame by frame."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.head = b""
        self._data = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._data:
            assert await self._more(), "the server closed without an answer"
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        self.head, self._data = head, bytearray(rest)
        return head

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            return False
        self._data += data
        return bool(data)

    async def receive(self) -> tuple[int, bytes] | None:
        """The next frame: its first byte and its payload. None when the server has closed the connection."""
        while True:
            data = self._data
            if len(data) >= 2:
                size, start = data[1] & 0x7F, 2
                if size == 126:
                    size, start = int.from_bytes(data[2:4], "big"), 4
                elif size == 127:
                    size, start = int.from_bytes(data[2:10], "big"), 10
                if len(data) >= start + size:
                    payload = bytes(data[start : start + size])
                    first = data[0]
                    del data[: start + size]
                    return first, payload
            if not await self._more():
                assert not self._data, "the last frame is not whole"
                return None

    async def receive_close(self) -> tuple[int, str]:
        """Skip to the close frame; its code and reason. Answer it, and see the server close the connection."""
        while (got := await self.receive()) is not None:
            first, payload = got
            if first == 0x80 | CLOSE:
                await self.send(frame(CLOSE, payload[:2]))
                assert await self.receive() is None
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()
        raise AssertionError("closed without a close frame")


@asynccontextmanager
async def raw_socket(
    port: int,
    path: str = "/echo",
    *,
    headers: str = "",
    narrow: bool = False,
    behind: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RawSocket]:
    """Open a WebSocket and read the answer, whatever it is. ``behind`` is sent together with the handshake."""
    stream: Any = await open_narrow_stream(port) if narrow else await trio.open_tcp_stream("127.0.0.1", port)
    if tls is not None:
        stream = trio.SSLStream(stream, tls, https_compatible=True)
    async with stream:
        sock = RawSocket(stream)
        await sock.send(upgrade(path, headers=headers) + behind)
        await sock.read_head()
        yield sock
