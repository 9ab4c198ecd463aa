"""The relay: a message for many goes once to each node that has receivers, and there once to each partition.

After Discord's Manifold: the sender's work grows with the number of nodes, not of receivers. On each node the receivers of a
group are divided among a few partitions by consistent hashing; a partition is an actor that walks its receivers in batches, so
that a group of 30,000 holds up neither its publisher nor the loop. A receiver is a sink: each message is encoded once per
format and the same bytes are offered to every receiver of that format.

Order: what one publisher publishes to a group arrives in that order, and a receiver gets exactly what was published after its
`Relay.admit`. From `Relay.remove` on it gets nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Runtime
from wsactors.actors.log import log
from wsactors.cluster.backbone import Backbone, NodeDown, NodeUp
from wsactors.cluster.placement import jump_hash

PARTITIONS = 4
BREATH = 256
"""Receivers served between two looks at the rest of the node: about a millisecond."""
LANE = "relay"

Offer = Callable[[Any, object], bool]


class Item(Protocol):
    """Something that is relayed."""

    @property
    def key(self) -> object:
        """How it waits in a sink: see `wsactors.realtime.sinks`."""
        ...

    @property
    def exclude(self) -> object:
        """The member that does not get it; None: everybody does."""
        ...

    def encode(self, wire_format: Any, /) -> bytes | None:
        """The bytes for receivers of ``wire_format``; None if it is not for such."""
        ...


def _refuse(_data: bytes, _key: object = None) -> bool:
    return False


class Receiver:
    """One member of a group.

    Args:
        member: who it is, for `Item.exclude`.
        wire_format: what `Item.encode` is given; receivers with the same one share the bytes.
        offer: where the bytes go. Must not raise or wait.
    """

    __slots__ = ("format", "member", "offer", "partition", "since")

    def __init__(self, member: Hashable, wire_format: Hashable, offer: Offer) -> None:
        self.member = member
        self.format = wire_format
        self.offer = offer
        self.partition = -1
        self.since = 0

    def __repr__(self) -> str:
        return f"<Receiver {self.member}>"


class _Bucket:
    """The receivers of one group, partition and format, in the order they came."""

    __slots__ = ("_snapshot", "by_member", "since")

    def __init__(self) -> None:
        self.by_member: dict[Hashable, Receiver] = {}
        self.since = 0
        """When the newest of them came. A delivery that is older is not for all of them."""
        self._snapshot: tuple[Receiver, ...] | None = None

    def add(self, receiver: Receiver) -> None:
        self.by_member[receiver.member] = receiver
        self.since = max(self.since, receiver.since)
        self._snapshot = None

    def remove(self, receiver: Receiver) -> None:
        if self.by_member.get(receiver.member) is receiver:
            del self.by_member[receiver.member]
            self._snapshot = None

    def receivers(self, number: int, exclude: object) -> tuple[Receiver, ...]:
        """Who gets delivery ``number``: almost always everybody, a tuple that is made once."""
        if self._snapshot is None:
            self._snapshot = tuple(self.by_member.values())
        if number <= self.since:
            return tuple(each for each in self._snapshot if each.since < number and each.member != exclude)
        if exclude is not None and exclude in self.by_member:
            return tuple(each for each in self._snapshot if each.member != exclude)
        return self._snapshot


_Groups = dict[str, dict[Hashable, _Bucket]]


@attrs.frozen
class _Publish:
    """Between nodes."""

    group: str
    item: Item


@attrs.frozen
class _Deliver:
    """To a partition. ``number`` counts the node's deliveries."""

    group: str
    item: Item
    number: int


@attrs.frozen
class _Interest:
    """Between nodes: whether this node has receivers of ``group``."""

    group: str
    wanted: bool


