"""The gateway as actors: an endpoint that accepts, and one actor per connection under a dynamic supervisor."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from pathlib import Path

import attrs

from wsactors.actors import Pid, ProcessActor, Request, reply
from wsactors.actors.log import log
from wsactors.errors import ChildError, StartError
from wsactors.realtime.sinks import SocketSink
from wsactors.sessions.directory import SessionDirectory
from wsactors.supervision import ChildSpec, DynamicSupervisor, Supervisor, start_child

from .certificates import Certificates
from .connection import serve_connection
from .directory import Directory
from .drain import Drainer
from .endpoint import accept_connections, open_listener
from .options import GatewayOptions, GatewayRefused, is_loopback
from .port import Port, Site
from .tls import machine_addresses
from .unix_socket import UnixListener

STOP_SECONDS = 2.0
"""How long a connection may take to say goodbye when the node stops."""


@attrs.frozen
class Address:
    """Where an open gateway can be reached."""

    host: str
    """The address that was bound."""
    port: int
    """The port that was bound: the one asked for, or the next free one."""
    secure: bool
    urls: tuple[str, ...]
    """The page's addresses, best first: names that work from this machine, or from others where that is meant."""


@attrs.define(eq=False)
class Binding:
    """What outlives a crash of the endpoint: the port once found, and what its connections share."""

    port: Port
    bound: int | None = None
    waiting: dict[int, tuple[socket.socket, str]] = attrs.field(factory=dict)
    """Accepted sockets by ticket, until their connection's actor takes them: a socket is no message."""
    next_ticket: int = 0


class Gateway(Supervisor):
    """One open port and its connections.

    If the endpoint crashes it is started again on the same port; connections live on. A connection that crashes takes
    nothing with it and is not restarted: its peer comes back by itself.

    Args of ``init``:
        options: The port.
        is_ready: Whether the node answers ``/ready``; default: always.
        on_open: Told the address once the port is open.
        on_certificates: Given what reads the certificate's files again, if there are any.
        directory: The sessions; default: those of the node.
        site: What is served; default: everything that the gateway has.

    >>> await node.spawn(Gateway, GatewayOptions(port=0), on_open=print)               # doctest: +SKIP
    """

    async def init(
        self,
        options: GatewayOptions,
        is_ready: Callable[[], bool] | None = None,
        on_open: Callable[[Address], None] | None = None,
        directory: Directory | None = None,
        on_certificates: Callable[[Certificates], None] | None = None,
        site: Site | None = None,
    ) -> object:
        """Open the port. Raises `GatewayRefused` when that is not possible or not allowed."""
        hosts = public_hosts(options)
        certificates = certificates_of(options, hosts)
        if certificates is not None and on_certificates is not None:
            on_certificates(certificates)
        port = Port.build(
            options,
            directory or SessionDirectory(self.node),
            node_name=self.node.name,
            is_ready=is_ready or (lambda: True),
            certificates=certificates,
            extra_hosts=hosts,
            runtime=self.node,
            site=site,
        )
        if site is None:
            port.remember()
        children = _children(Binding(port), f"{self.pid}.connections", on_open)
        return await super().init("rest_for_one", children, intensity=5, period=10.0)


def _children(binding: Binding, connections: str, on_open: Callable[[Address], None] | None) -> list[ChildSpec]:
    """What a port is made of; its connections are under the supervisor of that name."""
    port, options = binding.port, binding.port.options
    children = [
        *port.services,
        ChildSpec(
            "connections",
            DynamicSupervisor,
            kwargs={"max_children": options.limits.connections, "extra_args": (binding,)},
            name=connections,
        ),
        ChildSpec("drain", Drainer, (port.drain,), shutdown=options.drain.seconds + STOP_SECONDS),
        ChildSpec("endpoint", Endpoint, (binding, connections, on_open), shutdown=STOP_SECONDS),
    ]
    if options.unix_socket is not None:
        children.append(ChildSpec("unix", UnixEndpoint, (binding, connections), shutdown=STOP_SECONDS))
    return children


