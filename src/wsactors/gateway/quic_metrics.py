"""What a node's QUIC endpoint counts, among the node's metrics. Labels are closed sets: reasons that are named in the code."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from wsactors.realtime.metrics import Metrics, Reading

if TYPE_CHECKING:
    from wsactors.media.quic.hub import Hub

MOST_LOOKED_AT: Final = 256
"""Connections of which the fast share is taken, so that a scrape does not hold the loop."""
DROPS: Final = "wsactors_quic_drops_total"
FAST_SHARE: Final = "wsactors_quic_fast_share"
_TOTALS: Final = (
    ("opened", "QUIC connections that began."),
    ("handshakes", "QUIC handshakes that were completed."),
    ("retries", "Clients that were asked to show that their address is their own."),
    ("stateless_resets", "Packets of forgotten connections that were answered."),
    ("failures", "QUIC connections that ended because something went wrong here."),
    ("packets_in", "UDP packets received."),
    ("packets_out", "UDP packets sent for all but sound."),
    ("bytes_in", "Bytes of UDP packets received."),
    ("bytes_out", "Bytes of UDP packets sent."),
    ("datagrams_in", "QUIC datagrams received."),
    ("datagrams_out", "QUIC datagrams of sound that the kernel took."),
)


def register(metrics: Metrics, hub: Callable[[], Hub | None]) -> None:
    """Show what ``hub`` gives among ``metrics``; nothing of it while it gives None."""
    looked = _Look(hub)
    metrics.gauge("wsactors_quic_connections", "Open QUIC connections.", lambda: looked.number("connections"))
    metrics.gauge("wsactors_quic_half_open", "QUIC handshakes under way.", lambda: looked.number("half_open"))
    for field, help_ in _TOTALS:
        metrics.total(f"wsactors_quic_{field}_total", help_, _reader(looked, field.removeprefix("stateless_")))
    metrics.total("wsactors_quic_turned_away_total", "UDP packets dropped unread, by why.", looked.turned, "reason")
    metrics.total(DROPS, "Datagrams of sound that were not sent, by why.", looked.drops, "reason")
    metrics.gauge(FAST_SHARE, "Part of datagrams sent that took the fast path, 0 to 1.", looked.fast_share)


class _Look:
    """What the endpoint says, and zeros while there is none."""

    def __init__(self, hub: Callable[[], Hub | None]) -> None:
        self._hub = hub

    def number(self, field: str) -> float:
        found = self._hub()
        if found is None:
            return 0.0
        match field:
            case "connections":
                return len(found.connections) - found.half_open
            case "retries" | "resets":
                return float(getattr(found.door, field))
            case "datagrams_out" | "bytes_out":
                return float(getattr(found.outgoing, field))
            case _:
                return float(getattr(found, field))

    def turned(self) -> Reading:
        found = self._hub()
        return {} if found is None else {str(reason): count for reason, count in found.turned.items()}

    def drops(self) -> Reading:
        found = self._hub()
        if found is None:
            return {}
        drops = dict(found.past.drops)
        for connection in found.connections:
            for reason, count in connection.transport.drops.items():
                drops[reason] += count
        return {str(reason): count for reason, count in drops.items()}

    def fast_share(self) -> float:
        found = self._hub()
        if found is None:
            return 1.0
        sent = fast = 0
        for connection in itertools.islice(found.connections, MOST_LOOKED_AT):
            seen = connection.transport.statistics()
            sent += seen.datagrams_sent
            fast += seen.fast_sent
        return fast / sent if sent else 1.0


def _reader(look: _Look, field: str) -> Callable[[], float]:
    return lambda: look.number(field)
