"""Many datagrams with one system call: Linux' recvmmsg and sendmmsg, by ctypes; elsewhere a call for each.

To the kernel a batch saves little, to Python half: arguments are parsed, addresses made and the lock given away once for all,
and the kernel's code and Python's do not drive each other out of the caches with every packet.

An address stays here what the kernel calls it, a *name*: bytes that are compared and given back, and made an `Address` only
when somebody wants to know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from .transport import Address

Name: TypeAlias = bytes | Address
"""Who has sent a datagram, or is to get it; what it looks like inside is known to who made it."""

BATCH: Final = 64
"""Datagrams of one call: a fifth of a millisecond of the kernel's time, and twice as long until Python has made or read them."""
DATAGRAM_BYTES: Final = 2_048
"""No packet of QUIC's is larger on a path that is not a loop; a larger one is cut, and is then none."""
_DENSE: Final = 128
"""Bytes of each that lie close to those of the next one. Nearly all that comes is an acknowledgement, and has fewer."""
_MOST_TABLES: Final = 256
_PORT: Final = struct.Struct("!H")
_IPV4: Final = struct.Struct("=H2s4s8x")
_IPV6: Final = struct.Struct("=H2s4s16sI")
_SHORT_OF_MEMORY: Final = frozenset({errno.ENOMEM, errno.ENOBUFS})
"""Later there may be some."""
_NOT_BELIEVED: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""What an ICMP message says about a peer."""


class Batches(Protocol):
    """Reads and writes one non-blocking UDP socket."""

    def receive(self) -> list[tuple[bytes, Name]]:
        """Up to `BATCH` datagrams that wait; fewer: nothing more waits now. Raises `OSError` when the socket is of no use."""
        ...

    def send(self, packets: Sequence[bytes], names: Sequence[Name]) -> list[int]:
        """Send up to `BATCH`, each to the name at its place; the places of those that the kernel did not take."""
        ...

    def address(self, name: Name) -> Address:
        """Whose name it is."""
        ...

    def name(self, address: Address) -> Name:
        """What the kernel calls an address that was given by `address`."""
        ...


def batches_of(sock: socket.socket) -> Batches:
    """The best there is for ``sock``, which must be bound."""
    if sys.platform == "linux" and sock.family in {socket.AF_INET, socket.AF_INET6}:
        try:
            return KernelBatches(sock)
        except (OSError, AttributeError):  # a C library without them
            pass
    return PlainBatches(sock)


def _ends_reading(number: int) -> bool:
    """Whether nothing more is to be read now; False: try again. Raises `OSError` for what is no passing trouble."""
    if number in {errno.EAGAIN, errno.EWOULDBLOCK} or number in _SHORT_OF_MEMORY:
        return True
    if number in _NOT_BELIEVED or number == errno.EINTR:
        return False
    raise OSError(number, os.strerror(number))


class PlainBatches:
    """A call for each datagram, on any system."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self) -> list[tuple[bytes, Name]]:
        """See `Batches.receive`."""
        found: list[tuple[bytes, Name]] = []
        while len(found) < BATCH:
            try:
                found.append(self._sock.recvfrom(DATAGRAM_BYTES))
            except OSError as error:
                if _ends_reading(error.errno or 0):
                    break
        return found

    def send(self, packets: Sequence[bytes], names: Sequence[Name]) -> list[int]:
        """See `Batches.send`."""
        refused = []
        for place, packet in enumerate(packets):
            try:
                self._sock.sendto(packet, self.address(names[place]))
            except OSError:
                refused.append(place)
        return refused

    def address(self, name: Name) -> Address:
        """See `Batches.address`."""
        assert isinstance(name, tuple)
        return name

    def name(self, address: Address) -> Name:
        """See `Batches.name`."""
        return address


class _Buffer(ctypes.Structure):
    """The kernel's ``struct iovec``."""

    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Head(ctypes.Structure):
    """The kernel's ``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint),
        ("buffers", ctypes.c_void_p),
        ("buffer_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Counted(ctypes.Structure):
    """The kernel's ``struct mmsghdr``."""

    _fields_ = (("head", _Head), ("size", ctypes.c_uint))


_HEAD_BYTES: Final = ctypes.sizeof(_Counted)
_ONE_SIZE: Final = f"{_Counted.size.offset}xI{_HEAD_BYTES - _Counted.size.offset - 4}x"
_SIZES: Final = [struct.Struct("@" + _ONE_SIZE * count) for count in range(BATCH + 1)]
_BUFFER_BYTES: Final = ctypes.sizeof(_Buffer)


class _Arena:
    """Memory that the kernel reads from, or writes to: a batch of datagrams, each in as many parts as ``parts`` has sizes."""

    __slots__ = ("buffers", "buffers_at", "heads", "heads_at", "names", "parts", "parts_at")

    def __init__(self, name_size: int, parts: Sequence[int]) -> None:
        self.names = bytearray(name_size * BATCH)
        self.parts = [bytearray(size * BATCH) for size in parts]
        self.parts_at = [_place_of(part) for part in self.parts]
        count = len(parts)
        self.buffers = bytearray(_BUFFER_BYTES * BATCH * count)
        self.buffers_at = _place_of(self.buffers)
        self.heads = bytearray(_HEAD_BYTES * BATCH)
        self.heads_at = _place_of(self.heads)
        names_at = _place_of(self.names)
        for place in range(BATCH):
            for index, size in enumerate(parts):
                buffer = _Buffer.from_buffer(self.buffers, _BUFFER_BYTES * (place * count + index))
                buffer.at, buffer.size = self.parts_at[index] + place * size, size
            head = _Counted.from_buffer(self.heads, _HEAD_BYTES * place).head
            head.name, head.name_size = names_at + place * name_size, name_size
            head.buffers, head.buffer_count = self.buffers_at + _BUFFER_BYTES * place * count, count


