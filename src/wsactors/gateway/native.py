"""The native protocol's server side: hello, then requests one at a time; what sessions play goes past it.

Messages come decoded and leave through a sink, so this knows of no transport but in `serve_native`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from wsactors.realtime.sinks import Sink
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

from .directory import Membership, NoSuchSession
from .framing import WebSocketSink
from .ws import CLOSE_IDLE, PROTOCOL_ERROR, WebSocket

if TYPE_CHECKING:
    from wsactors.actors import Pid
    from wsactors.wire.http_head import RequestHead

    from .port import Port

PATH: Final = "/ws"
CLOSE_VERSION: Final = 4426
RUNNING_START: Final = 8
"""Frames of the past that a join begins with: what a jitter buffer fills itself with first."""


async def serve_native(ws: WebSocket, _request: RequestHead, port: Port, owner: Pid) -> None:
    """A `Conversation`: the native protocol on a WebSocket, one binary message a frame."""
    del _request
    ws.accept()
    talk = NativeConversation(WebSocketSink(ws.sink, port.framing), port, owner, ws.close, on_join=ws.prepare_audio)
    ws.ask = talk.ask
    try:
        try:
            with trio.fail_after(port.options.limits.head_seconds):
                hello = _decoded(await ws.receive())
        except trio.TooSlowError:
            return ws.close(CLOSE_IDLE, "nothing was heard from you")
        talk.greet(hello)
        while True:
            await talk.handle(_decoded(await ws.receive()))
    except ProtocolError as error:
        talk.refuse(error)
    finally:
        talk.end()


def _decoded(message: str | bytes) -> native.ClientMessage:
    if isinstance(message, str):
        raise ProtocolError("expected binary messages")
    return native.decode_client(message)


class NativeConversation:
    """The requests of one client.

    Args:
        sink: Where answers go, one encoded message per offer.
        port: What it is a client of.
        owner: The connection's actor.
        close: Ends the connection, with a close code and a reason; does not wait.
        on_join: Called before the first session is joined.
    """

    __slots__ = ("_close", "_memberships", "_on_join", "_owner", "_port", "_sink")

    def __init__(
        self,
        sink: Sink,
        port: Port,
        owner: Pid,
        close: Callable[[int, str], None],
        *,
        on_join: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._port = port
        self._owner = owner
        self._close = close
        self._on_join = on_join
        self._memberships: dict[str, Membership] = {}

    def ask(self) -> None:
        """Ask the client whether it is still there."""
        self._send(native.Ping(0))

    def end(self) -> None:
        """Leave everything; the client is gone, or will be."""
        while self._memberships:
            self._memberships.popitem()[1].leave()

    def refuse(self, error: ProtocolError) -> None:
        """Tell the client what it did wrong, and end the connection."""
        self._send(native.Error("protocol", native.clip(str(error))))
        self._close(PROTOCOL_ERROR, "protocol error")

    def greet(self, hello: native.ClientMessage) -> None:
        """Answer the first message.

        Raises:
            ProtocolError: It is no hello.
        """
        if not isinstance(hello, native.Hello):
            raise ProtocolError("expected hello as the first message")
        if native.VERSION not in hello.versions:
            self._send(native.Error("version", f"this node speaks version {native.VERSION} of the protocol"))
            return self._close(CLOSE_VERSION, "no common version")
        return self._send(native.Welcome(native.VERSION, native.clip(self._port.node_name, native.MAX_NAME)))

    async def handle(self, message: native.ClientMessage) -> None:
        """Do what the client asks for, and answer.

        Raises:
            ProtocolError: It may not ask for that now.
        """
        match message:
            case native.Ping(nonce):
                self._send(native.Pong(nonce))
            case native.Pong():
                pass
            case native.ListSessions():
                self._send(native.sessions_that_fit(await self._port.directory.sessions()))
            case native.Join(name):
                await self._join(name)
            case native.Leave(name):
                membership = self._memberships.pop(name, None)
                if membership is not None:
                    membership.leave()
                self._send(native.Left(name))
            case native.Hello():
                raise ProtocolError("hello came a second time")

    async def _join(self, name: str) -> None:
        if name in self._memberships:
            self._send(self._memberships[name].joined)
            return
        most = self._port.options.limits.sessions_per_connection
        if len(self._memberships) >= most:
            self._send(native.Error("too_many", f"leave a session first: {most} at a time are allowed", name))
            return
        if not self._memberships:
            self._on_join()
        try:
            membership = await self._port.directory.join(name, self._sink, self._owner, history=RUNNING_START)
        except NoSuchSession:
            self._send(native.Error("no_session", "There is no such session now. Ask for the list again.", name))
            return
        self._memberships[name] = membership
        self._send(membership.joined)
        membership.when_ended(partial(self._ended, name, membership))

    def _ended(self, name: str, membership: Membership, reason: str) -> None:
        if self._memberships.get(name) is membership:
            del self._memberships[name]
            self._send(native.Left(name, native.clip(reason)))

    def _send(self, message: native.ServerMessage) -> None:
        self._sink.offer(native.encode(message))  # refused: the sink has closed the connection, and reading will tell
