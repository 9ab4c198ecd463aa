"""Every setting of a node, as attrs classes: the type, the default, the check and the words live where the field is.

``config/*.toml`` mirrors these classes key by key (:mod:`wsactors.node.config` reads it); ``wsactors config doc``
prints them. A setting marked *live* is read again on SIGHUP; a *secret* is never printed and may come from a file
(``KEY_file = "path"``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wsactors.node.auth_settings import AuthSettings
from wsactors.node.fields import BadSetting
from wsactors.node.fields import between as _between
from wsactors.node.fields import matches as _matches
from wsactors.node.fields import section as _section
from wsactors.node.fields import setting as _setting
from wsactors.node.fields import zero_or as _zero_or
from wsactors.node.gateway_settings import GatewaySettings, LimitSettings, TlsSettings
from wsactors.node.quic_settings import QuicSettings
from wsactors.node.realtime_settings import RealtimeSettings
from wsactors.node.secret import Secret
from wsactors.node.session_settings import SessionSettings

__all__ = [
    "AdminHttpSettings",
    "AdminSettings",
    "AuthSettings",
    "BadSetting",
    "GatewaySettings",
    "LimitSettings",
    "LoggingSettings",
    "NodeSettings",
    "QuicSettings",
    "RealtimeSettings",
    "SessionSettings",
    "Settings",
    "TlsSettings",
]

_TOKEN_CHARACTERS = 16
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_NAME_MEANING = "letters, digits, '.', '_' or '-' (at most 63, beginning and ending with a letter or digit)"


def _each_name_valid(_: Any, attribute: attrs.Attribute[Any], value: Mapping[str, object]) -> None:
    for name in value:
        if not re.fullmatch(_NAME, name):
            raise BadSetting(attribute.name, f"expected names made of {_NAME_MEANING}, got {name!r}")


def _long_enough(_: Any, attribute: attrs.Attribute[Any], value: Secret | None) -> None:
    if value is not None and len(value.reveal()) < _TOKEN_CHARACTERS:
        raise BadSetting(
            attribute.name, f"expected at least {_TOKEN_CHARACTERS} characters, such as `openssl rand -hex 16`"
        )


@attrs.frozen
class NodeSettings:
    """The node itself."""

    name: str = _setting(
        "dev", "Name of this node, unique among the nodes it meets.", check=_matches(_NAME, _NAME_MEANING)
    )
    trees: tuple[Path, ...] = _setting(
        (), "Supervisor files to boot, in this order; relative paths start at the file that names them."
    )
    allowed_packages: tuple[str, ...] = _setting(
        ("wsactors",), "Packages whose actors a supervisor file may start; nothing else is ever imported from one."
    )
    shutdown_timeout: float = _setting(
        10.0, "Seconds an ordered stop may take; what is still alive then is killed.", check=_between(0.1, 3600)
    )
    drain_seconds: float = _setting(
        0.0,
        "Seconds between being told to stop (`/ready` says no) and stopping, for a balancer to notice.",
        check=_between(0, 600),
    )
    debug: bool = _setting(False, "Refuse mutable messages and report call cycles. Slower; for development.")
    watchdog_seconds: float = _setting(
        0.05,
        "Seconds for which one actor may hold all others up before the log says which one and where; 0 = never look.",
        check=_zero_or(0.005, 60),
    )
    gc_freeze: bool = _setting(
        True, "After boot, move what lives as long as the node out of the garbage collector's sight (gc.freeze)."
    )
    gc_threshold: int = _setting(
        700,
        "Allocations between two young collections (700 is Python's own default). More of them hold the loop longer.",
        check=_between(700, 10_000_000),
    )


@attrs.frozen
class LoggingSettings:
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "The least severe level that is written.", live=True
    )
    format: Literal["auto", "pretty", "json"] = _setting(
        "auto",
        "pretty for people, json for machines (one object per line); auto = pretty on a terminal, json elsewhere.",
    )


@attrs.frozen
class AdminHttpSettings:
    """Metrics and the admin API over HTTP, on a port of their own."""

    enabled: bool = _setting(True, "Whether this node opens that port.")
    host: str = _setting("127.0.0.1", "Address to bind. Any other than loopback needs a token.")
    port: int = _setting(9464, "Port to bind; 0 lets the system choose.", check=_between(0, 65_535))
    port_search: int = _setting(
        20,
        "How many following ports are tried when the port is busy; 0 makes a busy port an error.",
        check=_between(0, 1000),
    )
    token: Secret | None = _setting(
        None,
        "Bearer token that every request must carry. Without one, metrics are open to this machine and the API is closed.",
        secret=True,
        check=_long_enough,
    )
    allowed_hosts: tuple[str, ...] = _setting((), "Further names accepted in the Host header.")


@attrs.frozen
class AdminSettings:
    """The local socket that `wsactors top` reads."""

    enabled: bool = _setting(True, "Whether this node opens a local admin socket.")
    socket: Path | None = _setting(
        None, "Where the socket lies; empty = NAME.sock in a private runtime directory (see `wsactors top --help`)."
    )
    allow_changes: bool = _setting(
        False, "Let the socket's owner also kill and suspend actors, not only look at them.", live=True
    )
    http: AdminHttpSettings = _section(
        AdminHttpSettings, "Metrics and the admin API over HTTP, on a port of their own."
    )


@attrs.frozen
class Settings:
    """A whole node, as one value."""

    node: NodeSettings = _section(NodeSettings, "The node itself.")
    logging: LoggingSettings = _section(LoggingSettings, "What is logged, and how it looks.")
    gateway: GatewaySettings = _section(GatewaySettings, "The one port that serves the page, health and WebSocket.")
    quic: QuicSettings = _section(QuicSettings, "Sound as QUIC datagrams, also for browsers (WebTransport).")
    auth: AuthSettings = _section(AuthSettings, "Who may come in.")
    realtime: RealtimeSettings = _section(RealtimeSettings, "Topics and channels.")
    admin: AdminSettings = _section(AdminSettings, "The local socket that `wsactors top` reads.")
    sessions: Mapping[str, SessionSettings] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata={"doc": "Sessions that are there from the start, one table each: [sessions.NAME]."},
        validator=_each_name_valid,
    )
