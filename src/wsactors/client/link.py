"""The thin part of the client that has sockets and a clock: one `Core`, one connection after the other."""

from __future__ import annotations

import inspect
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from wsactors.wire.errors import ProtocolError

from .core import Core, CoreEvent, Plan, Reconnect
from .errors import ClientError, Disconnected
from .socket import CLOSE_SECONDS, open_websocket

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives the present one: asked on every attempt, and when the node says that it expires."""
Servers: TypeAlias = str | Sequence[str] | Callable[[], str | Awaitable[str]]
"""An address, several that are tried one after the other, or what gives the one to try next."""

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message taken from a node."""
_BROKEN: Final = 1006
"""What a close without a close frame is called (RFC 6455 §7.4.1)."""


class Link:
    """Keeps a core connected.

    Args:
        core: The client's side of the protocol.
        servers: Where to connect to.
        token: Who the client is.
        api_key: Likewise.
        ssl_context: For ``wss`` addresses.
        timeout: Seconds in which a connection must be made.
    """

    def __init__(
        self,
        core: Core,
        servers: Servers,
        *,
        token: Token = "",
        api_key: str = "",
        ssl_context: ssl.SSLContext | None = None,
        timeout: float,
    ) -> None:
        self.core = core
        self.socket: WebSocketConnection | None = None
        """Of the present connection."""
        self.closed_with: int | None = None
        """The close code of the latest connection that the node has closed; 1006: it broke."""
        self.attempts = 0
        self.server = ""
        """The address of the latest attempt."""
        self.failure: Disconnected | None = None
        """Why there will be no further connection."""
        self.settled = trio.Event()
        """Set by the first welcome, or when there will be none."""
        self.on_event: Callable[[CoreEvent], None] = lambda _: None
        self.on_end: Callable[[Disconnected], None] = lambda _: None
        self._servers = servers
        self._token = token
        self._api_key = api_key
        self._ssl_context = ssl_context
        self._timeout = timeout
        self._is_closing = False
        self._done = trio.Event()
        self._scope = trio.CancelScope()
        self._reason = ""
        self._outgoing = trio.lowlevel.ParkingLot()
        self._sent = trio.lowlevel.ParkingLot()
        self._earlier = trio.lowlevel.ParkingLot()
        self._sleeps_until: float | None = None

    async def run(self) -> None:
        """Connect, and come back as the core plans it, until it gives up or `close` is called."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while True:
                code, reason = await self._connect()
                if self._is_closing:
                    break
                plan = self.core.disconnected(code, reason, trio.current_time())
                self.settle()
                if plan.wait is None:
                    self._end(plan)
                    break
                await trio.sleep(plan.wait)
            nursery.cancel_scope.cancel()
        self._done.set()

    async def close(self) -> None:
        """End the present connection in order."""
        self._is_closing = True
        self._scope.cancel()
        if self.socket is not None:
            with trio.move_on_after(2 * CLOSE_SECONDS):
                await self._done.wait()

    def settle(self) -> None:
        """After anything was done with the core: act on its events, let its messages go, mind its deadline."""
        for event in self.core.take_events():
            if isinstance(event, Reconnect):
                self._reason = event.reason
                self._scope.cancel()
            else:
                self.on_event(event)
        if self.core.phase == "online":
            self.settled.set()
        if self.core.outgoing:
            self._outgoing.unpark_all()
        deadline = self.core.deadline
        if deadline is not None and (self._sleeps_until is None or deadline < self._sleeps_until):
            self._earlier.unpark_all()

    def first_failure(self) -> Exception:
        """What to raise when there never was a connection: what the node said, if it said anything."""
        said = self.core.last_error
        if said is not None:
            return ClientError(f"{said.code}: {said.message}", said.code, after=said.after, details=said.details)
        return self.failure or Disconnected("there is no connection")

    async def drained(self, most: int) -> None:
        """Wait until at most ``most`` messages are yet to be sent."""
        while len(self.core.outgoing) > most:
            await self._sent.park()

    async def new_token(self) -> str:
        """The token of this moment."""
        return await _given(self._token)

    # -- one connection --

    async def _connect(self) -> tuple[int | None, str]:
        self.attempts += 1
        self._reason = ""
        code: int | None = None
        try:
            self.server = await self._next_server()
            token = await self.new_token()
            async with open_websocket(
                self.server, ssl_context=self._ssl_context, timeout=self._timeout, max_message_size=MESSAGE_BYTES
            ) as socket:
                self.socket = socket
                with trio.CancelScope() as self._scope:
                    code, self._reason = await self._serve(socket, token)
        except (Disconnected, OSError) as error:
            return None, str(error)
        finally:
            self.socket = None
        return code, self._reason

    async def _serve(self, socket: WebSocketConnection, token: str) -> tuple[int | None, str]:
        self.core.connected(trio.current_time(), token=token, api_key=self._api_key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket)
            self.settle()
            end = await self._read(socket)
            nursery.cancel_scope.cancel()
        return end

    async def _read(self, socket: WebSocketConnection) -> tuple[int | None, str]:
        try:
            while True:
                data = await socket.get_message()
                if isinstance(data, str):
                    raise ProtocolError("expected binary messages")
                self.core.receive(data, trio.current_time())
                self.settle()
        except ConnectionClosed as closed:
            self.closed_with = _BROKEN if closed.reason is None else closed.reason.code
            text = f"the node closed the connection: {closed.reason}"
            return (None if self.closed_with == _BROKEN else self.closed_with), text
        except ProtocolError as error:
            with trio.move_on_after(CLOSE_SECONDS):
                await socket.aclose(1002, "protocol error")
            return 1002, f"the node broke the protocol: {error}"

    async def _write(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                while self.core.outgoing:
                    await socket.send_message(self.core.outgoing.popleft())
                self._sent.unpark_all()
                await self._outgoing.park()
        except ConnectionClosed:
            return  # the reader says why

    async def _keep_time(self) -> None:
        while True:
            self._sleeps_until = self.core.deadline
            with trio.move_on_at(math.inf if self._sleeps_until is None else self._sleeps_until):
                await self._earlier.park()
            self._sleeps_until = 0.0  # nobody need wake it now
            self.core.tick(trio.current_time())
            self.settle()

    def _end(self, plan: Plan) -> None:
        self.failure = Disconnected(plan.reason, plan.code)
        self.on_end(self.failure)
        self.settled.set()
        self._sent.unpark_all()

    async def _next_server(self) -> str:
        if isinstance(self._servers, str):
            return self._servers
        if callable(self._servers):
            return await _given(self._servers)
        return self._servers[(self.attempts - 1) % len(self._servers)]


async def _given(source: str | Callable[[], str | Awaitable[str]]) -> str:
    if isinstance(source, str):
        return source
    found = source()
    return await found if inspect.isawaitable(found) else found
