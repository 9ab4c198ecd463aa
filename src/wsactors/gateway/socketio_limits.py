"""How much one client of Socket.IO may say, whatever it says and in whichever namespace. Pure.

Topics have limits of their own beside these: see `wsactors.realtime.limits`, whose numbers both go by.
"""

from __future__ import annotations

from wsactors.realtime.limits import Bucket, LimitOptions, Verdict

_ORDER = ("ok", "warn", "slow", "refuse")


class MessageLimits:
    """The buckets for messages and for their bytes, of which neither pays if the other refuses.

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

    def message(self, now: float, size: int) -> Verdict:
        """One message of ``size`` bytes."""
        verdicts = self._messages.look(now), self._bytes.look(now, float(size))
        worst = max(verdicts, key=lambda verdict: (_ORDER.index(verdict.kind), verdict.wait))
        if worst.taken:
            self._messages.pay()
            self._bytes.pay(float(size))
        return worst
