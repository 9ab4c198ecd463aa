"""The UDP endpoint as an actor: it owns the socket, reads it, minds everybody's timers, and starts connections' actors."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from wsactors.actors import ProcessActor, Request, reply
from wsactors.actors.log import log
from wsactors.errors import CallExit, ChildError, StartError
from wsactors.supervision import ChildSpec, start_child

from .connection import Accept, ConnectionActor
from .door import HubOptions, Turned
from .hub import SWEEP_SECONDS, Hub
from .transport import Backend, Drop

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""What the kernel is asked to keep for the socket, each way: a burst of a few thousand packets while the loop is busy."""
GATHER_SECONDS: Final = 0.003
"""Between two looks at the socket. A thousand listeners acknowledge 50,000 times a second: to be woken for each, or for a few,
costs more than to read them."""
SETTLE_SECONDS: Final = 0.002
"""For which what applications write is gathered. Sound does not wait for it. What somebody who comes is told comes from three
actors, and a packet for each would cost more than all of them."""
FLOOD_LASTS: Final = 3.0
"""Seconds that a flood must last before the endpoint moves away from it."""
_LOOK_SECONDS: Final = 1.0
_STARTERS: Final = 16
"""Connections' actors that are started at a time."""
_TURNS: Final = 4
"""Turns of the loop after `HOLD_SECONDS` of a full socket: in each, actors have half a millisecond. With fewer they fall behind
when all is full, and who comes is let in, and waits for its actor."""
_FORCED: Final = ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32))
"""Linux' SO_RCVBUFFORCE and SO_SNDBUFFORCE, which go past the limits of whoever may administer the network."""
_IP_MTU_DISCOVER: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 10, 3),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 3),
}
"""IP_PMTUDISC_PROBE: packets are not fragmented on the way (RFC 9000 §14), and none of ours is larger than every path takes."""


class EndpointRefused(Exception):
    """The endpoint does not open: the text says which setting to change."""


@attrs.frozen
class EndpointOptions:
    """One endpoint."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 lets the system choose."""
    port_search: int = 0
    """How many following ports are tried when this one is busy."""
    buffer_bytes: int = BUFFER_BYTES
    flood_packets: float = 50_000.0
    """Packets a second turned away for coming too fast; when more come for `FLOOD_LASTS` seconds, the endpoint moves to
    another port. 0: it never does."""
    hub: HubOptions = attrs.field(factory=HubOptions)


@attrs.frozen
class EndpointStatistics:
    """How an endpoint is doing. All but the first two count since it was opened."""

    connections: int
    half_open: int
    opened: int
    handshakes: int
    retries: int
    resets: int
    failures: int
    """Connections that ended because something went wrong here."""
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    datagrams_in: int
    datagrams_out: int
    fast_datagrams: int
    """Of the datagrams that connections have sent, how many took the fast path."""
    sent_datagrams: int
    turned: dict[Turned, int]
    drops: dict[Drop, int]


@attrs.define(eq=False)
class EndpointBinding:
    """What outlives a crash of the endpoint, and what it is made of."""

    options: EndpointOptions
    backend: Backend
    configuration: Callable[[], QuicConfiguration]
    accept: Accept
    on_open: Callable[[str, int], object] = lambda _host, _port: None
    """Told host and port whenever it has opened."""
    on_flood: Callable[[], object] = lambda: None
    """Told that the endpoint is about to move to another port: clients must be told before `FLOOD_LASTS` is over again."""
    bound: int | None = None
    reset_key: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)
    hub: Hub | None = None
    """While it is open."""

    def current(self) -> Hub | None:
        """The connections of the endpoint that is open."""
        return self.hub


def open_udp(options: EndpointOptions) -> socket.socket:
    """A bound, non-blocking UDP socket on the first free port. Raises `EndpointRefused`."""
    try:
        found = socket.getaddrinfo(options.host.strip("[]"), None, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise EndpointRefused(
            f"quic.host = {options.host!r} is no address of this machine: {error.strerror}"
        ) from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    tries = 1 if options.port == 0 else options.port_search + 1
    for port in range(options.port, min(options.port + tries, 65_536)):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.bind((address[0], port))
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise EndpointRefused(f"quic: cannot bind {options.host}:{port}: {error.strerror}") from error
        else:
            _set_up(sock, options.buffer_bytes)
            return sock
    raise EndpointRefused(
        f"quic: every UDP port from {options.port} to {options.port + tries - 1} is in use: stop what uses it, or set "
        "quic.port"
    )


def _set_up(sock: socket.socket, buffer_bytes: int) -> None:
    sock.setsockopt(*_IP_MTU_DISCOVER[sock.family])
    for plain, forced in _FORCED:
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, buffer_bytes)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, buffer_bytes)
    given = min(sock.getsockopt(socket.SOL_SOCKET, plain) for plain, _ in _FORCED)
    if given < buffer_bytes:
        log(
            __name__,
            "warning",
            "udp_buffers_small",
            bytes=given,
            wanted=buffer_bytes,
            hint="sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304",
        )


