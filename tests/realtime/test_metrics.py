from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import wsactors
from tests.realtime.topics import Client
from wsactors.realtime.identity import JoinRefused
from wsactors.realtime.metrics import OTHER, SECONDS, Histogram, Metrics
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.start import start_realtime


def test_a_label_that_is_not_in_the_set_never_becomes_one() -> None:
    counter = Metrics().counter("c", "help", "kind", ("a", "b"))
    for label in ("a", "a", "b", "evil", "x" * 10_000):
        counter.add(label)
    assert counter.read() == {"a": 2, "b": 1, OTHER: 2}


def test_the_same_counter_is_had_by_its_name() -> None:
    metrics = Metrics()
    metrics.counter("c", "help").add()
    assert metrics.counter("c", "help").read() == {"": 1}
    assert len(metrics.all()) == 1


@given(st.lists(st.floats(0, 10)))
def test_a_histogram_loses_nothing(values: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.total == pytest.approx(sum(values))
    for bound in SECONDS:
        at = SECONDS.index(bound)
        assert sum(histogram.counts[: at + 1]) == sum(value <= bound for value in values)


async def test_joins_publications_and_presences_are_counted() -> None:
    options = RealtimeOptions(topics=(TopicOptions("room:*", presence_interval=0.01),))
    async with wsactors.Node("counting") as node:
        realtime = await start_realtime(node, options)
        owner = await node.spawn(wsactors.Agent, dict)
        channel = await realtime.join("room:1", Client(), owner=owner)
        with pytest.raises(JoinRefused):
            await realtime.join("nowhere", Client(), owner=owner)
        await realtime.publish("room:1", "hello", None)
        realtime.track(channel, {}, key="ada")
        with trio.fail_after(30):
            while not realtime.metrics.present:  # noqa: ASYNC110
                await trio.sleep(0.01)
        found = {metric.name: metric.read() for metric in Metrics.of(node).all()}
        joins = found["wsactors_joins_total"]
        assert not isinstance(joins, Histogram)
        assert (joins["ok"], joins["unmatched_topic"]) == (1, 1)
        seconds = found["wsactors_join_seconds"]
        assert isinstance(seconds, Histogram)
        assert sum(seconds.counts) == 1
        for name in ("publications_total", "channels", "present", "present_most", "topics_with_presence"):
            assert found[f"wsactors_{name}"] == {"": 1}
        node.exit(channel, "kill")
        with trio.fail_after(30):
            while realtime.metrics.present:  # noqa: ASYNC110
                await trio.sleep(0.01)
