"""The settings of Engine.IO and Socket.IO (:mod:`wsactors.node.settings`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.node.fields import between, matches, setting, zero_or

__all__ = ["EngineIoSettings", "NamespaceSettings", "SocketIoSettings", "engineio_options", "socketio_options"]


@attrs.frozen
class EngineIoSettings:
    """Engine.IO, which carries Socket.IO by polling and WebSockets."""

    ping_interval: float = setting(25.0, "Seconds between two pings.", check=between(0.05, 3600))
    ping_timeout: float = setting(20.0, "Seconds in which a ping must be answered.", check=between(0.05, 3600))
    upgrade_timeout: float = setting(
        10.0, "Seconds in which a client must have moved from polling to a WebSocket.", check=between(0.1, 600)
    )
    max_payload: int = setting(
        1_000_000, "Bytes that a client may put into one payload, as it is told.", check=between(1024, 268_435_456)
    )
    max_message: int = setting(
        2_097_152,
        "Bytes of one message or body that are taken; a message of max_payload bytes in base64 should fit.",
        check=between(1024, 268_435_456),
    )
    buffer_bytes: int = setting(
        4_194_304, "Bytes that may wait for one client before it is given up.", check=between(65_536, 268_435_456)
    )
    polling: bool = setting(True, "Serve clients by HTTP long-polling.")
    websocket: bool = setting(True, "Serve clients by WebSockets.")
    eio3: bool = setting(False, "Serve clients of Socket.IO 2, too, which speak revision 3.")
    echo: bool = setting(False, "Send back what is sent to /engine.io/, for clients that test themselves.")
    max_sessions: int = setting(10_000, "Sessions, all clients together.", check=between(1, 1_000_000))
    max_sessions_per_address: int = setting(1_000, "Sessions of one address.", check=between(1, 1_000_000))


@attrs.frozen
class NamespaceSettings:
    """One namespace."""

    path: str = setting("/", "Its name for clients.", check=matches(r"/[^,?\s]{0,200}", "a path such as /chat"))
    handler: str = setting(
        "wsactors.gateway.socketio_topics:Topics",
        "Its class, from an allowed package; this one lets clients into topics.",
        check=matches(r"[\w.]+:\w+", '"module:Class"'),
    )


@attrs.frozen
class SocketIoSettings:
    """Socket.IO on /socket.io/."""

    enabled: bool = setting(True, "Serve it at all.")
    namespaces: Mapping[str, NamespaceSettings] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata={
            "doc": "Namespaces, one table each: [gateway.socketio.namespaces.NAME]. Without any, / lets clients into topics."
        },
    )
    connect_timeout: float = setting(
        45.0,
        "Seconds in which a client must have entered a namespace, and a namespace must have decided.",
        check=between(0.1, 600),
    )
    recovery_seconds: float = setting(
        120.0,
        "How long a client that has lost its connection may take to come back to what it missed; 0: it cannot.",
        check=between(0, 86_400),
    )
    recovery_packets: int = setting(1_000, "Packets kept for each client for that.", check=between(1, 1_000_000))
    recovery_bytes: int = setting(
        262_144,
        "Bytes kept for each client for that; what goes to many is in memory once.",
        check=between(1024, 268_435_456),
    )
    max_detached: int = setting(
        1_000, "Clients that may be away at a time; 0 = none may come back.", check=zero_or(1, 1_000_000)
    )
    client_files: Path | None = setting(
        None,
        "Folder with socket.io.js for pages; empty = the npm package socket.io-client, if it is installed where the node starts.",
    )


def engineio_options(settings: EngineIoSettings) -> EngineOptions:
    """What Engine.IO takes."""
    return EngineOptions(**attrs.asdict(settings))


def socketio_options(settings: SocketIoSettings, allowed_packages: tuple[str, ...]) -> SocketIoOptions:
    """What Socket.IO takes."""
    named = {each.path: each.handler for each in settings.namespaces.values()}
    rest = attrs.asdict(settings, recurse=False, filter=lambda field, _: field.name != "namespaces")
    options = SocketIoOptions(**rest, allowed_packages=allowed_packages)
    return attrs.evolve(options, namespaces=named) if named else options
