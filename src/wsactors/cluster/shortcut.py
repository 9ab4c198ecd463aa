"""The shortcut of a fan-out: sending ready bytes to a connected socket without asking its sink first.

Between two messages for one connection the kernel has had the processor, and little of what this process had there is still in
its caches. Then what costs is not what is computed but how much memory is touched for each receiver: a receiver, its sink and a
bound method, each some cache lines, together cost a sixth of the ``send`` itself. So whoever sends to thousands walks a tuple of
sockets, as long as their sinks allow that.

A sink allows it while nothing waits in it and nothing else must be done to the bytes. Whenever that changes, for any sink with an
open socket, `CHANGES` is counted up: whoever keeps sockets looks whether it still is what it was, and asks again if not.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable


@runtime_checkable
class Shortcut(Protocol):
    """A sink that lets others send to its socket."""

    def shortcut(self) -> socket.socket | None:
        """The non-blocking socket, which until `CHANGES` is counted up may be sent whole messages; None: offer them here."""
        ...

    def witness(self) -> Callable[[bytes], object] | None:
        """What must be told of everything that is sent whole by the shortcut, right then; None: nothing."""
        ...

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        """The kernel took ``sent`` bytes of ``data``, at least one and not all. The rest is the sink's now."""
        ...


class Changes:
    """How often a shortcut to an open socket has ended, or begun again."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


CHANGES: Final = Changes()
"""Of this process. A sink of another node counts, too: that costs a question more, and nothing else."""


def send_to_each(sockets: Sequence[socket.socket], data: bytes) -> tuple[int, int]:
    """Send ``data`` to one after the other, until a kernel's buffer does not take all of it.

    Returns how many have it, and how many bytes of it the next one took: 0 also when its peer is gone.
    """
    size = len(data)
    for place, sock in enumerate(sockets):
        try:
            sent = sock.send(data)
        except OSError:
            sent = 0
        if sent != size:
            return place, sent
    return len(sockets), 0
