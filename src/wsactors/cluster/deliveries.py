"""What waits for a partition of the relay. It outlives the partition: whoever takes its place goes on where it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from wsactors.actors.log import log
from wsactors.cluster.receivers import Bucket, Receiver


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


Groups: TypeAlias = dict[str, dict[Hashable, Bucket]]
"""The receivers of one partition, by group and format."""
Missed: TypeAlias = Callable[[str, Receiver], object]
"""Told the group, and a receiver that may not have got something that was for it. Must not raise or wait."""


@attrs.frozen
class Deliver:
    """To a partition. ``number`` counts the node's deliveries."""

    group: str
    item: Item
    number: int
    size: int


class Load:
    """What waits for one partition, and what has gone out by shortcuts, of which no sink knows.

    Args:
        missed: what becomes of receivers that may not have got something.
    """

    __slots__ = ("begun", "missed", "sent", "size", "waiting")

    def __init__(self, missed: Missed) -> None:
        self.missed = missed
        self.waiting: deque[Deliver] = deque()
        """The oldest first, which stays there until all have it. A partition's mailbox says only that there is one more."""
        self.begun = False
        """Whether some of its receivers may have the oldest."""
        self.size = 0
        """Bytes of what waits, an estimate."""
        self.sent: dict[str, tuple[int, int]] = {}
        """Messages and bytes, by the protocol of their format."""

    def add_sent(self, wire_format: Hashable, count: int, size: int) -> None:
        """``count`` more went out, of ``size`` bytes together."""
        protocol: str = getattr(wire_format, "protocol", "other")
        before, bytes_before = self.sent.get(protocol, (0, 0))
        self.sent[protocol] = before + count, bytes_before + size

    def done(self) -> Deliver:
        """The oldest is with everybody, or given up. Returns it."""
        self.begun = False
        deliver = self.waiting.popleft()
        self.size -= deliver.size
        return deliver


def encoded(item: Item, wire_format: Hashable) -> bytes | None:
    """``item`` for receivers of ``wire_format``; None: it is not for such, or cannot be."""
    try:
        return item.encode(wire_format)
    except Exception as error:  # a codec's fault must not end the partition: the other formats get theirs
        log(__name__, "error", "item_not_encoded", format=type(wire_format).__name__, error=repr(error))
        return None


def give_up(deliver: Deliver, buckets: Mapping[Hashable, Bucket], missed: Missed, why: str) -> None:
    """Tell ``missed`` of all in ``buckets`` whom ``deliver`` is for: nobody can say any more who has got it."""
    receivers = [
        receiver
        for wire_format, bucket in buckets.items()
        if encoded(deliver.item, wire_format) is not None
        for receiver in bucket.by_member.values()
        if receiver.since < deliver.number and receiver.member != deliver.item.exclude
    ]
    if receivers:
        log(__name__, "warning", "delivery_given_up", why=why, group=deliver.group, receivers=len(receivers))
    for receiver in receivers:
        missed(deliver.group, receiver)