def _place_of(memory: bytearray) -> int:
    """Its address in memory: it never moves, as its size is never changed."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class KernelBatches:
    """A call for each `BATCH`. Raises `AttributeError` where the C library has none."""

    def __init__(self, sock: socket.socket) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = library.recvmmsg, library.sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._sock = sock
        self._family = sock.family
        self._step = step = (_IPV4 if sock.family == socket.AF_INET else _IPV6).size
        self._in, self._out = _Arena(step, (_DENSE, DATAGRAM_BYTES - _DENSE)), _Arena(step, (DATAGRAM_BYTES,))
        self._places = [(place * _DENSE, place * step, (place + 1) * step) for place in range(BATCH)]
        self._tables: dict[int, bytes] = {}
        """Where packets lie that are all of one size, one behind the other."""

    def receive(self) -> list[tuple[bytes, Name]]:
        """See `Batches.receive`."""
        arena = self._in
        # Asked each time: a descriptor that is closed may soon be another file's.
        while (count := self._recvmmsg(self._sock.fileno(), arena.heads_at, BATCH, socket.MSG_DONTWAIT, None)) < 0:
            if _ends_reading(ctypes.get_errno()):
                return []
        sizes = _SIZES[count].unpack_from(arena.heads)
        data, names = bytes(arena.parts[0]), bytes(arena.names)
        if max(sizes, default=0) <= _DENSE:
            return [
                (data[at : at + size], names[begin:end])
                for size, (at, begin, end) in zip(sizes, self._places, strict=False)
            ]
        rest = memoryview(arena.parts[1])
        step = DATAGRAM_BYTES - _DENSE
        return [
            (
                data[at : at + min(size, _DENSE)] + rest[place * step : place * step + max(0, size - _DENSE)],
                names[begin:end],
            )
            for place, (size, (at, begin, end)) in enumerate(zip(sizes, self._places, strict=False))
        ]

    def send(self, packets: Sequence[bytes], names: Sequence[Name]) -> list[int]:
        """See `Batches.send`."""
        arena, count = self._out, len(packets)
        sizes = [len(packet) for packet in packets]
        if max(sizes) > DATAGRAM_BYTES:
            return self._send_what_fits(packets, names)
        arena.buffers[: _BUFFER_BYTES * count] = self._table(sizes)
        joined = b"".join(packets)
        arena.parts[0][: len(joined)] = joined
        arena.names[: self._step * count] = b"".join(names)  # type: ignore[arg-type]  # our names are bytes
        sock, refused, done = self._sock.fileno(), [], 0
        while done < count:
            sent = self._sendmmsg(sock, arena.heads_at + _HEAD_BYTES * done, count - done, socket.MSG_DONTWAIT)
            if sent <= 0:  # it is the first of them that the kernel does not take
                refused.append(done)
                sent = 1
            done += sent
        return refused

    def _send_what_fits(self, packets: Sequence[bytes], names: Sequence[Name]) -> list[int]:
        places = [place for place, packet in enumerate(packets) if len(packet) <= DATAGRAM_BYTES]
        taken = set(places)
        if places:
            refused = self.send([packets[place] for place in places], [names[place] for place in places])
            taken.difference_update(places[place] for place in refused)
        return [place for place in range(len(packets)) if place not in taken]

    def _table(self, sizes: list[int]) -> bytes:
        """Where packets of these sizes lie, one behind the other."""
        size, count = sizes[0], len(sizes)
        if sizes.count(size) != count:
            return self._table_of(sizes)
        table = self._tables.get(size)
        if table is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            table = self._tables[size] = self._table_of([size] * BATCH)
        return table if count == BATCH else table[: _BUFFER_BYTES * count]

    def _table_of(self, sizes: list[int]) -> bytes:
        table = (_Buffer * len(sizes))()
        at = self._out.parts_at[0]
        for buffer, size in zip(table, sizes, strict=True):
            buffer.at, buffer.size = at, size
            at += size
        return bytes(table)

    def address(self, name: Name) -> Address:
        """See `Batches.address`."""
        assert isinstance(name, bytes)
        if self._family == socket.AF_INET:
            _, port, host = _IPV4.unpack(name)
            return socket.inet_ntop(socket.AF_INET, host), _PORT.unpack(port)[0]
        _, port, flow, host, scope = _IPV6.unpack(name)
        return socket.inet_ntop(socket.AF_INET6, host), _PORT.unpack(port)[0], int.from_bytes(flow, "big"), scope

    def name(self, address: Address) -> Name:
        """See `Batches.name`."""
        host, port = address[0], _PORT.pack(address[1])
        if self._family == socket.AF_INET:
            return _IPV4.pack(socket.AF_INET, port, socket.inet_pton(socket.AF_INET, host))
        flow, scope = (address[2], address[3]) if len(address) == 4 else (0, 0)
        host = host.partition("%")[0]
        return _IPV6.pack(
            socket.AF_INET6, port, flow.to_bytes(4, "big"), socket.inet_pton(socket.AF_INET6, host), scope
        )
