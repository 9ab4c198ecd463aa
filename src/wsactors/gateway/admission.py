"""How many connections there may be, and how many may come: in all, and from one address. Pure counting."""

from __future__ import annotations

from collections import Counter

from wsactors.realtime.addresses import block_of

from .proxies import UNIX, Proxies
from .rates import Rates

__all__ = ["Admission", "block_of"]


class Admission:
    """Counts open connections and says whether one more may come.

    IPv6 clients are counted by their /64, the smallest block that a provider hands out.

    Example:
        >>> door = Admission(total=2, per_address=1)
        >>> door.enter("10.0.0.1"), door.enter("10.0.0.1"), door.enter("10.0.0.2"), door.enter("10.0.0.3")
        (True, False, True, False)
    """

    def __init__(
        self, *, total: int, per_address: int, rates: Rates | None = None, proxies: Proxies | None = None
    ) -> None:
        """Connections of ``proxies`` are counted in all only: their clients are counted by `enter_client`."""
        self._total = total
        self._per_address = per_address
        self._rates = rates
        self._proxies = proxies or Proxies()
        self._by_address: Counter[str] = Counter()
        self._open = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<Admission {self._open} open, {len(self._by_address)} addresses, {self.refused} refused>"

    @property
    def open(self) -> int:
        """Connections open now."""
        return self._open

    def enter(self, address: str, now: float = 0.0) -> bool:
        """Count one more connection from ``address``; False, and not counted, when that is one too many or too fast."""
        shared = self._is_shared(address)
        if self._open >= self._total or not self._is_slow(None if shared else address, now):
            self.refused += 1
            return False
        if not shared and not self.enter_client(address):
            return False
        self._open += 1
        return True

    def enter_client(self, address: str) -> bool:
        """Count ``address`` itself, for whom a proxy's connection turned out to be; False when that is one too many."""
        block = block_of(address)
        if self._by_address[block] >= self._per_address:
            self.refused += 1
            return False
        self._by_address[block] += 1
        return True

    def leave(self, address: str) -> None:
        """Take back one `enter` that was granted."""
        self._open -= 1
        if not self._is_shared(address):
            self.leave_client(address)

    def leave_client(self, address: str) -> None:
        """Take back one `enter_client` that was granted."""
        block = block_of(address)
        self._by_address[block] -= 1
        if not self._by_address[block]:
            del self._by_address[block]

    def counted_as(self, address: str) -> str | None:
        """Whom ``address`` is counted as; None: many may be behind it."""
        return None if self._is_shared(address) else block_of(address)

    def _is_shared(self, address: str) -> bool:
        """Whether many clients may be behind ``address``."""
        return address == UNIX or self._proxies.trusts(address)

    def _is_slow(self, address: str | None, now: float) -> bool:
        return self._rates is None or self._rates.take(None if address is None else block_of(address), now)
