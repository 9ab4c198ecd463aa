"""Who receives what is published to a group on one node: one bucket per partition and format."""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from wsactors.cluster.shortcut import CHANGES, Shortcut

Offer = Callable[[Any, object], bool]


def refuse(_data: object, _key: object = None) -> bool:
    """The ``offer`` of a receiver that has been removed."""
    return False


class Receiver:
    """One member of a group.

    Args:
        member: who it is, for `wsactors.cluster.deliveries.Item.exclude`.
        wire_format: what `wsactors.cluster.deliveries.Item.encode` is given; receivers with the same one share the bytes.
        offer: where the bytes go. Must not raise or wait.
        sink: what ``offer`` belongs to, if it may have a shortcut.
        missed: called when it may not have got something; None: whoever has the relay knows what to do.
    """

    __slots__ = ("format", "member", "missed", "offer", "partition", "place", "since", "sink")

    def __init__(
        self,
        member: Hashable,
        wire_format: Hashable,
        offer: Offer,
        sink: object = None,
        *,
        missed: Callable[[], object] | None = None,
    ) -> None:
        self.member = member
        self.format = wire_format
        self.offer = offer
        self.missed = missed
        self.sink: Shortcut | None = sink if isinstance(sink, Shortcut) else None
        self.partition = -1
        self.place = -1
        """Among those that have a shortcut; -1: it has none."""
        self.since = 0

    def __repr__(self) -> str:
        return f"<Receiver {self.member}>"


@attrs.frozen
class Lanes:
    """All receivers of a bucket, as they were when `CHANGES` had counted so far."""

    sockets: tuple[socket.socket, ...]
    """The shortcuts; those with a witness come last."""
    witnesses: tuple[Callable[[bytes], object], ...]
    direct: tuple[Receiver, ...]
    """Whose they are."""
    offered: tuple[Receiver, ...]
    """Those that have none."""
    changes: int

    def without(self, place: int) -> Lanes:
        """Without the one at ``place``."""
        alone = len(self.sockets) - len(self.witnesses)
        witness = place - alone
        return attrs.evolve(
            self,
            sockets=self.sockets[:place] + self.sockets[place + 1 :],
            witnesses=self.witnesses if witness < 0 else self.witnesses[:witness] + self.witnesses[witness + 1 :],
            direct=self.direct[:place] + self.direct[place + 1 :],
        )

    def tell(self, data: bytes, start: int, end: int) -> None:
        """Tell the witnesses of those from ``start`` to before ``end``, who have just been sent it."""
        alone = len(self.sockets) - len(self.witnesses)
        for witness in self.witnesses[max(start - alone, 0) : max(end - alone, 0)]:
            witness(data)


class Bucket:
    """The receivers of one group, partition and format, in the order they came."""

    __slots__ = ("_lanes", "by_member", "removals", "since")

    def __init__(self) -> None:
        self.by_member: dict[Hashable, Receiver] = {}
        self.since = 0
        """When the newest of them came. A delivery that is older is not for all of them."""
        self.removals = 0
        """How often one has left."""
        self._lanes: Lanes | None = None

    def add(self, receiver: Receiver) -> None:
        """One more. It replaces a former one of the same member."""
        former = self.by_member.get(receiver.member)
        if former is not None:
            self.removals += 1
        self.by_member[receiver.member] = receiver
        self.since = max(self.since, receiver.since)
        self._lanes = None

    def remove(self, receiver: Receiver) -> None:
        """One less, if it was there."""
        if self.by_member.get(receiver.member) is receiver:
            del self.by_member[receiver.member]
            self.removals += 1
            self._lanes = None

    def lanes(self, number: int, exclude: object) -> Lanes:
        """Who gets delivery ``number``: almost always everybody, tuples that are made once."""
        lanes = self._lanes
        if lanes is None or lanes.changes != CHANGES.count:
            lanes = self._lanes = self._made()
        if number <= self.since:
            late = tuple(each for each in self.by_member.values() if each.since < number and each.member != exclude)
            return Lanes((), (), (), late, lanes.changes)
        excluded = None if exclude is None else self.by_member.get(exclude)
        if excluded is None:
            return lanes
        if excluded.place < 0:
            offered = tuple(each for each in lanes.offered if each is not excluded)
            return attrs.evolve(lanes, offered=offered)
        return lanes.without(excluded.place)

    def _made(self) -> Lanes:
        offered: list[Receiver] = []
        alone: list[tuple[socket.socket, Receiver]] = []
        witnessed: list[tuple[socket.socket, Receiver]] = []
        witnesses: list[Callable[[bytes], object]] = []
        seen: set[socket.socket] = set()
        for receiver in self.by_member.values():
            receiver.place = -1
            sock = receiver.sink.shortcut() if receiver.sink is not None else None
            if receiver.sink is None or sock is None or sock in seen:
                offered.append(receiver)  # twice in one walk, a socket could be full when it is met again
                continue
            seen.add(sock)
            witness = receiver.sink.witness()
            if witness is None:
                alone.append((sock, receiver))
            else:
                witnessed.append((sock, receiver))
                witnesses.append(witness)
        both = alone + witnessed
        for place, (_, receiver) in enumerate(both):
            receiver.place = place
        sockets, direct = tuple(sock for sock, _ in both), tuple(receiver for _, receiver in both)
        return Lanes(sockets, tuple(witnesses), direct, tuple(offered), CHANGES.count)