class QuicEndpoint(ProcessActor):
    """One UDP socket and its connections. Calls: ``"address"`` ((host, port)), ``"statistics"`` (`EndpointStatistics`)."""

    def init(self, binding: EndpointBinding, connections: str) -> None:
        """Bind. Raises `EndpointRefused`.

        ``connections``: the `DynamicSupervisor` of the connections' actors; it must have ``extra_args=(binding.current,)``.
        """
        options = binding.options
        if binding.bound is not None:
            options = attrs.evolve(options, port=binding.bound, port_search=0)
        sock = open_udp(options)
        self.at_death("socket", lambda _: sock.close())
        self._sock = sock
        self._binding = binding
        self._connections = connections
        host, port = sock.getsockname()[:2]
        binding.bound = port
        if binding.options.port not in {0, port}:
            log(__name__, "warning", "quic_port_in_use", wanted=binding.options.port, instead=port)
        log(__name__, "info", "quic_open", host=host, port=port, backend=binding.backend.name)
        self._hub = binding.hub = Hub(
            sock,
            options.hub,
            backend=binding.backend,
            configuration=binding.configuration,
            accept=binding.accept,
            runtime=self.node,
            reset_key=binding.reset_key,
        )
        binding.on_open(host, port)

    async def run(self) -> None:
        """Serve until the end."""
        try:
            for each in (self._read, self._settle, self._sweep, self._watch_floods, *[self._start] * _STARTERS):
                self.start_soon(each)
            while True:
                match await self.receive():
                    case Request(message="address") as request:
                        reply(request, self._sock.getsockname()[:2])
                    case Request(message="statistics") as request:
                        reply(request, statistics_of(self._hub))
        finally:
            self._hub.forget_all()
            if self._binding.hub is self._hub:
                self._binding.hub = None

    async def _read(self) -> None:
        hub, descriptor = self._hub, self._sock.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            before = -1
            # While something comes, to look again costs less than to ask to be woken.
            while hub.packets_in != before:
                before = hub.packets_in
                while not hub.drain():
                    await _let_others()
                await trio.sleep(GATHER_SECONDS)

    async def _settle(self) -> None:
        hub = self._hub
        while True:
            await hub.wake.wait()
            await trio.sleep(SETTLE_SECONDS)
            hub.wake = trio.Event()
            while not hub.settle():
                await _let_others()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            for _ in self._hub.sweep():
                await _let_others()

    async def _start(self) -> None:
        hub = self._hub
        while True:
            number = await hub.to_start.receive()
            spec = ChildSpec("connection", ConnectionActor, (number,), restart="temporary")
            try:
                await start_child(self._connections, spec)
            except (ChildError, StartError, CallExit) as error:
                connection = hub.arriving.pop(number, None)
                log(__name__, "warning", "quic_connection_not_started", reason=str(error)[:200])
                if connection is not None:
                    hub.orphaned(connection)

    async def _watch_floods(self) -> None:
        """Move to another port when somebody keeps flooding this one: dropping costs, too, and more than a new socket."""
        most, turned = self._binding.options.flood_packets, self._hub.turned
        since: float | None = None
        while most:
            before = turned[Turned.RATE]
            await trio.sleep(_LOOK_SECONDS)
            now = trio.current_time()
            if turned[Turned.RATE] - before <= most * _LOOK_SECONDS:
                since = None
            elif since is None:
                since = now
            elif now - since >= FLOOD_LASTS - _LOOK_SECONDS:
                return await self._move()
        return None

    async def _move(self) -> None:
        binding = self._binding
        log(__name__, "warning", "quic_flooded", port=binding.bound, turned_away=self._hub.turned[Turned.RATE])
        binding.on_flood()
        await trio.sleep(FLOOD_LASTS)
        binding.bound = 0
        self.exit(self.pid, "flooded")


async def _let_others() -> None:
    """A stretch of reading or writing is over, and not all is done: the actors get as long."""
    for _ in range(_TURNS):
        await trio.lowlevel.checkpoint()


def statistics_of(hub: Hub) -> EndpointStatistics:
    """How the endpoint of ``hub`` is doing now."""
    drops, sent, fast = dict(hub.past.drops), hub.past.sent, hub.past.fast
    for connection in hub.connections:
        found = connection.transport.statistics()
        sent += found.datagrams_sent
        fast += found.fast_sent
        for reason, count in found.drops.items():
            drops[reason] += count
    counts: dict[str, Any] = {
        name: getattr(hub, name)
        for name in (
            "half_open", "opened", "handshakes", "failures", "packets_in", "bytes_in", "packets_out",
            "datagrams_in",
        )
    }  # fmt: skip
    return EndpointStatistics(
        connections=len(hub.connections) - hub.half_open,
        retries=hub.door.retries,
        resets=hub.door.resets,
        sent_datagrams=sent,
        fast_datagrams=fast,
        turned=dict(hub.turned),
        drops=drops,
        datagrams_out=hub.outgoing.datagrams_out,
        bytes_out=hub.outgoing.bytes_out,
        **counts,
    )
