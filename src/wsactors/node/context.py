"""What the services of a node share: its settings, how far it is, and where it can be reached.

A supervisor file cannot carry a node's configuration, so the actors of :mod:`wsactors.node.services` ask for it here, by the
node they live on. A service that was restarted finds the same context.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

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
    addresses: dict[str, str] = attrs.field(factory=dict)
    """Where the node can be reached, by what is there: ``gateway``, ``admin``."""
    greetings: list[str] = attrs.field(factory=list)
    """What a person who started the node wants to read: the pages' addresses."""


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