class Endpoint(ProcessActor):
    """The listening socket. Calls: ``"address"`` (an `Address`), ``"statistics"`` (`PortStatistics`)."""

    def init(self, binding: Binding, connections: str, on_open: Callable[[Address], None] | None = None) -> None:
        """Bind. Raises `GatewayRefused`."""
        options = binding.port.options
        if binding.bound is not None:
            options = attrs.evolve(options, port=binding.bound, port_search=0)
        self._listener = open_listener(options)
        self._binding = binding
        self._connections = connections
        self._address = _address(self._listener, binding.port)
        binding.bound = self._address.port
        if binding.port.options.port not in {0, self._address.port}:
            log(__name__, "warning", "port_in_use", wanted=binding.port.options.port, instead=self._address.port)
        what = binding.port.what
        log(__name__, "info", what.opened, serves=what.serves, urls=self._address.urls)
        if on_open is not None:
            on_open(self._address)

    async def run(self) -> None:
        """Accept until the end."""
        port = self._binding.port
        with self._listener:
            start = functools.partial(start_connection, self._binding, self._connections)
            self.start_soon(accept_connections, self._listener, port.admission, start)
            if port.certificates is not None:
                self.start_soon(port.certificates.watch)
            while True:
                match await self.receive():
                    case Request(message="address") as request:
                        reply(request, self._address)
                    case Request(message="statistics") as request:
                        reply(request, self._binding.port.statistics())


class UnixEndpoint(ProcessActor):
    """The listening UNIX socket, in clear."""

    def init(self, binding: Binding, connections: str) -> None:
        """Bind. Raises `GatewayRefused`."""
        options = binding.port.options
        if options.unix_socket is None:
            raise GatewayRefused("gateway.unix_socket is not set")
        self._listener = UnixListener(options.unix_socket, int(options.unix_socket_mode, 8))
        self.at_death("socket", lambda _: self._listener.close())
        self._binding = binding
        self._connections = connections
        what = binding.port.what
        log(__name__, "info", what.opened, serves=what.serves, path=str(options.unix_socket))

    async def run(self) -> None:
        """Accept until the end."""
        start = functools.partial(start_connection, self._binding, self._connections)
        await accept_connections(self._listener.socket, self._binding.port.admission, start)


async def start_connection(binding: Binding, connections: str, sock: socket.socket, address: str) -> None:
    """Start the actor of an accepted connection under the supervisor of that name."""
    ticket = binding.next_ticket
    binding.next_ticket += 1
    binding.waiting[ticket] = sock, address
    try:
        await start_child(connections, ChildSpec("connection", Connection, (ticket,), restart="temporary"))
    except (ChildError, StartError) as error:
        log(__name__, "warning", "connection_not_started", reason=str(error))
        if binding.waiting.pop(ticket, None) is not None:
            binding.port.admission.leave(address)
            sock.close()


class Connection(ProcessActor):
    """One connection, from its first byte to its last."""

    def init(self, binding: Binding, ticket: int) -> None:
        """Take over the accepted socket that waits under ``ticket``."""
        self._sock, self._peer = binding.waiting.pop(ticket)
        self._port = binding.port
        self._sink: SocketSink | None = None
        # Also when it is killed before it runs, and when its tasks do not unwind.
        self.at_death("connection", self._is_over)

    async def run(self) -> None:
        """Serve it."""
        await serve_connection(self._sock, self._port, self.pid, on_sink=self._own)

    def _own(self, sink: SocketSink) -> None:
        self._sink = sink

    def _is_over(self, _: Pid) -> None:
        try:
            (self._sock if self._sink is None else self._sink).close()
        finally:
            self._port.admission.leave(self._peer)


def public_hosts(options: GatewayOptions) -> tuple[str, ...]:
    """The names and addresses under which a port with ``options`` is meant to be reached."""
    loopback = ("localhost", "127.0.0.1", "::1")
    if options.is_loopback:
        return loopback
    name = socket.gethostname()
    wildcard = options.host.strip("[]") in {"0.0.0.0", "::", ""}  # noqa: S104 - comparing, not binding
    own = machine_addresses() if wildcard else (options.host,)
    return (*own, name, f"{name}.local", *options.allowed_hosts, *loopback)


def certificates_of(options: GatewayOptions, hosts: tuple[str, ...]) -> Certificates | None:
    """What a port with ``options`` encrypts with; None in clear. Raises `GatewayRefused`."""
    if not options.uses_tls:
        return None
    protocols = ("h2", "http/1.1") if options.http2 else ("http/1.1",)
    return Certificates(options.tls, hosts, _kept(options.state_directory), protocols=protocols)


def _kept(directory: Path | None) -> Path | None:
    """``directory`` if it can be written; a development certificate that is not kept is no reason not to start."""
    if directory is None:
        return None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return directory


def _address(listener: socket.socket, port: Port) -> Address:
    host, number = listener.getsockname()[:2]
    secure = port.tls is not None
    names = ["127.0.0.1" if port.options.host == "localhost" else port.options.host]
    if not port.options.is_loopback:
        names = list(dict.fromkeys(name for name in public_hosts(port.options) if not is_loopback(name)))
    scheme = "https" if secure else "http"
    urls = tuple(f"{scheme}://{f'[{name}]' if ':' in name else name}:{number}/" for name in names)
    return Address(str(host), int(number), secure, urls)
