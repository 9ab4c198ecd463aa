"""How much one connection may ask: token buckets that warn, then slow down, then refuse. Pure: ``now`` is passed in, seconds.

A bucket goes below zero: what comes then is still taken, but the reader is told how long to leave the client unread, which
TCP tells the client. A client that can be slowed down never loses a message; only one that sends faster than its buckets
allow *and* is not slowed by its protocol (HTTP posts, many topics at once) comes to the point where messages are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, Literal, TypeVar

import attrs

__all__ = ["OK", "Bucket", "Coalescer", "ConnectionLimits", "LimitOptions", "MessageLimits", "Rate", "Verdict"]

T = TypeVar("T")
WARN_BELOW: Final = 0.25
"""Part of the burst that is left when a client is warned; it is warned again only after having had twice that."""


@attrs.frozen
class Rate:
    """A bucket's size and how fast it fills."""

    per_second: float = attrs.field(validator=attrs.validators.gt(0))
    burst: float = attrs.field(validator=attrs.validators.gt(0))
    """What a full bucket holds."""
    debt: float = attrs.field(default=attrs.Factory(lambda self: self.burst, takes_self=True))
    """How far below zero it may be when something is still taken."""


@attrs.frozen
class Verdict:
    """What becomes of one message."""

    kind: Literal["ok", "warn", "slow", "refuse"] = "ok"
    """``warn`` and ``slow`` are taken too; the client should be told once of the first, and not be read for ``wait``."""
    wait: float = 0.0
    """Seconds until the bucket is above zero again."""

    @property
    def taken(self) -> bool:
        """Whether the message may be handled."""
        return self.kind != "refuse"


OK: Final = Verdict()


class Bucket:
    """One token bucket.

    >>> bucket = Bucket(Rate(per_second=1.0, burst=2.0, debt=1.0), now=0.0)
    >>> [bucket.take(0.0).kind for _ in range(5)]
    ['ok', 'warn', 'slow', 'refuse', 'refuse']
    """

    __slots__ = ("_at", "_level", "_rate", "_warned")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._level = rate.burst
        self._at = now
        self._warned = False

    def take(self, now: float, cost: float = 1.0) -> Verdict:
        """Take ``cost``, or refuse and take nothing. A cost above the burst is taken too, and waited for afterwards."""
        verdict = self.look(now, cost)
        if verdict.taken:
            self.pay(cost)
        return verdict

    def look(self, now: float, cost: float = 1.0) -> Verdict:
        """What `take` would say; for several buckets, of which none must pay if another refuses."""
        rate = self._rate
        # A clock that goes back fills nothing and empties nothing.
        if now > self._at:
            self._level = min(rate.burst, self._level + (now - self._at) * rate.per_second)
            self._at = now
        if self._level <= -rate.debt:
            return Verdict("refuse", -self._level / rate.per_second)
        left = self._level - cost
        if left < 0:
            return Verdict("slow", -left / rate.per_second)
        if left >= 2 * WARN_BELOW * rate.burst:
            self._warned = False
        elif left < WARN_BELOW * rate.burst and not self._warned:
            return Verdict("warn")
        return OK

    def pay(self, cost: float = 1.0) -> None:
        """Take ``cost`` after a look that did not refuse it."""
        self._level -= cost
        if self._level < WARN_BELOW * self._rate.burst:
            self._warned = True

    @property
    def full(self) -> bool:
        """Whether it held its burst when it was last looked at."""
        return self._level >= self._rate.burst


@attrs.frozen
class LimitOptions:
    """What one connection may ask."""

    messages: Rate = Rate(1_000.0, 5_000.0)
    """Messages on all its topics."""
    bytes: Rate = Rate(10_000_000.0, 40_000_000.0)
    """Bytes of them."""
    topic_messages: Rate = Rate(500.0, 2_500.0)
    """Messages on one topic."""
    joins: Rate = Rate(50.0, 1_000.0)
    tokens: Rate = Rate(10.0, 200.0)
    """Tokens that it shows after it was let in; each costs a verification."""
    topics: int = 1_000
    """Topics at one time."""
    presence_interval: float = 0.1
    """Seconds between two changes of one member's presence; of what comes faster, the newest counts."""


