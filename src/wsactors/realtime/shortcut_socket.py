"""The socket of a sink, and whether others may send to it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from wsactors.cluster import CHANGES


class ShortcutSocket:
    """A base for sinks: keeps the socket, and says when there is a shortcut to it (see `wsactors.cluster.Shortcut`)."""

    __slots__ = ("_ready", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ready = False

    def shortcut(self) -> socket.socket | None:
        """See `wsactors.cluster.Shortcut`. What is sent that way is not in the sink's statistics: it costs the sink nothing."""
        return self._sock if self._ready else None

    def witness(self) -> Callable[[bytes], object] | None:
        """See `wsactors.cluster.Shortcut`."""
        return None

    def _turn(self, *, ready: bool) -> None:
        """From here on, there is a shortcut, or none."""
        if ready is not self._ready:
            self._ready = ready
            CHANGES.count += 1