class Relay:
    """One node's relay. Its partitions are actors (`RelayPartition`), to be started under a supervisor with `partition_args`.

    Args:
        node: where the partitions live.
        backbone: the way to the other nodes.
        partitions: how many there are.
    """

    def __init__(self, node: Runtime, backbone: Backbone, partitions: int = PARTITIONS) -> None:
        self._node = node
        self._backbone = backbone
        self._groups: tuple[_Groups, ...] = tuple({} for _ in range(partitions))
        self._names = tuple(f"relay:{number}" for number in range(partitions))
        self._counts: dict[str, int] = {}
        self._elsewhere: dict[str, dict[str, None]] = {}
        self._number = 0
        self.refused = 0
        """Messages that a partition's full mailbox refused."""
        backbone.listen(LANE, self._from_node)
        backbone.watch(self._members_changed)
        for member in backbone.members():
            if member != backbone.name:
                backbone.send(member, LANE, "tell me")

    def __repr__(self) -> str:
        return f"<Relay of {self._backbone.name}: {len(self._counts)} groups, {sum(self._counts.values())} receivers>"

    def partition_args(self) -> list[tuple[str, tuple[_Groups, ...], int]]:
        """For each partition its registered name, and the arguments of its ``init``."""
        return [(name, self._groups, number) for number, name in enumerate(self._names)]

    def count(self, group: str) -> int:
        """How many receivers this node has in ``group``."""
        return self._counts.get(group, 0)

    def admit(self, group: str, receiver: Receiver) -> None:
        """Let ``receiver`` have what is published from now on. A former one of the same member and format is replaced."""
        if receiver.partition >= 0:
            return  # it is in already: its topic was started again
        key = getattr(receiver.member, "serial", None)
        receiver.partition = jump_hash(key if isinstance(key, int) else hash(receiver.member), len(self._groups))
        receiver.since = self._number
        bucket = self._groups[receiver.partition].setdefault(group, {}).setdefault(receiver.format, _Bucket())
        former = bucket.by_member.get(receiver.member)
        if former is not None:
            former.offer = _refuse
        bucket.add(receiver)
        if former is None:
            count = self._counts[group] = self._counts.get(group, 0) + 1
            if count == 1:
                self._announce(group, wanted=True)

    def remove(self, group: str, receiver: Receiver) -> None:
        """Let ``receiver`` have nothing more. May be called again."""
        if receiver.partition < 0 or receiver.offer is _refuse:
            return
        receiver.offer = _refuse
        groups = self._groups[receiver.partition]
        buckets = groups[group]
        bucket = buckets[receiver.format]
        bucket.remove(receiver)
        if not bucket.by_member:
            del buckets[receiver.format]
            if not buckets:
                del groups[group]
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]
            self._announce(group, wanted=False)

    def publish(self, group: str, item: Item) -> None:
        """Give ``item`` to all receivers of ``group``, on every node. Never waits."""
        for node in tuple(self._elsewhere.get(group, ())):
            self._backbone.send(node, LANE, _Publish(group, item))
        self._deliver(group, item)

    def _deliver(self, group: str, item: Item) -> None:
        self._number += 1
        deliver = _Deliver(group, item, self._number)
        for number, groups in enumerate(self._groups):
            if group in groups and not self._node.cast(self._names[number], deliver):
                self.refused += 1

    # -- between nodes --

    def _announce(self, group: str, *, wanted: bool) -> None:
        for member in self._backbone.members():
            if member != self._backbone.name:
                self._backbone.send(member, LANE, _Interest(group, wanted))

    def _from_node(self, sender: str, frame: object) -> None:
        match frame:
            case _Publish(group, item):
                self._deliver(group, item)
            case _Interest(group, True):
                self._elsewhere.setdefault(group, {})[sender] = None
            case _Interest(group, False):
                self._forget(group, sender)
            case "tell me":
                for group in self._counts:
                    self._backbone.send(sender, LANE, _Interest(group, wanted=True))

    def _members_changed(self, change: NodeUp | NodeDown) -> None:
        match change:
            case NodeUp(node):
                for group in self._counts:
                    self._backbone.send(node, LANE, _Interest(group, wanted=True))
            case NodeDown(node):
                for group in tuple(self._elsewhere):
                    self._forget(group, node)

    def _forget(self, group: str, node: str) -> None:
        nodes = self._elsewhere.get(group)
        if nodes is not None:
            nodes.pop(node, None)
            if not nodes:
                del self._elsewhere[group]


class RelayPartition(Actor):
    """Walks the receivers of one partition. They are the relay's, so a partition that was restarted goes on with them."""

    def init(self, groups: tuple[_Groups, ...], number: int) -> None:
        """``groups`` and ``number`` as `Relay.partition_args` says."""
        self._groups = groups[number]

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case _Deliver(group, item, number):
                await self._deliver(group, item, number)
            case _:
                return UNHANDLED
        return None

    async def _deliver(self, group: str, item: Item, number: int) -> None:
        key, exclude = item.key, item.exclude
        served = 0
        for wire_format, bucket in tuple(self._groups.get(group, {}).items()):
            data = _encoded(item, wire_format)
            if data is None:
                continue
            receivers = bucket.receivers(number, exclude)
            for start in range(0, len(receivers), BREATH):
                if served >= BREATH:
                    served = 0
                    await trio.lowlevel.checkpoint()
                batch = receivers[start : start + BREATH]
                served += len(batch)
                for receiver in batch:
                    receiver.offer(data, key)


def _encoded(item: Item, wire_format: Hashable) -> bytes | None:
    try:
        return item.encode(wire_format)
    except Exception as error:  # a codec's fault must not end the partition: the other formats get theirs
        log(__name__, "error", "item_not_encoded", format=type(wire_format).__name__, error=repr(error))
        return None
