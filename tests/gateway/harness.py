"""A gateway on a real port with sessions made by the test, for tests of the gateway, the client and the page."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import numpy as np
import trio

from wsactors.actors.pid import Pid
from wsactors.client import LateGate, Listening
from wsactors.gateway.connection import serve_connection
from wsactors.gateway.directory import NoSuchSession
from wsactors.gateway.endpoint import accept_connections, open_listener
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.gateway.port import Port
from wsactors.gateway.server import certificates_of
from wsactors.media.opus import Encoder
from wsactors.media.reports import Heard
from wsactors.realtime.identity import ANONYMOUS, Refused, User
from wsactors.realtime.send_queue import AUDIO
from wsactors.realtime.sinks import Sink
from wsactors.wire import native

FRAME = 960
RATE = 48_000
NOBODY = cast("Pid", None)


class TestMembership:
    """A place in a `TestSession`."""

    __test__ = False

    def __init__(self, session: TestSession, sink: Sink) -> None:
        self._session = session
        self._ended = trio.Event()
        self._reason = "left"
        self._tell: Callable[[str], object] = lambda _: None
        self.sink = sink
        self.heard: list[Heard] = []
        self.joined = native.Joined(session.name, session.track, session.title)

    async def wait_ended(self) -> str:
        await self._ended.wait()
        return self._reason

    def when_ended(self, tell: Callable[[str], object]) -> None:
        self._tell = tell

    takes_speech = False

    async def act(self, action: str, args: Mapping[str, native.Plain]) -> native.Plain:
        await trio.lowlevel.checkpoint()
        raise Refused("refused", f"nobody can {action} here")

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        self.heard.extend(heard)

    def speak(self, data: bytes, now: float) -> None:
        raise AssertionError("nobody speaks here")

    def renew(self, user: User) -> None:
        self.user = user

    def leave(self, reason: str = "left", *, lost: bool = False) -> None:
        if not self._ended.is_set():
            self._session.members.discard(self)
            self._reason = reason
            self._ended.set()
            self._tell(reason)


class TestSession:
    """A live session without actors: it offers what the test gives it to every sink."""

    __test__ = False

    def __init__(self, name: str, *, title: str = "", track: int = 1, events: Sequence[native.Event] = ()) -> None:
        self.name = name
        self.title = title
        self.track = track
        self.events = events
        self.members: set[TestMembership] = set()
        self.sent: list[bytes] = []
        self.sequence = 0
        self.timestamp = 0
        self.member_came = trio.Event()

    def offer_frame(self, payload: bytes, *, level: int = 20, flags: int = 0) -> None:
        """Encode once, offer to everybody."""
        frame = native.encode_audio(self.track, self.sequence, self.timestamp, payload, level=level, flags=flags)
        self.sequence += 1
        self.timestamp += FRAME
        self.sent.append(payload)
        for member in tuple(self.members):
            member.sink.offer(frame, AUDIO)

    def end(self, reason: str) -> None:
        for member in tuple(self.members):
            member.leave(reason)

    async def play(self, block: Callable[[int], np.ndarray[Any, Any]], seconds: float = math.inf) -> None:
        """Play in real time what ``block(first_sample)`` returns, FRAME samples of float32 stereo at a time."""
        encoder = Encoder(2, bitrate=128_000, complexity=5)
        start = trio.current_time()
        position = 0
        while position < seconds * RATE:
            self.offer_frame(encoder.encode(np.ascontiguousarray(block(position), np.float32)))
            position += FRAME
            await trio.sleep_until(start + position / RATE)


@attrs.define
class TestDirectory:
    """The sessions of a test."""

    __test__ = False
    by_name: dict[str, TestSession] = attrs.field(factory=dict)

    def add(self, session: TestSession) -> TestSession:
        self.by_name[session.name] = session
        return session

    async def sessions(self) -> Sequence[native.SessionInfo]:
        await trio.lowlevel.checkpoint()
        return [native.SessionInfo(s.name, s.title, "battle", len(s.members)) for s in self.by_name.values()]

    async def join(
        self,
        name: str,
        sink: Sink,
        owner: Pid,
        *,
        history: int = 0,
        events: bool = True,
        user: User = ANONYMOUS,
        guest: str = "",
        transport: str = "",
    ) -> TestMembership:
        await trio.lowlevel.checkpoint()
        if name not in self.by_name:
            raise NoSuchSession(name)
        session = self.by_name[name]
        member = TestMembership(session, sink)
        session.members.add(member)
        for event in session.events if events else ():
            sink.offer(native.encode(event), (event.name, name))
        session.member_came.set()
        return member


@attrs.frozen
class Gateway:
    """An open gateway."""

    port: int
    directory: TestDirectory
    shared: Port
    nursery: trio.Nursery

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.shared.tls else 'http'}://{self.host}"


@asynccontextmanager
async def open_gateway(
    options: GatewayOptions | None = None,
    directory: TestDirectory | None = None,
    *,
    is_ready: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Gateway]:
    """Serve on a port of the system's choice. Any exception that a connection lets out fails the test.

    Without ``options`` audio does not age: a test that wants to hear it hears it, however busy the machine.
    """
    options = options or GatewayOptions(port=0, limits=Limits(audio_age_ms=60_000))
    directory = directory or TestDirectory()
    certificates = certificates_of(options, ("localhost", "127.0.0.1"))
    shared = Port.build(options, directory, node_name="test", is_ready=is_ready, certificates=certificates)
    with open_listener(options) as listener:
        async with trio.open_nursery() as nursery:

            async def serve(sock: socket.socket, address: str) -> None:
                try:
                    await serve_connection(sock, shared, NOBODY)
                finally:
                    shared.admission.leave(address)

            async def start(sock: socket.socket, address: str) -> None:
                await trio.lowlevel.checkpoint()
                nursery.start_soon(serve, sock, address)

            nursery.start_soon(accept_connections, listener, shared.admission, start)
            yield Gateway(listener.getsockname()[1], directory, shared, nursery)
            nursery.cancel_scope.cancel()


def patient(listening: Listening) -> Listening:
    """Takes every frame, however late: on a busy machine tests send them more slowly than they are played."""
    listening.gate = LateGate(rate=RATE, limit=math.inf)
    return listening


async def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait for something that tells nobody when it happens."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


async def exchange(port: int, data: bytes, *, seconds: float = 30) -> bytes:
    """Send ``data`` on a new connection and read until the server closes it."""
    with trio.fail_after(seconds):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            answer = b""
            try:
                await stream.send_all(data)
                while piece := await stream.receive_some():
                    answer += piece
            except trio.BrokenResourceError:
                pass
            return answer


async def open_narrow_stream(port: int) -> trio.SocketStream:
    """A connection whose receive buffer holds next to nothing: what is not read soon blocks the sender."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


def request(target: str = "/", *, host: str = "127.0.0.1", method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


def upgrade(target: str = "/ws", *, host: str = "127.0.0.1", headers: str = "") -> bytes:
    handshake = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    return request(target, host=host, headers=handshake + headers)
