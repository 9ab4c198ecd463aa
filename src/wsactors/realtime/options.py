"""What topics are like: who serves them, how much of their past is kept, what becomes of slow readers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

import attrs

SlowPolicy = Literal["disconnect", "drop_oldest", "latest"]

PRIVATE_PREFIX: Final = "private:"
"""Topics whose names begin so are private, whatever the configuration says of them."""


@attrs.frozen
class TopicOptions:
    """Topics whose names match ``match``."""

    match: str = "*"
    """A topic's name; ``*`` at the end stands for anything, also nothing."""
    channel: str = "wsactors.realtime.channel:Channel"
    """The channel class, as ``module:Class``."""
    private: bool = False
    """Whether only those may join whom the policy allows by name: what no rule allows is refused. Topics whose names begin with
    ``private:`` are private anyway."""
    history: int = 100
    """Publications kept for those who come back; 0 keeps none."""
    history_seconds: float = 300.0
    slow: SlowPolicy = "disconnect"
    """What happens to a reader whose buffer is full: it is disconnected and may resume, loses the oldest, or gets only the
    newest publication of each event."""
    presence: bool = True
    presence_interval: float = 0.2
    """Seconds over which changes of presence are gathered into one diff."""
    presence_bytes: int = 4096
    """Most bytes of one member's metadata, an estimate."""
    max_members: int = 100_000
    """Channels on one node."""
    linger: float = 60.0
    """Seconds that a topic without channels is kept; its history lasts as long at least."""

    def matches(self, topic: str) -> bool:
        """Whether these options are for ``topic``: ``private:NAME`` is like NAME, unless options are for ``private:`` itself."""
        if not self.match.startswith(PRIVATE_PREFIX):
            topic = topic.removeprefix(PRIVATE_PREFIX)
        if self.match.endswith("*"):
            return topic.startswith(self.match[:-1])
        return topic == self.match


@attrs.frozen
class RealtimeOptions:
    """Topics and channels of one node."""

    topics: tuple[TopicOptions, ...] = (TopicOptions(),)
    """The first that matches counts. A topic that none matches cannot be joined."""
    max_topics: int = 100_000
    max_channels: int = 200_000
    relay_partitions: int = 4
    topic_length: int = 255
    """Most bytes of a topic's name: what fits every protocol's header."""
    history_bytes: int = 256 * 1024 * 1024
    """What all topics of the node may keep of their past, an estimate; the oldest publication of any gives way."""
    payload_bytes: int = 3_000_000
    """Most bytes of one publication, an estimate."""
    join_seconds: float = 5.0
    """In which a join must be decided."""

    def for_topic(self, topic: str) -> TopicOptions | None:
        """The options of ``topic``; None when there can be no such topic."""
        if not is_topic(topic, self.topic_length):
            return None
        options = next((options for options in self.topics if options.matches(topic)), None)
        if options is not None and not options.private and topic.startswith(PRIVATE_PREFIX):
            return _made_private(options)
        return options

    def private_name(self, topic: str) -> str:
        """The private topic that belongs to ``topic``: itself if it is one, else ``private:`` and its name."""
        options = self.for_topic(topic)
        return topic if options is not None and options.private else PRIVATE_PREFIX + topic


@lru_cache(maxsize=256)
def _made_private(options: TopicOptions) -> TopicOptions:
    return attrs.evolve(options, private=True)


EVENT_LENGTH = 255
"""Most bytes of an event's name: what fits every protocol's header."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def is_topic(name: str, most: int = 255) -> bool:
    """Whether ``name`` can be a topic's: 1 to ``most`` bytes of UTF-8, no control characters.

    >>> is_topic("room:42"), is_topic(""), is_topic("a\\nb")
    (True, False, False)
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= most and _UNPRINTABLE.search(name) is None


def is_event(name: object) -> bool:
    """Whether ``name`` can be an event's: text of at most 255 bytes of UTF-8.

    >>> is_event("chat"), is_event("x" * 256), is_event(7)
    (True, False, False)
    """
    try:
        return isinstance(name, str) and len(name.encode()) <= EVENT_LENGTH
    except UnicodeEncodeError:
        return False
