"""What the services of a node share: its settings, how far it is, and where it can be reached.

A supervisor file cannot carry a node's configuration, so the actors of :mod:`wsactors.node.services` ask for it here, by the
node they live on. A service that was restarted finds the same context.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from wsactors.gateway import Address
from wsactors.gateway.webtransport_pages import Offer
from wsactors.node.settings import Settings

__all__ = ["Health", "NoContext", "NodeContext", "context_of", "forget", "provide"]

Phase = Literal["starting", "ready", "draining"]


class NoContext(Exception):
    """A service of a configured node was started on a node that ``wsactors run`` did not boot; start its parts yourself."""


@attrs.define
class Health:
    """How far the node is. ``/health`` answers in every phase, ``/ready`` only in one."""

    phase: Phase = "starting"

    def is_ready(self) -> bool:
        """Whether every tree is up and the node is not on its way out."""
        return self.phase == "ready"


@attrs.define
class NodeContext:
    """One node's context."""

    settings: Settings
    """The live parts of it change on SIGHUP; read them when they are used."""
    health: Health = attrs.field(factory=Health)
    gateway: Address | None = None
    """Where the gateway can be reached, once it is open."""
    admin: Path | None = None
    """Where the admin socket lies."""
    admin_http: Address | None = None
    """Where metrics and the admin API can be reached, once that port is open."""
    quic: Offer | None = None
    """Where the node can be reached by QUIC, once that port is open."""
    reloads: dict[str, Callable[[], object]] = attrs.field(factory=dict)
    """What else is read again on SIGHUP, by a name for it."""
    booted: float = 0.0
    """When the node was started, in seconds of trio's clock."""

    def addresses(self) -> dict[str, Any]:
        """Where the node can be reached, for programs: what ``--print-addresses`` prints."""
        found: dict[str, Any] = {"node": self.settings.node.name}
        if self.gateway is not None:
            base = self.gateway.urls[0].rstrip("/")
            found |= {
                "gateway": base,
                "websocket": f"ws{base.removeprefix('http')}/ws",
                "host": self.gateway.host,
                "port": self.gateway.port,
                "urls": list(self.gateway.urls),
            }
        if self.settings.gateway.enabled and self.settings.gateway.unix_socket is not None:
            found["unix_socket"] = str(self.settings.gateway.unix_socket)
        if self.admin is not None:
            found["admin"] = str(self.admin)
        if self.admin_http is not None:
            found["admin_http"] = self.admin_http.urls[0].rstrip("/")
        if self.quic is not None:
            hashes = [each.hex() for each in self.quic.hashes()]
            found["quic"] = {
                "host": self.quic.host,
                "port": self.quic.port,
                "url": self.quic.url(self.quic.host),
                "hash": hashes[0] if hashes else "",
            }
        return found

    def greetings(self) -> list[str]:
        """Where the node can be reached, for people."""
        if self.gateway is None:
            return [f"Node {self.settings.node.name} is up."]
        wanted, got = self.settings.gateway.port, self.gateway.port
        lines = [] if wanted in {0, got} else [f"Port {wanted} is busy; this is the next free one: {got}"]
        lines += [f"Listen:  {url}  (the page)" for url in self.gateway.urls]
        sessions = self.settings.sessions
        base = self.gateway.urls[0]
        lines += [f"Player:  {base}listen/{name}.ogg" for name, each in sessions.items() if each.kind == "battle"]
        if self.admin_http is not None:
            lines.append(f"Metrics: {self.admin_http.urls[0]}metrics")
        if self.gateway.secure and self.settings.gateway.tls.cert is None:
            lines.append("The certificate is one for development: the browser will ask once whether you trust it.")
        return [*lines, "Ctrl-C stops it."]


# One process may run several nodes, and names of live nodes are unique within it.
_contexts: Final[dict[str, NodeContext]] = {}


def provide(node_name: str, context: NodeContext) -> None:
    """Give the services of the node of that name their context."""
    _contexts[node_name] = context


def context_of(node_name: str) -> NodeContext:
    """The context of a node.

    Raises:
        NoContext: the node was not booted from a configuration.
    """
    try:
        return _contexts[node_name]
    except KeyError:
        raise NoContext(f"node {node_name!r} was not booted from a configuration") from None


def forget(node_name: str) -> None:
    """Drop the context of a node that has stopped."""
    _contexts.pop(node_name, None)
