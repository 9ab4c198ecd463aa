"""Datagrams of sound on their way to the socket: at once, or gathered and given to the kernel together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from wsactors.media.gathering import Gathering

from .batches import BATCH, Batches
from .transport import Address, Drop

if TYPE_CHECKING:
    import socket

    from .connection import Connection


class Offerer(Protocol):
    """Who has sent something that was gathered, and counts what becomes of it."""

    def refused(self, frame: bytes) -> None:
        """The kernel did not take ``frame`` after all. Must neither wait nor raise."""
        ...


Gathered: TypeAlias = "tuple[tuple[bytes, Address], Connection, bytes, Offerer | None]"
"""A packet and for whom, its connection, the frame in it, and who hears if the kernel does not take it."""


class Outgoing:
    """What leaves for the listeners of one endpoint.

    Args:
        sock: The endpoint's, for what leaves alone.
        batches: For what leaves together.
        gathering: Whether it does.
        clock: Seconds, monotonic.
    """

    __slots__ = ("_batches", "_gathered", "_sendto", "bytes_out", "clock", "datagrams_out", "gathering", "now")

    def __init__(self, sock: socket.socket, batches: Batches, gathering: Gathering, clock: Callable[[], float]) -> None:
        self._sendto: Final = sock.sendto
        self._batches = batches
        self.gathering = gathering
        self.clock = clock
        self._gathered: list[Gathered] = []
        self.now: float | None = None
        """As what time what is gathered counts as sent; a batch takes parts of a millisecond. None: nothing is gathered yet."""
        self.datagrams_out = self.bytes_out = 0
        """What the kernel has taken: datagrams of sound, and bytes of all packets."""

    def begin(self) -> float:
        """The first of a batch is about to be gathered; the time."""
        if not self._gathered:
            self.gathering.at_end(self.flush)
        self.now = now = self.clock()
        return now

    def gather(self, gathered: Gathered) -> None:
        """Send it with those that follow, at the latest when the gathering is over."""
        waiting = self._gathered
        waiting.append(gathered)
        if len(waiting) >= BATCH:
            self.flush()

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

    def flush(self) -> None:
        """Send what was gathered."""
        gathered, self._gathered, self.now = self._gathered, [], None
        if not gathered:
            return
        name = self._batches.name
        packets = [packet[0] for packet, _, _, _ in gathered]
        # The address is nearly always the one from which the connection's last packet came, and then that very object.
        names = [
            connection.came_as if packet[1] is connection.came_from else name(packet[1])
            for packet, connection, _, _ in gathered
        ]
        refused = self._batches.send(packets, names)
        self.datagrams_out += len(packets)
        self.bytes_out += sum(map(len, packets))
        for place in refused:
            self.datagrams_out -= 1
            self.bytes_out -= len(packets[place])
            _, connection, frame, offerer = gathered[place]
            connection.transport.drops[Drop.KERNEL] += 1
            if offerer is not None:
                offerer.refused(frame)
