"""What many connections may ask together: all those of one address, and all clients of one topic. Pure: ``now`` is in seconds.

A limit of one connection holds nobody up who opens a thousand of them. These do: one address cannot take all the channels a node
may have, and what a crowd of publishers sends to one topic stays within what its members can be given.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from .limits import Bucket, Rate, Verdict

__all__ = ["MAX_KEYS", "Buckets", "SharedLimitOptions", "SharedLimits"]

MAX_KEYS: Final = 16_384
"""Buckets that are remembered, of addresses and of topics each."""


@attrs.frozen
class SharedLimitOptions:
    """What one address and one topic may ask, whatever the number of connections."""

    address_channels: int = 20_000
    """Channels at one time that one client address may have: a tenth of what a node may have."""
    address_messages: Rate = Rate(5_000.0, 25_000.0)
    """Messages of one client address."""
    topic_publications: Rate = Rate(2_000.0, 10_000.0)
    """Publications of clients on one topic."""


class Buckets:
    """A token bucket for each key.

    Of the keys only the last `MAX_KEYS` are remembered. What is forgotten was not used for longest, so it has most likely
    filled up again; to have another's forgotten, somebody had to use as many keys, each of which costs its share elsewhere.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, key: str, now: float) -> Bucket:
        """The bucket of ``key``."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._rate, now)
            if len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)


class SharedLimits:
    """The limits of a node's addresses and topics.

    >>> limits = SharedLimits(SharedLimitOptions(address_channels=1))
    >>> limits.enter("192.0.2.7"), limits.enter("192.0.2.7"), limits.enter("192.0.2.8"), limits.enter("")
    (True, False, True, True)
    """

    def __init__(self, options: SharedLimitOptions) -> None:
        self.options = options
        self._channels: dict[str, int] = {}
        self._addresses = Buckets(options.address_messages)
        self._topics = Buckets(options.topic_publications)

    def enter(self, address: str) -> bool:
        """Count one more channel of ``address``; False, and not counted, when that is one too many. Nobody knows who "" is."""
        if not address:
            return True
        channels = self._channels.get(address, 0)
        if channels >= self.options.address_channels:
            return False
        self._channels[address] = channels + 1
        return True

    def leave(self, address: str) -> None:
        """Take back one `enter` that was granted."""
        if address:
            channels = self._channels[address] - 1
            if channels:
                self._channels[address] = channels
            else:
                del self._channels[address]

    @property
    def addresses(self) -> int:
        """Addresses that have channels."""
        return len(self._channels)

    def buckets(self, address: str, topic: str | None, now: float) -> list[Bucket]:
        """Those that a message has to pay. ``topic``: where it is published, if it is."""
        found = [self._addresses.of(address, now)] if address else []
        if topic is not None:
            found.append(self._topics.of(topic, now))
        return found

    def take(self, address: str, topic: str, now: float) -> Verdict:
        """One message to be published, of somebody who has no connection that could be slowed down."""
        buckets = self.buckets(address, topic, now)
        for bucket in buckets:
            verdict = bucket.look(now)
            if not verdict.taken:
                return verdict
        for bucket in buckets:
            bucket.pay()
        return Verdict()

    def words(self, address: str, topic: str | None, now: float) -> str:
        """Who is asked to wait, for people, when a message was refused."""
        if topic is not None and not self._topics.of(topic, now).look(now).taken:
            return "Too much is published on this topic by all its members together"
        if address and not self._addresses.of(address, now).look(now).taken:
            return "Too much comes from your address, of all its connections together"
        return "You send too fast"
