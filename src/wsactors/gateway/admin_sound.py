"""What the admin API says about how sound is heard: the node's metrics about it, summed up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from wsactors.realtime.metrics import Histogram, Metrics, Reading
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.wire.plain import Plain

from .quic_metrics import DROPS, FAST_SHARE

if TYPE_CHECKING:
    from wsactors.actors import Runtime

    from .hearing import Hearing


def hearing_map(hearing: Hearing | None) -> Plain:
    """How one connection hears; None: it has not said so."""
    if hearing is None:
        return None
    return {name: None if value is None else round(value, 5) for name, value in attrs.asdict(hearing).items()}


def sound_of(node: Runtime) -> dict[str, Plain]:
    """How the sessions of ``node`` are heard."""
    found = ListenerMetrics.of(node)
    drops, share = (_reading(node, name) for name in (DROPS, FAST_SHARE))
    return {
        "listeners": _counts(found.here()),
        "joins": _counts(found.joins.read()),
        "join_seconds": _spread(found.join_seconds),
        "first_sound": _spread(found.first_sound),
        "frames": _counts(found.frames.read()),
        "loss": _spread(found.loss),
        "concealed": _spread(found.concealed),
        "jitter": _spread(found.jitter),
        "buffer": _spread(found.buffer),
        "delay": _spread(found.delay),
        "rtt": _spread(found.rtt),
        "drops": _counts(drops),
        "fast_share": share.get(""),
    }


def _reading(node: Runtime, name: str) -> Reading:
    """A metric that is there only while QUIC is."""
    found = next((each for each in Metrics.of(node).all() if each.name == name), None)
    reading = {} if found is None else found.read()
    return reading if isinstance(reading, Mapping) else {}


def _counts(reading: Reading) -> dict[str, Plain]:
    return {label: int(count) for label, count in reading.items()}


def _spread(histogram: Histogram) -> dict[str, Plain]:
    count = sum(histogram.counts)
    return {
        "count": count,
        "mean": round(histogram.total / count, 6) if count else None,
        "p50": histogram.quantile(0.5),
        "p99": histogram.quantile(0.99),
    }
