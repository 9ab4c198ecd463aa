"""The relay: a message for many goes once to each node that has receivers, and there once to each partition.

After Discord's Manifold: the sender's work grows with the number of nodes, not of receivers. On each node the receivers of a
group are divided among a few partitions by consistent hashing; a partition is an actor that walks its receivers in batches, so
that a group of 30,000 holds up neither its publisher nor the loop. A receiver is a sink: each message is encoded once per
format and the same bytes are offered to every receiver of that format.

Order: what one publisher publishes to a group arrives in that order, and a receiver gets exactly what was published after its
`Relay.admit`. From `Relay.remove` on it gets nothing more.

A partition that crashes is started again, and goes on with what waits. Of what was just being sent out nobody can say who has got
it: those whom it is for are handed to ``missed``, which ends their membership so that they come back and ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, Continue, Mailbox, Runtime
from wsactors.cluster.backbone import Backbone, NodeDown, NodeUp
from wsactors.cluster.deliveries import Deliver, Groups, Item, Load, Missed, encoded, give_up
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
"""Deliveries that may wait for one partition when something is still taken for it."""
MOST_WAITING = 5 * WAITING
"""Deliveries that wait at most, also of those who publish without asking whether there is room."""
WAITING_BYTES = 64 * 1024 * 1024
"""Bytes of them, an estimate."""


@attrs.frozen
class _Publish:
    """Between nodes."""

    group: str
    item: Item
    size: int = 0


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
        missed: what becomes of receivers that may not have got something.
    """

    def __init__(
        self,
        node: Runtime,
        backbone: Backbone,
        partitions: int = PARTITIONS,
        *,
        missed: Missed = lambda _group, _receiver: None,
    ) -> None:
        self._node = node
        self._backbone = backbone
        self._groups: tuple[Groups, ...] = tuple({} for _ in range(partitions))
        self._loads = tuple(Load(missed) for _ in range(partitions))
        self._names = tuple(f"relay:{number}" for number in range(partitions))
        self._counts: dict[str, int] = {}
        self._elsewhere: dict[str, dict[str, None]] = {}
        self._number = 0
        self.refused = 0
        """Messages for which there was no room at a partition."""
        backbone.listen(LANE, self._from_node)
        backbone.watch(self._members_changed)
        for member in backbone.members():
            if member != backbone.name:
                backbone.send(member, LANE, "tell me")

    def __repr__(self) -> str:
        return f"<Relay of {self._backbone.name}: {len(self._counts)} groups, {sum(self._counts.values())} receivers>"

    def partition_args(self) -> list[tuple[str, Groups, Load]]:
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
        buckets = groups.get(group, {})
        bucket = buckets.get(receiver.format)
        if bucket is None or bucket.by_member.get(receiver.member) is not receiver:
            return  # it was another relay's: the node's was started again
        bucket.remove(receiver)
        if not bucket.by_member:
            del buckets[receiver.format]
            if not buckets:
                del groups[group]
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]
            self._announce(group, wanted=False)

    def receivers(self) -> list[Receiver]:
        """All of this node."""
        buckets = (bucket for groups in self._groups for group in groups.values() for bucket in group.values())
        return [receiver for bucket in buckets for receiver in bucket.by_member.values()]

    def has_room(self, group: str) -> bool:
        """Whether this node keeps up with what is published to ``group``. If not, publish no more: those for whom there is no
        room at a partition lose their membership."""
        return not any(
            group in groups and (len(load.waiting) >= WAITING or load.size >= WAITING_BYTES)
            for groups, load in zip(self._groups, self._loads, strict=True)
        )

    def publish(self, group: str, item: Item, size: int = 0) -> None:
        """Give ``item``, of about ``size`` bytes, to all receivers of ``group``, on every node. Never waits."""
        for node in tuple(self._elsewhere.get(group, ())):
            self._backbone.send(node, LANE, _Publish(group, item, size))
        self._deliver(group, item, size)

    def _deliver(self, group: str, item: Item, size: int) -> None:
        self._number += 1
        deliver = Deliver(group, item, self._number, size)
        for name, groups, load in zip(self._names, self._groups, self._loads, strict=True):
            if group not in groups:
                continue
            if len(load.waiting) >= MOST_WAITING:
                self.refused += 1
                give_up(deliver, groups[group], load.missed, "full")
                continue
            load.waiting.append(deliver)
            load.size += size
            # While nobody is there, or as many calls to work wait as fit, none is needed.
            self._node.cast(name, deliver)

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

    mailbox = Mailbox(MOST_WAITING)

    def init(self, groups: Groups, load: Load) -> Continue | None:
        """``groups`` and ``load`` as `Relay.partition_args` says."""
        self._groups = groups
        self._load = load
        if load.begun:
            deliver = load.done()
            give_up(deliver, groups.get(deliver.group, {}), load.missed, "partition crashed")
        return Continue() if load.waiting else None

    async def handle_continue(self, message: Any) -> None:
        """What has waited for an earlier one, of which the calls to work have died with it."""
        for _ in range(len(self._load.waiting)):
            await self._serve()
            await trio.lowlevel.checkpoint()  # this is one turn, however much it is: nobody else would have his

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Deliver():
                await self._serve()
            case _:
                return UNHANDLED
        return None

    async def _serve(self) -> None:
        """Deliver what has waited longest. If `handle_continue` has done that already, there may be nothing."""
        load = self._load
        if load.waiting:
            deliver = load.waiting[0]
            load.begun = True
            await self._deliver(deliver.group, deliver.item, deliver.number)
            load.done()

    async def _deliver(self, group: str, item: Item, number: int) -> None:
        self._served = 0
        for wire_format, bucket in tuple(self._groups.get(group, {}).items()):
            data = encoded(item, wire_format)
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
