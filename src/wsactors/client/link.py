"""The thin part of the client that has sockets and a clock: one `Core`, one connection after the other."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import trio

from wsactors.wire.errors import ProtocolError

from .carrier import BROKEN, Carrier, CarrierClosed, Trust, open_carrier
from .core import Core, CoreEvent, Plan, Reconnect
from .errors import ClientError, Disconnected
from .socket import CLOSE_SECONDS

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives the present one: asked on every attempt, and when the node says that it expires."""
Servers: TypeAlias = str | Sequence[str] | Callable[[], str | Awaitable[str]]
"""An address, several that are tried one after the other, or what gives the one to try next."""

_BROKE_PROTOCOL: Final = 1002
"""RFC 6455 §7.4.1."""
_USUAL_TRUST: Final = Trust()


class Link:
    """Keeps a core connected.

    Args:
        core: The client's side of the protocol.
        servers: Where to connect to.
        token: Who the client is.
        api_key: Likewise.
        trust: How the node's certificate is checked.
        timeout: Seconds in which a connection must be made.
    """

    def __init__(
        self,
        core: Core,
        servers: Servers,
        *,
        token: Token = "",
        api_key: str = "",
        trust: Trust = _USUAL_TRUST,
        timeout: float,
    ) -> None:
        self.core = core
        self.carrier: Carrier | None = None
        """Of the present connection."""
        self.closed_with: int | None = None
        """The close code of the latest connection that the node has closed; `BROKEN`: it gave none."""
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
        self._trust = trust
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
        if self.carrier is not None:
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
            async with open_carrier(self.server, self._trust, timeout=self._timeout) as carrier:
                self.carrier = carrier
                with trio.CancelScope() as self._scope:
                    code, self._reason = await self._serve(carrier, token)
        except (Disconnected, OSError, ValueError) as error:  # also what is no address: the next one may be
            return None, str(error)
        finally:
            self.carrier = None
        return code, self._reason

    async def _serve(self, carrier: Carrier, token: str) -> tuple[int | None, str]:
        self.core.connected(trio.current_time(), token=token, api_key=self._api_key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, carrier)
            self.settle()
            end = await self._read(carrier)
            nursery.cancel_scope.cancel()
        return end

    async def _read(self, carrier: Carrier) -> tuple[int | None, str]:
        try:
            while True:
                self.core.receive(await carrier.receive(), trio.current_time())
                self.settle()
        except CarrierClosed as closed:
            self.closed_with = closed.code
            return (None if closed.code == BROKEN else closed.code), str(closed)
        except ProtocolError as error:
            await carrier.close(_BROKE_PROTOCOL, "protocol error")
            return _BROKE_PROTOCOL, f"the node broke the protocol: {error}"

    async def _write(self, carrier: Carrier) -> None:
        try:
            while True:
                while self.core.outgoing:
                    await carrier.send(self.core.outgoing.popleft())
                self._sent.unpark_all()
                await self._outgoing.park()
        except CarrierClosed:
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
