"""How much one client of Socket.IO may say, whatever it says and in whichever namespace. Pure.

Topics have limits of their own beside these: see `wsactors.realtime.limits`, whose numbers both go by.
"""

from __future__ import annotations

from collections.abc import Iterable

from wsactors.realtime.limits import Bucket, LimitOptions, Verdict

_ORDER = ("ok", "warn", "slow", "refuse")


class MessageLimits:
    """The buckets for messages and for their bytes, of which none pays if another refuses.

    >>> from wsactors.realtime.limits import Rate
    >>> limits = MessageLimits(LimitOptions(messages=Rate(1.0, 2.0, 1.0)), now=0.0)
    >>> [limits.message(0.0, 10).kind for _ in range(4)]
    ['ok', 'warn', 'slow', 'refuse']
    """

    __slots__ = ("_bytes", "_messages", "options")

    def __init__(self, options: LimitOptions, now: float) -> None:
        self.options = options
        self._messages = Bucket(options.messages, now)
        self._bytes = Bucket(options.bytes, now)

    def message(self, now: float, size: int, shared: Iterable[Bucket] = ()) -> Verdict:
        """One message of ``size`` bytes. The ``shared`` buckets, which are not this client's alone, have to be paid, too."""
        looks = [(self._messages, 1.0), (self._bytes, float(size)), *((each, 1.0) for each in shared)]
        verdicts = [each.look(now, cost) for each, cost in looks]
        worst = max(verdicts, key=lambda verdict: (_ORDER.index(verdict.kind), verdict.wait))
        if worst.taken:
            for each, cost in looks:
                each.pay(cost)
        return worst