class MessageLimits:
    """The buckets for messages and for their bytes, of which none pays if another refuses.

    >>> limits = MessageLimits(LimitOptions(messages=Rate(1.0, 2.0, 1.0)), now=0.0)
    >>> [limits.message(0.0, 10).kind for _ in range(4)]
    ['ok', 'warn', 'slow', 'refuse']
    """

    __slots__ = ("_bytes", "_messages", "options")

    def __init__(self, options: LimitOptions, now: float) -> None:
        self.options = options
        self._messages = Bucket(options.messages, now)
        self._bytes = Bucket(options.bytes, now)

    def message(self, now: float, size: int, others: Iterable[Bucket] = ()) -> Verdict:
        """One message of ``size`` bytes. The ``others`` have to be paid, too."""
        looks = [(self._messages, 1.0), (self._bytes, float(size)), *((each, 1.0) for each in others)]
        verdicts = [each.look(now, cost) for each, cost in looks]
        worst = max(verdicts, key=lambda verdict: (_ORDER[verdict.kind], verdict.wait))
        if worst.taken:
            for each, cost in looks:
                each.pay(cost)
        return worst


class ConnectionLimits:
    """The buckets of one connection. Most are full: they are made when something is taken out for the first time."""

    __slots__ = ("_buckets", "_joins", "_messages", "_times", "_tokens", "options")

    def __init__(self, options: LimitOptions, now: float) -> None:
        self.options = options
        self._joins = Bucket(options.joins, now)
        self._messages: MessageLimits | None = None
        self._tokens: Bucket | None = None
        self._buckets: dict[str, Bucket] | None = None
        """Of the topics on which it has said something."""
        self._times: dict[str, int] = {}
        """How often it is on each topic: whoever joins again is there twice for a moment."""

    def message(self, now: float, topic: str, size: int, shared: Iterable[Bucket] = ()) -> Verdict:
        """One message of ``size`` bytes on ``topic``, which it has joined. The ``shared`` buckets have to be paid, too."""
        if self._messages is None:
            self._messages = MessageLimits(self.options, now)
        own = (self._bucket(topic, now),) if topic in self._times else ()
        return self._messages.message(now, size, (*own, *shared))

    def _bucket(self, topic: str, now: float) -> Bucket:
        if self._buckets is None:
            self._buckets = {}
        found = self._buckets.get(topic)
        if found is None:
            found = self._buckets[topic] = Bucket(self.options.topic_messages, now)
        return found

    def join(self, now: float, topic: str) -> Verdict:
        """A try to join ``topic``, whether or not it will be let in. If this does not refuse it, `left` must follow, once."""
        verdict = self._joins.take(now)
        if verdict.taken:
            if topic not in self._times and len(self._times) >= self.options.topics:
                return TOO_MANY
            self._times[topic] = self._times.get(topic, 0) + 1
        return verdict

    def token(self, now: float) -> Verdict:
        """It shows a token, good or not."""
        if self._tokens is None:
            self._tokens = Bucket(self.options.tokens, now)
        return self._tokens.take(now)

    def left(self, topic: str) -> None:
        """It is not on ``topic`` any more, or has not come in."""
        times = self._times.pop(topic, 0) - 1
        if times > 0:
            self._times[topic] = times
        elif self._buckets is not None:
            self._buckets.pop(topic, None)

    @property
    def topics(self) -> int:
        """Topics it is on, or is trying to join."""
        return len(self._times)


TOO_MANY: Final = Verdict("refuse", float("inf"))
"""Too many topics: waiting does not help."""
_ORDER: Final = {"ok": 0, "warn": 1, "slow": 2, "refuse": 3}


class Coalescer(Generic[T]):
    """The newest of values that come too fast, once per interval: nobody is punished for saying again what he says.

    >>> presence = Coalescer[str](0.1)
    >>> presence.put("calm", now=0.0), presence.take(now=0.0)
    (0.0, 'calm')
    >>> round(presence.put("wild", now=0.01) or 0.0, 6), presence.put("asleep", now=0.02)
    (0.09, None)
    >>> presence.take(now=0.1)
    'asleep'
    """

    __slots__ = ("_interval", "_next", "_value", "_waiting")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = float("-inf")
        self._value: T | None = None
        self._waiting = False

    def put(self, value: T, now: float) -> float | None:
        """Keep ``value``: 0.0 says call `take` now, more says in how many seconds, None that somebody was told already."""
        self._value = value
        if self._waiting:
            return None
        self._waiting = True
        return max(0.0, self._next - now)

    def take(self, now: float) -> T | None:
        """The newest value; None when there is none."""
        value, self._value, self._waiting = self._value, None, False
        self._next = now + self._interval
        return value
