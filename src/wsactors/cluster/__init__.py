"""Many nodes that act as one: the backbone they talk over and the relay that fans messages out. One node needs neither a server
nor a second implementation: it has the in-process backbone."""

from wsactors.cluster.backbone import Backbone, Handler, LocalBackbone, LocalExchange, NodeDown, NodeUp
from wsactors.cluster.deliveries import Item
from wsactors.cluster.placement import jump_hash
from wsactors.cluster.receivers import Receiver
from wsactors.cluster.relay import Relay, RelayPartition
from wsactors.cluster.shortcut import CHANGES, Shortcut

__all__ = [
    "CHANGES",
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
    "Shortcut",
    "jump_hash",
]
