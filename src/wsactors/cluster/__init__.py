"""Many nodes that act as one: the backbone they talk over and the relay that fans messages out. One node needs neither a server
nor a second implementation: it has the in-process backbone."""

from wsactors.cluster.backbone import Backbone, Handler, LocalBackbone, LocalExchange, NodeDown, NodeUp
from wsactors.cluster.placement import jump_hash
from wsactors.cluster.relay import Item, Receiver, Relay, RelayPartition

__all__ = [
    "Backbone",
    "Handler",
    "Item",
    "LocalBackbone",
    "LocalExchange",
    "NodeDown",
    "NodeUp",
    "Receiver",
    "Relay",
    "RelayPartition",
    "jump_hash",
]
