"""A bad way between a client and a node: a UDP proxy on the loopback that loses, delays, reorders, cuts off and changes ports.

What it does to which packet is decided by a seeded generator, so a run can be repeated.
"""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import attrs
import trio

Address: TypeAlias = tuple[str, int]
IsLost: TypeAlias = Callable[[], bool]

IPV6_HEADERS: Final = 48
"""Bytes of an IPv6 packet that are not UDP's payload: what is left of an MTU is least there."""
_BUFFER: Final = 1024 * 1024
_LARGEST: Final = 65_535


def at_random(share: float) -> Callable[[random.Random], IsLost]:
    """Each packet is lost with the same probability."""
    return lambda chance: lambda: chance.random() < share


def in_bursts(share: float, length: float) -> Callable[[random.Random], IsLost]:
    """Gilbert-Elliott: ``share`` of all packets, ``length`` in a row on average."""

    def make(chance: random.Random) -> IsLost:
        leave = 1 / length
        enter = leave * share / (1 - share)
        bad = False

        def is_lost() -> bool:
            nonlocal bad
            bad = chance.random() >= leave if bad else chance.random() < enter
            return bad

        return is_lost

    return make


@attrs.frozen
class Way:
    """What happens to packets, each way."""

    delay: float = 0.02
    """Seconds that a packet takes."""
    jitter: float = 0.0
    """Seconds by which it may take less or more, evenly spread: later ones overtake earlier ones."""
    loss: Callable[[random.Random], IsLost] = at_random(0.0)
    mtu: int = 1_280
    """Bytes of the largest IP packet; a larger one vanishes."""


@attrs.define(eq=False)
class LossyLink:
    """One open link, for one client."""

    port: int
    """Where the client is to connect to, on 127.0.0.1."""
    is_cut: bool = False
    """While it is true nothing gets through, and what is on its way is gone."""
    rebound: int = 0
    """How often the client's address has changed, as the node sees it."""
    carried: int = 0
    lost: int = 0
    too_large: int = 0
    largest: int = 0
    """Bytes of the largest payload offered."""
    _rebind: Callable[[], None] = lambda: None

    def rebind(self) -> None:
        """The client's side has another port from now on, and nothing comes back by the old one: what a NAT does that forgets."""
        self._rebind()
        self.rebound += 1


class _Side:
    """One socket of the proxy."""

    def __init__(self) -> None:
        self.sock = socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        self.sock.bind(("127.0.0.1", 0))
        self.scope = trio.CancelScope()


@asynccontextmanager
async def open_link(target: Address, way: Way, *, seed: int) -> AsyncIterator[LossyLink]:
    """A link to ``target`` for the length of the block."""
    chance = random.Random(seed)
    client_side = _Side()
    link = LossyLink(client_side.sock.getsockname()[1])
    proxy = _Proxy(link, target, way, chance, client_side)
    async with trio.open_nursery() as nursery:
        link._rebind = lambda: proxy.rebind(nursery)
        nursery.start_soon(proxy.up)
        nursery.start_soon(proxy.down, proxy.node_side)
        try:
            yield link
        finally:
            nursery.cancel_scope.cancel()


class _Proxy:
    def __init__(self, link: LossyLink, target: Address, way: Way, chance: random.Random, client_side: _Side) -> None:
        self._link = link
        self._target = target
        self._way = way
        self._chance = chance
        self._is_lost_up, self._is_lost_down = way.loss(chance), way.loss(chance)
        self._client_side = client_side
        self._client: Address | None = None
        self.node_side = _Side()

    def rebind(self, nursery: trio.Nursery) -> None:
        self.node_side.scope.cancel()
        self.node_side = _Side()
        nursery.start_soon(self.down, self.node_side)

    async def up(self) -> None:
        """From the client to the node."""
        await self._carry(self._client_side, self._is_lost_up, self._to_node)

    async def down(self, side: _Side) -> None:
        """From the node to the client, until the port is given up."""

        def deliver(data: bytes) -> None:
            if self._client is not None:
                self._client_side.sock.sendto(data, self._client)

        await self._carry(side, self._is_lost_down, deliver)

    def _to_node(self, data: bytes) -> None:
        self.node_side.sock.sendto(data, self._target)

    async def _carry(self, side: _Side, is_lost: IsLost, deliver: Callable[[bytes], None]) -> None:
        """Each packet in a task that sleeps for as long as the packet takes: a few are on their way at a time."""
        with side.sock as sock, side.scope:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(sock)
                    self._read(sock, is_lost, lambda data, takes: nursery.start_soon(self._pass, data, takes, deliver))

    def _read(self, sock: socket.socket, is_lost: IsLost, start: Callable[[bytes, float], None]) -> None:
        """All that has come."""
        way = self._way
        while True:
            try:
                data, source = sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            if sock is self._client_side.sock:
                self._client = source
            if self._takes(data, is_lost):
                start(data, max(0.0, way.delay + self._chance.uniform(-way.jitter, way.jitter)))

    def _takes(self, data: bytes, is_lost: IsLost) -> bool:
        link = self._link
        link.largest = max(link.largest, len(data))
        if len(data) > self._way.mtu - IPV6_HEADERS:
            link.too_large += 1
            return False
        if is_lost() or link.is_cut:
            link.lost += 1
            return False
        return True

    async def _pass(self, data: bytes, seconds: float, deliver: Callable[[bytes], None]) -> None:
        await trio.sleep(seconds)
        if not self._link.is_cut:
            self._link.carried += 1
            deliver(data)
