"""Counts for whoever watches a node: plain integers where things happen, put together only when somebody looks.

Every label comes from a set that is closed when the metric is made: nothing that a client says ever becomes one. A value
that is not in the set counts as `OTHER`.

>>> metrics = Metrics()
>>> joins = metrics.counter("joins", "Joins, by what became of them.", "result", ("ok", "refused"))
>>> joins.add("ok"); joins.add("by a stranger's will")
>>> joins.read()
{'ok': 1, 'refused': 0, 'other': 1}
"""

from __future__ import annotations

import functools
import time
import weakref
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

import attrs

from wsactors.actors import Pid, Runtime

from .identity import JoinRefused

OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of what waiting is sorted into."""
Reading: TypeAlias = Mapping[str, float]
"""Values by label; the label "" for a metric without one."""


class Counter:
    """Counts up, by one label."""

    __slots__ = ("_by_label",)

    def __init__(self, labels: Sequence[str]) -> None:
        self._by_label = dict.fromkeys([*labels, *([] if list(labels) == [""] else [OTHER])], 0)

    def add(self, label: str = "", count: int = 1) -> None:
        """``count`` more of ``label``."""
        if label in self._by_label:
            self._by_label[label] += count
        else:
            self._by_label[OTHER] += count

    def read(self) -> Reading:
        """The counts."""
        return dict(self._by_label)


class Histogram:
    """Sorts numbers by size."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        """How many were at most as large as each bound, but larger than the one before; at the end, those beyond all."""
        self.total = 0.0
        """Their sum."""

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, share: float) -> float | None:
        """The bound that at least ``share`` (0 to 1) of the numbers do not exceed; None: there are none, or no bound is it.

        >>> histogram = Histogram((1.0, 2.0))
        >>> for value in (0.5, 0.7, 1.5): histogram.observe(value)
        >>> histogram.quantile(0.5), histogram.quantile(1.0)
        (1.0, 2.0)
        """
        needed, so_far = share * sum(self.counts), 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            so_far += count
            if so_far and so_far >= needed:
                return bound
        return None


@attrs.frozen
class Metric:
    """One metric, as it is shown."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    label: str
    """The name of its label; empty: it has none."""
    read: Callable[[], Reading | Histogram]


class Metrics:
    """The metrics of one node."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    @classmethod
    def of(cls, node: Runtime) -> Metrics:
        """Those of ``node``; made when first asked for."""
        if node not in _of_nodes:
            _of_nodes[node] = cls()
        return _of_nodes[node]

    def counter(self, name: str, help: str, label: str = "", values: Sequence[str] = ("",)) -> Counter:  # noqa: A002
        """A new counter, or the one of that name."""
        known = self._metrics.get(name)
        if known is not None and isinstance(owner := getattr(known.read, "__self__", None), Counter):
            return owner
        counter = Counter(values)
        self._metrics[name] = Metric(name, help, "counter", label, counter.read)
        return counter

    def histogram(self, name: str, help: str, bounds: Sequence[float] = SECONDS) -> Histogram:  # noqa: A002
        """A new histogram."""
        histogram = Histogram(bounds)
        self._metrics[name] = Metric(name, help, "histogram", "", lambda: histogram)
        return histogram

    def gauge(self, name: str, help: str, read: Callable[[], Reading | float], label: str = "") -> None:  # noqa: A002
        """A number that ``read`` gives whenever somebody looks; again: in place of the one before."""
        self._metrics[name] = Metric(name, help, "gauge", label, lambda: _reading(read()))

    def total(self, name: str, help: str, read: Callable[[], Reading | float], label: str = "") -> None:  # noqa: A002
        """As `gauge`, for a number that only grows."""
        self._metrics[name] = Metric(name, help, "counter", label, lambda: _reading(read()))

    def all(self) -> list[Metric]:
        """All of them, by name."""
        return [self._metrics[name] for name in sorted(self._metrics)]


_of_nodes: weakref.WeakKeyDictionary[Runtime, Metrics] = weakref.WeakKeyDictionary()


def _reading(value: Reading | float) -> Reading:
    return value if isinstance(value, Mapping) else {"": float(value)}


class RealtimeMetrics:
    """What a node's topics and channels count."""

    def __init__(self, metrics: Metrics, seats: Mapping[Pid, object]) -> None:
        """``seats`` are those of the channels that live."""
        metrics.gauge("wsactors_channels", "Channels that live.", lambda: len(seats))
        self.joins = metrics.counter(
            "wsactors_joins_total",
            "Joins of topics, by what became of them.",
            "result",
            ("ok", "unmatched_topic", "unauthorized", "too_many", "rate", "crash", "timeout"),
        )
        self.join_seconds = metrics.histogram("wsactors_join_seconds", "How long successful joins took.")
        self.present: dict[str, int] = {}
        """How many are present on each topic that has somebody."""
        self.published = 0
        metrics.total("wsactors_publications_total", "Publications that topics took.", lambda: self.published)
        metrics.gauge("wsactors_present", "Presences, all topics together.", lambda: sum(self.present.values()))
        metrics.gauge("wsactors_present_most", "Presences on the topic that has most.", self._most)
        metrics.gauge(
            "wsactors_topics_with_presence", "Topics on which somebody is present.", lambda: len(self.present)
        )

    def count_present(self, topic: str, count: int) -> None:
        """``count`` are present on ``topic`` now."""
        if count:
            self.present[topic] = count
        else:
            self.present.pop(topic, None)

    def _most(self) -> float:
        return max(self.present.values(), default=0)


class _HasMetrics(Protocol):
    metrics: RealtimeMetrics


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=_HasMetrics)


def counted(join: Callable[Concatenate[S, P], Awaitable[T]]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """``join``, counted by what became of it and how long it took."""

    @functools.wraps(join)
    async def counting(service: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.perf_counter()
        try:
            found = await join(service, *args, **kwargs)
        except JoinRefused as refusal:
            service.metrics.joins.add(refusal.code)
            raise
        service.metrics.joins.add("ok")
        service.metrics.join_seconds.observe(time.perf_counter() - started)
        return found

    return counting
