"""The gateway's own stream over one accepted socket: replayed bytes first, one writer, a deadline on every write.

Readers and libraries see a Trio stream; whatever they write goes through the connection's `SocketSink`, the only writer
of the socket, so audio that a session offers and a pong that the WebSocket library sends never interleave.
"""

from __future__ import annotations

import socket

import trio

from wsactors.realtime.sinks import SinkClosed, SocketSink, prepare_audio_socket
from wsactors.wire.proxy_header import ProxyHeader, parse_proxy_header

RECEIVE_BYTES = 16 * 1024
_received = memoryview(bytearray(RECEIVE_BYTES))
"""Where all sockets are read into: what was read is copied from here before anybody else reads."""


class SocketInput:
    """Reads a non-blocking socket."""

    __slots__ = ("_returned", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._returned = b""

    def unread(self, data: bytes) -> None:
        """Give ``data`` back: it is what comes next."""
        self._returned = data + self._returned

    async def read(self, size: int) -> bytes:
        """Some bytes, ``b""`` at the end. Raises Trio's resource errors."""
        return await self._receive(size, 0)

    async def peek(self) -> bytes:
        """The next byte, which stays to be read. Like `read`."""
        return await self._receive(1, socket.MSG_PEEK)

    def read_now(self, size: int, flags: int = 0) -> bytes | None:
        """What has come, at most `RECEIVE_BYTES`; ``b""`` at the end, None when nothing has. Raises Trio's resource errors."""
        if self._returned:
            data = self._returned[:size]
            if not flags:
                self._returned = self._returned[size:]
            return data
        try:
            return bytes(_received[: self._sock.recv_into(_received, min(size, RECEIVE_BYTES), flags)])
        except BlockingIOError:
            return None
        except OSError as error:
            if self._sock.fileno() < 0:
                raise trio.ClosedResourceError("this connection was closed here") from None
            raise trio.BrokenResourceError(f"the peer is gone ({error.strerror})") from error

    async def wait(self) -> None:
        """Wait until `read_now` may have something.

        Raises:
            trio.ClosedResourceError: The connection was closed from here, or its sink takes no more.
        """
        try:
            await trio.lowlevel.wait_readable(self._sock.fileno())
        except (ValueError, OSError) as error:  # the descriptor is gone
            raise trio.ClosedResourceError("this connection was closed here") from error

    async def _receive(self, size: int, flags: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while (data := self.read_now(size, flags)) is None:
            await self.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data


class Pace:
    """How fast a peer may be read: a bucket of ``burst`` bytes that fills with ``rate`` bytes a second, taken in small portions.

    Frames can be six bytes small and cost the parser as much as large ones: who reads all there is holds everybody else up.
    What is not read yet waits in the kernel, and then with the peer.
    """

    __slots__ = ("_burst", "_left", "_portion", "_rate", "_since")

    def __init__(self, rate: float, burst: int, portion: int) -> None:
        self._rate = rate
        self._burst = burst
        self._portion = portion
        self._left = float(burst)
        self._since = trio.current_time()

    async def portion(self) -> int:
        """Wait until there may be read again; how many bytes."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < self._portion:
            await trio.sleep((self._portion - self._left) / self._rate)
        return self._portion

    def spend(self, size: int) -> None:
        """``size`` bytes were read."""
        self._left -= size


class ConnectionStream(trio.abc.HalfCloseableStream):
    """A plain-text connection.

    Args:
        sock: A connected, non-blocking socket; the stream owns it through ``sink``.
        sink: The one writer of ``sock``.
    """

    __slots__ = ("_input", "_replay", "_sock", "pace", "sink")

    def __init__(self, sock: socket.socket, sink: SocketSink) -> None:
        self._input = SocketInput(sock)
        self._sock = sock
        self.sink = sink
        self._replay = b""
        self.pace: Pace | None = None
        """How fast it is read; None as fast as it comes."""

    def unread(self, data: bytes) -> None:
        """Give ``data`` back: it is what the next `receive_some` returns first."""
        self._replay = data + self._replay

    async def take_proxy_header(self) -> ProxyHeader:
        """Read the PROXY header that everything else, TLS too, comes after.

        Raises:
            ProtocolError: There is none, or it is malformed.
            trio.BrokenResourceError: The peer left before it was whole.
        """
        data = b""
        while (header := parse_proxy_header(data)) is None:
            more = await self._input.read(RECEIVE_BYTES)
            if not more:
                raise trio.BrokenResourceError("the proxy left")
            data += more
        self._input.unread(data[header.size :])
        return header

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Trio's contract; what was given back by `unread` comes first."""
        size = await self.allowance()
        data = await self._receive(size if max_bytes is None else min(max_bytes, size))
        self.spend(len(data))
        return data

    async def allowance(self) -> int:
        """Wait until `pace` lets read again; how many bytes."""
        return RECEIVE_BYTES if self.pace is None else await self.pace.portion()

    def spend(self, size: int) -> None:
        """What cost as much as reading ``size`` bytes was done for the peer."""
        if self.pace is not None:
            self.pace.spend(size)

    async def _receive(self, size: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while (data := self.read_now(size)) is None:
            await self.wait_input()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def read_now(self, size: int) -> bytes | None:
        """What has come, at most ``size`` bytes; ``b""`` at the end, None when nothing has. Regardless of `pace`.

        Raises:
            trio.BrokenResourceError: The peer is gone.
            trio.ClosedResourceError: The connection was closed from here.
        """
        if self._replay:
            data, self._replay = self._replay[:size], self._replay[size:]
            return data
        return self._read(size)

    async def wait_input(self) -> None:
        """Wait until `read_now` may have something.

        Raises:
            trio.ClosedResourceError: The connection was closed from here, or its sink takes no more.
        """
        await self._input.wait()

    def _read(self, size: int) -> bytes | None:
        return self._input.read_now(size)

    def prepare_audio(self) -> None:
        """Have the kernel keep little of what is sent: sound must not grow old in there."""
        prepare_audio_socket(self._sock)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Trio's contract, with a deadline: a peer that takes nothing for the sink's stall timeout is broken."""
        try:
            await self.sink.write(bytes(data))
        except SinkClosed as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Always ready: what the kernel refuses waits in the sink."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Say that nothing follows. What was sent before has left already, since `send_all` waits for the kernel."""
        await trio.lowlevel.checkpoint()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """Close the descriptor at once."""
        self.sink.close()
        await trio.lowlevel.checkpoint()

    async def linger(self, seconds: float) -> None:
        """Say that nothing follows, then read and forget until the peer closes, for at most ``seconds``.

        Closing with unread bytes makes the kernel reset the connection, and the peer may then lose the answer that told
        it what was wrong.
        """
        with trio.move_on_after(seconds):
            try:
                await self.send_eof()
                while await self._input.read(RECEIVE_BYTES):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
