"""Datagrams of sound on their way to the socket: at once, or gathered and given to the kernel together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from wsactors.media.gathering import Gathering

from .batches import BATCH, Batches, Name
from .transport import Address, Drop

if TYPE_CHECKING:
    import socket

    from .connection import Connection


class Offerer(Protocol):
    """Who has sent something that was gathered, and counts what becomes of it."""

    def refused(self, size: int) -> None:
        """The kernel did not take a frame of ``size`` bytes after all."""
        ...


class Outgoing:
    """What leaves for the listeners of one endpoint.

    Args:
        sock: The endpoint's, for what leaves alone.
        batches: For what leaves together.
        gathering: Whether it does.
    """

    __slots__ = ("_batches", "_gathered", "_names", "_packets", "_sendto", "bytes_out", "datagrams_out",
                 "gathering")  # fmt: skip

    def __init__(self, sock: socket.socket, batches: Batches, gathering: Gathering) -> None:
        self._sendto: Final = sock.sendto
        self._batches = batches
        self.gathering = gathering
        self._packets: list[bytes] = []
        self._names: list[Name] = []
        self._gathered: list[tuple[Connection, int, Offerer | None]] = []
        self.datagrams_out = self.bytes_out = 0
        """What the kernel has taken: datagrams of sound, and bytes of all packets."""

    def send(self, connection: Connection, packet: tuple[bytes, Address]) -> bool:
        """Send one of ``connection``'s now; whether the kernel has it."""
        data, address = packet
        try:
            self._sendto(data, address)
        except OSError:
            connection.transport.drops[Drop.KERNEL] += 1
            return False
        self.datagrams_out += 1
        self.bytes_out += len(data)
        return True

    def gather(self, connection: Connection, packet: tuple[bytes, Address], size: int, offerer: Offerer | None) -> None:
        """Send it with those that follow, before the gathering is over. ``offerer`` hears if the kernel does not take it."""
        data, address = packet
        packets = self._packets
        if not packets:
            self.gathering.at_end(self.flush)
        packets.append(data)
        # The address is nearly always the one from which the connection's last packet came, and that is the same object.
        self._names.append(connection.came_as if address is connection.came_from else self._batches.name(address))
        self._gathered.append((connection, size, offerer))
        if len(packets) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what was gathered."""
        packets, gathered, names = self._packets, self._gathered, self._names
        if not packets:
            return
        self._packets, self._gathered, self._names = [], [], []
        refused = self._batches.send(packets, names)
        self.datagrams_out += len(packets)
        self.bytes_out += sum(map(len, packets))
        for place in refused:
            self.datagrams_out -= 1
            self.bytes_out -= len(packets[place])
            connection, size, offerer = gathered[place]
            connection.transport.drops[Drop.KERNEL] += 1
            if offerer is not None:
                offerer.refused(size)
