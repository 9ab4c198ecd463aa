"""The Trio client of the native protocol: connect, list, join, hear.

Example:
    >>> async with connect("ws://127.0.0.1:8080/ws") as client:      # doctest: +SKIP
    ...     listening = await client.join("main")
    ...     async for frame in listening:
    ...         recorder.add(frame)
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

from .late import LateGate
from .socket import Disconnected, open_websocket

REPLY_SECONDS: Final = 10.0
BACKLOG_FRAMES: Final = 250
"""Frames kept for a reader that does not keep up: five seconds; then the oldest are dropped."""


class ClientError(Exception):
    """The node refused a request; the text says why."""


class Listening:
    """One joined session: an asynchronous iterator over its audio frames, without those that came too late."""

    def __init__(self, joined: native.Joined) -> None:
        self.joined = joined
        """What the node said about the track."""
        self.gate = LateGate(rate=joined.rate)
        self.ended: str | None = None
        """Why no more frames will come; None while they may."""
        self.received = self.dropped = 0
        self.state: Mapping[str, native.Plain] = {}
        """What is played: the newest ``"state"`` event's payload (``docs/protocol.md``); empty until the node has told."""
        self._told = trio.Event()
        self._frames: deque[native.AudioFrame] = deque()
        self._arrived = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Listening {self.joined.session!r} received={self.received} late={self.gate.late}>"

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> native.AudioFrame:
        await trio.lowlevel.checkpoint()
        while not self._frames:
            if self.ended is not None:
                raise StopAsyncIteration
            await self._arrived.park()
        return self._frames.popleft()

    def feed(self, frame: native.AudioFrame, now: float) -> None:
        """Take a frame from the connection."""
        self.received += 1
        if frame.flags & native.FLAG_DISCONTINUITY:
            self.gate.reset()
        if not self.gate.accept(frame.timestamp, now=now):
            return
        if len(self._frames) >= BACKLOG_FRAMES:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(frame)
        self._arrived.unpark(count=1)

    async def next_state(self) -> Mapping[str, native.Plain]:
        """Wait for the next ``"state"`` event; its payload. The latest one, once no more will come."""
        await trio.lowlevel.checkpoint()
        if self.ended is None:
            await self._told.wait()
        return self.state

    def tell(self, state: Mapping[str, native.Plain]) -> None:
        """Take what is played from the connection."""
        self.state = state
        self._told.set()
        self._told = trio.Event()

    def end(self, reason: str) -> None:
        """No more frames come; those that wait can still be read."""
        if self.ended is None:
            self.ended = reason
            self._arrived.unpark_all()
            self._told.set()


