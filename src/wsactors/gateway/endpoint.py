"""The listening socket of the gateway: bind, find a free port, accept, and start one actor per connection."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from wsactors.actors.log import log

from .admission import Admission
from .options import GatewayOptions, GatewayRefused, check_exposure
from .proxies import UNIX

BACKLOG: Final = 4_096
"""Connections that may wait to be accepted: all clients of a node that was started again come at once. Linux may allow fewer."""
_AT_ONCE: Final = 32
"""Connections that are started together."""
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_PAUSE_SECONDS: Final = 0.1
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 27\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
    b"Too many connections, sorry"
)


def open_listener(options: GatewayOptions) -> socket.socket:
    """A listening, non-blocking socket on ``options.host`` and the first free port from ``options.port`` on.

    Raises:
        GatewayRefused: The address may not be used (see `check_exposure`), cannot be bound, or no port is free.
    """
    check_exposure(options)
    family, address = _resolve(options.host)
    tries = 1 if options.port == 0 else options.port_search + 1
    for port in range(options.port, min(options.port + tries, 65_536)):
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise GatewayRefused(f"gateway: cannot bind {options.host}:{port}: {error.strerror}") from error
        else:
            return listener
    last = options.port + tries - 1
    raise GatewayRefused(
        f"gateway: every port from {options.port} to {last} is in use: stop what uses it, or set gateway.port"
    )


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise GatewayRefused(f"gateway.host = {host!r} is no address of this machine: {error.strerror}") from error
    # IPv4 first: "localhost" is printed as 127.0.0.1, and every browser tries both.
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(address[0])


async def accept_connections(
    listener: socket.socket, admission: Admission, start: Callable[[socket.socket, str], Awaitable[None]]
) -> None:
    """Accept for ever. ``start`` gets the socket and the peer's address, which `Admission.leave` wants back at the end.

    A connection over the limits is told so and closed. Running out of descriptors pauses accepting, nothing else.
    Several are started at a time: on a busy node each start takes a few rounds of the loop, and while as many as can be
    waiting have come, the kernel breaks off the next.
    """
    while True:
        await trio.lowlevel.wait_readable(listener.fileno())
        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                try:
                    sock, name = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _OUT_OF_RESOURCES:
                        log(__name__, "warning", "accept_paused", reason=error.strerror)
                        await trio.sleep(_PAUSE_SECONDS)
                        break
                    continue  # the peer left between its SYN and our accept
                sock.setblocking(False)
                address = str(name[0]) if isinstance(name, tuple) else UNIX
                if admission.enter(address, trio.current_time()):
                    nursery.start_soon(_begin, start, sock, address, admission)
                else:
                    _turn_away(sock)


async def _begin(
    start: Callable[[socket.socket, str], Awaitable[None]], sock: socket.socket, address: str, admission: Admission
) -> None:
    try:
        await start(sock, address)
    except BaseException:
        admission.leave(address)
        sock.close()
        raise


def _turn_away(sock: socket.socket) -> None:
    with sock:
        try:
            sock.send(_TOO_MANY)
        except OSError:
            return  # it is closed either way
