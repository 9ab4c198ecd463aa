"""The native protocol's server side on one WebSocket: hello, then requests one at a time; audio goes past it.

trio-websocket does the handshake, parsing, pings and closes, on a stream whose every write goes through the sink of the
connection. Sessions offer their frames to that same sink directly.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from wsactors.wire import native
from wsactors.wire.errors import ProtocolError
from wsactors.wire.http_head import RequestHead

from .directory import Membership, NoSuchSession
from .guard import Refusal
from .port import Port, WebSocketSink
from .stream import ConnectionStream, Pace

if TYPE_CHECKING:
    from wsactors.actors import Pid

CLOSE_PROTOCOL_ERROR = 1002
CLOSE_IDLE = 4408
CLOSE_VERSION = 4426
_GOING_AWAY = b"\x88\x02" + (1012).to_bytes(2, "big")
"""A close frame "service restart": come back later (RFC 6455 §5.5.1, IANA registry of close codes)."""
_PROTOCOL_ERROR = b"\x88\x02" + CLOSE_PROTOCOL_ERROR.to_bytes(2, "big")
"""The library ends a connection whose frames are malformed without a word."""
CLOSING_SECONDS = 2.0
INPUT_RATE = 16 * 1024
"""Bytes a second that a client may send in the long run: hundreds of requests. Listeners send next to nothing."""
INPUT_PORTION = 1024
"""Bytes parsed in one go: at most 170 frames, some three milliseconds."""
RUNNING_START = 8
"""Frames of the past that a join begins with: what a jitter buffer fills itself with first."""


def check_handshake(head: RequestHead) -> Refusal | None:
    """Why ``head`` is no WebSocket handshake (RFC 6455 §4.2.1); None when it is one.

    Checked before any library sees it, so that whatever passes can only succeed.
    """
    if head.method != "GET" or head.minor_version < 1 or b"upgrade" not in head.tokens(b"connection"):
        return Refusal(400, "a WebSocket handshake is a GET of HTTP/1.1 with Connection: Upgrade")
    if head.get(b"transfer-encoding") is not None or head.get(b"content-length") not in {None, b"0"}:
        return Refusal(400, "a WebSocket handshake has no body")
    if head.get(b"sec-websocket-version") != b"13":
        return Refusal(426, "only WebSocket version 13 is spoken here")
    try:
        key = base64.b64decode(head.get(b"sec-websocket-key") or b"", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 16:
        return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return None


async def serve_websocket(stream: ConnectionStream, port: Port, owner: Pid) -> None:
    """Accept the handshake that ``stream`` begins with and serve the native protocol until either side closes.

    The stream holds back what follows the handshake: what comes before it is accepted, the library would keep and forget.
    """
    limits = port.options.limits
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(limits.head_seconds):
                request = await wrap_server_stream(
                    nursery, stream, message_queue_size=1, max_message_size=limits.message_bytes
                )
                socket = await request.accept()
            stream.pace = Pace(INPUT_RATE, 2 * limits.message_bytes, INPUT_PORTION)
            stream.release()
            stream.goodbye, stream.parting = _GOING_AWAY, _PROTOCOL_ERROR
            await _Conversation(socket, WebSocketSink(stream.sink, port.framing), port, owner).run()
            stream.goodbye = stream.parting  # it has ended by itself: not because the node stops
            nursery.cancel_scope.cancel()
    except* (ConnectionClosed, LocalProtocolError):
        # The library's ways to say that the peer closed while it was answering: a pong, a close, the handshake itself.
        stream.sink.close()


class _Conversation:
    """The requests of one client."""

    def __init__(self, socket: WebSocketConnection, sink: WebSocketSink, port: Port, owner: Pid) -> None:
        self._socket = socket
        self._sink = sink
        self._port = port
        self._owner = owner
        self._memberships: dict[str, Membership] = {}

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await self._talk(nursery)
                nursery.cancel_scope.cancel()
        finally:
            for membership in self._memberships.values():
                membership.leave()

    async def _talk(self, nursery: trio.Nursery) -> None:
        try:
            with trio.fail_after(self._port.options.limits.head_seconds):
                hello = await self._receive()
            if not await self._greet(hello):
                return
            while True:
                await self._handle(await self._next(), nursery)
        except ConnectionClosed:
            return
        except trio.TooSlowError:
            await self._close(CLOSE_IDLE, "nothing was heard from you")
        except ProtocolError as error:
            self._send(native.Error("protocol", native.clip(str(error))))
            await self._close(CLOSE_PROTOCOL_ERROR, "protocol error")

    async def _greet(self, hello: native.ClientMessage) -> bool:
        if not isinstance(hello, native.Hello):
            raise ProtocolError("expected hello as the first message")
        if native.VERSION not in hello.versions:
            self._send(native.Error("version", f"this node speaks version {native.VERSION} of the protocol"))
            await self._close(CLOSE_VERSION, "no common version")
            return False
        self._send(native.Welcome(native.VERSION, native.clip(self._port.node_name, native.MAX_NAME)))
        return True

    async def _next(self) -> native.ClientMessage:
        """The next request; after some silence a ping asks whether anybody is there, then `trio.TooSlowError`."""
        idle = self._port.options.limits.idle_seconds
        try:
            with trio.fail_after(idle):
                return await self._receive()
        except trio.TooSlowError:
            self._send(native.Ping(0))
        with trio.fail_after(idle):
            return await self._receive()

    async def _receive(self) -> native.ClientMessage:
        message = await self._socket.get_message()
        if isinstance(message, str):
            raise ProtocolError("expected binary messages")
        return native.decode_client(message)

    async def _handle(self, message: native.ClientMessage, nursery: trio.Nursery) -> None:
        match message:
            case native.Ping(nonce):
                self._send(native.Pong(nonce))
            case native.Pong():
                pass
            case native.ListSessions():
                self._send(native.sessions_that_fit(await self._port.directory.sessions()))
            case native.Join(name):
                await self._join(name, nursery)
            case native.Leave(name):
                membership = self._memberships.pop(name, None)
                if membership is not None:
                    membership.leave()
                self._send(native.Left(name))
            case native.Hello():
                raise ProtocolError("hello came a second time")

    async def _join(self, name: str, nursery: trio.Nursery) -> None:
        if name in self._memberships:
            self._send(self._memberships[name].joined)
            return
        most = self._port.options.limits.sessions_per_connection
        if len(self._memberships) >= most:
            self._send(native.Error("too_many", f"leave a session first: {most} at a time are allowed", name))
            return
        try:
            membership = await self._port.directory.join(name, self._sink, self._owner, history=RUNNING_START)
        except NoSuchSession:
            self._send(native.Error("no_session", "There is no such session now. Ask for the list again.", name))
            return
        self._memberships[name] = membership
        self._send(membership.joined)
        nursery.start_soon(self._watch, name, membership)

    async def _watch(self, name: str, membership: Membership) -> None:
        reason = await membership.wait_ended()
        if self._memberships.get(name) is membership:
            del self._memberships[name]
            self._send(native.Left(name, native.clip(reason)))

    def _send(self, message: native.ServerMessage) -> None:
        self._sink.offer(native.encode(message))  # refused: the sink has closed the connection, and reading will tell

    async def _close(self, code: int, reason: str) -> None:
        with trio.move_on_after(CLOSING_SECONDS):
            await self._socket.aclose(code, reason)
