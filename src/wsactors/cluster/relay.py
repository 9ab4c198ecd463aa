"""The relay: a message for many goes once to each node that has receivers, and there once to each partition.

After Discord's Manifold: the sender's work grows with the number of nodes, not of receivers. On each node the receivers of a
group are divided among a few partitions by consistent hashing; a partition is an actor that walks its receivers in batches, so
that a group of 30,000 holds up neither its publisher nor the loop. A receiver is a sink: each message is encoded once per
format and the same bytes are offered to every receiver of that format.

Order: what one publisher publishes to a group arrives in that order, and a receiver gets exactly what was published after its
`Relay.admit`. From `Relay.remove` on it gets nothing more.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Runtime
from wsactors.actors.log import log
from wsactors.cluster.backbone import Backbone, NodeDown, NodeUp
from wsactors.cluster.placement import jump_hash
from wsactors.cluster.receivers import Bucket, Lanes, Receiver, refuse
from wsactors.cluster.shortcut import CHANGES, send_to_each

PARTITIONS = 4
BREATH = 64
"""Receivers served between two looks at the rest of the node. All partitions may be at it: together they take a millisecond or
two of each round of the loop, of which all actors' turns get half a one. With 256, a node that was busy with broadcasts let
nobody in for seconds; what the looks cost is a fiftieth of a message."""
LANE = "relay"
WAITING = 2_000
"""Deliveries that may wait for one partition when something is still taken for it; its mailbox holds five times as many."""
WAITING_BYTES = 64 * 1024 * 1024
"""Bytes of them, an estimate."""


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


_Groups = dict[str, dict[Hashable, Bucket]]


@attrs.frozen
class _Publish:
    """Between nodes."""

    group: str
    item: Item
    size: int = 0


@attrs.frozen
class _Deliver:
    """To a partition. ``number`` counts the node's deliveries."""

    group: str
    item: Item
    number: int
    size: int


