"""How Engine.IO is served: the names are those of ``[gateway.engineio]``."""

from __future__ import annotations

import attrs


@attrs.frozen
class EngineOptions:
    """How sessions of one endpoint are kept."""

    ping_interval: float = 25.0
    """Seconds between two pings."""
    ping_timeout: float = 20.0
    """Seconds in which a ping must be answered."""
    upgrade_timeout: float = 10.0
    """Seconds in which a client must have moved to the WebSocket that it has opened for that."""
    max_payload: int = 1_000_000
    """Bytes that a client may put into one payload, as it is told."""
    max_message: int = 2 * 1024 * 1024
    """Bytes of one message or body that are taken: a message of ``max_payload`` bytes fits in base64."""
    buffer_bytes: int = 4 * 1024 * 1024
    """Bytes that may wait for one client."""
    polling: bool = True
    websocket: bool = True
    eio3: bool = False
    """Whether clients of revision 3 (Socket.IO 2) are served, too."""
    echo: bool = False
    """Whether `/engine.io/` sends back what it is sent, for clients that test themselves."""
    max_sessions: int = 10_000
    max_sessions_per_address: int = 1_000