class Client:
    """A connection to a node; made by `connect`. One request of a kind and session at a time."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._listening: dict[int, Listening] = {}
        self._waiting: dict[tuple[str, object], trio.MemorySendChannel[Any]] = {}
        self._nonce = 0
        self.node = ""
        """The node's name."""
        self.closed_with: int | None = None
        """The close code of the WebSocket, once the node has closed it."""
        self.events: deque[native.Event] = deque(maxlen=1000)
        """The events of joined sessions, newest last."""
        self._early: dict[str, Mapping[str, native.Plain]] = {}
        """States that came before the answer to their join."""

    async def sessions(self) -> tuple[native.SessionInfo, ...]:
        """The sessions that can be joined. Raises `ClientError`, or `Disconnected` when the node is gone."""
        reply: native.Sessions = await self._ask(native.ListSessions(), "sessions", "")
        return reply.sessions

    async def join(self, session: str) -> Listening:
        """Hear ``session``. Raises `ClientError` when there is no such session, or too many are joined."""
        try:
            joined: native.Joined = await self._ask(native.Join(session), "joined", session)
        finally:
            self._early.pop(session, None)
        return self._listening[joined.track]

    async def leave(self, session: str) -> None:
        """Stop hearing ``session``. Raises `Disconnected` when the node is gone."""
        await self._ask(native.Leave(session), "left", session)

    async def ping(self) -> float:
        """The time a ping and its answer take, in seconds. Raises `Disconnected` when the node is gone."""
        self._nonce += 1
        before = trio.current_time()
        await self._ask(native.Ping(self._nonce), "pong", self._nonce)
        return trio.current_time() - before

    async def _ask(self, message: native.ClientMessage, reply: str, subject: object) -> Any:
        if (reply, subject) in self._waiting:
            raise ClientError(f"{message.KIND} {subject!r} is already waiting for its answer")
        send, receive = trio.open_memory_channel[Any](1)
        self._waiting[reply, subject] = send
        try:
            await self._socket.send_message(native.encode(message))
            with trio.fail_after(REPLY_SECONDS):
                answer = await receive.receive()
        except ConnectionClosed as closed:
            raise Disconnected(f"the node closed the connection: {closed.reason}") from None
        except trio.EndOfChannel:
            raise Disconnected("the node closed the connection") from None
        except trio.TooSlowError:
            raise ClientError(f"no answer to {message.KIND} within {REPLY_SECONDS:g} s") from None
        finally:
            self._waiting.pop((reply, subject), None)
        if isinstance(answer, native.Error):
            raise ClientError(f"{answer.code}: {answer.message}")
        return answer

    async def greet(self, name: str) -> None:
        """The first exchange; `connect` does it."""
        welcome: native.Welcome = await self._ask(native.Hello((native.VERSION,), name), "welcome", "")
        self.node = welcome.node

    async def read(self) -> None:
        """Take in what the node sends until it closes; `connect` runs it."""
        try:
            while True:
                data = await self._socket.get_message()
                if isinstance(data, str):
                    raise ProtocolError("expected binary messages")
                message = native.decode_server(data)
                if isinstance(message, native.Ping):
                    await self._socket.send_message(native.encode(native.Pong(message.nonce)))
                else:
                    self._take(message)
        except ConnectionClosed as closed:
            self.closed_with = 1006 if closed.reason is None else closed.reason.code
            self._end(str(closed.reason))
        except ProtocolError as error:
            self._end(f"the node broke the protocol: {error}")
            await self._socket.aclose(1002, "protocol error")

    def _take(self, message: native.ServerMessage | native.AudioFrame) -> None:
        match message:
            case native.AudioFrame():
                listening = self._listening.get(message.track)
                if listening is not None:
                    listening.feed(message, trio.current_time())
            case native.Joined():
                self._joined(message)
            case native.Left():
                self._left(message)
            case native.Error():
                for kind, subject in tuple(self._waiting):
                    if subject == message.session or not message.session:
                        self._answer(kind, subject, message)
            case native.Welcome() | native.Sessions():
                self._answer(message.KIND, "", message)
            case native.Pong():
                self._answer("pong", message.nonce, message)
            case native.Event():
                self._event(message)

    def _joined(self, message: native.Joined) -> None:
        listening = self._listening.setdefault(message.track, Listening(message))
        if message.session in self._early:
            listening.tell(self._early.pop(message.session))
        self._answer("joined", message.session, message)

    def _event(self, event: native.Event) -> None:
        self.events.append(event)
        if event.name != "state":
            return
        for listening in self._listening.values():
            if listening.joined.session == event.session:
                listening.tell(event.payload)
                return
        if ("joined", event.session) in self._waiting:
            self._early[event.session] = event.payload

    def _left(self, message: native.Left) -> None:
        for track, listening in tuple(self._listening.items()):
            if listening.joined.session == message.session:
                del self._listening[track]
                listening.end(message.reason)
        self._answer("left", message.session, message)

    def _answer(self, kind: str, subject: object, message: native.ServerMessage) -> None:
        waiting = self._waiting.pop((kind, subject), None)
        if waiting is not None:
            waiting.send_nowait(message)

    def _end(self, reason: str) -> None:
        for listening in self._listening.values():
            listening.end(reason)
        for waiting in self._waiting.values():
            waiting.close()


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str = "wsactors-client",
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = REPLY_SECONDS,
) -> AsyncIterator[Client]:
    """Connect to ``ws://…/ws`` or ``wss://…/ws`` and greet; disconnect at the end of the block.

    Raises:
        Disconnected: Nobody answers there, or what answers is no node of this protocol.
    """
    failure: Exception | None = None
    async with open_websocket(url, ssl_context=ssl_context, timeout=timeout) as socket:
        client = Client(socket)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            try:
                await client.greet(name)
                yield client
            except Exception as error:
                failure = error  # raised again below, outside the nursery, so that it does not come in a group
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