class _Load:
    """What waits for one partition, and what has gone out by shortcuts, of which no sink knows."""

    __slots__ = ("count", "sent", "size")

    def __init__(self) -> None:
        self.count = self.size = 0
        self.sent: dict[str, tuple[int, int]] = {}
        """Messages and bytes, by the protocol of their format."""

    def add_sent(self, wire_format: Hashable, count: int, size: int) -> None:
        protocol: str = getattr(wire_format, "protocol", "other")
        before, bytes_before = self.sent.get(protocol, (0, 0))
        self.sent[protocol] = before + count, bytes_before + size


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
        self._loads = tuple(_Load() for _ in range(partitions))
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

    def partition_args(self) -> list[tuple[str, _Groups, _Load]]:
        """For each partition its registered name, and the arguments of its ``init``."""
        return list(zip(self._names, self._groups, self._loads, strict=True))

    def sent(self) -> dict[str, tuple[int, int]]:
        """How many messages, and bytes, went out by shortcuts, by the ``protocol`` that formats name."""
        found: dict[str, tuple[int, int]] = {}
        for load in self._loads:
            for protocol, (count, size) in load.sent.items():
                before, bytes_before = found.get(protocol, (0, 0))
                found[protocol] = before + count, bytes_before + size
        return found

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
        bucket = self._groups[receiver.partition].setdefault(group, {}).setdefault(receiver.format, Bucket())
        former = bucket.by_member.get(receiver.member)
        if former is not None:
            former.offer = refuse
        bucket.add(receiver)
        if former is None:
            count = self._counts[group] = self._counts.get(group, 0) + 1
            if count == 1:
                self._announce(group, wanted=True)

    def remove(self, group: str, receiver: Receiver) -> None:
        """Let ``receiver`` have nothing more. May be called again."""
        if receiver.partition < 0 or receiver.offer is refuse:
            return
        receiver.offer = refuse
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

    def has_room(self, group: str) -> bool:
        """Whether this node keeps up with what is published to ``group``. If not, publish no more: what a partition's full
        mailbox refuses is missing in the middle of what its receivers get, and nobody tells them."""
        return not any(
            group in groups and (load.count >= WAITING or load.size >= WAITING_BYTES)
            for groups, load in zip(self._groups, self._loads, strict=True)
        )

    def publish(self, group: str, item: Item, size: int = 0) -> None:
        """Give ``item``, of about ``size`` bytes, to all receivers of ``group``, on every node. Never waits."""
        for node in tuple(self._elsewhere.get(group, ())):
            self._backbone.send(node, LANE, _Publish(group, item, size))
        self._deliver(group, item, size)

    def _deliver(self, group: str, item: Item, size: int) -> None:
        self._number += 1
        deliver = _Deliver(group, item, self._number, size)
        for name, groups, load in zip(self._names, self._groups, self._loads, strict=True):
            if group not in groups:
                continue
            if self._node.cast(name, deliver):
                load.count += 1
                load.size += size
            else:
                self.refused += 1

    # -- between nodes --

    def _announce(self, group: str, *, wanted: bool) -> None:
        for member in self._backbone.members():
            if member != self._backbone.name:
                self._backbone.send(member, LANE, _Interest(group, wanted))

    def _from_node(self, sender: str, frame: object) -> None:
        match frame:
            case _Publish(group, item, size):
                self._deliver(group, item, size)
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

    def init(self, groups: _Groups, load: _Load) -> None:
        """``groups`` and ``load`` as `Relay.partition_args` says."""
        self._groups = groups
        self._load = load
        load.count = load.size = 0  # what waited for an earlier one has died with it

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case _Deliver(group, item, number, size):
                self._load.count -= 1
                self._load.size -= size
                await self._deliver(group, item, number)
            case _:
                return UNHANDLED
        return None

    async def _deliver(self, group: str, item: Item, number: int) -> None:
        self._served = 0
        for wire_format, bucket in tuple(self._groups.get(group, {}).items()):
            data = _encoded(item, wire_format)
            if data is None:
                continue
            lanes = bucket.lanes(number, item.exclude)
            if type(data) is bytes:
                count = await self._send(bucket, lanes, data, item.key)
                self._load.add_sent(wire_format, count, count * len(data))
            else:  # it says more than its bytes, to sinks that look
                await self._offer(lanes.direct, data, item.key)
            await self._offer(lanes.offered, data, item.key)

    async def _send(self, bucket: Bucket, lanes: Lanes, data: bytes, key: object) -> int:
        """Take the shortcuts; how many. As soon as one may have ended, the rest is offered."""
        removals, place, most = bucket.removals, 0, len(lanes.sockets)
        direct = 0
        while place < most:
            await self._breathe()
            if bucket.removals != removals or lanes.changes != CHANGES.count:
                await self._offer(lanes.direct[place:], data, key)
                break
            reached = min(place + BREATH - self._served, most)
            while place < reached and bucket.removals == removals:
                count, sent = send_to_each(lanes.sockets[place:reached], data)
                if lanes.witnesses:
                    lanes.tell(data, place, place + count)
                self._served += count
                place += count
                direct += count
                if place < reached:
                    changes = CHANGES.count
                    _take_over(lanes.direct[place], data, sent, key)
                    if lanes.changes == changes:
                        # It was open until now, and that has changed nothing for those that follow.
                        lanes = attrs.evolve(lanes, changes=CHANGES.count)
                    self._served += 1
                    place += 1
        return direct

    async def _offer(self, receivers: Sequence[Receiver], data: bytes, key: object) -> None:
        place = 0
        while place < len(receivers):
            await self._breathe()
            batch = receivers[place : place + BREATH - self._served]
            for receiver in batch:
                receiver.offer(data, key)
            self._served += len(batch)
            place += len(batch)

    async def _breathe(self) -> None:
        """Let others run, every so many receivers."""
        if self._served >= BREATH:
            self._served = 0
            await trio.lowlevel.checkpoint()


def _take_over(receiver: Receiver, data: bytes, sent: int, key: object) -> None:
    """The kernel has not taken all of ``data`` for ``receiver``: its sink knows what to do."""
    if sent and receiver.sink is not None:
        receiver.sink.sent_partly(data, sent, key)
    else:
        receiver.offer(data, key)


def _encoded(item: Item, wire_format: Hashable) -> bytes | None:
    try:
        return item.encode(wire_format)
    except Exception as error:  # a codec's fault must not end the partition: the other formats get theirs
        log(__name__, "error", "item_not_encoded", format=type(wire_format).__name__, error=repr(error))
        return None
