"""What carries frames between the nodes of a cluster, and the implementation inside one process.

A backbone knows its members and sends a frame to one of them, in order per sender, at most once. Whoever uses it names a lane
and registers one handler for it. Nothing here waits: a frame that cannot be taken is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs

from wsactors.actors.log import log

Handler: TypeAlias = Callable[[str, object], None]
"""Gets the sender's node name and the frame. Called on the loop; must not wait."""


@attrs.frozen
class NodeUp:
    """A node has become a member."""

    node: str


@attrs.frozen
class NodeDown:
    """A node is no longer a member; what it had registered is void."""

    node: str


class Backbone(Protocol):
    """One node's connection to the others."""

    @property
    def name(self) -> str:
        """This node's name in the cluster."""
        ...

    def members(self) -> tuple[str, ...]:
        """The nodes that are up, this one among them."""
        ...

    def send(self, node: str, lane: str, frame: object) -> bool:
        """Send ``frame`` to ``node``; False when it is not a member. Never waits, never raises."""
        ...

    def listen(self, lane: str, handler: Handler) -> None:
        """Have ``handler`` called for every frame on ``lane``. A lane has one handler: a later one replaces it."""
        ...

    def watch(self, watcher: Callable[[NodeUp | NodeDown], None]) -> None:
        """Have ``watcher`` told of every change of the members from now on."""
        ...

    def leave(self) -> None:
        """Stop being a member. May be called again."""
        ...


class LocalExchange:
    """Where the in-process backbones of several nodes meet. A node alone has one to itself."""

    def __init__(self) -> None:
        self._members: dict[str, LocalBackbone] = {}

    def join(self, name: str) -> LocalBackbone:
        """A backbone for the node ``name``. Raises `ValueError` when there is a member of that name."""
        if name in self._members:
            raise ValueError(f"there is already a node named {name!r} on this exchange: give each node its own name")
        backbone = LocalBackbone(name, self._members)
        self._members[name] = backbone
        backbone.tell_others(NodeUp(name))
        return backbone


class LocalBackbone:
    """The in-process `Backbone`. Frames are passed by reference, at once."""

    def __init__(self, name: str, members: dict[str, LocalBackbone]) -> None:
        self._name = name
        self._members = members
        self._handlers: dict[str, Handler] = {}
        self._watchers: list[Callable[[NodeUp | NodeDown], None]] = []

    def __repr__(self) -> str:
        return f"<LocalBackbone {self._name} of {len(self._members)}>"

    @property
    def name(self) -> str:
        """See `Backbone.name`."""
        return self._name

    def members(self) -> tuple[str, ...]:
        """See `Backbone.members`."""
        return tuple(self._members)

    def send(self, node: str, lane: str, frame: object) -> bool:
        """See `Backbone.send`."""
        member = self._members.get(node)
        handler = None if member is None else member._handlers.get(lane)
        if handler is None or self._members.get(self._name) is not self:
            return False
        try:
            handler(self._name, frame)
        except Exception as error:  # a receiver's fault must not reach the sender
            log(__name__, "error", "frame_handler_failed", node=node, lane=lane, error=repr(error))
        return True

    def listen(self, lane: str, handler: Handler) -> None:
        """See `Backbone.listen`."""
        self._handlers[lane] = handler

    def watch(self, watcher: Callable[[NodeUp | NodeDown], None]) -> None:
        """See `Backbone.watch`."""
        self._watchers.append(watcher)

    def leave(self) -> None:
        """See `Backbone.leave`."""
        if self._members.get(self._name) is self:
            del self._members[self._name]
            self.tell_others(NodeDown(self._name))

    def tell_others(self, change: NodeUp | NodeDown) -> None:
        """Tell the watchers of all other members."""
        for member in tuple(self._members.values()):
            if member is not self:
                for watcher in tuple(member._watchers):
                    watcher(change)
