"""A node's metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from wsactors.actors import ProcessActor
from wsactors.realtime.metrics import Histogram, Metric, Metrics, Reading

from .port import Port

if TYPE_CHECKING:
    from wsactors.actors import Runtime

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LAG_SECONDS: Final = 0.25
"""Between two looks at how late the loop is."""
_LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Exposition:
    """The metrics of ``node``, with ``region`` on each of them."""

    def __init__(self, node: Runtime, region: str) -> None:
        self._node = node
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(Metrics.of(node), {"node": node.name, "region": region}))
        ProcessCollector(registry=self._registry)
        _register_runtime(node, Metrics.of(node))

    async def text(self) -> bytes:
        """What a scrape gets."""
        port = Port.of(self._node)
        if port is not None:
            await port.refresh_meters()
        return generate_latest(self._registry)


class LoopLag(ProcessActor):
    """Measures how late the loop wakes those whose time has come."""

    def init(self) -> None:
        """Begin."""
        help_ = "How late a task woke whose time had come."
        self._lag = Metrics.of(self.node).histogram("wsactors_loop_lag_seconds", help_, _LAG)

    async def run(self) -> None:
        """Measure until the end."""
        while True:
            due = trio.current_time() + LAG_SECONDS
            await trio.sleep_until(due)
            self._lag.observe(max(0.0, trio.current_time() - due))


class _NodeCollector(Collector):
    """Turns our metrics into the library's when it asks."""

    def __init__(self, metrics: Metrics, constant: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._constant = constant

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics.all():
            yield self._family(metric, metric.read())

    def describe(self) -> Iterable[Family]:
        """Nothing: to ask for the names would be to ask for the values."""
        return ()

    def _family(self, metric: Metric, reading: Reading | Histogram) -> Family:
        names = [*self._constant, *([metric.label] if metric.label else [])]
        values = list(self._constant.values())
        if isinstance(reading, Histogram):
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
            histogram.add_metric(values, _buckets(reading), reading.total)
            return histogram
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=names)
        for label, value in reading.items():
            family.add_metric([*values, *([label] if metric.label else [])], value)
        return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus' buckets: each holds all that the ones before it hold."""
    found, so_far = [], 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        so_far += count
        found.append((bound, float(so_far)))
    return found


def _register_runtime(node: Runtime, metrics: Metrics) -> None:
    for field, help_ in (
        ("actors", "Actors that live."),
        ("run_queue", "Actors with something to do."),
        ("timers", "Timers that are set."),
        ("workers", "Tasks that run handlers."),
    ):
        metrics.gauge(f"wsactors_{field}", help_, _info(node, field))
    for field, help_ in (
        ("spawned", "Actors started."),
        ("crashes", "Actors that crashed."),
        ("dropped_full", "Messages that full mailboxes refused."),
        ("holds", "Times the loop was held too long."),
    ):
        metrics.total(f"wsactors_{field}_total", help_, _info(node, field))


def _info(node: Runtime, field: str) -> Callable[[], float]:
    return lambda: getattr(node.info(), field)
