"""How Socket.IO is served: the names are those of ``[gateway.socketio]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from wsactors.realtime.options import TopicOptions

ROOM_PREFIX: Final = "socketio:"
ROOMS: Final = TopicOptions(
    match=f"{ROOM_PREFIX}*",
    channel="wsactors.gateway.socketio_rooms:RoomChannel",
    history=0,
    presence=False,
    linger=5.0,
)
"""The rule for topics that are rooms. It must come before any other: only namespaces may let somebody into a room."""

DEFAULT_NAMESPACES: Final[Mapping[str, str]] = {"/": "wsactors.gateway.socketio_topics:Topics"}


@attrs.frozen
class SocketIoOptions:
    """How Socket.IO is served."""

    enabled: bool = True
    namespaces: Mapping[str, str] = attrs.field(factory=lambda: dict(DEFAULT_NAMESPACES))
    """Their classes (`wsactors.gateway.socketio_namespace.Namespace`) as ``module:Class``, by name."""
    allowed_packages: tuple[str, ...] = ("wsactors",)
    """What these modules may belong to."""
    connect_timeout: float = 45.0
    """Seconds in which a client must have entered a namespace, and in which a namespace must have decided."""
    recovery_seconds: float = 120.0
    """How long a client that has lost its connection may take to come back to what it missed; 0: it cannot."""
    recovery_packets: int = 1_000
    """Packets kept for each such client."""
    recovery_bytes: int = 256 * 1024
    """Bytes kept for each such client; what goes to many is in memory once."""
    max_detached: int = 1_000
    """Clients that may be away at a time."""
    client_files: Path | None = None
    """The folder with ``socket.io.js`` for pages; None: the npm package that is installed, if it is."""
